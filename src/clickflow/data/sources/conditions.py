"""Values of columns as a config names them: ``{event: [view, buy]}``."""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator


def as_texts(value: object) -> tuple[str | None, ...]:
    """One value or several as texts; null stays null."""
    values = value if isinstance(value, list | tuple) else (value,)
    if not values or not all(one is None or isinstance(one, str | int | float) for one in values):
        raise ValueError("a value or a list of values")
    return tuple(dict.fromkeys(str(one).lower() if isinstance(one, bool) else one if one is None else str(one) for one in values))


Values = Annotated[tuple[str | None, ...], BeforeValidator(as_texts)]
"""One value or a list of values of a column; null is a missing value."""
Where = dict[str, Values]
"""Column -> its values; all conditions must hold."""


class Condition(NamedTuple):
    """Values of a column that a config names.

    Attributes:
        key: the key that names them.
        column: name of the column.
        values: texts, and None for a missing value.
    """

    key: str
    column: str
    values: tuple[str | None, ...]


def conditions(where: Mapping[str, tuple[str | None, ...]], key: str) -> list[Condition]:
    """The conditions under a key of the config."""
    return [Condition(f"{key}.{column}", column, values) for column, values in where.items()]


def listed(values: Sequence[str | None]) -> str:
    """The values for a message."""
    return ", ".join("null" if value is None else value for value in values)
