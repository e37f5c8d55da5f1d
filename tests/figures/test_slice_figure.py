"""The figure of slices: one line a slice below its heading, and nothing where there is no AUC."""

import math

import pytest

from clickflow.figures.slice_figure import MOST, SlicePoint, slice_figure

POINTS = [
    SlicePoint("history length", "0", 100, 0.6, 0.55, 0.65),
    SlicePoint("history length", "1 to 2", 12, 0.7, math.nan, math.nan),
    SlicePoint("device", "one class only", 3, math.nan, math.nan, math.nan),
    SlicePoint("device", "$5 to $10, a value with a long name of its own", 1200, 0.8, 0.78, 0.82),
]


def test_slices_stand_below_their_names_and_those_without_an_auc_are_left_out(tmp_path):
    figure = slice_figure(POINTS, 0.75, "AUC by slice")
    [axes] = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["history length", "0", "1 to 2", "device", "$5 to $10, a value with a long …"]
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["bold", "normal", "normal", "bold", "normal"]
    assert [text.get_text() for text in axes.texts] == ["rows", "100", "12", "1,200"]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "all rows  (0.7500)",
        "slice, with 95 % interval",
        "too few rows for an interval",
    }
    figure.savefig(tmp_path / "slices.png")
    assert (tmp_path / "slices.png").stat().st_size > 10_000


@pytest.mark.parametrize("points", [[], POINTS[2:3]], ids=["no slices", "no AUC"])
def test_a_split_of_one_class_is_an_empty_figure(points, tmp_path):
    slice_figure(points, math.nan, "AUC by slice").savefig(tmp_path / "slices.png")


def test_equal_slices_do_not_look_far_apart():
    points = [SlicePoint("device", str(value), 10_000, 0.7 + value / 1e6, 0.7, 0.7001) for value in range(3)]
    low, high = slice_figure(points, 0.7, "AUC by slice").axes[0].get_xlim()
    assert high - low >= 0.02


def test_of_very_many_slices_the_first_are_drawn_and_the_title_says_so():
    points = [SlicePoint("device", str(value), 100, 0.7, 0.65, 0.75) for value in range(1000)]
    [axes] = slice_figure(points, 0.7, "AUC by slice").axes
    assert axes.get_title(loc="left") == f"AUC by slice, the first {MOST} of 1,000"
    assert len(axes.get_yticklabels()) == MOST + 1
