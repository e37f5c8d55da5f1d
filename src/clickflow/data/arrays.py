"""Names for the types of numpy arrays, and the different values of a sorted one."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ByteArray = NDArray[np.uint8]
"""Labels, and the split of each row as its position among the splits."""
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)


def distinct(ordered: NDArray[Number]) -> NDArray[Number]:
    """(N,) sorted values -> each of them once; ``np.unique`` would sort or hash them again.

    >>> distinct(np.array([3, 3, 5])).tolist(), distinct(np.array([], np.int64)).tolist()
    ([3, 5], [])
    """
    values: NDArray[Number] = ordered[np.append(True, np.diff(ordered) != 0)[: len(ordered)]]
    return values
