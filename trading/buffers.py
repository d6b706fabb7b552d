"""Buffers that compiled code reads by element: memoryviews of numpy arrays of one or two dimensions.

`Floats` are float64[N], `Ints` int64[N], `Table` float64[M, N] by rows.
"""

from typing import Any, TypeAlias

import numpy as np

Floats: TypeAlias = "memoryview[float]"
Ints: TypeAlias = "memoryview[int]"
Table: TypeAlias = Any


def floats(size: int) -> Any:
    """Zeros."""
    return np.zeros(size).data


def whole_numbers(size: int) -> Any:
    """Zeros."""
    return np.zeros(size, dtype=np.int64).data
