"""Check whether the callers of one model can call another one in its place.

Callers send columns by name. A column that the new model does not know would be dropped silently, so it counts as one that cannot be sent
any more.
"""

from typing import Any

from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, Array


def call_problems(new: ModelSignature | None, old: ModelSignature | None) -> list[str]:
    """The problems that callers of a model with the signature ``old`` would have with ``new``; empty if they would notice nothing."""
    if old is None:
        return []
    if new is None:
        return ["has no signature"]
    accepted, sent = new.inputs.input_dict(), old.inputs.input_dict()
    problems = [_sending_problem(name, column, accepted.get(name)) for name, column in sent.items()]
    problems += [
        f"requires column '{name}', which callers do not send" for name, new in accepted.items() if new.required and name not in sent
    ]
    given = {} if new.outputs is None else {name: str(column.type) for name, column in new.outputs.input_dict().items()}
    read = {} if old.outputs is None else {name: str(column.type) for name, column in old.outputs.input_dict().items()}
    problems += [f"does not answer with '{name}' of type {kind}" for name, kind in read.items() if given.get(name) != kind]
    return [problem for problem in problems if problem]


def _sending_problem(name: str, sent: Any, accepted: Any) -> str:
    if accepted is None:
        return f"does not take column '{name}'"
    if not _takes(accepted.type, sent.type):
        return f"takes column '{name}' as {accepted.type}, not as {sent.type}"
    if accepted.required and not sent.required:
        return f"requires column '{name}', which callers may leave out"
    return ""


def _takes(accepted: Any, sent: Any) -> bool:
    """Whether ``accepted`` takes every value of the type ``sent``."""
    if isinstance(accepted, AnyType):
        return True
    if isinstance(accepted, Array) and isinstance(sent, Array):
        return _takes(accepted.dtype, sent.dtype)
    return bool(accepted == sent)
