"""The precision of a training's products: bfloat16 where the processor multiplies it faster than float32.

What can go wrong. bfloat16 would be slower on a processor without an instruction that multiplies it, and for few rows
or narrow layers, where rounding costs more than the products save: so float32 is chosen in these cases. The decision
includes its reason, which is reported.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import torch

from quantd.training.plans.plan import Plan

INSTRUCTIONS: Final = ("amx_bf16", "avx512_bf16")
"""Instructions that multiply bfloat16, as torch names them. Without them its products take longer than float32's."""

LEAST: Final = 256
"""Minimum of the rows of a batch and of the width of layers for bfloat16 to be faster (measured)."""


class Precision(NamedTuple):
    """The decision on the precision of a training's products, and its reason."""

    bfloat16: bool
    reason: str


def instructions() -> frozenset[str]:
    """Return the names of this processor's features, such as its instruction sets."""
    return frozenset(name for name, value in torch.cpu.get_capabilities().items() if value is True)


def precision(plan: Plan, available: Collection[str]) -> Precision:
    """Decide the precision of a plan whose learner supports bfloat16, on a processor with these features."""
    learner = plan.learner
    network, hidden = getattr(learner, "network", "mlp"), getattr(learner, "hidden", ())
    if network != "mlp":
        return Precision(False, f"float32: a network of kind {network} has no products in bfloat16")
    if plan.device != "cpu":
        return Precision(True, f"bfloat16: device {plan.device}")
    # on a CPU bfloat16 is faster only with instructions for it
    instruction = next((name for name in INSTRUCTIONS if name in available), None)
    if instruction is None:
        return Precision(False, f"float32: this processor has neither {' nor '.join(INSTRUCTIONS)}")
    rows = _rows(plan)
    if rows < LEAST or min(hidden) < LEAST:
        layers = " and ".join(map(str, hidden))
        return Precision(
            False, f"float32: bfloat16 is faster from {LEAST} rows and a width of {LEAST} on; here {rows}, {layers}"
        )
    return Precision(True, f"bfloat16: the processor has {instruction}")


def _rows(plan: Plan) -> int:
    """Return the number of rows in one gradient step of a plan."""
    learner = plan.learner
    for name in ("minibatch", "batch"):
        if (rows := getattr(learner, name, None)) is not None:
            return int(rows)
    return int(getattr(learner, "horizon", 1)) * plan.market.batch
