"""Serve a registered model: ``clickflow serve name=ctr``; raw ids in, probabilities out, by MLflow's own server."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("serve")

from rich.console import Console

from clickflow.tracking.config import ServeConfig
from clickflow.tracking.location import model_location
from clickflow.tracking.servers import refuse_taken_port, run_server
from clickflow.tracking.store import open_store


def main(config: ServeConfig, console: Console) -> None:
    """Look whether there is such a model, then serve it until an interrupt."""
    refuse_taken_port(config.host, config.port)
    store = open_store(config.tracking, config.home)
    uri = f"models:/{config.name}@{config.alias}"
    model_location(store, uri)
    console.print(f"{uri} on http://{config.host}:{config.port}/invocations (port=N for another port; Ctrl-C ends it)", soft_wrap=True)
    where = ["--host", config.host, "--port", str(config.port), "--workers", str(config.workers)]
    run_server(["models", "serve", "-m", uri, "--env-manager", "local", *where], {"MLFLOW_TRACKING_URI": store.uri})
