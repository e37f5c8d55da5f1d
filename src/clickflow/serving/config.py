"""Config of a table of behaviours that histories are made from."""

from typing import Annotated, Literal

from pydantic import Field

from clickflow.config import Contradictions, StrictConfig
from clickflow.data.schema import ITEM, TIMESTAMP, USER, TimestampUnit
from clickflow.data.sources.conditions import Where
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.log_columns import ItemColumns, Paths


class BehaviourColumns(StrictConfig):
    """The table's names for who did something, with what, and when."""

    user: str = USER
    """Column of the user's id."""
    item: ItemColumns = (ITEM,)
    """Column of the item's id, or a list of columns that are joined into one id."""
    timestamp: str = TIMESTAMP
    """Column of the moment."""


class BehavioursConfig(Dialect):
    """Behaviours of users, one per row, such as the clicks of a log."""

    path: Paths | None = None
    """Parquet, CSV or NDJSON: a file, a glob, a folder or a list of files; null: there is no table."""
    where: Where = {}
    """Rows that are behaviours: column -> value or list of values; all conditions must hold."""
    columns: BehaviourColumns = BehaviourColumns()
    timestamp_unit: TimestampUnit | None = None
    """Meaning of integer timestamps, also in the input of ``predict``; null: what they meant in training, as in requests."""
    timestamp_format: str | None = None
    """strptime format of dates that are not ISO 8601, such as 20240531, also in the input of ``predict``."""
    on_bad_rows: Literal["error", "drop"] = "error"
    """Rows of the table with a missing or unreadable id or timestamp, or a timestamp before 1970 or in the future."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the table's rows that ``on_bad_rows: drop`` may drop."""

    def _contradictions(self) -> Contradictions:
        yield from super()._contradictions()
        if self.timestamp_format is not None and self.timestamp_unit == "order":
            yield "timestamp_format", f"= {self.timestamp_format}: a clock, but timestamp_unit is order; remove one of them"
