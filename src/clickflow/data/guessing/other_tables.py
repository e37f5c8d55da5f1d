"""The files beside the log: an item table, a user table, behaviours."""

from typing import Any

import polars as pl

from clickflow.data.guessing.events import LookedAt
from clickflow.data.guessing.field_columns import Fields, field_name, fields_of_table
from clickflow.data.guessing.profile import Column, Table
from clickflow.data.guessing.sample import Sample
from clickflow.data.guessing.words import ITEM, NAME, USER, is_named, words_of

PAIRS = {"property": frozenset({"property", "attribute", "key", "feature"}), "value": frozenset({"value", "values"})}
"""Columns of a table with a row for each property of an item."""
INHERITED = {"separator": ",", "quote": '"', "decimal": ".", "encoding": "utf-8"}
"""Options of another table that are as in the log if it has none."""
KEY = 0.98
"""Share of different values from which a column is a table's key."""
COVERED = 0.5
"""Share of the log's ids that a table must know."""
SHARED_USERS = 0.2


def key_of(other: LookedAt) -> Column | None:
    """The column with one row per value; the one named as an id, else the first."""
    moments = {clock.column.name for clock in other.events.moments}
    keys = [
        column
        for column in other.table.columns
        if column.name not in moments
        and column.is_id_like
        and column.rows > 1
        and column.distinct >= KEY * column.rows
        and not column.is_free_text
    ]
    return min(keys, key=lambda column: (not is_named(column.words, ITEM | USER), "id" not in column.words, column.position), default=None)


def of_whom(key: Column, user: Column | None, item: Column | None) -> str | None:
    """Whether a table with this key describes users or items; None if it knows too few of either."""
    scores = {}
    for role, column, words in (("user", user, USER), ("item", item, ITEM)):
        if column is None or (covered := column.covered_by(key.values)) < COVERED:
            continue
        scores[role] = covered + 2 * (key.name == column.name) + is_named(key.words, words)
    return max(scores, key=lambda role: scores[role], default=None)


def description(other: LookedAt, log: Sample, key: Column, role: str, names: set[str]) -> tuple[dict[str, Any], Fields]:
    """The section of an item or user table, and its fields."""
    fields, title = fields_of_table(other, key, role, names)
    section = {**files_beside(other.sample, log), "column": key.name} | ({"title": title} if title else {})
    return section, fields


def properties(other: LookedAt, log: Sample, item: Column | None, used: set[str]) -> tuple[dict[str, Any], Fields] | None:
    """The section and the field of a table with one row per item and property; None if the table is none.

    The config takes one property of it: the one named as a category, else the one that most items have.
    """
    named = {role: next((column for column in other.table.columns if column.words & words), None) for role, words in PAIRS.items()}
    key, value = named["property"], named["value"]
    what = None if item is None else _same(other.table, item)
    if key is None or value is None or what is None or not 1 < key.distinct < len(key.values) or what in (key, value):
        return None
    counts = key.values.cast(pl.String).value_counts(sort=True)
    names = counts[key.name].to_list()
    chosen = next((name for name in names if words_of(name) & {"category", "cate", "cat"}), names[0])
    fields = Fields(item={field_name(chosen, used): {"column": value.name, "kind": "categorical"}})
    return {**files_beside(other.sample, log), "column": what.name, "where": {key.name: chosen}}, fields


def behaviours(other: LookedAt, log: Sample, user: Column, item: Column | None, items: LookedAt | None) -> dict[str, Any] | None:
    """The section of a behaviour table; None if the table is none, or says neither which items nor what these are."""
    if other.events.clock is None:
        return None
    who = _same(other.table, user)
    if who is None:
        return None
    section: dict[str, Any] = files_beside(other.sample, log)
    columns: dict[str, Any] = {"user": who.name}
    what = None if item is None else _same(other.table, item)
    if what is not None:
        columns["item"] = what.name
    elif shared := _shared_fields(other.table, items, {who.name, other.events.clock.column.name}):
        columns["item"] = list(shared.values()) if len(shared) > 1 else next(iter(shared.values()))
        section["item_fields"] = shared
    else:
        return None
    columns["timestamp"] = other.events.clock.column.name
    if other.events.kind is not None:
        columns["kind"] = other.events.kind.name
    section["columns"] = columns
    return section


def files_of(sample: Sample) -> dict[str, Any]:
    """Location and form of a table."""
    paths = [str(path) for path in sample.paths]
    return {"path": paths[0] if len(paths) == 1 else paths, **sample.options}


def files_beside(sample: Sample, log: Sample) -> dict[str, Any]:
    """The same for another table, which is written as the log is where it says nothing else."""
    found = files_of(sample)
    for key, default in INHERITED.items():
        own = sample.options.get(key, default)
        found.pop(key, None)
        if own != log.options.get(key, default):
            found[key] = "" if own is None else own
    return found


def _same(table: Table, column: Column) -> Column | None:
    """The column of a table that holds the ids of another one's column."""
    words = USER if is_named(column.words, USER) else ITEM if is_named(column.words, ITEM) else column.words
    alike = [one for one in table.columns if one.is_id_like and (one.name == column.name or is_named(one.words, words))]
    unnamed = [one for one in table.columns if one.is_id_like and (one.is_unnamed or column.is_unnamed)]
    found = [
        one for one in (*alike, *unnamed) if one.covered_by(column.values) >= SHARED_USERS or column.covered_by(one.values) >= SHARED_USERS
    ]
    return found[0] if found else None


def _shared_fields(table: Table, items: LookedAt | None, taken: set[str]) -> dict[str, str]:
    """Field of the item table -> the behaviour table's column for it, as cate_id -> cate."""
    if items is None:
        return {}
    found: dict[str, str] = {}
    for column in table.columns:
        if column.name in taken or not column.is_id_like:
            continue
        stem = column.words - {"id"}
        for field in items.table.columns:
            if stem and stem == field.words - {"id"} and (stem & NAME or column.covered_by(field.values) >= COVERED):
                found[field.name] = column.name
    return found
