"""The attention figure draws names as the user's data has them."""

import numpy as np

from clickflow.figures.attention_figure import AttentionSample, attention_figure


def test_dollar_signs_in_names_do_not_begin_a_formula():
    names = ["$5 a Day (2008)", "$x_$"]
    sample = AttentionSample(names[1], "click, predicted 0.9", names, np.array([0.5, -0.1]), np.array([True, False]))

    figure = attention_figure([sample], "category")
    figure.draw_without_rendering()  # a formula that cannot be read would raise

    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.get_title(loc="left") == "$x_$\nclick, predicted 0.9"
