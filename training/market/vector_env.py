"""The interface of training environments: many portfolios (or problems) advance at once, as tensors."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from quantd.training.market.terms import Kind


class Step(NamedTuple):
    """Result of one step of B environments.

    Where an episode ended, `observation` is the first observation of the next episode, and `final` the last one of the
    ended episode. Elsewhere `observation` and `final` are equal.
    """

    observation: Tensor
    """float[B, D]."""
    reward: Tensor
    """float[B]."""
    terminated: Tensor
    """bool[B]: no state follows (bankruptcy, a goal)."""
    truncated: Tensor
    """bool[B]: the time limit is reached; a learner still values `final`."""
    final: Tensor
    """float[B, D]."""


class VectorEnv(Protocol):
    """B environments that advance together. The same seed gives bit-identical results."""

    @property
    def batch(self) -> int:
        """Number of environments B."""
        ...

    @property
    def observation_size(self) -> int: ...

    @property
    def action_size(self) -> int: ...

    @property
    def kind(self) -> Kind:
        """The kind of action that the environments take."""
        ...

    @property
    def device(self) -> torch.device:
        """The device that holds the tensors of the environments."""
        ...

    def reset(self, seed: int | None = None) -> Tensor:
        """Return the first observations float[B, D] of new episodes; with a seed, the episodes are drawn from this
        seed.

        Axes: B environments, D entries of an observation.
        """
        ...

    def step(self, action: Tensor) -> Step:
        """Take one step with an action of each environment. An ended episode is followed by a new one at once."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """An environment whose state can be saved, for bit-identical resumption."""

    def state(self) -> dict[str, Tensor]:
        """Return the complete state of the environments, for `load`."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        """Restore a `state` that `state()` returned, and return the observation float[B, D] in it.

        Axes: B environments, D entries of an observation.
        """
        ...
