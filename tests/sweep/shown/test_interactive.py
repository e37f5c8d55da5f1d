"""The page is read as a browser without a network gets it; its figures are read back from the JSON in it."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from plotly.offline import get_plotlyjs
from tests.sweep.studies import SPACE, a_study, a_sweep, a_trial

from clickflow.metrics.curves import pr_curve, roc_curve
from clickflow.sweep.shown.interactive import interactive_page
from clickflow.sweep.space import Choice, SearchSpace

TARGET = torch.arange(200) % 4 == 0
PREDS = torch.linspace(0, 1, 200)
CURVES = {f"trial {number}": (roc_curve(preds, TARGET), pr_curve(preds, TARGET)) for number, preds in ((3, PREDS), (5, PREDS.flip(0)))}
TWO = ["val/gauc", "num_parameters"]
UP_DOWN = ("maximize", "minimize")


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


def figures(page: Page) -> dict[str, list[dict]]:
    """Heading -> traces of the figure below it."""
    calls = [(script, re.search(r'Plotly\.newPlot\(\s*"figure-[^"]*",\s*', script)) for script in page.scripts]
    found = [json.JSONDecoder().raw_decode(script, call.end())[0] for script, call in calls if call]
    return dict(zip(page.headings, found, strict=True))


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
        "val/gauc over each parameter",
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
    for trace in figures(page)["val/gauc over each parameter"]:
        assert all(re.search(r"Trial \d+.*val/gauc.*model = (din|base)", text) for text in trace["text"])


def test_each_parallel_line_names_its_trial(page):
    lines = [trace for trace in figures(page)["Parallel coordinates"] if trace["mode"] == "lines"]
    assert [line["hovertemplate"].split("<br>")[0] for line in lines] == [f"Trial {number}" for number in range(16)]


def test_choices_are_readable(page):
    traces = figures(page)["val/gauc over each parameter"]
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
        "val/gauc over each parameter",
        "num_parameters over each parameter",
    ]
    beaten, front = figures(page)["Pareto front"]
    trials = [trial for trial in study.trials if trial.state == TrialState.COMPLETE and not trial.user_attrs.get("surplus")]
    alone = [
        one
        for one in trials
        if not any(other.values[0] >= one.values[0] and other.values[1] <= one.values[1] for other in trials if other is not one)
    ]
    assert sorted(zip(front["x"], front["y"], strict=True)) == sorted(tuple(trial.values) for trial in alone)
    assert len(beaten["x"]) == len(trials) - len(alone)


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
