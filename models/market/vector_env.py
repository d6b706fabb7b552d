"""What every learner trains on: many portfolios (or problems) stepped at once, as tensors."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Kind = Literal["simplex", "box", "discrete"]
"""Of actions: "simplex" float[B, A], 0 or more, adding up to 1 (the last is cash); "box" float[B, A] in [-1, 1]; "discrete"
int64[B], one of A."""


class Step(NamedTuple):
    """What one step of B environments gave. Where an episode ended, `observation` is the first of the next one and `final` the
    last of that which ended; elsewhere they are the same."""

    observation: Tensor
    """float[B, D]."""
    reward: Tensor
    """float[B]."""
    terminated: Tensor
    """bool[B]: nothing comes after (bankruptcy, a goal)."""
    truncated: Tensor
    """bool[B]: the time is over; a learner still values `final`."""
    final: Tensor
    """float[B, D]."""


class VectorEnv(Protocol):
    """B environments in step. The same seed gives the same bits."""

    @property
    def batch(self) -> int: ...

    @property
    def observation_size(self) -> int: ...

    @property
    def action_size(self) -> int: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def device(self) -> torch.device: ...

    def reset(self, seed: int | None = None) -> Tensor:
        """float[B, D]: the first observation of new episodes; with a seed, of those that it draws."""
        ...

    def step(self, action: Tensor) -> Step: ...


@runtime_checkable
class Resumable(Protocol):
    """An environment whose place can be kept, for training to go on bit for bit."""

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: Mapping[str, Tensor]) -> Tensor: ...
