"""Attention weights of sample users: by raw id, those of the model, the same samples for every run."""

import numpy as np
import polars as pl
import pytest
import torch

from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig
from clickflow.data.sources.log import LogConfig
from clickflow.models.config import BaseConfig, DINConfig
from clickflow.runs.attention import BEHAVIOURS_SHOWN, NUM_SAMPLES, SHORTEST_HISTORY, _samples, attention_table, log_attention

CAP = 12


class Recorder:
    """Takes what a run would store."""

    def __init__(self):
        self.files, self.figures = {}, {}

    def log_text(self, text, file):
        self.files[file] = pl.read_csv(text.encode())

    def log_figure(self, figure, file):
        figure.savefig("/dev/null", format="png")
        self.figures[file] = figure


@pytest.fixture(scope="module")
def model(small_dataset):
    torch.manual_seed(0)
    return DINConfig().build(small_dataset.schema)


@pytest.fixture(scope="module")
def table(model, small_dataset):
    return attention_table(model, small_dataset, "validation", CAP)


def log_with_titles(folder, *, title=True):
    """20 users click 12 times each on 8 of 16 goods of 3 families."""
    names = [f"good{item}" for item in range(16)]
    rows = [
        (f"user{user}", names[(user + 2 * click) % 16], 1_700_000_000 + 100 * click + user) for user in range(20) for click in range(12)
    ]
    pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row").write_csv(folder / "clicks.csv")
    goods = pl.DataFrame({"good": names, "family": [f"family{i % 3}" for i in range(16)], "called": [f"{i} $ 茶" for i in range(16)]})
    goods.filter(pl.col("good") != "good7").write_csv(folder / "goods.csv")
    items = {"path": str(folder / "goods.csv"), "column": "good"} | ({"title": "called"} if title else {})
    columns = {"user": "user", "item": "item", "timestamp": "timestamp"}
    fields = {"family": {"column": "family"}}
    values = {"name": "mine", "source": "log", "path": str(folder / "clicks.csv"), "columns": columns, "items": items}
    return validate(LogConfig, values | {"item_fields": fields, "on_missing_items": "unknown"})


def test_the_weights_are_those_the_model_gives_each_row_alone(table, model, small_dataset):
    split = small_dataset.split("validation")
    users, items = small_dataset.raw_users().to_list(), [None, *small_dataset.raw_items().to_list()]
    for _, sample in table.group_by("sample"):
        user, target = sample.row(0)[1:3]
        [row] = [
            row
            for row in np.flatnonzero(split.rows["group"] == users.index(user))
            if items[split.rows["item"][row]] == target
            and np.isclose(torch.sigmoid(model.eval()(split.take(np.array([row]), CAP)).logit).item(), sample["pred"][0], atol=1e-6)
        ]
        batch = split.take(np.array([row]), CAP)
        torch.testing.assert_close(sample["weight"].to_torch(), model(batch).attention.detach(), rtol=1e-4, atol=1e-6)
        end = split.rows["history_end"][row]
        start = max(split.rows["history_start"][row], int(end) - CAP)
        assert sample["behaviour_item"].to_list() == [items[item] for item in split.behaviours[start:end]]
        assert sample["position"].to_list() == list(range(1, sample.height + 1))
        assert sample["label"].unique().to_list() == [split.rows["label"][row]]


def test_categories_are_raw_and_those_of_the_items(table, small_dataset):
    items, vocabulary = small_dataset.items(), small_dataset.vocabulary("category")
    raw_of_index = dict(vocabulary.select("index", "raw").iter_rows())
    category = {raw: raw_of_index.get(index) for raw, index in items.select("raw", "index/category").iter_rows()}
    for side in ("target", "behaviour"):
        assert table[f"{side}_category"].to_list() == [category[item] for item in table[f"{side}_item"]]


def test_samples_are_distinct_users_with_long_histories_whatever_their_label(table):
    samples = table.group_by("sample").agg(pl.len(), pl.col("user").first(), pl.col("label").first())
    assert samples.height == NUM_SAMPLES == samples["user"].n_unique()
    assert samples["len"].min() >= SHORTEST_HISTORY
    assert samples["label"].n_unique() == 2


def test_every_run_on_a_data_set_shows_the_same_samples(table, small_dataset):
    torch.manual_seed(1)
    other = attention_table(DINConfig(embedding_dim=4).build(small_dataset.schema), small_dataset, "validation", CAP)
    fixed = ["sample", "user", "target_item", "behaviour_item", "position"]
    assert other.select(fixed).equals(table.select(fixed))
    assert not other["weight"].equals(table["weight"])


def test_the_figure_shows_four_samples_with_the_targets_category_in_colour(model, small_dataset, table):
    run = Recorder()
    log_attention(run, model, small_dataset, "validation", CAP)

    assert list(run.files) == ["attention/validation.csv"]
    assert run.files["attention/validation.csv"]["weight"].to_list() == pytest.approx(table["weight"].to_list(), abs=1e-6)
    panels = run.figures["figures/validation/attention.png"].axes
    assert len(panels) == 4
    for number, axes in enumerate(panels, start=1):
        shown = table.filter(pl.col("sample") == number).tail(BEHAVIOURS_SHOWN)
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(shown["weight"].to_list())
        alike = (shown["behaviour_category"] == shown["target_category"]).to_list()
        colours = [bar.get_facecolor() for bar in axes.patches]
        assert all((colours[i] == colours[j]) == (alike[i] == alike[j]) for i in range(len(alike)) for j in range(len(alike)))
        assert axes.get_title(loc="left").startswith(f"Target: {shown['target_item'][0]} ({shown['target_category'][0]})\nuser ")
        assert axes.yaxis_inverted()  # the oldest on top


def test_only_the_latest_behaviours_of_a_long_history_are_drawn():
    count = BEHAVIOURS_SHOWN + 5
    table = pl.DataFrame(
        {
            "sample": [1] * count,
            "user": ["u"] * count,
            "target_item": ["t"] * count,
            "label": [1] * count,
            "pred": [0.25] * count,
            "behaviour_item": [f"b{i}" for i in range(count)],
            "weight": np.arange(count, dtype=np.float32),
        }
    )
    [sample] = _samples(table, "item")
    assert sample.behaviours == [f"b{i}" for i in range(5, count)]
    assert (sample.target, sample.outcome) == ("Target: t", "user u, label 1, prediction 0.250")


def test_a_model_without_attention_logs_nothing(small_dataset):
    run = Recorder()
    log_attention(run, BaseConfig().build(small_dataset.schema), small_dataset, "validation", CAP)
    assert (run.files, run.figures) == ({}, {})


def write_clicks(folder, histories):
    """A log whose validation rows have histories of these lengths: every user clicks in a first hour and is shown something later."""
    rows = [(f"u{user}", f"i{click}", 1_700_000_000 + click, 1) for user, length in enumerate(histories) for click in range(length)]
    rows += [(f"u{user}", "i0", 1_700_100_000 + 60 * user, user % 2) for user in range(len(histories))]
    pl.DataFrame(rows, schema=["user", "item", "timestamp", "label"], orient="row").write_parquet(folder / "log.parquet")
    columns = {name: name for name in ("user", "item", "timestamp", "label")}
    return validate(LogConfig, {"name": "mine", "source": "log", "path": str(folder / "log.parquet"), "columns": columns})


@pytest.mark.parametrize("longest", [1, 3])
def test_where_no_history_is_long_enough_the_longest_are_shown(tmp_path, longest):
    dataset = prepare(write_clicks(tmp_path, [0, 1, longest] * 10), ImpressionsConfig(), tmp_path / "home")
    table = attention_table(DINConfig().build(dataset.schema), dataset, "validation", CAP)
    lengths = table.group_by("sample").len()["len"].unique().to_list()
    split = dataset.split("validation").rows
    assert lengths == [int((split["history_end"] - split["history_start"]).max())]
    assert max(lengths) < SHORTEST_HISTORY


def test_histories_that_are_all_empty_log_nothing(tmp_path):
    dataset = prepare(write_clicks(tmp_path, [0] * 30), ImpressionsConfig(), tmp_path / "home")
    assert attention_table(DINConfig().build(dataset.schema), dataset, "validation", CAP) is None


class TestTitles:
    @pytest.mark.filterwarnings("ignore:Glyph")  # a run of its own silences it, this stand-in does not
    def test_they_stand_beside_ids_and_fields_in_table_and_figure(self, tmp_path):
        dataset = prepare(log_with_titles(tmp_path), NextItemConfig(), tmp_path / "home")
        model, run = DINConfig().build(dataset.schema), Recorder()

        log_attention(run, model, dataset, "validation", CAP)

        table = run.files["attention/validation.csv"]
        for side in ("target", "behaviour"):
            for item, title in table.select(f"{side}_item", f"{side}_title").iter_rows():
                assert title == (None if item == "good7" else f"{item.removeprefix('good')} $ 茶")
        labels = [label.get_text() for axes in run.figures["figures/validation/attention.png"].axes for label in axes.get_yticklabels()]
        assert "0 $ 茶 (family0)" in labels
        assert "good7" in labels  # neither title nor family

    def test_they_are_of_the_item_rows_and_change_no_fingerprint(self, tmp_path):
        with_titles = prepare(log_with_titles(tmp_path), NextItemConfig(), tmp_path / "home")
        without = prepare(log_with_titles(tmp_path, title=False), NextItemConfig(), tmp_path / "home")

        assert with_titles.titles().to_list() == [
            None if item == "good7" else f"{item.removeprefix('good')} $ 茶" for item in with_titles.raw_items()
        ]
        assert without.titles() is None
        assert with_titles.manifest.fingerprint == without.manifest.fingerprint
        assert with_titles.folder != without.folder
