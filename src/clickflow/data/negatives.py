"""Negatives beside what they belong to: a positive row and its sampled item, a behaviour and another item of train."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.schema import ITEM, LABEL


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
