"""Compares a run's journal with a backtest over the same bars: the differences, their cause and their value.

What can go wrong: the backtest trades another account than the run did. So the backtest has the run's configuration,
and repeats the operators' actions: deposits, commands, manual orders, portfolios, new limits. Only three things differ:
the policies decide again, the venue is simulated, and each bar is on time.

Order of events: an operator's action is processed before the market's items of a later instant. At one instant
corporate actions precede bars, and bars precede the tick that decides on them. A protective stop is not a decision, so
that only its fills count.

Money is computed in fractions. Differences in lots are valued at the backtest's price, differences in price at the
run's lots. So the differences by cause add up to the total.
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
from quantd.daemon.runtime.step_log import Unanswered
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

REPEATED: Final = (
    Reloaded, Flow, Operator, CancelRequested, Halted, JumpExplained, Limited, PortfolioOpened,
    PortfolioClosed, Proposed, ProposalReviewed, ModelLoaded, Exchanged, ScheduleRun,
)  # fmt: skip
"""Events of a run that its backtest receives too: operators' actions and trading halts."""


class Side(Struct, frozen=True):
    """One decision on one symbol, in the run or in the backtest.

    The fields are the decision price, the signed ordered and filled quantities, the average fill price, the fees, and
    the final state. Numbers in texts are exact, except the average.
    """

    decided: str
    ordered: str
    filled: str
    average: str
    fees: str
    ended: str


class Difference(Struct, frozen=True):
    """One decision that differs, made at `ts` in ns UTC. `money` maps a cause to the run's excess over the backtest in
    account currency, at the last marks (prices); `total` is its sum.
    """

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
    """The result of comparing a run with its backtest: `decisions` is the number of decisions compared, `different` the
    number that differ.

    `money` (by cause) and `total` are the run less the backtest in account currency. `worst` has the largest
    differences.
    """

    run: str
    decisions: int
    different: int
    same: bool
    total: str
    money: dict[str, str]
    worst: list[Difference]


class _Deal(Struct):
    """One decision on one symbol, with all its orders combined. Quantities are signed lots: `wanted` by the decision,
    `ordered` and `filled`. `ts` and `first_fill` are in ns UTC."""

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


class _JournalFacts(Struct):
    """Facts of a journal: its deals by (sample, symbol index), prices, and late bars.

    A deal is all orders of one decision on one symbol. The prices are the last one of each symbol, in nano-currency.
    The late bars are the (sample, symbol index) pairs whose bar came after the decision.
    """

    deals: dict[tuple[int, int], _Deal]
    marks: dict[int, int]
    late: set[tuple[int, int]]


class Book(Unanswered):
    """A log that stores steps in the journal's form."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Store the step encoded and decoded, as a journal does, so that run and backtest have the same types."""
        self.entries.append(decode(encode(event, effects, True)))


def backtest_of(parts: Parts, entries: Sequence[Entry]) -> list[Entry]:
    """Return the steps of a backtest over the bars of a run, with the operators' actions that its `entries` have."""
    book = Book()

    def ask(question: Ask) -> Decided:
        return answer(policy_at(question.policy), question)

    shadows = [parts.paper() for _ in parts.rules.shadows]
    shell = Shell(State(parts.rules), parts.paper(), ask, interval_ns=parts.interval_ns, log=book, shadows=shadows)
    policy_at = parts.seats(lambda: shell.state.loaded)
    # acts of operators and trading halts are repeated, each before the first item that is not before it
    repeated = [(_ts(entry.event), entry.event) for entry in entries if isinstance(entry.event, REPEATED)]
    for item in items_of(parts, entries):
        while repeated and repeated[0][0] < time_of(item):
            shell.run(repeated.pop(0)[1])
        shell.take(item)
    return book.entries


def items_of(parts: Parts, entries: Sequence[Entry]) -> Iterator[Item]:
    """Return the bars, actions and ticks of a run, with each bar on time.

    The items come from the recorded file where `parts` is an `Assembly`, up to the run's last tick, else from the
    journal.
    """
    if isinstance(parts, Assembly):
        last = max((_ts(entry.event) for entry in entries if isinstance(entry.event, Tick)), default=0)
        yield from (item for item in parts.items() if time_of(item) <= last)
        return
    yield from market_of(entries)


def market_of(entries: Iterable[Entry]) -> list[Item]:
    """Return the journal's bars, actions, price jumps and ticks in order of time.

    Bars with the same close are merged, and are dated as known at that close.
    """
    bars_by_close: dict[int, Bars] = {}
    timed_items: list[tuple[int, int, Item]] = []
    for entry in entries:
        event = entry.event
        if isinstance(event, Bars):
            earlier_bars = bars_by_close.get(event.ts_event)
            bars_by_close[event.ts_event] = event if earlier_bars is None else _merged(earlier_bars, event)
        elif isinstance(event, Action | PriceJumped):
            timed_items.append((event.ts, 0, event))
        elif isinstance(event, Tick):
            timed_items.append((event.ts, 2, event))
    # (time, priority at one time, item): actions and price jumps, then bars, then ticks
    rows: list[tuple[int, int, Item]] = [
        (ts, 1, slice_of(structs.replace(bars, ts_seen=ts))) for ts, bars in bars_by_close.items()
    ]
    return [item for _, _, item in sorted(rows + timed_items, key=lambda row: row[:2])]


def _merged(earlier: Bars, later: Bars) -> Bars:
    """Merge two slices of bars with one close; for a symbol in both, the bar of `later` is used."""
    size = len(earlier.fresh)
    in_later = np.frombuffer(later.fresh, dtype=np.bool_)

    # each field is stored as the bytes of an array with a column for each symbol
    def merged_column(earlier_bytes: bytes, later_bytes: bytes, kind: str) -> bytes:
        return np.where(
            in_later,
            np.frombuffer(later_bytes, kind).reshape(-1, size),
            np.frombuffer(earlier_bytes, kind).reshape(-1, size),
        ).tobytes()

    return Bars(
        ts_open=min(earlier.ts_open, later.ts_open),
        ts_event=earlier.ts_event,
        ts_seen=earlier.ts_event,
        key=earlier.key,
        fresh=(np.frombuffer(earlier.fresh, dtype=np.bool_) | in_later).tobytes(),
        open_nano=merged_column(earlier.open_nano, later.open_nano, "<i8"),
        close_nano=merged_column(earlier.close_nano, later.close_nano, "<i8"),
        columns=merged_column(earlier.columns, later.columns, "<f8"),
    )


def _ts(event: object) -> int:
    return int(getattr(event, "ts", 0))


def _facts(entries: Iterable[Entry]) -> _JournalFacts:
    """Return the deals, marks and late bars of a journal."""
    facts = _JournalFacts({}, {}, set())
    last_tick = 0  # time of the last tick that decided; a bar that closed before it and comes after it is late
    baskets: dict[tuple[int, int], OrderBasket] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, Tick) and not event.warmup:
            last_tick = max(last_tick, event.ts)
        elif isinstance(event, Bars):
            close = np.frombuffer(event.close_nano, dtype="<i8")
            for column in np.flatnonzero(np.frombuffer(event.fresh, dtype=np.bool_)).tolist():
                facts.marks[column] = int(close[column])
                if event.ts_event <= last_tick:
                    facts.late.add((last_tick, column))
        # orders of a protective stop are no decision: they add neither wanted nor ordered lots, only fills
        stops = {
            (basket.sample, basket.n)
            for basket in entry.effects
            if isinstance(basket, OrderBasket) and Kind.STOP in basket.kind
        }
        for effect in entry.effects:
            if isinstance(effect, Planned | OrderBasket) and (effect.sample, effect.n) in stops:
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


def _planned(facts: _JournalFacts, plan: Planned) -> None:
    """Record the price and quantity of a decision's first plan (lots to trade).

    Later plans of the same decision, for child orders and follow-ups, do not change this price and quantity.
    """
    net, prices = np.frombuffer(plan.net, dtype="<i8"), np.frombuffer(plan.prices, dtype="<f8")
    for column in np.flatnonzero(net).tolist():
        deal = facts.deals.setdefault((plan.sample, column), _Deal(plan.ts))
        if not deal.decided_nano:
            deal.decided_nano, deal.wanted = round(float(prices[column]) * NANO), int(net[column])
    facts.marks |= {k: round(price * NANO) for k, price in enumerate(prices.tolist()) if isfinite(price)}


def _filled(facts: _JournalFacts, fill: Filled) -> None:
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
    """Compare the steps of a run with those of a backtest (`other`), for decisions on samples in (since, until].

    `since` and `until` are in ns UTC; by default all samples are compared. At most `worst` differences are
    listed, the largest amounts of money first.
    """
    run_facts, backtest_facts = _facts(entries), _facts(other)
    marks = run_facts.marks | backtest_facts.marks
    keys = sorted(key for key in run_facts.deals.keys() | backtest_facts.deals.keys() if since < key[0] <= until)
    rows: list[tuple[int, Difference]] = []
    money: dict[str, int] = dict.fromkeys(CAUSES, 0)
    for key in keys:
        run_deal, backtest_deal = run_facts.deals.get(key, _Deal()), backtest_facts.deals.get(key, _Deal())
        by_cause = _causes(
            run_deal, backtest_deal, universe.lot_nano[key[1]], marks.get(key[1], 0), key in run_facts.late, interval_ns
        )
        if by_cause:
            for cause, micro in by_cause.items():
                money[cause] += micro
            rows.append((sum(by_cause.values()), _difference(universe, key, run_deal, backtest_deal, by_cause)))
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


def _causes(
    run_deal: _Deal, backtest_deal: _Deal, lot_nano: int, mark_nano: int, late: bool, interval_ns: int
) -> dict[Cause, int]:
    """Return the run's excess over the backtest in micro-currency, by cause; empty without a difference.

    A deal (all orders of one decision on one symbol) with Q lots filled for an amount P is worth Q x mark - P - fees,
    where mark is the last price. Differences in lots are valued at the backtest's price, differences in price at the
    run's lots, so that the causes add up to the difference in worth.
    """
    unit = Fraction(lot_nano, NANO * 1_000)  # nano-currency x lots -> micro-currency
    causes: dict[Cause, int] = {}
    # the average price of the backtest, else of the run; 0 where neither has a fill
    backtest_price = (
        Fraction(backtest_deal.paid, backtest_deal.filled)
        if backtest_deal.filled
        else Fraction(run_deal.paid, run_deal.filled)
        if run_deal.filled
        else Fraction(0)
    )
    total = round(((run_deal.filled - backtest_deal.filled) * mark_nano - (run_deal.paid - backtest_deal.paid)) * unit)
    by_lots = round((run_deal.filled - backtest_deal.filled) * (mark_nano - backtest_price) * unit)
    if run_deal.filled != backtest_deal.filled or run_deal.ordered != backtest_deal.ordered:
        causes[_cause_of_lots(run_deal, backtest_deal, late)] = by_lots
    # other prices of the fills; `total` also differs where lots that cancel to 0 left a gain or a loss
    if (
        run_deal.filled
        and backtest_deal.filled
        and run_deal.paid * backtest_deal.filled != backtest_deal.paid * run_deal.filled
    ) or total != by_lots:
        fills_later = bool(backtest_deal.first_fill) and run_deal.first_fill >= backtest_deal.first_fill + interval_ns
        causes["latency" if fills_later else "price"] = total - by_lots
    if run_deal.fees_micro != backtest_deal.fees_micro:
        causes["fee"] = backtest_deal.fees_micro - run_deal.fees_micro
    # a late bar may change the decision price without a change of the orders: reported, without money
    if not causes and run_deal.decided_nano != backtest_deal.decided_nano and late:
        causes["late bar"] = 0
    return causes


def _cause_of_lots(run_deal: _Deal, backtest_deal: _Deal, late: bool) -> Cause:
    """Return the cause of a difference in ordered or filled lots: the first cause that applies."""
    if run_deal.rejected or (
        run_deal.wanted == backtest_deal.wanted and abs(run_deal.ordered) < abs(backtest_deal.ordered)
    ):
        return "refused"
    if run_deal.ordered != backtest_deal.ordered:
        return "late bar" if late else "decision"
    return "not filled"


def _difference(
    universe: Universe, key: tuple[int, int], run_deal: _Deal, backtest_deal: _Deal, by_cause: dict[Cause, int]
) -> Difference:
    """Return a decision that differs, as text.

    `key` is (sample, symbol index), `by_cause` the difference in micro-currency by cause.
    """
    symbol, lot = universe.symbols[key[1]], universe.lot_nano[key[1]]
    ts = run_deal.ts or backtest_deal.ts
    return Difference(
        decision=decision_id(key[0], "house", symbol),
        ts=ts,
        time=instant_text(ts),
        symbol=symbol,
        run=_side(run_deal, lot),
        backtest=_side(backtest_deal, lot),
        money={cause: money_text(micro) for cause, micro in by_cause.items()},
        total=money_text(sum(by_cause.values())),
        causes=list(by_cause),
    )


def _side(deal: _Deal, lot: int) -> Side:
    """Return a deal (all orders of one decision on one symbol) as text; `lot` is the lot size in nano-units."""
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
    """Return the comparison of a run with a backtest as sentences."""
    if comparison.same:
        return [f"run {comparison.run}: {comparison.decisions} decisions, all as in a backtest over the same bars"]
    texts = [
        f"run {comparison.run}: {comparison.different} of {comparison.decisions} decisions differ from a backtest over "
        f"the same bars; the run is worth {comparison.total} more"
    ]
    texts += [f"  {cause:12} {money:>16}" for cause, money in comparison.money.items() if money != "0.00"]
    for row in comparison.worst:
        causes = ", ".join(f"{cause} {money}" for cause, money in row.money.items())
        texts.append(
            f"  {row.time}  {row.symbol}: filled {row.run.filled} of {row.run.ordered} at {row.run.average or '-'} "
            f"{row.run.ended}".rstrip()
            + f"; backtest {row.backtest.filled} of {row.backtest.ordered} at {row.backtest.average or '-'}: {causes}"
        )
    return texts


def configuration_of(entries: Iterable[Entry]) -> str:
    """Return the configuration digest of a run's start; empty when its journal does not begin with a start."""
    first = next(iter(entries), None)
    return first.event.config if first is not None and isinstance(first.event, Started) else ""
