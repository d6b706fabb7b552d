"""The few things that numpy and torch spell differently, so that an account is written once and runs in either.

On a CPU a numpy call takes a fraction of a torch call's time, and a small batch is all calls; numpy works there on the tensors' own memory.
"""

from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor

Array = Tensor
"""A tensor, or on a CPU what `view` made of one: a numpy array, for which the same operators and these functions hold."""


def _plain(array: object) -> bool:
    return type(array) is np.ndarray


def view(tensor: Tensor) -> Array:
    """The same memory as a numpy array, where it is a CPU's."""
    return cast("Array", tensor.detach().numpy()) if tensor.is_cpu else tensor


def tensor(array: Array) -> Tensor:
    """Back, without a copy."""
    return torch.from_numpy(array) if _plain(array) else array


def take(table: Array, rows: Array) -> Array:
    """[K, …] rows int64[K] of a table."""
    if _plain(table):
        return table.take(rows, 0)  # type: ignore[call-arg]  # numpy's
    return table.index_select(0, rows)


def added(values: Array) -> Array:
    """[B] sums of [B, N]; a product with ones takes half the time of a sum over so short a dimension."""
    if _plain(values):
        return values @ _plain_ones(values.shape[1], values.dtype)
    return values.mv(_ones(values.shape[1], values.dtype, values.device))


def copied(array: Array) -> Array:
    """With memory of its own."""
    return cast("Array", np.array(array)) if _plain(array) else array.clone()


def maximum(one: Array, other: Array) -> Array:
    """The larger of each two."""
    return cast("Array", np.maximum(one, other)) if _plain(one) else torch.maximum(one, other)


def trunc(values: Array) -> Array:
    """Towards zero."""
    return cast("Array", np.trunc(values)) if _plain(values) else values.trunc()


@lru_cache(maxsize=64)
def _ones(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(size, dtype=dtype, device=device)


@lru_cache(maxsize=64)
def _plain_ones(size: int, dtype: object) -> Array:
    return cast("Array", np.ones(size, dtype=cast("np.dtype[np.floating]", dtype)))
