"""A prepared data set as plain rows, and the same rows from a plain loop over a log."""

from collections import Counter, defaultdict
from typing import NamedTuple

from clickflow.data.dataset import PreparedDataset

SPLITS = ("train", "validation", "test")


class Event(NamedTuple):
    """One row of a log, read by the standard library."""

    user: object
    item: object
    time: float
    label: int = 1


def of(dataset: PreparedDataset):
    """User, item, label and history of every row of every split, with raw ids."""
    users, items = dataset.raw_users().to_list(), [None, *dataset.raw_items().to_list()]
    rows = []
    for name in SPLITS:
        split = dataset.split(name)
        columns = (split.rows[column].tolist() for column in ("group", "item", "label", "history_start", "history_end"))
        for group, item, label, start, end in zip(*columns, strict=True):
            rows.append((users[group], items[item], label, tuple(items[one] for one in split.behaviours[start:end].tolist())))
    return rows


def earlier(events, behaviours):
    """Rows of a log whose history is what the user did strictly before, oldest first."""
    done = defaultdict(list)
    for one in sorted(behaviours, key=lambda event: event.time):
        done[one.user].append(one)
    return [(one.user, one.item, one.label, tuple(past.item for past in done[one.user] if past.time < one.time)) for one in events]


def next_items(events):
    """The positives of the protocol next_item: whatever a user did after the first moment; equal events are one."""
    once = list(dict.fromkeys(events))
    first = {one.user: min(other.time for other in once if other.user == one.user) for one in once}
    return earlier([one for one in once if one.time > first[one.user]], once)


def counted(rows):
    """Rows without their order; the order within a history is compared apart, since a moment has none."""
    return Counter((user, item, label, tuple(sorted(history, key=str))) for user, item, label, history in rows)
