"""``mlflow models serve`` under load: the latency of a single client, the requests per second of eight clients, and failed requests.

    python -m benchmarks.serve [requests] [--workers N] [--threads N]

The model and the requests, one user with 200 candidates each, are those of ``benchmarks/latency.py``; half of them have a history of 9
behaviours, half of 100. The server is started as a user starts it, with ``--workers`` processes and OMP_NUM_THREADS = ``--threads``.
Clients are threads of one other process, each with a connection that is kept open; they send bodies made beforehand and read answers
without parsing them, so that the figures are the server's. Server and clients share the machine.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks.latency import LENGTHS, random_bundle, request

from clickflow.tracking.logged_model import save_model

NUM_CLIENTS = 8
NUM_BODIES = 64
SINGLE_REQUESTS = 1000
WARM_UP = 50
HEADERS = {"Content-Type": "application/json"}
HOST = "127.0.0.1"


@contextlib.contextmanager
def server(workers: int, threads: int) -> Iterator[int]:
    """Run a server and yield its port."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(random_bundle(), Path(folder) / "model")
        with socket.create_server((HOST, 0)) as probe:
            port = int(probe.getsockname()[1])
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"{folder}/model", "--env-manager", "local"]
        command += ["--host", HOST, "--port", str(port), "--workers", str(workers)]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (Path(folder) / "server.log").open("w") as log:
            environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PATH": path}
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            while not is_up(port):
                assert process.poll() is None, (Path(folder) / "server.log").read_text()[-3000:]
                time.sleep(0.2)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def is_up(port: int) -> bool:
    """Whether the server has loaded the model."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Client(threading.Thread):
    """Sends requests one after the other and records the seconds of each and the errors."""

    def __init__(self, port: int, bodies: list[bytes], num_requests: int, first: int) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection(HOST, port, timeout=60)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bodies, self.num_requests, self.first = bodies, num_requests, first
        self.seconds: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        """Send all requests."""
        for number in range(self.num_requests):
            start = time.perf_counter()
            try:
                self.connection.request("POST", "/invocations", self.bodies[(self.first + number) % len(self.bodies)], HEADERS)
                response = self.connection.getresponse()
                answer = response.read()
                if response.status != 200:
                    self.errors.append(f"{response.status}: {answer[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                self.connection.close()  # the next request opens it again
            self.seconds.append(time.perf_counter() - start)
        self.connection.close()


def load(port: int, bodies: list[bytes], num_clients: int, num_requests: int) -> None:
    """Let clients send requests at the same time, and print their times and errors."""
    each = num_requests // num_clients
    clients = [Client(port, bodies, each, first=number * len(bodies) // num_clients) for number in range(num_clients)]
    start = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - start
    milliseconds = [1000 * value for client in clients for value in client.seconds]
    errors = [error for client in clients for error in client.errors]
    p50, p99 = np.quantile(milliseconds, [0.5, 0.99])
    print(
        f"{num_clients} client{'s' * (num_clients > 1)}: {len(milliseconds):,} requests, {len(milliseconds) / seconds:6.1f} a second, "
        f"p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, {len(errors)} errors {sorted(set(errors))[:3] if errors else ''}",
        flush=True,
    )


def main(num_requests: int, workers: int, threads: int) -> None:
    """Measure one client, by history length, then eight."""
    rng = np.random.default_rng(1)
    bodies = {
        length: [json.dumps({"dataframe_records": request(rng, length, as_list=True)}).encode() for _ in range(NUM_BODIES)]
        for length in LENGTHS
    }
    mixed = [body for pair in zip(*bodies.values(), strict=True) for body in pair]
    with server(workers, threads) as port:
        print(f"{workers} worker{'s' * (workers > 1)} of {threads} thread{'s' * (threads > 1)}; load average {os.getloadavg()[0]:.1f}")
        Client(port, mixed, WARM_UP * workers, 0).run()
        for length, of_length in bodies.items():
            print(f"history {length:3}, ", end="")
            load(port, of_length, 1, min(SINGLE_REQUESTS, num_requests))
        print("both,        ", end="")
        load(port, mixed, NUM_CLIENTS, num_requests)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("requests", type=int, nargs="?", default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    main(arguments.requests, arguments.workers, arguments.threads)
