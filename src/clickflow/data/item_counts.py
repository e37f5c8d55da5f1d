"""Counts of a log's items, which order vocabularies and weigh negatives."""

import numpy as np

from clickflow.data.arrays import IntArray
from clickflow.data.rows import PartRows
from clickflow.data.splits import TRAIN, VALIDATION


class ItemCounts:
    """Occurrences of I items, by code.

    Attributes:
        in_train: (I,) in targets and histories of train.
        in_validation: (I,) in targets of validation.
        in_behaviours: (I,) in all behaviours.
    """

    def __init__(self, num_items: int) -> None:
        self.in_train, self.in_validation, self.in_behaviours = (np.zeros(num_items, np.int64) for _ in range(3))

    def add(self, part: PartRows) -> None:
        """Add the rows of a part."""
        targets, behaviours = part.impressions.item, part.behaviours.item
        num_items = len(self.in_train)
        self.in_train += np.bincount(targets[part.split == TRAIN], minlength=num_items)
        self.in_train += np.bincount(behaviours[part.train_behaviours], minlength=num_items)
        self.in_validation += np.bincount(targets[part.split == VALIDATION], minlength=num_items)
        self.in_behaviours += np.bincount(behaviours, minlength=num_items)

    def order(self) -> IntArray:
        """(I,) codes of item row 1, 2, ...: items of train by count, then items that train never saw; ties by raw id."""
        return np.argsort(-self.in_train, kind="stable")
