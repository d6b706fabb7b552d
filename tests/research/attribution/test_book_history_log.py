"""The log's own ledger equals the engine's at each sample, in every kind of run."""

import msgspec
import numpy as np
import pytest

from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.runtime.timeline import time_of
from quantd.research.attribution.book_history_log import BookHistoryLog
from quantd.research.attribution.profit import KINDS, profit, residual
from quantd.risk.limits.catalogue import PROFILES, Limits, Protective, override
from quantd.trading.effects import Booked, Crossed, Filled, Valued
from quantd.trading.events import Action, Correction, Flow
from quantd.trading.execution import Costs
from quantd.trading.ledger.errors import LedgerBroken
from quantd.trading.market import JumpExplained, PriceJumped
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD
from tests.support.engine import START, World, block, walk
from tests.support.minutes import SESSION, Minutes, at, drift, minutes

RESEARCH = PROFILES["research"]
COSTS = Costs(commission_bp=2.0, spread_bp=4.0, slippage_bp=3.0)


def turning(seed: int, symbols: int):
    rng = np.random.default_rng(seed)

    def act(view):
        weights = rng.normal(0.0, 1.0, symbols)
        return 0.8 * weights / np.abs(weights).sum()

    return act


def logged(world: World) -> tuple[BookHistoryLog, World]:
    log = BookHistoryLog(world.rules, world)
    world.shell = world.fresh(log)
    return log, world.run()


def busy(days: int = 120, house: Limits = RESEARCH, **more: object) -> World:
    """Three agents, odd splits, dividends and a delisting; a symbol is listed late, another misses bars."""
    close = walk(days, 4, 11)
    close[30:33, 1] = np.nan
    close[:20, 3] = np.nan
    close[90:, 2] = np.nan

    def action(day: int, symbol: int, kind: str, **terms: int) -> Action:
        return Action(START + day * DAY_NS + DAY_NS // 3, START + day * DAY_NS, symbol, kind, **terms)

    actions = [
        action(40, 0, "split", numerator=3, denominator=2),
        action(60, 1, "split", numerator=1, denominator=7),
        action(50, 0, "dividend", cash_nano=1_234_567_891),
        action(60, 0, "dividend", cash_nano=700_000_001),
        action(90, 2, "delisting", cash_nano=31_250_000_000),
    ]
    acts = [turning(seed, 4) for seed in (1, 2, 3)]
    rules = {"borrow_bp_annual": 300.0, **more}
    return World(block(close), acts, house=house, costs=COSTS, actions=actions, shares=[0.4, 0.3, 0.2], **rules)


def check(log: BookHistoryLog, world: World) -> float:
    """The largest residual, after the checks that every run passes."""
    history = log.history()
    valued = world.of(Valued)
    assert history.intervals == len(valued) - 1
    assert history.equity.tolist() == pytest.approx([valuation.equity_micro / 1e6 for valuation in valued], rel=1e-15)
    trades = history.trades
    for name in ("price", "decision", "arrival", "fee"):
        assert np.isfinite(getattr(trades, name)).all(), name
    rows = sum(len(shares) for fill in world.of(Filled) for shares in fill.shares)
    rows += sum(len(cross.shares) for cross in world.of(Crossed))
    assert len(trades.interval) == rows > 0
    largest = float(np.abs(residual(history, profit(history))).max())
    assert largest < 1e-9 * history.equity.min()
    return largest


@pytest.mark.long
def test_shorts_crosses_odd_splits_dividends_and_a_delisting_add_up() -> None:
    log, world = logged(busy())
    check(log, world)
    history = log.history()
    assert set(history.bookings.kind.tolist()) == {0, 1, 3, 4}  # dividend, borrow, cash in lieu, delisting
    assert history.trades.crossed.any()
    kinds = dict(zip(KINDS, profit(history).summed("kind").tolist(), strict=True))
    assert kinds["other"] == 0.0  # cash in lieu and the payment of a delisting are proceeds of positions
    assert np.isnan(history.mark[:20, 3]).all()
    assert np.isfinite(profit(history).summed("interval", "agent", "symbol", "kind")).all()
    assert np.isfinite(history.asset_returns()).all()


def test_charges_payments_and_corrections_of_the_venue_add_up() -> None:
    world = World(block(walk(30, 2, 6)), [turning(1, 2), turning(2, 2)], house=RESEARCH, costs=COSTS)
    log = BookHistoryLog(world.rules, world)
    world.shell = shell = world.fresh(log)
    for k, item in enumerate(world.items()):
        shell.take(item)
        ts = shell.state.now
        if k == 20:
            shell.run(Flow(ts, -5_000_001, kind="fee", id="1"))
            shell.run(Flow(ts, 30_000_001, kind="dividend", id="2", symbol=1))
            shell.run(Flow(ts, 7_000_001, kind="interest", id="3"))
        if k == 30:
            shell.run(Correction(ts, [7, -3], 1_000_000, "a0", "test", "test"))
    history = log.history()
    assert np.abs(residual(history, profit(history))).max() < 1e-6
    kinds = dict(zip(KINDS, profit(history).summed("kind").tolist(), strict=True))
    assert kinds["other"] == pytest.approx(-5.000001)
    assert kinds["dividend"] == pytest.approx(30.000001)
    assert kinds["interest"] == pytest.approx(7.000001)
    kinds_in = [booking.kind for booking in world.of(Booked)]
    assert kinds_in == ["fee", "dividend", "interest", "in_kind", "in_kind", "flow"]
    assert history.flows[-1] - history.flows[0] == pytest.approx(
        sum(booking.amount_micro for booking in world.of(Booked)[3:]) / 1e6
    )


def test_a_dividend_after_a_split_on_one_day_counts_for_both_new_shares() -> None:
    close = np.array([100.0] * 5 + [49.0] * 5)[:, None]
    ex = START + 5 * DAY_NS
    actions = [
        Action(ex + DAY_NS // 3, ex, 0, "split", numerator=2),
        Action(ex + DAY_NS // 3 + 1, ex, 0, "dividend", cash_nano=10**9),
    ]
    log, world = logged(World(block(close), [lambda view: np.array([0.5])], house=RESEARCH, actions=actions))
    check(log, world)
    assert np.abs(log.history().asset_returns()).max() < 1e-12  # 2 x 49 and 2 x 1 for 100


def test_an_order_for_the_closing_auction_arrives_at_the_close() -> None:
    close = drift(1, 1, 4)
    close[-1] += 0.5
    log, world = logged(
        Minutes(minutes(close), [lambda view: np.array([0.4])], Execution(style="close"), [at(0, 100)], costs=COSTS)
    )
    check(log, world)
    trades = log.history().trades
    assert trades.arrival.tolist() == [close[-1, 0]]
    assert trades.decision.tolist() == [close[99, 0]]


def test_a_decision_is_at_the_mark_and_an_arrival_at_the_open_of_the_fill() -> None:
    close, opened = walk(40, 2, 3), walk(40, 2, 3) * 1.001
    world = World(block(close, opened), [turning(5, 2)], house=RESEARCH, costs=Costs(spread_bp=2.0))
    log, world = logged(world)
    trades = log.history().trades
    assert len(trades.interval) > 40
    row, at_ = trades.interval, trades.symbol
    first = len(close) - 1 - log.history().intervals
    np.testing.assert_allclose(trades.decision, close[first + row - 1, at_], rtol=1e-12)
    np.testing.assert_allclose(trades.arrival, np.round(opened, 6)[first + row, at_], rtol=1e-9)
    usual = np.abs(trades.price / trades.arrival - 1.0 - np.sign(trades.quantity) * 1e-4) < 1e-6
    assert usual.mean() > 0.9  # half the spread; the others filled at their limit


def test_a_decision_before_a_split_is_in_terms_of_the_new_shares() -> None:
    close = np.full((12, 1), 100.0)
    close[6:] = 50.0
    ex = START + 6 * DAY_NS
    opens = close.copy()
    weights = iter([0.0] * 5 + [0.5] * 20)  # decided at the close before the ex date
    world = World(
        block(close, opens), [lambda view: np.array([next(weights)])], house=RESEARCH,
        actions=[Action(ex + DAY_NS // 3, ex, 0, "split", numerator=2)],
    )  # fmt: skip
    log, world = logged(world)
    history = log.history()
    assert set(history.trades.decision.tolist()) == {50.0}
    assert not profit(history).summed("kind").any()


def test_children_of_a_parent_order_count_from_the_decision_of_the_parent() -> None:
    close = drift(2, 2, 3)
    world = Minutes(
        minutes(close), [lambda view: np.array([0.4, 0.4])], Execution(style="twap"), [at(0, 120)], costs=COSTS
    )
    log, world = logged(world)
    check(log, world)
    trades = log.history().trades
    assert len(trades.interval) > 10
    for symbol in (0, 1):
        assert set(trades.decision[trades.symbol == symbol].tolist()) == {close[119, symbol]}
        assert len(set(trades.arrival[trades.symbol == symbol].tolist())) > 3
    assert len(close) == 2 * SESSION


@pytest.mark.parametrize("split", [1, 2])
def test_a_parent_order_that_begins_after_a_split_is_decided_in_new_shares(split: int) -> None:
    close = np.full((2 * SESSION, 1), 100.0)
    close[SESSION:] /= split
    ex = START + DAY_NS
    world = Minutes(
        minutes(close, open_=close), [lambda view: np.array([0.4])], Execution(style="twap"), [at(0, SESSION)],
        actions=[Action(ex + DAY_NS // 3, ex, 0, "split", numerator=split)],
    )  # fmt: skip
    log, world = logged(world)
    check(log, world)
    assert set(log.history().trades.decision.tolist()) == {100.0 / split}
    assert not profit(log.history()).summed("kind").any()


def test_a_cross_is_decided_at_the_mark_and_traded_at_the_open() -> None:
    close = walk(30, 1, 8)
    opened = np.round(close * 1.002, 2)

    def side(sign: float):
        return lambda view: np.array([sign * (0.3 if view.sample_time // DAY_NS % 2 else 0.1)])

    log, world = logged(World(block(close, opened), [side(1.0), side(-1.0)], house=RESEARCH))
    check(log, world)
    history = log.history()
    crossed = history.trades.rows(history.trades.crossed)
    assert len(crossed.interval) > 20
    np.testing.assert_allclose(crossed.decision, history.mark[crossed.interval - 1, crossed.symbol], rtol=1e-12)
    first = len(close) - 1 - history.intervals
    np.testing.assert_allclose(crossed.arrival, opened[first + crossed.interval, 0], rtol=1e-9)
    timing = profit(history).reduced(("timing",))
    assert np.abs(timing.summed("agent")[:2]).min() > 1.0
    transfers = np.zeros(history.intervals)
    np.add.at(transfers, crossed.interval - 1, crossed.quantity * (crossed.decision - crossed.arrival))
    assert np.abs(transfers).max() < 1e-6  # each cross costs one agent what it pays the other


@pytest.mark.parametrize(("opened", "arrival"), [(95.0, 92.01), (88.0, 88.0)])
def test_a_stop_at_the_venue_arrives_at_its_trigger_or_at_the_open_beyond_it(opened: float, arrival: float) -> None:
    close = np.array([100.0, 100.0, 97.0, 95.0, 93.0, 99.0, 99.0])[:, None]
    opens = np.vstack([close[:1], close[:-1]])
    opens[4] = opened
    weights = iter([np.array([0.5])])
    stop = override(
        RESEARCH, protective=Protective(stop_loss=0.08, take_profit=None, cooldown=9, at_venue=True)
    )  # fmt: skip
    # bought at 100.01, so that the trigger is 8 % below it, at 92.01
    world = World(block(close, opens), [lambda view: next(weights, HOLD)], house=stop, costs=Costs(spread_bp=2.0))
    log, world = logged(world)
    check(log, world)
    trades = log.history().trades
    assert trades.quantity.tolist() == [5_000.0, -5_000.0]
    assert trades.decision[1] == trades.arrival[1] == arrival
    assert trades.price[1] == pytest.approx(arrival * (1 - 1e-4), rel=1e-9)


def test_books_that_differ_from_the_engines_are_an_error() -> None:
    world = busy(40)
    wrong = msgspec.structs.replace(world.rules, cash_micro=world.rules.cash_micro + 1)
    log = BookHistoryLog(wrong, world)
    world.shell = world.fresh(log)
    with pytest.raises(LedgerBroken, match="the history's books have"):
        world.run()
    with pytest.raises(ValueError, match="no sample"):
        log.history()


@pytest.mark.parametrize("answer", [None, (1, 1), (2, 1), "twice", "announced", "another"])
def test_a_run_that_holds_a_symbol_adds_up_at_the_marks_of_the_engine(answer: object) -> None:
    """`answer` is the split that explains the jump, once or twice, or what the feed announces instead."""
    days, day = 40, 20
    close = walk(days, 3, 5)
    close[day:, 0] = np.round(close[day:, 0] / 2, 2)
    opens = np.vstack([close[:1], close[:-1]])
    opens[day, 0] = close[day, 0]
    bars = block(close, opens)
    before = int(bars.close_nano[day - 1][0])
    jump = PriceJumped(int(bars.ts_open[day]), 0, before, round(close[day, 0] * 1e9), 2, 1)
    key, ratio = START + (day + 4) * DAY_NS, (3, 1) if answer == "another" else (2, 1)
    announced = (
        [Action(int(bars.ts_open[day + 4]), key, 0, "split", *ratio)] if answer in ("announced", "another") else []
    )
    world = World(bars, [turning(1, 3), turning(2, 3)], house=RESEARCH, costs=COSTS, actions=[jump, *announced])
    log = BookHistoryLog(world.rules, world)
    world.shell = world.fresh(log)
    last = int(bars.ts_event[day + 4])
    items = list(world.items())
    world.run(item for item in items if time_of(item) <= last)
    # the second answer is refused, because the symbol is no longer held
    for ratio in [answer] if isinstance(answer, tuple) else [(2, 1)] * 2 if answer == "twice" else []:
        world.shell.run(JumpExplained(last, 0, "found out", "ann", *ratio))
    assert bool(world.shell.state.restrictions.jumped) == (answer in (None, "another"))
    world.run(item for item in items if time_of(item) > last)
    history = log.history()
    assert len(history.days_ns) == days
    assert np.abs(residual(history, profit(history))).max() < 1e-6
