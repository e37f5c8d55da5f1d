"""Requests to a served model: what they may hold, what the answer is, and what is refused by name."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from tests.serving.bundles import FULL, expected, make_bundle

from clickflow.errors import DataError
from clickflow.serving import click_model
from clickflow.serving.server_guard import APP, MAX_BODY_BYTES, MAX_CANDIDATES, Limits, RequestError, guard_server, guarded
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.logged_model import load_model, log_model

LISTED = {
    "item": [10, 20, 999],
    "history": [40, 40, 20, 30],
    "city": 7,
    "device": ["tv", "radio", None],
    "is_new": True,
    "age": [55, None, 31.5],
}


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


@pytest.fixture(scope="module")
def model(store, bundle):
    with open_run(store, name="requests", params={}, tags={}, log_system_metrics=False) as run:
        yield load_model(store, log_model(run, bundle))


@pytest.fixture
def direct(bundle, tmp_path):
    """The model without MLflow around it."""
    return loaded(bundle, tmp_path)


def loaded(bundle, folder):
    bundle.write(folder / "bundle")
    model = click_model.ClickModel()
    model.load_context(SimpleNamespace(artifacts={click_model.BUNDLE: str(folder / "bundle")}))
    return model


@pytest.fixture
def scoring_server():
    from mlflow.pyfunc import scoring_server  # at the top MLflow's warnings about its own type hints would stop the import

    return scoring_server


@pytest.fixture
def answer(model, scoring_server):
    """What the guarded server answers to a body: status and what its JSON holds."""
    invoke = guarded(scoring_server.invocations, Limits(), scoring_server.InvocationsResponse)

    def of(body, content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = invoke(data, content_type, model, model.metadata.get_input_schema())
        return response.status, json.loads(response.response)

    return of


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
    "a null among candidates": ({"item": [10, None]}, "column 'item', row 1 = None: missing; every candidate and behaviour needs an id"),
    "NaN among candidates": ({"item": [float("nan")]}, "column 'item', row 1 = nan: missing"),
    "a list among candidates": ({"item": [[10]]}, r"column 'item', row 1 = \[10\]: not an integer id"),
    "a negative candidate": ({"item": [10, -2]}, "column 'item', row 1 = -2: negative, but no id of the training data is"),
    "a negative item": ({"item": -1}, "column 'item', row 1 = -1: negative, but no id of the training data is"),
    "a negative behaviour": ({"history": [20, -3]}, "column 'history', row 1 = -3: negative"),
    "a negative context id": ({"city": -1}, "column 'city', row 1 = -1: negative"),
    "an id beyond 64 bits": ({"item": 2**64}, "column 'item', row 1 = 18446744073709551616: beyond 64 bits"),
    "NaN in a history": ({"history": [20, float("nan")]}, "column 'history', row 1 = nan: missing"),
    "a null in a history": ({"history": [None]}, "column 'history', row 1 = None: missing"),
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
    "a wrong number in a list": ({"item": [10, 20], "age": [1, "x"]}, "column 'age', row 1 = 'x': not a number"),
    "a wrong id in a list": ({"item": [10, 20], "city": [7, 7.5]}, "column 'city', row 1 = 7.5: not an integer id"),
    "an integer no float holds": ({"age": 10**400}, "column 'age', row 1 = inf: not finite"),
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


BODIES = {
    "nothing": (b"", "request body: not JSON that can be read"),
    "half an object": (b'{"dataframe_records": [', "request body: not JSON that can be read"),
    "no text": (b"\xff\xfe\x00", "request body: not JSON that can be read"),
    "a list": (b"[1]", "request body = list: not a JSON object; send"),
    "null": (b"null", "request body = NoneType: not a JSON object"),
    "nested too deeply": (b'{"dataframe_records":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "request body: not JSON that can be read"),
    "a number without end": (b'{"dataframe_records":[{"item":' + b"9" * 5000 + b"}]}", "request body: not JSON that can be read"),
    "none of the keys": (b"{}", "The input must be a JSON dictionary with exactly one of the input fields"),
    "rows that are none": (b'{"dataframe_records": [1, null]}', r"Model is missing inputs \['item', 'history'\]"),
    "no list of rows": (b'{"dataframe_records": 5}', ".*must be a list of records"),
    "no history": (b'{"dataframe_records": [{"item": 10}]}', r"Model is missing inputs \['history'\]"),
    "only unknown columns": (b'{"dataframe_records": [{"colour": 1}]}', r"Model is missing inputs \['item', 'history'\]"),
    "a row too short": (
        b'{"dataframe_split": {"columns": ["item", "history"], "data": [[10, []], [10]]}}',
        "dataframe_split, row 1: not a list of 2 values",
    ),
    "no rows but an index": (b'{"dataframe_split": {"columns": ["item"], "index": [1, 2], "data": {}}}', "dataframe_split: no lists of"),
    "no columns": (b'{"dataframe_split": [1]}', "dataframe_split: no lists of columns and data"),
}


@pytest.mark.parametrize(("body", "message"), BODIES.values(), ids=BODIES)
def test_a_wrong_body_is_a_400_that_says_why(answer, body, message):
    status, answered = answer(body)

    assert status == 400
    assert set(answered) == {"error_code", "message"}
    assert len(answered["message"]) <= 500
    assert pd.Series([answered["message"]]).str.match(message)[0], answered["message"]


@pytest.mark.parametrize("content_type", ["text/csv", "application/vnd.apache.parquet", None, ""])
def test_anything_but_json_is_a_415(answer, content_type):
    status, answered = answer(b"item,history", content_type)

    assert (status, answered["message"]) == (415, f"request content type = {content_type}: not JSON; send it as application/json")


def test_unknown_columns_do_not_multiply(answer):
    """As a frame these 2,000 rows with 20 columns each of their own would be 80 million cells."""
    rows = [FULL | {f"column {row} {place}": 1 for place in range(20)} for row in range(2000)]

    assert len(probabilities(answer({"dataframe_records": rows}))) == 2000
    assert len(probabilities(answer({"inputs": rows}))) == 2000
    assert answer({"inputs": {f"column {place}": 1 for place in range(20_000)} | {"item": [10] * 2000, "history": [[]] * 2000}})[0] == 200


class TestLimits:
    def test_a_body_of_10_mb_is_a_413_whatever_it_holds(self, answer):
        for body in (b" " * 10_000_000, json.dumps({"dataframe_records": [FULL | {"item": "x" * 10_000_000}]}).encode()):
            status, answered = answer(body)

            assert status == 413
            assert answered["message"].startswith(f"request body = {len(body):,} bytes: more than the 4,194,304 allowed; send it in")
            assert MAX_BODY_BYTES in answered["message"]

    def test_a_body_may_be_as_long_as_the_limit_and_no_byte_longer(self, scoring_server, model):
        body = json.dumps({"dataframe_records": [FULL]}).encode()

        for limit, status in ((len(body), 200), (len(body) - 1, 413)):
            invoke = guarded(scoring_server.invocations, Limits(body_bytes=limit), scoring_server.InvocationsResponse)
            assert invoke(body, "application/json", model, model.metadata.get_input_schema()).status == status

    def test_too_many_candidates_are_named(self):
        Limits(candidates=3).check_candidates(3)
        with pytest.raises(DataError, match=rf"^column 'item' = 4 candidates: more than the 3 allowed .* larger {MAX_CANDIDATES}"):
            Limits(candidates=3).check_candidates(4)

    def test_are_those_of_the_environment(self, monkeypatch):
        assert Limits.from_environment() == Limits()
        monkeypatch.setenv(MAX_BODY_BYTES, "1000")
        monkeypatch.setenv(MAX_CANDIDATES, "7")
        assert Limits.from_environment() == Limits(body_bytes=1000, candidates=7)

    @pytest.mark.parametrize("value", ["", "0", "-1", "1e6", "many"])
    def test_of_the_environment_are_whole_numbers(self, monkeypatch, value):
        monkeypatch.setenv(MAX_CANDIDATES, value)
        with pytest.raises(DataError, match=rf"^{MAX_CANDIDATES} = {value}: not a whole number above 0; correct it or leave it out"):
            Limits.from_environment()

    def test_hold_in_a_server_only(self, model):
        assert APP not in sys.modules
        assert guard_server() is None
        assert len(model.predict(pd.DataFrame([FULL | {"item": [10] * 20_000}]))["probability"][0]) == 20_000

    def test_are_set_where_the_servers_module_loads_the_model(self, monkeypatch, scoring_server):
        original = scoring_server.invocations
        monkeypatch.setattr(scoring_server, "invocations", original)  # put back afterwards
        monkeypatch.setitem(sys.modules, APP, os)  # any module: that it is there counts
        assert guard_server() == Limits()
        assert scoring_server.invocations is not original


def test_what_is_refused_is_an_error_of_both_kinds():
    assert issubclass(RequestError, DataError)
    assert issubclass(RequestError, MlflowException)
    assert RequestError("a message").get_http_status_code() == 400
