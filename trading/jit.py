"""Kernels: functions over arrays, interpreted everywhere and compiled by numba where a command asks for it.

A kernel is a plain Python function of numbers and arrays. It reads and writes 1-dimensional arrays by element, and rows
of 2-dimensional arrays by the `vector` functions only. Interpreted, it gets 1-dimensional arrays as memoryviews, whose
elements are Python numbers. It imports the functions that it calls by name, because numba knows no modules of Python.
Compiled and interpreted give the same bits: no reordered sums, no fused operations, no division by zero, no integers
beyond 64 bits.

This module only records the kernels. `quantd.daemon.assembly.compiler` compiles them.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

P = ParamSpec("P")
R = TypeVar("R")

INNER: Final[list[Callable[..., Any]]] = []
"""Functions that kernels call."""

LOOPS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {}
"""Vector function -> the loop that is compiled in its place."""

ENTRIES: "Final[list[Entry[Any, Any]]]" = []


class Entry(Generic[P, R]):
    """A kernel that Python calls, with its arguments by position: `entry.run(...)`. Other kernels call the function.

    `run` interprets `python` until it is compiled. `arrays` tells whether it is meant for arrays: compiled, or
    soon.
    """

    __slots__ = ("arrays", "python", "run")

    def __init__(self, function: Callable[P, R]) -> None:
        self.python: Final = function
        self.run: Callable[P, R] = interpreted(function)
        self.arrays = False
        ENTRIES.append(self)


def interpreted(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with 1-dimensional arrays as memoryviews."""

    call: Callable[..., R] = function

    def run(*args: Any) -> R:
        return call(*[a.data if type(a) is np.ndarray and a.ndim == 1 else a for a in args])

    return run  # type: ignore[return-value]


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """A function that kernels call, or of an `Entry`."""
    INNER.append(function)
    return function


def vector(loop: Callable[P, R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function of rows of 2-dimensional arrays, by numpy where interpreted, and by `loop` where compiled; both give
    the same bits."""

    def record(function: Callable[P, R]) -> Callable[P, R]:
        LOOPS[function] = loop
        return function

    return record


def _fill_loop(out: Floats, value: float) -> None:
    for k in range(len(out)):
        out[k] = value


@vector(_fill_loop)
def fill(out: Floats, value: float) -> None:
    """Set every element of a row."""
    out[:] = value


def _add_scaled_loop(out: Floats, row: Floats, factor: float) -> None:
    for k in range(len(out)):
        out[k] += row[k] * factor


@vector(_add_scaled_loop)
def add_scaled(out: Floats, row: Floats, factor: float) -> None:
    """out += row x factor, by element."""
    out += row * factor


def _add_gains_loop(out: Floats, row: Floats, factor: float) -> None:
    for k in range(len(out)):
        value = row[k]
        out[k] += (0.0 if value <= 0.0 else value) * factor


@vector(_add_gains_loop)
def add_gains(out: Floats, row: Floats, factor: float) -> None:
    """out += max(row, 0) x factor, by element."""
    out += np.maximum(row, 0.0) * factor


def _count_above_loop(row: Floats, bound: float) -> int:
    found = 0
    for k in range(len(row)):
        if not row[k] <= bound:
            found += 1
    return found


@vector(_count_above_loop)
def count_above(row: Floats, bound: float) -> int:
    """The number of elements that are not at most `bound`; NaN counts."""
    return int(np.count_nonzero(~(row <= bound)))


def _elements_loop(row: Floats) -> Floats:
    return row


@vector(_elements_loop)
def elements(row: Floats) -> Floats:
    """A row whose elements are read one by one."""
    return row.data  # type: ignore[return-value]
