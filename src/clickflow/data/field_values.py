"""Values of the fields of a log: how many are missing, unreadable or different, as the summary shows them.

The counts have names such as ``missing: device``; the name of the field follows the colon.
"""

import logging
from collections.abc import Iterator, Mapping

import polars as pl

from clickflow.data.faults import RawTable, unreadable_values
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig
from clickflow.data.sources.texts import token

logger = logging.getLogger(__name__)

VALUES, MISSING, DISTINCT, UNREADABLE, TOKENS, JOINED = "values: ", "missing: ", "distinct: ", "unreadable: ", "no value: ", "joined: "
JOINED_TEXT = r"\S\|\S|^\[.*\]$"
"""``Action|Comedy``, ``["a", "b"]``."""
JOINED_SHARE = 0.2
FEW = 10
"""So many unreadable values are no sign of a wrong option, whatever their share, unless they are half of all."""


def count_missing(table: RawTable, config: SourceConfig, counts: dict[str, int]) -> Iterator[str]:
    """Count values that cannot be read and texts that stand for none, and warn of them once.

    Yields:
        A problem for each field with more unreadable values than ``max_bad_share`` allows and than :data:`FEW`.
    """
    names = [column.removeprefix(token("")) for column in table.frame.columns if column.startswith(token(""))]
    for name in names:
        found = table.frame[token(name)].drop_nulls()
        if len(found):
            counts[f"{TOKENS}{table.column(name)}"] = len(found)
            texts = ", ".join(repr(text) for text in found.unique().cast(pl.String).sort())
            where = f"{table.origin}, column '{table.column(name)}'"
            logger.warning("%s: %s rows have %s, which is no value (data.null_values)", where, f"{len(found):,}", texts)
    for fault in unreadable_values(table):
        rows = int(fault.bad.sum())
        finding = table.finding(fault)
        is_much = rows > FEW or 2 * rows >= table.frame.height  # a share of thirty values says little
        if is_much and rows > config.max_bad_share * table.frame.height:
            yield (
                f"{finding}; {rows:,} of {table.frame.height:,} values cannot be read, and data.max_bad_share={config.max_bad_share:g} is "
                "the most that count as missing; set kind: categorical, decimal or null_values, or remove the field."
            )
            continue
        counts[f"{UNREADABLE}{fault.column}"] = counts.get(f"{UNREADABLE}{fault.column}", 0) + rows
        logger.warning("%s; such values count as missing", finding)


def describe(raw: RawLog, frames: Mapping[str, pl.DataFrame], counts: dict[str, int]) -> None:
    """Count the missing and the different values of each field, and point at texts that hold several values."""
    for spec in raw.fields:
        frame = frames["items" if spec.role == "item" and "items" in frames else "interactions"]
        if spec.name not in frame.columns:
            continue
        values = frame[spec.name]
        counts[f"{VALUES}{spec.name}"] = len(values)
        counts[f"{MISSING}{spec.name}"] = values.null_count()
        if spec.kind == "numeric":
            counts[f"{DISTINCT}{spec.name}"] = values.drop_nulls().n_unique()
        elif values.dtype == pl.String:
            joined = int(values.str.contains(JOINED_TEXT).sum())
            if joined > JOINED_SHARE * (len(values) - values.null_count()):
                counts[f"{JOINED}{spec.name}"] = joined
                example = values.filter(values.str.contains(JOINED_TEXT).fill_null(False))[0]
                logger.warning(
                    "field %s: %s texts such as %r hold several values, and each combination is a category; write one value to a column",
                    spec.name,
                    f"{joined:,}",
                    example,
                )
