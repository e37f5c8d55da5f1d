"""What ``prepare`` and an evaluation print, as a person reads it in a narrow terminal."""

import io
import math

import polars as pl
import pytest
import torch
from rich.console import Console

from clickflow.cli.result_tables import SLICES_SHOWN, print_dataset, print_evaluation
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig
from clickflow.data.sources.log import LogConfig
from clickflow.metrics.intervals import ConfidenceInterval
from clickflow.metrics.scored_rows import ScoredRows
from clickflow.metrics.strata import metrics_by_stratum
from clickflow.runs.evaluate import Evaluation, Openings
from clickflow.runs.split_report import ScoredSplit


def slices(name: str, values: list[str]) -> pl.DataFrame:
    """Random predictions cut into slices of 40 rows, the last one without a click."""
    generator = torch.Generator().manual_seed(0)
    stratum = torch.arange(40 * len(values)) // 40
    target = torch.randint(2, (len(stratum),), generator=generator)
    target[stratum == len(values) - 1] = 0
    found = metrics_by_stratum(torch.rand(len(stratum), generator=generator), target, torch.arange(len(stratum)), stratum)
    columns = {key: column.numpy() for key, column in found.items()}
    return pl.DataFrame({"slice": [name] * len(values), "value": values, **columns}).fill_nan(None)


def printed(openings: Openings) -> str:
    metrics = {"auc": 0.7123, "gauc": math.nan, "gauc_users_skipped": 1234.0}
    scored = ScoredSplit("test", ScoredRows(*[torch.empty(0)] * 3), metrics)
    table = pl.concat([slices("device", [f"d{number}" for number in range(SLICES_SHOWN)]), slices("category", list("abcdefghijkl"))])
    file = io.StringIO()
    intervals = {"auc": ConfidenceInterval(0.7, 0.72), "gauc": ConfidenceInterval(math.nan, math.nan)}
    print_evaluation(Console(file=file, width=80), Evaluation("0123", scored, intervals, 1, table, openings))
    return file.getvalue()


def test_metrics_stand_beside_their_intervals_and_what_is_not_defined_is_a_dash():
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed(Openings(1, 1)).splitlines()]
    assert ["AUC", "0.7123", "[0.7000, 0.7200]"] in lines
    assert ["GAUC", "–", "–"] in lines
    assert ["users skipped", "1,234", "–"] in lines


def test_a_slice_of_many_values_shows_its_first_ones_and_says_how_many_there_are():
    text = printed(Openings(1, 1))
    assert f"d{SLICES_SHOWN - 1}" in text
    assert f"… {12 - SLICES_SHOWN + 1} more" in text
    assert "…" not in text.replace("… 5 more", "")  # nothing is cut off, however narrow the terminal
    [empty] = [line for line in text.splitlines() if f"d{SLICES_SHOWN - 1}" in line]
    assert empty.count("–") == 3  # AUC, GAUC, calibration


def test_how_often_the_test_split_was_opened_is_a_sentence():
    assert "has been opened 1 time, by 1 run;" in printed(Openings(1, 1))
    assert "has been opened 1,200 times, by 30 runs;" in printed(Openings(1200, 30))


def test_the_summary_shows_missing_values_and_what_was_dropped_for_which_reason(tmp_path):
    header = "user,item,time,label,price,genre"
    rows = [f"u{row % 5},i{row % 7},{1_700_000_000 + row},{row % 2},{row % 4 or ''},a|b" for row in range(100)]
    rows[3] = "u1,i1"
    rows[4] = f"NULL,i1,{1_700_000_000},1,7,a"
    rows[5] = f"u1,i1,{1_700_000_000},1,dear,c"
    (tmp_path / "clicks.csv").write_text("\n".join([header, *rows]))
    values = {
        "name": "mine",
        "source": "log",
        "path": str(tmp_path / "clicks.csv"),
        "columns": {"user": "user", "item": "item", "timestamp": "time", "label": "label"},
        "context_fields": {"price": {"column": "price", "kind": "numeric"}, "genre": {"column": "genre"}},
        "on_bad_rows": "drop",
    }
    dataset = prepare(validate(LogConfig, values), ImpressionsConfig(), tmp_path / "home")
    file = io.StringIO()
    print_dataset(Console(file=file, width=100), dataset, None)
    text = file.getvalue()
    fields = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert ["price", "numeric", "3", "25.5%", "1 unreadable"] in fields
    assert ["genre", "categorical", "2", "0.0%", "97 with several values in one text"] in fields
    assert "noted: rows read 100, bad rows dropped 2" in text
    assert "dropped: clicks.csv, lines that are no rows (1 row)" in text
    assert "dropped: clicks.csv, user missing (1 row)" in text
    assert "no value: user (1 row)" in text


def test_the_summary_shows_kinds_and_how_many_rows_count(tmp_path):
    rows = [f"u{row % 5},i{row % 7},{1_700_000_000 + row},{('view', 'buy', 'cart', 'refund')[row % 4]}" for row in range(100)]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,time,event", *rows]))
    label = {"column": "event", "positive": ["buy"], "negative": ["view"]}
    values = {
        "name": "mine",
        "source": "log",
        "path": str(tmp_path / "events.csv"),
        "where": {"event": ["view", "buy", "cart"]},
        "columns": {"user": "user", "item": "item", "timestamp": "time", "label": label, "kind": "event"},
        "behaviours": {"where": {"event": ["buy", "cart"]}},
    }
    file = io.StringIO()
    print_dataset(Console(file=file, width=100), prepare(validate(LogConfig, values), ImpressionsConfig(), tmp_path / "home"), None)
    assert "kinds of behaviours: buy 25, cart 25" in file.getvalue()
    assert "noted: rows read 100, left out by where 25, no impressions 25" in file.getvalue()
    assert "behaviours left out by where 50" in file.getvalue()


@pytest.mark.parametrize(
    ("labels", "warned"),
    [
        ([0] * 40, ["beware: data set mine, split train: all 32 labels are 0; both classes are needed; check the label column"]),
        ([1] * 40, ["beware: data set mine, split train: all 32 labels are 1; both classes are needed; check the label column"]),
        ([0, 1] * 18 + [0] * 4, ["beware: data set mine, split test: all 4 labels are 0; both classes are needed; check the label column"]),
        ([0, 1] * 20, []),
    ],
)
def test_a_split_of_one_class_is_prepared_with_a_warning(tmp_path, labels, warned):
    pl.DataFrame({"user": [1, 2] * 20, "item": range(40), "time": range(1_700_000_000, 1_700_000_040), "label": labels}).write_csv(
        tmp_path / "log.csv"
    )
    columns = {"user": "user", "item": "item", "timestamp": "time", "label": "label"}
    config = validate(LogConfig, {"name": "mine", "source": "log", "path": str(tmp_path / "log.csv"), "columns": columns})
    file = io.StringIO()
    print_dataset(Console(file=file, width=80), prepare(config, ImpressionsConfig(), tmp_path), None)
    assert [line.partition(" (or ")[0] for line in file.getvalue().splitlines() if "beware" in line] == warned
