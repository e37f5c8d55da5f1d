"""The table of a comparison against values worked out by hand."""

import csv
import io
import math
import re

import pytest

from clickflow.metrics.significance import PairedDifference
from clickflow.runs.comparison import ModelResult, as_csv, as_markdown, improvement, quality_columns, significance_columns

COSTS = {"num_parameters": (1000.0,) * 3, "rows_per_second": (10.0, 20.0, 30.0), "train_seconds": (1.0, 2.0, 3.0)}


def result(label="DIN", seeds=3, **changes):
    values = {"auc": (0.80, 0.82, 0.84), "gauc": (0.7, 0.7, 0.7), "pr_auc": (0.5, 0.6, 0.7), "log_loss": (0.4, 0.4, 0.1)}
    metrics = {name: of_seeds[:seeds] for name, of_seeds in (values | COSTS).items()}
    fields = {
        "label": label,
        "run_ids": ("a", "b", "c")[:seeds],
        "metrics": metrics,
        "against_base": {"auc": PairedDifference(0.01, 0.004, 0.016, 0.0004), "gauc": PairedDifference(-0.002, -0.01, 0.006, 0.62)},
        "rela_impr": 0.25,
        "published": {"gauc": 0.8818},
    }
    return ModelResult(**(fields | changes))


def test_mean_and_sample_deviation_over_seeds():
    columns = quality_columns(result())

    assert columns["AUC"] == "0.8200 ± 0.0200"  # sqrt((0.02² + 0 + 0.02²) / 2)
    assert columns["GAUC"] == "0.7000 ± 0.0000"
    assert columns["seeds"] == "3"
    assert columns["RelaImpr"] == "+25.00%"
    assert columns["published GAUC"] == "0.8818"


def test_a_single_seed_has_no_deviation():
    assert quality_columns(result(seeds=1))["AUC"] == "0.8000"
    assert math.isnan(result(seeds=1).std("auc"))


def test_rela_impr_is_that_of_the_means():
    assert improvement((0.80, 0.82, 0.84), (0.74, 0.78)) == pytest.approx(0.32 / 0.26 - 1)
    assert math.isnan(improvement((0.8,), ()))
    assert math.isnan(improvement((0.8,), (0.49,)))
    assert quality_columns(result(rela_impr=math.nan))["RelaImpr"] == "–"


def test_differences_to_the_base_with_interval_and_p_value():
    columns = significance_columns(result())

    assert columns["ΔAUC [95 %]"] == "+0.0100 [+0.0040, +0.0160]"
    assert columns["p(AUC)"] == "< 0.001"
    assert columns["p(GAUC)"] == "0.620"
    assert columns["rows/s"] == "20"


@pytest.mark.parametrize(
    ("difference", "shown"),
    [
        (PairedDifference(math.nan, math.nan, math.nan, math.nan), "undefined"),
        (PairedDifference(0.1, math.nan, math.nan, math.nan), "+0.1000"),
    ],
)
def test_what_the_rows_cannot_tell_is_said_so(difference, shown):
    columns = significance_columns(result(against_base={"gauc": difference}))

    assert columns["ΔGAUC [95 %]"] == shown
    assert columns["p(GAUC)"] == "–"


def test_the_base_has_no_difference_to_itself():
    columns = significance_columns(result(against_base={}))

    assert columns["ΔAUC [95 %]"] == columns["p(GAUC)"] == "–"


def test_markdown_has_a_cell_for_each_heading_in_every_line():
    lines = as_markdown([result("Base", published={}, against_base={}), result()]).splitlines()

    quality, significance, runs = lines[:4], lines[5:9], lines[10:]
    assert [len(line.split("|")) for line in quality] == [len(quality[0].split("|"))] * 4
    assert [len(line.split("|")) for line in significance] == [len(significance[0].split("|"))] * 4
    assert re.match(r"\| Base +\| +3 \|", quality[2])
    assert re.fullmatch(r"\| DIN +\| +a, b, c \|", runs[-1])


def test_csv_holds_plain_numbers_for_every_model():
    base, din = csv.DictReader(io.StringIO(as_csv([result("Base", published={}, against_base={}), result()])))

    assert float(din["auc_mean"]) == pytest.approx(0.82)
    assert float(din["auc_p_value"]) == 0.0004
    assert float(din["gauc_published"]) == 0.8818
    assert base["auc_difference"] == base["gauc_published"] == ""
    assert din["run_ids"] == "a b c"
