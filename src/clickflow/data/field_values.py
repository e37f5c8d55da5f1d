"""Values of the fields of a log: how many are missing, unreadable or different, as the summary shows them.

The counts have names such as ``missing: device``; the name of the field follows the colon.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import polars as pl

from clickflow.data.faults import Findings, RawTable, unreadable_values
from clickflow.data.schema import FieldSpec
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig
from clickflow.data.sources.texts import token
from clickflow.data.tallies import DifferentNumbers

logger = logging.getLogger(__name__)

VALUES, MISSING, DISTINCT, UNREADABLE, TOKENS, JOINED = "values: ", "missing: ", "distinct: ", "unreadable: ", "no value: ", "joined: "
JOINED_TEXT = r"\S\|\S|^\[.*\]$"
"""``Action|Comedy``, ``["a", "b"]``."""
JOINED_SHARE = 0.2
FEW = 10
"""So many unreadable values are no sign of a wrong option, whatever their share, unless they are half of all."""


class MissingValues:
    """Values of a table that cannot be read, and texts that stand for none; counted piece by piece."""

    def __init__(self, name: str, raw: RawLog) -> None:
        self._name, self._raw = name, raw
        self._tokens: dict[str, tuple[int, set[str]]] = {}
        self._unreadable = Findings()
        self._num_rows = 0

    def add(self, table: RawTable) -> None:
        """Look at the next piece of the table."""
        self._num_rows += table.frame.height
        for column in table.frame.columns:
            if column.startswith(token("")):
                found = table.frame[column].drop_nulls()
                rows, texts = self._tokens.get(column.removeprefix(token("")), (0, set()))
                self._tokens[column.removeprefix(token(""))] = rows + len(found), texts | set(found.unique().cast(pl.String))
        for fault in unreadable_values(table):
            self._unreadable.add(table, fault)

    def report(self, config: SourceConfig, counts: dict[str, int]) -> Iterator[str]:
        """Add to ``counts``, and warn once of each column.

        Yields:
            A problem for each field with more unreadable values than ``max_bad_share`` allows and than :data:`FEW`.
        """
        table = RawTable(self._name, pl.DataFrame(), self._raw)
        for name, (rows, texts) in self._tokens.items():
            if not rows:
                continue
            counts[f"{TOKENS}{table.column(name)}"] = rows
            where, shown = f"{table.origin}, column '{table.column(name)}'", ", ".join(map(repr, sorted(texts)))
            logger.warning("%s: %s rows have %s, which is no value (data.null_values)", where, f"{rows:,}", shown)
        for finding in self._unreadable.all():
            rows = finding.count
            is_much = rows > FEW or 2 * rows >= self._num_rows  # a share of thirty values says little
            if is_much and rows > config.max_bad_share * self._num_rows:
                yield (
                    f"{finding}; {rows:,} of {self._num_rows:,} values cannot be read, and data.max_bad_share={config.max_bad_share:g} is "
                    "the most that count as missing; set kind: categorical, decimal or null_values, or remove the field."
                )
                continue
            counts[f"{UNREADABLE}{finding.column}"] = counts.get(f"{UNREADABLE}{finding.column}", 0) + rows
            logger.warning("%s; such values count as missing", finding)


@dataclass
class _Described:
    values: int = 0
    missing: int = 0
    numbers: DifferentNumbers = field(default_factory=DifferentNumbers)
    joined: int = 0
    example: str = ""


class FieldSummary:
    """The missing and the different values of the fields of a table, and texts that hold several values; counted piece by piece."""

    def __init__(self, specs: Iterable[FieldSpec]) -> None:
        self._fields = {spec: _Described() for spec in specs}

    def add(self, frame: pl.DataFrame) -> None:
        """Look at more rows."""
        for spec, seen in self._fields.items():
            values = frame[spec.name]
            seen.values += len(values)
            seen.missing += values.null_count()
            if spec.kind == "numeric":
                seen.numbers.add(values)
            elif values.dtype == pl.String:
                joined = values.filter(values.str.contains(JOINED_TEXT).fill_null(False))
                if len(joined):
                    first = cast(str, joined.min())
                    seen.example = min(seen.example, first) if seen.joined else first
                    seen.joined += len(joined)

    def report(self, counts: dict[str, int]) -> None:
        """Add to ``counts``, and warn of fields with several values per row."""
        for spec, seen in self._fields.items():
            counts[f"{VALUES}{spec.name}"] = seen.values
            counts[f"{MISSING}{spec.name}"] = seen.missing
            if spec.kind == "numeric":
                counts[f"{DISTINCT}{spec.name}"] = len(seen.numbers)
            elif seen.joined > JOINED_SHARE * (seen.values - seen.missing):
                counts[f"{JOINED}{spec.name}"] = seen.joined
                logger.warning(
                    "field %s: %s texts such as %r hold several values, and each combination is a category; write one value to a column",
                    spec.name,
                    f"{seen.joined:,}",
                    seen.example,
                )
