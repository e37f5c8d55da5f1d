"""``predict.py`` with a run that was really trained: the scores are those of training and serving, also after a kill."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.runs.small import small_config

from clickflow.cli.compose import composed_config
from clickflow.cli.search_path import REPOSITORY
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.raw_rows import raw_rows
from clickflow.runs.train import train
from clickflow.scoring.config import PredictConfig
from clickflow.scoring.predict import predict
from clickflow.tracking.logged_model import load_model, read_bundle
from clickflow.tracking.store import open_store


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(small_config(tmp_path_factory.mktemp("home") / "clickflow", "trainer.max_history=15"))


@pytest.fixture(scope="module")
def dataset(trained):
    return prepare(trained.config.data, trained.config.protocol, trained.config.home)


@pytest.fixture(scope="module")
def rows(dataset):
    """The test split as a caller has it: raw ids and whole histories."""
    return raw_rows(dataset, "test", np.arange(len(dataset.split("test"))))


def overrides(trained, table, output):
    return [f"model={trained.model_uri}", f"input={table}", f"output={output}", f"home={trained.config.home}"]


def config(trained, table, output):
    return validate(PredictConfig, composed_config("predict", overrides(trained, table, output)))


def command(trained, table, output):
    return [sys.executable, str(REPOSITORY / "pipelines" / "predict.py"), *overrides(trained, table, output)]


def run(trained, table, output):
    done = subprocess.run(command(trained, table, output), capture_output=True, text=True, timeout=120, check=False)
    print(done.stdout, done.stderr)
    return done


@pytest.mark.slow
def test_scores_are_those_of_training_and_of_serving(trained, dataset, rows, tmp_path):
    pq.write_table(pa.Table.from_pandas(rows), tmp_path / "rows.parquet")
    done = run(trained, tmp_path / "rows.parquet", tmp_path / "scores.parquet")
    assert done.returncode == 0
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    store = open_store(trained.config.tracking, trained.config.home)
    served = load_model(store, trained.model_uri).predict(rows)["probability"]
    np.testing.assert_allclose(scores["probability"], served, atol=1e-6)
    batch = dataset.split("test").take(slice(None), trained.config.trainer.max_history)
    with torch.inference_mode():
        training = torch.sigmoid(read_bundle(store, trained.model_uri).build_model()(batch).logit)
    np.testing.assert_allclose(scores["probability"], training, atol=1e-6)
    assert scores["item"].to_list() == rows["item"].tolist()
    for word in (f"{len(rows):,} rows, ", " rows/s", f"{tmp_path / 'scores.parquet'}", "next: python -c"):
        assert word in done.stdout
    done = run(trained, tmp_path / "rows.parquet", tmp_path / "scores.parquet")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "exists already; name another file, or set overwrite=true" in done.stderr


def ended_while_scoring(trained, table, output, number):
    """What the command says and gives when a signal ends it after it has recorded something."""
    journal = output.with_name(f".{output.name}.partial") / "journal.bin"
    before = journal.stat().st_size if journal.exists() else 0
    process = subprocess.Popen(command(trained, table, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (journal.exists() and journal.stat().st_size > before):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in err
    assert not output.exists()
    return process.returncode, out


@pytest.mark.slow
def test_a_run_that_signals_ended_is_carried_on_to_the_same_bytes(trained, rows, tmp_path):
    table, output, undisturbed = (tmp_path / f"{name}.parquet" for name in ("rows", "scores", "undisturbed"))
    pq.write_table(pa.concat_tables([pa.Table.from_pandas(rows)] * -(-400_000 // len(rows))).combine_chunks(), table)
    code, out = ended_while_scoring(trained, table, output, signal.SIGINT)
    assert code == 130
    assert "rows are scored and kept; the same command carries on" in out
    assert ended_while_scoring(trained, table, output, signal.SIGKILL)[0] == -signal.SIGKILL
    predicted = predict(config(trained, table, output))
    assert 0 < predicted.num_scored < predicted.num_rows
    predict(config(trained, table, undisturbed))
    assert output.read_bytes() == undisturbed.read_bytes()


def test_the_config_composes_and_names_what_is_missing():
    values = composed_config("predict", [])
    assert {"columns", "keep", "top_k"} <= values.keys()
    assert not {"model", "input", "output"} & values.keys()
