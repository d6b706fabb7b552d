"""Traces each bar to its decision, verdict, orders, fills and alerts: counts, and log lines at level debug.

Each line names the sample that it follows from. `Measurements` has the durations that no event records.
"""

from collections import Counter, deque
from collections.abc import Sequence
from logging import DEBUG, getLogger
from typing import Final

import numpy as np
import structlog

from quantd.daemon.policies.predictions import LATEST, Predictions
from quantd.risk.limits.catalogue import REASON_NAMES
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect, Ended, Filled, Planned, Publish, Valued
from quantd.trading.events import Decided, Event, Tick
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports

log = structlog.get_logger("quantd.trail")
_plain: Final = getLogger("quantd.trail")


class Measurements:
    """Durations, delays and failures of one service. A scrape of the metrics empties the queues; the counts go on."""

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions
        """Answers of policies; a route that calls one adds its answer."""
        self.decisions: deque[float] = deque(maxlen=LATEST)
        """Seconds from a tick to the last order of its decision."""
        self.tasks: deque[tuple[str, float]] = deque(maxlen=LATEST)
        """(scheduled job, seconds) of jobs that ended, failed ones included."""
        self.task_failures: Counter[str] = Counter()
        """Failed attempts by scheduled job."""
        self.bar_lag_s = 0.0
        """Age of the newest bar of a live market at its arrival."""
        self.loop_lag_s = 0.0
        """Largest delay of the event loop since this was last set to 0."""


class Trace:
    """The trace of one run; counts begin at the start of the process."""

    def __init__(self, universe: Universe, agents: Sequence[str]) -> None:
        self._universe = universe
        self._agents = agents
        self._sample = 0
        self.verdicts: Counter[str] = Counter()
        """Symbols of checked baskets by binding limit; "" where the request passed."""
        self.orders: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Add one step."""
        debug = _plain.isEnabledFor(DEBUG)
        if debug:
            self._log_event(event)
        for effect in effects:
            match effect:
                case Valued():
                    self._sample = effect.ts
                case Planned():
                    self._count_verdicts(effect.net, effect.reason)
                    for part in effect.agents:
                        self._count_verdicts(part.asked, part.reason)
                case OrderBasket():
                    self.orders["sent"] += len(effect.sym)
                case Filled():
                    self.orders["filled"] += len(effect.sym)
                case Ended():
                    self.orders.update(OrderState(state).name.lower() for state in effect.state)
                case Publish():
                    self.alerts[effect.level] += 1
                case _:
                    continue
            if debug:
                self._log_effect(effect)
        if type(event) is Reports:
            self.orders["accepted"] += event.cause.count(int(Cause.ACCEPTED))

    def _count_verdicts(self, requested: bytes, reason: bytes) -> None:
        wanted = np.frombuffer(requested, dtype=np.int64) != 0
        codes = np.frombuffer(reason, dtype=np.int8)[wanted] if reason else np.zeros(int(wanted.sum()), dtype=np.int8)
        counts = np.bincount(codes)
        for code in np.flatnonzero(counts).tolist():
            self.verdicts[REASON_NAMES[code] if code else ""] += int(counts[code])

    def _log_event(self, event: Event) -> None:
        match event:
            case MarketSlice():
                self._line("bar", event.ts_event, symbols=int(event.fresh.sum()))
            case Tick() if event.sample:
                self._sample = event.ts
            case Decided():
                answer = "fails" if event.failed else "holds" if event.weights is None else "weights"
                self._line("decision", agent=self._agents[event.agent], answer=answer, failed=event.failed or None)
            case _:
                pass

    def _log_effect(self, effect: Effect) -> None:
        names = self._universe.symbols
        match effect:
            case Planned():
                lots = np.frombuffer(effect.allowed, dtype=np.int64)
                reasons = [("house", effect.reason), *((self._agents[a.agent], a.reason) for a in effect.agents)]
                cut = {who: self._cut(reason) for who, reason in reasons if any(reason)}
                passed = {names[k]: int(lots[k]) for k in np.flatnonzero(lots).tolist()}
                self._line("verdict", effect.sample, lots=passed, cut=cut or None)
            case OrderBasket() | Filled():
                rows = {names[symbol]: lots for symbol, lots in zip(effect.sym, effect.lots, strict=True)}
                price = [p / NANO for p in effect.price_nano] if isinstance(effect, Filled) else None
                kind = "order" if price is None else "fill"
                self._line(kind, effect.sample, n=effect.n, lots=rows, price=price)
            case Ended():
                states = [OrderState(state).name.lower() for state in effect.state]
                self._line("ended", effect.sample, n=effect.n, states=states)
            case Valued():
                self._line("valued", effect.ts, equity=effect.equity_micro / MICRO)
            case Publish():
                self._line(
                    "alert", severity=effect.level, kind=effect.kind, agent=effect.agent or None, text=effect.text
                )
            case _:
                pass

    def _cut(self, reason: bytes) -> dict[str, str]:
        """Symbol -> binding limit."""
        return {name: REASON_NAMES[code] for name, code in zip(self._universe.symbols, reason, strict=True) if code}

    def _line(self, what: str, sample: int = 0, **fields: object) -> None:
        log.debug(
            what, sample=instant_text(sample or self._sample), **{k: v for k, v in fields.items() if v is not None}
        )
