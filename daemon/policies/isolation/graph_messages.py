"""Messages between the daemon and the process of trained graphs, in msgpack both ways.

An array travels as its type, shape and bytes, so that neither side runs code of the other to read it.
"""

from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

TYPES: Final = frozenset({"<f4", "<f8", "<f2", "<i8", "<i4", "|i1", "|u1", "|b1"})
"""The types of the numbers that graphs take and give."""


class Numbers(Struct, frozen=True, array_like=True):
    """An array: its type of TYPES, its shape, and its bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Open(Struct, frozen=True, tag=True):
    """Open a graph under a number; `threads` compute one run."""

    graph: int
    model: bytes
    threads: int


class Run(Struct, frozen=True, tag=True):
    """Run an open graph: outputs by name, all of them without a name."""

    graph: int
    outputs: list[str] | None
    inputs: dict[str, Numbers]


class Port(Struct, frozen=True):
    """An input or output of a graph; a free size has a name."""

    name: str
    shape: list[int | str | None]


class Opened(Struct, frozen=True, tag=True):
    """A graph is open. `missing` are the rights that the process could not give up."""

    inputs: list[Port]
    outputs: list[Port]
    missing: list[str] = []


class Ran(Struct, frozen=True, tag=True):
    """The outputs of a run."""

    outputs: list[Numbers]


class Failed(Struct, frozen=True, tag=True):
    """The error of the runtime on a request; `text` is its first line."""

    text: str


REQUESTS: Final = msgspec.msgpack.Decoder(Open | Run)
ANSWERS: Final = msgspec.msgpack.Decoder(Opened | Ran | Failed)
ENCODER: Final = msgspec.msgpack.Encoder()


def numbers_of(values: NDArray[Any]) -> Numbers:
    """An array as a message. Raises ValueError for a type that is not in TYPES."""
    if values.dtype.str not in TYPES:
        raise ValueError(f"arrays of {values.dtype} are not sent; {', '.join(TYPES)} are")
    return Numbers(values.dtype.str, values.shape, np.ascontiguousarray(values).tobytes())


def array_of(numbers: Numbers) -> NDArray[Any]:
    """A message as an array that may be written. Raises ValueError for one that is none."""
    if numbers.dtype not in TYPES or min(numbers.shape, default=0) < 0:
        raise ValueError(f"no array has the type {numbers.dtype[:8]!r} and the shape {numbers.shape[:8]}")
    return np.frombuffer(bytearray(numbers.data), numbers.dtype).reshape(numbers.shape)
