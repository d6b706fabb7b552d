"""Steps the simulated accounts of several training seeds as one simulator, with the same results as each seed alone.

A ground is the training environment of one seed.

What can go wrong. The results of a seed would differ from those of the seed alone: so each seed has its own generator
and statistics in the joint simulator. A ground would be read or saved while its newest state is in the joint simulator:
so `current` brings the ground up to date first. One seed of several may diverge: so the error names the seed.

What the order guarantees. When a learner ends, the state of the joint simulator is first copied back to the grounds of
the other learners, which are then joined anew.

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
    """One simulator of the accounts of several grounds (training environments of seeds), from their current state.

    The grounds are of one plan, whose policy has a single agent.
    """

    def __init__(self, grounds: Sequence[Ground]) -> None:
        self.grounds: Final = tuple(grounds)
        self.simulator: Final = Simulator.joined([ground.simulator for ground in grounds])
        scaled = grounds[0].scale is not None
        self._normalised: Final = (
            Normalised.joined([ground.normalised for ground in grounds], self.simulator) if scaled else None
        )
        self._sums: Final = Sums.joined([ground.sums for ground in grounds])

    def step(self, actions: Sequence[Tensor]) -> list[Step]:
        """Step every ground (training environment of a seed) with its actions.

        Raises FloatingPointError for an equity of NaN.
        """
        joint_step = (self._normalised or self.simulator).step(torch.cat(list(actions)))
        self._sums.add(self.simulator)
        return [Step(*parts) for parts in zip(*(tensor.chunk(len(self.grounds)) for tensor in joint_step), strict=True)]

    def share(self, number: int) -> None:
        """Copy the state, and the sums since the last call, from the joint simulator to the environment `number`."""
        ground = self.grounds[number]
        self.simulator.share(number, ground.simulator)
        if self._normalised is not None:
            self._normalised.share(number, ground.normalised)
        ground.sums = self._sums.seed_sums(number)

    def lost(self) -> list[int]:
        """Return the indices of the grounds (environments of seeds) in which an equity is NaN."""
        rows = self.simulator.equity.isnan().view(len(self.grounds), -1).any(1)
        return [int(index) for index in rows.nonzero()]


class Lockstep:
    """Learners that advance together, each in its own ground (training environment), until all have ended.

    `current` must be called with a ground before the ground is read or saved.
    """

    def __init__(self) -> None:
        self._joint: Joint | None = None

    def current(self, ground: Ground) -> None:
        """Copy the newest state of the joint simulator to a ground, the training environment of a seed."""
        if self._joint is not None:
            self._joint.share(self._joint.grounds.index(ground))

    @torch.no_grad()
    def play(self, seats: Sequence[tuple[Ground, Acting]], lost: Callable[[Ground, str], Exception]) -> None:
        """Advance every learner to its end.

        A seat is the environment of one training seed and its learner, a generator that yields actions and receives
        steps.

        Raises the exception that `lost(ground, text)` returns for an equity of NaN.
        """
        active = [(ground, acting, action) for ground, acting in seats if (action := next(acting, None)) is not None]
        while active:
            grounds, players = [ground for ground, _, _ in active], [acting for _, acting, _ in active]
            actions: list[Tensor | None] = [action for _, _, action in active]
            joint = self._joint = Joint(grounds)
            # None: a learner has ended, and the others go on in a new joint simulator
            while None not in actions:
                try:
                    steps = joint.step([next_action for next_action in actions if next_action is not None])
                except FloatingPointError as error:
                    raise lost(grounds[joint.lost()[0]], str(error)) from None
                actions = [_sent(acting, step) for acting, step in zip(players, steps, strict=True)]
            advanced = zip(grounds, players, actions, strict=True)
            active = [(ground, acting, action) for ground, acting, action in advanced if action is not None]
            for ground, _, _ in active:
                self.current(ground)
        self._joint = None


def _sent(acting: Acting, step: Step) -> Tensor | None:
    """Send a step to a learner. Returns its next action; None when it has ended."""
    try:
        return acting.send(step)
    except StopIteration:
        return None
