"""A deposit in the middle of a run changes no return, drawdown or Sharpe ratio anywhere."""

import numpy as np
import pytest

from quantd.adapters.store.read_models import Booking
from quantd.daemon.engine import step
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.views.report.curves import Curves, span_of
from quantd.risk.limits.catalogue import Limits
from quantd.risk.monitor.realised import FrozenReturns, Realised
from quantd.risk.switch import RUN, losses
from quantd.trading.effects import Booked, Valued
from quantd.trading.events import Flow, Tick
from quantd.trading.instruments import MICRO
from quantd.trading.statistics import compounded, performance, time_weighted_returns
from tests.support.engine import CASH, World, block, walk

DAYS = 120
WATCHED = Limits(max_drawdown=0.9, max_daily_loss=0.9, max_weekly_loss=0.9)
NEAR = 3e-5
"""What whole lots make of the same weights in accounts of two sizes."""


def ran(share: float, at: int = 60, agent: str = "a0") -> World:
    """A run into which so much of its equity goes right after a sample. Opens are the closes before, so that money
    waits for its orders without missing a move."""
    run = World(
        block(walk(DAYS, 3, 11)),
        [lambda view: np.array([0.4, 0.3, 0.25])],
        house=Limits(collar=0.02, max_drawdown=0.9, max_daily_loss=0.9, max_weekly_loss=0.9),
    )
    samples = 0
    for item in run.items():
        run.shell.take(item)
        samples += isinstance(item, Tick) and item.sample
        if samples == at and isinstance(item, Tick) and item.sample and share:
            state = run.shell.state
            amount = int(state.equity_micro * share)
            run.add(flow := Flow(state.now, amount, "me", agent=agent), step(state, flow))
    return run


def equities(run: World) -> np.ndarray:
    return np.array([v.equity_micro for v in run.of(Valued)], dtype=np.float64)  # type: ignore[attr-defined]


@pytest.mark.parametrize("share", [0.5, -0.04])
def test_the_engine_measures_the_same_returns_losses_and_drawdowns(share: float) -> None:
    plain, moved = ran(0.0), ran(share)
    one, other = plain.shell.state, moved.shell.state
    assert equities(moved)[-1] == pytest.approx(equities(plain)[-1] * (1 + share), rel=1e-3)
    for book in (0, 1):
        assert other.watch.realised[book].returns() == pytest.approx(one.watch.realised[book].returns(), abs=NEAR)
    flows = other.ledger.house.flows_micro
    total = other.watch.realised[0].grown(other.equity_micro, flows)
    assert total == pytest.approx(equities(plain)[-1] / (CASH * MICRO), rel=1e-3)
    assert moved.of(Valued)[-1].drawdown == pytest.approx(plain.of(Valued)[-1].drawdown, abs=1e-3)
    assert max(v.drawdown for v in moved.of(Valued)) == pytest.approx(  # type: ignore[attr-defined]
        max(v.drawdown for v in plain.of(Valued)), abs=1e-3  # type: ignore[attr-defined]
    )  # fmt: skip
    for key, (value, _) in losses(one.switch, one.equity_micro, WATCHED).items():
        assert losses(other.switch, other.equity_micro, WATCHED)[key][0] == pytest.approx(value, abs=1e-3)
        agent = losses(other.agents[0].switch, other.books_micro[0], WATCHED)
        assert agent[key][0] == pytest.approx(value, abs=1e-3)


def test_a_withdrawal_below_the_peak_trips_no_drawdown_limit() -> None:
    run = World(block(np.full((9, 2), 100.0)), [lambda view: np.zeros(2)], house=Limits(max_drawdown=0.2))
    run.run()
    state = run.shell.state
    state.switch.high_water = CASH * MICRO * 10 // 9
    step(state, Flow(state.now, -CASH * MICRO * 8 // 10, "me", agent="a0"))
    assert losses(state.switch, state.equity_micro, WATCHED)["max_drawdown"][0] == pytest.approx(0.1)
    assert state.switch.state == RUN


def test_metrics_of_an_equity_with_deposits_are_those_without() -> None:
    equity = walk(200, 1, 4)[:, 0]
    flows = np.zeros(200)
    flows[100:] = 0.5 * equity[99]
    with_deposit = equity.copy()
    # of the 100th move the deposit has no part yet
    with_deposit[100] = equity[100] + flows[100]
    with_deposit[101:] = equity[101:] * (with_deposit[100] / equity[100])
    figures = performance(compounded(time_weighted_returns(with_deposit, 100.0 + flows)))
    wanted = performance(equity)
    for name in wanted.__struct_fields__:
        assert getattr(figures, name) == pytest.approx(getattr(wanted, name), rel=1e-4), name
    naive = performance(with_deposit)
    assert naive.total_return > wanted.total_return + 0.3


def curves(seqs: list[int], equity: list[float], books: list[list[float]], flows: list[Booking]) -> Curves:
    points = [
        Valued(k, round(e * MICRO), 0, [round(b * MICRO) for b in book_values], 0.0, 0.0)
        for k, (e, book_values) in enumerate(zip(equity, books, strict=True), 1)
    ]
    return Curves(points, seqs, ["a", "b"], flows)


def test_a_report_leaves_deposits_out_of_the_house_and_of_the_agent_whose_book_they_moved() -> None:
    """The deposit carries the instant of the second sample and was booked after it: it belongs to the third."""
    flows = [Booking(2, "flow", "", "50.00", "a", 25), Booking(2, "dividend", "SPY", "1.00", "", 26)]
    account_curves = curves([10, 20, 30], [100.0, 110.0, 176.0], [[50.0, 50.0], [55.0, 55.0], [110.0, 66.0]], flows)
    assert account_curves.returns == pytest.approx([0.0, 0.1, 16.0 / 110.0])
    assert account_curves.agents[0] == pytest.approx([0.0, 0.1, 5.0 / 55.0])
    assert account_curves.agents[1] == pytest.approx([0.0, 0.1, 0.2])
    assert max(fall for _, fall in account_curves.drawdown(0)) == 0.0
    span = span_of("x", account_curves.ts, account_curves.returns, [], 0, 9)
    assert span.total == pytest.approx(1.1 * (1 + 16.0 / 110.0) - 1.0)


def test_lots_that_came_in_kind_are_no_return_either() -> None:
    account_curves = curves(
        [1, 3], [100.0, 150.0], [[100.0, 0.0], [150.0, 0.0]], [Booking(1, "in_kind", "SPY", "50.00", "a", 2)]
    )
    assert account_curves.returns.tolist() == account_curves.agents[0].tolist() == [0.0, 0.0]


def test_bookings_name_the_book_that_a_flow_moved() -> None:
    run = ran(0.5)
    assert [(b.kind, b.book) for b in run.of(Booked)] == [("flow", 0)]  # type: ignore[attr-defined]
    assert [(b.kind, b.book) for b in ran(0.5, agent="").of(Booked)] == [("flow", HOUSE)]  # type: ignore[attr-defined]


def test_a_return_of_nothing_is_none() -> None:
    assert time_weighted_returns(np.array([0.0, 5.0, 6.0]), np.array([0.0, 5.0, 5.0])) == pytest.approx([0.0, 0.2])


def test_growth_survives_a_snapshot_and_is_taken_up_from_one_without_it() -> None:
    realised = Realised()
    for equity, flows in ((100, 100), (110, 100), (170, 160), (187, 160)):
        realised.add(equity, flows)
    assert realised.grown(187, 160) == pytest.approx(1.1 * (110 / 110) * 1.1)
    assert Realised.thaw(realised.freeze()).grown(187, 160) == realised.grown(187, 160)
    old = FrozenReturns(realised.freeze().equity, realised.freeze().flows)
    assert Realised.thaw(old).grown(187, 160) == pytest.approx(187 / 160)
