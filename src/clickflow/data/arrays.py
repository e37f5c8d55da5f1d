"""Names for the types of numpy arrays."""

import numpy as np
from numpy.typing import NDArray

ByteArray = NDArray[np.uint8]
"""Labels, and the split of each row as its position among the splits."""
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
