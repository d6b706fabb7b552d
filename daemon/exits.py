"""Which protective exit an order carries, from the journal's own record of it, and in words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from quantd.adapters.store.store import read_only
from quantd.trading.codec import decode
from quantd.trading.effects import Planned, Protected, Rested
from quantd.trading.instruments import NANO
from quantd.trading.orders import price_text


class ExitPart(Struct, frozen=True):
    """One agent's position that an order closes: the `kind` of level its `mark` came to, from which `entry` price; or with
    `rests` a stop that waits at the venue, sent when the mark was this."""

    agent: str
    kind: str
    entry: str
    mark: str
    level: str
    change: float
    rests: bool = False


def exits_of(
    where: str | Path, run: str, plan: Planned, column: int, names: Sequence[str], since: int = 1
) -> list[ExitPart]:
    """The exits of a plan in one symbol, or the stop that it sent; empty for any other order. Entries of the journal from
    `since` on are read until the plan's."""
    sent_at = float(np.frombuffer(plan.prices, dtype="<f8")[column])
    for _, data in read_only(where).entries(run, since):
        entry = decode(data)
        if any(type(e) is Planned and (e.sample, e.n, e.ts) == (plan.sample, plan.n, plan.ts) for e in entry.effects):
            return [
                ExitPart(
                    agent=names[e.agent] if e.agent < len(names) else str(e.agent),
                    kind=e.kind,
                    entry=price_text(round(e.entry * NANO)),
                    mark=price_text(round(mark * NANO)),
                    level=price_text(round(e.level * NANO)),
                    change=mark / e.entry - 1.0,
                    rests=type(e) is Rested,
                )
                for e in entry.effects
                if isinstance(e, Protected | Rested)
                for mark in [e.mark if isinstance(e, Protected) else sent_at]
                if (e.sample, e.n, e.symbol) == (plan.sample, plan.n, column)
            ]
    return []


def exit_lines(exits: Sequence[ExitPart]) -> list[str]:
    """What they say in words, one line each."""
    return [
        f"protective stop of {part.agent} that rests at the venue, {part.kind.replace('_', ' ')}: level {part.level} of a "
        f"position from {part.entry}, sent when it was marked {part.mark}; whatever it fills is the exit"
        if part.rests
        else f"protective exit of {part.agent}, {part.kind.replace('_', ' ')}: entered at {part.entry}, marked {part.mark} "
        f"({part.change:+.1%}), level {part.level}; all of it is closed, whatever the policy wants"
        for part in exits
    ]
