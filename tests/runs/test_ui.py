"""What a user sees: MLflow's pages over a store with two runs, in a headless browser."""

import shutil
import subprocess

import pytest
from tests.runs.small import small_config
from tests.servers import running

from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import train

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1600,8000 --virtual-time-budget=60000 --dump-dom"
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """A server, and two runs trained and evaluated through it."""
    folder = tmp_path_factory.mktemp("ui")
    storage = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    with running("server", *storage, folder=folder, path="/health") as uri:
        runs = []
        for model in ("base", "din"):
            config = small_config(folder / "home", f"model={model}", f"tracking.uri={uri}", "trainer.max_epochs=1")
            runs.append(train(config))
            evaluate(EvaluateConfig(run_id=runs[-1].run_id, home=config.home, tracking=config.tracking))
        yield uri, runs


def page(url, folder):
    """The page's elements after its scripts ran."""
    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={folder / 'browser'}", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def test_the_run_table_shows_both_runs_as_finished(ui, tmp_path):
    uri, _ = ui
    dom = page(f"{uri}/#/experiments/1/runs", tmp_path)
    assert "base-seed0" in dom
    assert "din-seed0" in dom
    assert "2</" in dom
    assert "matching runs" in dom


def test_a_runs_page_shows_status_description_and_data(ui, tmp_path):
    _, runs = ui
    dom = page(runs[1].url, tmp_path)
    for word in ("din-seed0", "Finished", "training rows/s", "dataset.fingerprint", "best/gauc"):
        assert word in dom, word


def test_the_chart_view_lays_the_roc_curves_of_both_runs_over_each_other(ui, tmp_path):
    uri, _ = ui
    dom = page(f"{uri}/#/experiments/1/runs?compareRunsMode=CHART", tmp_path)
    assert "roc/tpr" in dom
    assert "pr/precision" in dom
