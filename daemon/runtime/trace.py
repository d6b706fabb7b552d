"""Traces each bar to its decision, verdict, orders, fills and alerts: counts, and log lines at level debug.

Each line names the sample that caused it. `Measurements` has the durations that no event records.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from logging import DEBUG, getLogger
from typing import Any, Final

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
_ACCEPTED: Final = int(Cause.ACCEPTED)


class Measurements:
    """Durations, delays and failures of one service.

    A scrape of the metrics empties the queues of durations; the counts continue.
    """

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
        """Instant of the newest sample, ns UTC."""
        self.verdicts: Counter[str] = Counter()
        """Counts of symbols in checked baskets by the limit that cut them; "" where none did."""
        self.orders: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self._counts: dict[type, Callable[[Any], None]] = {
            Valued: self._valued,
            Planned: self._planned,
            OrderBasket: self._sent,
            Filled: self._filled,
            Ended: self._ended,
            Publish: self._published,
        }

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        if debug := _plain.isEnabledFor(DEBUG):
            self._log_event(event)
        for effect in effects:
            if (count := self._counts.get(type(effect))) is not None:
                count(effect)
                if debug:
                    self._log_effect(effect)
        if type(event) is Reports:
            self.orders["accepted"] += event.cause.count(_ACCEPTED)

    def _valued(self, effect: Valued) -> None:
        self._sample = effect.ts

    def _planned(self, effect: Planned) -> None:
        self._count_verdicts(effect.net, effect.reason)
        for part in effect.agents:
            self._count_verdicts(part.asked, part.reason)

    def _sent(self, effect: OrderBasket) -> None:
        self.orders["sent"] += len(effect.sym)

    def _filled(self, effect: Filled) -> None:
        self.orders["filled"] += len(effect.sym)

    def _ended(self, effect: Ended) -> None:
        self.orders.update(OrderState(state).name.lower() for state in effect.state)

    def _published(self, effect: Publish) -> None:
        self.alerts[effect.level] += 1

    def _count_verdicts(self, requested: bytes, reason: bytes) -> None:
        """Count the symbols of a basket of orders by the limit that cut them: `requested` int64[N] lots, `reason`
        int8[N] codes."""
        lots = np.frombuffer(requested, dtype=np.int64)
        if not reason.strip(b"\0"):  # no limit bound, as in most rounds
            codes = [int(np.count_nonzero(lots))]
        else:
            codes = np.bincount(np.frombuffer(reason, dtype=np.int8)[lots != 0]).tolist()
        for code, count in enumerate(codes):
            if count:
                self.verdicts[REASON_NAMES[code] if code else ""] += count

    def _log_event(self, event: Event) -> None:
        """Log a bar or an answer of an agent, and note the instant of a sample; other events have no line."""
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
        """Log a plan, an order, a fill, an end, a valuation or an alert; other effects have no line."""
        names = self._universe.symbols
        match effect:
            case Planned():
                lots = np.frombuffer(effect.allowed, dtype=np.int64)
                reasons = [
                    ("house", effect.reason),
                    *((self._agents[part.agent], part.reason) for part in effect.agents),
                ]
                binding_limits = {who: self._binding_limits(reason) for who, reason in reasons if any(reason)}
                passed = {names[k]: int(lots[k]) for k in np.flatnonzero(lots).tolist()}
                self._line("verdict", effect.sample, lots=passed, cut=binding_limits or None)
            case OrderBasket() | Filled():
                rows = {names[symbol]: lots for symbol, lots in zip(effect.sym, effect.lots, strict=True)}
                price = [nano / NANO for nano in effect.price_nano] if isinstance(effect, Filled) else None
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

    def _binding_limits(self, reason: bytes) -> dict[str, str]:
        """Symbol -> the limit that cut it, from int8[N] codes; symbols without a cut are absent."""
        return {name: REASON_NAMES[code] for name, code in zip(self._universe.symbols, reason, strict=True) if code}

    def _line(self, what: str, sample: int = 0, **fields: object) -> None:
        log.debug(
            what, sample=instant_text(sample or self._sample), **{k: v for k, v in fields.items() if v is not None}
        )
