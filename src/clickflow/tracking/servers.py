"""MLflow's own servers as children of this process: their pages over the store, and a registered model."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from clickflow.errors import ConfigError, TrackingError

STOP_SECONDS = 10.0
"""Longest time for a server to end by itself."""


def run_server(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run ``mlflow`` with these arguments until it ends, or until an interrupt, after which none of its processes is left.

    Raises:
        TrackingError: it ended by itself with an error.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # mlflow starts uvicorn by its name
    # A session of its own: Ctrl-C in a terminal reaches this process only, which then ends the server whole.
    command = [sys.executable, "-m", "mlflow", *arguments]
    server = subprocess.Popen(command, env=os.environ | {"PATH": path} | dict(environment), start_new_session=True)
    try:
        code = server.wait()
    finally:
        _end(server)
    if code:
        raise TrackingError(f"mlflow {arguments[0]} ended with exit code {code}; what it printed says why")


def refuse_taken_port(host: str, port: int) -> None:
    """Raise a ConfigError if the address cannot be listened on: a server would need seconds to say so."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigError(
            f"port = {port}: cannot be listened on at {host} ({error.strerror}); end what uses it or set another port"
        ) from error


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server's process with all that it started."""
    try:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in alive:
        process.kill()
    server.wait()
