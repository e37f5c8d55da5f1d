"""Take the pictures of MLflow's pages that README and docs show: ``python docs/pictures.py HOME``.

HOME is a home folder after ``clickflow demo`` and two promotions of its runs as ``ctr``, Base first. The script starts an MLflow server
over it on a free port, drives a headless chromium through its debugging pipe, and writes PNGs with a palette into ``docs/pictures``. A
picture is what the browser shows; only the buttons that float over the page are hidden. Take the pictures again after MLflow or the
content of a page changed, and look at each.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from mlflow.tracking import MlflowClient
from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 1440
HIDDEN = ".modebar { display: none !important }"  # the buttons over every chart
HIDE_ASSISTANT = """
[...document.querySelectorAll("body *")].filter((one) => getComputedStyle(one).position === "fixed" && one.offsetWidth < 100)
    .forEach((one) => { one.style.visibility = "hidden"; })
"""
COLORS = {"base": "#e08a00", "din": "#2a6fbb"}  # by default a run's colour follows from its id, and two may look alike
MAX_BYTES = 200_000
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --hide-scrollbars --force-color-profile=srgb --remote-debugging-pipe"
)


class Browser:
    """One page of a headless chromium, driven by its DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        # The pipe is file descriptors 3 and 4 by definition.
        script = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'
        arguments = ["bash", "-c", script, "bash", chromium, *FLAGS.split(), f"--user-data-dir={folder}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(arguments, pass_fds=(read_commands, write_answers), **quiet)
        os.close(read_commands)
        os.close(write_answers)
        self._buffer = b""
        self._number = 0
        self._session: dict[str, str] = {}
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events are skipped."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                self._buffer += os.read(self._answers, 1 << 20)
            line, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def open(self, url: str, height: int, wait_for: str) -> None:
        """Open a page in a window of a height and wait until its text holds some words."""
        self("Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False)
        self("Emulation.setEmulatedMedia", features=[{"name": "hover", "value": "hover"}])
        self("Page.navigate", url="about:blank")  # a change behind # alone would not load the page anew
        self("Page.navigate", url=url)
        self.wait(f"document.body && document.body.innerText.includes({json.dumps(wait_for)})", f"{url}: no {wait_for!r}")
        self.run(f"document.head.appendChild(Object.assign(document.createElement('style'), {{textContent: {json.dumps(HIDDEN)}}}))")
        time.sleep(8)  # what comes after the words: charts, pictures

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def wait(self, condition: str, what: str) -> None:
        """Wait until a JavaScript condition holds."""
        deadline = time.monotonic() + 180
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}; the page says: {self.run('document.body.innerText')}"[:3000])
            time.sleep(0.2)

    def take(self, name: str, clip: dict[str, float] | None = None) -> None:
        """Write what the window shows, or a part of it, with the largest palette that stays small."""
        self.run(HIDE_ASSISTANT)
        part = {} if clip is None else {"clip": clip | {"scale": 1}}
        image = Image.open(io.BytesIO(base64.b64decode(self("Page.captureScreenshot", format="png", **part)["data"]))).convert("RGB")
        path = PICTURES / f"{name}.png"
        for colors in (256, 128, 64, 32):
            image.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size < MAX_BYTES:
                break
        print(f"{path}: {image.width} x {image.height}, {path.stat().st_size // 1000} kB")

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError, RuntimeError):
            self._session = {}
            self("Browser.close")
        self._process.wait(20)


@contextlib.contextmanager
def server(home: Path, folder: Path) -> Iterator[str]:
    """An MLflow server over a home folder's store, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    storage = ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *storage, "--port", uri.rpartition(":")[2], "--workers", "1"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while not _answers(uri):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "server.log").read_text()[-3000:])
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=2).ok
    except requests.RequestException:
        return False


SHOWN_COLUMNS = [
    "attributes.`Models`",
    "metrics.`best/auc`",
    "metrics.`best/gauc`",
    "metrics.`best/log_loss`",
    "metrics.`test/auc`",
    "metrics.`test/gauc`",
]
SHOWN_CHARTS = ["roc/tpr", "pr/precision", "val/gauc", "train/loss", "val/log_loss", "val/auc"]

STATE = """
(change) => {
    const key = Object.keys(localStorage).find((key) => key.includes("ExperimentPage") && key.includes("ReactComponentState"));
    const state = JSON.parse(localStorage[key]);
    change(state);
    localStorage[key] = JSON.stringify(state);
}
"""
COLUMNS = f"({STATE})((state) => {{ state.selectedColumns = {json.dumps(SHOWN_COLUMNS)}; }})"
CHARTS = f"""
({STATE})((state) => {{
    const wanted = {json.dumps(SHOWN_CHARTS)};
    const section = state.compareRunSections.find((section) => !section.deleted);
    state.compareRunSections.forEach((one) => {{ one.deleted = one !== section; }});
    Object.assign(section, {{ name: "Curves", display: true, isGenerated: false }});
    const shown = wanted.map((metric) => state.compareRunCharts.find((one) => one.metricKey === metric && one.type === "LINE"));
    shown.forEach((one) => Object.assign(one, {{ metricSectionId: section.uuid, isGenerated: false }}));
    const others = state.compareRunCharts.filter((one) => !shown.includes(one));
    others.forEach((one) => {{ one.deleted = true; }});
    state.compareRunCharts = [...shown, ...others];
}})
"""
TRAINING_PAGES = """
[...document.querySelectorAll("*")].find((one) => !one.children.length && one.innerText?.trim() === "Model training").click()
"""
SHOW_MORE = """
[...document.querySelectorAll("button")].find((one) => one.innerText.trim() === "Show more")?.click()
"""


def take_all(home: Path, name: str) -> None:
    """Every picture, from one server and one browser."""
    with tempfile.TemporaryDirectory() as temporary, server(home, Path(temporary)) as uri:
        client = MlflowClient(uri)
        version = client.get_model_version_by_alias(name, "champion")
        run = client.get_run(version.run_id).info
        experiment = f"{uri}/#/experiments/{run.experiment_id}"
        for one in client.search_runs([run.experiment_id]):
            client.set_tag(one.info.run_id, "mlflow.runColor", COLORS[one.data.tags["model"]])
        browser = Browser(Path(temporary) / "browser")
        try:
            browser.open(f"{experiment}/runs", 560, run.run_name)
            browser.run("localStorage['mlflow.assistant.panelOpen_v1'] = 'false'")
            browser.run(TRAINING_PAGES)
            browser.run(COLUMNS)
            browser.open(f"{experiment}/runs?orderByKey=metrics.%60best%2Fgauc%60&orderByAsc=false", 420, run.run_name)
            browser.take("runs")

            browser.open(f"{experiment}/runs?compareRunsMode=CHART", 900, "gradient_norm")
            browser.run(CHARTS)
            browser.open(f"{experiment}/runs?compareRunsMode=CHART", 1060, "roc/tpr")
            browser.take("curves")

            browser.open(f"{experiment}/runs/{run.run_id}", 900, "Finished")
            browser.run(SHOW_MORE)
            time.sleep(1)
            browser.take("run")
            browser.open(f"{experiment}/runs/{run.run_id}/artifacts/figures/validation/attention.png", 900, "attention.png")
            browser.take("artifacts")

            browser.open(f"{uri}/#/models/{name}/versions/{version.version}", 640, "champion")
            browser.take("model")
        finally:
            browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="a home folder after `clickflow demo`")
    parser.add_argument("--model", default="ctr", help="a registered model with a champion")
    arguments = parser.parse_args()
    take_all(arguments.home.absolute(), arguments.model)
