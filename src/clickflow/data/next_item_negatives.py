"""Sampled negatives of the ``next_item`` protocol: for each positive an item that its user never acted on."""

import numpy as np

from clickflow.data.arrays import IntArray
from clickflow.data.behaviours import Behaviours
from clickflow.data.protocols import Impressions, NextItemConfig
from clickflow.data.splits import TEST, TRAIN, VALIDATION
from clickflow.errors import DataError

MAX_SHARE_WITHOUT_NEGATIVE = 0.05
"""Above this share of positives that can have no negative, a log is refused."""


def draw_negatives(protocol: NextItemConfig, positives: Impressions, behaviours: Behaviours, in_train: IntArray) -> IntArray:
    """(R,) one item per positive, -1 for none.

    Train draws among the items of train. The other splits draw uniformly among all items, or by the popularity that was known by then:
    validation by that in train, test by that in train and validation.

    Args:
        protocol: how to draw.
        positives: R positives.
        behaviours: all behaviours.
        in_train: (I,) occurrences of each item in train.
    """
    num_items = len(in_train)
    before_test = in_train + np.bincount(positives.item[positives.split == VALIDATION], minlength=num_items)
    everywhere = np.bincount(behaviours.item, minlength=num_items)
    popularity = {TRAIN: in_train, VALIDATION: in_train, TEST: before_test}
    uniform = {TRAIN: in_train > 0, VALIDATION: everywhere > 0, TEST: everywhere > 0}
    own_keys = np.sort(behaviours.group * num_items + behaviours.item)
    rng = np.random.default_rng(protocol.seed)
    negatives = np.empty(len(positives.item), np.int64)
    for split, weights in (uniform if protocol.negatives == "uniform" else popularity).items():
        chosen = positives.split == split
        negatives[chosen] = sample_negatives(positives.group[chosen], own_keys, weights.astype(np.int64), rng)
    return negatives


def refuse_without_negatives(without: int, positives: int, name: str) -> None:
    """Raise DataError if too many positives can have no negative."""
    if without > MAX_SHARE_WITHOUT_NEGATIVE * positives:
        raise DataError(
            f"data set {name}: {without:,} of {positives:,} positives have no negative, since their users acted on every item; at most "
            f"{MAX_SHARE_WITHOUT_NEGATIVE:.0%} may; leave out users who are no persons (an anonymous id, a crawler), or bring more items."
        )


def sample_negatives(group: IntArray, own_keys: IntArray, weights: IntArray, rng: np.random.Generator) -> IntArray:
    """One negative item for each row: a draw from the candidates without the user's own items.

    The candidates fill a line, each as much of it as it weighs. A point is drawn on what is left of the line without the user's own
    items, and moved on by those of them that come before it. So no draw is rejected, and a user who knows nearly the whole catalogue costs
    as much as any other.

    Args:
        group: (R,) user of each row.
        own_keys: sorted ``group * num_items + item`` of every behaviour in the log; repeats are allowed.
        weights: (I,) an item is drawn in proportion to its weight; 0 for items that are no candidates.
        rng: source of randomness.

    Returns:
        (R,) items, -1 for a user who acted on every candidate.
    """
    num_items = len(weights)
    ends = np.cumsum(weights)
    total = int(ends[-1])
    own = own_keys[np.append(True, np.diff(own_keys) != 0)[: len(own_keys)]]
    owner, item = own // num_items, own % num_items
    passed = np.append(0, np.cumsum(weights[item]))  # weight of the own items before each, over all users
    num_groups = int(max(group.max(initial=0), owner.max(initial=0))) + 1
    starts = np.searchsorted(owner, np.arange(num_groups + 1))
    left = total - (passed[starts[1:]] - passed[starts[:-1]])[group]
    drawn = np.minimum((rng.random(len(group)) * left).astype(np.int64), left - 1)
    # Where each own item begins on the line from which the owner's other items before it have been taken out.
    begins = ends[item] - weights[item] - (passed[:-1] - passed[starts[owner]])
    before = np.searchsorted(owner * (total + 1) + begins, group * (total + 1) + drawn, side="right")
    position = drawn + passed[before] - passed[starts[group]]
    return np.where(left > 0, np.searchsorted(ends, position, side="right"), -1)
