"""Requests to a served model: what they may hold, what the answer is, and what is refused by name."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.serving.bundles import FULL, expected, make_bundle

from clickflow.errors import DataError
from clickflow.serving import click_model
from clickflow.serving.server_guard import RequestError

LISTED = {
    "item": [10, 20, 999],
    "history": [40, 40, 20, 30],
    "city": 7,
    "device": ["tv", "radio", None],
    "is_new": True,
    "age": [55, None, 31.5],
}


@pytest.fixture
def direct(bundle, tmp_path):
    """The model without MLflow around it."""
    return loaded(bundle, tmp_path)


def loaded(bundle, folder):
    bundle.write(folder / "bundle")
    model = click_model.ClickModel()
    model.load_context(SimpleNamespace(artifacts={click_model.BUNDLE: str(folder / "bundle")}))
    return model


def one_by_one(row):
    """The candidates of a row that lists them, as rows of their own."""
    for place in range(len(row["item"])):
        of_place = {name: value[place] for name, value in row.items() if isinstance(value, list) and name != "history"}
        yield row | of_place


def probabilities(answered):
    status, body = answered
    assert status == 200, body
    return [row["probability"] for row in body["predictions"]]


class TestRowsThatListTheirCandidates:
    def test_get_a_list_with_the_probability_of_each(self, model, bundle):
        preds = model.predict(pd.DataFrame([LISTED]))

        assert list(preds.columns) == ["probability"]
        assert isinstance(preds["probability"][0], list)
        np.testing.assert_allclose(preds["probability"][0], expected(bundle, one_by_one(LISTED)), rtol=1e-6)

    def test_stand_beside_plain_ones_in_any_order(self, answer, bundle):
        empty, one = {"item": [], "history": [10]}, {"item": [20], "history": []}
        mixed = [FULL, LISTED, empty, FULL | {"history": []}, one]

        first, listed, nothing, last, single = probabilities(answer({"dataframe_records": mixed}))

        np.testing.assert_allclose(listed, expected(bundle, one_by_one(LISTED)), rtol=1e-6)
        np.testing.assert_allclose([first, last], expected(bundle, [FULL, FULL | {"history": []}]), rtol=1e-6)
        np.testing.assert_allclose(single, expected(bundle, one_by_one(one)), rtol=1e-6)
        assert nothing == []

    @pytest.mark.parametrize("key", ["dataframe_records", "inputs", "instances", "dataframe_split"])
    def test_go_under_each_of_mlflows_keys(self, answer, bundle, key):
        rows = [LISTED]
        body = {"columns": list(LISTED), "index": [3], "data": [list(LISTED.values())]} if key == "dataframe_split" else rows

        (listed,) = probabilities(answer({key: body}))

        np.testing.assert_allclose(listed, expected(bundle, one_by_one(LISTED)), rtol=1e-6)

    def test_are_scored_in_parts_where_they_are_many(self, direct, bundle, monkeypatch):
        monkeypatch.setattr(click_model, "ROWS_PER_BATCH", 2)
        rows = [LISTED, FULL | {"item": [20]}, LISTED | {"history": []}]

        preds = direct.predict(None, pd.DataFrame(rows))["probability"]

        for row, found in zip(rows, preds, strict=True):
            np.testing.assert_allclose(found, expected(bundle, one_by_one(row)), rtol=1e-6)

    def test_may_come_as_arrays_of_a_table(self, model, bundle):
        row = {name: np.array(value) if name in ("item", "history") else value for name, value in LISTED.items()}

        (listed,) = model.predict(pd.DataFrame([row]))["probability"]

        np.testing.assert_allclose(listed, expected(bundle, one_by_one(LISTED)), rtol=1e-6)

    def test_of_string_ids_are_looked_up_as_well(self, bundle, tmp_path):
        texts = [{"item": ["i10", "i20", "?"], "history": ["i40", "i30"], "city": 7}]
        numbers = {"item": [10, 20, 999], "history": [40, 30], "city": 7}

        (listed,) = loaded(make_bundle(as_string=True), tmp_path).predict(None, pd.DataFrame(texts))["probability"]

        np.testing.assert_allclose(listed, expected(bundle, one_by_one(numbers)), rtol=1e-6)


REFUSED = {
    "a float among candidates": ({"item": [10, 1.5]}, "column 'item', row 1 = 1.5: not an integer id"),
    "a boolean among candidates": ({"item": [10, True]}, "column 'item', row 1 = True: not an integer id"),
    "a text among candidates": ({"item": ["10"]}, "column 'item', row 1 = '10': not an integer id"),
    "a null among candidates": ({"item": [10, None]}, "column 'item', row 1 = null: missing; every candidate and behaviour needs an id"),
    "NaN among candidates": ({"item": [float("nan")]}, "column 'item', row 1 = null: missing"),
    "a list among candidates": ({"item": [[10]]}, r"column 'item', row 1 = \[10\]: not an integer id"),
    "a negative candidate": ({"item": [10, -2]}, "column 'item', row 1 = -2: negative, but no id of the training data is"),
    "a negative item": ({"item": -1}, "column 'item', row 1 = -1: negative, but no id of the training data is"),
    "a negative behaviour": ({"history": [20, -3]}, "column 'history', row 1 = -3: negative"),
    "a negative context id": ({"city": -1}, "column 'city', row 1 = -1: negative"),
    "an id beyond 64 bits": ({"item": 2**64}, "column 'item', row 1 = 18446744073709551616: beyond 64 bits"),
    "NaN in a history": ({"history": [20, float("nan")]}, "column 'history', row 1 = null: missing"),
    "a null in a history": ({"history": [None]}, "column 'history', row 1 = null: missing"),
    "a text as history": ({"history": "20,30"}, "column 'history', row 1 = '20,30': not a list of item ids; send a list, oldest first"),
    "a number as history": ({"history": 20}, "column 'history', row 1 = 20: not a list of item ids"),
    "an object as history": ({"history": {"a": 1}}, r"column 'history', row 1 = {'a': 1}: not a list of item ids"),
    "a list in a history": ({"history": [[20]]}, r"column 'history', row 1 = \[20\]: not an integer id"),
    "too short a list": (
        {"item": [10, 20], "device": ["tv"]},
        "column 'device', row 1 = a list of 1: column 'item' lists 2; send one value for all, or one for each",
    ),
    "a list for no candidate": ({"item": [], "age": [3.0]}, "column 'age', row 1 = a list of 1: column 'item' lists 0"),
    "a list for one item": ({"device": ["tv"]}, r"column 'device', row 1 = \['tv'\]: a list, but column 'item' has one id there"),
    "a wrong number in a list": ({"item": [10, 20], "age": [1, "x"]}, "column 'age', row 1 = 'x': not a finite number"),
    "a wrong id in a list": ({"item": [10, 20], "city": [7, 7.5]}, "column 'city', row 1 = 7.5: not an integer id"),
    "an integer no float holds": ({"age": 10**400}, "column 'age', row 1 = inf: not a finite number"),
    "a very long text": ({"item": "x" * 10_000}, "column 'item', row 1 = 'x{35}…: not an integer id"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_value_is_a_400_that_names_column_and_row(answer, model, change, message):
    rows = [FULL, FULL | change]

    status, body = answer({"dataframe_records": rows})

    assert status == 400
    assert set(body) == {"error_code", "message"}  # no stack trace
    assert pd.Series([body["message"]]).str.match(message)[0], body["message"]
    with pytest.raises(DataError, match=f"^{message}"):
        model.predict(pd.DataFrame(rows))


def test_row_of_a_message_is_counted_over_the_whole_request(direct, monkeypatch):
    monkeypatch.setattr(click_model, "ROWS_PER_BATCH", 2)
    for wrong in ({"item": 1.5}, {"history": [1.5]}, {"city": 1.5}, {"age": "x"}):
        with pytest.raises(RequestError, match=", row 5 = "):
            direct.predict(None, pd.DataFrame([FULL] * 5 + [FULL | wrong]))
