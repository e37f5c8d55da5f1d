"""Form of a text file: encoding, separator, header, quotes and decimal mark.

The first lines decide. Python's ``csv`` takes them apart with every separator in question; the one that cuts all lines alike wins.
"""

import codecs
import contextlib
import csv
import gzip
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from clickflow.data.guessing.words import words_of
from clickflow.data.sources.dialect import Format
from clickflow.data.sources.formats import kind_of
from clickflow.data.sources.lines import BYTE_ORDER_MARKS, GZIP, OTHER_FORMATS
from clickflow.errors import DataError

START_BYTES = 1 << 18
LINES = 200
SEPARATORS = (",", "\t", ";", "|", "\x01", "^", "~", " ", ":")
NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*")
"""Also with a decimal comma."""
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
HEADER_WORDS = frozenset({"id", "uid", "iid", "user", "item", "timestamp", "time", "label", "click", "date", "title", "category", "rating"})
"""Words that a header has and hardly any row."""
DIGITS_IN_NAMES = 3
"""A name in a header may hold a number, such as ``C14``; a time or an id has more digits."""


class TextFormat(NamedTuple):
    """Form of a file, as it seems.

    Attributes:
        options: keys of the config, those that are not as by default; without ``names``.
        questions: what a person should look at.
    """

    options: dict[str, Any]
    questions: tuple[str, ...] = ()


def format_of(file: Path) -> TextFormat:
    """Look at the first lines of a file.

    Raises:
        DataError: no text and no Parquet file, or a JSON document instead of one object per line.
    """
    with file.open("rb") as stream:
        is_zipped = stream.read(2) == GZIP
    with cast(IO[bytes], gzip.open(file)) if is_zipped else file.open("rb") as stream:
        start = stream.read(START_BYTES)
    if start.startswith(b"PAR1"):
        return TextFormat(_named(file, "parquet"))
    for mark, message in OTHER_FORMATS.items():
        if start.startswith(mark):
            raise DataError(f"{file}: {message}.")
    encoding, questions = _encoding(file, start)
    text = start.decode(encoding, errors="ignore").lstrip("\ufeff")
    is_marked = any(start.startswith(mark) for mark, _ in BYTE_ORDER_MARKS)
    options = {"encoding": encoding} if encoding != "utf-8" and not is_marked else {}
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()][:LINES]  # splitlines knows eight more line ends
    if not lines:
        raise DataError(f"{file} = 0 rows: the file is blank; write it again with its rows.")
    if lines[0].startswith("["):
        raise DataError(f"{file}, line 1: a JSON list; write one object per line, without brackets and commas around them (NDJSON).")
    if lines[0].startswith("{"):
        return TextFormat(_named(file, "ndjson") | options, questions)
    cut_off = len(start) == START_BYTES and len(lines) > 1 and len(lines) < LINES
    return TextFormat(_named(file, "csv") | _csv_options(file, lines[:-1] if cut_off else lines) | options, questions)


def _named(file: Path, kind: Format) -> dict[str, Any]:
    """The key ``format``, if the file's name does not say it."""
    try:
        return {} if kind_of(file) == kind else {"format": kind}
    except DataError:
        return {"format": kind}


def _encoding(file: Path, start: bytes) -> tuple[str, tuple[str, ...]]:
    for mark, name in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return name, ()
    zeros = start.count(b"\0")
    if zeros * 4 > len(start) and start.count(b"\n"):
        return ("utf-16-le" if start[1::2].count(b"\0") > start[::2].count(b"\0") else "utf-16-be"), ()
    odd = sum(start.count(bytes([code])) for code in range(32) if code not in (1, 9, 10, 12, 13, 27))
    if odd * 100 > len(start):
        raise DataError(f"{file}: neither text nor Parquet; clickflow reads Parquet, CSV and NDJSON: convert the file.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        encoding = "latin-1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", start) else "cp1252"
        return encoding, (f"encoding: {encoding}, since the file is not UTF-8; do names with accents look right?",)
    return "utf-8", ()


def _csv_options(file: Path, lines: Sequence[str]) -> dict[str, Any]:
    is_tsv = file.name.lower().endswith((".tsv", ".tsv.gz"))
    quote: str | None = _quote(lines)
    separator = "\t" if is_tsv else _separator(lines, quote)
    options: dict[str, Any] = {} if is_tsv or separator == "," else {"separator": separator}
    if quote != '"':
        options["quote"] = quote
    elif not _quotes_are_regular(lines, separator):
        options["quote"] = quote = None
    records = records_of(lines, separator, quote)
    if not _has_header(records):
        options["header"] = False
    if separator != "," and _has_decimal_comma(records):
        options["decimal"] = ","
    return options


def records_of(lines: Sequence[str], separator: str, quote: str | None) -> list[list[str]]:
    """The fields of each line; a fault of its quotes ends them."""
    options: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    records: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        records.extend(record for record in csv.reader(lines, delimiter=separator, strict=True, **options) if record)
    return records


def _separator(lines: Sequence[str], quote: str | None) -> str:
    """The one that cuts most lines into the same number of fields; then the one that makes more fields, but a space or a colon last."""

    def evenness(separator: str) -> tuple[float, bool, int]:
        counts = Counter(map(len, records_of(lines, separator, quote)))
        fields, times = max(counts.items(), key=lambda one: (one[1], one[0]), default=(0, 0))
        share = times / sum(counts.values()) if fields > 1 else 0.0
        return round(share, 1), separator not in (" ", ":"), fields

    return max(SEPARATORS, key=evenness) if len(lines) else ","


def _quote(lines: Sequence[str]) -> str:
    """Single quotes, if they stand around fields and double ones do not."""
    around = [len(re.findall(rf"(?:^|[,;\t|]){quote}[^{quote}]*{quote}(?=$|[,;\t|])", line)) for line in lines for quote in "\"'"]
    return "'" if sum(around[1::2]) > len(lines) > 0 == sum(around[::2]) else '"'


def _quotes_are_regular(lines: Sequence[str], separator: str) -> bool:
    """Whether quotes stand only where a field begins or ends, or doubled within one; a text of several lines counts as regular."""
    if not any('"' in line for line in lines):
        return True
    try:
        list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    sep = re.escape(separator)
    inside = re.compile(rf'[^{sep}"]"(?!"|{sep}|$)')
    plain = re.compile(rf'(^|{sep})(?!")[^{sep}]*"')
    return not any(
        plain.search(line) and inside.search(line) for line in lines if line.count('"') % 2 or not re.search(rf'(^|{sep})"', line)
    )


def _has_header(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first line holds names: no numbers, and none that occurs again below."""
    if not records:
        return True
    first, below = records[0], [record for record in records[1:] if len(record) == len(records[0])]
    columns = list(zip(*below, strict=True)) or [()] * len(first)
    if any(_is_value(name) for name in first) or any(name and name in column for name, column in zip(first, columns, strict=True)):
        return False
    if any(words_of(name) & HEADER_WORDS for name in first):
        return True
    return len(set(first)) == len(first) and all(name.strip() for name in first)


def _is_value(text: str) -> bool:
    """A number, a date or an id, which no column is called."""
    return bool(NUMBER.fullmatch(text)) or len(re.findall(r"\d", text)) > DIGITS_IN_NAMES


def _has_decimal_comma(records: Sequence[Sequence[str]]) -> bool:
    width = len(records[0]) if records else 0
    columns = zip(*(record for record in records[1:] if len(record) == width), strict=True)
    for column in columns:
        values = [value for value in column if value.strip()]
        if any(DECIMAL_COMMA.fullmatch(value) for value in values) and all(
            NUMBER.fullmatch(value) and "." not in value for value in values
        ):
            return True
    return False
