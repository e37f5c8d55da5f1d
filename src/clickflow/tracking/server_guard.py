"""What a request meets at ``mlflow models serve`` before it reaches the model: limits, and a 4xx that says what is wrong with it.

MLflow's server reads and parses a body of any size, answers 500 where a column is missing or the JSON is nested too deeply, and repeats the
request in its answers. It has no hook for any of this, but calls one function for each request, ``scoring_server.invocations``; the model
puts its own around it when the server loads it. The model's requirements name the MLflow that this was tested with.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from clickflow.errors import DataError

SERVER = "mlflow.pyfunc.scoring_server"
APP = f"{SERVER}.app"  # imported by a server only; imports the model
MAX_BODY_BYTES = "CLICKFLOW_MAX_BODY_BYTES"
MAX_CANDIDATES = "CLICKFLOW_MAX_CANDIDATES"
MESSAGE_LENGTH = 500

Invocations = Callable[[bytes, str, Any, Any], Any]


class RequestError(DataError, MlflowException):
    """What a request holds cannot be scored: in MLflow's server a 400 with this message, elsewhere a :class:`DataError`."""


@dataclass(frozen=True)
class Limits:
    """Of one request to a server.

    Attributes:
        body_bytes: of the whole body.
        candidates: rows, and candidates of rows that list them.
    """

    body_bytes: int = 4 * 2**20
    candidates: int = 10_000

    @classmethod
    def from_environment(cls) -> "Limits":
        """The limits that the server was started with.

        Raises:
            DataError: one of them is no whole number above 0.
        """
        given = {}
        for name, field in ((MAX_BODY_BYTES, "body_bytes"), (MAX_CANDIDATES, "candidates")):
            text = os.environ.get(name)
            if text is not None:
                if not text.isdecimal() or int(text) < 1:
                    raise DataError(f"{name} = {text}: not a whole number above 0; correct it or leave it out")
                given[field] = int(text)
        return cls(**given)

    def check_candidates(self, count: int) -> None:
        """Refuse a request of too many candidates.

        Raises:
            DataError: it has more than are allowed.
        """
        if count > self.candidates:
            raise DataError(
                f"column 'item' = {count:,} candidates: more than the {self.candidates:,} allowed in a request; "
                f"send them in several requests or start the server with a larger {MAX_CANDIDATES}"
            )


def guard_server() -> Limits | None:
    """Where MLflow's server is just loading the model, watch over its requests; the limits, or None elsewhere."""
    if APP not in sys.modules:
        return None
    limits = Limits.from_environment()
    server: Any = sys.modules[SERVER]
    server.invocations = guarded(server.invocations, limits, server.InvocationsResponse)
    return limits


def guarded(invocations: Invocations, limits: Limits, response: Callable[[str, int, str], Any]) -> Invocations:
    """MLflow's function with limits, whose answer to a wrong request is a 4xx with one message.

    Args:
        invocations: MLflow's function: body, content type, model, schema -> response.
        limits: of a request.
        response: MLflow's class of responses: text, status, MIME type.
    """

    def refusal(message: str, status: int = 400) -> Any:
        answer = {"error_code": "BAD_REQUEST", "message": message[:MESSAGE_LENGTH]}
        return response(json.dumps(answer), status, "application/json")

    def invoke(data: bytes, content_type: str | None, model: Any, input_schema: Any) -> Any:
        if len(data) > limits.body_bytes:
            return refusal(
                f"request body = {len(data):,} bytes: more than the {limits.body_bytes:,} allowed; "
                f"send it in several requests or start the server with a larger {MAX_BODY_BYTES}",
                413,
            )
        try:
            return invocations(data, content_type or "", model, input_schema)
        except MlflowException as error:
            # Its own text: MLflow has put the request before it since.
            return refusal(str(error))
        except Exception as error:  # what its parser does not expect: faults of the model are MlflowExceptions here
            return refusal(f"request body: cannot be read ({type(error).__name__}: {error}); see docs/serve.md for what it may hold")

    return invoke
