"""Products of float32 matrices on a CPU by oneDNN; on some processors MKL's routine takes twice as long.

What can go wrong. For a matrix with gaps between its rows, oneDNN takes a hundred times as long. For a small matrix, a
call of oneDNN costs more than it saves. So both cases use the usual routine of torch. A pass with an autograd graph
must not use this module, whose products have no gradient.
"""

from typing import Final

import torch
from torch import Tensor

LEAST_MULTIPLICATIONS: Final = 1_500_000
"""Number of multiplications below which oneDNN's call costs more than it saves."""

_ONEDNN: Final[bool] = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def product(left_matrix: Tensor, right_matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return left_matrix float32[M, K] x right_matrix float32[K, N] + `bias` float32[N], without an autograd graph."""
    large = left_matrix.numel() * right_matrix.shape[1] >= LEAST_MULTIPLICATIONS
    if large and _ONEDNN and left_matrix.is_cpu and _has_no_gaps(left_matrix) and _has_no_gaps(right_matrix):
        output: Tensor = torch.ops.mkldnn._linear_pointwise(left_matrix, right_matrix.t(), bias, "none", [], "")
        return output
    return torch.mm(left_matrix, right_matrix) if bias is None else torch.addmm(bias, left_matrix, right_matrix)


def _has_no_gaps(matrix: Tensor) -> bool:
    """Return True for a matrix without gaps between its rows or between its columns."""
    return matrix.is_contiguous() or matrix.t().is_contiguous()
