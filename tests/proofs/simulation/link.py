"""The network between the daemon and the real paper venue: it loses, delays, repeats and reorders what passes.

The venue itself is honest: NotFound is said only of what never came and can no longer come.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.runtime.timeline import Item
from quantd.trading.effects import Cancel, Query
from quantd.trading.events import Action, CancelReported, NotFound, Tick, Unknown, split_of
from quantd.trading.market import JumpExplained, MarketSlice
from quantd.trading.orders import OrderBasket, Reports
from quantd.trading.ports import BrokerNews
from tests.proofs.simulation.truth import OpenRow, Truth, Violation

Key = tuple[int, int]

SETTLING = 4
"""Items after which an order that has not arrived never will; what is late is late by less."""


class Faults(Struct, frozen=True):
    """How often what goes wrong; each a probability at each opportunity."""

    submit_lost: float = 0.08
    submit_late: float = 0.08
    answer_lost: float = 0.08
    report_lost: float = 0.08
    report_late: float = 0.2
    report_twice: float = 0.15
    cancel_lost: float = 0.15
    cancel_refused: float = 0.1
    query_silent: float = 0.3
    feed_gap: float = 0.04
    crash: float = 0.004
    commit_failed: float = 0.006
    clock_jump: float = 0.01
    operator: float = 0.02
    deposit: float = 0.01
    snapshot: float = 0.05

    def times(self, factor: float) -> "Faults":
        """Those of the network and crashes that many times as often; what halts all trading stays rare."""
        rare = {"commit_failed", "clock_jump", "operator", "deposit"}
        return Faults(
            **{f: getattr(self, f) * (1.0 if f in rare else min(factor, 0.5 / getattr(self, f)))
               for f in self.__struct_fields__}
        )  # fmt: skip


class Link:
    """Both directions of the connection. Time is the number of items that have passed."""

    def __init__(self, venue: Paper, truth: Truth, faults: Faults, rng: np.random.Generator) -> None:
        self.venue = venue
        self.truth = truth
        self.faults = faults
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.now = 0
        self.ts = 0
        self.reliable = False
        self.again: dict[tuple[int, int, int], int] = {}
        """How often rows were sent again, as the daemon's side of the link knows it."""
        self.arrived: dict[Key, OrderBasket] = {}
        self._sent: dict[Key, int] = {}
        self._flight: list[tuple[int, OrderBasket, Sequence[int] | None]] = []
        self._news: list[tuple[int, float, BrokerNews]] = []
        self._dead: set[tuple[int, int, int]] = set()
        self._came: set[tuple[int, int, int]] = set()

    def _happens(self, name: str) -> bool:
        if self.reliable or self.rng.random() >= getattr(self.faults, name):
            return False
        self.counts[name] += 1
        return True

    def _later(self, most: int) -> int:
        return self.now + 1 + int(self.rng.integers(most))

    # the venue's side

    def market(self, item: Item) -> None:
        """What the venue sees: each bar and each instant, whether the daemon does or not."""
        self.now += 1
        due = [sent for sent in self._flight if sent[0] <= self.now]
        self._flight = [sent for sent in self._flight if sent[0] > self.now]
        for _, basket, some in due:
            self._arrive(basket, some)
        if isinstance(item, MarketSlice):
            self.ts = item.ts_event
            self._say(self.venue.on_slice(item), first=True)
        elif isinstance(item, Tick):
            self.ts = item.ts
            self._say(self.venue.on_time(item.ts), first=True)

    def action(self, action: Action) -> None:
        """The venue books a corporate action at the instant the daemon has taken it."""
        self._say(self.venue.on_action(action), first=True)
        self.truth.action(action)

    def explained(self, answer: JumpExplained) -> None:
        """The venue books the split that a person names at the instant the daemon has taken it."""
        split = split_of(answer) if answer.symbol in self.truth.held else None
        if split is not None:
            self._say(self.venue.on_action(split), first=True)
        self.truth.explained(answer)

    def _arrive(self, basket: OrderBasket, some: Sequence[int] | None = None) -> None:
        key = basket.sample, basket.n
        rows = {(*key, row) for row in (range(len(basket.sym)) if some is None else some)}
        if rows & self._dead:
            raise Violation(f"rows of {key} came after the venue had said that they never would")
        if some is None and rows & self._came:
            raise Violation(f"basket {key} was sent twice")
        new = rows - self._came
        if new < rows:
            self._say(self.venue.query(*key, [row for *_, row in rows - new]))  # the same ids: the venue knows them
        if new:
            self._came |= new
            self.arrived[key] = basket
            self._say(self.venue.submit(basket, sorted(row for *_, row in new)), first=True)

    def _say(self, news: Iterable[BrokerNews], *, first: bool = False) -> None:
        """News leave the venue. `first`: they are new, and so the account changes."""
        for message in news:
            if first and isinstance(message, Reports):
                basket = self.arrived[message.sample, message.n]
                for row, lots, price, fee in zip(
                    message.row, message.lots, message.price_nano, message.fee_micro, strict=True
                ):
                    if lots:
                        side = 1 if basket.lots[row] > 0 else -1
                        self.truth.fill(basket.sym[row], side * lots, price, fee)
            if self._happens("report_lost"):
                continue
            late = self._happens("report_late")
            self._news.append((self._later(4) if late else self.now, float(self.rng.random()), message))
            if self._happens("report_twice"):
                self._news.append((self._later(5), float(self.rng.random()), message))

    # the daemon's side

    def submit(self, basket: OrderBasket, some: Sequence[int] | None = None) -> None:
        key = basket.sample, basket.n
        if some is not None:
            self._dead -= {(*key, row) for row in some}
        self._sent[key] = self.now
        for row in some or ():
            self.again[*key, row] = self.again.get((*key, row), 0) + 1
        rows = list(range(len(basket.sym)) if some is None else some)
        unknown = Unknown(basket.sample, basket.n, self.ts, rows, "no answer")
        if self._happens("submit_lost"):
            self._after(unknown)
        elif self._happens("submit_late"):
            self._flight.append((self._later(SETTLING - 2), basket, some))
            self._after(unknown)
        else:
            lost = self._happens("answer_lost")
            before = len(self._news)
            self._arrive(basket, some)
            if lost:
                del self._news[before:]
                self._after(unknown)
            elif not self.reliable:
                self._after(unknown, SETTLING)

    def _after(self, news: BrokerNews, least: int = 0) -> None:
        """The daemon's own time-out: some items later, whether an answer has come or not."""
        self._news.append((self.now + least + int(self.rng.integers(3)), float(self.rng.random()), news))

    def cancel(self, effect: Cancel) -> None:
        unknown = Unknown(effect.sample, effect.n, self.ts, [effect.row], "no answer to the cancel")
        if self._happens("cancel_lost"):
            self._after(unknown)
        elif self._happens("cancel_refused"):
            refusal = CancelReported(effect.sample, effect.n, self.ts, effect.row, "try again later")
            self._say([refusal])
        else:
            ts = max(effect.ts, self.ts)
            before = len(self._news)
            self._say(self.venue.cancel(effect.sample, effect.n, effect.row, ts), first=True)
            if len(self._news) == before:
                self._after(unknown, SETTLING)

    def query(self, effect: Query) -> None:
        if self._happens("query_silent"):
            return
        self._say(self.answer((effect.sample, effect.n), effect.row))

    def answer(self, key: Key, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """What the venue says of an order when asked: never NotFound before its settling time."""
        came = [row for row in rows if (*key, row) in self._came]
        missing_rows = [row for row in rows if row not in came]
        news = list(self.venue.query(*key, came)) if came else []
        if not missing_rows:
            return news
        sent = self._sent.setdefault(key, self.now)
        if any((b.sample, b.n) == key for _, b, _ in self._flight) or (
            self.now - sent < SETTLING and not self.reliable
        ):
            return [*news, Unknown(*key, self.ts, missing_rows, "not known yet")]
        self._dead |= {(*key, row) for row in missing_rows}
        for times in sorted({self.again.get((*key, row), 0) for row in missing_rows}):
            alike = [row for row in missing_rows if self.again.get((*key, row), 0) == times]
            news.append(NotFound(*key, self.ts, alike, times))
        return news

    def news(self) -> BrokerNews | None:
        """The next news that is due, in no particular order; None when all is said."""
        due = [k for k, (at, _, _) in enumerate(self._news) if at <= self.now or self.reliable]
        if not due:
            return None
        return self._news.pop(min(due, key=lambda k: self._news[k][1]))[2]

    def lands(self) -> None:
        """All that is on its way to the venue arrives."""
        flight, self._flight = self._flight, []
        for _, basket, some in flight:
            self._arrive(basket, some)

    def crashed(self) -> None:
        """The daemon is gone: of what was on its way to it, some is lost; its own time-outs all are."""
        kept = []
        for at, order, message in self._news:
            if not isinstance(message, Unknown) and self.rng.random() < 0.5:
                kept.append((at, order, message))
        self.counts["lost_in_crash"] += len(self._news) - len(kept)
        self._news = kept

    def open_rows(self, stops: bool = False) -> list[OpenRow]:
        """All orders, or all stops, that may still fill: resting at the venue or on their way there."""
        rows: list[OpenRow] = []
        for resting in self.venue._resting:
            if bool(resting.kind) != stops:
                continue
            for row in resting.open:
                side = 1 if resting.lots[row] > 0 else -1
                open_lots = abs(resting.lots[row]) - resting.cum[row]
                rows.append((resting.sym[row], side * open_lots, resting.worst_nano[row]))
        for _, basket, some in self._flight:
            if bool(basket.kind) != stops:
                continue
            which = range(len(basket.sym)) if some is None else some
            rows.extend((basket.sym[row], basket.lots[row], basket.worst_nano[row]) for row in which)
        return rows

    def open_at_venue(self) -> dict[Key, dict[int, int]]:
        """Key -> row -> lots filled, of what rests at the venue."""
        return {(r.sample, r.n): {row: r.cum[row] for row in r.open} for r in self.venue._resting if r.open}
