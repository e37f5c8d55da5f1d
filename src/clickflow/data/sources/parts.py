"""The files of one table brought to one set of columns and types.

A file's physical types say how it was written, not what it means: texts may be dictionaries, integers decimals, and a column without
a value has no type. So each type has a plain form, and a column has the one form that all its files' values fit into.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import polars as pl

from clickflow.errors import DataError

FILE = "given:file"
"""Enum column: the file of each row, if a table has several."""
ROW = "given:row"
"""Position of each row among the rows of its file, if rows of the table are left out."""
INTEGER_DIGITS = 18
"""Decimal digits that always fit into Int64."""
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class Needed(NamedTuple):
    """Demands of the config on a column.

    Attributes:
        key: the key that names it.
        is_name: whether it holds ids or categories, where ``1e5`` is a name and no number.
        is_optional: whether a file may lack it.
        is_text: whether it stays the text that a CSV file has, even if each of its values is a number.
    """

    key: str
    is_name: bool
    is_optional: bool
    is_text: bool = False


def plain(dtype: pl.DataType) -> pl.DataType:
    """The form of a physical type: Null, Boolean, Int64, UInt64, Int128, Float64, String, Date, Datetime, or a list of these.

    A struct is its own form.

    >>> plain(pl.Decimal(10, 0)), plain(pl.Enum(["a"])), plain(pl.Datetime("ns"))
    (Int64, String, Datetime(time_unit='us', time_zone='UTC'))
    """
    if dtype in (pl.Categorical, pl.Enum, pl.Binary, pl.String):
        return pl.String()
    if isinstance(dtype, pl.Decimal):
        if dtype.scale:
            return pl.Float64()
        return pl.Int64() if (dtype.precision or 38) <= INTEGER_DIGITS else pl.Int128()
    if dtype in (pl.UInt64, pl.Int128, pl.UInt128):
        return pl.UInt64() if dtype == pl.UInt64 else pl.Int128()
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", "UTC")
    if (inner := element_type(dtype)) is not None:
        return pl.List(plain(inner))
    return dtype


def element_type(dtype: pl.DataType) -> pl.DataType | None:
    """The type of a list's elements; None if the type is no list."""
    if not isinstance(dtype, pl.List | pl.Array):
        return None
    return dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()


def common(forms: Mapping[str, pl.DataType], column: str, is_name: bool) -> pl.DataType:
    """The form that a column has in all files.

    Args:
        forms: file -> the column's form there.
        column: its name, for the message.
        is_name: whether it holds ids or categories, where a float and a text cannot be told to be one.

    Raises:
        DataError: there is no such form.
    """
    kinds = {str(form): form for form in forms.values() if form != pl.Null}
    if len(kinds) <= 1:
        return next(iter(kinds.values()), pl.Null())
    found = list(kinds.values())
    elements = {file: inner for file, form in forms.items() if (inner := element_type(form)) is not None}
    if all(isinstance(form, pl.List) for form in found):
        return pl.List(common(elements, column, is_name))
    if all(form.is_integer() for form in found):
        return pl.Int128()
    if all(form.is_numeric() for form in found):
        return pl.Float64()
    if all(form in (pl.Date, pl.Datetime) for form in found):
        return pl.Datetime("us", "UTC")
    scalars = all(form.is_numeric() or form in (pl.String, pl.Boolean) for form in found)
    if scalars and not (is_name and any(form.is_float() for form in found)):
        return pl.String()
    shown = ", ".join(f"{file}: {form}" for file, form in forms.items() if form != pl.Null)
    raise DataError(f"column '{column}' = {shown}: of several types; write it with one type in all files.")


def converted(column: str, dtype: pl.DataType, form: pl.DataType) -> pl.Expr:
    """A column of a file in the form that it has in the table."""
    values = pl.col(column)
    if (isinstance(dtype, pl.Datetime) and dtype.time_zone is None) or (dtype == pl.Date and form != pl.Date):
        values = values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype in (pl.Categorical, pl.Enum, pl.Binary):
        values = values.cast(pl.String)
    return values if plain(dtype) == dtype == form else values.cast(form)


def partition_values(file: Path) -> dict[str, str | None]:
    """Columns that a file's folders give, as Hive and Spark name them: ``day=2024-05-01/part-0.parquet``.

    >>> partition_values(Path("log/day=2024-05-01/shop=a%2Fb/part-0.parquet"))
    {'day': '2024-05-01', 'shop': 'a/b'}
    """
    pairs = [folder.partition("=") for folder in file.parent.parts if "=" in folder[1:]]
    return {key: None if value == HIVE_NULL else unquote(value) for key, _, value in pairs}
