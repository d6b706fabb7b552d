"""Alerts for people, as effects."""

from collections.abc import Sequence
from typing import Final

from daemon.engine.state import HOUSE, State
from risk.monitor import observe
from risk.standing import FLOORS, Values
from trading.effects import (
    Level,
    Publish,
)

LEVELS: Final[tuple[Level, ...]] = ("INFO", "INFO", "WARNING", "CRITICAL")
"""Level of an alert by the level of `risk.monitor`."""

RATIOS: Final = frozenset({"min_sharpe"})
"""Limits that are plain numbers; the others are shares."""


def alert(
    state: State, level: Level, kind: str, text: str, *, agent: int = HOUSE, symbol: int = -1, **measured: float
) -> Publish:
    return Publish(
        ts=state.now,
        level=level,
        kind=kind,
        text=text,
        symbol="" if symbol < 0 else state.universe.symbols[symbol],
        agent="" if agent == HOUSE else state.rules.agents[agent].name,
        value=measured.get("value"),
        bound=measured.get("bound"),
    )


def limit_alerts(state: State, book: int, values: Values, *, falling: bool = True) -> Sequence[Publish]:
    """Alerts about limits of the house or of an agent that came nearer, or with `falling` went away again; each crossing
    once."""
    levels = state.monitor.levels if book == HOUSE else state.watch.levels[book]
    found = observe(levels, values, falling=falling)
    if not found:
        return ()
    who = " (house)" if book == HOUSE else ""
    effects = []
    for key, before, after, value, bound in found:
        name = key.removeprefix("max_").removeprefix("min_").replace("_", " ")
        if key in FLOORS:
            written = "{:.2f}" if key in RATIOS else "{:.1%}"
            nearness = f"where at least {written.format(bound)} is wanted"
            text = f"{name} {written.format(value)}{'' if after > before else ' again'}, {nearness}{who}"
        else:
            share = value / bound if bound else 1.0
            nearness = f"{share:.0%} of its limit {bound:.1%}{who}"
            text = f"{name} {value:.1%} is {'' if after > before else 'back to '}{nearness}"
        level = LEVELS[after] if after > before else "INFO"
        effects.append(alert(state, level, f"limit_{key}", text, agent=book, value=value, bound=bound))
    return effects
