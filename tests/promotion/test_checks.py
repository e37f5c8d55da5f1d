"""Models are tried before they are registered, on raw ids through the interface that serves."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

from clickflow.data.raw_rows import raw_rows
from clickflow.errors import DataError, PromotionError
from clickflow.promotion import checks
from clickflow.promotion.checks import _predict, call_problems, check_calls

LONG, TEXT, ANY = DataType.long, DataType.string, AnyType()


def model(answer="probability", answer_type=DataType.double, **columns):
    """A model's signature; a column is its type, in a list where it is optional."""
    specs = [ColSpec(kind[0], name, required=False) if isinstance(kind, list) else ColSpec(kind, name) for name, kind in columns.items()]
    return ModelSignature(inputs=Schema(specs), outputs=Schema([ColSpec(answer_type, answer)]))


CHAMPION = model(item=LONG, history=Array(LONG), device=[TEXT])


@pytest.mark.parametrize(
    "challenger",
    [
        model(item=LONG, history=Array(LONG), device=[TEXT]),
        model(item=ANY, history=Array(ANY), device=[ANY]),
        model(item=LONG, history=ANY, device=[TEXT], hour=[LONG]),
    ],
)
def test_callers_notice_nothing_of_a_model_that_takes_all_they_send(challenger):
    assert call_problems(challenger, CHAMPION) == []


@pytest.mark.parametrize(
    ("challenger", "problem"),
    [
        (model(item=LONG, history=Array(LONG)), "does not take column 'device'"),
        (model(item=TEXT, history=Array(LONG), device=[TEXT]), "takes column 'item' as DataType.string, not as DataType.long"),
        (model(item=LONG, history=Array(TEXT), device=[TEXT]), "takes column 'history' as Array"),
        (model(item=LONG, history=Array(LONG), device=TEXT), "requires column 'device', which callers may leave out"),
        (model(item=LONG, history=Array(LONG), device=[TEXT], hour=LONG), "requires column 'hour', which callers do not send"),
        (model("score", item=LONG, history=Array(LONG), device=[TEXT]), "does not answer with 'probability' of type DataType.double"),
        (None, "has no signature"),
    ],
)
def test_a_model_that_callers_could_not_call_is_refused(challenger, problem, monkeypatch):
    monkeypatch.setattr(checks, "read_signature", lambda store, uri: {"models:/ctr/1": CHAMPION}[uri])
    checked = SimpleNamespace(challenger=SimpleNamespace(uri="models:/m-1"), signature=challenger)
    with pytest.raises(PromotionError, match=rf"model models:/m-1: callers of the champion models:/ctr/1 could not call it: it {problem}"):
        check_calls(None, checked, "models:/ctr/1")


def test_nothing_is_known_of_the_callers_of_a_champion_without_a_signature():
    assert call_problems(CHAMPION, None) == []


def answering(values=None, error=None):
    def predict(frame):
        if error is not None:
            raise error
        return pd.DataFrame({"probability": values})

    return SimpleNamespace(predict=predict)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1, np.inf])
def test_a_prediction_that_is_no_probability_fails_the_smoke_test(value):
    with pytest.raises(PromotionError, match=rf"the smoke prediction gave {value}; allowed: a probability in \[0, 1\] for each row"):
        _predict(answering([0.5, value]), "models:/m-1", pd.DataFrame({"item": [1, 2]}))


def test_the_ends_of_the_scale_are_probabilities():
    preds = _predict(answering([0.0, 1.0]), "models:/m-1", pd.DataFrame({"item": [1, 2]}))
    assert preds.tolist() == [0.0, 1.0]


def test_a_model_that_fails_or_answers_for_other_rows_fails_the_smoke_test():
    frame = pd.DataFrame({"item": [1, 2]})
    with pytest.raises(PromotionError, match="gave 1 predictions for 2 rows"):
        _predict(answering([0.5]), "models:/m-1", frame)
    with pytest.raises(PromotionError, match=r"models:/m-1: the smoke prediction failed \(column 'item': wrong\); train it again"):
        _predict(answering(error=DataError("column 'item': wrong")), "models:/m-1", frame)
    with pytest.raises(PromotionError, match=r"the smoke prediction failed \(KeyError: 'x'\)"):
        _predict(answering(error=KeyError("x")), "models:/m-1", frame)


def test_raw_rows_are_those_of_the_log(small_dataset):
    split = small_dataset.split("validation")
    chosen = np.array([0, 7, len(split) - 1])
    frame = raw_rows(small_dataset, "validation", chosen)
    items = dict(enumerate(small_dataset.items()["raw"].to_list()))
    for place, row in enumerate(chosen):
        span = range(split.rows["history_start"][row], split.rows["history_end"][row])
        assert frame["history"][place] == [items[split.behaviours[position]] for position in span]
        assert frame["item"][place] == items[split.rows["item"][row]]
