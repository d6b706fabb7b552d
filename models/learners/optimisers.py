"""Optimisers of one parameter vector: Adam and RMSprop, with a bound on the gradient's norm."""

from typing import Final

import torch
from torch import Tensor


def _excess(gradient: Tensor, limit: float) -> Tensor:
    """Return the divisor that limits the gradient's norm (Pascanu et al. 2013), without a device transfer."""
    return torch.dot(gradient, gradient).sqrt_().div_(limit).clamp_(min=1.0)


class Adam:
    """Adam (Kingma & Ba 2015) in one pass over memory."""

    def __init__(self, vector: Tensor, learning_rate: float, epsilon: float, max_norm: float) -> None:
        self.learning_rate, self.epsilon, self.max_norm = learning_rate, epsilon, max_norm
        self._vector: Final = vector
        self._first, self._second = torch.zeros_like(vector), torch.zeros_like(vector)
        self._steps = torch.zeros((), device=vector.device)
        self._finite = torch.zeros((), device=vector.device)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        self._steps += 1
        # torch.optim.Adam(fused=True) takes twice as long for the same call
        torch._fused_adam_(
            [self._vector],
            [gradient],
            [self._first],
            [self._second],
            [],
            [self._steps],
            lr=self.learning_rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
            grad_scale=_excess(gradient, self.max_norm),
            found_inf=self._finite,
        )

    def state(self) -> dict[str, Tensor]:
        return {"first": self._first.clone(), "second": self._second.clone(), "steps": self._steps.clone()}

    def load(self, state: dict[str, Tensor]) -> None:
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._steps.copy_(state["steps"])


class RmsProp:
    """RMSprop (Tieleman & Hinton 2012), with epsilon outside the root as in torch.optim.RMSprop.

    Inside the root, as published for asynchronous actor-critic, 1e-5 suppresses every parameter with gradients below
    0.003.
    """

    def __init__(
        self, vector: Tensor, learning_rate: float, epsilon: float, max_norm: float, decay: float = 0.99
    ) -> None:
        self.learning_rate, self.epsilon, self.max_norm, self.decay = learning_rate, epsilon, max_norm, decay
        self._vector: Final = vector
        self._square = torch.zeros_like(vector)
        self._root: Final = torch.zeros_like(vector)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        gradient.div_(_excess(gradient, self.max_norm))
        self._square.mul_(self.decay).addcmul_(gradient, gradient, value=1.0 - self.decay)
        # Far below epsilon's square. It avoids roots of 0 or of denormals, which take a CPU up to 30 times as long.
        torch.add(self._square, 1e-30, out=self._root).sqrt_().add_(self.epsilon)
        self._vector.addcdiv_(gradient, self._root, value=-self.learning_rate)

    def state(self) -> dict[str, Tensor]:
        return {"square": self._square.clone()}

    def load(self, state: dict[str, Tensor]) -> None:
        self._square.copy_(state["square"])
