"""Mean and spread of numbers that come in groups.

Each group (a user's rows, an item's occurrences) is summed on its own, in its order, and the groups are summed together at the end. So the
result does not depend on how the groups came, whatever floating-point sums do; and as each group has its own scale and its own mean,
large values stay finite and small spreads are not lost beside a large mean.
"""

from dataclasses import dataclass

import numpy as np

from clickflow.data.arrays import FloatArray, IntArray

# Relative to the largest value: a smaller spread is the rounding error of a constant.
SMALLEST_SPREAD = 1e-12


@dataclass(frozen=True)
class GroupMoments:
    """Moments of G groups, each of at least one number.

    Attributes:
        count: (G,) numbers of a group.
        scale: (G,) the largest absolute value, or 1 where all are 0.
        mean: (G,) in units of ``scale``.
        squares: (G,) sum of the squared differences from the group's mean, in units of ``scale`` squared.
    """

    count: IntArray
    scale: FloatArray
    mean: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, values: FloatArray, group: IntArray) -> "GroupMoments":
        """Moments of (R,) finite values; those of a group are neighbours."""
        is_first = np.append(True, np.diff(group) != 0)[: len(group)]
        place = np.cumsum(is_first) - 1
        starts = np.flatnonzero(is_first)
        count = np.bincount(place)
        scale = _scale(np.maximum.reduceat(np.abs(values), starts)) if len(values) else values
        relative = values / scale[place]
        mean = np.bincount(place, relative) / count
        squares = np.bincount(place, (relative - mean[place]) ** 2).astype(np.float64)
        return cls(count, scale, mean, squares)

    @classmethod
    def of_repeated(cls, values: FloatArray, count: IntArray) -> "GroupMoments":
        """Moments of groups of one value each, which occurs ``count`` times."""
        scale = _scale(np.abs(values))
        return cls(count, scale, values / scale, np.zeros(len(values)))

    @classmethod
    def together(cls, groups: "list[GroupMoments]") -> "GroupMoments":
        """All groups of several, in their order."""
        return cls(*(np.concatenate([getattr(one, name) for one in groups]) for name in ("count", "scale", "mean", "squares")))

    def mean_and_std(self) -> tuple[float, float]:
        """Mean and spread of all numbers: 0 and 1 if there is none, and a spread of 1 for a constant."""
        if not len(self.count):
            return 0.0, 1.0
        scale, num_values = self.scale.max(), self.count.sum()
        share = self.scale / scale
        means = self.mean * share
        mean = (means * self.count).sum() / num_values
        squares = (self.squares * share**2).sum() + ((means - mean) ** 2 * self.count).sum()
        std = np.sqrt(squares / num_values)
        return float(mean * scale), float(std * scale) if std > SMALLEST_SPREAD else 1.0


def _scale(largest: FloatArray) -> FloatArray:
    return np.where(largest > 0, largest, 1.0)
