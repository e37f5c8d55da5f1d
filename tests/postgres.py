"""A PostgreSQL server from Debian's packages, started for a test on a free port of 127.0.0.1."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest


def _binaries():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(path) for path in [shutil.which("initdb")] if path]
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return found[-1].parent


@contextlib.contextmanager
def running_postgres():
    """Yields the URI of an empty database; afterwards nothing of the server is left."""
    binaries = _binaries()
    # The server refuses to run as root; Debian's package brings a user for it.
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="clickflow-postgres-"))
    if as_user:
        shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    data = folder / "data"
    initdb = [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", "clickflow", "--auth=trust", "--no-sync", "--encoding=UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    command = [*as_user, str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
    try:
        _wait(f"host=127.0.0.1 port={port} user=clickflow dbname=postgres", server, folder)
        yield f"postgresql+psycopg://clickflow@127.0.0.1:{port}/postgres"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGINT)  # a fast shutdown
        server.wait(30)
        shutil.rmtree(folder)


def _wait(conninfo, server, folder):
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(conninfo):
            return
        assert server.poll() is None, (folder / "server.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
