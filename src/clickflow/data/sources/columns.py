"""From a column of a user's file to a canonical column: one function per kind of content.

A value that cannot be converted becomes null, and the column as it was given travels along under :func:`given`, so that the check
can quote the offending text without reading the file again. Columns whose type cannot fail carry no such companion: a clean
Parquet log costs nothing extra.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import polars as pl

from clickflow.data.schema import ITEM
from clickflow.data.sources.parts import FILE, ROW, element_type
from clickflow.data.sources.source import reading, several
from clickflow.data.sources.texts import token, with_point
from clickflow.data.splits import SPLITS
from clickflow.errors import DataError

EXPECTED = "expected:"
"""Prefix of a key of ``RawLog.columns`` whose value says what a column should have contained."""
AN_INTEGER = "an integer"
JOINT = "|"
"""Between the parts of an id that is made of several columns."""
SPLIT_CODES = {name: code for code, name in enumerate(SPLITS)} | {"training": 0, "valid": 1, "val": 1, "dev": 1}
"""Names that logs give to splits -> their codes."""
SPLIT_NAMES = "{}, {} (valid, val, dev) or {}".format(*SPLITS)


class Canonical(NamedTuple):
    """A canonical column to select from a file.

    Attributes:
        name: canonical name, or a field's.
        source: its name in the file.
        expression: canonical values; null for a value that cannot be converted.
        expected: description of a valid value, None if every value converts.
        quoted: what a message quotes of a value that cannot be converted, None for the whole value.
    """

    name: str
    source: str
    expression: pl.Expr
    expected: str | None = None
    quoted: pl.Expr | None = None

    @property
    def expressions(self) -> list[pl.Expr]:
        """Expressions to select: the canonical column and, if a conversion can fail, its companion."""
        quoted = pl.col(self.source) if self.quoted is None else self.quoted
        companion = [] if self.expected is None else [quoted.alias(given(self.name))]
        return [self.expression.alias(self.name), *companion]

    def cast(self, dtype: pl.DataType) -> "Canonical":
        """The same values in another type."""
        return self._replace(expression=self.expression.cast(dtype))


class Selection:
    """The canonical columns of one table; problems are collected, so that all of them are reported at once."""

    def __init__(self, frame: pl.LazyFrame, where: str, table: str = "interactions") -> None:
        self.frame, self.where, self.table = frame, where, table
        with reading(where):
            self.schema = frame.collect_schema()
        self.columns: list[Canonical] = []
        self.problems: list[str] = []

    def add(self, make: Callable[[str, str, pl.DataType, str], Canonical], name: str, source: str) -> None:
        """Add a column; ``make`` is one of the functions below."""
        try:
            self.columns.append(make(name, source, self.schema[source], self.where))
        except DataError as error:
            self.problems.append(str(error))

    def add_item(self, sources: Sequence[str]) -> None:
        """Add the item's id, from one column or joined from several."""
        if len(sources) == 1:
            self.add(identifier, ITEM, sources[0])
            return
        try:
            self.columns.append(joined_identifier(ITEM, self, sources))
        except DataError as error:
            self.problems.append(str(error))

    def select(self, names: dict[str, str]) -> pl.LazyFrame:
        """Select the canonical frame and add the file's names of its columns to ``names`` (see ``RawLog.columns``).

        Raises:
            DataError: all problems with the types of the columns.
        """
        if self.problems:
            raise several(self.problems, self.where)
        for column in self.columns:
            key = qualified(self.table, column.name)
            names[key] = column.source
            if column.expected is not None:
                names[EXPECTED + key] = column.expected
        more = [pl.col(token(column.source)).alias(token(column.name)) for column in self.columns if token(column.source) in self.schema]
        more += [pl.col(name) for name in (FILE, ROW) if name in self.schema]
        return self.frame.select([expression for column in self.columns for expression in column.expressions] + more)

    def types(self, names: Collection[str]) -> set[pl.DataType]:
        """Types of canonical columns, of a list those of its elements; none of columns that the table lacks or that lack values."""
        found = (column for column in self.columns if column.name in names and self.schema.get(column.source) != pl.Null)
        dtypes = {self.frame.select(column.expression).collect_schema().dtypes()[0] for column in found}
        return {element_type(dtype) or dtype for dtype in dtypes}


def make_alike(tables: Iterable[Selection], names: Collection[str]) -> None:
    """Give columns one type in all tables: if some have texts, all have. A column without values has the type of the others.

    Args:
        tables: all tables of a log.
        names: canonical columns that hold values of one kind, such as ids, or lists of them.
    """
    tables = list(tables)
    types = {dtype for table in tables for dtype in table.types(names)}
    if not types:
        return
    dtype = pl.String() if pl.String in types else types.pop()
    for table in tables:
        table.columns = [column.cast(dtype) if column.name in names else column for column in table.columns]


def given(name: str) -> str:
    """Name of the companion that holds a canonical column as written in the file."""
    return f"given:{name}"


def qualified(table: str, column: str) -> str:
    """Key of ``RawLog.columns``: the bare name in the interactions, with the table's name in front elsewhere.

    >>> qualified("interactions", "user"), qualified("items", "item")
    ('user', 'items.item')
    """
    return column if table == "interactions" else f"{table}.{column}"


def identifier(name: str, source: str, dtype: pl.DataType, where: str) -> Canonical:
    """A raw id: Int64 if the file has integers, else String; an empty text counts as missing.

    Raises:
        DataError: the column holds neither integers nor texts.
    """
    column = pl.col(source)
    if dtype == pl.Int128:  # the inferred type of 64-bit hashes in a CSV
        return Canonical(name, source, column.cast(pl.String))
    if dtype == pl.UInt64:
        return Canonical(name, source, column.cast(pl.Int64, strict=False), f"{AN_INTEGER} below 2**63 (larger ids must be texts)")
    if dtype.is_integer() or dtype == pl.Null:
        return Canonical(name, source, column.cast(pl.Int64))
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        text = column.cast(pl.String)
        return Canonical(name, source, pl.when(text != "").then(text))
    if dtype.is_float():
        hint = "integers with gaps become floats in pandas: fill the gaps and write the column as integers or texts"
    else:
        hint = "write the column as integers or texts"
    raise DataError(f"{where}, column '{source}' = {dtype}: ids are integers or texts; {hint}.")


def joined_identifier(name: str, table: Selection, sources: Sequence[str]) -> Canonical:
    r"""A raw id made of several columns: their texts with ``|`` between them; a row that lacks one of them lacks the id.

    A ``|`` or a backslash of a text gets a backslash in front, so different values never give the same id.

    Raises:
        DataError: a column holds neither integers nor texts.
    """
    parts = []
    for source in sources:
        dtype = table.schema[source]
        column = pl.col(source).cast(pl.String) if dtype == pl.UInt64 else identifier(name, source, dtype, table.where).expression
        parts.append(column.cast(pl.String).str.replace_all(r"[|\\]", r"\$0"))
    return Canonical(name, ", ".join(sources), pl.concat_str(parts, separator=JOINT))


def list_identifier(name: str, source: str, dtype: pl.DataType, where: str) -> Canonical:
    """A list's raw id, as :func:`identifier`, but also beyond 2**63; a row without one is in no list.

    Raises:
        DataError: the column holds neither integers nor texts.
    """
    if dtype == pl.UInt64:  # a hash, which nobody asks for by its number
        return Canonical(name, source, pl.col(source).cast(pl.String))
    return identifier(name, source, dtype, where)


def integer(name: str, source: str, dtype: pl.DataType, where: str, expected: str = AN_INTEGER) -> Canonical:
    """Int64 from integers, from whole floats and from texts of digits; anything else becomes null.

    Raises:
        DataError: the column holds neither numbers nor texts.
    """
    column = pl.col(source)
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
        raise DataError(f"{where}, column '{source}' = {dtype}: must be {expected}; convert the column.")
    if (dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128)) or dtype == pl.Null:
        return Canonical(name, source, column.cast(pl.Int64))
    if dtype.is_integer():
        return Canonical(name, source, column.cast(pl.Int64, strict=False), expected)
    if dtype.is_float():
        return Canonical(name, source, _whole(column), expected)
    text = column.str.strip_chars()
    return Canonical(name, source, pl.coalesce(text.cast(pl.Int64, strict=False), _whole(text.cast(pl.Float64, strict=False))), expected)


def _whole(number: pl.Expr) -> pl.Expr:
    return pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False)


def split(name: str, source: str, dtype: pl.DataType, where: str) -> Canonical:
    """Code of a split (UInt8) from its name; anything else becomes null.

    Raises:
        DataError: the column holds no texts.
    """
    if dtype not in (pl.String, pl.Null):
        raise DataError(f"{where}, column '{source}' = {dtype}: a split is {SPLIT_NAMES}; write the column as texts.")
    text = pl.col(source).cast(pl.String).str.strip_chars().str.to_lowercase()
    return Canonical(name, source, text.replace_strict(SPLIT_CODES, default=None, return_dtype=pl.UInt8), SPLIT_NAMES)


def number(name: str, source: str, dtype: pl.DataType, where: str, decimal: str = ".") -> Canonical:
    """Float64; NaN counts as missing, infinity and texts that are not numbers become null.

    Raises:
        DataError: the column holds neither numbers nor texts.
    """
    column = pl.col(source)
    if dtype.is_integer() or dtype == pl.Boolean:
        return Canonical(name, source, column.cast(pl.Float64))
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
        raise DataError(f"{where}, column '{source}' = {dtype}: a numeric field holds numbers; convert it, or set kind: categorical.")
    if dtype == pl.String:
        column = with_point(column.str.strip_chars(), decimal)
    value = column.cast(pl.Float64, strict=False)
    return Canonical(name, source, pl.when(value.is_finite()).then(value), "a finite number")


def category(name: str, source: str, dtype: pl.DataType, where: str) -> Canonical:
    """A categorical field: Int64 or String; missing values stay null.

    Raises:
        DataError: the column holds floats, times or nested values.
    """
    column = pl.col(source)
    if dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128):
        return Canonical(name, source, column.cast(pl.Int64))
    if dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
        return Canonical(name, source, column.cast(pl.String))
    if dtype.is_nested():
        where = f"{where}, column '{source}' = {dtype}"
        raise DataError(f"{where}: several values per row, and a field has one; write one of them to a column.")
    raise DataError(
        f"{where}, column '{source}' = {dtype}: a categorical field holds integers, texts or booleans; convert it"
        + (", or set kind: numeric." if dtype.is_numeric() else ".")
    )
