"""The number types of compiled modules: buffers of numbers, and integers of any size.

A buffer is a contiguous memoryview. Its elements are Python numbers where the module is interpreted, and C numbers
where it is compiled. In each type of this module, the text after `memoryview[..]` is the format of an element, as in
the module `struct`. A type with a 2 after this format has two dimensions; a type without it has one. Compiled code
accepts a read-only array only as one of the `Read` types, and never writes to these.
"""

from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = Annotated["memoryview[int]", "q"]
Floats: TypeAlias = Annotated["memoryview[float]", "d"]
Codes: TypeAlias = Annotated["memoryview[int]", "b"]
Bytes: TypeAlias = Annotated["memoryview[int]", "B"]
IntRows: TypeAlias = Annotated["memoryview[int]", "q", 2]
FloatRows: TypeAlias = Annotated["memoryview[float]", "d", 2]

ReadInts: TypeAlias = Annotated["memoryview[int]", "q", "const"]
ReadFloats: TypeAlias = Annotated["memoryview[float]", "d", "const"]
ReadCodes: TypeAlias = Annotated["memoryview[int]", "b", "const"]
ReadRows: TypeAlias = Annotated["memoryview[float]", "d", 2, "const"]
ReadIntRows: TypeAlias = Annotated["memoryview[int]", "q", 2, "const"]

Whole: TypeAlias = Annotated[int, object]
"""An integer of any size, which stays a Python object in C code. Any other `int` of a compiled module has 64 bits."""


def int_zeros(size: int) -> Ints:
    """Return int64[size], all zero."""
    return np.zeros(size, dtype=np.int64).data


def int_zero_rows(rows: int, size: int) -> IntRows:
    """Return int64[rows, size], all zero."""
    return np.zeros((rows, size), dtype=np.int64).data


def float_zeros(size: int) -> Floats:
    """Return float64[size], all zero."""
    zeros: Floats = np.zeros(size).data  # type: ignore[assignment]  # typeshed knows no other element than int
    return zeros


def read_ints(values: NDArray[np.int64]) -> ReadInts:
    """Return the elements of an array of integers as a read-only buffer."""
    return np.ascontiguousarray(values, dtype=np.int64).data


def read_floats(values: NDArray[np.float64]) -> ReadFloats:
    """Return the elements of an array of floats as a read-only buffer."""
    buffer: ReadFloats = np.ascontiguousarray(values, dtype=np.float64).data  # type: ignore[assignment]  # as above
    return buffer


def read_rows(values: NDArray[np.float64]) -> ReadRows:
    """Return the rows of a two-dimensional array of floats as a read-only buffer."""
    buffer: ReadRows = np.ascontiguousarray(values, dtype=np.float64).data  # type: ignore[assignment]  # as above
    return buffer


def read_int_rows(values: NDArray[np.int64]) -> ReadIntRows:
    """Return the rows of a two-dimensional array of integers as a read-only buffer."""
    return np.ascontiguousarray(values, dtype=np.int64).data
