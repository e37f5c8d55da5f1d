"""Bodies of requests that MLflow's server gets, and the limits of one."""

import json
import os
import sys

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from tests.serving.bundles import FULL

from clickflow.errors import DataError
from clickflow.serving.server_guard import APP, MAX_BODY_BYTES, MAX_CANDIDATES, Limits, RequestError, guard_server, guarded

BODIES = {
    "nothing": (b"", "request body: not JSON that can be read"),
    "half an object": (b'{"dataframe_records": [', "request body: not JSON that can be read"),
    "no text": (b"\xff\xfe\x00", "request body: not JSON that can be read"),
    "a list": (b"[1]", "request body = list: not a JSON object; send"),
    "null": (b"null", "request body = NoneType: not a JSON object"),
    "nested too deeply": (b'{"dataframe_records":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "request body: not JSON that can be read"),
    "a number without end": (b'{"dataframe_records":[{"item":' + b"9" * 5000 + b"}]}", "request body: not JSON that can be read"),
    "none of the keys": (b"{}", "The input must be a JSON dictionary with exactly one of the input fields"),
    "rows that are none": (b'{"dataframe_records": [1, null]}', r"Model is missing inputs \['item'\]"),
    "no list of rows": (b'{"dataframe_records": 5}', ".*must be a list of records"),
    "no history": (b'{"dataframe_records": [{"item": 10}]}', "column 'history', row 0 = null: missing; send a list of item ids"),
    "only unknown columns": (b'{"dataframe_records": [{"colour": 1}]}', r"Model is missing inputs \['item'\]"),
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

    for key in ("dataframe_records", "inputs"):
        status, answered = answer({key: rows})
        assert (status, len(answered["predictions"])) == (200, 2000)
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
