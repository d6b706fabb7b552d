"""Messages between the daemon and the process of trained graphs, in msgpack both ways.

An array travels as its type, shape and bytes, so that neither side runs code of the other to read it.
"""

from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

TYPES: Final = frozenset({"<f4", "<f8", "<f2", "<i8", "<i4", "|i1", "|u1", "|b1"})
"""The numpy types of a graph's inputs and outputs that are sent."""


class Numbers(Struct, frozen=True, array_like=True):
    """An array: its type of TYPES, its shape, and its bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Open(Struct, frozen=True, tag=True):
    """Open the graph `model` (bytes of an ONNX file) under the number `graph`; `threads` threads compute a run."""

    graph: int
    model: bytes
    threads: int


class Run(Struct, frozen=True, tag=True):
    """Run an open graph; `outputs` are the names of the outputs to return, None for all."""

    graph: int
    outputs: list[str] | None
    inputs: dict[str, Numbers]


class Port(Struct, frozen=True):
    """An input or output of a graph; in `shape` a size that is not fixed is a name or None."""

    name: str
    shape: list[int | str | None]


class Opened(Struct, frozen=True, tag=True):
    """The answer to Open: the process has loaded the graph. `missing` are the rights that it could not give up."""

    inputs: list[Port]
    outputs: list[Port]
    missing: list[str] = []


class Ran(Struct, frozen=True, tag=True):
    """The outputs of a run of a graph."""

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
        raise ValueError(f"an array of type {values.dtype} cannot be sent; use one of {', '.join(TYPES)}")
    return Numbers(values.dtype.str, values.shape, np.ascontiguousarray(values).tobytes())


def array_of(numbers: Numbers) -> NDArray[Any]:
    """A message as a writable array. Raises ValueError for a message that describes no array."""
    if numbers.dtype not in TYPES or min(numbers.shape, default=0) < 0:
        raise ValueError(f"a message has type {numbers.dtype[:8]!r} and shape {numbers.shape[:8]}, which is no array")
    return np.frombuffer(bytearray(numbers.data), numbers.dtype).reshape(numbers.shape)
