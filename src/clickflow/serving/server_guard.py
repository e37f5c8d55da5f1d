"""Limits of a request to ``mlflow models serve``, and a 4xx that says what is wrong with one.

MLflow's server parses a body of any size and makes a frame of every column in it, including columns that the model does not know: some
thousand rows with one more column each fill the memory. It answers 500 where a column is missing or JSON is nested too deeply, and repeats
the request in its answers. It has no hook for any of this, but calls one function for each request, ``scoring_server.invocations``; the
model wraps this function when the server loads it. The model's requirements name the MLflow that this was tested with.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from clickflow.errors import DataError

SERVER = "mlflow.pyfunc.scoring_server"
APP = f"{SERVER}.app"  # imported by a server only; imports the model
MAX_BODY_BYTES = "CLICKFLOW_MAX_BODY_BYTES"
MAX_CANDIDATES = "CLICKFLOW_MAX_CANDIDATES"
MESSAGE_LENGTH = 500
JSON = "application/json"

Invocations = Callable[[Any, str | None, Any, Any], Any]


class RequestError(DataError, MlflowException):
    """A request cannot be scored: a 400 with this message in MLflow's server, a :class:`DataError` elsewhere."""

    def __init__(self, message: str) -> None:
        MlflowException.__init__(self, message, INVALID_PARAMETER_VALUE)


@dataclass(frozen=True)
class Limits:
    """The most bytes of the body of one request, and the most candidates; each candidate of a row that lists them counts."""

    body_bytes: int = 4 * 2**20
    candidates: int = 10_000

    @classmethod
    def from_environment(cls) -> "Limits":
        """Read the limits that the server was started with; a DataError if one of them is no whole number above 0."""
        given = {}
        for name, field in ((MAX_BODY_BYTES, "body_bytes"), (MAX_CANDIDATES, "candidates")):
            text = os.environ.get(name)
            if text is not None:
                if not text.isdecimal() or int(text) < 1:
                    raise DataError(f"{name} = {text}: not a whole number above 0; correct it or leave it out")
                given[field] = int(text)
        return cls(**given)

    def check_candidates(self, count: int) -> None:
        """Refuse a request of too many candidates by a DataError."""
        if count > self.candidates:
            raise DataError(
                f"column 'item' = {count:,} candidates: more than the {self.candidates:,} allowed in a request; "
                f"send them in several requests or start the server with a larger {MAX_CANDIDATES}"
            )


def guard_server() -> Limits | None:
    """Limit the requests to the MLflow server that is loading the model; return the limits, or None outside a server."""
    if APP not in sys.modules:
        return None
    limits = Limits.from_environment()
    server: Any = sys.modules[SERVER]
    server.invocations = guarded(server.invocations, limits, server.InvocationsResponse)
    return limits


def guarded(invocations: Invocations, limits: Limits, response: Callable[[str, int, str], Any]) -> Invocations:
    """Wrap MLflow's function, so that a request too large or wrong is answered by a 4xx with one message.

    ``response`` is MLflow's class of responses: text, status, MIME type.
    """

    def refusal(message: str, status: int = 400) -> Any:
        answer = {"error_code": "BAD_REQUEST", "message": message[:MESSAGE_LENGTH]}
        return response(json.dumps(answer), status, JSON)

    def invoke(data: bytes, content_type: str | None, model: Any, input_schema: Any) -> Any:
        if len(data) > limits.body_bytes:
            return refusal(
                f"request body = {len(data):,} bytes: more than the {limits.body_bytes:,} allowed; "
                f"send it in several requests or start the server with a larger {MAX_BODY_BYTES}",
                413,
            )
        if (content_type or "").split(";")[0].strip() != JSON:
            return refusal(f"request content type = {content_type}: not JSON; send it as {JSON}", 415)
        try:
            return invocations(known_columns(data, input_schema.input_names()), content_type, model, input_schema)
        except MlflowException as error:
            return refusal(_without_request(error))
        except Exception as error:  # raised where MLflow reads the request; what the model raises is an MlflowException here
            return refusal(f"request body: cannot be read ({type(error).__name__}: {error}); see docs/serve.md for what it may hold")

    return invoke


def known_columns(body: bytes, names: Sequence[str]) -> Any:
    """Parse a body and drop the columns that the model does not know, which MLflow would ignore later.

    >>> known_columns(b'{"dataframe_records": [{"item": 1, "colour": "red"}]}', ["item"])
    {'dataframe_records': [{'item': 1}]}
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"request body: not JSON that can be read ({error}); see docs/serve.md for what it may hold") from None
    if not isinstance(request, dict):
        raise RequestError(f'request body = {type(request).__name__}: not a JSON object; send {{"dataframe_records": [row, …]}}')
    readers = {"dataframe_split": _known_of_split, "dataframe_records": _known, "inputs": _known, "instances": _known}
    return {key: readers[key](value, names) if key in readers else value for key, value in request.items()}


def _known(rows: Any, names: Sequence[str]) -> Any:
    """Keep the known columns, of columns by name or of rows."""
    if isinstance(rows, list):
        return [_known(row, names) if isinstance(row, dict) else row for row in rows]
    return {name: rows[name] for name in names if name in rows} if isinstance(rows, dict) else rows


def _known_of_split(split: Any, names: Sequence[str]) -> Any:
    """Keep the known columns, of names and rows of values; drop the index, which has no meaning here."""
    columns, rows = (split.get("columns"), split.get("data")) if isinstance(split, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise RequestError("dataframe_split: no lists of columns and data; send both, or send dataframe_records")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise RequestError(f"dataframe_split, row {number:,}: not a list of {len(columns):,} values, one for each of the columns")
    places = {name: columns.index(name) for name in names if name in columns}
    return {"columns": list(places), "data": [[row[place] for place in places.values()] for row in rows]}


def _without_request(error: MlflowException) -> str:
    """Strip an error's message of the request, or the whole signature, that MLflow puts before it."""
    message = str(error)
    return message.rpartition("Error: ")[2] if message.startswith("Failed to enforce schema") else message
