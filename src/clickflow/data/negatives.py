"""Sampled negatives: for a positive row an item that its user never acted on, for a behaviour another item of train."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.schema import ITEM, LABEL

# After this many rounds of rejection only users who know nearly the whole catalogue are left; they are served one by one.
MAX_ROUNDS = 20


def sample_negatives(group: IntArray, own_keys: IntArray, weights: IntArray, *, uniform: bool, rng: np.random.Generator) -> IntArray:
    """One negative item for each row, by rejection.

    Args:
        group: (R,) user of each row.
        own_keys: sorted ``group * num_items + item`` of every behaviour in the log.
        weights: (I,) occurrences of each item; items of weight 0 are never drawn.
        uniform: whether all items are equally likely; otherwise in proportion to their weight.
        rng: source of randomness.

    Returns:
        (R,) items, -1 for a user who acted on every candidate.
    """
    num_items = len(weights)
    candidates = np.flatnonzero(weights)
    cumulative = np.cumsum(weights[candidates])

    def draw(size: int) -> IntArray:
        if uniform:
            return candidates[rng.integers(0, len(candidates), size)]
        return candidates[np.searchsorted(cumulative, rng.integers(0, cumulative[-1], size), side="right")]

    items = draw(len(group))
    open_rows = np.flatnonzero(_contains(own_keys, group * num_items + items))
    for _ in range(MAX_ROUNDS):
        if not len(open_rows):
            return items
        items[open_rows] = draw(len(open_rows))
        open_rows = open_rows[_contains(own_keys, group[open_rows] * num_items + items[open_rows])]
    for row in open_rows:
        low, high = np.searchsorted(own_keys, [group[row] * num_items, (group[row] + 1) * num_items])
        free = np.setdiff1d(candidates, own_keys[low:high] - group[row] * num_items)
        shares = None if uniform else weights[free] / max(1, weights[free].sum())
        items[row] = rng.choice(free, p=shares) if len(free) else -1
    return items


class OtherItems:
    """The items of train, from which DIEN's auxiliary loss draws another one for each behaviour."""

    def __init__(self, item_id: IntArray) -> None:
        """Take the index of each item row (I + 1,), 0 for those that train did not show."""
        known = np.flatnonzero(item_id > 0)
        self._rows = np.append(known, 0)
        self._places = np.full(len(item_id), len(known))  # of each item row among the known ones
        self._places[known] = np.arange(len(known))

    def draw(self, behaviours: IntArray, rng: np.random.Generator) -> IntArray:
        """(N,) item rows -> (N,) other item rows, drawn uniformly from the items of train; 0 if there is no other.

        The draw is among one item fewer and skips the position of the true one, so no draw is rejected.
        """
        num_known = len(self._rows) - 1
        place = self._places.take(behaviours)
        num_others = num_known - (place < num_known)
        drawn = rng.integers(0, np.maximum(num_others, 1))
        drawn += drawn >= place
        return self._rows.take(np.where(num_others > 0, drawn, num_known))


def interleave(columns: Mapping[str, NDArray[Any]], negatives: IntArray) -> dict[str, NDArray[Any]]:
    """Each row followed by its negative, which differs from it in item and label only.

    Args:
        columns: each (R,), ``item`` and ``label`` among them.
        negatives: (R,) items; 0 for a row without one.

    >>> columns = {"item": np.array([7, 8]), "label": np.array([1, 1]), "group": np.array([0, 3])}
    >>> {name: values.tolist() for name, values in interleave(columns, np.array([5, 0])).items()}
    {'item': [7, 5, 8], 'label': [1, 0, 1], 'group': [0, 0, 3]}
    """
    kept = np.stack([np.ones(len(negatives), bool), negatives > 0], axis=1).ravel()
    interleaved = {}
    for name, values in columns.items():
        doubled = np.repeat(values, 2)
        if name == ITEM:
            doubled[1::2] = negatives
        elif name == LABEL:
            doubled[1::2] = 0
        interleaved[name] = doubled[kept]
    return interleaved


def _contains(sorted_keys: IntArray, keys: IntArray) -> NDArray[np.bool_]:
    position = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    found: NDArray[np.bool_] = sorted_keys[position] == keys
    return found
