"""The account, its books and its positions in money at every sample, computed from the journal of a run.

The profit of a period is the change of equity, less deposits, withdrawals and capital moved between books. All amounts
are whole micro-currency, so that the books of a period add up to the account. Each entry of the journal is read once:
a later call continues with the new entries.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Final, Literal, NamedTuple, get_args

import msgspec
import numpy as np
from msgspec import Struct

from quantd.daemon.views.movements import Movement, Movements
from quantd.trading.display_text import session_date
from quantd.trading.effects import (
    Booked,
    Crossed,
    Effect,
    Filled,
    Promotion,
    Reallocated,
    Refused,
    Switched,
    Transferred,
    Valued,
)
from quantd.trading.events import (
    Action,
    Bars,
    Busted,
    Carried,
    PortfolioClosed,
    PortfolioOpened,
    SliceRef,
    Started,
    split_of,
)
from quantd.trading.instruments import Universe
from quantd.trading.ledger.books import UNALLOCATED
from quantd.trading.market import Floats, Ints, JumpExplained, MarketSlice, PriceJumped
from quantd.trading.model_events import ModelLoaded
from quantd.trading.orders import money_text

AMOUNTS: Final = ("deposits", "moved", "fees", "crossed")
"""Amounts of a book, cumulative since the start of the run, in the order of the rows of `Sample.amounts`."""

DEPOSITS, MOVED, FEES, CROSSED = range(len(AMOUNTS))

SWITCHES: Final = ("RUN", "REDUCE", "HALT")
"""The names of the positions of a switch, by its number."""

MOST_NOTES: Final = 10_000
"""Maximum number of notes; older notes are dropped."""

NoteKind = Literal["start", "halt", "resume", "deposit", "promotion", "model", "portfolio"]


FoldedEvent = (
    Action
    | Bars
    | Busted
    | Carried
    | JumpExplained
    | ModelLoaded
    | PortfolioClosed
    | PortfolioOpened
    | PriceJumped
    | SliceRef
    | Started
)
"""Events that change an account by themselves, or that its notes name."""

FoldedEffect = Booked | Crossed | Filled | Promotion | Reallocated | Refused | Switched | Transferred | Valued


class _Tag(Struct):
    """The type of an encoded event or effect, decoded without its content."""

    type: str


class _Parts(Struct, array_like=True):
    """An entry of the journal whose event and effects are still encoded."""

    event: msgspec.Raw
    effects: list[msgspec.Raw]


_parts: Final = msgspec.msgpack.Decoder(_Parts)
_tag: Final = msgspec.msgpack.Decoder(_Tag)
_event: Final = msgspec.msgpack.Decoder(FoldedEvent)
_effect: Final = msgspec.msgpack.Decoder(FoldedEffect)
_EVENTS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(FoldedEvent))
_EFFECTS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(FoldedEffect))


def decode_folded(data: bytes) -> tuple[FoldedEvent | None, list[FoldedEffect]]:
    """Return the event and the effects of an encoded journal entry that change an account or that its notes name.

    The others are not decoded: plans can be large. The event is None for any other one.
    """
    parts = _parts.decode(data)
    event = _event.decode(parts.event) if _tag.decode(parts.event).type in _EVENTS else None
    return event, [_effect.decode(raw) for raw in parts.effects if _tag.decode(raw).type in _EFFECTS]


class Note(Struct, frozen=True):
    """An event of the run at `ts` (ns UTC), as text. `who` is the name of an agent, empty for the account."""

    ts: int
    kind: NoteKind
    who: str
    text: str


class Sample(NamedTuple):
    """The account at one sample, in micro-currency.

    `books` int64[B] are the equities of B books, and `amounts` int64[4, B] their cumulative deposits, moved capital,
    fees and cash from crosses (trades between books), both in the order of `AccountHistory.names`. A book that appears
    after this sample has no column. `worth` int64[N] is, for each of N symbols, the value of its position less the net
    cash paid for it since the start. `income` is the cash that came neither from a trade nor from a deposit.
    `benchmark` and `equal` are the present values of 1 invested at the first sample in the benchmark and in all
    instruments at equal weights.
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
        """The date of the sample's session."""
        return session_date(self.ts - 1)


class AccountHistory:
    """Takes entries of the journal, the oldest first. `slices` returns the bars of one instant of a recorded market.

    `names_at` returns the agents' names at an entry. `net_cash` int64[N] is the cash that each symbol has brought since
    the start: sales less purchases, and payments, less commissions. `movements` has the lots and marks.
    """

    def __init__(
        self,
        universe: Universe,
        names_at: Callable[[int], Sequence[str]],
        slices: Callable[[int], MarketSlice] | None = None,
    ) -> None:
        """`names_at` returns the agents' names at an entry, `slices` the bars of one instant by their index."""
        size = universe.size
        self._universe, self._names_at = universe, names_at
        self.movements = Movements(universe, slices)
        self.seq = 0
        """The newest entry that was folded."""
        self.names: list[str] = []
        """The books, the unallocated book included, in the order in which the journal first named them."""
        self.samples: list[Sample] = []
        self.notes: list[Note] = []
        self.carried = False
        """Whether the run continues the account of an earlier run, so that its first equity was no deposit."""
        self.sure_from = 0
        """Index of the first sample whose positions are known to equal those of the ledger."""
        self.net_cash: Ints = np.zeros(size, dtype=np.int64)
        self.income = 0
        """Cash (micro) that came neither from a trade nor from a deposit."""
        self._amounts: list[list[int]] = [[] for _ in AMOUNTS]
        """By row of AMOUNTS, then by book: the cumulative amount in micro-currency."""
        self._agents: tuple[str, ...] = ()
        self._book_columns: list[int] = []
        """Indices in `names` of the agents, then of the unallocated book."""
        self._factor: Floats = np.ones(size)
        """By symbol: the product of the split ratios since the last sample."""
        self._dividend: Floats = np.zeros(size)
        """By symbol: the dividends since the last sample, per share at that sample."""
        self._last_marks: Floats = np.full(size, np.nan)
        """Marks at the last sample, NaN for none."""
        self._benchmark = self._equal = 1.0
        """Present values of 1 invested at the first sample: in the benchmark, and in all instruments alike."""

    @property
    def amounts(self) -> Ints:
        """int64[4, B]: the amounts named in AMOUNTS (deposits, ...), by book, after the newest journal entry."""
        return np.array(self._amounts, dtype=np.int64).reshape(len(AMOUNTS), len(self.names))

    def add(self, seq: int, event: object, effects: Iterable[Effect | object]) -> None:
        """Take one entry of the journal; only effects of a type in FoldedEffect count."""
        self.seq = seq
        agents = self._names_at(seq)
        if agents is not self._agents:
            self._set_agents(tuple(agents))
        if isinstance(event, Carried):
            self.carried, self.sure_from = True, len(self.samples)
        self._note_event(event)
        if (action := event if isinstance(event, Action) else split_of(event)) is not None:
            self._apply_action(action)
        for effect, movements in self.movements.add(event, effects):
            for movement in movements:
                self._sum(movement)
            match effect:
                case Booked(kind="flow"):
                    self._note_deposit(effect)
                case Switched():
                    self._note_switch(effect)
                case Promotion() if effect.promoted:
                    who = self._name(effect.challenger)
                    self._note(effect.ts, "promotion", who, f"{who} decides for {self._name(effect.champion)}")
                case Valued():
                    self._add_sample(seq, effect)

    def add_encoded(self, seq: int, data: bytes) -> None:
        """Take one encoded journal entry."""
        self.add(seq, *decode_folded(data))

    def adopt(self, lots: Sequence[int]) -> None:
        """Take the lots of the account from the ledger.

        If they differ from the lots counted from the journal, profits by symbol are unknown before this sample.
        """
        difference = np.array(lots, dtype=np.int64) - self.movements.lots
        if difference.any():
            self.movements.lots_of[-1] += difference
            self.sure_from = len(self.samples)

    def worth(self, marks_nano: Ints, lots: Sequence[int] | Ints) -> Ints:
        """Return the value of positions at these marks plus the net cash that they brought since the start, int64[N].

        `marks_nano` are in nano-currency, and the result is in micro-currency.
        """
        worth = self.net_cash.copy()
        for column in np.flatnonzero(np.asarray(lots)).tolist():
            worth[column] += self.movements.value(column, int(lots[column]), int(marks_nano[column]))
        return worth

    def _set_agents(self, agents: tuple[str, ...]) -> None:
        """Use these names of agents from now on. A known book keeps its column, and a new book gets the next one."""
        self._agents = agents
        for name in (*agents, UNALLOCATED):
            if name not in self.names:
                self.names.append(name)
                for row in self._amounts:
                    row.append(0)
        self._book_columns = [self.names.index(name) for name in (*agents, UNALLOCATED)]

    def _name(self, agent: int) -> str:
        return self.names[self._book_columns[agent]] if agent < len(self._book_columns) else str(agent)

    def _note(self, ts: int, kind: NoteKind, who: str, text: str) -> None:
        self.notes.append(Note(ts, kind, who, text))
        del self.notes[:-MOST_NOTES]

    def _note_event(self, event: object) -> None:
        """Add a note about a start, a loaded model, or a portfolio that was opened or closed."""
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

    def _note_switch(self, move: Switched) -> None:
        who = self._name(move.agent) if move.agent >= 0 else ""
        kind: NoteKind = "resume" if move.after < move.before else "halt"
        text = f"{SWITCHES[move.before]} to {SWITCHES[move.after]}: {move.reason or 'no reason given'}"
        self._note(move.ts, kind, who, text)

    def _sum(self, movement: Movement) -> None:
        """Add a movement to the amounts of its book, and to the net cash of its symbol or to the income.

        Crosses and transfers add up to 0 in the net cash of a symbol. Lots in kind count as bought at their mark, so
        that they bring no profit.
        """
        kind, _, book, symbol, amount, _, _, flow, fee, _ = movement
        column = self._book_columns[book]
        if fee:
            self._amounts[FEES][column] += fee
        if flow:
            self._amounts[DEPOSITS if kind in ("flow", "in_kind") else MOVED][column] += flow
        if kind == "cross":
            self._amounts[CROSSED][column] += amount
        if symbol >= 0 and kind not in ("fee", "interest"):
            self.net_cash[symbol] += amount - fee
        else:
            self.income += amount

    def _note_deposit(self, booked: Booked) -> None:
        agent_name = "" if booked.book < 0 else self._name(booked.book)
        movement = "deposit" if booked.amount_micro >= 0 else "withdrawal"
        self._note(booked.ts, "deposit", agent_name, f"{movement} of {money_text(abs(booked.amount_micro))}")

    def _apply_action(self, action: Action) -> None:
        """Note what an action means for one share held at the last sample.

        An action states its cash per present share, that is, after the splits since the last sample. `_factor` is the
        number of present shares for one share at that sample: it converts the cash to an amount per earlier share.
        """
        if action.kind == "split":
            self._factor[action.symbol] *= action.numerator / action.denominator
        else:
            self._dividend[action.symbol] += action.cash_nano / 1e9 * self._factor[action.symbol]

    def _add_sample(self, seq: int, valued: Valued) -> None:
        """Add the sample of a valuation. The last of its books is the unallocated book (what no agent has).

        The valuation has no book for an agent that was added later: that book has 0.
        """
        books = np.zeros(len(self.names), dtype=np.int64)
        agents = len(self._agents)
        books[self._book_columns[: min(agents, len(valued.books) - 1)]] = valued.books[:-1][:agents]
        books[self._book_columns[-1]] = valued.books[-1]
        self._extend_indices()
        self.samples.append(
            Sample(
                seq, valued.ts, valued.equity_micro, valued.cash_micro, books, self.amounts,
                self.worth(self.movements.marks_nano, self.movements.lots), self.income, self._benchmark, self._equal,
            )
        )  # fmt: skip

    def _extend_indices(self) -> None:
        """Multiply the values of benchmark and equal weights by their total returns since the last sample."""
        marks = np.where(self.movements.marks_nano > 0, self.movements.marks_nano / 1e9, np.nan)
        # a delisted symbol has no mark: its payment is all that remains of it
        end_values = np.where(np.isnan(marks) & (self._dividend > 0.0), 0.0, marks)
        with np.errstate(invalid="ignore", divide="ignore"):
            growth = (end_values * self._factor + self._dividend) / self._last_marks
        finite = np.isfinite(growth)
        if finite.any():
            self._equal *= float(growth[finite].mean())
        universe = self._universe
        if universe.benchmark in universe.symbols and finite[column := universe.symbols.index(universe.benchmark)]:
            self._benchmark *= float(growth[column])
        self._last_marks, self._factor, self._dividend = marks, np.ones_like(marks), np.zeros_like(marks)
