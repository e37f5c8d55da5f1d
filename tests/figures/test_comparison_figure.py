"""The picture of a comparison: what stands where."""

import pytest

from clickflow.figures.comparison_figure import comparison_figure

VALUES = {
    "AUC": {"Base": (0.70, 0.72), "DIN": (0.75, 0.75)},
    "GAUC": {"Base": (0.60, 0.64), "DIN": (0.66, 0.68)},
}


def points(axes, label):
    [line] = [line for line in axes.get_lines() if line.get_label() == label]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_every_seed_mean_and_published_value_stands_in_its_row():
    auc, gauc = comparison_figure(VALUES, {"GAUC": {"DIN": 0.8818}}, "Base").axes

    assert points(auc, "one seed") == [(0.70, 0), (0.72, 0), (0.75, 1), (0.75, 1)]
    assert points(gauc, "mean over seeds") == [(pytest.approx(0.62), 0), (pytest.approx(0.67), 1)]
    assert points(gauc, "published") == [(0.8818, 1)]
    assert [text.get_text() for text in auc.get_yticklabels()] == ["Base", "DIN"]


@pytest.mark.parametrize(("base", "mean"), [("Base", 0.62), ("DIN", 0.67)])
def test_the_first_model_is_at_the_top_and_the_mean_of_the_base_is_the_reference(base, mean):
    auc, gauc = comparison_figure(VALUES, {}, base).axes

    assert auc.get_ylim()[0] > auc.get_ylim()[1]
    [line] = [line for line in gauc.get_lines() if line.get_label() == f"mean of {base}"]
    assert line.get_xdata()[0] == pytest.approx(mean)
    assert [text.get_text() for text in gauc.texts] == ["0.6200", "0.6700"]
    assert not [line for line in auc.get_lines() if line.get_label() == "published"]
