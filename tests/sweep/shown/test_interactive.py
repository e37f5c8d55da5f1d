"""The page is read as a browser without a network gets it; its figures are read back from the JSON in it."""

import base64
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from plotly.offline import get_plotlyjs
from tests.sweep.studies import PARAMETERS, SPACE, a_study, a_sweep, a_trial

from clickflow.metrics.curves import pr_curve, roc_curve
from clickflow.sweep.shown.interactive import interactive_page
from clickflow.sweep.space import Choice, Interval, SearchSpace

TARGET = torch.arange(200) % 4 == 0
PREDS = torch.linspace(0, 1, 200)
CURVES = {f"trial {number}": (roc_curve(preds, TARGET), pr_curve(preds, TARGET)) for number, preds in ((3, PREDS), (5, PREDS.flip(0)))}
TWO = ["val/gauc", "num_parameters"]
UP_DOWN = ("maximize", "minimize")
SLICES = "val/gauc by attention_hidden_units, dropout, embedding_dim, learning_rate, model"


class Page(HTMLParser):
    """What a page asks of a network, and its headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.headings: list[str] = []
        self.scripts: list[str] = []
        self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._tag = ""

    def handle_data(self, data):
        if self._tag == "h2":
            self.headings.append(data)
        if self._tag == "script":
            self.scripts[-1] += data


def calls(page: Page) -> dict[str, tuple[list[dict], dict]]:
    """Heading -> traces and layout of the figure below it."""
    found = []
    for script in page.scripts:
        if call := re.search(r'Plotly\.newPlot\(\s*"figure-[^"]*",\s*', script):
            traces, end = json.JSONDecoder().raw_decode(script, call.end())
            layout = script.index("{", end)
            found.append((traces, json.JSONDecoder().raw_decode(script, layout)[0]))
    return dict(zip(page.headings, found, strict=True))


def figures(page: Page) -> dict[str, list[dict]]:
    """Heading -> traces of the figure below it."""
    return {heading: traces for heading, (traces, _) in calls(page).items()}


def complete(study):
    return [trial for trial in study.trials if trial.state == TrialState.COMPLETE and not trial.user_attrs.get("surplus")]


@pytest.fixture(scope="module")
def html() -> str:
    return interactive_page(a_sweep(), SPACE, ["val/gauc"], CURVES)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_plotlys_script_is_in_the_page_once_and_nothing_is_fetched(html, page):
    assert html.count(get_plotlyjs()) == 1
    assert page.sources == []


def test_the_page_has_a_section_for_each_view_of_the_study(page):
    assert page.headings == [
        "History of val/gauc",
        "Importances",
        "Parallel coordinates",
        SLICES,
        "ROC curves of the best trials",
        "Precision-recall curves of the best trials",
    ]
    assert list(figures(page)) == page.headings


def test_history_tells_pruned_trials_and_the_best_so_far(page):
    complete, pruned, best = figures(page)["History of val/gauc"]
    values = [trial.value for trial in a_sweep().trials[:16]]
    assert (complete["x"], complete["y"]) == (list(range(16)), values)
    assert (pruned["x"], pruned["y"]) == ([16], [0.7])
    assert best["y"] == [max(values[: last + 1]) for last in range(16)] + [max(values)]


def test_pointing_at_a_mark_shows_its_trial_and_parameters(page):
    trial = next(trial for trial in a_sweep().trials if "model.attention_hidden_units" in trial.params)
    text = figures(page)["History of val/gauc"][0]["text"][trial.number]
    assert f"Trial {trial.number}" in text
    assert "model = din" in text
    assert re.search(r"attention_hidden_units = (\[40, 20\]|\[80, 40\]|null)", text)
    for trace in figures(page)[SLICES]:
        assert all(re.search(r"Trial \d+.*val/gauc.*model = (din|base)", text) for text in trace["text"])


def test_each_parallel_line_names_its_own_trial(page):
    """Optuna draws the trials in another order than the study's where a choice is one among numbers."""
    lines = [trace for trace in figures(page)["Parallel coordinates"] if trace["mode"] == "lines"]
    numbers = [int(re.match(r"Trial (\d+)<br>", line["hovertemplate"])[1]) for line in lines]
    assert sorted(numbers) == list(range(16))
    assert numbers != sorted(numbers)
    study = a_sweep()
    for number, line in zip(numbers, lines, strict=True):
        values, trial = dict(line["customdata"]), study.trials[number]
        assert float(values["val/gauc"]) == pytest.approx(trial.value, abs=6e-4)
        assert float(values["learning_rate"]) == pytest.approx(trial.params["optimizer.learning_rate"], rel=6e-3)
        assert values["model"] == json.loads(trial.params["model"])


def test_parallel_axes_have_their_whole_names():
    space = SearchSpace(
        parameters={"a": Interval(low=0.0, high=1.0), "a_name_that_is_longer_than_optuna_allows": Interval(low=0.0, high=1.0)}
    )
    distributions = {name: parameter.distribution() for name, parameter in space.parameters.items()}
    trials = [optuna.create_trial(value=x, params=dict.fromkeys(distributions, x), distributions=distributions) for x in (0.2, 0.8)]
    _, layout = calls(Page(interactive_page(a_study(trials), space, ["val/gauc"], {})))["Parallel coordinates"]
    assert layout["xaxis"]["ticktext"] == ["val/gauc", "a", "a_name_that_is_longer_than_optuna_allows"]


def test_a_slices_axis_spans_what_is_searched(page):
    _, layout = calls(page)[SLICES]
    axes = {axis["title"]["text"]: axis for name, axis in layout.items() if name.startswith("xaxis")}
    assert axes["learning_rate"]["range"] == pytest.approx([-4.15, -0.85])  # decimal logarithms, with 5 % around them
    assert axes["dropout"]["range"] == pytest.approx([-0.025, 0.525])
    assert axes["embedding_dim"]["categoryarray"] == ["8", "16", "32"]


def test_slices_show_every_trial_that_has_the_parameter(page):
    study = a_sweep()
    _, layout = calls(page)[SLICES]
    names = {f"x{name.removeprefix('xaxis')}": axis["title"]["text"] for name, axis in layout.items() if name.startswith("xaxis")}
    points = {names[trace["xaxis"]]: len(trace["y"]) for trace in figures(page)[SLICES]}
    having = sum("model.attention_hidden_units" in trial.params for trial in complete(study))
    assert points == dict.fromkeys(PARAMETERS, 16) | {"attention_hidden_units": having}


def test_many_parameters_are_sliced_in_rows_of_five_at_most():
    space = SearchSpace(parameters={f"p{number}": Interval(low=0.0, high=1.0) for number in range(7)})
    distributions = {name: parameter.distribution() for name, parameter in space.parameters.items()}
    trials = [optuna.create_trial(value=x, params=dict.fromkeys(distributions, x), distributions=distributions) for x in (0.2, 0.8)]
    headings = Page(interactive_page(a_study(trials), space, ["val/gauc"], {})).headings
    assert headings[-2:] == ["val/gauc by p0, p1, p2, p3", "val/gauc by p4, p5, p6"]


def test_choices_are_readable(page):
    traces = figures(page)[SLICES]
    texts = {value for trace in traces if isinstance(trace["x"], list) for value in trace["x"] if isinstance(value, str)}
    assert texts == {"base", "din", "8", "16", "32", "[40, 20]", "[80, 40]", "null"}


def test_curves_of_the_best_trials_lie_over_each_other(page):
    traces = figures(page)["Precision-recall curves of the best trials"]
    assert [trace["name"] for trace in traces] == list(CURVES)
    for trace, (_, curve) in zip(traces, CURVES.values(), strict=True):
        y = trace["y"]
        numbers = np.frombuffer(base64.b64decode(y["bdata"]), np.float64) if isinstance(y, dict) else np.array(y)
        np.testing.assert_array_equal(numbers, curve.y)


def test_several_metrics_start_with_their_front():
    study = a_sweep(12, UP_DOWN)
    page = Page(interactive_page(study, SPACE, TWO, {}))
    assert page.headings == [
        "Pareto front",
        "History of val/gauc",
        "History of num_parameters",
        "Importances",
        "Parallel coordinates",
        SLICES,
        SLICES.replace("val/gauc", "num_parameters"),
    ]
    beaten, front = figures(page)["Pareto front"]
    trials = complete(study)
    alone = [
        one
        for one in trials
        if not any(other.values[0] >= one.values[0] and other.values[1] <= one.values[1] for other in trials if other is not one)
    ]
    assert sorted(zip(front["x"], front["y"], strict=True)) == sorted(tuple(trial.values) for trial in alone)
    assert len(beaten["x"]) == len(trials) - len(alone)


def test_more_metrics_are_seen_in_pairs_with_the_front_of_all():
    directions = (*UP_DOWN, "minimize")
    study = a_sweep(12, directions)
    page = Page(interactive_page(study, SPACE, [*TWO, "val/log_loss"], {}))
    fronts = {heading: call for heading, call in calls(page).items() if heading.startswith("Pareto front")}
    assert list(fronts) == [
        "Pareto front: val/gauc and num_parameters",
        "Pareto front: val/gauc and val/log_loss",
        "Pareto front: num_parameters and val/log_loss",
    ]
    signs = np.array([-1, 1, 1])
    costs = np.array([signs * trial.values for trial in complete(study)])
    alone = [cost for cost in costs if not any((other <= cost).all() and (other < cost).any() for other in costs)]
    (_, front), layout = fronts["Pareto front: val/gauc and val/log_loss"]
    assert sorted(zip(front["x"], front["y"], strict=True)) == sorted((-cost[0], cost[2]) for cost in alone)
    assert layout["xaxis"]["title"]["text"] == "val/gauc (more is better)"
    assert layout["yaxis"]["title"]["text"] == "val/log_loss (less is better)"


@pytest.mark.parametrize(("direction", "best_of"), [("maximize", max), ("minimize", min)])
def test_the_legend_names_the_best_trial_so_far(direction, best_of):
    study = a_sweep(directions=(direction,))
    *_, line = figures(Page(interactive_page(study, SPACE, ["val/gauc"], {})))["History of val/gauc"]
    values = [trial.value for trial in complete(study)]
    assert line["name"].endswith(f", trial {values.index(best_of(values))}")
    assert line["y"] == [best_of(values[: last + 1]) for last in range(16)] + [best_of(values)]


def test_trials_without_a_number_to_draw_are_passed_over():
    study = a_study([a_trial({"model": "din"}, math.inf), a_trial({"model": "base"}, 0.8)])
    found, *_ = figures(Page(interactive_page(study, SPACE, ["val/gauc"], {})))["History of val/gauc"]
    assert (found["x"], found["y"]) == ([1], [0.8])


def test_trials_that_are_equally_good_have_no_importances():
    study = a_study([a_trial({"model": model, "model.dropout": 0.1}, 0.8) for model in ("din", "base", "din")])
    assert "Importances" not in Page(interactive_page(study, SPACE, ["val/gauc"], {})).headings


@pytest.mark.parametrize("trials", [[], [a_trial({"model": "din"}, state=TrialState.FAIL)], [a_trial({"model": "din"}, 9.0, surplus=True)]])
def test_a_study_without_a_finished_trial_is_a_page_without_figures(trials):
    html = interactive_page(a_study(trials), SPACE, ["val/gauc"], {})
    assert Page(html).headings == []
    assert "0 complete and 0 pruned trials" in html


def test_one_complete_trial_is_enough_for_a_page():
    study = a_study([a_trial({"model": "din", "model.dropout": 0.1}, 0.8)])
    assert "History of val/gauc" in Page(interactive_page(study, SPACE, ["val/gauc"], {})).headings


def test_the_same_study_gives_the_same_page(html):
    assert interactive_page(a_sweep(), SPACE, ["val/gauc"], CURVES) == html


def test_a_value_cannot_end_the_script_it_stands_in():
    space = SearchSpace(parameters={"name": Choice(values=["</script><b>", "&"])})
    distribution = space.parameters["name"].distribution()
    trials = [
        optuna.create_trial(value=value, params={"name": json.dumps(name)}, distributions={"name": distribution})
        for value, name in ((0.7, "&"), (0.8, "</script><b>"))
    ]
    html = interactive_page(a_study(trials), space, ["val/gauc"], {"</script><b>": CURVES["trial 3"]})
    assert "</script><b>" not in html
    assert len(figures(Page(html))) == 5
