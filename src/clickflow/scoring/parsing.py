"""Values of a CSV, which has no types: its texts as the Arrow arrays that :class:`~clickflow.serving.encoder.Encoder` takes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clickflow.data.sources.dialect import Dialect
from clickflow.serving.encoder import flattened
from clickflow.serving.ids import LARGEST, TOO_LARGE
from clickflow.serving.raw_columns import RawColumn, of_column, refuse

NUMBER = r"(?i)^([+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan)$"
INTEGER = r"^-?\d+$"


def without_null_values(texts: pa.Array, dialect: Dialect) -> pa.Array:
    """(R,) texts -> (R,) null for a blank one and for those that stand for a missing value, as in a log."""
    is_missing = pc.is_in(pc.utf8_trim_whitespace(texts), value_set=pa.array(["", *dialect.null_values], texts.type))
    return pc.if_else(is_missing, pa.scalar(None, texts.type), texts)


def parsed(texts: pa.Array, column: RawColumn, decimal: str = ".") -> pa.Array:
    """(R,) texts -> (R,) integers, strings or numbers, whichever the column holds; a missing one stays null."""
    if pa.types.is_large_string(column.dtype):
        return texts
    trimmed = pc.utf8_trim_whitespace(texts)
    if pa.types.is_floating(column.dtype):
        if decimal == ",":
            refuse(np.asarray(pc.match_substring(texts, ".").fill_null(False)), texts, f"not {column.expected}")
            trimmed = pc.replace_substring(trimmed, ",", ".")
        refuse(~_matches(trimmed, NUMBER), texts, f"not {column.expected}")
        return trimmed.cast(pa.float64())
    whole = pc.replace_substring_regex(trimmed, r"\.0+$", "")  # pandas writes integers with gaps as 7.0
    refuse(~_matches(whole, INTEGER), texts, f"not {column.expected}")
    try:
        return whole.cast(pa.int64())
    except pa.ArrowInvalid:
        refuse(np.array([text is not None and not -LARGEST - 1 <= int(text) <= LARGEST for text in whole.to_pylist()]), texts, TOO_LARGE)
        raise


def parsed_lists(texts: pa.Array, separator: str, name: str, column: RawColumn) -> pa.Array:
    """(R,) texts -> (R,) lists of the values between separators."""
    trimmed = pc.utf8_trim_whitespace(texts)
    values, bounds = flattened(pc.split_pattern(pc.if_else(pc.equal(trimmed, ""), None, trimmed), separator))
    with of_column(name, bounds):
        return pa.LargeListArray.from_arrays(pa.array(bounds), parsed(values, column))


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    """(R,) whether each text matches; true for a missing one."""
    return np.asarray(pc.match_substring_regex(texts, pattern).fill_null(True))
