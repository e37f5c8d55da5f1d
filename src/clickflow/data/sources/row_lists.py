"""Columns that hold several items per row: candidates, what was clicked of them, and ready-made histories.

Each is a list column, or a text with a separator. A missing value is an empty list. The items of a text are integers if all of them are,
as in a column of one item per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from clickflow.data.schema import CANDIDATE_LABELS, CANDIDATES, CLICKED, GIVEN_HISTORY
from clickflow.data.sources.columns import Canonical, Selection, identifier
from clickflow.data.sources.log_columns import CandidateColumns
from clickflow.data.sources.parts import element_type
from clickflow.data.sources.source import reading
from clickflow.errors import DataError

if TYPE_CHECKING:
    from clickflow.data.sources.log import LogConfig

FIRST_ROWS = 1_000
"""If these hold a text that is no integer, then the others need not be read to know the type."""


class ItemLists(Canonical):
    """A canonical column with a list of raw ids per row."""

    def cast(self, dtype: pl.DataType) -> ItemLists:
        """The same ids in another type."""
        return self._replace(expression=self.expression.cast(pl.List(dtype)))


def add(table: Selection, config: LogConfig) -> None:
    """Add the columns that the config names to the interactions."""
    candidates, history = config.columns.candidates, config.columns.history
    if candidates is not None and candidates.label_separator is not None:
        try:
            table.columns += _labelled(table, candidates, candidates.label_separator)
        except DataError as error:
            table.problems.append(str(error))
    elif candidates is not None and candidates.clicked is not None:
        make = partial(_item_list, table.frame, candidates.separator, config.null_values)
        table.add(make, CANDIDATES, candidates.column)
        table.add(make, CLICKED, candidates.clicked)
    if history is not None:
        table.add(partial(_item_list, table.frame, config.history_separator, config.null_values), GIVEN_HISTORY, history)


def _item_list(
    frame: pl.LazyFrame, separator: str | None, null_values: Sequence[str], name: str, source: str, dtype: pl.DataType, where: str
) -> Canonical:
    """Lists of raw ids; an element that stands for a missing value becomes null.

    Raises:
        DataError: the column holds neither lists of ids nor texts with a separator.
    """
    column = pl.col(source)
    if dtype == pl.Null:
        return ItemLists(name, source, _filled(column.cast(pl.List(pl.Int64))))
    if dtype == pl.String:
        if separator is None:
            raise DataError(
                f"{where}, column '{source}' = {dtype}: a history is a list; set data.history_separator for texts such as a^b^c."
            )
        _refuse_brackets(frame, source, where)
        items = _cleaned(_tokens(column, separator), null_values)
        return ItemLists(name, source, items.cast(pl.List(pl.Int64)) if _are_integers(frame, items, where) else items)
    if (inner := element_type(dtype)) is None:
        raise DataError(f"{where}, column '{source}' = {dtype}: must hold lists of ids, or texts with a separator; convert the column.")
    identifier(name, source, inner, where)
    if inner == pl.UInt64:
        whole = column.cast(pl.List(pl.Int64), strict=False)
        too_large = column.list.eval(pl.element().filter(pl.element() >= 2**63)).list.first()
        items = pl.when(too_large.is_null()).then(_filled(whole))
        return ItemLists(name, source, items, "an integer below 2**63 (larger ids must be texts)", too_large)
    if inner == pl.Null or (inner.is_integer() and inner != pl.Int128):
        return ItemLists(name, source, _filled(column.cast(pl.List(pl.Int64))))
    return ItemLists(name, source, _filled(_cleaned(column.cast(pl.List(pl.String)), null_values)))


def _labelled(table: Selection, candidates: CandidateColumns, separator: str) -> list[Canonical]:
    """Items and labels of texts such as ``N1-1 N2-0``; a row with a candidate that has no label becomes null.

    Raises:
        DataError: the column holds no such texts, or no candidate has a label.
    """
    source, where = candidates.column, f"{table.where}, column '{candidates.column}'"
    dtype, column = table.schema[source], pl.col(source)
    if dtype == pl.Null:
        column = column.cast(pl.String)
    elif dtype not in (pl.String, pl.List(pl.String)):
        raise DataError(
            f"{where} = {dtype}: must hold texts such as N1{separator}1{candidates.separator}N2{separator}0; convert the column, or set "
            "columns.candidates.clicked in place of label_separator."
        )
    tokens = _filled(column.list.drop_nulls()) if dtype == pl.List(pl.String) else _tokens(column, candidates.separator)
    one = pl.element()
    suffix = len(separator) + 1
    is_labelled = (one.str.ends_with(f"{separator}0") | one.str.ends_with(f"{separator}1")) & (one.str.len_chars() > suffix)
    readable = tokens.list.eval(is_labelled).list.all()
    items = tokens.list.eval(one.str.head(-suffix))
    labels = tokens.list.eval(one.str.ends_with(f"{separator}1").cast(pl.Int8))
    _refuse_unlabelled(table, tokens, tokens.list.eval(is_labelled), where, separator)
    if _are_integers(table.frame, pl.when(readable).then(items), table.where):
        items = items.cast(pl.List(pl.Int64), strict=False)
    expected = f"an item that ends with its label, {separator}0 or {separator}1"
    first_bad = tokens.list.eval(one.filter(~is_labelled)).list.first()
    return [
        ItemLists(CANDIDATES, source, pl.when(readable).then(items), expected, first_bad),
        Canonical(CANDIDATE_LABELS, source, pl.when(readable).then(labels)),
    ]


def num_missing(lists: pl.Series) -> int:
    """Number of nulls inside lists."""
    return int(lists.list.len().sum()) - int(lists.list.drop_nulls().list.len().sum())


def _tokens(column: pl.Expr, separator: str) -> pl.Expr:
    """The texts between separators, without blank ones; none of a missing text."""
    return column.fill_null("").str.split(separator).list.eval(pl.element().filter(pl.element().str.strip_chars() != ""))


def _filled(lists: pl.Expr) -> pl.Expr:
    """An empty list for a missing one."""
    return lists.fill_null([])


def _cleaned(lists: pl.Expr, null_values: Sequence[str]) -> pl.Expr:
    """Null for each text that stands for a missing value."""
    is_missing = pl.element().str.strip_chars().is_in(["", *null_values])
    return lists.list.eval(pl.when(~is_missing).then(pl.element()))


def _refuse_brackets(frame: pl.LazyFrame, source: str, where: str) -> None:
    """Refuse lists as Python prints them, whose brackets and blanks would become parts of ids."""
    with reading(where):
        texts = frame.head(FIRST_ROWS).select(pl.col(source).str.strip_chars()).collect(engine="streaming")[source]
    texts = texts.filter(texts != "")
    if len(texts) and (texts.str.starts_with("[") & texts.str.ends_with("]")).all():
        raise DataError(
            f"{where}, column '{source}' = '{texts[0]}': a list in brackets; write its ids with a separator between them and nothing "
            "else, such as 3 1, or write the column as a list in Parquet or NDJSON."
        )


def _are_integers(frame: pl.LazyFrame, items: pl.Expr, where: str) -> bool:
    """Whether all items are integers that come back as they were written, as in :class:`~clickflow.data.sources.texts.ColumnTypes`."""
    text = items.explode().drop_nulls()
    are = text.cast(pl.Int64, strict=False).cast(pl.String).eq_missing(text).all()
    with reading(where):
        return all(bool(rows.select(are).collect(engine="streaming").item()) for rows in (frame.head(FIRST_ROWS), frame))


def _refuse_unlabelled(table: Selection, tokens: pl.Expr, is_labelled: pl.Expr, where: str, separator: str) -> None:
    """Refuse a table in which no candidate has a label, as that of a competition's test period."""
    found = (is_labelled.list.any().any().alias("labelled"), tokens.list.first().drop_nulls().first().alias("example"))
    for rows in (table.frame.head(FIRST_ROWS), table.frame):
        with reading(table.where):
            labelled, example = rows.select(found).collect(engine="streaming").row(0)
        if labelled:
            return
    if example is not None:
        raise DataError(
            f"{where} = '{example}': the labels are missing: no candidate ends with {separator}0 or {separator}1, and without labels there "
            "is nothing to learn or to measure; leave out files without labels, or correct data.columns.candidates.label_separator."
        )
