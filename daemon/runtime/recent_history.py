"""The newest portfolio states, risk records and allocations in memory for the API, each within a bound.

The store has all of them; a restart reads the newest. Of a plan the store has only the limits that cut or stand at 60 %
of their bound; a daemon also has the others, for the plans since its start.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import RiskPoint
from quantd.daemon.config.risk_tables import History
from quantd.daemon.engine.planning.verdict_log import Judged
from quantd.daemon.engine.state import HOUSE
from quantd.risk.limits.values import Values
from quantd.trading.effects import Assessed, Effect, Planned, Valued


class Allocation(Struct, frozen=True):
    """The answers of one round: (agent number, little-endian float64[N] target weights, factor of headroom)."""

    ts: int
    parts: tuple[tuple[int, bytes, float], ...]


class Forecasts(list[Judged]):
    """The gate calls of the house in plans that are not committed yet: their lots, and the values of all limits.

    A call is measured when it is made, because its context reads the market of that instant. Nothing is kept as an
    element of the list.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[bytes, Values]] = deque(maxlen=WAITING)

    def append(self, one: Judged) -> None:
        if one.book == HOUSE:
            self._waiting.append((one.verdict.lots.astype(np.int64).tobytes(), one.verdict.values))

    def of(self, plan: Planned) -> Values:
        """The values of a plan, the recorded ones where its call is unknown. Earlier calls are dropped."""
        for k, (lots, values) in enumerate(self._waiting):
            if lots == plan.allowed:
                for _ in range(k + 1):
                    self._waiting.popleft()
                return values
        return plan.values


WAITING: Final = 1024
"""Gate calls that are kept between two commits."""


class Histories:
    """Three rings of committed effects, oldest first."""

    def __init__(self, bounds: History | None = None) -> None:
        bounds = bounds or History()
        self._portfolio: deque[Valued] = deque(maxlen=bounds.portfolio)
        self._risk: deque[RiskPoint] = deque(maxlen=bounds.risk)
        self._allocations: deque[Allocation] = deque(maxlen=bounds.allocations)
        self.forecasts: Final = Forecasts()
        """Collects gate calls as `State.judged`, for the values that a plan does not record."""

    def read(self, reader: Reader) -> None:
        """Load the newest entries of a store."""
        self._portfolio.extend(reader.equity(last=self._portfolio.maxlen))
        self._risk.extend(reader.risk(last=self._risk.maxlen))
        self._allocations.extend(allocation(each.plan) for each in reader.decisions(last=self._allocations.maxlen))

    def add(self, effects: Sequence[Effect]) -> None:
        """Add committed effects, in order."""
        for effect in effects:
            if isinstance(effect, Valued):
                self._portfolio.append(effect)
            elif isinstance(effect, Assessed):
                self._risk.append(RiskPoint(effect.ts, "held", effect.values))  # type: ignore[arg-type]
            elif isinstance(effect, Planned):
                self._risk.append(RiskPoint(effect.ts, "plan", self.forecasts.of(effect)))  # type: ignore[arg-type]
                self._allocations.append(allocation(effect))

    def portfolio(self, last: int) -> list[Valued]:
        """The newest `last` states, oldest first."""
        return list(self._portfolio)[-last:]

    def risk(self, last: int) -> list[RiskPoint]:
        return list(self._risk)[-last:]

    def allocations(self, last: int) -> list[Allocation]:
        return list(self._allocations)[-last:]

    def sizes(self) -> tuple[int, int, int]:
        """Numbers of portfolio states, risk records and allocations in memory."""
        return len(self._portfolio), len(self._risk), len(self._allocations)


def allocation(plan: Planned) -> Allocation:
    return Allocation(plan.ts, tuple((part.agent, part.weights, part.scale) for part in plan.agents))
