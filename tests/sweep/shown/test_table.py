"""The CSV is read back by Python's own reader; the Markdown's order is that of a plain sort."""

import csv
import io

import pytest
from optuna.trial import TrialState
from tests.sweep.studies import PARAMETERS, SPACE, a_study, a_sweep, a_trial

from clickflow.sweep.shown.table import as_markdown, trial_rows
from clickflow.text import csv_table

GAUC = ["val/gauc"]
TWO = ["val/gauc", "num_parameters"]
UP_DOWN = ("maximize", "minimize")


def cells(markdown: str) -> list[list[str]]:
    """The rows of a table below its heading."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.splitlines()[2:]]


def test_every_trial_is_a_row_with_its_state():
    rows = trial_rows(a_sweep(16), SPACE, GAUC)
    assert [row["number"] for row in rows] == [str(number) for number in range(21)]
    assert [row["state"] for row in rows] == ["complete"] * 16 + ["pruned", "surplus", "failed", "running", "waiting"]


def test_a_row_has_exactly_what_its_trial_has():
    row = trial_rows(a_sweep(), SPACE, GAUC)[18]
    assert row["reason"] == "DataError: no rows,\nnone"
    assert (row["val/gauc"], row["epochs"], row["run_id"]) == ("", "0", "")
    waiting = trial_rows(a_sweep(), SPACE, GAUC)[-1]
    assert {waiting[key] for key in SPACE.parameters} == {""}
    assert waiting["seconds"] == ""
    assert row.keys() == waiting.keys()


def test_a_conditional_parameter_is_blank_where_a_trial_has_none():
    study = a_study([a_trial({"model": "base"}, 0.7), a_trial({"model": "din", "model.attention_hidden_units": [80, 40]}, 0.8)])
    rows = trial_rows(study, SPACE, GAUC)
    assert [row["model.attention_hidden_units"] for row in rows] == ["", "[80, 40]"]


def test_the_csv_reads_back_as_it_was():
    study = a_sweep()
    rows = trial_rows(study, SPACE, GAUC)
    read = list(csv.DictReader(io.StringIO(csv_table(rows), newline="")))
    assert read == rows
    assert list(read[0]) == ["number", "state", "val/gauc", "epochs", "seconds", *SPACE.parameters, "run_id", "reason"]
    for row, trial in zip(read[:16], study.trials, strict=False):
        assert float(row["val/gauc"]) == trial.value
        assert float(row["optimizer.learning_rate"]) == trial.params["optimizer.learning_rate"]


def test_no_trial_is_an_empty_csv():
    assert csv_table(trial_rows(a_study([]), SPACE, GAUC)) == ""


@pytest.mark.parametrize(("direction", "reverse"), [("maximize", True), ("minimize", False)])
def test_markdown_lists_the_best_ten_with_short_headings(direction, reverse):
    study = a_sweep(16, (direction,))
    markdown = as_markdown(study, SPACE, GAUC)
    assert [heading.strip() for heading in markdown.splitlines()[0].strip("|").split(" | ")] == ["trial", "val/gauc", *PARAMETERS, "run"]
    best = sorted(study.trials[:16], key=lambda trial: trial.value, reverse=reverse)[:10]
    assert [int(row[0]) for row in cells(markdown)] == [trial.number for trial in best]
    assert [row[-1] for row in cells(markdown)] == [f"run{trial.number}" for trial in best]
    assert [float(row[1]) for row in cells(markdown)] == pytest.approx([trial.value for trial in best], rel=1e-4)


def test_markdown_of_several_metrics_lists_the_front():
    points = [(0.7, 100.0), (0.8, 200.0), (0.75, 300.0), (0.9, 400.0)]
    study = a_study([a_trial({"model": "din"}, *point) for point in points], UP_DOWN)
    assert [row[0] for row in cells(as_markdown(study, SPACE, TWO))] == ["3", "1", "0"]


def test_markdown_survives_a_bar_in_a_run_id_and_a_study_without_trials():
    study = a_study([a_trial({"model": "din"}, 0.7, run_id="a|b")])
    assert "a\\|b" in as_markdown(study, SPACE, GAUC)
    assert as_markdown(a_study([a_trial({"model": "din"}, state=TrialState.FAIL)]), SPACE, GAUC) == "No trial is complete yet."
