"""The hold after an unexplained jump near a split ratio: what it refuses, what still works, and how it ends."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.carry_over import carry_of
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.runtime.host.fold_host import FoldHost
from quantd.risk.limits.catalogue import Limits, Reason
from quantd.risk.limits.settings import Protective
from quantd.trading.effects import Cancel, Crossed, Effect, Filled, Planned, Publish
from quantd.trading.events import Action, Carried, Operator
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO
from quantd.trading.market import Block, JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import OrderBasket
from quantd.trading.sessions import DAY_NS
from tests.support.engine import OPEN, START, Act, World, block, taken
from tests.support.examples import examples
from tests.support.orders_by_hand import by_hand

DAY, DAYS = 6, 16
"""The jump is at the open of this day."""


def prices(ratio: float, symbols: int = 2, days: int = DAYS) -> np.ndarray:
    """Closes of 100 with small moves; from DAY on, those of the first symbol are multiplied by `ratio`."""
    rng = np.random.default_rng(3)
    closes = np.round(100.0 + rng.normal(0.0, 0.3, (days, symbols)), 2)
    closes[DAY:, 0] = np.round(closes[DAY:, 0] * ratio, 2)
    return closes


def bars(closes: np.ndarray) -> Block:
    opens = np.vstack([closes[:1], closes[:-1]])
    opens[DAY, 0] = closes[DAY, 0]
    return block(closes, opens)


def jump(market: Block, numerator: int = 2, denominator: int = 1) -> PriceJumped:
    before, after = int(market.close_nano[DAY - 1][0]), int(market.open_nano[DAY][0])
    return PriceJumped(int(market.ts_open[DAY]), 0, before, after, numerator, denominator)


def world(
    act: Act | Sequence[Act] = lambda view: np.array([0.4, 0.4]),
    ratio: float = 0.5,
    numerator: int = 2,
    denominator: int = 1,
    **more: object,
) -> World:
    market = bars(prices(ratio))
    acts = [act] if callable(act) else list(act)
    limits = {"house": OPEN, **more}
    return World(market, acts, actions=[jump(market, numerator, denominator)], **limits)  # type: ignore[arg-type]


def until(run: World, day: int) -> World:
    """Everything up to the tick of `day`."""
    last = int(run.bars.ts_event[day])
    items = [item for item in run.items() if getattr(item, "ts_event", getattr(item, "ts", 0)) <= last]
    return run.run(iter(items))


def rest(run: World, day: int) -> World:
    """Everything after the tick of `day`."""
    last = int(run.bars.ts_event[day])
    return run.run(item for item in run.items() if getattr(item, "ts_event", getattr(item, "ts", 0)) > last)


def alerts(effects: Sequence[Effect], kind: str = "price_jump") -> list[Publish]:
    return [effect for effect in effects if isinstance(effect, Publish) and effect.kind == kind]


def do(run: World, event: object) -> Sequence[Effect]:
    effects = run.shell.run(event)  # type: ignore[arg-type]
    run.shell.state.ledger.check()
    return effects


def explained(run: World, numerator: int = 1, denominator: int = 1) -> JumpExplained:
    return JumpExplained(run.shell.state.now, 0, "announced late", "ann", numerator, denominator)


def test_agents_orders_are_refused_with_both_prices_and_the_others_go_on() -> None:
    turn = iter(range(1000))
    run = world(lambda view: np.array([0.3, 0.3]) if next(turn) % 2 else np.array([0.5, 0.5])).run()
    state = run.shell.state
    held = state.restrictions.jumped[0]
    assert (held.before_nano, held.after_nano) == (
        int(run.bars.close_nano[DAY - 1][0]),
        int(run.bars.open_nano[DAY][0]),
    )
    since = int(run.bars.ts_open[DAY])
    later = [plan for plan in run.of(Planned) if plan.ts > since]  # type: ignore[attr-defined]
    assert later
    for plan in later:
        part = plan.agents[0]  # type: ignore[attr-defined]
        asked, allowed = np.frombuffer(part.asked, "<i8"), np.frombuffer(part.allowed, "<i8")
        assert allowed[0] == 0
        if asked[0]:
            assert np.frombuffer(part.reason, np.int8)[0] == Reason.PRICE_JUMP
            assert part.values["price_jump.S0"][1] == held.before_nano / NANO
    sold = [basket for basket in run.of(OrderBasket) if basket.ts > since]  # type: ignore[attr-defined]
    assert {tuple(basket.sym) for basket in sold} == {(1,)}, "S1 goes on"  # type: ignore[attr-defined]


def test_the_history_keeps_the_price_before_until_the_hold_ends() -> None:
    run = until(world(), DAY + 2)
    state = run.shell.state
    assert state.history.known.returns(3)[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert state.history.synchronous.returns(3)[:, 0].tolist() == [0.0, 0.0, 0.0]
    do(run, explained(run, 2))
    rest(until_next := run, DAY + 2)
    for ring in (until_next.shell.state.history.known, until_next.shell.state.history.synchronous):
        assert np.abs(ring.returns(8)[:, 0]).max() < 0.05, "a split is no return"


def test_a_real_move_enters_the_history_once() -> None:
    run = until(world(), DAY + 2)
    do(run, explained(run))
    rest(run, DAY + 2)
    for ring in (run.shell.state.history.known, run.shell.state.history.synchronous):
        returns = ring.returns(DAYS - DAY)[:, 0]
        assert (returns < -0.4).sum() == 1
        assert np.prod(1.0 + returns) == pytest.approx(run.bars.close[-1][0] / run.bars.close[DAY - 1][0])


@pytest.mark.parametrize("batch", [False, True])
def test_open_orders_and_crosses_of_the_symbol_end_before_its_bar(batch: bool) -> None:
    def buy(view: object) -> np.ndarray:
        last = START + (DAY - 1) * DAY_NS + 16 * 3600 * NANO
        return np.array([0.4, 0.4]) if view.sample_time == last else np.zeros(2)  # type: ignore[attr-defined]

    run = until(world([buy, buy] if batch else buy), DAY - 1)
    assert run.shell.state.working
    rest(run, DAY - 1)
    since = int(run.bars.ts_open[DAY])
    assert any(isinstance(effect, Cancel) for effect in run.effects)
    filled = [fill for fill in run.of(Filled) if fill.ts >= since]  # type: ignore[attr-defined]
    assert all(0 not in fill.sym for fill in filled)  # type: ignore[attr-defined]
    assert any(1 in fill.sym for fill in filled), "the order in S1 filled"  # type: ignore[attr-defined]


def test_opposite_books_do_not_cross_when_a_person_flattens() -> None:
    acts: list[Act] = [lambda view: np.array([0.4, 0.0]), lambda view: np.array([-0.2, 0.0])]
    run = until(world(acts), DAY + 1)
    do(run, Operator(run.shell.state.now, "flatten", "out", "ann"))
    rest(run, DAY + 1)
    assert not [e for e in run.of(Crossed) if e.ts > int(run.bars.ts_open[DAY])]  # type: ignore[attr-defined]
    assert run.shell.state.ledger.house.held[0] == 0


def test_a_loss_limit_that_flattens_spares_a_held_symbol() -> None:
    limits = Limits(in_flight=1.0, max_cash_debit=1.0, max_drawdown=0.1)
    run = world(house=limits, flatten_on=("drawdown",)).run()
    state = run.shell.state
    assert state.switch.reason == "drawdown"
    assert state.flattening
    assert not state.flattens_jumped
    assert state.ledger.house.held[0] > 0
    assert state.ledger.house.held[1] == 0
    do(run, Operator(state.now, "flatten", "out", "ann"))
    assert state.flattens_jumped


def test_a_protective_level_does_not_act_on_a_held_symbol_until_the_move_is_real() -> None:
    limits = Limits(in_flight=1.0, max_cash_debit=1.0, protective=Protective(stop_loss=0.08))
    run = until(world(house=limits), DAY + 2)
    assert not alerts(run.effects, "protective")
    assert run.shell.state.ledger.house.held[0] > 0
    do(run, explained(run))
    rest(run, DAY + 2)
    assert "stop loss" in alerts(run.effects, "protective")[0].text
    assert run.shell.state.ledger.house.held[0] == 0


@pytest.mark.parametrize(("ratio", "fills_at_once"), [(0.8, True), (0.5, False)])
def test_a_stop_at_the_venue_stays_and_fills_down_to_its_limit(ratio: float, fills_at_once: bool) -> None:
    """The stop lies at 92 and sells down to 78."""
    limits = Limits(in_flight=1.0, max_cash_debit=1.0, protective=Protective(stop_loss=0.08, at_venue=True))
    run = until(world(lambda view: np.array([0.4, 0.0]), ratio, house=limits, min_trade=0.05), DAY - 1)
    assert run.shell.state.protection.stops
    rest(run, DAY - 1)
    fills = [fill for fill in run.of(Filled) if fill.ts >= int(run.bars.ts_open[DAY])]  # type: ignore[attr-defined]
    if not fills_at_once:
        assert not fills
        assert [work.basket.sym for work in run.shell.state.protection.stops.values()] == [[0]]
        return
    assert fills[0].price_nano == [int(run.bars.open_nano[DAY][0])]  # type: ignore[attr-defined]
    assert run.shell.state.ledger.house.held[0] == 0


def test_an_agents_refused_sale_leaves_the_stop_at_the_venue() -> None:
    limits = Limits(in_flight=1.0, max_cash_debit=1.0, protective=Protective(stop_loss=0.9, at_venue=True))
    out = START + (DAY + 1) * DAY_NS
    run = world(lambda view: np.array([0.4 if view.sample_time < out else 0.0, 0.0]), house=limits).run()
    state = run.shell.state
    assert state.ledger.house.held[0] > 0
    assert [w.basket.sym for w in state.protection.stops.values()] == [[0]]


def test_the_alert_names_prices_ratio_and_commands_and_returns_each_session() -> None:
    run = world().run()
    jump_alerts = alerts(run.effects)
    assert {alert.level for alert in jump_alerts} == {"CRITICAL"}
    assert len(jump_alerts) == 1 + DAYS - DAY
    before, after = run.bars.close[DAY - 1][0], run.bars.open[DAY][0]
    for part in (
        f"from {before:g} to {after:g}", "near 2:1", "`quantd resume --symbol S0 --jump real --reason TEXT`",
        "`quantd resume --symbol S0 --jump 2:1 --reason TEXT`",
    ):  # fmt: skip
        assert part in jump_alerts[0].text


def test_an_explained_split_is_booked_like_one_that_was_announced() -> None:
    run = until(world(), DAY + 1)
    book = run.shell.state.ledger.books[0]
    lots, cost = book.held[0], book.cost_micro[0]
    do(run, explained(run, 2))
    state = run.shell.state
    assert (book.held[0], book.cost_micro[0]) == (2 * lots, cost)
    assert not state.restrictions.jumped
    assert int(state.marks_nano[0]) == int(run.bars.close_nano[DAY + 1][0])
    assert alerts(run.effects)[-1].level == "INFO"
    ts = int(run.bars.ts_open[DAY])
    split_run = World(
        run.bars, [lambda view: np.array([0.4, 0.4])], house=OPEN,
        actions=[Action(ts, START + DAY * DAY_NS, 0, "split", 2, 1)],
    )  # fmt: skip
    until(split_run, DAY + 1)
    assert split_run.shell.state.ledger.books[0].cost_micro[0] > 0
    assert state.equity_micro == pytest.approx(split_run.shell.state.equity_micro, rel=0.01)


def test_an_open_order_of_the_venue_is_split_at_both_sides() -> None:
    limits = Limits(in_flight=1.0, max_cash_debit=1.0, protective=Protective(stop_loss=0.9, at_venue=True))
    run = until(world(lambda view: np.array([0.4, 0.0]), house=limits), DAY + 1)
    lots = run.shell.state.ledger.house.held[0]
    do(run, explained(run, 2))
    rest(run, DAY + 1)
    assert [list(work.lots) for work in run.shell.state.protection.stops.values()][-1] == [
        -run.shell.state.ledger.house.held[0]
    ]
    assert run.shell.state.ledger.house.held[0] >= 2 * lots * 0.9


def test_the_split_of_the_feed_ends_the_hold_that_it_explains() -> None:
    run = until(world(), DAY + 1)
    book = run.shell.state.ledger.books[0]
    lots = book.held[0]
    run.shell.take(Action(int(run.bars.ts_open[DAY + 2]), START + (DAY + 2) * DAY_NS, 0, "split", 2, 1))
    assert book.held[0] == 2 * lots
    assert not run.shell.state.restrictions.jumped


def test_another_split_pays_a_fraction_at_the_price_as_traded_and_goes_on_holding() -> None:
    """The position is valued at the price before a jump up; the venue pays a fraction at the price of now."""
    run = until(world(lambda view: np.array([0.4001, 0.4]), ratio=5.0, numerator=1, denominator=5), DAY + 1)
    state = run.shell.state
    lots, newest = state.ledger.house.held[0], state.restrictions.jumped[0].newest_nano
    split = Action(int(run.bars.ts_open[DAY + 2]), START + (DAY + 2) * DAY_NS, 0, "split", 2 * lots + 1, 2 * lots)
    cash = state.ledger.house.cash_micro
    run.shell.take(split)
    assert state.ledger.house.held[0] == lots  # half a lot is paid
    paid = state.ledger.house.cash_micro - cash
    assert paid == pytest.approx(newest * 2 * lots / (2 * lots + 1) / 2 / 1000, abs=2)
    assert int(state.marks_nano[0]) == state.restrictions.jumped[0].before_nano < newest / 4


def test_an_explanation_without_a_hold_changes_nothing() -> None:
    run = until(world(), DAY - 1)
    lots = list(run.shell.state.ledger.house.lots)
    assert alerts(do(run, explained(run, 2)), "operator")
    assert run.shell.state.ledger.house.lots == lots


def test_a_hold_survives_a_snapshot_and_a_new_run() -> None:
    run = until(world(), DAY + 1)
    state = run.shell.state
    again = thaw(run.rules, freeze(state))
    assert again.restrictions.jumped == state.restrictions.jumped
    assert freeze(again) == freeze(state)
    assert not FoldHost(run.shell.state).plain(), "the fold does not run past it"
    account = carry_of(freeze(state), run.universe, ("a0",), simulated=True)
    fresh = State(run.rules)
    step(fresh, Carried(state.now, "r1", account, state.now, state.now))
    assert fresh.restrictions.jumped == state.restrictions.jumped
    taken(fresh, jump(run.bars))
    assert fresh.restrictions.jumped == state.restrictions.jumped, "the jump of the past is known"


def test_a_shadow_is_held_too_and_has_no_alert_of_its_own() -> None:
    run = world(shadows=[lambda view: np.array([0.4, 0.4])]).run()
    assert run.shell.state.shadows[0].restrictions.jumped == run.shell.state.restrictions.jumped
    assert {alert.agent for alert in alerts(run.effects)} == {""}
    do(run, explained(run, 2))
    assert not run.shell.state.shadows[0].restrictions.jumped


@pytest.mark.long
@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.sampled_from(["buy", "sell", "halt", "resume", "flatten", "bar", "bar"]), max_size=8),
    st.sampled_from([(0.5, 2, 1), (2.0, 1, 2), (1 / 3, 3, 1)]),
    st.sampled_from([-0.5, 0.5]),
    st.booleans(),
)
def test_whatever_a_person_does_a_held_position_only_shrinks_and_is_marked_at_the_worse_price(
    actions: list[str], ratio: tuple[float, int, int], weight: float, split: bool
) -> None:
    factor, n, d = ratio
    run = until(world(lambda view: np.array([weight, 0.2]), factor, n, d, costs=Costs(spread_bp=2.0)), DAY)
    state, day = run.shell.state, DAY
    before = int(run.bars.close_nano[DAY - 1][0])
    for action in actions:
        held = state.ledger.house.held[0]
        match action:
            case "buy" | "sell":
                do(run, by_hand(state.now, "a0", 0, 50 if action == "buy" else -50, "by hand", "ann"))
            case "bar":
                if day + 1 < DAYS:
                    day += 1
                    last = int(run.bars.ts_event[day - 1])
                    one = int(run.bars.ts_event[day])
                    run.run(i for i in run.items() if last < getattr(i, "ts_event", getattr(i, "ts", 0)) <= one)
                    worse = max if state.ledger.house.held[0] < 0 else min
                    assert int(state.marks_nano[0]) == worse(before, int(run.bars.close_nano[day][0]))
            case _:
                do(run, Operator(state.now, action, "by hand", "ann"))  # type: ignore[arg-type]
        now = state.ledger.house.held[0]
        assert 0 in state.restrictions.jumped
        assert abs(now) <= abs(held)
        assert now * held >= 0
        assert freeze(thaw(state.rules, freeze(state))) == freeze(state)
    lots = state.ledger.house.held[0]
    do(run, explained(run, n, d) if split else explained(run))
    assert state.ledger.house.held[0] == (int(lots * n / d) if split else lots)
    assert int(state.marks_nano[0]) == int(run.bars.close_nano[day][0])
    assert state.lots(HOUSE)[0] == state.ledger.house.held[0]


def test_a_bar_of_an_earlier_day_is_no_bar_of_the_hold() -> None:
    """A carried account knows the hold, and the history of the new run begins before it."""
    run = until(world(), DAY + 1)
    fresh = State(run.rules)
    fresh.restrictions.jumped = dict(run.shell.state.restrictions.jumped)
    taken(fresh, MarketSlice(run.bars, 2))
    assert fresh.marks_nano[0] == run.bars.close_nano[2][0]
