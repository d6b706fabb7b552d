"""Types of the buffers that compiled code reads by element: memoryviews of numpy arrays of one or two dimensions."""

from typing import Any, Protocol

import numpy as np


class Floats(Protocol):
    """float64[N]."""

    def __getitem__(self, at: int, /) -> float: ...
    def __setitem__(self, at: int, value: float, /) -> None: ...
    def __len__(self) -> int: ...


class Ints(Protocol):
    """int64[N]."""

    def __getitem__(self, at: int, /) -> int: ...
    def __setitem__(self, at: int, value: int, /) -> None: ...
    def __len__(self) -> int: ...


class Table(Protocol):
    """float64[M, N], C-contiguous."""

    shape: tuple[int, int]

    def __getitem__(self, at: tuple[int, int], /) -> float: ...
    def __setitem__(self, at: tuple[int, int], value: float, /) -> None: ...


def floats(size: int) -> Any:
    """A buffer of zeros."""
    return np.zeros(size).data


def whole_numbers(size: int) -> Any:
    return np.zeros(size, dtype=np.int64).data


def table(rows: int, columns: int) -> Any:
    return np.zeros((rows, columns)).data
