"""MLflow's own servers, started for a test on a free port of 127.0.0.1."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import requests
from tests.processes import still_alive


@contextlib.contextmanager
def running(*arguments, folder, path, **environment):
    """An mlflow command on a free port, up until ``path`` answers; afterwards none of its processes is left."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = (folder / "server.log").open("w")
    command = [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environment
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=variables, start_new_session=True)
    family = [psutil.Process(process.pid)]
    try:
        deadline = time.monotonic() + 90
        while not answers(f"http://127.0.0.1:{port}{path}"):
            assert process.poll() is None, (folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (folder / "server.log").read_text()[-3000:]
            time.sleep(0.2)
        family += family[0].children(recursive=True)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        alive = still_alive(family, 60)
        process.wait()
        log.close()
    assert not alive


@contextlib.contextmanager
def hanging_up():
    """A server that ends every connection at once: its address, and a list that gets one entry per connection."""

    def hang_up():
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = server.accept()
                connections.append(connection)
                connection.close()

    connections = []
    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=hang_up, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", connections
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def answers(url):
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:  # a busy machine answers late
        return False
