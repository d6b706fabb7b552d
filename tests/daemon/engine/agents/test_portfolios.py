"""Portfolios: they open with capital of the house, trade by proposals only, and give everything back, to the unit."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.carry_over import Carry, carry_of, on_carried, unfit
from quantd.daemon.engine.agents.portfolios import vacant_places
from quantd.daemon.engine.agents.proposals import plan_digest
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import AgentRules
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits, override
from quantd.risk.switch import REDUCE, RUN
from quantd.trading.codec import decode, encode
from quantd.trading.effects import OrderBasket, Planned, Publish, Refused, Switched, Transferred
from quantd.trading.events import Carried, Flow, Operator, PortfolioClosed, PortfolioOpened, Proposed, Tick
from quantd.trading.orders import Wish
from tests.support.engine import CASH, World, block, walk
from tests.support.examples import examples
from tests.support.orders_by_hand import by_hand

LOOSE = Limits(in_flight=1.0, max_cash_debit=1.0)
MICRO = 1_000_000
SYMBOLS = 3


def even(view):
    return np.full(len(view.prices), 0.9 / len(view.prices))


class Desk(World):
    """A world with one agent and places for portfolios; `said` has the alerts of the last event."""

    def __init__(self, *, places=2, days=40, seed=5, share=0.4, limits=LOOSE, **more):
        super().__init__(block(walk(days, SYMBOLS, seed)), [even], house=limits,
                         shares=[share], **more)  # fmt: skip
        names = tuple(f"portfolio-{k + 1}" for k in range(places))
        place_rules = tuple(AgentRules(name, 0, limits, scheduled=True, place=True) for name in names)
        self.rules = replace(self.rules, agents=(*self.rules.agents, *place_rules), seats=(*self.rules.seats, *names))
        self.policies += [self.policies[0]] * places  # a place is never asked
        self.shell = self.fresh(self)
        self.taken = []
        self.ahead = self.items()

    @property
    def state(self) -> State:
        return self.shell.state

    def advance(self, samples=1):
        while samples:
            item = next(self.ahead)
            self.taken.append(item)
            self.shell.take(item)
            self.state.ledger.check()
            samples -= isinstance(item, Tick) and item.sample
        return self

    def send(self, event):
        self.taken.append(event)
        effects = self.shell.run(event)
        self.state.ledger.check()
        self.said = [e.text for e in effects if isinstance(e, Publish) and e.level == "WARNING"]
        return effects

    def open(self, name="core", capital=100_000, agent="portfolio-1"):
        return self.send(PortfolioOpened(self.state.now, agent, name, capital * MICRO, "a test", "me", "weights"))

    def propose(self, weights, agent="portfolio-1", id="1", **more):
        given = np.array(weights, dtype=np.float64).tobytes()
        return self.send(Proposed(self.state.now, agent, id, "a test", "me", given, **more))

    def close(self, name="core", how="flatten", to=""):
        return self.send(PortfolioClosed(self.state.now, name, how, "a test", "me", to))

    def replayed(self):
        """A second shell that takes the same items and events."""
        shell = self.fresh()
        for entry in self.taken:
            (shell.take if hasattr(entry, "block") or isinstance(entry, Tick) else shell.run)(entry)
        return shell


def held(desk, number=1):
    return list(desk.state.ledger.books[number].lots)


def test_a_portfolio_opens_with_cash_of_the_unallocated_book_and_no_profit():
    desk = Desk().advance(3)
    free, house = desk.state.ledger.books[-1].cash_micro, desk.state.ledger.house.cash_micro
    effects = desk.open()
    assert desk.state.ledger.books[1].cash_micro == 100_000 * MICRO
    assert desk.state.ledger.books[-1].cash_micro == free - 100_000 * MICRO
    assert desk.state.ledger.house.cash_micro == house
    assert [(e.source, e.target, e.cash_micro) for e in effects if isinstance(e, Transferred)] == [
        (-1, 1, 100_000 * MICRO)
    ]
    assert vacant_places(desk.state) == ["portfolio-2"]
    assert desk.state.in_use() == [0, 1]


@pytest.mark.requirement("R-268", "F-41")
def test_it_trades_by_proposals_only_and_holds_the_weights_after_the_next_open():
    desk = Desk().advance(3)
    desk.open()
    desk.advance(3)
    assert not any(held(desk))
    effects = desk.propose([0.5, 0.3, 0.0])
    (plan,) = (e for e in effects if isinstance(e, Planned))
    assert [part.agent for part in plan.agents] == [1]
    desk.advance(2)
    weights = desk.state.held_weights(1)
    assert weights == pytest.approx([0.5, 0.3, 0.0], abs=0.02)
    before = held(desk)
    desk.advance(10)
    assert held(desk) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agent": "a0"}, "decides by its own policy"),
        ({"agent": "portfolio-2"}, "no agent named"),
        ({"orders": (Wish(0, 5),)}, "either weights or orders"),
        ({"portfolio": "other"}, "is the place of the portfolio core now, not of other"),
    ],
)
def test_a_proposal_that_cannot_be_carried_out_is_refused_as_a_whole(change, words):
    desk = Desk().advance(3)
    desk.open()
    before = freeze(desk.state)
    asked = Proposed(desk.state.now, "portfolio-1", "1", "why", "me", np.array([0.5, 0.0, 0.0]).tobytes())
    effects = desk.send(asked := replace(asked, **change))
    assert words in desk.said[0]
    assert [type(e) for e in effects] == [Publish, Refused]
    assert desk.said[0].endswith(f" were refused: {effects[1].text}")
    logs, desk.state.outside = desk.state.outside, {}
    assert freeze(desk.state) == before  # but for the verdict, which only a book from outside has
    assert [v.why for log in logs.values() for v in log.verdicts] == [effects[1].text] * (asked.agent == "portfolio-1")


def test_nothing_is_planned_before_the_first_sample_or_while_the_house_is_halted():
    desk = Desk()
    desk.open()
    desk.propose([0.5, 0, 0])
    assert "no session has closed yet" in desk.said[0]
    desk.advance(3)
    desk.send(Operator(desk.state.now, "halt", "x", "me"))
    desk.propose([0.5, 0, 0], id="2")
    assert "halted" in desk.said[0]
    desk.send(Operator(desk.state.now, "resume", "x", "me"))
    assert any(isinstance(e, OrderBasket) for e in desk.propose([0.5, 0, 0], id="3"))


def test_a_proposal_of_lots_trades_exactly_these():
    desk = Desk().advance(3)
    desk.open()
    orders = (Wish(0, 7), Wish(2, 3))
    desk.send(Proposed(desk.state.now, "portfolio-1", "l", "x", "me", orders=orders))
    desk.advance(2)
    assert held(desk) == [7, 0, 3]


def test_manual_orders_and_cash_do_not_reach_a_portfolio_or_a_vacant_place():
    desk = Desk().advance(3)
    desk.open()
    desk.send(by_hand(desk.state.now, "portfolio-1", 0, 5, "x", "me"))
    assert "changes only by a rebalance" in desk.said[0]
    before = [book.cash_micro for book in desk.state.ledger.books]
    desk.send(Flow(desk.state.now, 5 * MICRO, "me", agent="portfolio-2", reason="x"))
    assert "no agent named" in desk.said[0]
    assert before == [book.cash_micro for book in desk.state.ledger.books]


@pytest.mark.parametrize(
    ("name", "capital", "agent", "words"),
    [
        ("core", 1_000, "portfolio-2", "is open already"),
        ("more", 1_000, "portfolio-1", "no place is vacant"),
        ("more", 0, "portfolio-2", "not above 0"),
        ("more", CASH, "portfolio-2", "exceeds the free cash of the unallocated book, 500000.00"),
    ],
)
def test_a_portfolio_that_cannot_be_opened_says_why_and_moves_nothing(name, capital, agent, words):
    desk = Desk().advance(3)
    desk.open()
    before = freeze(desk.state)
    desk.open(name, capital, agent)
    assert words in desk.said[0]
    assert freeze(desk.state) == before


def test_flattening_sells_everything_and_returns_the_cash():
    desk = Desk().advance(3)
    desk.open()
    desk.propose([0.5, 0.4, 0.0])
    desk.advance(3)
    assert any(held(desk))
    effects = desk.close()
    assert any(isinstance(e, OrderBasket) for e in effects)
    desk.propose([0.1, 0, 0], id="2")
    assert "is being closed" in desk.said[0]
    desk.advance(3)
    assert not desk.state.portfolios
    book = desk.state.ledger.books[1]
    assert (book.cash_micro, any(book.lots)) == (0, False)
    assert vacant_places(desk.state) == ["portfolio-1", "portfolio-2"]
    desk.open("again", 50_000)
    desk.advance(2)
    assert desk.state.watch.realised[2].grown(*_standing(desk)) == pytest.approx(1.0)


def _standing(desk):
    return desk.state.books_micro[1], desk.state.ledger.books[1].flows_micro


def test_handing_over_moves_lots_and_cash_in_kind_without_an_order_or_a_profit():
    desk = Desk().advance(3)
    desk.open()
    desk.propose([0.5, 0.0, 0.4])
    desk.advance(3)
    state = desk.state
    state.revalue()
    lots, portfolio_equity, fees = held(desk), state.books_micro[1], state.ledger.house.fees_micro
    taker, before = list(state.ledger.books[0].lots), state.books_micro[0]
    grown = state.watch.realised[1].grown(before, state.ledger.books[0].flows_micro)
    house, peak = state.equity_micro, state.agents[0].switch.high_water / before
    effects = desk.close(how="hand_over", to="a0")
    assert state.agents[0].switch.high_water / state.books_micro[0] == pytest.approx(peak)
    assert not [e for e in effects if isinstance(e, OrderBasket)]
    assert list(state.ledger.books[0].lots) == [a + b for a, b in zip(taker, lots, strict=True)]
    assert not any(held(desk))
    assert state.ledger.books[1].cash_micro == 0
    assert (state.equity_micro, state.ledger.house.fees_micro) == (house, fees)
    assert abs(state.books_micro[0] - before - portfolio_equity) <= 3
    after = state.watch.realised[1].grown(state.books_micro[0], state.ledger.books[0].flows_micro)
    assert after == pytest.approx(grown, abs=1e-9)
    assert vacant_places(state) == ["portfolio-1", "portfolio-2"]


def test_a_place_is_opened_again_as_if_nothing_had_been_in_it():
    desk = Desk().advance(3)
    desk.open()
    desk.propose([0.5, 0, 0])
    desk.advance(2)
    desk.send(Operator(desk.state.now, "reduce", "x", "me", "portfolio-1"))
    assert desk.state.agents[1].switch.state == REDUCE
    desk.close()
    desk.advance(3)
    desk.open("next")
    assert desk.state.agents[1].switch.state == RUN
    desk.propose([0.5, 0, 0])
    assert "was decided before" in desk.said[0]
    assert any(isinstance(e, OrderBasket) for e in desk.propose([0.5, 0, 0], id="2"))


def test_a_hand_over_waits_for_the_end_of_open_orders():
    desk = Desk().advance(3)
    desk.open()
    desk.propose([0.5, 0.0, 0.4])
    desk.close(how="hand_over", to="a0")
    desk.advance(3)
    assert not desk.state.portfolios
    assert not any(held(desk))


@pytest.mark.parametrize(
    ("name", "how", "to", "words"),
    [
        ("other", "flatten", "", "no portfolio has this name"),
        ("core", "hand_over", "nobody", "no other agent 'nobody'"),
        ("core", "hand_over", "portfolio-1", "no other agent"),
        ("core", "hand_over", "portfolio-2", "no other agent"),
    ],
)
def test_a_portfolio_that_cannot_be_closed_says_why(name, how, to, words):
    desk = Desk().advance(3)
    desk.open()
    desk.close(name, how, to)
    assert words in desk.said[0]
    assert list(desk.state.portfolios) == [1]


def test_an_empty_place_trips_no_switch_and_raises_no_alert():
    limits = override(LOOSE, max_drawdown=0.02, max_daily_loss=0.01)
    desk = Desk(places=3, limits=limits).advance(35)
    assert {e.agent for e in desk.of(Switched)} <= {-1, 0}
    assert {e.agent for e in desk.of(Publish)} <= {"", "a0"}
    assert all(desk.state.switch_at(k).state == RUN for k in (1, 2, 3))


def test_places_change_no_order_of_the_agents():
    with_places, without = Desk(places=4).advance(35), Desk(places=0).advance(35)
    assert with_places.of(OrderBasket) == without.of(OrderBasket)


def test_a_dry_run_on_a_copy_shows_exactly_what_is_executed():
    desk = Desk().advance(3)
    desk.open()
    asked = Proposed(desk.state.now, "portfolio-1", "1", "why", "me", np.array([0.5, 0.2, 0.1]).tobytes())
    copy = thaw(desk.rules, freeze(desk.state))
    shown = step(copy, asked)
    digest = plan_digest(asked, shown)
    done = desk.send(replace(asked, plan=digest))
    assert [e for e in done if isinstance(e, OrderBasket)] == [e for e in shown if isinstance(e, OrderBasket)]
    assert copy.portfolios == desk.state.portfolios
    later = Desk().advance(3)
    later.open()
    later.advance(1)
    later.send(replace(asked, ts=later.state.now, plan=digest))
    assert "would differ now" in later.said[0]


OPS = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 3), st.integers(1, 200_000)),
    st.tuples(st.just("propose"), st.integers(0, 3), st.lists(st.floats(-0.2, 0.7), min_size=3, max_size=3)),
    st.tuples(st.just("flatten"), st.integers(0, 3), st.none()),
    st.tuples(st.just("hand_over"), st.integers(0, 3), st.sampled_from(["a0", "portfolio-1", "portfolio-2"])),
    st.tuples(st.just("advance"), st.integers(1, 3), st.none()),
)


@pytest.mark.long
@settings(max_examples=examples(40), deadline=None)
@given(st.lists(OPS, min_size=4, max_size=16), st.integers(0, 3))
def test_any_sequence_keeps_the_books_and_a_replay_ends_in_the_same_state(ops, seed):
    desk = Desk(places=3, days=60, seed=seed).advance(3)
    for number, (what, which, more) in enumerate(ops):
        place = f"portfolio-{which % 3 + 1}"
        match what:
            case "open":
                desk.open(f"p{which}", more, place)
            case "propose":
                desk.propose(more, place, str(number))
            case "advance":
                desk.advance(which)
            case _:
                desk.close(f"p{which}", what, more or "")
        if number == len(ops) // 2 and desk.state.round is None:
            # a snapshot in between continues alike
            assert freeze(thaw(desk.rules, freeze(desk.state))) == freeze(desk.state)
    desk.advance(4)
    state = desk.state
    assert sum(book.cash_micro for book in state.ledger.books) == state.ledger.house.cash_micro
    for number in (1, 2, 3):
        if state.vacant(number):
            book = state.ledger.books[number]
            assert (book.cash_micro, any(book.lots)) == (0, False)
    again = desk.replayed()
    assert again.digest.hexdigest() == desk.shell.digest.hexdigest()
    assert freeze(again.state) == freeze(state)
    for event in desk.taken:
        if isinstance(event, (PortfolioOpened, PortfolioClosed, Proposed)):
            assert decode(encode(event, ())).event == event


def carried(desk):
    return carry_of(freeze(desk.state), desk.universe, [a.name for a in desk.rules.agents], simulated=True)


def test_an_open_portfolio_is_carried_into_a_run_with_more_places_and_fewer_are_refused():
    desk = Desk().advance(3)
    desk.open("core", agent="portfolio-2")
    desk.propose([0.5, 0, 0.2], "portfolio-2")
    desk.advance(3)
    account = carried(desk)
    wider = State(Desk(places=4).rules)
    assert unfit(account, wider.rules) == ""
    on_carried(wider, Carried(desk.state.now, "old", account))
    assert wider.portfolios[2] == desk.state.portfolios[2]
    assert wider.ledger.books[2].lots == desk.state.ledger.books[2].lots
    wider.ledger.check()
    why = unfit(account, Desk(places=1).rules)
    assert "portfolio core is open in the place portfolio-2, and [portfolios] has 1 places; close it first" in why
    assert msgspec.msgpack.decode(account, type=Carry).portfolios["portfolio-2"].name == "core"
    desk.close()
    if desk.state.portfolios:
        with pytest.raises(ValueError, match="portfolio core is being closed"):
            carried(desk)
