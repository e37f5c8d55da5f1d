"""Contents of a table's columns, as far as its first rows show them."""

from collections.abc import Collection
from functools import cached_property

import polars as pl

from clickflow.data.guessing.words import words_of
from clickflow.data.sources.parts import plain

MIN_REPEATED = 5
"""Keys that occur twice or more often before a dependence on them is believed."""
EXCEPTIONS = 0.02
LONGEST_ID = 64
MANY_VALUES = 0.02
"""Share of different values among all from which a text is free rather than chosen from a list."""
WORDS_OF_A_TEXT = 3


def average(values: pl.Series) -> float:
    """Mean of numbers, or the share of true ones; 0 without a value."""
    mean = values.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0


class Column:
    """One column."""

    def __init__(self, name: str, series: pl.Series, position: int) -> None:
        self.name, self.position, self.rows = name, position, len(series)
        self.is_unnamed = name == f"column_{position + 1}"
        self.words = frozenset() if self.is_unnamed else words_of(name)
        self.series = series.cast(pl.String) if plain(series.dtype) == pl.String else series
        self.values = self.series.drop_nulls()
        self.dtype = plain(series.dtype)

    @cached_property
    def distinct(self) -> int:
        """Different values; 0 of nested ones."""
        return 0 if self.dtype.is_nested() else self.values.n_unique()

    @property
    def is_text(self) -> bool:
        """Whether it holds texts."""
        return self.dtype == pl.String

    @property
    def is_integer(self) -> bool:
        """Whether it holds whole numbers of any size."""
        return self.dtype.is_integer()

    @property
    def is_float(self) -> bool:
        """Whether it holds numbers with a fraction."""
        return self.dtype.is_float()

    @property
    def is_constant(self) -> bool:
        """Whether it has at most one value, and so tells no row from another."""
        return not self.dtype.is_nested() and self.distinct <= 1

    @property
    def is_unique(self) -> bool:
        """Whether no value occurs twice."""
        return self.distinct == len(self.values) == self.rows > 1

    @property
    def is_counter(self) -> bool:
        """Whether it holds consecutive whole numbers, each once."""
        if not (self.is_integer and self.is_unique):
            return False
        return bool((self.values.sort().diff().drop_nulls() == 1).all())

    @cached_property
    def is_free_text(self) -> bool:
        """Whether it holds sentences, addresses or other texts that are no names."""
        if not self.is_text or self.values.is_empty():
            return False
        is_long = average(self.values.str.len_chars()) > LONGEST_ID
        spaces = average(self.values.str.count_matches(" "))
        is_varied = self.distinct > max(10, MANY_VALUES * len(self.values))
        return is_varied and (is_long or spaces >= WORDS_OF_A_TEXT - 1)

    @cached_property
    def is_id_like(self) -> bool:
        """Whether values may be ids: whole numbers, or short texts without spaces."""
        if len(self.values) == 0 or not (self.is_integer or self.is_text) or self.values.len() * 10 < self.rows:
            return False
        if self.is_integer:
            return True
        has_space = average(self.values.str.contains(r"\s"))
        return average(self.values.str.len_chars()) <= LONGEST_ID and has_space < EXCEPTIONS

    def is_within(self, values: Collection[object]) -> bool:
        """Whether it has no other values than these, compared as lower-case texts."""
        if self.distinct == 0 or self.distinct > len(values):
            return False
        return {str(value).strip().lower() for value in self.values.unique()} <= set(values)

    def covered_by(self, other: pl.Series) -> float:
        """Share of the different values that another column has too."""
        mine = self.values.unique().cast(pl.String)
        return average(mine.is_in(other.drop_nulls().unique().cast(pl.String).implode()))


class Table:
    """The columns of a sample's rows."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self.columns = [Column(series.name, series, position) for position, series in enumerate(frame)]
        self._depends: dict[tuple[str, str], bool] = {}

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def depends(self, column: Column, key: Column) -> bool:
        """Whether each value of the key has one value of the column, as each item has one category."""
        pair = (column.name, key.name)
        if pair not in self._depends:
            self._depends[pair] = self._looked_up(column, key)
        return self._depends[pair]

    def _looked_up(self, column: Column, key: Column) -> bool:
        if column.dtype.is_nested() or key.dtype.is_nested() or column.name == key.name or column.distinct < 2:
            return False
        pairs = pl.DataFrame({"key": key.series, "value": column.series}).drop_nulls("key")
        groups = pairs.group_by("key").agg(pl.len().alias("rows"), pl.col("value").n_unique().alias("values")).filter(pl.col("rows") > 1)
        if groups.height < MIN_REPEATED:
            return False
        return average(groups["values"] > 1) <= EXCEPTIONS
