"""The decisions of policies that are called again in a replay, compared with the recorded ones."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from quantd.daemon.assembly.parts import Parts
from quantd.daemon.cli.output import iso
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.journal import Journal
from quantd.trading.effects import Ask
from quantd.trading.events import Decided

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
    """The decisions of called policies, over all segments of a run."""

    calls: int = 0
    different: list[Differs] = field(default_factory=list)


class CheckedJournal(Journal):
    """A journal that also calls the policies and notes where they decide differently."""

    def __init__(self, recorded: Iterable[bytes], seq: int, parts: Parts, answers: Answers) -> None:
        super().__init__(recorded, seq, parts.live)
        self._answers = answers
        self._policies = parts.policies
        self._names = parts.rules.seats
        self._symbols = parts.universe.symbols

    def answer(self, ask: Ask) -> Decided | None:
        then = super().answer(ask)
        if then is not None:
            self._answers.calls += 1
            text, most = unlike(then, answer(self._policies[ask.policy], ask), self._symbols)
            if text:
                ts = ask.view.time
                self._answers.different.append(Differs(ts, iso(ts), self._names[ask.agent], text, most))
        return then


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
