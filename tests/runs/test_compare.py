"""A comparison from configs to table: what is trained, what is collected, and that the numbers are those of the runs."""

import csv
import re
import shutil

import pytest
import torch
from mlflow import MlflowClient
from tests.runs.small import SMALL

from clickflow.cli.comparison_configs import model_configs
from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.data.predictions import read_predictions
from clickflow.errors import ConfigError, DataError, TrainingError
from clickflow.metrics.ranking import gauc
from clickflow.metrics.significance import delong
from clickflow.runs.compare import compare
from clickflow.runs.config import CompareConfig

pytestmark = pytest.mark.slow


def compose(home, *overrides, base="model=base", din="model=din, optimizer.learning_rate=0.005"):
    """A comparison of Base and DIN as an experiment of the user's own."""
    overrides = [f"home={home}", *SMALL, "trainer.max_epochs=1", "experiment=two", *overrides]
    folder = home.parent / "conf"
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "experiment" / "two.yaml").write_text(
        "# @package _global_\ncompare:\n  base: Base\n  seeds: [0, 1]\n  models:\n"
        f"    Base: [{base}]\n    DIN: [{din}]\n  published: {{DIN: {{gauc: 0.88}}}}\n"
    )
    config = validate(CompareConfig, composed_config("compare", overrides, str(folder)))
    return config, model_configs(config, overrides, str(folder))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("compared") / "home"


@pytest.fixture(scope="module")
def compared(home):
    return compare(*compose(home))


def client_of(home):
    return MlflowClient(f"sqlite:///{home}/mlflow.db")


def runs_of(home):
    client = client_of(home)
    return client.search_runs([client.get_experiment_by_name("synthetic").experiment_id])


def test_every_model_is_trained_with_every_seed_below_one_parent(home, compared):
    children = [run for run in runs_of(home) if run.data.tags.get("mlflow.parentRunId") == compared.run_id]

    assert sorted(run.info.run_name for run in children) == ["Base-seed0", "Base-seed1", "DIN-seed0", "DIN-seed1"]
    assert {run.data.tags["evaluation.status"] for run in children} == {"FINISHED"}
    assert {result.label: len(result.run_ids) for result in compared.results} == {"Base": 2, "DIN": 2}


def test_the_parent_holds_the_table_and_says_it(home, compared):
    client = client_of(home)
    parent = client.get_run(compared.run_id)

    assert parent.info.status == "FINISHED"
    assert re.search(r"^\| DIN +\| +2 \|", parent.data.tags["mlflow.note.content"], flags=re.MULTILINE)
    assert {file.path for file in client.list_artifacts(compared.run_id, "comparison")} == {
        f"comparison/{name}" for name in ("table.csv", "table.md", "table.png", "gradient_norms.png")
    }
    assert parent.data.params["compare.base"] == "Base"


def test_its_numbers_are_those_of_the_logged_predictions(home, compared, tmp_path):
    client, preds = client_of(home), {}
    base, din = compared.results
    for result in (base, din):
        for seed, run_id in enumerate(result.run_ids):
            read = read_predictions(client.download_artifacts(run_id, "predictions/test.parquet", str(tmp_path)))
            scores, label, group = (torch.from_numpy(column.copy()) for column in read)
            preds[result.label, seed] = scores
            assert result.metrics["gauc"][seed] == pytest.approx(gauc(scores, label, group).value, abs=1e-9)

    expected = delong(
        torch.stack([preds["DIN", 0], preds["DIN", 1]]), torch.stack([preds["Base", 0], preds["Base", 1]]), label, group=group
    )

    assert din.against_base["auc"] == expected
    assert expected.difference == pytest.approx(din.mean("auc") - base.mean("auc"), abs=1e-6)  # torchmetrics sums in float32
    assert base.against_base == {}
    line = list(csv.DictReader((compared.folder / "table.csv").read_text().splitlines()))[1]
    assert float(line["gauc_mean"]) == pytest.approx(din.mean("gauc"))
    assert float(line["gauc_published"]) == 0.88


def test_a_second_comparison_collects_what_is_there_and_trains_what_is_new(home, compared):
    before = {run.info.run_id for run in runs_of(home)}
    again = compare(*compose(home, "compare.seeds=[0,1,2]"))

    assert len(runs_of(home)) - len(before) == 1 + 2  # the parent, and seed 2 of both
    assert [result.run_ids[:2] for result in again.results] == [result.run_ids for result in compared.results]


def test_a_run_with_another_config_or_data_is_not_collected(home, compared):
    before = {run.info.run_id for run in runs_of(home)}
    compare(*compose(home, "compare.seeds=[0]", "trainer.batch_size=128", "data.seed=5"))

    assert len({run.info.run_id for run in runs_of(home)} - before) == 1 + 2


def test_a_run_that_fails_costs_itself_and_the_others_are_tabled(tmp_path):
    config, models = compose(tmp_path / "home", "compare.seeds=[0]")
    optimizer = models["DIN"].optimizer.model_copy(update={"learning_rate": 1e30})
    models["DIN"] = models["DIN"].model_copy(update={"optimizer": optimizer})

    with pytest.raises(TrainingError, match=r"1 of the runs failed; table of the others: .*\n  DIN, seed 0: .*diverged"):
        compare(config, models)

    [parent] = [run for run in runs_of(config.home) if run.data.tags.get("kind") == "comparison"]
    assert parent.info.status == "FAILED"
    assert re.search(r"^\| Base +\| +1 \|", parent.data.tags["mlflow.note.content"], flags=re.MULTILINE)
    shutil.rmtree(config.home)


def test_when_all_runs_fail_the_reasons_are_told_and_no_table_is_made(tmp_path):
    config, models = compose(tmp_path / "home", "compare.seeds=[0]", "optimizer=sgd", base="model=base, optimizer.learning_rate=1e30")

    with pytest.raises(TrainingError, match=r"all runs failed\n  Base, seed 0: .*diverged"):
        compare(config, {"Base": models["Base"]})

    [parent] = [run for run in runs_of(config.home) if run.data.tags.get("kind") == "comparison"]
    assert parent.info.status == "FAILED"
    assert not (config.home / "comparisons").exists()


def test_data_that_no_model_can_be_measured_on_is_refused_once(tmp_path):
    rows = "".join(f"u{i % 7},i{i % 11},{1_700_000_000 + i},{int(i < 300 and i % 3 == 0)}\n" for i in range(400))  # no click at the end
    (tmp_path / "clicks.csv").write_text("user_id,item_id,timestamp,clicked\n" + rows)
    home = tmp_path / "home"
    overrides = [f"home={home}", "data=log", f"data.path={tmp_path / 'clicks.csv'}", "compare.only=[Base,DIEN]"]
    config = validate(CompareConfig, composed_config("compare", overrides))

    with pytest.raises(DataError, match=r"split validation: all 40 labels are 0; both classes are needed"):
        compare(config, model_configs(config, overrides))

    client = client_of(home)
    assert len(client.search_runs([client.get_experiment_by_name("log").experiment_id])) == 1


def test_a_model_on_other_data_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"compare\.models\.DIN = \['model=din', 'protocol=next_item'\]: changes data, protocol, home or"):
        compose(tmp_path / "home", din="model=din, protocol=next_item")


def test_what_is_wrong_with_each_model_is_told_at_once(tmp_path):
    with pytest.raises(
        ConfigError, match=r"(?s)compare\.models\.Base:.*model\.poling: unknown key.*compare\.models\.DIN:.*did you mean din"
    ):
        compose(tmp_path / "home", base="model=base, model.poling=sum", din="model=din, model.name=dni")
