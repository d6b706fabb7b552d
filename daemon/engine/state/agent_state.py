"""One agent of the engine: its kill switch, the memory of its policy, the purchases that wait for
the proceeds of sales, and its protective exits."""

from typing import Final

import numpy as np
from msgspec import Struct

from quantd.daemon.engine.core.lacks import Lacks
from quantd.daemon.engine.core.order_columns import FollowUp
from quantd.risk.protective import Kind
from quantd.risk.switch import FrozenSwitch
from quantd.risk.switch_state import Switch
from quantd.trading.number_types import read_floats
from quantd.trading.view import EMPTY_MEMORY, Memory


class Exit(Struct):
    """A position that is being closed, and the breach that caused it.

    `tried` is the instant of its last order. `held` is True while the exit waits for the end of a stop at the venue;
    `since` is the instant at which that stop began to fill.
    """

    kind: Kind
    entry: float
    mark: float
    level: float
    tried: int = 0
    held: bool = False
    since: int = 0


class FrozenFollowUp(Struct, frozen=True):
    """A `FollowUp` in a snapshot: the rest of a decision that waits for the proceeds of the decision's sales.

    `weights` are the bytes of float64[N].
    """

    sample: int
    weights: bytes
    used: int


FrozenMind = tuple[int, bool, FrozenFollowUp | None, list[tuple[str, tuple[int, ...], bytes]]]
"""Failures, whether the agent is suspended, its follow-up, and (name, shape, bytes) of the memory of its policy."""


class FrozenAgent(Struct, frozen=True):
    """An AgentState as plain values. A snapshot stores each field in a list of its own, with one entry per agent."""

    switch: FrozenSwitch
    mind: FrozenMind
    exits: tuple[dict[int, Exit], dict[int, int]]
    note: str


class AgentState:
    """One agent. Two mappings by column of a symbol: `exits` has the exits in progress, and `blocked` the number of the
    last sample at which the agent may not trade the symbol."""

    __slots__ = ("blocked", "exits", "failures", "follow_up", "lacks", "memory", "note", "suspended", "switch")

    def __init__(self, capital_micro: int, size: int) -> None:
        self.follow_up: Final = FollowUp(size)
        self.lacks: Final = Lacks(size)
        """Counted since this process began the run: no snapshot has it."""
        self.begin(capital_micro)

    def begin(self, capital_micro: int) -> None:
        """Forget everything of the agent: it begins anew with this capital, which is also its high-water mark."""
        self.memory: Memory = EMPTY_MEMORY
        self.note = ""
        """Last note of its policy."""
        self.switch = Switch(high_water=capital_micro)
        self.failures = 0
        self.suspended = False
        self.follow_up.drop()
        self.lacks.clear()
        self.exits: dict[int, Exit] = {}
        self.blocked: dict[int, int] = {}

    def freeze(self) -> FrozenAgent:
        """The agent's values for a snapshot, with arrays as bytes."""
        follow_up = self.follow_up
        frozen_follow_up = (
            FrozenFollowUp(follow_up.sample, bytes(follow_up.weights), follow_up.used) if follow_up.waits() else None
        )
        memory = [(name, array.shape, array.tobytes()) for name, array in self.memory.items()]
        mind = self.failures, self.suspended, frozen_follow_up, memory
        return FrozenAgent(FrozenSwitch.of(self.switch), mind, (self.exits, self.blocked), self.note)

    def thaw(self, frozen: FrozenAgent) -> None:
        """Take the agent's values from a snapshot."""
        self.switch, (self.failures, self.suspended, follow_up, memory) = frozen.switch.thaw(), frozen.mind
        if follow_up is not None:
            weights = read_floats(np.frombuffer(follow_up.weights))
            self.follow_up.put(follow_up.sample, follow_up.used, weights)
        self.memory = {name: np.frombuffer(data).reshape(shape) for name, shape, data in memory}
        self.exits, self.blocked = frozen.exits
        self.note = frozen.note
