"""CSV files, read as texts: every line is part of a row, is blank, or is refused with its number.

Polars parses what is certain: blocks without a quote, and blocks with every quote where RFC 4180 has it. Python's ``csv`` reads the
others in strict mode, record by record. A quoted text may hold line ends, but not whole rows: if each of its lines has as many fields
as the file has columns, then the quote belongs to a text, and reading on would swallow these rows.
"""

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.lines import text_chunks
from clickflow.errors import DataError
from clickflow.text import cut

HEADER_BYTES = 1 << 16
SHOWN_CHARACTERS = 60
FEED, RETURN = ord("\n"), ord("\r")
CUT_OFF = "unexpected end of data"


class Block(NamedTuple):
    """Some records of a text file.

    Attributes:
        frame: columns of the records that are rows.
        refused: position among the block's records of each record that is no row, and what is wrong with it.
    """

    frame: pl.DataFrame
    refused: list[tuple[int, str]]


class CsvFile:
    """One CSV file.

    Raises:
        DataError: when made: the file is blank, its header cannot be read, or ``names`` do not fit it.
    """

    def __init__(self, file: Path, dialect: Dialect) -> None:
        self.file, self.encoding = file, dialect.encoding
        self.separator = "\t" if file.name.lower().endswith((".tsv", ".tsv.gz")) else dialect.separator
        self.quote = dialect.quote or None
        self.reader_options: dict[str, Any] = {"delimiter": self.separator}
        self.reader_options |= {"quotechar": self.quote} if self.quote else {"quoting": csv.QUOTE_NONE}
        reader = csv.reader(self._lines(), strict=True, **self.reader_options)
        try:
            first = next((record for record in reader if record), None)
        except csv.Error as error:
            raise self._broken(1, "", error) from error
        if first is None:
            raise DataError(f"{file.name} = 0 rows: the file is blank; write it again with its rows.")
        self.columns = first if dialect.header else list(dialect.names)
        if len(first) != len(self.columns):
            raise DataError(
                f"{file.name}, line {reader.line_num} = {len(first)} fields: names has {len(self.columns)}; name each column of the file"
                f" (is the separator {self.separator!r}?)."
            )
        self.header_lines = reader.line_num if dialect.header else 0

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """The chosen columns in this order, as texts; null or "" if there is none.

        Raises:
            DataError: a quote that does not end where a field ends, with its line; the file is damaged.
        """
        wanted = [self.columns.index(column) for column in columns]
        buffer, line, header_lines = b"", 1, self.header_lines
        for chunk in itertools.chain(text_chunks(self.file, self.encoding), [b""]):
            buffer += chunk
            if not chunk and buffer and not buffer.endswith(b"\n"):
                buffer += b"\n"
            while header_lines and b"\n" in buffer:
                buffer = buffer.partition(b"\n")[2]
                header_lines, line = header_lines - 1, line + 1
            if end := buffer.rfind(b"\n") + 1:
                block, taken = self._block(buffer[:end], line, wanted, at_end=not chunk)
                yield Block(block.frame.rename(dict(zip(block.frame.columns, columns, strict=True))), block.refused)
                line += buffer.count(b"\n", 0, taken)
                buffer = buffer[taken:]

    def _lines(self) -> Iterator[str]:
        rest = b""
        for chunk in text_chunks(self.file, self.encoding, HEADER_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (f"{line.decode()}\n" for line in lines)
        yield rest.decode()

    def _block(self, body: bytes, line: int, wanted: list[int], at_end: bool) -> tuple[Block, int]:
        """The records of a block of whole lines, and the number of bytes that they take; the last record may go on."""
        data = np.frombuffer(body, np.uint8)
        ends = np.flatnonzero(data == FEED)
        quotes = self._quotes(body, data, ends)
        if quotes is None:
            return self._records(body, ends, line, wanted, at_end)
        separators = np.flatnonzero(data == ord(self.separator))
        if len(quotes):
            separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
        fields = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
        starts = np.concatenate([[0], ends[:-1] + 1])
        blank = (ends == starts) | ((ends == starts + 1) & (data[starts] == RETURN))
        good = ~blank & (fields == len(self.columns))
        refused = []
        if not good.all():
            record = np.cumsum(~blank) - 1
            refused = [(int(record[at]), self._ragged(line + int(at), int(fields[at]))) for at in np.flatnonzero(~good & ~blank)]
            kept = data[np.repeat(good, ends - starts + 1)].tobytes()
        else:
            kept = body
        try:
            frame = self._parsed(kept, wanted)
        except pl.exceptions.PolarsError:
            frame = pl.DataFrame()
        if frame.height != good.sum():
            return self._records(body, ends, line, wanted, at_end)
        return Block(frame, refused), len(body)

    def _quotes(self, body: bytes, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Positions of the quotes; None if Python's ``csv`` has to read the block."""
        if not f"{self.separator}{self.quote or ''}".isascii() or body.count(b"\r") != body.count(b"\r\n"):
            return None
        if self.quote is None or self.quote.encode() not in body:
            return np.empty(0, np.int64)
        quotes = np.flatnonzero(data == ord(self.quote))
        if len(quotes) % 2 or (np.searchsorted(quotes, ends) % 2).any():
            return None
        before = data[quotes[0::2] - 1]
        if quotes[0] == 0:
            before[0] = FEED
        after = data[quotes[1::2] + 1]
        regular = np.isin(before, [FEED, ord(self.separator), ord(self.quote)]).all()
        regular &= np.isin(after, [FEED, RETURN, ord(self.separator), ord(self.quote)]).all()
        return quotes if regular else None

    def _parsed(self, body: bytes, wanted: list[int]) -> pl.DataFrame:
        names = [str(position) for position in range(len(self.columns))]
        schema = dict.fromkeys(names, pl.String())
        chosen = [names[position] for position in wanted]
        if not body:
            return pl.DataFrame(schema={name: pl.String() for name in chosen})
        frame = pl.read_csv(
            body.replace(b"\r\n", b"\n"),
            has_header=False,
            separator=self.separator,
            quote_char=self.quote,
            schema=schema,
            columns=sorted(wanted),
        )
        return frame.select(chosen)

    def _records(self, body: bytes, ends: NDArray[np.int64], line: int, wanted: list[int], at_end: bool) -> tuple[Block, int]:
        lines = [f"{text}\n" for text in body.decode().split("\n")[:-1]]
        reader = csv.reader(lines, strict=True, **self.reader_options)
        rows: list[list[str]] = []
        refused: list[tuple[int, str]] = []
        done = 0
        try:
            for record in reader:
                if reader.line_num - done > 1:
                    self._refuse_swallowed_rows(lines[done : reader.line_num], line + done)
                if record and len(record) == len(self.columns):
                    rows.append([record[position] for position in wanted])
                elif record:
                    refused.append((len(rows) + len(refused), self._ragged(line + done, len(record))))
                done = reader.line_num
        except csv.Error as error:
            if at_end or str(error) != CUT_OFF:
                raise self._broken(line + done, lines[done], error) from error
        schema = {str(position): pl.String() for position in wanted}
        return Block(pl.DataFrame(rows, schema=schema, orient="row"), refused), int(ends[done - 1]) + 1 if done else 0

    def _refuse_swallowed_rows(self, lines: Sequence[str], first: int) -> None:
        """Refuse a record of several lines if each of them is a row of its own."""
        wanted = len(self.columns)
        if wanted > 1 and all(self._is_row(line, wanted) for line in lines):
            raise DataError(
                f"{self.file.name}, line {first:,} = {_shown(lines[0])}: a quote opens here and closes in line {first + len(lines) - 1:,}, "
                f"and each line between has the {wanted} fields of a row; close the quote, or set quote: null if quotes are part of texts."
            )

    def _is_row(self, line: str, fields: int) -> bool:
        if line.count(self.separator) + 1 == fields:
            return True
        return len(next(csv.reader([line], **self.reader_options), [])) == fields

    def _ragged(self, line: int, fields: int) -> str:
        return f"line {line:,}: {fields} field{'s' if fields > 1 else ''}, and the file has {len(self.columns)} columns"

    def _broken(self, line: int, text: str, error: csv.Error) -> DataError:
        if "new-line" in str(error):
            where = f"{self.file.name}, line {line:,} = {_shown(text)}"
            return DataError(f"{where}: a carriage return in the middle of a text without quotes; quote the text, or write it without.")
        return DataError(
            f"{self.file.name}, line {line:,} = {_shown(text)}: a quoted text that does not end where a field ends ({error}); "
            "close or double its quotes, or set quote: null if quotes are part of the texts."
        )


def _shown(line: str) -> str:
    return repr(cut(line.rstrip("\r\n"), SHOWN_CHARACTERS))
