"""Optimisers of one parameter vector: Adam and RMSprop, with a bound on the gradient's norm.

What can go wrong. Epsilon inside RMSprop's square root would suppress every parameter with small gradients: so epsilon
is outside. To read a norm on the CPU would wait for the GPU: so the norm and its bound stay tensors.

Both optimisers use the fused call of Adam. RMSprop uses this call without a mean of gradients (the first decay is 0),
and with a step count so high that the corrections of the first steps are 1.
"""

import math
from typing import Final

import torch
from torch import Tensor


def _norm_divisor(gradient: Tensor, limit: float) -> Tensor | None:
    """Return the divisor float[] that limits the gradient's norm (Pascanu et al. 2013), without a device transfer.

    None stands for no limit.
    """
    if limit == math.inf:
        return None
    return torch.dot(gradient, gradient).sqrt_().div_(limit).clamp_(min=1.0)


class _OnePass:
    """Base class of Adam and RMSprop, whose step is one pass over memory.

    `_first` and `_second` are the moving means of gradients and of their squares.
    """

    def __init__(
        self, vector: Tensor, learning_rate: float, epsilon: float, max_norm: float, decays: tuple[float, float]
    ) -> None:
        self.learning_rate, self.epsilon, self.max_norm = learning_rate, epsilon, max_norm
        self._decays: Final = decays
        self._vector: Final = vector
        self._first, self._second = torch.zeros_like(vector), torch.zeros_like(vector)
        self._steps = torch.zeros((), device=vector.device)
        self._finite: Final = torch.zeros((), device=vector.device)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move the parameter vector against `gradient`, which is first scaled down to the norm `max_norm` where its
        norm is larger.

        The fused function of torch updates the vector and both means in one pass.
        """
        # torch.optim.Adam(fused=True) takes twice as long for the same call
        torch._fused_adam_(
            [self._vector],
            [gradient],
            [self._first],
            [self._second],
            [],
            [self._steps],
            lr=self.learning_rate,
            beta1=self._decays[0],
            beta2=self._decays[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
            grad_scale=_norm_divisor(gradient, self.max_norm),
            found_inf=self._finite,  # always 0: no step is left out
        )


class Adam(_OnePass):
    """Adam (Kingma & Ba 2015)."""

    def __init__(self, vector: Tensor, learning_rate: float, epsilon: float, max_norm: float) -> None:
        super().__init__(vector, learning_rate, epsilon, max_norm, (0.9, 0.999))

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move the parameter vector against `gradient` float[M], whose norm is bounded first.

        M is the number of parameters.
        """
        # first: the corrections divide by 1 - decay ** steps, which is 0 for no step
        self._steps += 1
        super().step(gradient)

    def state(self) -> dict[str, Tensor]:
        """Return both moving means (of gradients and of their squares) and the number of steps, for `load`."""
        return {"first": self._first.clone(), "second": self._second.clone(), "steps": self._steps.clone()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore a `state` that `state()` returned."""
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._steps.copy_(state["steps"])


_LONG_AGO = 1e9
"""A step count at which Adam's corrections of the first steps are 1 in float32, for any usual decay."""


class RmsProp(_OnePass):
    """RMSprop (Tieleman & Hinton 2012), with epsilon outside the root as in torch.optim.RMSprop.

    Inside the root, as published for asynchronous actor-critic, an epsilon of 1e-5 suppresses every parameter with
    gradients below 0.003. RMSprop is Adam without a mean of gradients and without the corrections of the first steps.
    """

    def __init__(
        self, vector: Tensor, learning_rate: float, epsilon: float, max_norm: float, decay: float = 0.99
    ) -> None:
        super().__init__(vector, learning_rate, epsilon, max_norm, (0.0, decay))
        self._steps.fill_(_LONG_AGO)

    def state(self) -> dict[str, Tensor]:
        """Return the moving mean of squared gradients, for `load`."""
        return {"square": self._second.clone()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore a `state` that `state()` returned."""
        self._second.copy_(state["square"])
