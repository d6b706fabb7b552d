"""The newest portfolio states, risk records, allocations and switch causes in memory for the API, each within a bound.

The highest worth of the account is there too. The store has all of these records; a restart reads the newest into
memory. Of the limits of a plan the store has only those that cut it or are at 60 % of their bound or more. A daemon
also has the values of the other limits in memory, for the first plan of each commit since its start.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
from msgspec import Struct

from quantd.adapters.store.last_state import DEPOSITS, Peak, worth
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Decision, Page, RiskPoint
from quantd.daemon.config.risk_tables import History
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.engine.state.verdict_log import HouseVerdicts, Judged
from quantd.daemon.runtime.switch_causes import SwitchCauses
from quantd.risk.limits.values import Values
from quantd.trading.effects import Assessed, Booked, Effect, Planned, Valued


class Dated(Protocol):
    """A row with the instant at which it became known."""

    @property
    def ts(self) -> int:
        """Instant of the row, ns UTC."""
        ...


Row = TypeVar("Row", bound=Dated)


class Allocation(Struct, frozen=True):
    """The agents' target weights in the round (the decision of all agents) at `ts` (ns UTC).

    `parts` are (index of the agent, its little-endian float64[N] target weights, the factor by which they were scaled
    to fit the limits).
    """

    ts: int
    parts: tuple[tuple[int, bytes, float], ...]


class Forecasts(HouseVerdicts):
    """Stores the house's first gate call (check of the account's orders) of each commit, with all its limit values.

    The values are measured during the call, because its context reads the market of that instant. In a live market
    each plan is the first of its commit. A recorded market at full speed has many plans in a commit, of which only the
    first gets the values of all limits.

    The base class is a list of gate calls, because `State.judged` is such a list. Here the list stays empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[bytes, Values]] = deque(maxlen=WAITING)

    def append(self, call: Judged) -> None:
        """Store the verdict of a check of orders if it is the first of the whole account since `renew`; else drop
        it."""
        if call.book == HOUSE and self.reads:
            self.reads = False
            self._waiting.append((call.verdict.lots.astype(np.int64).tobytes(), call.verdict.values))

    def renew(self) -> None:
        """Begin a new commit: `append` then stores the house's next gate call (check of the account's limits)."""
        self.reads = True

    def of(self, plan: Planned) -> Values:
        """Return the limit values of a plan, from the stored gate call (the check of limits) with the plan's lots.

        The stored calls up to this one are dropped. Without such a call, the values that the plan itself records are
        returned.
        """
        for index, (lots, values) in enumerate(self._waiting):
            if lots == plan.allowed:
                for _ in range(index + 1):
                    self._waiting.popleft()
                return values
        return plan.values


WAITING: Final = 16
"""Maximum number of gate calls that wait for the commit of their plans."""


class Histories:
    """The newest committed effects, oldest first, in three ring buffers: portfolio states, risk records, allocations.

    `causes` has who or what moved each kill switch that is not RUN, and `peak` the highest worth of the account.

    The key of an effect is (sequence number of its journal entry, its index among the effects of the entry).
    """

    def __init__(self, bounds: History | None = None) -> None:
        bounds = bounds or History()
        self.portfolio: Final = Ring[Valued](bounds.portfolio)
        self.risk: Final = Ring[RiskPoint](bounds.risk)
        self.allocations: Final = Ring[Allocation](bounds.allocations)
        self.causes: Final = SwitchCauses()
        self.peak = Peak()
        self.forecasts: Final = Forecasts()
        """Collects gate calls as `State.judged`, for the values that a plan does not record."""

    def read(self, reader: Reader) -> None:
        """Load the newest entries of a store into memory."""
        self.portfolio.load(reader.equity_page(self.portfolio.size, ()))
        self.risk.load(reader.risk_page(self.risk.size, ()))
        self.allocations.load(allocations(reader.decision_page(self.allocations.size, ())))
        self.causes.read(reader)
        if reader.records is not None:
            with reader.records.connection() as driver:
                self.peak = Peak(worth(driver, reader.run.run))

    def add(self, seq: int, effects: Sequence[Effect]) -> None:
        """Add the committed effects of journal entry `seq`, in order."""
        for index, effect in enumerate(effects):
            if isinstance(effect, Valued):
                self.portfolio.add((seq, index), effect)
                self.peak.add((effect.ts, effect.equity_micro, effect.drawdown))
            elif isinstance(effect, Booked):
                if effect.kind in DEPOSITS:
                    self.peak.add((effect.ts, effect.amount_micro, None))
            elif isinstance(effect, Assessed):
                self.risk.add((seq, index), RiskPoint(effect.ts, "held", effect.values))  # type: ignore[arg-type]
            elif isinstance(effect, Planned):
                values: Any = self.forecasts.of(effect)
                self.risk.add((seq, index), RiskPoint(effect.ts, "plan", values))
                self.allocations.add((seq, index), allocation(effect))

    def sizes(self) -> tuple[int, int, int]:
        """Numbers of portfolio states, risk records and allocations in memory."""
        return len(self.portfolio), len(self.risk), len(self.allocations)


class Ring(Generic[Row]):
    """The newest `size` rows with their keys, oldest first."""

    def __init__(self, size: int) -> None:
        self.size: Final = size
        self._rows: deque[tuple[tuple[int, ...], Row]] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, key: tuple[int, ...], row: Row) -> None:
        """Add a row with its key to the ring buffer; the oldest row is dropped where the buffer is full."""
        self._rows.append((key, row))

    def load(self, page: Page[Row]) -> None:
        """Add the rows of a page to the ring; the page has its newest row first."""
        self._rows.extend(zip(page.keys[::-1], page.rows[::-1], strict=True))

    def newest(self, last: int) -> list[Row]:
        """The newest `last` rows, oldest first."""
        return [row for _, row in islice(self._rows, max(0, len(self._rows) - last), None)]

    def page(self, limit: int, before: Sequence[int], since: int) -> Page[Row]:
        """A page of at most `limit` rows, newest first, with keys below `before` (empty: all) and not before `since`.

        `since` is in ns UTC. The store may have earlier rows.
        """
        upper_key = tuple(before)
        older = (
            entry for entry in reversed(self._rows) if (not upper_key or entry[0] < upper_key) and entry[1].ts >= since
        )
        newest = list(islice(older, limit + 1))
        page_rows = newest[:limit]
        return Page([row for _, row in page_rows], [key for key, _ in page_rows], len(newest) > limit)


def allocations(page: Page[Decision]) -> Page[Allocation]:
    return Page([allocation(decision.plan) for decision in page.rows], page.keys, page.more)


def allocation(plan: Planned) -> Allocation:
    """The answers of the round that a plan came from."""
    return Allocation(plan.ts, tuple((part.agent, part.weights, part.scale) for part in plan.agents))
