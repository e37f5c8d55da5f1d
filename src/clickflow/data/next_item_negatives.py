"""Sampled negatives of the ``next_item`` protocol: for each positive an item that its user never acted on."""

import numpy as np

from clickflow.data.arrays import IntArray, distinct
from clickflow.data.item_counts import ItemCounts
from clickflow.data.protocols import NextItemConfig
from clickflow.data.rows import PartRows
from clickflow.data.splits import TEST, TRAIN, VALIDATION
from clickflow.errors import DataError

MAX_SHARE_WITHOUT_NEGATIVE = 0.05
"""Above this share of positives that can have no negative, a log is refused."""


class Negatives:
    """Draws one item per positive; the parts of a log come in order, and where one ends changes no draw."""

    def __init__(self, protocol: NextItemConfig, counts: ItemCounts) -> None:
        """Choose what to draw from.

        Train draws among the items of train. The other splits draw uniformly among all items, or by the popularity that was known by then:
        validation by that in train, test by that in train and validation.

        Args:
            protocol: how to draw.
            counts: occurrences of the items.
        """
        in_train, before_test = counts.in_train, counts.in_train + counts.in_validation
        popularity = {TRAIN: in_train, VALIDATION: in_train, TEST: before_test}
        is_known, is_anywhere = in_train > 0, counts.in_behaviours > 0
        uniform = {TRAIN: is_known, VALIDATION: is_anywhere, TEST: is_anywhere}
        weights = uniform if protocol.negatives == "uniform" else popularity
        self._samplers = {split: NegativeSampler(weight.astype(np.int64), (protocol.seed, int(split))) for split, weight in weights.items()}
        self._num_items = len(in_train)

    def draw(self, part: PartRows) -> IntArray:
        """(R,) the code of an item per positive of the next part, -1 for none."""
        own_keys = np.sort(part.behaviours.group * self._num_items + part.behaviours.item)
        negatives = np.empty(len(part.split), np.int64)
        for split, sampler in self._samplers.items():
            chosen = part.split == split
            negatives[chosen] = sampler.draw(part.impressions.group[chosen], own_keys)
        return negatives


def refuse_without_negatives(without: int, positives: int, name: str) -> None:
    """Raise DataError if too many positives can have no negative."""
    if without > MAX_SHARE_WITHOUT_NEGATIVE * positives:
        raise DataError(
            f"data set {name}: {without:,} of {positives:,} positives have no negative, since their users acted on every item; at most "
            f"{MAX_SHARE_WITHOUT_NEGATIVE:.0%} may; leave out users who are no persons (an anonymous id, a crawler), or bring more items."
        )


class NegativeSampler:
    """Draws items that are not the user's own, in proportion to their weights.

    Nearly all rows are served by a first draw among all candidates. The others draw once more, from what their users left, so that a user
    who knows nearly the whole catalogue costs no more than any other. Each of the two draws has a stream of its own, which the rows read
    in their order.
    """

    def __init__(self, weights: IntArray, seed: tuple[int, ...]) -> None:
        """Make the two streams.

        Args:
            weights: (I,) an item is drawn in proportion to its weight; 0 for items that are no candidates.
            seed: of the streams.
        """
        self._weights, self._ends = weights, np.cumsum(weights)
        self._first, self._again = (np.random.default_rng((*seed, draw)) for draw in (1, 2))  # a seed ending in 0 is the one without it

    def draw(self, group: IntArray, own_keys: IntArray) -> IntArray:
        """One item for each of the next rows.

        Args:
            group: (R,) user of each row.
            own_keys: sorted ``group * num_items + item`` of every behaviour of these users; repeats are allowed.

        Returns:
            (R,) items, -1 for a user who acted on every candidate.
        """
        if not len(group):
            return group
        items = np.searchsorted(self._ends, self._first.integers(0, self._ends[-1], len(group)), side="right")
        keys = group * len(self._weights) + items
        place = np.minimum(np.searchsorted(own_keys, keys), len(own_keys) - 1)
        refused = np.flatnonzero(own_keys[place] == keys)
        items[refused] = _draw_from_the_rest(group[refused], own_keys, self._weights, self._again)
        return items


def _draw_from_the_rest(group: IntArray, own_keys: IntArray, weights: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw among the candidates without a user's own items; as :meth:`NegativeSampler.draw`.

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
