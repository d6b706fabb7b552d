"""The account, its books and its positions in money at every sample, folded from the journal of a run.

The profit of a period is the change of `worth`: equity less what was deposited, withdrawn or moved between books. All
amounts are whole micro-currency, so that the books of a period add up to the account. The fold continues where it
ended: an entry is read once.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Final, Literal, NamedTuple, get_args

import msgspec
import numpy as np
from msgspec import Struct

from quantd.trading.display_text import session_date
from quantd.trading.effects import (
    Booked,
    Crossed,
    Effect,
    Filled,
    Promotion,
    Reallocated,
    Switched,
    Transferred,
    Valued,
)
from quantd.trading.events import (
    Action,
    Bars,
    Carried,
    PortfolioClosed,
    PortfolioOpened,
    SliceRef,
    Started,
    split_of,
)
from quantd.trading.execution import round_micro, truncate
from quantd.trading.instruments import ATTO_PER_MICRO, Universe
from quantd.trading.ledger.books import UNALLOCATED
from quantd.trading.ledger.shares import fee_parts
from quantd.trading.market import Bools, Floats, Ints, JumpExplained, MarketSlice
from quantd.trading.model_events import ModelLoaded
from quantd.trading.orders import money_text

AMOUNTS: Final = ("deposits", "moved", "fees", "crossed")
"""Amounts of a book, cumulative since the start of the run, in the order of the rows of `Sample.amounts`."""

DEPOSITS, MOVED, FEES, CROSSED = range(len(AMOUNTS))

PAID: Final = frozenset({"dividend", "cash_in_lieu", "delisting"})
"""Kinds of bookings that belong to a symbol."""

SWITCHES: Final = ("RUN", "REDUCE", "HALT")

MOST_NOTES: Final = 10_000
"""Notes that are kept, the newest."""

NoteKind = Literal["start", "halt", "resume", "deposit", "promotion", "model", "portfolio"]


FoldedEvent = (
    Action | Bars | Carried | JumpExplained | ModelLoaded | PortfolioClosed | PortfolioOpened | SliceRef | Started
)
"""Events that change an account by themselves, or that its notes name."""

FoldedEffect = Booked | Crossed | Filled | Promotion | Reallocated | Switched | Transferred | Valued


class _Tag(Struct):
    """The name of an event or effect."""

    type: str


class _Parts(Struct, array_like=True):
    """An entry of the journal, not decoded."""

    event: msgspec.Raw
    effects: list[msgspec.Raw]


_parts: Final = msgspec.msgpack.Decoder(_Parts)
_tag: Final = msgspec.msgpack.Decoder(_Tag)
_event: Final = msgspec.msgpack.Decoder(FoldedEvent)
_effect: Final = msgspec.msgpack.Decoder(FoldedEffect)
_EVENTS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(FoldedEvent))
_EFFECTS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(FoldedEffect))


class Note(Struct, frozen=True):
    """An event of the run at one instant, in words: `who` is an agent or empty for the account."""

    ts: int
    kind: NoteKind
    who: str
    text: str


class Sample(NamedTuple):
    """The account at one sample, in micro-currency.

    `books` int64[B] are equities and `amounts` int64[4, B] the rows of AMOUNTS, in the order of
    `AccountHistory.names`. A book that was named later is missing at the end. `worth` int64[N] is the value of each
    position less what was paid for it since the start. `income` is the cash that neither a trade nor a flow moved.
    `benchmark` and `equal` are the worth of 1 at the first sample.
    """

    seq: int
    ts: int
    equity: int
    cash: int
    books: Ints
    amounts: Ints
    worth: Ints
    income: int
    benchmark: float
    equal: float

    @property
    def day(self) -> date:
        """The date of its session."""
        return session_date(self.ts - 1)


class AccountHistory:
    """Folds entries of the journal, the oldest first. `slices` resolves the slices of a recorded market.

    `names_at` gives the agents' names at an entry. `paid` int64[N] is the cash of each position since the start: trades
    and payments, commissions included. `lots` int64[N] are those of the house.
    """

    def __init__(
        self,
        universe: Universe,
        names_at: Callable[[int], Sequence[str]],
        slices: Callable[[int], MarketSlice] | None = None,
    ) -> None:
        size = universe.size
        self._universe, self._names_at, self._slices = universe, names_at, slices
        self.seq = 0
        """The newest entry that was folded."""
        self.names: list[str] = []
        """The books, the unallocated one included, in the order in which the journal named them."""
        self.samples: list[Sample] = []
        self.notes: list[Note] = []
        self.carried = False
        """Whether the run continues the account of another one, so that its first equity was no deposit."""
        self.sure_from = 0
        """The first sample whose positions are surely those of the ledger."""
        self.lots: Ints = np.zeros(size, dtype=np.int64)
        self.marks: Ints = np.zeros(size, dtype=np.int64)
        self.paid: Ints = np.zeros(size, dtype=np.int64)
        self.fees: Ints = np.zeros(size, dtype=np.int64)
        self.payments: Ints = np.zeros(size, dtype=np.int64)
        """Dividends and other payments of each symbol since the start."""
        self.arrived: Ints = np.zeros(size, dtype=np.int64)
        """Value of the lots of each symbol that arrived without a trade."""
        self.income = 0
        self._amounts: list[list[int]] = [[] for _ in AMOUNTS]
        self._agents: tuple[str, ...] = ()
        self._places: list[int] = []
        """Places in `names` of the agents, then of the unallocated book."""
        self._factor: Floats = np.ones(size)
        self._dividend: Floats = np.zeros(size)
        self._before: Floats = np.full(size, np.nan)
        """Marks at the last sample."""
        self._benchmark = self._equal = 1.0

    @property
    def amounts(self) -> Ints:
        """int64[4, B]: the rows of AMOUNTS after the newest entry."""
        return np.array(self._amounts, dtype=np.int64).reshape(len(AMOUNTS), len(self.names))

    def add(self, seq: int, event: object, effects: Iterable[Effect | object]) -> None:
        """Fold one entry."""
        self.seq = seq
        agents = self._names_at(seq)
        if agents is not self._agents:
            self._named(tuple(agents))
        match event:
            case Action():
                self._acted(event)
            case SliceRef() if self._slices is not None:
                market = self._slices(event.index)
                self._marked(market.fresh, market.close_nano)
            case Bars():
                self._marked(np.frombuffer(event.fresh, dtype=np.bool_), np.frombuffer(event.close_nano, dtype="<i8"))
            case Carried():
                self.carried, self.sure_from = True, len(self.samples)
            case _:
                self._noted(event)
        if not isinstance(event, Action) and (split := split_of(event)) is not None:
            self._acted(split)
        for effect in effects:
            match effect:
                case Filled():
                    self._filled(effect)
                case Crossed():
                    self._crossed(effect)
                case Booked():
                    self._booked(effect)
                case Reallocated():
                    for agent, amount in enumerate(effect.moved):
                        self._amounts[MOVED][self._places[agent]] += amount
                case Transferred():
                    value = effect.cash_micro + sum(worth for _, _, worth in effect.lots)
                    self._amounts[MOVED][self._places[effect.source]] -= value
                    self._amounts[MOVED][self._places[effect.target]] += value
                case Switched():
                    self._switched(effect)
                case Promotion() if effect.promoted:
                    who = self._name(effect.challenger)
                    self._note(effect.ts, "promotion", who, f"{who} decides for {self._name(effect.champion)}")
                case Valued():
                    self._sampled(seq, effect)

    def add_encoded(self, seq: int, data: bytes) -> None:
        """Fold one entry as the journal has it. The plans of a large house are not decoded."""
        parts = _parts.decode(data)
        event = _event.decode(parts.event) if _tag.decode(parts.event).type in _EVENTS else None
        self.add(seq, event, [_effect.decode(raw) for raw in parts.effects if _tag.decode(raw).type in _EFFECTS])

    def adopt(self, lots: Sequence[int]) -> None:
        """Take the house's lots of the ledger, where they differ: figures of positions are unknown before them."""
        exact = np.array(lots, dtype=np.int64)
        if not np.array_equal(exact, self.lots):
            self.lots, self.sure_from = exact, len(self.samples)

    def worth(self, marks_nano: Ints, lots: Sequence[int] | Ints) -> Ints:
        """Return the value of positions at these marks less their net payments since the start, int64[N].

        `marks_nano` are in nano-currency, and the result is in micro-currency.
        """
        worth = self.paid.copy()
        for column in np.flatnonzero(np.asarray(lots)).tolist():
            worth[column] += self.value(column, int(lots[column]), int(marks_nano[column]))
        return worth

    def value(self, column: int, lots: int, mark_nano: int) -> int:
        """Return the value of signed lots in micro-currency, at a mark in nano-currency."""
        return round_micro(lots * self._universe.lot_nano[column] * mark_nano)[0]

    def _named(self, agents: tuple[str, ...]) -> None:
        """Take the agents' names from an entry on. A book keeps its place, and a new one gets the next."""
        self._agents = agents
        for name in (*agents, UNALLOCATED):
            if name not in self.names:
                self.names.append(name)
                for row in self._amounts:
                    row.append(0)
        self._places = [self.names.index(name) for name in (*agents, UNALLOCATED)]

    def _name(self, agent: int) -> str:
        return self.names[self._places[agent]] if agent < len(self._places) else str(agent)

    def _note(self, ts: int, kind: NoteKind, who: str, text: str) -> None:
        self.notes.append(Note(ts, kind, who, text))
        del self.notes[:-MOST_NOTES]

    def _noted(self, event: object) -> None:
        """Keep what a person or a start did."""
        match event:
            case Started():
                self._note(event.ts, "start", "", f"quantd {event.version} started, mode {event.mode}")
            case ModelLoaded():
                self._note(event.ts, "model", event.agent, f"{event.path} decides for {event.agent}")
            case PortfolioOpened():
                capital = money_text(event.capital_micro)
                self._note(event.ts, "portfolio", event.name, f"{event.name} was opened with {capital}")
            case PortfolioClosed():
                self._note(event.ts, "portfolio", event.name, f"{event.name} was closed: {event.how}")

    def _switched(self, move: Switched) -> None:
        who = self._name(move.agent) if move.agent >= 0 else ""
        kind: NoteKind = "resume" if move.after < move.before else "halt"
        text = f"{SWITCHES[move.before]} to {SWITCHES[move.after]}: {move.reason or 'no reason given'}"
        self._note(move.ts, kind, who, text)

    def _filled(self, fill: Filled) -> None:
        fees, places = self._amounts[FEES], self._places
        for symbol, lots, price, fee, shares in zip(
            fill.sym, fill.lots, fill.price_nano, fill.fee_micro, fill.shares, strict=True
        ):
            self.lots[symbol] += lots
            self.paid[symbol] -= self.value(symbol, lots, price) + fee
            if not fee:
                continue
            self.fees[symbol] += fee
            for (agent, _), agent_fee in zip(shares, fee_parts(fee, lots, shares), strict=True):
                fees[places[agent]] += agent_fee

    def _crossed(self, cross: Crossed) -> None:
        """Each agent pays the value of its lots, rounded half-even as `value` does, and the last one the rest."""
        crossed, places, paid = self._amounts[CROSSED], self._places, 0
        unit = self._universe.lot_nano[cross.symbol] * cross.price_nano
        for agent, lots in cross.shares[:-1]:  # a large house has ten thousand of them at a sample
            micro, atto = divmod(lots * unit, ATTO_PER_MICRO)
            if atto + atto >= ATTO_PER_MICRO and (atto + atto > ATTO_PER_MICRO or micro & 1):
                micro += 1
            crossed[places[agent]] -= micro
            paid += micro
        crossed[places[cross.shares[-1][0]]] += paid

    def _booked(self, booked: Booked) -> None:
        amount, symbol = booked.amount_micro, booked.symbol
        if booked.kind in ("flow", "in_kind"):
            self._amounts[DEPOSITS][self._places[booked.book]] += amount
        if booked.kind == "in_kind":
            unit, mark = self._universe.lot_nano[symbol], int(self.marks[symbol])
            self.lots[symbol] += round(amount * 10**12 / (unit * mark)) if mark else 0
            self.paid[symbol] -= amount
            self.arrived[symbol] += amount
        elif booked.kind == "flow":
            where = "" if booked.book < 0 else self._name(booked.book)
            word = "deposit" if amount >= 0 else "withdrawal"
            self._note(booked.ts, "deposit", where, f"{word} of {money_text(abs(amount))}")
        elif booked.kind in PAID and symbol >= 0:
            self.paid[symbol] += amount
            self.payments[symbol] += amount
        else:
            self.income += amount

    def _acted(self, action: Action) -> None:
        """A corporate action changes lots and marks. Its cash is a booking."""
        symbol = action.symbol
        if action.kind == "dividend":
            self._dividend[symbol] += action.cash_nano / 1e9 * self._factor[symbol]
        elif action.kind == "delisting":
            self._dividend[symbol] += action.cash_nano / 1e9 * self._factor[symbol]
            self.lots[symbol] = self.marks[symbol] = 0
        else:
            self.lots[symbol] = truncate(int(self.lots[symbol]), action.numerator, action.denominator)
            self.marks[symbol] = int(self.marks[symbol]) * action.denominator // action.numerator
            self._factor[symbol] *= action.numerator / action.denominator

    def _marked(self, fresh: Bools, close_nano: Ints) -> None:
        self.marks = np.where(fresh, close_nano, self.marks)

    def _sampled(self, seq: int, valued: Valued) -> None:
        books = np.zeros(len(self.names), dtype=np.int64)
        agents = len(self._agents)
        books[self._places[: min(agents, len(valued.books) - 1)]] = valued.books[:-1][:agents]
        books[self._places[-1]] = valued.books[-1]
        self._index()
        self.samples.append(
            Sample(
                seq, valued.ts, valued.equity_micro, valued.cash_micro, books, self.amounts,
                self.worth(self.marks, self.lots), self.income, self._benchmark, self._equal,
            )
        )  # fmt: skip

    def _index(self) -> None:
        """Continue the worth of the benchmark and of equal weights, with dividends."""
        now = np.where(self.marks > 0, self.marks / 1e9, np.nan)
        ends = np.where(np.isnan(now) & (self._dividend > 0.0), 0.0, now)
        with np.errstate(invalid="ignore", divide="ignore"):
            grown = (ends * self._factor + self._dividend) / self._before
        finite = np.isfinite(grown)
        if finite.any():
            self._equal *= float(grown[finite].mean())
        universe = self._universe
        if universe.benchmark in universe.symbols and finite[column := universe.symbols.index(universe.benchmark)]:
            self._benchmark *= float(grown[column])
        self._before, self._factor, self._dividend = now, np.ones_like(now), np.zeros_like(now)
