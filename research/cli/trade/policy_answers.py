"""The decisions of policies that are called again in a replay, compared with the recorded ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from quantd.daemon.cli.output import iso
from quantd.daemon.engine.state import State
from quantd.daemon.policies.loading import answer
from quantd.strategies.policies.holding import Asked
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.ports import Policy

TOLERANCE = 1e-6
"""Largest difference of a weight that counts as equal: the last bits depend on the machine."""


@dataclass(frozen=True, slots=True)
class Differs:
    """A decision that differs from the recorded one."""

    ts: int
    time: str
    agent: str
    text: str
    most: float


@dataclass(slots=True)
class Answers:
    """The decisions of called policies, over all segments of a run. It listens to a replay.

    `policies` are those of the present configuration. Where an artifact had been loaded, that artifact is called.
    """

    policies: Sequence[Policy]
    calls: int = 0
    different: list[Differs] = field(default_factory=list)

    def __call__(self, ask: Ask, state: State, policy: Policy, recorded: Decided | None) -> None:
        """Call the policy, and note where it decides differently."""
        if recorded is None or isinstance(policy, Asked):  # an outside agent is not asked by a replay
            return
        self.calls += 1
        if state.rules.names()[ask.policy] not in state.loaded:
            policy = self.policies[ask.policy]
        text, most = unlike(recorded, answer(policy, ask), state.universe.symbols)
        if text:
            ts = ask.view.time
            self.different.append(Differs(ts, iso(ts), state.rules.names()[ask.agent], text, most))


def unlike(then: Decided, now: Decided, symbols: tuple[str, ...]) -> tuple[str, float]:
    """The difference of a decision from the recorded one: (text, largest difference); no text within TOLERANCE."""
    if then.failed or now.failed:
        same = then.failed == now.failed
        return ("" if same else f"then {then.failed or 'weights'}, now {now.failed or 'weights'}", 0.0)
    if then.weights is None or now.weights is None:
        same = then.weights is now.weights
        return ("" if same else f"then {'held' if then.weights is None else 'weights'}, now the other", 0.0)
    before, after = np.frombuffer(then.weights), np.frombuffer(now.weights)
    if before.shape != after.shape:
        return f"then {len(before)} weights, now {len(after)}", 0.0
    gap = np.abs(before - after)
    column = int(np.argmax(gap))
    most = float(gap[column])
    if most <= TOLERANCE:
        return "", most
    return f"{symbols[column]} {before[column]:.8g} then, {after[column]:.8g} now", most
