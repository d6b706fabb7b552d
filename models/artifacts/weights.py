"""Reads the safetensors format with numpy: eight bytes of length, a JSON header, numbers. No code is executed."""

from math import prod
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

HEADER_BYTES: Final = 1 << 20
"""Maximum size of the JSON header."""

MEAN: Final = "observation.mean"
"""Name of the tensor with the mean over the training of each entry of an observation, or of each scorer feature."""

_DTYPES: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor in the safetensors header: type, shape, and its bytes in the body as [first, last + 1]."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def tensors_fault(data: bytes) -> str:
    """Return why `data` is not a file of finite tensors; empty when it is."""
    try:
        tensors = tensors_of(data)
    except ValueError as error:
        return str(error)
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return f"{name} has a number that is not finite"
    return ""


def tensors_of(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors by name, as views of `data`. Raises ValueError for another format.

    The format safetensors is the size of the header (8 bytes), the header in JSON, then the tensors without gaps.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(HEADER_BYTES, len(data) - 8):
        raise ValueError("not a safetensors file: its header is missing, or longer than the file")
    try:
        header = msgspec.json.decode(data[8 : 8 + size], type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in header.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a safetensors file: {error}") from None
    body, position = memoryview(data)[8 + size :], 0
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in sorted(entries.items(), key=lambda pair: pair[1].data_offsets):
        begin, end = entry.data_offsets
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None:
            raise ValueError(f"{name} has the type {entry.dtype[:20]!r}, which is not read")
        is_inside = all(0 <= length <= len(body) for length in entry.shape) and begin == position <= end <= len(body)
        if not is_inside or prod(entry.shape) * np.dtype(dtype).itemsize != end - begin:
            raise ValueError(f"{name} is not where the header says")
        tensors[name] = np.frombuffer(body[begin:end], dtype=dtype).reshape(entry.shape)
        position = end
    if position != len(body):
        raise ValueError(f"{len(body) - position} bytes at the end belong to no tensor")
    return tensors
