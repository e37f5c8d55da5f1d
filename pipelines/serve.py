"""Serve a registered model: ``clickflow serve name=ctr``; raw ids in, probabilities out, by MLflow's own server."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("serve")

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

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
    environment = {"MLFLOW_TRACKING_URI": store.uri}
    if config.behaviours.path is None:
        serve(config, uri, environment, console)
        return
    from clickflow.scoring.served_behaviours import served_behaviours  # it takes seconds, which others need not wait for

    def say(sentence: str) -> None:
        console.print(f"[dim]·[/] {escape(sentence)}", soft_wrap=True)

    with served_behaviours(config.behaviours, store, uri, config.home, say) as behaviours:
        serve(config, uri, environment | behaviours, console)


def serve(config: ServeConfig, uri: str, environment: Mapping[str, str], console: Console) -> None:
    """Run MLflow's server until an interrupt."""
    console.print(f"{uri} on http://{config.host}:{config.port}/invocations (port=N for another port; Ctrl-C ends it)", soft_wrap=True)
    where = ["--host", config.host, "--port", str(config.port), "--workers", str(config.workers)]
    run_server(["models", "serve", "-m", uri, "--env-manager", "local", *where], environment)
