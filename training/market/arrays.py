"""The few operations with different names in numpy and torch, so that account code runs in either.

On a CPU, a numpy call takes a fraction of a torch call's time, which matters for small batches. On a CPU, numpy also
uses the memory of the tensors, without copies.
"""

from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor

Array = Tensor
"""A tensor or, on a CPU, its numpy view, which supports the same operators and the functions here."""


def _is_numpy(array: object) -> bool:
    return type(array) is np.ndarray


def view(tensor: Tensor) -> Array:
    """Return a CPU tensor's memory as a numpy array; other tensors unchanged."""
    return cast("Array", tensor.detach().numpy()) if tensor.is_cpu else tensor


def tensor(array: Array) -> Tensor:
    """Return an array of `view` as a tensor, without a copy."""
    return torch.from_numpy(array) if _is_numpy(array) else array


def take(table: Array, rows: Array) -> Array:
    """Return the K rows of a table at the indices int64[K], as an array [K, …]."""
    if _is_numpy(table):
        return table.take(rows, 0)  # type: ignore[call-arg]  # numpy's
    return table.index_select(0, rows)


def added(values: Array) -> Array:
    """Return the sums [B] of rows [B, N], as a product with ones: half the time of a sum over a short dimension.

    The rounding of the product depends on the number of rows."""
    if _is_numpy(values):
        return values @ _numpy_ones(values.shape[1], values.dtype)
    return values.mv(_torch_ones(values.shape[1], values.dtype, values.device))


def maximum(first: Array, second: Array) -> Array:
    return cast("Array", np.maximum(first, second)) if _is_numpy(first) else torch.maximum(first, second)


def trunc(values: Array) -> Array:
    return cast("Array", np.trunc(values)) if _is_numpy(values) else values.trunc()


@lru_cache(maxsize=64)
def _torch_ones(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(size, dtype=dtype, device=device)


@lru_cache(maxsize=64)
def _numpy_ones(size: int, dtype: object) -> Array:
    return cast("Array", np.ones(size, dtype=cast("np.dtype[np.floating]", dtype)))
