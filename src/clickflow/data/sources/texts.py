"""Contents of a column of texts: missing values, integers, decimal numbers, or just texts.

All rows decide, so another order of the rows gives the same types.
"""

from collections.abc import Collection, Sequence

import polars as pl

DECIMAL_NUMBER = r"^-?\d+(\.\d+)?$"


def token(column: str) -> str:
    """Name of the companion that says which of ``null_values`` a column had in a row."""
    return f"given:token:{column}"


def cleaned(column: str, null_values: Sequence[str]) -> pl.Expr:
    """The texts of a column; null for a blank one and for those that stand for a missing value."""
    return pl.when(~pl.col(column).str.strip_chars().is_in(["", *null_values])).then(pl.col(column)).alias(column)


def tokens(column: str, null_values: Sequence[str]) -> pl.Expr:
    """The text that stands for a missing value, null in all other rows."""
    return pl.col(column).str.strip_chars().cast(token_type(null_values), strict=False).alias(token(column))


def token_type(null_values: Sequence[str]) -> pl.Enum:
    """Type of the companion."""
    return pl.Enum(list(dict.fromkeys(null_values)))


class ColumnTypes:
    """The types that fit all texts of some columns.

    An integer must come back as it was written: ``007``, ``+7`` and `` 7`` are texts, for as ids they differ from ``7``.
    """

    def __init__(self, names: Collection[str], decimal: str) -> None:
        """See the class.

        Args:
            names: columns of ids and categories, where ``1e5`` and ``nan`` are names and no numbers.
            decimal: decimal mark.
        """
        self.names, self.decimal = names, decimal
        self.seen: set[str] = set()
        self.integers: set[str] = set()
        self.numbers: set[str] = set()
        self.points: set[str] = set()

    def add(self, frame: pl.DataFrame) -> None:
        """Look at more rows of some columns; missing values are null."""
        for column in frame.columns:
            text = frame[column].drop_nulls()
            if text.is_empty():
                continue
            # What is no integer so far is all that matters, so a column of texts costs nothing after its first rows.
            is_new = column not in self.seen
            self.seen.add(column)
            if (is_new or column in self.integers) and (text.cast(pl.Int64, strict=False).cast(pl.String) == text).all(ignore_nulls=False):
                self.integers.add(column)
                self.numbers.add(column)
                continue
            self.integers.discard(column)
            if (is_new or column in self.numbers) and self._are_numbers(column, text):
                self.numbers.add(column)
            else:
                self.numbers.discard(column)

    def dtype(self, column: str, is_text: bool = False) -> pl.DataType:
        """Null without a value, Int64, Float64 or String; with a value always String for what is a text in any case."""
        if column not in self.seen:
            return pl.Null()
        if is_text:
            return pl.String()
        if column in self.integers:
            return pl.Int64()
        is_number = column in self.numbers and (column not in self.names or column in self.points)
        return pl.Float64() if is_number else pl.String()

    def _are_numbers(self, column: str, text: pl.Series) -> bool:
        plain = with_point(pl.col(column), self.decimal)
        if column not in self.names:
            return not text.to_frame(column).select(plain.cast(pl.Float64, strict=False).is_null().any()).item()
        are = plain.str.contains(DECIMAL_NUMBER).fill_null(False).all()
        have_point = plain.str.contains(".", literal=True).any()
        are_numbers, point = text.to_frame(column).select(are, have_point.alias("point")).row(0)
        if point:
            self.points.add(column)
        return bool(are_numbers)


def with_point(text: pl.Expr, decimal: str) -> pl.Expr:
    """Numbers with a point as the decimal mark; with a comma as the mark, a point is no part of a number."""
    if decimal == ".":
        return text
    return pl.when(~text.str.contains(".", literal=True)).then(text.str.replace(",", ".", literal=True))
