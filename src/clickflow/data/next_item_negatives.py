"""Sampled negatives of the ``next_item`` protocol: for each positive an item that its user never acted on."""

import numpy as np

from clickflow.data.arrays import IntArray, distinct
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
    """One negative item for each row, drawn among the candidates that are not the user's own.

    Nearly all rows are served by a first draw among all candidates. The others draw once more, from what their users left, so that a user
    who knows nearly the whole catalogue costs no more than any other.

    Args:
        group: (R,) user of each row.
        own_keys: sorted ``group * num_items + item`` of every behaviour in the log; repeats are allowed.
        weights: (I,) an item is drawn in proportion to its weight; 0 for items that are no candidates.
        rng: source of randomness.

    Returns:
        (R,) items, -1 for a user who acted on every candidate.
    """
    ends = np.cumsum(weights)
    items = np.searchsorted(ends, rng.integers(0, ends[-1], len(group)), side="right")
    keys = group * len(weights) + items
    place = np.minimum(np.searchsorted(own_keys, keys), len(own_keys) - 1)
    refused = np.flatnonzero(own_keys[place] == keys)
    items[refused] = _draw_from_the_rest(group[refused], own_keys, weights, rng)
    return items


def _draw_from_the_rest(group: IntArray, own_keys: IntArray, weights: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw among the candidates without a user's own items; as :func:`sample_negatives`.

    The candidates fill a line, each as much of it as it weighs. A point is drawn on what is left of the line without the user's own
    items, and moved on by those of them that come before it.
    """
    num_items, ends = len(weights), np.cumsum(weights)
    total = int(ends[-1])
    is_asked = np.zeros(1 + max(group.max(initial=0), own_keys[-1] // num_items), bool)
    is_asked[group] = True
    own_keys = distinct(own_keys[is_asked[own_keys // num_items]])
    owner, item = own_keys // num_items, own_keys % num_items
    passed = np.append(0, np.cumsum(weights[item]))  # weight of the own items before each, over all users
    first = np.searchsorted(owner, group)
    left = total - (passed[np.searchsorted(owner, group, side="right")] - passed[first])
    drawn = np.minimum((rng.random(len(group)) * left).astype(np.int64), left - 1)
    # Where each own item begins on the line from which the owner's other items before it have been taken out.
    begins = ends[item] - weights[item] - (passed[:-1] - passed[np.searchsorted(owner, owner)])
    before = np.searchsorted(owner * (total + 1) + begins, group * (total + 1) + drawn, side="right")
    position = drawn + passed[before] - passed[first]
    return np.where(left > 0, np.searchsorted(ends, position, side="right"), -1)
