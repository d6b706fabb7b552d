"""Steps the accounts of several seeds as one simulator; every seed's results are those of training it alone.

What can go wrong. A seed gets other bits than alone; each has its own generator and statistics in the joint simulator.
A ground is read or saved while its state is in the joint one; `current` brings it up to date first. One seed of several
diverges; the error names it.

What the order guarantees. When a learner ends, all that go on get their state back before they are joined again.

Rejected: one stacked network for all seeds (docs/decisions/014).
"""

from collections.abc import Callable, Generator, Sequence
from typing import Final

import torch
from torch import Tensor

from quantd.training.market.normalisation import Normalised
from quantd.training.market.simulator import Simulator
from quantd.training.market.vector_env import Step
from quantd.training.seeds.environment import Ground, Sums

Acting = Generator[Tensor, Step, None]
"""A learner in training: yields actions, receives steps."""


class Joint:
    """The accounts of several grounds of one plan without seats, from their current state."""

    def __init__(self, grounds: Sequence[Ground]) -> None:
        self.grounds: Final = tuple(grounds)
        self.simulator: Final = Simulator.joined([ground.simulator for ground in grounds])
        scaled = grounds[0].scale is not None
        self._normalised: Final = (
            Normalised.joined([ground.normalised for ground in grounds], self.simulator) if scaled else None
        )
        self._sums: Final = Sums.joined([ground.sums for ground in grounds])

    def step(self, actions: Sequence[Tensor]) -> list[Step]:
        """Step every ground by its actions. Raises FloatingPointError as a simulator."""
        joint_step = (self._normalised or self.simulator).step(torch.cat(list(actions)))
        self._sums.add(self.simulator)
        return [Step(*parts) for parts in zip(*(tensor.chunk(len(self.grounds)) for tensor in joint_step), strict=True)]

    def share(self, number: int) -> None:
        """Give the ground with this number its state, and its sums since the last call."""
        ground = self.grounds[number]
        self.simulator.share(number, ground.simulator)
        if self._normalised is not None:
            self._normalised.share(number, ground.normalised)
        ground.sums = self._sums.taken(number)

    def lost(self) -> list[int]:
        """Return the numbers of grounds with an equity that is not a number."""
        rows = self.simulator.equity.isnan().view(len(self.grounds), -1).any(1)
        return [int(number) for number in rows.nonzero()]


class Lockstep:
    """Learners that advance together, each in its own ground, until each has ended.

    `current` must be called with a ground before that is read or saved.
    """

    def __init__(self) -> None:
        self._joint: Joint | None = None

    def current(self, ground: Ground) -> None:
        """Bring a ground up to date."""
        if self._joint is not None:
            self._joint.share(self._joint.grounds.index(ground))

    @torch.no_grad()
    def play(self, seats: Sequence[tuple[Ground, Acting]], lost: Callable[[Ground, str], Exception]) -> None:
        """Advance every learner to its end. An equity that is not a number raises `lost` of its ground and the text."""
        going = [(ground, acting, action) for ground, acting in seats if (action := next(acting, None)) is not None]
        while going:
            grounds, players = [ground for ground, _, _ in going], [acting for _, acting, _ in going]
            actions: list[Tensor | None] = [action for _, _, action in going]
            joint = self._joint = Joint(grounds)
            while None not in actions:
                try:
                    steps = joint.step([next_action for next_action in actions if next_action is not None])
                except FloatingPointError as error:
                    raise lost(grounds[joint.lost()[0]], str(error)) from None
                actions = [_sent(acting, step) for acting, step in zip(players, steps, strict=True)]
            turns = zip(grounds, players, actions, strict=True)
            going = [(ground, acting, action) for ground, acting, action in turns if action is not None]
            for ground, _, _ in going:
                self.current(ground)
        self._joint = None


def _sent(acting: Acting, step: Step) -> Tensor | None:
    """Return the next action; None at the end."""
    try:
        return acting.send(step)
    except StopIteration:
        return None
