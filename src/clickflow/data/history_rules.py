"""Rules of histories besides time, which a trained model carries so that its histories can be made again."""

from collections.abc import Mapping
from typing import Any

from clickflow.config import StrictConfig
from clickflow.data.schema import TimestampUnit

TELLING_APART = ("group", "kind", "candidates", "rating")
"""Columns of a log by which rows of one user, item and timestamp are no duplicates of each other."""


class HistoryRules(StrictConfig):
    """Rules that made the histories of a training; the defaults are those of models that do not say."""

    history_lag: int = 0
    """Age in seconds (positions, where the unit is order) from which on a behaviour is known."""
    timestamp_unit: TimestampUnit = "seconds"
    """Unit of timestamps that are numbers; where it is ``order``, none is a clock."""
    merges_identical: bool = False
    """Whether behaviours that agree in user, item and timestamp count once."""
    by_position: bool = False
    """Whether behaviours of the impression's own moment could be in its history, by an order within the moment."""
    ready_made: bool = False
    """Whether each impression brought its history, so that no behaviours can be told to be those of a history."""
    seed: int = 0
    """Seed of the order within a moment."""

    @classmethod
    def of(cls, protocol: Mapping[str, Any], source: Mapping[str, Any], timestamp_unit: str) -> "HistoryRules":
        """The rules of a prepared data set.

        Args:
            protocol: values of its protocol's config.
            source: values of its source's config.
            timestamp_unit: unit of its timestamps; of date-times, which have no unit in the source, it is microseconds.
        """
        columns, own = source.get("columns") or {}, source.get("behaviours")
        told_apart = [(own.get("columns") or columns).get("kind")] if own else [columns.get(key) for key in TELLING_APART]
        is_next_item = protocol["name"] == "next_item"
        values = {
            "history_lag": protocol.get("history_lag", 0),
            "timestamp_unit": source.get("timestamp_unit", timestamp_unit),
            "merges_identical": is_next_item or (source.get("duplicates") == "drop" and not any(told_apart)),
            "by_position": protocol.get("ties") == "position",
            "ready_made": bool(columns.get("history")),
            "seed": protocol.get("seed", 0) if is_next_item else 0,
        }
        return cls.model_validate(values)
