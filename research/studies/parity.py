"""Compares a run's journal with a backtest over the same bars: the differences, their cause and their value.

What can go wrong: the backtest is of another account than the run. So it has the run's configuration, and repeats the
operators' actions: deposits, commands, manual orders, portfolios, new limits. New are the decisions of its policies,
the simulated venue, and that each bar is on time.

Order: an operator's action is stepped before the items of a later instant. At one instant corporate actions precede
bars, and bars precede the tick that decides on them. Protective stops are no decisions, and only their fills count.

Money is computed in fractions. Differences in lots are valued at the backtest's price, differences in price at the
run's lots. So the parts add up to the whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import isfinite
from typing import Final, Literal

import numpy as np
from msgspec import Struct, structs

from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.engine.state import State
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import Item, time_of
from quantd.trading.codec import Entry, decode, encode, slice_of
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Ask, Effect, Ended, Filled, Planned
from quantd.trading.events import (
    Action,
    Bars,
    CancelRequested,
    Decided,
    Event,
    Flow,
    Halted,
    Limited,
    Operator,
    PortfolioClosed,
    PortfolioOpened,
    ProposalReviewed,
    Proposed,
    Reloaded,
    Started,
    Tick,
    Wished,
)
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import JumpExplained, PriceJumped
from quantd.trading.model_events import Exchanged, ModelLoaded
from quantd.trading.orders import (
    Kind,
    OrderBasket,
    OrderState,
    ScheduleRun,
    decision_id,
    money_text,
    price_text,
    quantity_text,
)

Cause = Literal["late bar", "refused", "decision", "not filled", "latency", "price", "fee"]
CAUSES: Final[tuple[Cause, ...]] = ("late bar", "refused", "decision", "not filled", "latency", "price", "fee")

GIVEN: Final = (
    Reloaded, Flow, Operator, Wished, CancelRequested, Halted, JumpExplained, Limited, PortfolioOpened, PortfolioClosed,
    Proposed, ProposalReviewed, ModelLoaded, Exchanged, ScheduleRun,
)  # fmt: skip
"""Events of a run that its backtest receives too: operators' actions and trading halts."""


class Side(Struct, frozen=True):
    """One decision on one symbol, in the run or in the backtest.

    Fields are the decision price, the signed ordered and filled quantities, the average fill price, the fees, and the
    final state. All text is exact except the average.
    """

    decided: str
    ordered: str
    filled: str
    average: str
    fees: str
    ended: str


class Difference(Struct, frozen=True):
    """One decision that differs. `money` is by cause: the run's excess over the backtest at the last marks."""

    decision: str
    ts: int
    time: str
    symbol: str
    run: Side
    backtest: Side
    money: dict[str, str]
    total: str
    causes: list[str]


class Parity(Struct, frozen=True):
    """The comparison's result: `decisions` were compared, `different` have a cause. Money is run minus backtest."""

    run: str
    decisions: int
    different: int
    same: bool
    total: str
    money: dict[str, str]
    worst: list[Difference]


class _Deal(Struct):
    """One decision on one symbol, with all its orders combined."""

    ts: int = 0
    decided_nano: int = 0
    ordered: int = 0
    wanted: int = 0
    filled: int = 0
    paid: int = 0
    """Sum of signed lots x price, in nano."""
    fees_micro: int = 0
    first_fill: int = 0
    rejected: str = ""
    ended: str = ""


class _Seen(Struct):
    """Extract of a journal: deals by (sample, column), the last marks, and (sample, column) pairs with a late bar."""

    deals: dict[tuple[int, int], _Deal]
    marks: dict[int, int]
    late: set[tuple[int, int]]


class Book:
    """A log that stores steps in the journal's form."""

    rows_only: bool = False

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def answer(self, ask: Ask) -> Decided | None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Keep the step as the journal would have it: encoded and decoded, so that both sides have the same types."""
        self.entries.append(decode(encode(event, effects, True)))


def backtest_of(parts: Parts, entries: Sequence[Entry]) -> list[Entry]:
    """Return the steps of a backtest over the bars of a run."""
    book = Book()

    def ask(question: Ask) -> Decided:
        return answer(seats(question.policy), question)

    shadows = [parts.paper() for _ in parts.rules.shadows]
    shell = Shell(State(parts.rules), parts.paper(), ask, interval_ns=parts.interval_ns, log=book, shadows=shadows)
    seats = parts.seats(lambda: shell.state.loaded)
    people = [(_ts(e.event), e.event) for e in entries if isinstance(e.event, GIVEN)]
    for item in items_of(parts, entries):
        while people and people[0][0] < time_of(item):
            shell.run(people.pop(0)[1])
        shell.take(item)
    return book.entries


def items_of(parts: Parts, entries: Sequence[Entry]) -> Iterator[Item]:
    """Return the market of a run with each bar on time. Bars come from the recorded file up to the run's last tick, or
    from the journal."""
    if isinstance(parts, Assembly):
        last = max((_ts(e.event) for e in entries if isinstance(e.event, Tick)), default=0)
        yield from (item for item in parts.items() if time_of(item) <= last)
        return
    yield from market_of(entries)


def market_of(entries: Iterable[Entry]) -> list[Item]:
    """Return the journal's bars, actions, jumps of prices and ticks.

    Bars of one close are merged and stamped as known at that close.
    """
    together: dict[int, Bars] = {}
    timed_items: list[tuple[int, int, Item]] = []
    for entry in entries:
        event = entry.event
        if isinstance(event, Bars):
            before = together.get(event.ts_event)
            together[event.ts_event] = event if before is None else _merged(before, event)
        elif isinstance(event, Action | PriceJumped):
            timed_items.append((event.ts, 0, event))
        elif isinstance(event, Tick):
            timed_items.append((event.ts, 2, event))
    rows: list[tuple[int, int, Item]] = [
        (ts, 1, slice_of(structs.replace(bars, ts_seen=ts))) for ts, bars in together.items()
    ]
    return [item for _, _, item in sorted(rows + timed_items, key=lambda row: row[:2])]


def _merged(one: Bars, other: Bars) -> Bars:
    """Merge two slices of one close; the later one wins for a symbol in both."""
    size = len(one.fresh)
    new = np.frombuffer(other.fresh, dtype=np.bool_)

    def joined(a: bytes, b: bytes, kind: str) -> bytes:
        return np.where(
            new, np.frombuffer(b, kind).reshape(-1, size), np.frombuffer(a, kind).reshape(-1, size)
        ).tobytes()

    return Bars(
        ts_open=min(one.ts_open, other.ts_open),
        ts_event=one.ts_event,
        ts_seen=one.ts_event,
        key=one.key,
        fresh=(np.frombuffer(one.fresh, dtype=np.bool_) | new).tobytes(),
        open_nano=joined(one.open_nano, other.open_nano, "<i8"),
        close_nano=joined(one.close_nano, other.close_nano, "<i8"),
        columns=joined(one.columns, other.columns, "<f8"),
    )


def _ts(event: object) -> int:
    return int(getattr(event, "ts", 0))


def _seen(entries: Iterable[Entry]) -> _Seen:
    facts = _Seen({}, {}, set())
    ticked = 0
    baskets: dict[tuple[int, int], OrderBasket] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, Tick) and not event.warmup:
            ticked = max(ticked, event.ts)
        elif isinstance(event, Bars):
            close = np.frombuffer(event.close_nano, dtype="<i8")
            for column in np.flatnonzero(np.frombuffer(event.fresh, dtype=np.bool_)).tolist():
                facts.marks[column] = int(close[column])
                if event.ts_event <= ticked:
                    facts.late.add((ticked, column))
        # a protective stop is not a decision: only its fills count
        resting = {(e.sample, e.n) for e in entry.effects if isinstance(e, OrderBasket) and Kind.STOP in e.kind}
        for effect in entry.effects:
            if isinstance(effect, Planned | OrderBasket) and (effect.sample, effect.n) in resting:
                if isinstance(effect, OrderBasket):
                    baskets[effect.sample, effect.n] = effect
            elif isinstance(effect, Planned):
                _planned(facts, effect)
            elif isinstance(effect, OrderBasket):
                baskets[effect.sample, effect.n] = effect
                for column, lots in zip(effect.sym, effect.lots, strict=True):
                    facts.deals.setdefault((effect.sample, column), _Deal(effect.ts)).ordered += lots
            elif isinstance(effect, Filled):
                _filled(facts, effect)
            elif isinstance(effect, Ended):
                for column, state in zip(effect.sym, effect.state, strict=True):
                    deal = facts.deals.setdefault((effect.sample, column), _Deal(effect.ts))
                    deal.ended = OrderState(state).name.lower()
                    if state == OrderState.REJECTED:
                        deal.rejected = effect.reason or "no reason given"
    return facts


def _planned(facts: _Seen, plan: Planned) -> None:
    """Record the price and quantity of a decision's first plan; child orders and follow-ups only add ordered lots."""
    net, prices = np.frombuffer(plan.net, dtype="<i8"), np.frombuffer(plan.prices, dtype="<f8")
    for column in np.flatnonzero(net).tolist():
        deal = facts.deals.setdefault((plan.sample, column), _Deal(plan.ts))
        if not deal.decided_nano:
            deal.decided_nano, deal.wanted = round(float(prices[column]) * NANO), int(net[column])
    facts.marks |= {k: round(price * NANO) for k, price in enumerate(prices.tolist()) if isfinite(price)}


def _filled(facts: _Seen, fill: Filled) -> None:
    for column, lots, price, fee in zip(fill.sym, fill.lots, fill.price_nano, fill.fee_micro, strict=True):
        deal = facts.deals.setdefault((fill.sample, column), _Deal(fill.ts))
        deal.first_fill = deal.first_fill or fill.ts
        deal.filled += lots
        deal.paid += lots * price
        deal.fees_micro += fee


def parity(
    run: str,
    universe: Universe,
    entries: Iterable[Entry],
    other: Iterable[Entry],
    interval_ns: int,
    *,
    since: int = 0,
    until: int = 2**63 - 1,
    worst: int = 20,
) -> Parity:
    """Compare a run's steps with a backtest's, for decisions on samples in (since, until]. The `worst` largest
    differences by money are listed."""
    ours, theirs = _seen(entries), _seen(other)
    marks = ours.marks | theirs.marks
    keys = sorted(key for key in ours.deals.keys() | theirs.deals.keys() if since < key[0] <= until)
    rows: list[tuple[int, Difference]] = []
    money: dict[str, int] = dict.fromkeys(CAUSES, 0)
    for key in keys:
        one, two = ours.deals.get(key, _Deal()), theirs.deals.get(key, _Deal())
        parts = _causes(one, two, universe.lot_nano[key[1]], marks.get(key[1], 0), key in ours.late, interval_ns)
        if parts:
            for cause, micro in parts.items():
                money[cause] += micro
            rows.append((sum(parts.values()), _difference(universe, key, one, two, parts)))
    rows.sort(key=lambda row: (-abs(row[0]), row[1].ts, row[1].symbol))
    total = sum(micro for micro, _ in rows)
    return Parity(
        run=run,
        decisions=len(keys),
        different=len(rows),
        same=not rows,
        total=money_text(total),
        money={cause: money_text(micro) for cause, micro in money.items()},
        worst=[row for _, row in rows[:worst]],
    )


def _causes(one: _Deal, two: _Deal, lot_nano: int, mark_nano: int, late: bool, interval_ns: int) -> dict[Cause, int]:
    """Return the run's excess over the backtest in micro-currency, by cause; empty without a difference.

    With Q lots filled for an amount P, the value of a side is Q x mark - P - fees. Differences in lots are valued at
    the backtest's price, differences in price at the run's lots, so that the parts add up.
    """
    unit = Fraction(lot_nano, NANO * 1_000)  # nano-currency x lots -> micro-currency
    causes: dict[Cause, int] = {}
    price = (
        Fraction(two.paid, two.filled) if two.filled else Fraction(one.paid, one.filled) if one.filled else Fraction(0)
    )
    total = round(((one.filled - two.filled) * mark_nano - (one.paid - two.paid)) * unit)
    by_lots = round((one.filled - two.filled) * (mark_nano - price) * unit)
    if one.filled != two.filled or one.ordered != two.ordered:
        causes[_of_lots(one, two, late)] = by_lots
    if (one.filled and two.filled and one.paid * two.filled != two.paid * one.filled) or total != by_lots:
        later = bool(two.first_fill) and one.first_fill >= two.first_fill + interval_ns
        causes["latency" if later else "price"] = total - by_lots
    if one.fees_micro != two.fees_micro:
        causes["fee"] = two.fees_micro - one.fees_micro
    if not causes and one.decided_nano != two.decided_nano and late:
        causes["late bar"] = 0
    return causes


def _of_lots(one: _Deal, two: _Deal, late: bool) -> Cause:
    """Return the first applicable cause for a difference in filled lots."""
    if one.rejected or (one.wanted == two.wanted and abs(one.ordered) < abs(two.ordered)):
        return "refused"
    if one.ordered != two.ordered:
        return "late bar" if late else "decision"
    return "not filled"


def _difference(
    universe: Universe, key: tuple[int, int], one: _Deal, two: _Deal, parts: dict[Cause, int]
) -> Difference:
    symbol, lot = universe.symbols[key[1]], universe.lot_nano[key[1]]
    ts = one.ts or two.ts
    return Difference(
        decision=decision_id(key[0], "house", symbol),
        ts=ts,
        time=instant_text(ts),
        symbol=symbol,
        run=_side(one, lot),
        backtest=_side(two, lot),
        money={cause: money_text(micro) for cause, micro in parts.items()},
        total=money_text(sum(parts.values())),
        causes=list(parts),
    )


def _side(deal: _Deal, lot: int) -> Side:
    average = price_text(round(Fraction(deal.paid, deal.filled))) if deal.filled else ""
    return Side(
        decided=price_text(deal.decided_nano) if deal.decided_nano else "",
        ordered=quantity_text(deal.ordered, lot),
        filled=quantity_text(deal.filled, lot),
        average=average,
        fees=money_text(deal.fees_micro),
        ended=f"rejected: {deal.rejected}" if deal.rejected else deal.ended,
    )


def lines(comparison: Parity) -> list[str]:
    """Format the comparison as sentences."""
    if comparison.same:
        return [f"run {comparison.run}: {comparison.decisions} decisions, all as in a backtest over the same bars"]
    out = [
        f"run {comparison.run}: {comparison.different} of {comparison.decisions} decisions differ from a backtest over "
        f"the same bars; the run has {comparison.total} more"
    ]
    out += [f"  {cause:12} {money:>16}" for cause, money in comparison.money.items() if money != "0.00"]
    for row in comparison.worst:
        causes = ", ".join(f"{cause} {money}" for cause, money in row.money.items())
        out.append(
            f"  {row.time}  {row.symbol}: filled {row.run.filled} of {row.run.ordered} at {row.run.average or '-'} "
            f"{row.run.ended}".rstrip()
            + f"; backtest {row.backtest.filled} of {row.backtest.ordered} at {row.backtest.average or '-'}: {causes}"
        )
    return out


def configuration_of(entries: Iterable[Entry]) -> str:
    """Return the configuration digest of a run's start; empty when its journal does not begin with a start."""
    first = next(iter(entries), None)
    return first.event.config if first is not None and isinstance(first.event, Started) else ""
