"""Show the MLflow pages over the local store: ``clickflow ui``."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("ui")

import os

from rich.console import Console

from clickflow.errors import TrackingError, system_reason
from clickflow.tracking.config import UiConfig
from clickflow.tracking.servers import refuse_taken_port, run_server


def main(config: UiConfig, console: Console) -> None:
    """Show them until an interrupt."""
    refuse_taken_port("127.0.0.1", config.port)
    home = config.home.absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(f"home = {home}: cannot be written ({system_reason(error)}); set home=FOLDER to another place") from error
    console.print(f"MLflow UI on http://127.0.0.1:{config.port} (port=N for another port; Ctrl-C ends it)", soft_wrap=True)
    store = ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    # Its job runner, for language models, would be eight more processes of 2 GB in all.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": os.environ.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")}
    run_server(["server", *store, "--host", "127.0.0.1", "--port", str(config.port), "--workers", "1"], quiet)
