"""The few operations with different names in numpy and torch, so that account code runs in either.

On a CPU, a numpy call takes a fraction of a torch call's time, which dominates for small batches. Numpy uses the
tensors' own memory there.

What can go wrong: results that depend on the number of accounts. A sum as a product with ones rounds by the number of
its rows. Seeds that share a simulator must have the bits of each alone (docs/decisions/014); `added` sums their rows
apart.
"""

from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor

Array = Tensor
"""A tensor or, on a CPU, its numpy view, which supports the same operators and the functions here."""


def _plain(array: object) -> bool:
    return type(array) is np.ndarray


def view(tensor: Tensor) -> Array:
    """Return a CPU tensor's memory as a numpy array; other tensors unchanged."""
    return cast("Array", tensor.detach().numpy()) if tensor.is_cpu else tensor


def tensor(array: Array) -> Tensor:
    """Convert back to a tensor, without a copy."""
    return torch.from_numpy(array) if _plain(array) else array


def take(table: Array, rows: Array) -> Array:
    """Return the rows int64[K] of a table, [K, …]."""
    if _plain(table):
        return table.take(rows, 0)  # type: ignore[call-arg]  # numpy's
    return table.index_select(0, rows)


def added(values: Array, parts: int = 1) -> Array:
    """Return [B] sums of [B, N], as a product with ones, which takes half the time of a sum over a short dimension.

    Its rounding depends on the number of rows. With `parts`, each of so many equal parts is summed as if alone.
    """
    if _plain(values):
        ones = _plain_ones(values.shape[1], values.dtype)
        if parts > 1:
            return (values.reshape(parts, -1, values.shape[1]) @ ones).reshape(-1)
        return values @ ones
    return values.mv(_ones(values.shape[1], values.dtype, values.device))


def maximum(one: Array, other: Array) -> Array:
    """Return the elementwise maximum."""
    return cast("Array", np.maximum(one, other)) if _plain(one) else torch.maximum(one, other)


def trunc(values: Array) -> Array:
    """Truncate towards zero."""
    return cast("Array", np.trunc(values)) if _plain(values) else values.trunc()


@lru_cache(maxsize=64)
def _ones(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(size, dtype=dtype, device=device)


@lru_cache(maxsize=64)
def _plain_ones(size: int, dtype: object) -> Array:
    return cast("Array", np.ones(size, dtype=cast("np.dtype[np.floating]", dtype)))
