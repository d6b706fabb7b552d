"""The paper venue: what fills, when, at which price, and that it is a fold."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.brokers.paper.broker import MOST_ENDED, Paper
from quantd.trading.events import Action, CancelReported, Unknown
from quantd.trading.execution import Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports, decision_id
from quantd.trading.ports import BrokerNews
from tests.support.examples import examples

HOUR = 3_600_000_000_000
NANO = 10**9
UNIVERSE = Universe((Instrument("AAA"), Instrument("BBB"), Instrument("CCC", lot_nano=10**7)))
FREE = Costs()


def bar(
    t: int,
    opens: Sequence[float] = (100.0, 50.0, 10.0),
    *,
    low: float = 0.0,
    high: float = 0.0,
    volume: Sequence[float] = (1000.0, 1000.0, 1000.0),
    fresh: Sequence[bool] = (True, True, True),
) -> MarketSlice:
    """The bar of day t: opens at 24 t + 9 h, closes at 24 t + 16 h. low and high 0: the open."""
    row = np.array([opens])
    mask = np.array([fresh])
    missing = np.where(mask, 1.0, nan)
    block = Block(
        ts_open=np.array([(24 * t + 9) * HOUR]),
        ts_event=np.array([(24 * t + 16) * HOUR]),
        key=np.array([24 * t * HOUR]),
        open=row * missing,
        high=np.maximum(row, high) * missing,
        low=(np.minimum(row, low) if low else row) * missing,
        close=row * missing,
        volume=np.array([volume]) * missing,
        fresh=mask,
        index0=t,
    )
    return MarketSlice(block, 0)


def at_close(t: int) -> int:
    return (24 * t + 16) * HOUR


def at_open(t: int) -> int:
    return (24 * t + 9) * HOUR


def basket(
    ts: int,
    rows: Sequence[tuple[int, int, float]],
    *,
    end: int | Sequence[int] = 0,
    n: int = 0,
) -> OrderBasket:
    """Rows of (column, signed lots, limit)."""
    ends = [end] * len(rows) if isinstance(end, int) else list(end)
    return OrderBasket(
        sample=ts,
        n=n,
        ts=ts,
        sym=[column for column, _, _ in rows],
        lots=[lots for _, lots, _ in rows],
        worst_nano=[round(limit * NANO) for _, _, limit in rows],
        end=ends,
    )


def stops(ts: int, rows: Sequence[tuple[int, int, float, float]]) -> OrderBasket:
    """Rows of (column, signed lots, trigger, limit), good till cancelled."""
    plain = basket(ts, [(column, lots, limit) for column, lots, _, limit in rows])
    return OrderBasket(
        sample=plain.sample, n=0, ts=ts, sym=plain.sym, lots=plain.lots, worst_nano=plain.worst_nano, end=plain.end,
        kind=[int(Kind.STOP)] * len(rows), stop_nano=[round(stop * NANO) for _, _, stop, _ in rows],
    )  # fmt: skip


def reports(news: Sequence[BrokerNews]) -> list[Reports]:
    assert all(isinstance(one, Reports) for one in news)
    return list(news)  # type: ignore[arg-type]


def rows_of(news: Sequence[BrokerNews]) -> list[tuple[int, int, int, int, int, str]]:
    """(ts, row, cum, lots, price, cause) of each row reported."""
    return [
        (report.ts, *values[:-1], Cause(values[-1]).name)
        for report in reports(news)
        for values in zip(report.row, report.cum, report.lots, report.price_nano, report.cause, strict=True)
    ]


@pytest.mark.requirement("R-131")
def test_the_least_commission_is_of_an_order_not_of_a_fill() -> None:
    venue = Paper(UNIVERSE, Costs(participation=0.01, commission_bp=10.0, commission_min_micro=1_500_000))
    venue.submit(basket(at_close(0), [(0, 25, 105.0)]))
    fees = [report.fee_micro[0] for t in (1, 2, 3) for report in reports(venue.on_slice(bar(t)))]
    assert fees == [1_500_000, 500_000, 500_000]  # 1.00 raised to 1.50, then 2.00 and 2.50 in all


def test_rows_without_lots_or_limit_are_rejected_and_the_others_work() -> None:
    venue = Paper(UNIVERSE, FREE)
    (report,) = reports(venue.submit(basket(at_close(0), [(0, 0, 105.0), (1, 5, 60.0), (2, 5, 0.0)])))
    assert report.cause == [Cause.REJECTED, Cause.ACCEPTED, Cause.REJECTED]
    assert report.reason == "row 0 has no lots"
    assert [row[1] for row in rows_of(venue.on_slice(bar(1)))] == [1]


@pytest.mark.requirement("R-169")
def test_a_basket_sent_twice_fills_once_and_tells_again() -> None:
    venue = Paper(UNIVERSE, FREE)
    order = basket(at_close(0), [(0, 5, 105.0)])
    accepted = venue.submit(order)
    assert venue.submit(order) == accepted
    filled = venue.on_slice(bar(1))
    assert len(filled) == 1
    assert venue.submit(order) == [*accepted, *filled]
    assert venue.on_slice(bar(2)) == ()


def test_a_cancel_of_a_symbol_that_falls_silent_is_settled_within_a_day() -> None:
    venue = Paper(UNIVERSE, FREE)
    venue.submit(basket(at_close(0), [(0, 15, 105.0)]))
    noon = at_open(1) + 3 * HOUR
    venue.cancel(at_close(0), 0, 0, noon)
    assert not venue.on_slice(bar(1, fresh=(False, True, True)))
    assert not venue.on_time(noon + 24 * HOUR - 1)
    assert rows_of(venue.on_time(noon + 24 * HOUR)) == [(noon, 0, 0, 0, 0, "CANCELLED")]


def split(t: int, column: int, up: int, down: int) -> Action:
    return Action(ts=at_open(t), key=24 * t * HOUR, symbol=column, kind="split", numerator=up, denominator=down)


def test_a_split_rescales_what_rests_and_what_a_query_tells() -> None:
    venue = Paper(UNIVERSE, Costs(participation=0.01))
    venue.submit(basket(at_close(0), [(0, 25, 105.0), (1, 5, 60.0)]))
    venue.on_slice(bar(1))
    assert venue.on_action(split(2, 0, 4, 1)) == []
    (fill,) = reports(venue.on_slice(bar(2, (26.25, 50.0, 10.0))))
    assert (fill.cum, fill.lots, fill.price_nano) == ([50], [10], [26_250_000_000])
    fill_rows = [row for row in rows_of(venue.query(at_close(0), 0, [0])) if row[3]]
    assert [(cum, lots, price) for _, _, cum, lots, price, _ in fill_rows] == [
        (40, 40, 25 * NANO),
        (50, 10, 26_250_000_000),
    ]
    assert not venue.on_slice(bar(3, (26.26, 50.0, 10.0)))


def test_a_delisting_ends_what_rests_in_its_symbol_only() -> None:
    venue = Paper(UNIVERSE, FREE)
    venue.submit(basket(at_close(0), [(0, 25, 105.0), (1, 5, 60.0)]))
    (report,) = reports(venue.on_action(Action(ts=at_open(1), key=24 * HOUR, symbol=0, kind="delisting")))
    assert (report.row, report.cause) == ([0], [int(Cause.CANCELLED)])
    assert venue.on_action(Action(ts=at_open(1), key=24 * HOUR, symbol=0, kind="delisting")) == []


def test_orders_begin_in_the_order_of_their_arrival() -> None:
    venue = Paper(UNIVERSE, FREE)
    venue.submit(basket(at_close(0), [(0, 25, 105.0)], n=1))
    venue.submit(basket(at_close(0), [(1, 5, 60.0)]))
    venue.submit(basket(at_close(0), [(1, 0, 60.0)], n=2))
    starts = venue.starts()
    assert starts is not None
    assert list(starts.items()) == [((at_close(0), 1), at_close(0)), ((at_close(0), 0), at_close(0))], "2 is rejected"
    venue.on_action(Action(ts=at_open(1), key=24 * HOUR, symbol=0, kind="delisting"))
    assert venue.starts() == {(at_close(0), 0): at_close(0)}


def test_orders_begin_together_or_not_at_all() -> None:
    def started(*rows: tuple[int, int, float]) -> Paper:
        venue = Paper(UNIVERSE, FREE)
        venue.submit(basket(at_close(0), [(2, 1, 11.0)], n=1))
        venue.submit(basket(at_close(0), rows))
        return venue

    venue = started((0, 25, 105.0), (1, 5, 60.0))
    assert venue.starts() == {(at_close(0), 1): at_close(0), (at_close(0), 0): at_close(0)}
    venue.cancel(at_close(0), 0, 1, at_close(0))
    assert venue.starts() is None, "a row has ended"
    venue = started((0, 25, 105.0), (1, 5, 60.0))
    venue.cancel(at_close(0), 0, 1, at_open(1) + HOUR)
    assert venue.starts() is None, "a row is being cancelled"
    venue = started((0, 25, 105.0), (1, 5, 40.0))
    venue.on_slice(bar(1, fresh=(False, True, True)))
    assert venue.starts() is None, "its rows wait for different bars"
    venue = Paper(UNIVERSE, Costs(participation=0.01))
    venue.submit(basket(at_close(0), [(0, 25, 105.0), (1, 5, 40.0)]))
    assert rows_of(venue.on_slice(bar(1))) == [(at_open(1), 0, 10, 10, 100 * NANO, "PART_FILL")]
    assert venue.starts() is None, "a row has filled in part"


def test_rows_that_arrive_after_the_others_have_ended_work_and_fill() -> None:
    venue = Paper(UNIVERSE, FREE)
    both = basket(at_close(0), [(0, 25, 105.0), (1, 5, 60.0)])
    venue.submit(both, [0])
    venue.cancel(at_close(0), 0, 0, at_close(0))
    assert rows_of(venue.submit(both, [1])) == [(at_close(0), 1, 0, 0, 0, "ACCEPTED")]
    assert rows_of(venue.on_slice(bar(1))) == [(at_open(1), 1, 5, 5, 50 * NANO, "LAST_FILL")]


@dataclass
class Folded:
    """A basket that a batch filled."""

    basket: OrderBasket
    report: Reports
    ts_event: int

    @property
    def key(self) -> tuple[int, int]:
        return self.basket.sample, self.basket.n

    def made(self) -> tuple[OrderBasket, Reports, list[int]]:
        return self.basket, self.report, [-1] * len(self.basket.sym)


def test_a_query_restates_the_fills_of_a_basket_that_the_fold_filled() -> None:
    venue = Paper(UNIVERSE, FREE)
    sent = basket(at_close(0), [(0, 25, 105.0)])
    fill = Reports(at_close(0), 0, at_open(1), [0], [25], [25], [100 * NANO], [0], [int(Cause.LAST_FILL)])
    venue.catch_up(bar(1), [Folded(sent, fill, at_close(1))], None)
    again = Paper(UNIVERSE, FREE)
    again.thaw(venue.freeze())
    restated_rows = rows_of(venue.query(at_close(0), 0, [0]))
    assert rows_of(again.query(at_close(0), 0, [0])) == restated_rows
    assert restated_rows == [(at_close(0), 0, 0, 0, 0, "ACCEPTED"), (at_open(1), 0, 25, 25, 100 * NANO, "LAST_FILL")]
    (refused,) = venue.cancel(at_close(0), 0, 0, at_close(1))
    assert isinstance(refused, CancelReported)
    assert venue.on_slice(bar(2)) == ()


def test_a_split_that_leaves_less_than_a_lot_cancels_the_row() -> None:
    venue = Paper(UNIVERSE, FREE)
    venue.submit(basket(at_close(0), [(0, 3, 105.0), (0, -30, 80.0)]))
    (report,) = reports(venue.on_action(split(1, 0, 1, 10)))
    assert (report.row, report.cause, report.cum) == ([0], [Cause.CANCELLED], [0])
    assert "1:10" in report.reason
    assert rows_of(venue.on_slice(bar(1, (1000.0, 50.0, 10.0)))) == [(at_open(1), 1, 3, 3, 1000 * NANO, "LAST_FILL")]


def test_memory_is_bounded_and_a_forgotten_order_is_unknown_not_absent() -> None:
    venue = Paper(UNIVERSE, FREE)
    sizes = []
    for t in range(3 * MOST_ENDED):
        venue.submit(basket(at_close(t), [(0, 3, 105.0)]))
        venue.on_slice(bar(t + 1))
        (first, *_) = venue.query(at_close(max(t - MOST_ENDED + 1, 0)), 0, [0])
        assert isinstance(first, Reports)
        sizes.append(len(venue.freeze()))
    assert max(sizes[2 * MOST_ENDED :]) <= max(sizes[: 2 * MOST_ENDED]) + 8
    (old,) = venue.query(at_close(0), 0, [0])
    assert isinstance(old, Unknown)
    (kept, _) = venue.query(at_close(3 * MOST_ENDED - 1), 0, [0])
    assert isinstance(kept, Reports)


def test_slippage_noise_is_drawn_from_a_hash_of_the_order() -> None:
    venue = Paper(UNIVERSE, Costs(slippage_bp=10.0, slippage_noise=0.5, seed=3))
    venue.submit(basket(at_close(0), [(0, 3, 105.0)]))
    (report,) = reports(venue.on_slice(bar(1)))
    key = f"3|{decision_id(at_close(0), 'house', 'AAA')}|0|0".encode()
    draw = int.from_bytes(blake2b(key, digest_size=6).digest(), "big") / 2**47 - 1.0
    assert report.price_nano == [pytest.approx(100 * NANO * (1.0 + 1e-3 * (1.0 + 0.5 * draw)), abs=100)]


# --- properties over random scripts -----------------------------------------------------------------


@dataclass
class Script:
    """What happens to a venue, in order of time: ("submit" | "cancel" | "slice" | "time" | "split", arguments)."""

    costs: Costs
    steps: list[tuple[str, tuple]] = field(default_factory=list)  # type: ignore[type-arg]


def price_near(draw: st.DrawFn) -> float:
    return draw(st.integers(95, 105)) + draw(st.sampled_from([0.0, 0.25, 0.01]))


@st.composite
def scripts(draw: st.DrawFn, splits: bool = False, costs: Costs | None = None) -> Script:
    if costs is None:
        costs = Costs(
            commission_bp=draw(st.sampled_from([0.0, 1.0, 0.37])),
            slippage_bp=draw(st.sampled_from([0.0, 20.0])),
            spread_bp=draw(st.sampled_from([0.0, 7.0])),
            impact=draw(st.sampled_from([0.0, 30.0])),
            participation=draw(st.sampled_from([0.0, 0.05, 0.31])),
            latency_ns=draw(st.sampled_from([0, HOUR, 18 * HOUR])),
            commission_min_micro=draw(st.sampled_from([0, 1_000_000])),
            slippage_noise=draw(st.sampled_from([0.0, 1.0])),
        )
    script = Script(costs)
    sent: list[tuple[int, int, int]] = []
    for t in range(draw(st.integers(2, 6))):
        if t:
            if splits and draw(st.integers(0, 3)) == 0:
                ratio = draw(st.sampled_from([(2, 1), (1, 3), (3, 2), (1, 50)]))
                script.steps.append(("split", (t, draw(st.integers(0, 2)), *ratio)))
            opens = [price_near(draw) for _ in range(3)]
            script.steps.append(
                (
                    "slice",
                    (
                        t,
                        opens,
                        min(opens) - draw(st.integers(0, 6)),
                        max(opens) + draw(st.integers(0, 6)),
                        [draw(st.sampled_from([0.0, 30.0, 100.0, 1000.0])) for _ in range(3)],
                        [draw(st.integers(0, 4)) > 0 for _ in range(3)],
                    ),
                )
            )
            if draw(st.booleans()):
                script.steps.append(("time", (at_close(t),)))
        later = at_close(t)
        for n in range(draw(st.integers(0, 2))):
            later += draw(st.sampled_from([0, 0, 5 * HOUR]))
            rows = [
                (draw(st.integers(0, 2)), draw(st.integers(1, 60)) * draw(st.sampled_from([1, -1])), price_near(draw))
                for _ in range(draw(st.integers(1, 4)))
            ]
            ends = [draw(st.sampled_from([0, at_close(t + 1), at_close(t + 2), at_open(t + 1) + HOUR])) for _ in rows]
            order = OrderBasket(
                sample=at_close(t),
                n=n,
                ts=later,
                sym=[c for c, _, _ in rows],
                lots=[k for _, k, _ in rows],
                worst_nano=[round(p * 100) * 10**7 for _, _, p in rows],
                end=ends,
            )
            script.steps.append(("submit", (order,)))
            sent += [(at_close(t), n, row) for row in range(len(rows))]
        if sent:
            for _ in range(draw(st.integers(0, 2))):
                later += draw(st.sampled_from([0, HOUR, 15 * HOUR]))
                if later < at_close(t + 1):
                    script.steps.append(("cancel", (*draw(st.sampled_from(sent)), later)))
    return script


def step(venue: Paper, name: str, args: tuple) -> Sequence[BrokerNews]:  # type: ignore[type-arg]
    match name:
        case "submit":
            return venue.submit(*args)
        case "cancel":
            return venue.cancel(*args)
        case "split":
            return venue.on_action(split(*args))
        case "time":
            return venue.on_time(*args)
    t, opens, low, high, volume, fresh = args
    return venue.on_slice(bar(t, opens, low=low, high=high, volume=volume, fresh=fresh))


Key = tuple[int, int, int]


@pytest.mark.long
@pytest.mark.requirement("R-167")
@settings(max_examples=examples(250), deadline=None)
@given(scripts(costs=Costs(slippage_bp=20.0, latency_ns=HOUR)))
def test_without_a_cap_each_row_does_what_a_plain_reading_of_the_rules_says(script: Script) -> None:
    """A reference that knows the whole script: each row alone, from the bars and its own cancel."""
    venue = Paper(UNIVERSE, script.costs)
    steps = [*script.steps, ("time", (at_close(99),))]
    got: dict[Key, tuple[int, int, str]] = {}
    orders: dict[Key, tuple[int, int, int, int, int]] = {}
    cancels: dict[Key, int] = {}
    for name, args in steps:
        if name == "submit":
            (b,) = args
            for row, columns in enumerate(zip(b.sym, b.lots, b.worst_nano, b.end, strict=True)):
                orders[b.sample, b.n, row] = (b.ts + HOUR, *columns)
        if name == "cancel":
            cancels.setdefault(args[:3], args[3] + HOUR)
        for report in step(venue, name, args):
            if isinstance(report, Reports):
                for row, price, cause in zip(report.row, report.price_nano, report.cause, strict=True):
                    if cause != Cause.ACCEPTED:
                        got[report.sample, report.n, row] = (report.ts, price, Cause(cause).name)
    bars = [args for name, args in steps if name == "slice"]
    last = 10**30
    for key, (start, column, signed, worst, end) in orders.items():
        until = min(end or last, cancels.get(key, last))
        expected = None
        if until < last:
            expected = (until, 0, "CANCELLED" if until < (end or last) else "EXPIRED")
        for t, opens, low, high, _, fresh in bars:
            if fresh[column] and start <= at_open(t) < until:
                at = Fraction(round(opens[column] * 100) * 10**7)
                sign = 1 if signed > 0 else -1
                extreme = round((low if signed > 0 else high) * NANO)
                if sign * at <= sign * worst:
                    price = at * (1 + sign * Fraction(20, 10_000))
                    rounded_nano = -int(-price // 1) if signed > 0 else int(price // 1)
                    expected = (
                        at_open(t),
                        min(rounded_nano, worst) if signed > 0 else max(rounded_nano, worst),
                        "LAST_FILL",
                    )
                    break
                if until >= at_close(t) and sign * extreme < sign * worst:
                    expected = (at_open(t), worst, "LAST_FILL")
                    break
        assert got.get(key) == expected


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(scripts(splits=True))
def test_freezing_and_thawing_after_every_step_changes_nothing(script: Script) -> None:
    reference, broken = Paper(UNIVERSE, script.costs), Paper(UNIVERSE, script.costs)
    for name, args in script.steps:
        frozen = broken.freeze()
        broken = Paper(UNIVERSE, script.costs)
        broken.thaw(frozen)
        assert broken.freeze() == frozen
        assert list(step(reference, name, args)) == list(step(broken, name, args))
    assert reference.freeze() == broken.freeze()


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(scripts())
def test_a_query_restates_exactly_what_was_reported(script: Script) -> None:
    venue = Paper(UNIVERSE, script.costs)
    heard: dict[Key, list[tuple[int, ...]]] = defaultdict(list)

    def note(into: dict[Key, list[tuple[int, ...]]], news: Sequence[BrokerNews]) -> None:
        for r in news:
            if isinstance(r, Reports):
                for row, *amounts in zip(r.row, r.cum, r.lots, r.price_nano, r.fee_micro, r.cause, strict=True):
                    into[r.sample, r.n, row].append((r.ts, *amounts))

    for name, args in script.steps:
        note(heard, step(venue, name, args))
    for (sample, n, row), expected in heard.items():
        restatement: dict[Key, list[tuple[int, ...]]] = defaultdict(list)
        note(restatement, venue.query(sample, n, [row]))
        assert restatement == {(sample, n, row): expected}


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(scripts(splits=True))
def test_intervals_told_after_splits_are_contiguous_and_end_at_what_is_filled(script: Script) -> None:
    venue = Paper(UNIVERSE, script.costs)
    keys: set[tuple[int, int]] = set()
    for name, args in script.steps:
        step(venue, name, args)
        if name == "submit":
            keys.add((args[0].sample, args[0].n))
        for sample, n in keys:
            cums: dict[int, int] = defaultdict(int)
            for report in venue.query(sample, n, range(4)):
                if isinstance(report, Reports):
                    for row, cum, lots in zip(report.row, report.cum, report.lots, strict=True):
                        assert cum - lots == cums[row]
                        cums[row] = cum


# stops


def test_a_stop_that_was_triggered_is_a_limit_order_whatever_the_price_does() -> None:
    venue = Paper(UNIVERSE, FREE)
    venue.submit(stops(at_close(0), [(0, -5, 92.0, 90.0)]))
    assert venue.on_slice(bar(1, (89.0, 50.0, 10.0), low=88.0, high=89.5)) == []
    thawed = Paper(UNIVERSE, FREE)
    thawed.thaw(venue.freeze())
    for one in (venue, thawed):
        # far above its trigger: asleep it would not sell here
        assert rows_of(one.on_slice(bar(2, (99.0, 50.0, 10.0)))) == [(at_open(2), 0, 5, 5, 99 * NANO, "LAST_FILL")]


def test_a_stop_is_cancelled_and_a_split_rescales_its_trigger_towards_the_market() -> None:
    venue = Paper(UNIVERSE, FREE)
    venue.submit(stops(at_close(0), [(0, -5, 92.0, 80.0), (1, 5, 61.0, 70.0)]))
    venue.on_action(Action(at_open(1), 0, 0, "split", 3, 1))
    venue.on_action(Action(at_open(1), 0, 1, "split", 3, 1))
    (resting,) = venue._resting
    assert resting.stop_nano == [30_666_666_667, 20_333_333_333]
    assert rows_of(venue.cancel(at_close(0), 0, 0, at_close(0)))[0][-1] == "CANCELLED"
    assert rows_of(venue.on_slice(bar(1, (30.0, 21.0, 10.0)))) == [(at_open(1), 1, 15, 15, 21 * NANO, "LAST_FILL")]


def test_stops_without_triggers_and_baskets_of_several_kinds_are_refused() -> None:
    venue = Paper(UNIVERSE, FREE)
    bad = stops(at_close(0), [(0, -5, 0.0, 80.0)])
    assert reports(venue.submit(bad))[0].reason == "a stop without a trigger price"
    half = stops(at_close(2), [(0, -5, 92.0, 80.0), (1, -5, 0.0, 30.0)])
    assert reports(venue.submit(half))[0].reason == "a stop without a trigger price"
    mixed = stops(at_close(1), [(0, -5, 92.0, 80.0), (1, -5, 40.0, 30.0)])
    mixed.kind[1] = int(Kind.LIMIT)
    assert reports(venue.submit(mixed))[0].reason == "the orders of a basket must be of one kind"


def test_a_trigger_of_one_nano_is_a_trigger() -> None:
    (report,) = reports(Paper(UNIVERSE, FREE).submit(stops(at_close(0), [(0, 5, 1e-9, 80.0)])))
    assert report.cause == [int(Cause.ACCEPTED)]


def test_a_stop_whose_cancel_takes_effect_inside_a_bar_is_triggered_by_its_open_only() -> None:
    for opens, causes in ((95.0, ["CANCELLED"]), (91.0, ["LAST_FILL"])):
        venue = Paper(UNIVERSE, Costs(latency_ns=HOUR))
        venue.submit(stops(at_close(0), [(0, -5, 92.0, 80.0)]))
        assert venue.cancel(at_close(0), 0, 0, at_open(1)) == ()
        news = rows_of(venue.on_slice(bar(1, (opens, 50.0, 10.0), low=90.0)))
        assert [row[-1] for row in news] == causes
