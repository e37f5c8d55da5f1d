"""Arguments that are almost ``key=value``: as typed, and in the form that works."""

import difflib
import re
import shlex
from collections.abc import Collection, Sequence

KEY = r"[A-Za-z_][\w./@-]*"
FROM = "--from"
"""Option of ``prepare``, which takes files and no config."""


def option_fault(arguments: Sequence[str], options: Collection[str], fault: str) -> str:
    """Faults of options that a parser refused.

    Args:
        arguments: as typed.
        options: those that exist.
        fault: in the parser's words, for what is not an unknown option.
    """
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, equals, value = argument.partition("=")
        if not re.fullmatch(f"--?{KEY}", option) or any(known.startswith(option) for known in options):
            continue
        where = f"command line, {argument}"
        if option == FROM or difflib.get_close_matches(option, [FROM], n=1, cutoff=0.8):
            return f"{where}: no such option; did you mean clickflow prepare {FROM} FILE?"
        if close := difflib.get_close_matches(option, options, n=1, cutoff=0.8):
            return f"{where}: no such option; did you mean {close[0]}?"
        key = option.lstrip("-").replace("-", "_")
        if equals:
            return f"{where}: no such option; write {shlex.quote(f'{key}={value}')}"
        if following and "=" not in following and not following.startswith("-"):
            return f"{where} {following}: no such option; write {shlex.quote(f'{key}={following}')}"
        return f"{where}: no such option; keys are written as {key}=VALUE, and --help lists them"
    return f"command line: {fault}; --help shows what can be given"


def meant_assignment(arguments: Sequence[str], position: int) -> tuple[str, str] | None:
    """An assignment that was written with a colon or with spaces: as typed, and as ``key=value``.

    Args:
        arguments: as typed.
        position: of the first one that is no ``key=value``.

    >>> meant_assignment(["model", "=", "din"], 0), meant_assignment(["seed=1", "model:din"], 1), meant_assignment(["synthetic"], 0)
    (('model = din', 'model=din'), ('model:din', 'model=din'), None)
    """
    start = position - 1 if position and re.fullmatch(f"{KEY}=", arguments[position - 1]) else position
    for length in range(position - start + 1, 4):
        words = arguments[start : start + length]
        separator = ":" if length == 1 else " ?[:=]? ?"
        found = re.fullmatch(f"({KEY}){separator}(?!/)([^=]+)", " ".join(words))
        if found and len(words) == length:
            return " ".join(words), shlex.quote(f"{found[1]}={found[2]}")
    return None
