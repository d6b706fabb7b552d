"""One alert for people, as an effect."""

from daemon.engine.state import HOUSE, State
from trading.effects import (
    Level,
    Publish,
)


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
