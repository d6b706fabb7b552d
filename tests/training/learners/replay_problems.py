"""A problem that only looking ahead solves, and what tests of learners have in common."""

import hashlib

import torch
from torch import Tensor

from quantd.training.learners.record import Report, State
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step


class SwitchingFee:
    """One of `choices` earns 1 a step, the others nothing, and to switch costs `fee`, more than is earned at once; what
    is held is seen. Who looks ahead pays once and stays."""

    kind: Kind = "discrete"
    device = torch.device("cpu")
    best = 2

    def __init__(self, batch: int = 32, choices: int = 3, fee: float = 2.0, length: int = 20) -> None:
        self.batch, self.action_size, self.observation_size = batch, choices, choices
        self.fee, self.length = fee, length
        self._random = torch.Generator().manual_seed(0)
        self._held = torch.zeros(batch, dtype=torch.int64)
        self._age = torch.zeros(batch, dtype=torch.int64)

    def reset(self, seed: int | None = None) -> Tensor:
        if seed is not None:
            self._random.manual_seed(seed)
        self._held = torch.randint(self.action_size, (self.batch,), generator=self._random)
        self._age = torch.arange(self.batch) % self.length
        return self._seen(self._held)

    def step(self, action: Tensor) -> Step:
        reward = (action == self.best).float() - self.fee * (action != self._held)
        self._age += 1
        ended = self._age >= self.length
        self._age[ended] = 0
        self._held = torch.randint(self.action_size, (self.batch,), generator=self._random).where(ended, action)
        return Step(self._seen(self._held), reward, torch.zeros_like(ended), ended, self._seen(action))

    def _seen(self, held: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(held, self.action_size).float()


def on(_: Report) -> bool:
    return False


def digest(state: State) -> str:
    hasher = hashlib.sha256()
    for name in sorted(state):
        kept = state[name]
        hasher.update(name.encode())
        hasher.update(kept.numpy().tobytes() if isinstance(kept, Tensor) else repr(kept).encode())
    return hasher.hexdigest()
