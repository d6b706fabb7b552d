"""Products of float32 matrices on a CPU by oneDNN, which MKL's routine takes twice as long for on some processors."""

from typing import Final

import torch
from torch import Tensor

LEAST: Final = 1_500_000
"""Below so many multiplications, oneDNN's call costs more than it saves."""

_ONEDNN: Final[bool] = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return left float32[M, K] x right float32[K, N], plus `bias` float32[N], without an autograd graph."""
    large = left.numel() * right.shape[1] >= LEAST
    if large and _ONEDNN and left.is_cpu and _whole(left) and _whole(right):
        made: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")
        return made
    return torch.mm(left, right) if bias is None else torch.addmm(bias, left, right)


def _whole(matrix: Tensor) -> bool:
    """Return whether it has no gaps: with them, oneDNN takes a hundred times as long."""
    return matrix.is_contiguous() or matrix.t().is_contiguous()
