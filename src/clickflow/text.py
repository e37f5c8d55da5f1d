"""Small texts that several rooms write alike: lists of problems, tables, cut values."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from clickflow.errors import without_passwords


def first_line(error: BaseException) -> str:
    r"""The first line of an exception with its class: short enough for a tag or a message, and without passwords.

    >>> first_line(ValueError("one\ntwo"))
    'ValueError: one'
    """
    lines = str(error).strip().splitlines() or [""]
    return without_passwords(f"{type(error).__name__}: {lines[0]}".removesuffix(": "))[:500]


def problem_list(problems: Sequence[str], where: str) -> str:
    """A heading that counts the problems, and one line for each.

    >>> print(problem_list(["seed = -1: must be 0 or more", "home: required, but not given"], "the composed config"))
    2 problems in the composed config:
      seed = -1: must be 0 or more
      home: required, but not given
    """
    heading = f"{counted(len(problems), 'problem')} in {where}:"
    return "\n".join([heading, *(f"  {problem}" for problem in problems)])


def counted(count: int, what: str) -> str:
    """A number with what it counts.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def cut(text: str, length: int, mark: str = "…") -> str:
    """A text of at most ``length`` characters, with a mark where something is missing.

    >>> cut("Monty Python and the Holy Grail (1975)", 20)
    'Monty Python and th…'
    """
    return text if len(text) <= length else text[: length - len(mark)] + mark


def near_name(text: str, pattern: str) -> str | None:
    r"""A text made to match a pattern: without accents, with ``_`` for other characters; None where nothing of it matches.

    >>> near_name("Mon café, 2026!", "[a-z0-9_-]+"), near_name("a/b", r"\w[\w.-]*"), near_name("商店", "[a-z0-9_-]+")
    ('mon_cafe_2026', 'a_b', None)
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    folded = ascii_text if re.fullmatch(pattern, "A") else ascii_text.lower()
    name = "_".join(re.findall(pattern, folded))
    return name if re.fullmatch(pattern, name) else None


def markdown_table(rows: Sequence[Mapping[str, str]], align: str = "lr") -> str:
    r"""Rows, of which there is at least one, as a Markdown table with padded columns.

    The headings are those of all rows, and a missing cell is empty. The columns are aligned ``l`` or ``r``; the last letter is for all that
    follow.

    >>> print(markdown_table([{"model": "din", "AUC": "0.71"}, {"model": "a|b", "AUC": "0.7"}]), end="")
    | model |  AUC |
    | ----- | ---: |
    | din   | 0.71 |
    | a\|b  |  0.7 |
    """
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    align = align.ljust(len(headings), align[-1])
    lines = [headings, *([row.get(heading, "") for heading in headings] for row in rows)]
    cells = [[" ".join(cell.replace("|", "\\|").split()) for cell in line] for line in lines]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(headings))]
    cells.insert(1, ["-" * (width - 1) + ("-" if side == "l" else ":") for width, side in zip(widths, align, strict=True)])
    sides = ["<" if side == "l" else ">" for side in align]
    padded = [[f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)] for line in cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in padded)


def csv_table(rows: Iterable[Mapping[str, object]]) -> str:
    r"""Rows as CSV with a heading; the columns are those of all rows, and a missing cell is empty. Empty without a row.

    >>> csv_table([{"step": 1, "loss": 0.5}, {"step": 2, "auc": 0.7}])
    'step,loss,auc\n1,0.5,\n2,,0.7\n'
    """
    rows = list(rows)
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(column for row in rows for column in row)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
