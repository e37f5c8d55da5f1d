"""Labels of a log: 0 or 1 as logs write them, or clicks and non-clicks by the values of a column."""

from collections.abc import Callable

import polars as pl

from clickflow.data.schema import LABEL
from clickflow.data.sources.columns import Canonical
from clickflow.data.sources.conditions import Condition
from clickflow.data.sources.log_columns import LabelColumn
from clickflow.data.sources.where import has_value
from clickflow.errors import DataError

WORDS = {"true": "1", "t": "1", "yes": "1", "y": "1", "false": "0", "f": "0", "no": "0", "n": "0"}


def label(column: LabelColumn) -> Callable[[str, str, pl.DataType, str], Canonical]:
    """Choose how to make labels of a column: from 0 and 1, or from the values that the config names."""
    if column.positive is None:
        return zero_or_one
    positive = column.positive
    return lambda name, source, dtype, where: Canonical(name, source, has_value(source, dtype, positive).cast(pl.Int8))


def zero_or_one(name: str, source: str, dtype: pl.DataType, where: str) -> Canonical:
    """Int8 0/1 from booleans, from 0/1 or -1/1, and from such texts or words; anything else becomes null.

    Raises:
        DataError: the column holds neither numbers, booleans nor texts.
    """
    column = pl.col(source)
    if dtype == pl.Boolean:
        return Canonical(name, source, column.cast(pl.Int8))
    others = f"for other values set data.columns.label: {{column: {source}, positive: […]}}"
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
        raise DataError(f"{where}, column '{source}' = {dtype}: a label is 0 (no click) or 1 (click); write the column as integers.")
    if dtype == pl.String:
        column = column.str.strip_chars().str.to_lowercase().replace(WORDS)
    value = column.cast(pl.Float64, strict=False)
    value = pl.when(value.is_in([-1.0, 0.0, 1.0])).then(value.clip(0, 1)).cast(pl.Int8)
    return Canonical(name, source, value, f"0 (no click) or 1 (click), -1/1, true/false or yes/no ({others})")


def outcomes(column: LabelColumn | None) -> list[Condition]:
    """The values that the config names, of clicks and of non-clicks."""
    values = {} if column is None else {"positive": column.positive, "negative": column.negative}
    return [Condition(f"columns.{LABEL}.{key}", column.column, texts) for key, texts in values.items() if column and texts is not None]
