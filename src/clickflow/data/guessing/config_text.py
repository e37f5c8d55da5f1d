"""A guessed config as YAML, with its questions and what was left out as comments."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from clickflow.data.guessing.guess import Guess
from clickflow.text import cut

WIDTH = 120
PROTOCOLS = {
    "impressions": "each row was shown and clicked or not; other protocols: next_item, rating",
    "rating": "each row is a rating, from which the label follows; or next_item: whatever was rated comes next",
    "next_item": "each event is a positive, against items that the user never had; impressions needs a label",
}
TABLES = ("behaviours", "items", "users", "item_fields", "user_fields", "context_fields")
FIELDS = ("item_fields", "user_fields", "context_fields")
SECTIONS = ("columns", *FIELDS)


def config_text(name: str, found: Guess, command: str) -> str:
    """The YAML file.

    Args:
        name: of the data set.
        found: the guess.
        command: which wrote it.
    """
    lines = [
        f"# First config of a log, written by: {_one_line(command)}",
        *(f"# It looked at {_one_line(one)}." for one in found.looked_at),
        "# All of it is a guess: check it, answer the questions, then run clickflow prepare. docs/bring-your-data.md explains each key.",
        *(f"# QUESTION {_one_line(question)}" for question in found.questions),
        "defaults:",
        f"  # {PROTOCOLS[found.protocol]}",
        f"  - override /protocol@_global_.protocol: {found.protocol}",
        "  - _self_",
        "",
        f"name: {_scalar(name)}",
        "source: log",
    ]
    for key in sorted(found.values, key=lambda one: (one in TABLES, one in FIELDS)):
        lines += _key(key, found.values[key])
    for file, columns in found.left_out.items():
        lines += ["", f"# Left out of {_one_line(file)}:"]
        lines += [f"#   {_one_line(column)}: {reason}" for column, reason in columns.items()]
    lines += [f"# {_one_line(remark)}" for remark in found.remarks]
    return "\n".join(lines) + "\n"


def _key(key: str, value: Any) -> Iterator[str]:
    """A key with its value: a line, or a section with a line for each of its keys."""
    if isinstance(value, Mapping) and (key in SECTIONS or len(f"{key}: {_flow(value)}") > WIDTH):
        yield f"{key}:"
        for inner, one in value.items():
            yield f"  {_scalar(inner)}: {_flow(one)}"
    else:
        yield f"{key}: {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_scalar(key)}: {_flow(one)}' for key, one in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """One value in one line of YAML; ``${`` would be a reference in OmegaConf.

    >>> _scalar("user_id"), _scalar("yes"), _scalar(","), _scalar(None), _scalar(False)
    ('user_id', "'yes'", '","', 'null', 'false')
    """
    if isinstance(value, str):
        value = value.replace("${", "\\${")
        style = None if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./ -]*", value) else '"'
        return yaml.safe_dump(value, width=10**6, default_style=style, allow_unicode=True).removesuffix("\n").removesuffix("\n...").strip()
    return yaml.safe_dump(value).removesuffix("\n").removesuffix("\n...").strip()


def _one_line(text: str) -> str:
    return cut(" ".join(repr(text)[1:-1].replace("\\'", "'").split()) if not text.isprintable() else text, 300)
