"""Stop orders from outside: when they fire, what they count, and how they end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.daemon.engine.agents.stop_orders import replacing
from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.state import HOUSE
from quantd.risk.limits.catalogue import override
from quantd.trading.effects import Cancel, Filled, OrdersHeld, ProposalEnded, Publish
from quantd.trading.events import Operator, ProposalReviewed, Proposed
from quantd.trading.instruments import NANO
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, OrderBasket, Wish
from tests.support.minutes import SESSION, at
from tests.support.night import FREE
from tests.support.price_paths import BARS, FIRST, Counted, Path


def stop(lots: int, price: float, limit: float = 0.0, end: int = UNTIL_CANCELLED) -> Wish:
    return Wish(0, lots, round(limit * NANO), end, trigger_nano=round(price * NANO))


@pytest.mark.parametrize(
    ("lots", "price", "moves", "bar"),
    [
        (-5, 98.0, {20: 98.01, 30: 98.0, 40: 97.0}, 30),  # at its price
        (-5, 98.0, {20: 99.0, 30: 96.0, 40: 99.0}, 30),  # over it
        (5, 102.0, {20: 101.99, 30: 102.0}, 30),
        (5, 102.0, {20: 101.0, 30: 104.0, 31: 100.0}, 30),
    ],
)
def test_a_stop_fires_at_the_first_bar_that_reaches_its_price(
    lots: int, price: float, moves: dict[int, float], bar: int
) -> None:
    run = Path(moves)

    def later() -> None:
        run.order(stop(lots, price))
        assert (run.outcome, run.sent()) == ("waits", [])
        assert run.of(OrdersHeld)[
            0
        ].why == f"held until a bar of {run.universe.symbols[0]} closes at {price:.2f} or " + (
            "above" if lots > 0 else "below"
        )

    run.until({2: lambda: run.hold(10), FIRST: later})
    (basket,) = run.sent()
    assert (basket.ts, basket.lots) == (at(0, bar + 1), [lots])
    assert run.outcome == "passed"
    assert list(run.shell.state.lots(0)) == [10 + lots, 0]
    assert run.shell.state.awaiting == []


@pytest.mark.parametrize("end", [0, UNTIL_CANCELLED])
def test_a_stop_by_hand_fires_as_that_of_a_program(end: int) -> None:
    run = Path({20: 98.01, 30: 98.0})
    by_hand = Proposed(0, "a0", "", "a test", "me", orders=(stop(-5, 98.0, end=end),), by_hand=True)
    run.until({2: lambda: run.hold(10), FIRST: lambda: run.shell.run(replace(by_hand, ts=run.shell.state.now))})
    (basket,) = [basket for basket in run.of(OrderBasket) if basket.lots == [-5]]
    assert basket.ts == at(0, 31)
    assert list(run.shell.state.lots(0)) == [5, 0]
    assert run.shell.state.awaiting == []


def test_a_stop_whose_price_is_never_reached_stays_and_a_day_order_expires() -> None:
    run = Path({30: 98.01})
    run.until(
        {2: lambda: run.hold(10), FIRST: lambda: (run.order(stop(-5, 98.0)), run.order(stop(-5, 98.0, end=-2), id="2"))}
    )
    assert [proposal.id for proposal in run.shell.state.awaiting] == ["1"]
    assert [(e.id, e.outcome) for e in run.of(ProposalEnded)] == [("2", "lapsed")]
    assert [p.orders for p in run.shell.state.awaiting] == [(stop(-5, 98.0),)]


def test_a_stop_limit_rests_at_its_limit_after_a_jump_and_fills_there() -> None:
    run = Path({30: 95.0, 60: 97.6})
    run.until({2: lambda: run.hold(10), FIRST: lambda: run.order(stop(-5, 98.0, 97.5))})
    (basket,) = run.sent()
    assert (basket.ts, basket.worst_nano) == (at(0, 31), [int(97.5 * NANO)])
    assert [e.ts for e in run.of(Filled)][-1] == at(0, 60), "within the bar"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (stop(-5, 101.0), "is reached: 100.00 now; send a market order"),
        (stop(5, 100.0), "is reached"),
        (stop(-5, 98.001), "no multiple of its tick"),
        (stop(-5, 98.0, 60.0), "is beyond the collar of the stop 98"),
        (stop(5, 102.0, 150.0), "is beyond the collar of the stop 102"),
    ],
)
def test_a_stop_that_cannot_be_meant_is_refused_with_a_remedy(wish: Wish, words: str) -> None:
    run = Path({})
    run.until({2: lambda: run.hold(10), FIRST: lambda: run.order(wish)})
    assert (run.sent(), run.of(OrdersHeld), run.shell.state.awaiting) == ([], [], [])
    assert any(words in text for text in run.refusals), run.refusals


def test_stops_count_from_the_first_moment_and_the_gate_refuses_what_they_would_break() -> None:
    run = Path({}, limits=override(FREE, max_position_weight=0.5))
    most = int(0.5 * run.shell.state.equity_micro / 1e6 / 100)

    def act() -> None:
        run.order(stop(most // 2, 102.0), id="1")
        run.order(stop(most // 2, 103.0), id="2")
        run.order(stop(most // 2, 104.0), id="3")
        run.order(Wish(0, most // 2, 0, THE_DAY), id="4")
        state = run.shell.state
        for book in (0, HOUSE):
            account = account_of(state, book)
            assert account.up is not None
            assert (account.up[0], account.open_orders) == (2 * (most // 2), 2)

    run.until({FIRST: act})
    assert [p.id for p in run.shell.state.awaiting] == ["1", "2"]
    assert sum("max_position_weight" in text for text in run.refusals) == 2, run.refusals
    assert run.of(OrderBasket) == []


def test_an_order_that_closes_the_position_ends_the_stop_in_its_way() -> None:
    run = Path({50: 90.0})
    close = Wish(0, -10, 0, THE_DAY)
    run.until(
        {2: lambda: run.hold(10), FIRST: lambda: run.order(stop(-10, 98.0)), 20: lambda: run.order(close, id="2")}
    )
    assert [(e.id, e.outcome) for e in run.of(ProposalEnded)] == [("1", "withdrawn")]
    assert (run.outcome_of("1"), run.outcome_of("2")) == ("withdrawn", "passed")
    assert list(run.shell.state.lots(0)) == [0, 0]


def test_a_tighter_market_cancels_a_stop_that_no_longer_fits() -> None:
    """The stop purchase would be half of the book; the symbol doubles before it fires."""
    run = Path({20: 109.0, 21: 118.0, 22: 128.0}, limits=override(FREE, max_position_weight=0.5))
    most = int(0.5 * run.shell.state.equity_micro / 1e6 / 100)
    run.until({FIRST: lambda: run.order(stop(most - most // 50, 140.0))})
    (end,) = run.of(ProposalEnded)
    assert (end.outcome, run.sent()) == ("refused", [])
    assert any("the stop order to buy" in alert.text for alert in run.of(Publish))


def test_a_halt_and_a_cancel_end_a_stop() -> None:
    run = Path({50: 90.0})

    def act() -> None:
        run.order(stop(-5, 98.0), id="1")
        run.order(stop(-5, 97.0), id="2")
        run.shell.run(ProposalReviewed(run.shell.state.now, "a0", "1", False, "no longer", "me"))
        assert [p.id for p in run.shell.state.awaiting] == ["2"]

    run.until({
        2: lambda: run.hold(10), FIRST: act,
        20: lambda: run.shell.run(Operator(run.shell.state.now, "halt", "a test", "me")),
    })  # fmt: skip
    assert [(e.id, e.outcome) for e in run.of(ProposalEnded)] == [("1", "declined"), ("2", "refused")]


def test_a_stop_of_yesterday_waits_for_the_first_price_of_the_session() -> None:
    run = Path({SESSION: 90.0})
    run.until({2: lambda: run.hold(10), FIRST: lambda: run.order(stop(-5, 98.0))})
    assert [basket.ts for basket in run.sent()] == [at(1, 1)]


def test_a_stop_is_replaced_at_once_or_stays_where_the_new_one_is_refused() -> None:
    run = Path({30: 96.5})

    def act() -> None:
        run.order(stop(-5, 98.0))
        run.order(stop(-50_000, 97.5), id="2", replaces="1")
        assert [proposal.id for proposal in run.shell.state.awaiting] == ["1"], "refused: the old one stays"
        run.order(stop(-6, 97.0), id="3", replaces="1")
        assert [proposal.id for proposal in run.shell.state.awaiting] == ["3"]
        run.order(stop(-6, 96.0), id="4", replaces="1")

    run.until({2: lambda: run.hold(10), FIRST: act})
    assert [(e.id, e.outcome) for e in run.of(ProposalEnded)] == [("1", "replaced")]
    assert len(run.refusals) == 2
    assert "no order '1' of a0 is open" in run.refusals[1]
    assert ([basket.ts for basket in run.sent("3")], run.sent("1"), run.sent("4")) == ([at(0, 31)], [], [])
    assert list(run.shell.state.lots(0)) == [4, 0]


def test_a_resting_order_is_replaced_by_its_cancel_and_then_the_new_order() -> None:
    run = Path({30: 99.0, 60: 97.0}, override(FREE, max_position_weight=0.5))
    most = int(0.5 * run.shell.state.equity_micro / 1e6 / 100)

    def act() -> None:
        run.order(rest(most - most // 50, 95.0))
        run.order(rest(2 * most, 98.0), id="2", replaces="1")
        assert len(run.shell.state.working) == 1, "refused: the old one stays"
        run.order(rest(most - most // 50, 98.0), id="3", replaces="1")

    run.until({FIRST: act})
    assert (len(run.of(Cancel)), len(run.refusals)) == (1, 1)
    assert "max_position_weight" in run.refusals[0]
    assert [basket.lots for basket in run.sent("3")] == [[most - most // 50]], "both at once would be refused"
    assert list(run.shell.state.lots(0)) == [most - most // 50, 0]
    assert {fill.price_nano[0] for fill in run.of(Filled)} == {98 * NANO}


def rest(lots: int, price: float) -> Wish:
    return Wish(0, lots, round(price * NANO), UNTIL_CANCELLED)


def test_what_fills_before_the_cancel_is_not_ordered_again() -> None:
    """The venue fills the old order before it takes the cancel."""
    run = Path({30: 94.0})
    run.until({FIRST: lambda: run.order(rest(10, 95.0))})
    state = run.shell.state
    held = Proposed(state.now, "a0", "2", "a test", "me", orders=(rest(15, 96.0),), whole=True, replaces="1")
    state.awaiting.append(held)
    left = replacing(state, held)
    assert (left.orders[0].lots, left.replaces, state.awaiting) == (5, "", [left])


@given(
    st.lists(st.floats(-0.02, 0.02), min_size=40, max_size=40),
    st.lists(
        st.tuples(st.integers(3, 38), st.integers(-40, 40).filter(bool), st.floats(0.97, 1.03), st.booleans()),
        max_size=8,
    ),
)
@settings(deadline=None, max_examples=25)
def test_no_run_with_stops_holds_more_than_was_counted_and_each_fires_at_the_first_bar(
    moves: list[float], asked: list[tuple[int, int, float, bool]]
) -> None:
    closes = np.round(100.0 * np.exp(np.cumsum(moves)), 2)
    run = Counted(
        {bar: float(price) for bar, price in enumerate(closes)},
        override(FREE, max_position_weight=0.8, collar=0.1, allow_short=True),
    )
    plans: dict[int, list[tuple[str, Wish]]] = {}
    for number, (bar, percent, factor, limited) in enumerate(asked):
        price = round(float(closes[bar]) * factor, 2)
        lots = round(percent / 100 * run.shell.state.equity_micro / 1e6 / 100)
        limit = round(price * (1.01 if lots > 0 else 0.99), 2) if limited else 0.0
        plans.setdefault(bar, []).append((str(number), stop(lots, price, limit)))
    acts = {bar: lambda bar=bar: [run.order(wish, id=id) for id, wish in plans[bar]] for bar in plans}
    run.until({2: lambda: run.hold(100), **acts})  # type: ignore[arg-type]
    held = {effect.id for effect in run.of(OrdersHeld)}
    over = {effect.id: effect.ts for effect in run.of(ProposalEnded)}
    for bar, orders in plans.items():
        for id, wish in orders:
            if id not in held:
                continue
            price, side = wish.trigger_nano / NANO, 1 if wish.lots > 0 else -1
            first = next((k for k in range(bar + 1, 40) if side * closes[k] >= side * price), None)
            fired = [basket.ts for basket in run.sent(id)]
            if first is None:
                assert fired == []
            elif fired:
                assert fired == [at(0, first + 1)]
            else:
                assert over[id] <= at(0, first + 1), "it ended before it could fire, or when it fired"
    assert run.seen > BARS


def test_a_flatten_sells_what_a_stop_would_sell_and_ends_it() -> None:
    run = Path({60: 96.0})
    flatten = lambda: run.shell.run(Operator(run.shell.state.now, "flatten", "a test", "me"))  # noqa: E731
    run.until({2: lambda: run.hold(10), FIRST: lambda: run.order(stop(-10, 98.0)), 20: flatten})
    assert [effect.id for effect in run.of(ProposalEnded)] == ["1"]
    assert (run.sent(), list(run.shell.state.lots(0))) == ([], [0, 0])
