"""The columns of the user and of the item.

Names count most. Contents decide where names say nothing: an id that stands once per row is neither, and what others depend on, as a
category does, is the item.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from clickflow.data.guessing.profile import Column, Table
from clickflow.data.guessing.words import GROUP, IDENTIFIER, ITEM, NAME, QUANTITY, USER, WEAK_ITEM, WEAK_USER, is_named

MAX_COMPARED = 8
"""Columns without a telling name that are compared with each other."""
CLOSE = 1.0
"""Difference of two scores at which a person is asked."""
NOT_WHO = frozenset({"type", "model", "category", "domain", "name", "language", "version", "class"})
PLACES = frozenset({"site", "app", "page", "url", "domain", "channel", "ip"})
"""Say where something was shown rather than what."""
COVERED = 0.5
KNOWN = 3.0
"""Worth of another table that knows a column's ids."""
SURE = 2.0
"""Score below which no name speaks for a column."""


class Identity(NamedTuple):
    """Columns of user and item.

    Attributes:
        user: None if there is no column for it.
        item: likewise.
        questions: what a person should look at.
    """

    user: Column | None
    item: Column | None
    questions: tuple[str, ...] = ()


def identity(table: Table, taken: Iterable[str], known: Mapping[str, Column], has_item: bool = False) -> Identity:
    """Choose user and item.

    Args:
        table: the log.
        taken: columns that are something else.
        known: keys of tables of users and items.
        has_item: whether items come from lists, so that no column is needed.
    """
    free = [column for column in table.columns if column.name not in taken and _may_be(column)]
    keys = _keys(table, free)
    users = {column: _user_score(column) + _known(column, known.get("user")) - 2 * (column in keys) for column in free}
    items = {column: _item_score(column) + _known(column, known.get("item")) + 1.5 * (column in keys) for column in free}
    if has_item:
        user = max(free, key=lambda column: users[column], default=None)
        return Identity(user, None, tuple(_doubts("user", user, None, users)))
    pairs = [(users[user] + items[item], user, item) for user in free for item in free if user is not item]
    if not pairs:
        return Identity(None, free[0] if free else None)
    _, user, item = max(pairs, key=lambda pair: pair[0])
    whose = {column: score for column, score in users.items() if column is user or not table.depends(column, item)}
    what = {column: score for column, score in items.items() if column is item or not table.depends(column, item)}
    return Identity(user, item, (*_doubts("user", user, item, whose), *_doubts("item", item, user, what)))


def lists(table: Table, taken: Iterable[str], user: Column | None) -> list[Column]:
    """Columns that name the list a row was ranked in: several rows of one user, named as a request or the like."""
    free = (column for column in table.columns if column.name not in taken and column.is_id_like)
    named = [column for column in free if is_named(column.words, GROUP) and 1 < column.distinct < column.rows]
    return [column for column in named if user is None or table.depends(user, column)]


def _may_be(column: Column) -> bool:
    """Whether a column may be a user or an item: by its values, or since its name says so."""
    is_named_so = is_named(column.words, USER) or is_named(column.words, ITEM)
    is_scalar = column.is_integer or column.is_text or column.is_float
    return (column.is_id_like and column.distinct > 1) or (is_named_so and is_scalar)


def _keys(table: Table, free: list[Column]) -> list[Column]:
    """Columns without a telling name on which another one depends, as a category on its item."""
    mute = [column for column in free if not column.words & (USER | WEAK_USER | ITEM | WEAK_ITEM | NAME | PLACES)][:MAX_COMPARED]
    others = [other for other in free if other in mute or other.words & NAME][: 2 * MAX_COMPARED]
    return [
        column
        for column in mute
        if any(other.distinct < column.distinct and table.depends(other, column) for other in others) and not column.is_unique
    ]


def _user_score(column: Column) -> float:
    return _user_name_score(column) + _content_score(column) + (0.5 if _is_grouped(column) else 0.0)


def _item_score(column: Column) -> float:
    return _item_name_score(column) + _content_score(column)


def _user_name_score(column: Column) -> float:
    return _named_score(column, USER, WEAK_USER)


def _item_name_score(column: Column) -> float:
    is_variant_free = 0.5 if "parent" in column.words else 0.0  # one id for all variants of a product
    return _named_score(column, ITEM - PLACES, WEAK_ITEM) + is_variant_free


def _named_score(column: Column, strong: frozenset[str], weak: frozenset[str]) -> float:
    if is_named(column.words, strong):
        return 8.0
    if column.words & strong and column.words & IDENTIFIER:
        return 5.0
    if is_named(column.words, weak | strong):
        return 2.0
    if is_named(column.words, NAME | QUANTITY) or column.words & (NOT_WHO | QUANTITY) or column.words & strong:
        return -3.0
    if column.words & PLACES:
        return -1.0
    return -1.0 if column.words & NAME - IDENTIFIER else 0.0


def _content_score(column: Column) -> float:
    """Ids recur, have many values, and nearly every row has one."""
    missing = 1 - len(column.values) / column.rows
    few = 1.0 if column.distinct < 10 else 0.0
    variety: float = min(1.0, column.distinct / max(1.0, column.rows**0.5))
    return (-4.0 if column.is_unique else 0.0) - 2 * missing - few + variety - 0.01 * column.position


def _is_grouped(column: Column) -> bool:
    """Whether equal values stand together, as in a log by user."""
    runs = int((column.series != column.series.shift()).fill_null(True).sum())
    return runs < 1.2 * column.distinct < 0.8 * column.rows


def _known(column: Column, key: Column | None) -> float:
    if key is None or column.covered_by(key.values) < COVERED:
        return 0.0
    return 2 * KNOWN if key.name == column.name else KNOWN


def _doubts(role: str, chosen: Column | None, other: Column | None, scores: Mapping[Column, float]) -> Iterable[str]:
    if chosen is None:
        return
    rivals = [column for column, score in scores.items() if column not in (chosen, other) and score > scores[chosen] - CLOSE]
    shown = ", ".join(repr(column.name) for column in rivals[:3])
    named = _user_name_score(chosen) if role == "user" else _item_name_score(chosen)
    if max(named, scores[chosen] - KNOWN) < SURE:
        yield f"columns.{role}: no name says {role}, and {chosen.name!r} is a guess by its values" + (
            f"; or is it {shown}?" if shown else ""
        )
    elif rivals:
        yield f"columns.{role}: {chosen.name!r} is the likeliest; or is it {shown}?"
