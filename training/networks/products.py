"""Products of float32 matrices on a CPU by oneDNN, which MKL's routine takes twice as long for on some processors.

What can go wrong. With gaps between the rows of a matrix, oneDNN takes a hundred times as long. For a small one its
call costs more than it saves. Both stay with the usual routine. Products of a pass with an autograd graph do not belong
here.
"""

from typing import Final

import torch
from torch import Tensor

LEAST: Final = 1_500_000
"""Below so many multiplications, oneDNN's call costs more than it saves."""

_ONEDNN: Final[bool] = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def product(left_matrix: Tensor, right_matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return left_matrix float32[M, K] x right_matrix float32[K, N] + `bias` float32[N], without an autograd graph."""
    large = left_matrix.numel() * right_matrix.shape[1] >= LEAST
    if large and _ONEDNN and left_matrix.is_cpu and _whole(left_matrix) and _whole(right_matrix):
        output: Tensor = torch.ops.mkldnn._linear_pointwise(left_matrix, right_matrix.t(), bias, "none", [], "")
        return output
    return torch.mm(left_matrix, right_matrix) if bias is None else torch.addmm(bias, left_matrix, right_matrix)


def _whole(matrix: Tensor) -> bool:
    """Return whether it has no gaps: with them, oneDNN takes a hundred times as long."""
    return matrix.is_contiguous() or matrix.t().is_contiguous()
