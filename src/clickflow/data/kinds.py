"""Kinds of behaviours (view, buy ...): numbers beside the item of each behaviour, for models to use."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clickflow.data.rows import LogRows
from clickflow.data.schema import KIND
from clickflow.data.validation import CheckedLog
from clickflow.data.vocabulary import Vocabulary
from clickflow.errors import DataError

COUNTED = "kind: "
"""Prefix of the counts of behaviours by kind."""
MAX_KINDS = 255


@dataclass(frozen=True)
class Kinds:
    """Kinds of N behaviours.

    Attributes:
        vocabulary: the kinds that histories of train hold.
        index: (N,) uint8, 0 for a kind that is missing or unknown to train.
        counts: number of behaviours of each kind, by name.
    """

    vocabulary: Vocabulary
    index: NDArray[np.uint8]
    counts: dict[str, int]


def behaviour_kinds(log: CheckedLog, rows: LogRows) -> Kinds | None:
    """The kinds of the behaviours, None if the log does not tell them.

    Events of several kinds that are one event otherwise (``next_item``: equal user, item and moment) have the kind that sorts first.

    Raises:
        DataError: more than :data:`MAX_KINDS` kinds.
    """
    events, table = (log.interactions, "interactions") if log.behaviours is None else (log.behaviours, "behaviours")
    if KIND not in events.columns:
        return None
    raw = events[KIND].gather(rows.behaviours.source_row)
    found = raw.value_counts().sort("count", KIND, descending=[True, False])
    if found.height > MAX_KINDS:
        column = log.raw.columns[KIND if table == "interactions" else f"{table}.{KIND}"]
        raise DataError(
            f"{log.raw.origins[table]}, column '{column}' = {found.height:,} kinds: a behaviour has one of at most {MAX_KINDS} kinds; "
            "name another column, or remove kind."
        )
    vocabulary = Vocabulary.fit(raw, rows.in_train.astype(np.int64))
    counts = {f"{COUNTED}{'(missing)' if kind is None else kind}": count for kind, count in found.rows()}
    return Kinds(vocabulary, vocabulary.encode(raw).astype(np.uint8), counts)
