"""The account as lines of a statement: every movement of cash with its day, from the journal of a run.

A line belongs to the day of the first sample after the movement. The lines of a day add up exactly to its closing
balance less its opening balance.
"""

from collections.abc import Iterable
from datetime import date
from itertools import groupby
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.views.movements import Kind as MovementKind
from quantd.daemon.views.movements import Movement, Movements
from quantd.trading.codec import decode
from quantd.trading.display_text import session_date
from quantd.trading.effects import Booked, Filled, Valued
from quantd.trading.events import Correction, Flow, Reconciled, Started, split_of
from quantd.trading.instruments import Universe
from quantd.trading.orders import OrderBasket, Reports
from quantd.trading.ports import VenueTrade

Kind = MovementKind | Literal["correction", "split", "unexplained"]


class AccountLine(Struct, frozen=True):
    """One movement of the account.

    `id` is the same in every statement of the run. `lots` are signed, `amount_micro` is the change of cash. `reference`
    is the venue's identifier of a flow, or the basket of orders of a trade.
    """

    id: str
    day: date
    ts: int
    kind: Kind
    symbol: str
    lots: int
    price_nano: int
    amount_micro: int
    reference: str = ""
    text: str = ""

    @property
    def payment(self) -> bool:
        """Whether the venue's record has a separate line for this movement: it is neither a part of a trade nor an
        operator's decision."""
        return self.kind not in ("trade", "bust", "split", "correction", "unexplained") and not self.id.endswith(".fee")


class StatementDay(Struct, frozen=True):
    """One day of the account, in micro-currency: the samples later than `since_ns`, up to `until_ns`."""

    day: date
    opening_micro: int
    closing_micro: int
    equity_micro: int
    since_ns: int
    until_ns: int
    lines: list[AccountLine]


class AccountRecord(Struct, frozen=True):
    """The days of a run, by day the executions that it booked, and all executions that its venue reported.

    `began` is the instant of the first start. `later` and `later_booked` are lines and executions since the newest
    sample. `decisions` are (instant, amount) of differences in cash that an operator booked or fenced.
    """

    days: list[StatementDay]
    booked: dict[date, list[VenueTrade]]
    reported: list[VenueTrade]
    began: int = 0
    later: list[AccountLine] = []
    later_booked: list[VenueTrade] = []
    decisions: list[tuple[int, int]] = []

    @property
    def cash_micro(self) -> int:
        """The cash of the account after its last line, in micro-currency."""
        return self.days[-1].closing_micro + sum(line.amount_micro for line in self.later)


def account_record(run: str, universe: Universe, entries: Iterable[tuple[int, bytes]]) -> AccountRecord:
    """The account of a run from all entries (number, bytes) of its journal."""
    fold = _Fold(run, universe)
    for seq, data in entries:
        entry = decode(data)
        fold.step(seq, entry.event, entry.effects)
    return AccountRecord(
        fold.days, fold.booked, fold.reported, fold.began, fold.waiting, fold.trades, fold.decisions
    )  # fmt: skip


class _Fold:
    """Collects the lines of the account's statement from the steps of a journal, in order."""

    def __init__(self, run: str, universe: Universe) -> None:
        self._run, self._universe, self._movements = run, universe, Movements(universe)
        self.days: list[StatementDay] = []
        """The days with a sample, complete up to the newest sample."""
        self.booked: dict[date, list[VenueTrade]] = {}
        """By day: the executions that the books have. `reported` are those in the venue's reports."""
        self.reported: list[VenueTrade] = []
        self.began = 0
        """Instant of the first start, ns UTC; 0 before it."""
        self.decisions: list[tuple[int, int]] = []
        """(instant, cash in micro) of each correction of the account by an operator."""
        self._orders: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        """Basket (sample, number) -> the column and the signed lots of each of its orders."""
        self.waiting: list[AccountLine] = []
        """The lines since the newest sample; `trades` are the executions since then."""
        self.trades: list[VenueTrade] = []
        self._cash: int | None = None
        """Cash (micro) at the newest sample, at the instant `_until`; None before the first one."""
        self._until = 0

    def step(self, seq: int, event: object, effects: Iterable[object]) -> None:
        """Add the entry `seq` of the journal: its lines, executions, reports and decisions of an operator.

        The id of a line names the entry and the effect in it.
        """
        if isinstance(event, Started) and not self.began:
            self.began = event.ts
        if isinstance(event, Correction) and event.cash_micro:
            self.decisions.append((event.ts, event.cash_micro))
        if split := split_of(event):
            text = f"{split.numerator} new for {split.denominator}"
            self._add_line(seq, "0", split.ts, "split", split.symbol, text=text)
        if isinstance(event, Reports):
            self._add_reports(event)
        for k, (effect, movements) in enumerate(self._movements.add(event, effects)):
            match effect:
                case Filled():
                    self._add_fills(seq, k, effect, movements)
                case Booked() if isinstance(event, Flow) and event.units_nano and effect.book >= 0:
                    pass  # units of a coin: their income offsets their flow, and no cash moved
                case Booked() if effect.kind != "in_kind" and (effect.amount_micro or not effect.parts):
                    kind: Kind = effect.kind
                    reference = event.reference if isinstance(event, Flow) else ""
                    is_part = isinstance(event, Flow) and reference != event.id and bool(self.waiting)
                    if is_part and self.waiting[-1].reference == reference:
                        # the parts of the agents are one movement at the venue
                        last = self.waiting.pop()
                        self.waiting.append(replace(last, amount_micro=last.amount_micro + effect.amount_micro))
                        continue
                    if isinstance(event, Correction | Reconciled):
                        kind = "correction"
                    self._add_line(seq, str(k), effect.ts, kind, effect.symbol, effect.amount_micro, reference)
                case Valued():
                    self._close_sample(seq, effect)
                case OrderBasket():
                    self._orders[effect.sample, effect.n] = effect.sym, effect.lots

    def _add_fills(self, seq: int, k: int, fill: Filled, movements: Iterable[Movement]) -> None:
        """Add lines for the fills of a basket and their fees, and their executions; a bust removes what it reverses.

        `k` is the number of the effect `fill` in the entry `seq`. A bust is a fill that the venue cancelled later.
        """
        reference = f"{fill.sample}/{fill.n}"
        for row, books in groupby(movements, lambda movement: movement.row):
            parts = list(books)
            kind, ts, _, symbol, *_ = parts[0]
            lots, price, fee = fill.lots[row], fill.price_nano[row], fill.fee_micro[row]
            paid = sum(part.amount_micro for part in parts)
            self._add_line(seq, f"{k}.{row}", ts, kind, symbol, paid, reference, lots=lots, price_nano=price)
            if fee:
                self._add_line(seq, f"{k}.{row}.fee", ts, "fee", symbol, -fee, reference)
            execution = self._execution(ts, symbol, lots, price, fee)
            if kind == "bust" and self._removed_execution(execution):
                continue
            if not fee or paid != fee:  # a fee in the bought coin is booked as a sale; the venue has none
                self.trades.append(execution)

    def _removed_execution(self, bust: VenueTrade) -> bool:
        """Remove the newest matching execution, which a bust reverses and the venue's record no longer has.

        Returns whether there was a matching execution.
        """
        for executions in (self.trades, *reversed(self.booked.values())):
            for index, trade in enumerate(executions):
                if (trade.symbol, trade.units_nano, trade.price_nano) == (
                    bust.symbol,
                    -bust.units_nano,
                    bust.price_nano,
                ):
                    del executions[index]
                    return True
        return False

    def _add_reports(self, news: Reports) -> None:
        """Add the executions that a venue reported to the account's record."""
        sym, signs = self._orders.get((news.sample, news.n), ([], []))
        for row, lots, price, fee in zip(news.row, news.lots, news.price_nano, news.fee_micro, strict=True):
            if lots and row < len(sym):
                signed = lots if signs[row] > 0 else -lots
                self.reported.append(self._execution(news.ts, sym[row], signed, price, fee))

    def _execution(self, ts: int, symbol: int, lots: int, price_nano: int, fee_micro: int) -> VenueTrade:
        """An execution of signed lots in the form of a venue's record; it has no id there."""
        units_nano = lots * self._universe.lot_nano[symbol]
        return VenueTrade("", ts, self._universe.symbols[symbol], units_nano, price_nano, fee_micro)

    def _add_line(
        self, seq: int, part: str, ts: int, kind: Kind, symbol: int, amount: int = 0, reference: str = "", *,
        lots: int = 0, price_nano: int = 0, text: str = "",
    ) -> None:  # fmt: skip
        name = self._universe.symbols[symbol] if symbol >= 0 else ""
        id = f"{self._run}-{seq}-{part}"
        self.waiting.append(AccountLine(id, date.min, ts, kind, name, lots, price_nano, amount, reference, text))

    def _close_sample(self, seq: int, valued: Valued) -> None:
        """Assign the lines so far to the day of a sample. Cash that they do not explain becomes a separate line."""
        day = session_date(valued.ts - 1)
        moved_micro = sum(line.amount_micro for line in self.waiting)
        opening = valued.cash_micro - moved_micro if self._cash is None else self._cash
        if unexplained := valued.cash_micro - opening - moved_micro:
            # -1: no symbol
            self._add_line(seq, "rest", valued.ts, "unexplained", -1, unexplained, text="cash without a line")
        lines = [_dated(line, day) for line in self.waiting]
        self.waiting, self._cash = [], valued.cash_micro
        self.booked.setdefault(day, []).extend(self.trades)
        self.trades = []
        since, self._until = self._until, valued.ts
        if self.days and self.days[-1].day == day:
            last = self.days.pop()
            opening, lines, since = last.opening_micro, last.lines + lines, last.since_ns
        self.days.append(StatementDay(day, opening, valued.cash_micro, valued.equity_micro, since, valued.ts, lines))


def _dated(line: AccountLine, day: date) -> AccountLine:
    return AccountLine(line.id, day, *(getattr(line, name) for name in AccountLine.__struct_fields__[2:]))
