"""A log as every source hands it to ``prepare``: lazy frames with canonical columns."""

from dataclasses import dataclass, field

import polars as pl

from clickflow.data.schema import FieldSpec, TimestampUnit


@dataclass(frozen=True)
class RefusedLines:
    """Lines of a table's files that are no rows.

    Attributes:
        positions: file -> their positions among its records, ascending.
        first: the first of them, and what is wrong with it.
    """

    positions: dict[str, list[int]] = field(default_factory=dict)
    first: str = ""

    @property
    def count(self) -> int:
        """Number of them."""
        return sum(map(len, self.positions.values()))


@dataclass(frozen=True)
class RawLog:
    """A log as a source reads it; nothing is collected yet, nothing sorted.

    Raw ids are integers or strings. Timestamps are Int64 in ``timestamp_unit``.

    Attributes:
        interactions: one row per interaction: ``user``, ``item``, ``timestamp``; ``label`` (0/1) or ``rating`` if the source has
            them; ``given list``, the raw id of the list that a row was ranked in, null for none; user and context fields by name
            (categorical: string or integer; numeric: Float64); ``true_probability`` where known.
        items: one row per item: ``item`` and its fields by name, and ``item title`` if known; None if there is no such table.
        users: one row per user: ``user`` and its fields by name; None if there is no such table.
        behaviours: a behaviour table of its own (``user``, ``item``, ``timestamp``, the item fields that it knows too); None if the
            interactions are the behaviours. These or those have ``behaviour kind`` if known (string or integer).
        fields: all user, context and item fields.
        timestamp_unit: unit of ``timestamp``; ``order`` is a position, not a clock.
        columns: canonical name -> name in the user's file, for messages.
        origins: frame (``interactions``, ``items``, ``users``, ``behaviours``) -> file or files it came from, for messages.
        refused: frame -> lines of its files that are no rows.
        left_out: frame -> reason -> rows of its files that the config leaves out.
    """

    interactions: pl.LazyFrame
    fields: tuple[FieldSpec, ...] = ()
    items: pl.LazyFrame | None = None
    users: pl.LazyFrame | None = None
    behaviours: pl.LazyFrame | None = None
    timestamp_unit: TimestampUnit = "seconds"
    columns: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    refused: dict[str, RefusedLines] = field(default_factory=dict)
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
