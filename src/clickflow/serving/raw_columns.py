"""A column of raw values: what it may hold, and how it becomes an Arrow array.

Arrow converts a whole column at once and mixes no types: ``[10, "x"]`` and ``[10, True]`` are refused. Only then, or where the type is
wrong, are the values looked at one by one, to find the first misfit or to convert a legitimate mix such as ``[2**60, 3.0]``.
"""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.data.schema import NumericField
from clickflow.text import cut


class BadValue(Exception):
    """A value that its column cannot hold, and what is wrong with it."""

    def __init__(self, position: int, value: object, message: str) -> None:
        super().__init__(message)
        self.column = ""  # set by `of_column`, which also makes the position in an array that of the row
        self.position, self.value, self.message = position, value, message


class RawColumn(ABC):
    """Reads a column of one kind; a :class:`BadValue` says which value does not fit."""

    dtype: pa.DataType
    """Arrow's type of values that were converted one by one."""
    expected: str
    """Contents of the column, for messages."""

    @abstractmethod
    def takes(self, dtype: pa.DataType) -> bool:
        """Whether an array of this type can hold such values."""

    @abstractmethod
    def plain(self, value: Any) -> Any:
        """Convert one Python value; the text of a ValueError says why it does not fit."""

    @abstractmethod
    def __call__(self, values: pa.Array) -> Tensor:
        """(R,) values of a type that :meth:`takes` -> (R,) what the model reads."""

    def array(self, values: Sequence[Any] | NDArray[Any]) -> pa.Array:
        """(R,) Python values -> Arrow array of a type that :meth:`takes`; None and NaN become null."""
        with contextlib.suppress(pa.ArrowException, ArithmeticError, TypeError, ValueError):
            array = pa.array(values, from_pandas=True)
            if self.takes(array.type):
                return array
        converted = []
        for position, value in enumerate(values):
            is_missing = pd.api.types.is_scalar(value) and pd.isna(value)
            try:
                converted.append(None if is_missing else self.plain(value))
            except ValueError as error:
                raise BadValue(position, value, str(error)) from None
        return pa.array(converted, self.dtype)


class NumberColumn(RawColumn):
    """Numbers of a numeric field, which the model reads standardised; booleans count as 0 and 1, as in training."""

    dtype = pa.float64()
    expected = "a finite number; send one, or null where it is missing"

    def __init__(self, field: NumericField) -> None:
        self._mean, self._std = field.mean, field.std

    def takes(self, dtype: pa.DataType) -> bool:
        """Whether the type is a number, a boolean or null."""
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
        return any(test(dtype) for test in tests)

    def plain(self, value: Any) -> float:
        """Convert one Python value; infinity where no float can hold it."""
        if not isinstance(value, (Real, np.bool_)):
            raise ValueError(f"not {self.expected}")
        try:
            return float(value)
        except OverflowError:  # JSON's integers have no largest one
            return math.inf

    def __call__(self, values: pa.Array) -> Tensor:
        """(R,) numbers -> (R,) float32, standardised; a missing one is 0, the mean."""
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        numbers: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        refuse(np.isinf(numbers), values, f"not {self.expected}")
        return torch.from_numpy(np.nan_to_num((numbers - self._mean) / self._std)).float()


def refuse(is_bad: NDArray[np.bool_], values: pa.Array, message: str) -> None:
    """Raise BadValue for the first of (R,) values that is bad."""
    if is_bad.any():
        position = int(is_bad.argmax())
        raise BadValue(position, values[position].as_py(), message)


@contextlib.contextmanager
def of_column(name: str, bounds: NDArray[np.int64] | None = None) -> Iterator[None]:
    """Say of a BadValue which column it is in, and in which row by the (R + 1,) bounds of the rows, unless each row has one value."""
    try:
        yield
    except BadValue as fault:
        fault.column = name
        if bounds is not None:
            fault.position = int(np.searchsorted(bounds, fault.position, side="right")) - 1
        raise


def shortened(value: object) -> str:
    """A value for a message, which need not repeat a whole request.

    >>> shortened("x" * 100), shortened(None)
    ("'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…", 'null')
    """
    text = "null" if value is None else repr(value.item() if isinstance(value, np.generic) else value)
    return cut(text, 37)
