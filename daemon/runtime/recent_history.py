"""What a running daemon remembers of its past for the API: the newest portfolio states, risk records and allocations,
each within a bound. All of it is in the store; a restart reads the newest back."""

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import RiskPoint
from quantd.daemon.config.risk_tables import History
from quantd.trading.effects import Assessed, Effect, Planned, Valued


class Allocation(Struct, frozen=True):
    """What agents decided in one round: (agent by number, little-endian float64[N] weights wanted, headroom's
    factor)."""

    ts: int
    parts: tuple[tuple[int, bytes, float], ...]


class Histories:
    """Three rings, oldest first. `add` what was committed, in order."""

    def __init__(self, bounds: History | None = None) -> None:
        bounds = bounds or History()
        self._portfolio: deque[Valued] = deque(maxlen=bounds.portfolio)
        self._risk: deque[RiskPoint] = deque(maxlen=bounds.risk)
        self._allocations: deque[Allocation] = deque(maxlen=bounds.allocations)

    def read(self, reader: Reader) -> None:
        """Take up the newest that a store has."""
        self._portfolio.extend(reader.equity(last=self._portfolio.maxlen))
        self._risk.extend(reader.risk(last=self._risk.maxlen))
        self._allocations.extend(allocation(each.plan) for each in reader.decisions(last=self._allocations.maxlen))

    def add(self, effects: Sequence[Effect]) -> None:
        """Note what is history in these effects."""
        for effect in effects:
            kind = type(effect)
            if kind is Valued:
                self._portfolio.append(effect)  # type: ignore[arg-type]
            elif kind is Assessed:
                self._risk.append(RiskPoint(effect.ts, "held", effect.values))  # type: ignore[union-attr, arg-type]
            elif kind is Planned:
                self._risk.append(RiskPoint(effect.ts, "plan", effect.values))  # type: ignore[union-attr, arg-type]
                self._allocations.append(allocation(effect))  # type: ignore[arg-type]

    def portfolio(self, last: int) -> list[Valued]:
        """The newest `last` states, oldest first."""
        return list(self._portfolio)[-last:]

    def risk(self, last: int) -> list[RiskPoint]:
        return list(self._risk)[-last:]

    def allocations(self, last: int) -> list[Allocation]:
        return list(self._allocations)[-last:]

    def sizes(self) -> tuple[int, int, int]:
        """How many portfolio states, risk records and allocations are in memory."""
        return len(self._portfolio), len(self._risk), len(self._allocations)


def allocation(plan: Planned) -> Allocation:
    return Allocation(plan.ts, tuple((part.agent, part.weights, part.scale) for part in plan.agents))
