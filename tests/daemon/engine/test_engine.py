"""The engine's behaviour, through the real gate, ledger and paper venue."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

import quantd.daemon.engine.planning.plan
from quantd.daemon.engine import HANDLERS, find_handlers, step
from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.state.snapshot import freeze, in_force, thaw
from quantd.daemon.engine.venue import halts
from quantd.daemon.engine.venue.reports import News
from quantd.daemon.engine.venue.unknown import SENDINGS
from quantd.risk.limits.catalogue import Limits, override
from quantd.risk.switch import HALT, REDUCE, RUN
from quantd.trading.effects import Again, Booked, Cancel, Crossed, Filled, Planned, Publish, Query, Switched, Valued
from quantd.trading.events import (
    Action,
    CancelReported,
    Condition,
    Event,
    NotFound,
    Operator,
    Reloaded,
    Stopping,
    Tick,
    Unknown,
)
from quantd.trading.execution import Costs
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD, Noted, View
from tests.support.engine import CASH, START, Kept, World, block, walk
from tests.support.examples import examples
from tests.support.order_reports import HOUR, RESEARCH, Silent, report, sent


def equal(view: object) -> np.ndarray:
    n = view.universe.size  # type: ignore[attr-defined]
    return np.full(n, 1.0 / n)


def nothing(view: object) -> np.ndarray:
    return np.zeros(view.universe.size)  # type: ignore[attr-defined]


def test_every_event_but_the_items_of_the_fold_has_a_handler() -> None:
    assert set(HANDLERS) == {*get_args(Event)} - {MarketSlice, Tick}
    assert {list(function.__annotations__.values())[1] for function in HANDLERS.values()} == set(HANDLERS)


def test_an_event_with_two_handlers_is_an_error_that_names_both_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_busted() -> None: ...

    on_busted.__module__ = halts.__name__
    monkeypatch.setattr(halts, "on_busted", on_busted, raising=False)
    with pytest.raises(TypeError, match=r"venue.busts, quantd.daemon.engine.venue.halts of"):
        find_handlers()


def test_a_decision_on_a_close_fills_at_the_next_open_and_not_before() -> None:
    closes = np.array([[100.0], [100.0], [100.0]])
    opens = np.array([[99.0], [101.0], [102.0]])
    world = World(block(closes, opens), [equal], house=RESEARCH).run()
    first = world.of(Filled)[0]
    assert first.price_nano == [101 * 10**9]
    assert first.ts == START + DAY_NS + 10 * HOUR
    assert world.of(OrderBasket)[0].ts == START + 16 * HOUR


def test_weights_become_lots_floored_towards_zero_after_headroom() -> None:
    world = World(block(np.full((2, 1), 333.0)), [lambda v: np.array([0.5])], house=Limits(fee_bp=1.0)).run()
    assert world.of(OrderBasket)[0].lots == [int(CASH * 0.5 // 333)]
    full = World(block(np.full((2, 1), 333.0)), [lambda v: np.array([1.0])], house=Limits(fee_bp=1.0)).run()
    plan = full.of(Planned)[0]
    # the target is what the cash pays for at the last price with the fee
    assert plan.agents[0].scale == pytest.approx(1 / 1.0001)
    target = int(CASH / 1.0001 // 333)
    # of it is ordered what the cash pays for at the worst price, a collar of 5 % away, with the fee; the rest waits
    bought = full.of(OrderBasket)[0].lots[0]
    assert np.frombuffer(plan.agents[0].kept, dtype="<i8").tolist() == [target - bought]
    assert bought * 333 * 1.05 * 1.0001 <= CASH < (bought + 2) * 333 * 1.05 * 1.0001


@pytest.mark.requirement("R-131")
def test_a_change_smaller_than_min_trade_is_not_made_except_to_zero() -> None:
    target = [0.500, 0.503, 0.0]
    world = World(
        block(np.full((5, 1), 100.0)),
        [lambda v: np.array([target[min((v.time - START) // DAY_NS, 2)]])],
        house=RESEARCH,
        min_trade=0.005,
    ).run()
    assert [b.lots for b in world.of(OrderBasket)] == [[5000], [-5000]]


@pytest.mark.requirement("R-163")
def test_opposite_wishes_of_two_agents_cross_without_an_order_or_a_fee() -> None:
    def seller(view: object) -> np.ndarray:
        day = (view.time - START) // DAY_NS  # type: ignore[attr-defined]
        return np.array([0.8 if day < 2 else 0.0])

    def buyer(view: object) -> np.ndarray:
        day = (view.time - START) // DAY_NS  # type: ignore[attr-defined]
        return np.array([0.0 if day < 2 else 0.8])

    costs = Costs(commission_bp=10.0)
    world = World(
        block(np.full((6, 1), 100.0)), [seller, buyer], house=override(RESEARCH, fee_bp=10.0), costs=costs
    ).run()
    crossed = world.of(Crossed)
    assert len(crossed) == 1
    (seller_no, sold), (buyer_no, bought) = crossed[0].shares
    assert (seller_no, buyer_no) == (0, 1)
    assert bought == -sold > 3900
    ledger = world.shell.state.ledger
    assert ledger.books[0].lots == [0]
    assert ledger.books[1].lots[0] > 3900
    # the house paid commission for the first purchase (and the little the buyer had more to buy), not for the cross
    assert ledger.house.fees_micro < 2 * 400_000 * 1_000_000 * 10 // 10_000


@pytest.mark.requirement("R-166")
def test_agents_within_their_own_limits_are_cut_where_the_house_would_exceed_its_own() -> None:
    def held(bound: float) -> tuple[list[float], float]:
        """The weight of each book at the end, and of the house."""
        both = [lambda view: np.array([0.55])] * 2
        house, agent_limits = Limits(max_position_weight=bound), Limits(max_position_weight=0.6)
        state = World(block(np.full((4, 1), 100.0)), both, house=house, agent=agent_limits).run().shell.state
        value = [book.lots[0] * 100.0 / (CASH / 2) for book in state.ledger.books[:2]]
        return value, state.ledger.house.lots[0] * 100.0 / CASH

    books, house = held(0.6)
    assert min(books) == pytest.approx(0.55, abs=0.01)
    assert house == pytest.approx(0.55, abs=0.01)
    books, house = held(0.5)
    assert 0.49 < house <= 0.5
    assert max(books) < 0.55


def test_a_split_overnight_rescales_lots_and_open_orders_and_costs_nothing() -> None:
    closes = np.array([[100.0], [100.0], [25.0], [25.0]])
    opens = np.array([[100.0], [100.0], [25.0], [25.0]])
    ex = START + 2 * DAY_NS
    split = Action(ex + 10 * HOUR, ex, 0, "split", 4, 1)
    world = World(block(closes, opens), [lambda v: np.array([0.5])], house=RESEARCH, actions=[split]).run()
    values = [v.equity_micro for v in world.of(Valued)]
    assert values == [CASH * 1_000_000] * 4
    assert world.shell.state.ledger.house.lots == [20_000]
    assert world.shell.state.history.known.returns(3)[:, 0] == pytest.approx([0.0, 0.0, 0.0])


@pytest.mark.parametrize("cash_nano", [0, 7_250_000_000])
def test_a_delisting_turns_the_position_into_cash_and_nothing_more_is_bought(cash_nano: int) -> None:
    closes = np.full((8, 2), 100.0)
    closes[4:, 0] = np.nan
    gone = START + 4 * DAY_NS
    action = Action(gone + 10 * HOUR, gone, 0, "delisting", cash_nano=cash_nano)
    # the first agent is away from its aim on every day, so that orders rest over the delisting
    turning = lambda v: np.array([0.3 + 0.1 * (v.sample_time // DAY_NS % 2), 0.3])  # noqa: E731
    world = World(block(closes), [turning, equal], house=RESEARCH, actions=[action], shares=[0.5, 0.5]).run()
    state = world.shell.state
    assert [account.lots[0] for account in (state.ledger.house, *state.ledger.books)] == [0, 0, 0, 0]
    sizes = [(f.sym[k], f.lots[k]) for f in world.of(Filled) if f.ts < gone for k in range(len(f.sym))]
    held = sum(lots for symbol, lots in sizes if symbol == 0)
    assert held > 3_000
    assert [(b.kind, b.amount_micro) for b in world.of(Booked)] == [("delisting", held * cash_nano // 1000)]
    assert world.of(Valued)[-1].equity_micro == CASH * 1_000_000 - held * (100 * 10**9 - cash_nano) // 1000
    assert not state.working
    assert not [e for e in world.of(OrderBasket) if e.ts > gone and 0 in e.sym]
    assert np.isnan(state.marks[0])


def test_a_delisting_at_a_remote_venue_cancels_and_leaves_the_lots_to_its_account() -> None:
    closes = np.full((5, 1), 100.0)
    gone = START + 3 * DAY_NS
    world = World(block(closes), [lambda v: np.array([0.5])], house=RESEARCH, venue_pays=True)
    world.run(item for item in world.items() if getattr(item, "ts", 0) < gone)
    world.shell.run(Action(gone + 10 * HOUR, gone, 0, "delisting", cash_nano=10**9))
    assert world.shell.state.ledger.house.lots == [5000]
    assert any(p.level == "WARNING" and p.kind == "action" for p in world.of(Publish))


def test_a_dividend_is_cash_on_the_ex_date_for_what_was_held_at_the_previous_close() -> None:
    closes = np.full((4, 1), 100.0)
    ex = START + 2 * DAY_NS
    dividend = Action(ex + 10 * HOUR, ex, 0, "dividend", cash_nano=1_500_000_000)
    world = World(block(closes), [lambda v: np.array([0.5])], house=RESEARCH, actions=[dividend]).run()
    assert [b.amount_micro for b in world.of(Booked)] == [5000 * 1_500_000]
    early = Action(START + 10 * HOUR, START, 0, "dividend", cash_nano=1_500_000_000)
    assert World(block(closes), [equal], house=RESEARCH, actions=[early]).run().of(Booked) == []


@pytest.mark.requirement("R-158")
@pytest.mark.parametrize(
    "bad",
    [
        lambda v: np.array([np.nan, 0.1]),
        lambda v: np.array([np.inf, 0.1]),
        lambda v: np.array([0.5]),
        lambda v: np.array([100.0, 0.0]),
        lambda v: 1 / 0,
        lambda v: "weights",
        lambda v: None,
    ],
)
def test_a_broken_policy_holds_is_suspended_and_harms_nobody_else(bad: object) -> None:
    closes = walk(8, 2, 1)
    alone = World(block(closes), [equal], house=RESEARCH, shares=[0.5]).run()
    both = World(block(closes), [equal, bad], house=RESEARCH, shares=[0.5, 0.5]).run()  # type: ignore[list-item]
    assert both.shell.state.ledger.books[0].lots == alone.shell.state.ledger.books[0].lots
    assert both.shell.state.agents[1].suspended
    assert any("the agent holds" in a.text and a.agent == "a1" for a in both.of(Publish))
    assert any(a.level == "CRITICAL" and a.agent == "a1" for a in both.of(Publish))


def test_hold_keeps_every_lot() -> None:
    def once(view: object) -> object:
        return np.array([0.5]) if not view.weights.any() else HOLD  # type: ignore[attr-defined]

    world = World(block(walk(30, 1, 2)), [once], house=RESEARCH).run()
    assert len(world.of(OrderBasket)) == 1


def test_a_stale_symbol_keeps_its_lots_and_the_others_are_not_scaled_up() -> None:
    closes = np.full((6, 2), 100.0)
    closes[3:, 1] = np.nan
    limits = override(RESEARCH, max_price_age_ns=DAY_NS + HOUR)
    world = World(block(closes), [lambda v: np.array([0.3, 0.3] if v.time < START + 3 * DAY_NS else [0.5, 0.0])],
                  house=limits).run()  # fmt: skip
    assert world.shell.state.ledger.house.lots == [5000, 3000]


def rotating(view: object) -> np.ndarray:
    n = view.universe.size  # type: ignore[attr-defined]
    day = (view.sample_time - START) // DAY_NS  # type: ignore[attr-defined]
    weights = np.zeros(n)
    weights[(day // 21 * 2) % n :][:2] = 0.5
    return weights


@pytest.mark.requirement("R-133")
def test_a_rotation_is_met_by_follow_ups_without_sizing_on_money_not_yet_received() -> None:
    """Without follow-ups a strategy that rotates every 21 sessions waits in cash until it is asked again."""
    closes = walk(420, 6, 5)

    def invested(follow_ups: int) -> float:
        # asked by schedule: an agent that decides at every sample has no follow-ups
        world = World(block(closes), [rotating], house=Limits(), follow_ups=follow_ups)
        agents = tuple(type(a)(a.name, a.capital_micro, a.limits, a.min_trade, True) for a in world.rules.agents)
        world.rules = type(world.rules)(
            **{f: getattr(world.rules, f) for f in world.rules.__struct_fields__ if f != "agents"}, agents=agents
        )
        world.shell = world.fresh(world)
        for item in world.items():
            if hasattr(item, "sample") and item.sample and ((item.ts - START) // DAY_NS) % 21 == 0:
                item = type(item)(item.ts, True, item.key, item.final, (0,))  # type: ignore[union-attr]
            world.shell.take(item)
            assert world.shell.state.ledger.house.cash_micro >= 0
        return float(np.mean([v.gross for v in world.of(Valued)[30:]]))

    assert invested(0) < 0.6
    assert invested(2) >= 0.9


@pytest.mark.requirement("R-138")
def test_a_drawdown_moves_the_switch_and_only_reducing_orders_pass() -> None:
    closes = np.concatenate([np.full((5, 1), 100.0), np.linspace(100, 60, 10)[:, None], np.full((5, 1), 60.0)])
    house = Limits(max_drawdown=0.15)
    world = World(block(closes), [lambda v: np.array([0.9])], house=house, agent=Limits()).run()
    switched = world.of(Switched)
    assert [(s.agent, s.before, s.after, s.reason) for s in switched] == [(-1, RUN, REDUCE, "drawdown")]
    later = [b for b in world.of(OrderBasket) if b.ts > switched[0].ts]
    assert all(lots < 0 for b in later for lots in b.lots)
    assert any("drawdown limit reached" in a.text for a in world.of(Publish))


def test_the_switch_rearms_after_its_samples_on_a_replayed_feed_and_never_before() -> None:
    closes = np.concatenate([np.full((3, 1), 100.0), np.full((40, 1), 80.0)])
    world = World(
        block(closes), [lambda v: np.array([0.9])], house=Limits(max_drawdown=0.1), agent=Limits(), rearm_samples=21
    )
    world.run()
    moves = world.of(Switched)
    assert [s.after for s in moves] == [REDUCE, RUN]
    assert (moves[1].ts - moves[0].ts) // DAY_NS == 21
    assert world.shell.state.switch.high_water < CASH * 1_000_000


def test_halt_passes_nothing_and_resume_needs_a_person() -> None:
    world = World(block(walk(12, 2, 4)), [equal], house=RESEARCH)
    items = list(world.items())
    world.shell.run(Operator(START, "halt", "because", "me"))
    world.run(iter(items[:10]))
    assert world.of(OrderBasket) == []
    world.shell.run(Operator(world.shell.state.now, "resume", "all well", "me"))
    world.run(iter(items[10:]))
    assert world.of(OrderBasket)


def test_resume_is_refused_while_something_is_down() -> None:
    world = World(block(walk(4, 1, 4)), [equal], house=RESEARCH)
    world.shell.run(Condition(START, "feed", False, "silent"))
    assert world.shell.state.switch.state == REDUCE
    world.shell.run(Operator(START, "resume", "hope", "me"))
    assert world.shell.state.switch.state == REDUCE
    world.shell.run(Condition(START, "feed", True, "bars again"))
    world.shell.run(Operator(START, "resume", "all well", "me"))
    assert world.shell.state.switch.state == RUN


@pytest.mark.requirement("R-158")
@pytest.mark.parametrize(
    ("what", "to"), [("feed", REDUCE), ("broker", REDUCE), ("clock", REDUCE), ("store", HALT), ("ledger", HALT)]
)
def test_each_condition_moves_the_switch_as_far_as_it_must(what: str, to: int) -> None:
    world = World(block(walk(2, 1, 4)), [equal], house=RESEARCH)
    world.shell.run(Condition(START, what, False, "gone"))  # type: ignore[arg-type]
    assert world.shell.state.switch.state == to


def test_limits_that_were_reloaded_hold_from_the_next_decision_and_are_in_a_replay() -> None:
    closes = walk(20, 2, 3)
    tight = Limits(max_position_weight=0.1)

    def run() -> World:
        world = World(block(closes), [lambda v: np.array([0.4, 0.4])], house=Limits(), agent=Limits())
        items = list(world.items())
        world.run(iter(items[:10]))
        rules = structs.replace(world.rules, house=tight)
        world.shell.run(Reloaded(world.shell.state.now, "d", ("risk.max_position_weight",), in_force(rules)))
        return world.run(iter(items[10:]))

    first = run()
    kept = freeze(first.shell.state)
    before = [b for b in first.of(OrderBasket) if b.ts < START + 5 * DAY_NS]
    assert before[0].lots[0] > 3_000
    assert thaw(first.rules, kept).rules.house == tight
    assert freeze(run().shell.state) == kept


# reports of a venue that is late, forgetful or wrong


parts = st.lists(st.integers(1, 400), min_size=1, max_size=8)


@pytest.mark.long
@pytest.mark.requirement("R-169")
@given(parts, st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=examples(80), deadline=None)
def test_each_fill_is_posted_once_however_reports_are_repeated_and_reordered(
    sizes: list[int], random, last: bool
) -> None:  # type: ignore[no-untyped-def]
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    asked = basket.lots[0]
    sizes = [s for k, s in enumerate(sizes) if sum(sizes[: k + 1]) <= asked]
    cum, reports = 0, [report(basket, 0, 0, Cause.ACCEPTED)]
    for size in sizes:
        cum += size
        is_complete = cum == asked
        reports.append(
            report(basket, cum, size, Cause.LAST_FILL if is_complete else Cause.PART_FILL, (99 + size) * 10**9)
        )
    if last and cum < asked:
        reports.append(report(basket, cum, 0, Cause.CANCELLED))
    sent_twice = reports + random.sample(reports, len(reports))
    random.shuffle(sent_twice)
    for venue_report in sent_twice:
        world.shell.run(venue_report)
    ledger = world.shell.state.ledger
    assert ledger.house.lots == [cum]
    spent = sum(s * (99 + s) for s in sizes) * 1_000_000
    assert ledger.house.cash_micro == CASH * 1_000_000 - spent
    work = next((w for _, w in world.shell.state.ended), None) or next(iter(world.shell.state.working.values()))
    if last and cum < asked:
        assert list(work.state) == [OrderState.CANCELLED]
    assert not any(p.level == "CRITICAL" for p in world.of(Publish))


PAUSE = "orders that add to it pause, for 1 minute at first and up to 60 while this lasts"


@pytest.mark.parametrize(
    ("cause", "reason", "text"),
    [
        (Cause.REJECTED, "no margin", f"rejected by the venue: no margin; {PAUSE}"),
        (Cause.REJECTED, "", f"rejected by the venue: no reason given; {PAUSE}"),
        (Cause.EXPIRED, "", "expired with 5000 of 5000 lots unfilled"),
        (Cause.CANCELLED, "", ""),
    ],
)
def test_an_order_that_the_venue_ended_by_itself_is_announced(cause: Cause, reason: str, text: str) -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    if cause != Cause.REJECTED:
        world.shell.run(report(basket, 0, 0, Cause.ACCEPTED))
    world.shell.run(structs.replace(report(basket, 0, 0, cause), reason=reason))
    assert world.shell.state.working == {}
    said = [(p.level, p.text, p.symbol) for p in world.of(Publish) if p.kind in ("order", "refusal")]
    assert said == ([("WARNING", text, "S0")] if text else [])


def test_an_order_that_ended_before_its_fills_arrived_keeps_its_risk_and_asks() -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    asked = basket.lots[0]
    world.shell.run(report(basket, 100, 0, Cause.CANCELLED))
    assert world.of(Query)
    assert list(world.shell.state.working) == [(basket.sample, basket.n)]
    world.shell.run(report(basket, 100, 100, Cause.PART_FILL))
    assert world.shell.state.working == {}
    assert world.shell.state.ledger.house.lots == [100]
    assert asked > 100


def test_the_last_word_about_an_end_counts_when_an_earlier_one_named_other_lots() -> None:
    """An end that was told before a reverse split and heard after it left its order open for ever."""
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    world.shell.run(report(basket, 400, 400, Cause.PART_FILL))
    world.shell.run(report(basket, 2_000, 0, Cause.CANCELLED))
    assert world.of(Query)
    world.shell.run(report(basket, 400, 0, Cause.CANCELLED))
    assert world.shell.state.working == {}
    assert list(list(world.shell.state.ended)[-1][1].state) == [OrderState.CANCELLED]
    assert world.shell.state.ledger.house.lots == [400]


def test_an_unknown_outcome_is_asked_for_and_keeps_its_risk_reserved() -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    world.shell.run(Unknown(basket.sample, basket.n, basket.ts + 1, [0], "time-out"))
    assert world.of(Query)[-1] == Query(basket.sample, basket.n, [0])
    account = account_of(world.shell.state, -1)
    assert account.up is not None
    assert account.up[0] == basket.lots[0]
    world.shell.run(NotFound(basket.sample, basket.n, basket.end[0] + 1, [0]))
    assert world.shell.state.working == {}
    assert list(list(world.shell.state.ended)[-1][1].state) == [OrderState.EXPIRED]


def test_an_order_that_never_arrived_is_sent_again_while_its_decision_holds() -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    for times in range(1, SENDINGS + 1):
        never = NotFound(basket.sample, basket.n, basket.ts + 2, [0], times - 1)
        world.shell.run(Unknown(basket.sample, basket.n, basket.ts + 1, [0], "time-out"))
        world.shell.run(never)
        assert world.of(Again) == [Again(basket.sample, basket.n, [0])] * times
        world.shell.run(never)  # the same news twice: it has been sent since
        assert len(world.of(Again)) == times
    account = account_of(world.shell.state, -1)
    assert account.up is not None
    assert account.up[0] == basket.lots[0], "its risk was reserved all along"
    world.shell.run(NotFound(basket.sample, basket.n, basket.ts + 2, [0], SENDINGS))
    assert list(list(world.shell.state.ended)[-1][1].state) == [OrderState.EXPIRED], "not for ever"


@pytest.mark.parametrize(
    "why", ["its time is over", "its price is old", "it was withdrawn", "only reducing orders pass", "a split"]
)
def test_an_order_that_never_arrived_is_not_sent_again_when(why: str) -> None:
    house = override(RESEARCH, max_price_age_ns=3 * HOUR) if why == "its price is old" else RESEARCH
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=house)
    basket = sent(world)
    ts = basket.ts + 2
    match why:
        case "its time is over":
            ts = basket.end[0]
        case "its price is old":
            ts = basket.ts + 3 * HOUR + 1
        case "it was withdrawn":
            world.shell.run(Operator(world.shell.state.now, "halt", "x", "me"))
        case "only reducing orders pass":
            world.shell.state.switch.state = REDUCE
        case _:
            world.shell.run(Action(ts, 0, 0, "split", 2, 1))
    world.shell.run(NotFound(basket.sample, basket.n, ts, [0]))
    assert world.of(Again) == []
    assert list(list(world.shell.state.ended)[-1][1].state) == [OrderState.EXPIRED]


def test_of_orders_that_never_arrived_those_that_may_not_be_sent_again_end_beside_those_that_may() -> None:
    """The switch is at REDUCE: the sale is sent again, the purchase is not."""

    def turned(view: object) -> np.ndarray:
        return np.array([0.5, 0.0] if view.time < START + DAY_NS else [0.2, 0.3])  # type: ignore[attr-defined]

    world = World(block(np.full((4, 2), 100.0)), [turned], house=override(RESEARCH, in_flight=1.0))
    items = list(world.items())
    for item in items[:3]:
        world.shell.take(item)
    world.shell.broker = Silent()  # type: ignore[assignment]
    world.shell.take(items[3])
    basket = world.of(OrderBasket)[1]
    assert (basket.sym, basket.lots) == ([0, 1], [-3_000, 3_000])
    world.shell.state.switch.state = REDUCE
    world.shell.run(NotFound(basket.sample, basket.n, basket.ts + 2, [0, 1]))
    assert world.of(Again) == [Again(basket.sample, basket.n, [0])]
    (work,) = world.shell.state.working.values()
    assert list(work.state) == [OrderState.SENT, OrderState.EXPIRED]
    assert work.live == 1


def test_an_order_that_is_good_till_cancelled_and_never_arrived_is_sent_again() -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH, good_till_cancelled=True)
    basket = sent(world)
    assert basket.end == [0]
    world.shell.run(NotFound(basket.sample, basket.n, basket.ts + 2, [0]))
    assert world.of(Again) == [Again(basket.sample, basket.n, [0])]


def test_a_fill_of_an_order_said_never_to_exist_is_still_posted() -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    world.shell.run(Unknown(basket.sample, basket.n, basket.ts + 1, [0], "time-out"))
    world.shell.run(NotFound(basket.sample, basket.n, basket.end[0] + 1, [0]))
    assert world.shell.state.working == {}
    world.shell.run(report(basket, 10, 10, Cause.PART_FILL))
    assert world.shell.state.ledger.house.lots == [10]
    world.shell.state.ledger.check()


@pytest.mark.parametrize("lie", ["too much", "overlap", "rejected after a fill"])
def test_a_venue_that_contradicts_itself_leaves_only_reducing_orders(lie: str) -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    asked = basket.lots[0]
    if lie == "too much":
        world.shell.run(report(basket, asked + 1, 1, Cause.PART_FILL))
    else:
        world.shell.run(report(basket, 10, 10, Cause.PART_FILL))
        second = report(basket, 15, 10, Cause.PART_FILL) if lie == "overlap" else report(basket, 10, 0, Cause.REJECTED)
        world.shell.run(second)
    assert world.shell.state.switch.state == REDUCE
    assert any(p.level == "CRITICAL" and p.kind == "broker" for p in world.of(Publish))


def test_reports_of_a_basket_that_is_not_ours_only_raise_an_alert() -> None:
    world = World(block(np.full((3, 1), 100.0)), [equal], house=RESEARCH)
    world.shell.run(Reports(1, 1, START, [0], [5], [5], [10**9], [0], [int(Cause.LAST_FILL)]))
    assert world.shell.state.ledger.house.lots == [0]
    assert world.of(Publish)[0].kind == "broker"


def test_a_refused_cancel_is_followed_by_a_question() -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    world.shell.run(CancelReported(basket.sample, basket.n, basket.ts + 1, 0, "too late"))
    assert world.of(Query)[-1].row == [0]


def test_a_venue_that_does_not_know_is_asked_once_and_again_at_the_next_tick() -> None:
    world = World(block(np.full((4, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    for _ in range(3):
        world.shell.run(Unknown(basket.sample, basket.n, basket.ts + 1, [0], "not known yet"))
    assert len(world.of(Query)) == 1
    world.shell.take(Tick(basket.ts + HOUR))
    assert len(world.of(Query)) == 2


@pytest.mark.parametrize("command", ["halt", "reduce"])
def test_a_cancel_that_was_lost_or_refused_is_asked_for_again_while_the_switch_is_not_in_run(command: str) -> None:
    world = World(block(np.full((4, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    basket = sent(world)
    world.shell.run(report(basket, 0, 0, Cause.ACCEPTED))
    world.shell.run(Operator(world.shell.state.now, command, "x", "me"))  # type: ignore[arg-type]
    assert len(world.of(Cancel)) == 1
    world.shell.run(Unknown(basket.sample, basket.n, basket.ts + 1, [0], "no answer to the cancel"))
    world.shell.run(report(basket, 0, 0, Cause.ACCEPTED))
    world.shell.take(Tick(basket.ts + HOUR))
    assert len(world.of(Cancel)) == 2


def test_resuming_between_samples_takes_the_equity_at_that_moment() -> None:
    world = World(block(np.array([[100.0], [100.0], [120.0], [120.0]])), [lambda v: np.array([0.5])], house=RESEARCH)
    items = list(world.items())
    world.run(iter(items[:5]))  # the slice of the third day, not yet its sample
    world.shell.run(Operator(world.shell.state.now, "reduce", "x", "me"))
    kept = freeze(world.shell.state)
    world.shell.run(Operator(world.shell.state.now, "resume", "y", "me"))
    held = world.shell.state.ledger.house.lots[0]
    assert world.shell.state.switch.high_water == (CASH + held * 20) * 1_000_000
    thawed = thaw(world.rules, kept)
    step(thawed, Operator(thawed.now, "resume", "y", "me"))
    assert freeze(thawed) == freeze(world.shell.state)


def test_stopping_cancels_what_is_open_only_when_told_to() -> None:
    world = World(block(np.full((3, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)
    sent(world)
    world.shell.run(Stopping(START, False, "bye"))
    assert world.of(Cancel) == []
    world.shell.stopped = ""
    world.shell.run(Stopping(START, True, "bye"))
    assert len(world.of(Cancel)) == 1


# purity


@pytest.mark.long
def test_freezing_and_thawing_between_any_two_days_changes_no_later_byte() -> None:
    closes = walk(60, 4, 9)
    house = Limits(max_drawdown=0.05, max_position_weight=0.3)

    def momentum(view: object) -> object:
        past = np.nan_to_num(view.returns(5)).sum(axis=0)  # type: ignore[attr-defined]
        return Noted(np.where(past > 0, 0.25, 0.0), f"{int((past > 0).sum())} rise")

    straight = Kept()
    world = World(block(closes), [momentum, equal], house=house, agent=Limits(), rearm_samples=5, log=straight)
    items = list(world.items())
    for item in items:
        world.shell.take(item)
    again = Kept()
    shell = world.fresh(again)  # type: ignore[arg-type]
    for item in items:
        kept = shell.keep()
        assert freeze(thaw(world.rules, freeze(shell.state))) == freeze(shell.state)
        shell = world.fresh(again)  # type: ignore[arg-type]
        shell.restore(world.rules, kept)
        shell.take(item)
    assert again.entries == straight.entries
    assert shell.digest.hexdigest() == world.shell.digest.hexdigest()


def test_what_a_policy_says_is_said_to_people_once_until_it_says_something_else() -> None:
    said = ["", "", "bull", "bull", "bear", "", "bear", "bear"]

    def speaks(view: View) -> object:
        k = view.sample_time // DAY_NS - START // DAY_NS
        return Noted(np.array([0.1, 0.1]), said[k % len(said)], warns=said[k % len(said)] == "bear")

    world = World(block(walk(8, 2, 3)), [speaks], house=Limits()).run()
    alerts = [(e.level, e.text, e.agent) for e in world.of(Publish) if e.kind == "policy_note"]
    assert alerts == [("INFO", "bull", "a0"), ("WARNING", "bear", "a0"), ("WARNING", "bear", "a0")]


# ---- shortcuts: what is quick says what the long way says ---------------------------------------------------------


def turning(view: object) -> np.ndarray:
    """Other weights each day, some of them short, so that all symbols trade and limits cut."""
    n = view.universe.size  # type: ignore[attr-defined]
    day = view.sample_time // DAY_NS  # type: ignore[attr-defined]
    return 0.6 * np.sin(np.arange(n) * 1.7 + day * 2.1)


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("agents", [1, 3])
@pytest.mark.parametrize("shortcut", ["all_filled", "same_book"])
def test_a_shortcut_changes_no_effect(shortcut: str, agents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(max_position_weight=0.3, max_gross_exposure=1.0, max_net_exposure=0.5, max_concentration=0.2)

    def run() -> list[object]:
        acts = [turning, equal, nothing][:agents]
        costs = Costs(commission_bp=1.0, participation=3e-5)  # now and then an order fills in parts
        world = World(block(walk(60, 5, 3)), acts, house=limits, costs=costs).run()
        assert len(world.of(Filled)) > 40
        plans = [
            structs.replace(p, values={}, values_before={}, agents=[structs.replace(a, values={}) for a in p.agents])
            for p in world.of(Planned)
        ]
        baskets = [structs.replace(b, values={}) for b in world.of(OrderBasket)]
        return [plans, baskets, world.of(Filled), world.of(Valued)]

    quick = run()
    used = False

    def never(*_: object) -> bool:
        nonlocal used
        used = True
        return False

    monkeypatch.setattr(News, "all_filled", never) if shortcut == "all_filled" else monkeypatch.setattr(
        quantd.daemon.engine.planning.plan, "same_book", never
    )
    assert run() == quick
    assert used == (shortcut == "all_filled" or agents == 1)
