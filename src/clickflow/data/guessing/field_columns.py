"""The columns that are left: fields of the item, the user or the impression, and those that a model should not be given."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from clickflow.data.guessing.events import LookedAt
from clickflow.data.guessing.outcome import is_known_later
from clickflow.data.guessing.profile import Column, Table
from clickflow.data.guessing.words import GROUP, IDENTIFIER, NAME, OF_ITEM, OF_SITUATION, OF_USER, QUANTITY, is_named
from clickflow.data.schema import RESERVED_NAMES
from clickflow.text import near_name

ROLES = ("item", "user", "context")
FEW_VALUES = 10
MANY_LISTS = 0.02
"""Share of different values from which requests or sessions are ids rather than the numbers of pages."""
TITLE = frozenset({"title", "name", "headline", "caption"})


@dataclass
class Fields:
    """Roles of the remaining columns.

    Attributes:
        item: fields by name, as the config has them.
        user: likewise.
        context: likewise.
        left_out: column -> why it is no field.
        several: columns with several values in one text.
    """

    item: dict[str, dict[str, str]] = field(default_factory=dict)
    user: dict[str, dict[str, str]] = field(default_factory=dict)
    context: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    several: list[str] = field(default_factory=list)


def fields_of_log(
    log: LookedAt, taken: set[str], user: Column | None, item: Column | None, names: set[str], elsewhere: Collection[str]
) -> Fields:
    """Fields of a log.

    Args:
        log: the log.
        taken: columns that are something else.
        user: its user column.
        item: its item column.
        names: names of fields that are in use; gets further ones.
        elsewhere: roles whose fields are read from a table of their own, so that what the log says of them is context.
    """

    def role_of(column: Column) -> str:
        role = _role(log.table, column, user, item)
        return "context" if role in elsewhere else role

    return _fields(log, taken, names, log.events.outcome, role_of)


def fields_of_table(other: LookedAt, key: Column, role: str, names: set[str]) -> tuple[Fields, str | None]:
    """Fields of an item or a user table, and the column with what people call an item."""
    title = _title(other.table, key) if role == "item" else None
    return _fields(other, {key.name, title or key.name}, names, None, lambda column: role), title


def _fields(one: LookedAt, taken: set[str], names: set[str], outcome: Column | None, role_of: Callable[[Column], str]) -> Fields:
    found = Fields()
    moments = {clock.column.name for clock in one.events.moments}
    lists = {sequence.column.name for sequence in one.events.lists}
    for column in one.table.columns:
        if column.name in taken:
            continue
        if reason := _reason_to_leave_out(column, moments, outcome):
            found.left_out[column.name] = reason
            continue
        if column.name in lists:
            found.several.append(column.name)
        getattr(found, role_of(column))[field_name(column.name, names)] = {"column": column.name, "kind": _kind(column)}
    return found


def field_name(column: str, used: set[str]) -> str:
    """A valid name for a field, which is then used.

    >>> used = {"price"}
    >>> [field_name(column, used) for column in ("Price (EUR)", "price", "item", "42", "产品")]
    ['price_eur', 'price_2', 'item_field', 'field_42', 'field']
    """
    plain = column.partition(":")[0]
    name = near_name(plain.lower(), r"[a-z0-9_]+") or "field"
    if not name.isidentifier():
        name = f"field_{name}"
    if name in RESERVED_NAMES:
        name = f"{name}_field"
    number, first = 2, name
    while name in used:
        name, number = f"{first}_{number}", number + 1
    used.add(name)
    return name


def _reason_to_leave_out(column: Column, moments: Collection[str], outcome: Column | None) -> str | None:
    """Why a column is no field; None if it is one."""
    if column.dtype.is_nested():
        return "several values per row"
    if column.values.is_empty():
        return "no value in these rows"
    if column.is_constant:
        return "one value in all rows"
    if column.name in moments:
        return "another moment"
    if column.dtype.is_temporal():
        return "a time without a meaning for a model"
    if outcome is not None and is_known_later(column, outcome):
        return "known only after the row was shown?"
    if column.is_free_text:
        return "free text"
    if is_named(column.words, GROUP) and column.is_id_like and column.distinct > MANY_LISTS * column.rows:
        return "names a request or a session, not a quality of it"
    is_once = column.distinct == len(column.values) > FEW_VALUES
    if is_once and not column.is_float and (column.is_counter or not (column.is_integer and column.words & QUANTITY)):
        return "another value in every row"
    return None


def _role(table: Table, column: Column, user: Column | None, item: Column | None) -> str:
    """Whose field a column is: of whom it depends on, by its values; its name decides where these allow both."""
    if column.words & OF_SITUATION or column.words & GROUP & column.words - IDENTIFIER:
        return "context"
    of_item = item is not None and table.depends(column, item)
    of_user = user is not None and table.depends(column, user)
    if of_item and of_user:
        return "item" if column.words & OF_ITEM else "user" if column.words & OF_USER else "context"
    return "item" if of_item else "user" if of_user else "context"


def _kind(column: Column) -> str:
    """Quantities are numbers with a fraction, are named so, or lie as counts do: most of them small, some large."""
    if column.is_float:
        return "numeric"
    if not column.is_integer or column.distinct <= 2:
        return "categorical"
    if column.words & NAME:
        return "categorical"
    if column.words & QUANTITY:
        return "numeric"
    low, middle, high = (float(column.values.quantile(point) or 0) for point in (0.0, 0.5, 1.0))
    return "numeric" if column.distinct > FEW_VALUES and low <= 1 and middle * 4 < high else "categorical"


def _title(table: Table, key: Column) -> str | None:
    texts = [column for column in table.columns if column.is_text and column is not key and column.distinct > FEW_VALUES]
    named = [column for column in texts if column.words & TITLE]
    free = [column for column in texts if column.is_unnamed and column.is_free_text]
    return next((column.name for column in (*named, *free)), None)


def as_config(fields: Fields) -> dict[str, Any]:
    """The keys of the config."""
    return {f"{role}_fields": getattr(fields, role) for role in ROLES if getattr(fields, role)}
