"""A log with lists from preparing to promotion, by the metrics within lists."""

import io
import re

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient
from rich.console import Console
from tests.runs.small import SMALL
from torchmetrics.retrieval import RetrievalMRR, RetrievalNormalizedDCG

from clickflow.cli.comparison_configs import model_configs
from clickflow.cli.compose import composed_config
from clickflow.cli.result_tables import print_dataset, print_evaluation, print_metrics
from clickflow.config import validate
from clickflow.metrics.headings import HEADINGS, LIST_METRICS
from clickflow.metrics.significance import bootstrap_lists
from clickflow.pipelines.promote import print_outcome
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.promote import PROMOTED, REFUSED, promote
from clickflow.promotion.registry import Registry
from clickflow.runs.compare import compare
from clickflow.runs.config import CompareConfig, EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.run_dataset import open_dataset
from clickflow.runs.train import train
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store

pytestmark = pytest.mark.slow


OVERRIDES = [
    *(override for override in SMALL if not override.startswith("data.")),
    "data=log",
    "data.columns.group=request_id",
    "trainer.monitor=val/mrr",
]


def config(home, *overrides):
    given = [f"home={home}", f"data.path={home.parent / 'clicks.csv'}", *OVERRIDES, "model=base", *overrides]
    return validate(RunConfig, composed_config("train", given))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A log of 800 requests by 100 users, of 6 items each; the lower an item's number, the more it is clicked."""
    folder = tmp_path_factory.mktemp("lists")
    rng = np.random.default_rng(0)
    request = np.repeat(np.arange(800), 6)
    item = np.concatenate([rng.choice(40, 6, replace=False) for _ in range(800)])
    columns = {
        "user_id": rng.integers(0, 100, 800)[request],
        "item_id": item,
        "timestamp": 1_700_000_000 + 60 * request,
        "clicked": (rng.random(len(request)) < 1 / (1 + np.exp((item - 12) / 4))).astype(int),
        "request_id": [f"r{number}" for number in request],
    }
    pl.DataFrame(columns).write_csv(folder / "clicks.csv")
    return folder / "home"


@pytest.fixture(scope="module")
def runs(home):
    """One run that has learnt next to nothing, and one that has."""
    return train(config(home, "optimizer.learning_rate=1e-6", "trainer.max_epochs=1")), train(config(home, "seed=1"))


@pytest.fixture(scope="module")
def dataset(home, runs):
    store = open_store(TrackingConfig(), home)
    return open_dataset(read_run(store, runs[1].run_id), runs[1].config, home)


def client_of(home):
    return MlflowClient(f"sqlite:///{home}/mlflow.db")


def printed(print_it, *values):
    out = io.StringIO()
    print_it(Console(file=out, width=80), *values)
    return out.getvalue()


def test_a_training_logs_them_of_each_validation_and_of_the_best_weights(home, runs):
    run = client_of(home).get_run(runs[1].run_id)
    for name in (*LIST_METRICS, "lists_skipped"):
        assert run.data.metrics[f"best/{name}"] == runs[1].validation[name]
        assert len(client_of(home).get_metric_history(runs[1].run_id, f"val/{name}")) == 2
    points = [point.value for point in client_of(home).get_metric_history(runs[1].run_id, "val/mrr")]
    assert run.data.metrics["best/mrr"] == pytest.approx(max(points), rel=1e-6)  # Lightning logs in float32
    assert " MRR |" in run.data.tags["mlflow.note.content"]


def test_the_tables_show_them(runs, dataset):
    assert "NDCG@10" in printed(print_metrics, "validation", runs[1].validation)
    [heading, *_] = [line for line in printed(print_dataset, dataset, None).splitlines() if "positive rate" in line]
    assert "lists" in heading


def test_an_evaluation_measures_them_on_the_test_rows_with_intervals(home, runs, dataset, tmp_path):
    found = evaluate(EvaluateConfig(run_id=runs[1].run_id, home=home, tracking=TrackingConfig()))
    rows = pl.read_parquet(client_of(home).download_artifacts(runs[1].run_id, "predictions/test.parquet", str(tmp_path)))
    preds, target = rows["preds"].to_torch(), rows["label"].to_torch().long()
    list_id = found.scored.rows.list_id
    size = dataset.manifest.splits["test"].lists
    assert len(rows) == 6 * size
    both = (target.view(-1, 6).sum(1) % 6 > 0).repeat_interleave(6)  # the rows are in order by time within a user
    for name, metric in {"mrr": RetrievalMRR(), "ndcg_5": RetrievalNormalizedDCG(top_k=5)}.items():
        metric.update(preds[both], target[both], indexes=list_id[both])
        assert found.scored.metrics[name] == pytest.approx(float(metric.compute()), abs=1e-6)
    assert found.scored.metrics["lists_skipped"] == int((~both).sum()) / 6
    logged = client_of(home).get_run(runs[1].run_id).data.metrics
    table = printed(print_evaluation, found)
    for name in LIST_METRICS:
        assert found.intervals[name].low == logged[f"test/{name}_low"] < logged[f"test/{name}"] < logged[f"test/{name}_high"]
        assert re.search(rf"{HEADINGS[name]} +│ {logged[f'test/{name}']:.4f} │ \[", table)


def test_the_gate_goes_by_them(home, runs):
    weak, strong = runs

    def promoted(**values):
        asked = PromoteConfig(name="lists", metric="val/mrr", home=home, tracking=TrackingConfig(), **values)
        outcome = promote(asked)
        return outcome, printed(print_outcome, asked, outcome)

    first, text = promoted(run_id=weak.run_id)
    chance = first.evaluation.scored.rows.by_chance("mrr")
    assert 0.4 < chance < 0.7
    assert ("beware: these test rows do not show" in text) == (first.evaluation.intervals["mrr"].low <= chance)
    best, _ = promoted(dry_run=True)  # also of the runs of a comparison, if there was one
    logged = client_of(home).search_runs([best.challenger.run.experiment_id])
    assert best.challenger.value == max(run.data.metrics.get("best/mrr", 0) for run in logged)
    outcome, text = promoted(run_id=strong.run_id)
    assert outcome.kind == PROMOTED
    rows = outcome.evaluation.scored.rows
    columns = rows.preds[None], first.evaluation.scored.rows.preds[None], rows.target, rows.group, rows.list_id
    assert outcome.verdict.found == bootstrap_lists("mrr", *columns)
    assert f"promoted: lists version 2: MRR {outcome.verdict.found.difference:+.4f}" in text.replace("\n", " ")
    assert "beware" not in text
    version = Registry(open_store(TrackingConfig(), home), "lists").versions()[1]
    assert version.tags["test/mrr"].startswith(f"{outcome.evaluation.scored.metrics['mrr']:.4f} [")
    outcome, _ = promoted(run_id=weak.run_id)
    assert outcome.kind == REFUSED


def test_a_comparison_has_them_in_its_table_and_tests_the_one_that_is_monitored(home, runs):
    folder = home.parent / "conf"
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "experiment" / "two.yaml").write_text(
        "# @package _global_\ncompare:\n  base: Base\n  seeds: [1]\n  models:\n    Base: [model=base]\n    LR: [model=lr]\n"
    )
    overrides = [f"home={home}", *OVERRIDES, f"data.path={home.parent / 'clicks.csv'}", "experiment=two"]
    asked = validate(CompareConfig, composed_config("compare", overrides, str(folder)))
    comparison = compare(asked, model_configs(asked, overrides, str(folder)))
    base, lr = comparison.results
    logged = [client_of(home).get_run(result.run_ids[0]).data.metrics for result in (base, lr)]
    assert base.run_ids == (runs[1].run_id,)  # collected
    assert [result.metrics["ndcg_10"] for result in (base, lr)] == [(of_run["test/ndcg_10"],) for of_run in logged]
    assert lr.against_base["mrr"].difference == pytest.approx(logged[1]["test/mrr"] - logged[0]["test/mrr"], abs=1e-9)
    assert base.against_base == {}
    table = (comparison.folder / "table.md").read_text()
    assert "NDCG@10" in table
    assert re.search(r"ΔMRR \[95 %\] +\| +p\(MRR\)", table)
    lines = (comparison.folder / "table.csv").read_text()
    assert "mrr_mean" in lines
    assert "mrr_p_value" in lines
