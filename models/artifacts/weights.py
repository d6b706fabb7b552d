"""The tensors of a safetensors file. The format has numbers only: no code is executed."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

MEAN: Final = "observation.mean"
"""Name of the tensor with the mean over the training of each entry of an observation, or of each scorer feature."""


def tensors_fault(data: bytes) -> str:
    """Return why `data` is not a file of finite tensors; empty when it is."""
    try:
        tensors = tensors_of(data)
    except ValueError as error:
        return str(error)
    for name, values in tensors.items():
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            return f"{name} has a number that is not finite"
    return ""


def tensors_of(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors by name. Raises ValueError for another format, and for a type that numpy lacks."""
    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a safetensors file: {error}") from None
