"""The decisions of policies that are called again in a replay, compared with the recorded ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from quantd.daemon.cli.output import iso
from quantd.daemon.engine.state import State
from quantd.daemon.policies.loading import answer
from quantd.strategies.policies.holding import OutsidePolicy
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.ports import Policy

TOLERANCE = 1e-6
"""Largest difference of a weight that counts as equal: the last bits depend on the machine."""


@dataclass(frozen=True, slots=True)
class Differs:
    """A decision that differs from the recorded one: its sample (`ts` in ns UTC, `time` as text) and its agent.

    `text` describes the difference. `most` is the largest difference between two weights of a symbol, 0 where weights
    cannot be compared.
    """

    ts: int
    time: str
    agent: str
    text: str
    most: float


@dataclass(slots=True)
class Answers:
    """Calls the policies again at each decision that is replayed, and collects the decisions that differ.

    `policies` are the policies of the present configuration. Where an operator had loaded an artifact (a trained
    policy), the artifact is called. `calls` counts the calls over all segments of the run (from one start of the daemon
    to the next).
    """

    policies: Sequence[Policy]
    calls: int = 0
    different: list[Differs] = field(default_factory=list)

    def __call__(self, ask: Ask, state: State, policy: Policy, recorded: Decided | None) -> None:
        """Call the policy with the replayed `ask`, and append a `Differs` where its decision is unlike `recorded`."""
        if recorded is None or isinstance(policy, OutsidePolicy):  # an outside agent is not asked by a replay
            return
        self.calls += 1
        if state.rules.names()[ask.policy] not in state.loaded:
            # no operator loaded an artifact: `policy` is of the run's configuration, the present one is to be compared
            policy = self.policies[ask.policy]
        text, largest_gap = unlike(recorded, answer(policy, ask), state.universe.symbols)
        if text:
            ts = ask.view.time
            self.different.append(Differs(ts, iso(ts), state.rules.names()[ask.agent], text, largest_gap))


def unlike(then: Decided, now: Decided, symbols: tuple[str, ...]) -> tuple[str, float]:
    """Compare a decision (`now`) with the recorded one (`then`). Returns (text, largest difference of a weight).

    The text is empty where no weight differs by more than TOLERANCE. Two decisions that failed with the same reason are
    alike, and so are two without weights (no trade).
    """
    if then.failed or now.failed:
        same = then.failed == now.failed
        return ("" if same else f"then {then.failed or 'weights'}, now {now.failed or 'weights'}", 0.0)
    if then.weights is None or now.weights is None:
        same = then.weights is now.weights
        return (
            "" if same else f"then {'no trade, now weights' if then.weights is None else 'weights, now no trade'}",
            0.0,
        )
    before, after = np.frombuffer(then.weights), np.frombuffer(now.weights)
    if before.shape != after.shape:
        return f"then {len(before)} weights, now {len(after)}", 0.0
    gap = np.abs(before - after)
    column = int(np.argmax(gap))
    largest_gap = float(gap[column])
    if largest_gap <= TOLERANCE:
        return "", largest_gap
    return f"{symbols[column]} {before[column]:.8g} then, {after[column]:.8g} now", largest_gap
