"""NDJSON files: every line is a row, is blank, or is refused with its number.

Polars parses what it reads as Python's ``json`` would. It rounds integers of more than 64 bits, takes the first of two equal names and
gives up at a line that is no object: blocks with such lines go through ``json``, line by line.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from clickflow.data.sources.csv_files import Block
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.lines import text_chunks
from clickflow.data.sources.parts import element_type
from clickflow.text import cut

SHOWN_CHARACTERS = 60
NAMED_ROWS = 100
LARGEST_EXACT = 2**53


class JsonFile:
    """One NDJSON file."""

    def __init__(self, file: Path, dialect: Dialect) -> None:
        self.file, self.encoding = file, dialect.encoding

    def blocks(self, columns: Sequence[str], dtypes: Mapping[str, pl.DataType] | None = None) -> Iterator[Block]:
        """Blocks of records.

        Args:
            columns: columns to read.
            dtypes: their types; None: the types that fit each block, and only the columns that it has.

        Raises:
            DataError: the file is damaged or not in its encoding.
        """
        buffer, line = b"", 1
        for chunk in itertools.chain(text_chunks(self.file, self.encoding), [b""]):
            buffer += chunk
            end = buffer.rfind(b"\n") + 1 if chunk else len(buffer)
            if end:
                body, buffer = buffer[:end], buffer[end:]
                yield self._block(body, line, columns, dtypes)
                line += body.count(b"\n")

    def names(self) -> list[str]:
        """Names in the first objects, for messages."""
        lines = next(text_chunks(self.file, self.encoding), b"").split(b"\n")[:NAMED_ROWS]
        return sorted({name for line in lines if line.strip()[:1] == b"{" for name in _names(line)})

    def _block(self, body: bytes, line: int, columns: Sequence[str], dtypes: Mapping[str, pl.DataType] | None) -> Block:
        lines = body.split(b"\n")
        if not _is_doubtful(body):
            try:
                frame = pl.read_ndjson(body, schema=dtypes, infer_schema_length=None)
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
                frame = pl.DataFrame()
            rows = sum(1 for text in lines if text.strip())
            if frame.height == rows and not any(body.count(json.dumps(name).encode()) > rows for name in columns):
                return Block(frame.select(name for name in columns if name in frame.columns), [])
        return _parsed(self._objects(lines, line, columns), columns, dtypes)

    def _objects(self, lines: Sequence[bytes], first: int, columns: Sequence[str]) -> Iterator[dict[str, Any] | str]:
        """The object of each line that is not blank, or what is wrong with the line."""
        for number, text in enumerate(lines, start=first):
            if not text.strip():
                continue
            where = f"line {number:,} = {cut(repr(text.decode().strip()), SHOWN_CHARACTERS)}"
            try:
                record = json.loads(text, object_pairs_hook=_unique)
            except (ValueError, RecursionError) as error:
                yield f"{where}: not a JSON object ({str(error).partition(':')[0]})"
                continue
            yield {name: record[name] for name in columns if name in record} if isinstance(record, dict) else f"{where}: not a JSON object"


def _is_doubtful(body: bytes) -> bool:
    """Whether there may be integers of more than 64 bits, or halves of a character."""
    digits = np.frombuffer(body, np.uint8) - np.uint8(ord("0")) < 10
    for step in (1, 2, 4, 8, 3):  # runs of 2, 4, 8, 16 and 19 digits
        digits = digits[:-step] & digits[step:]
    return bool(digits.any()) or b"\\ud" in body or b"\\uD" in body


def _names(line: bytes) -> list[str]:
    try:
        return [str(name) for name in json.loads(line)]
    except (ValueError, RecursionError):
        return []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; every text of it can be written as UTF-8.

    Raises:
        ValueError: two values of one name, or half a character.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("two values of one name")
    for value in found.values():
        if isinstance(value, str):
            value.encode()
    return found


def _parsed(records: Iterator[dict[str, Any] | str], columns: Sequence[str], dtypes: Mapping[str, pl.DataType] | None) -> Block:
    rows: list[dict[str, Any]] = []
    refused: list[tuple[int, str]] = []
    for position, record in enumerate(records):
        if isinstance(record, str):
            refused.append((position, record))
        else:
            rows.append(record)
    series = []
    found = {name for row in rows for name in row}
    for name in columns if dtypes else [name for name in columns if name in found]:
        values = [row.get(name) for row in rows]
        dtype = _dtype(values) if dtypes is None else dtypes[name]
        if dtype == pl.String:
            values = [_text(value) for value in values]
        elif (inner := element_type(dtype)) is not None:
            values = [_elements(value, inner) for value in values]
        elif dtype.is_nested() or dtype == pl.Null:
            values = [None] * len(values)
        series.append(pl.Series(name, values, dtype=dtype, strict=False))
    return Block(pl.DataFrame(series), refused)


def _dtype(values: Sequence[Any]) -> pl.DataType:
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pl.Null()
    if kinds == {bool}:
        return pl.Boolean()
    if kinds == {list}:
        return pl.List(_dtype([element for value in values for element in value or []]))
    if kinds <= {list, dict}:
        return pl.List(pl.Null) if list in kinds else pl.Struct([])
    if kinds <= {int, float}:
        largest = max((abs(value) for value in values if isinstance(value, int)), default=0)
        if float in kinds and largest <= LARGEST_EXACT:
            return pl.Float64()
        if float not in kinds and largest < 2**63:
            return pl.Int64()
    return pl.String()


def _elements(value: Any, dtype: pl.DataType) -> list[Any] | None:
    if not isinstance(value, list) or dtype == pl.Null or dtype.is_nested():
        return None
    return [_text(element) for element in value] if dtype == pl.String else value


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
