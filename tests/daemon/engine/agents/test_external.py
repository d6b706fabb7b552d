"""An outside agent in the engine: never asked, it trades by proposals where its policy sits, and each id once."""

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.daemon.engine.agents.proposals import MOST_WAITING, plan_digest
from quantd.daemon.engine.core.lacks import SCALED
from quantd.daemon.engine.state.promotion_rule import PromotionRules
from quantd.daemon.engine.state.proposal_log import IDS_KEPT, VERDICTS_KEPT, ProposalLog, ProposalVerdict, own_effects
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Ask, OrderBasket, Promotion, ProposalEnded, Publish, Refused, Shadowed
from quantd.trading.events import Operator, ProposalReviewed, Proposed, Tick
from quantd.trading.orders import Wish
from quantd.trading.sessions import DAY_NS
from tests.support.engine import OPEN, World, block, walk

GUEST = "s0"


def hold_cash(view):
    return np.zeros(len(view.prices))


def never(view):
    raise AssertionError("an outside agent is never asked")


class Gate(World):
    """One agent, and an outside agent as its shadow and challenger."""

    def __init__(self, *, days=60, seed=5, champion=hold_cash, market=None, promotion=None):
        bars = market if market is not None else block(walk(days, 2, seed))
        super().__init__(bars, [champion], house=OPEN, shadows=(never,), challenges=(0,), promotion=promotion)
        outside = (len(self.rules.agents),)
        shadows = tuple(replace(shadow, outside=outside) for shadow in self.rules.shadows)
        self.rules = replace(self.rules, outside=outside, shadows=shadows)
        self.shell = self.fresh(self)
        self.ahead, self.taken, self.asked = self.items(), [], []
        self.jobs = ()

    @property
    def state(self):
        return self.shell.state

    def take(self, item):
        self.taken.append(item)
        return (
            self.shell.run(item) if isinstance(item, (Proposed, ProposalReviewed, Operator)) else self.shell.take(item)
        )

    def advance(self, samples=1):
        while samples:
            item = next(self.ahead)
            if isinstance(item, Tick) and item.sample and self.jobs:
                item = replace(item, jobs=self.jobs)
            self.take(item)
            samples -= isinstance(item, Tick) and item.sample
        return self

    def propose(self, weights, id="1", **more):
        given = np.array(weights, dtype=np.float64).tobytes()
        return self.take(Proposed(self.state.now, GUEST, id, "a test", "me", given, **more))

    @property
    def last(self):
        return self.state.outside[GUEST].verdicts[-1]


def test_it_is_never_asked_and_trades_only_its_shadow_before_a_promotion():
    gate = Gate().advance(20)
    effects = gate.propose([0.5, 0.2])
    assert [type(e) for e in effects if not isinstance(e, Publish)] == [Shadowed]
    assert (gate.last.outcome, gate.last.book, gate.last.shadow, gate.last.orders) == ("passed", GUEST, True, 2)
    gate.advance(2)
    shadow = gate.state.shadows[0]
    assert shadow.held_weights(0) == pytest.approx([0.5, 0.2], abs=0.02)
    assert not gate.state.lots(0).any()
    assert not gate.of(OrderBasket)
    assert {e.agent for e in gate.of(Ask)} == {0}


def test_after_a_promotion_its_proposals_reach_the_house_and_the_old_policy_decides_in_the_shadow():
    gate = Gate(champion=lambda view: np.array([0.0, 0.6])).advance(10)
    gate.propose([0.5, 0.2])
    gate.advance(2)
    exchange_policies(gate.state, 0, 0)
    asked = len(gate.of(Ask))
    gate.advance(2)
    assert {(e.agent, e.policy) for e in gate.of(Ask)[asked:]} == {(1, 0)}
    before = gate.state.lots(0).tolist()
    effects = gate.propose([0.3, 0.0], id="2")
    assert any(isinstance(e, OrderBasket) for e in effects)
    assert (gate.last.book, gate.last.shadow) == ("a0", False)
    gate.advance(2)
    assert gate.state.lots(0).tolist() != before
    assert gate.state.held_weights(0) == pytest.approx([0.3, 0.0], abs=0.02)
    assert gate.state.shadows[0].held_weights(0) == pytest.approx([0.0, 0.6], abs=0.05)


def test_a_proposal_before_the_first_sample_is_answered():
    gate = Gate()
    exchange_policies(gate.state, 0, 0)
    gate.propose([0.5, 0.2])
    assert (gate.last.outcome, gate.last.orders) == ("refused", 0)
    assert gate.last.why == "no session has closed yet, so there is no price to trade at"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": np.array([np.nan, 0.1]).tobytes()}, "not finite"),
        ({"weights": np.array([1e308, 1e308]).tobytes()}, "mistake of units"),
        ({"weights": np.array([-9.0, 2.0]).tobytes()}, "mistake of units"),
        ({"weights": b"", "orders": (Wish(0, 2**62), Wish(1, 2**62))}, "mistake of units"),
        ({"weights": np.zeros(5).tobytes()}, "5 targets for 2 symbols"),
        ({"weights": b""}, "either weights or orders"),
        ({"expires": 1}, "has expired"),
        ({"id": ""}, "has no id"),
        ({"plan": "0" * 32}, "would differ now"),
    ],
)
def test_a_proposal_that_cannot_be_planned_is_refused_as_a_whole_and_recorded(change, words):
    gate = Gate().advance(20)
    base = Proposed(gate.state.now, GUEST, "1", "a test", "me", np.array([0.1, 0.1]).tobytes())
    effects = gate.take(replace(base, **change))
    assert [e.level for e in effects if isinstance(e, Publish)] == ["WARNING"]
    assert (gate.last.outcome, gate.last.orders) == ("refused", 0)
    assert words in gate.last.why
    assert not gate.state.shadows[0].working


def test_an_id_is_decided_once_also_over_a_promotion_and_a_snapshot():
    gate = Gate().advance(20)
    gate.propose([0.5, 0.2])
    exchange_policies(gate.state, 0, 0)
    copy = thaw(gate.rules, freeze(gate.state))
    for state in (gate.state, copy):
        again = Proposed(state.now, GUEST, "1", "a test", "me", np.array([0.9, 0.0]).tobytes())
        effects = step(state, again)
        assert [type(e) for e in effects] == [Publish, Refused]
        assert effects[1] == Refused("refused", "a proposal '1' was decided before")
        assert len(state.outside[GUEST].verdicts) == 1
        assert not state.working


def test_its_memory_is_bounded():
    log = ProposalLog()
    for n in range(IDS_KEPT + 50):
        log.note(ProposalVerdict(n, str(n), "me", "x", GUEST, True, "passed"))
    assert (len(log.ids), max(log.ids, key=int)) == (IDS_KEPT, str(IDS_KEPT + 49))
    assert len(log.verdicts) == VERDICTS_KEPT
    assert log.find("0") is None
    assert log.find(str(IDS_KEPT + 49)).ts == IDS_KEPT + 49


def test_the_promotion_test_promotes_it_and_the_events_replay_to_the_same_state():
    rng = np.random.default_rng(8)
    moves = np.stack([rng.normal(-0.001, 0.006, 100), rng.normal(0.005, 0.004, 100)], axis=1)
    prices = np.round(100 * np.exp(moves.cumsum(axis=0)), 2)
    rules = PromotionRules(samples=40, looks=2, resamples=800, seed=3)
    gate = Gate(market=block(prices), champion=lambda view: np.array([0.6, 0.0]), promotion=rules).advance(3)
    gate.jobs = ("promote",)
    for n in range(60):
        gate.propose([0.0, 0.8 - 0.01 * (n % 3)], id=f"{n}", expires=gate.state.now + 10)
        gate.advance(1)
    promoted = [e for e in gate.of(Promotion) if e.promoted]
    assert [e.names for e in promoted] == [("a0", GUEST)]
    assert gate.last.book == "a0"
    assert gate.state.lots(0)[1] > 0
    other = Gate(market=block(prices), champion=lambda view: np.array([0.6, 0.0]), promotion=rules)
    for item in gate.taken:
        if isinstance(item, Proposed):
            item = decode(encode(item, ())).event
        other.take(item)
    assert freeze(other.state) == freeze(gate.state)


class Reviewed(Gate):
    """An outside agent that trades in the house, and whose proposals wait for a person."""

    def __init__(self, within=0):
        super().__init__()
        self.rules = replace(self.rules, reviewed=dict.fromkeys(self.rules.outside, within))
        self.shell = self.fresh(self)
        self.advance(10)
        exchange_policies(self.state, 0, 0)

    def review(self, approve=True, id="1", **more):
        return self.take(ProposalReviewed(self.state.now, GUEST, id, approve, "seen", "ann", **more))


def test_a_proposal_that_needs_a_person_is_an_order_only_after_the_approval():
    gate = Reviewed()
    said = gate.propose([0.5, 0.2])
    assert [type(e) for e in said] == [Publish]
    assert "waits for a person until the next sample" in said[0].text
    assert (gate.last.outcome, gate.last.orders, [r.agent for r in gate.state.reviews]) == ("approval", 0, [GUEST])
    effects = gate.review()
    assert [e.lots for e in effects if isinstance(e, OrderBasket)]
    assert (gate.last.outcome, gate.last.orders, gate.last.book, gate.state.reviews) == ("passed", 2, "a0", [])
    gate.advance(2)
    assert gate.state.held_weights(0) == pytest.approx([0.5, 0.2], abs=0.02)


def test_a_proposal_that_waits_survives_a_restart_and_lapses_at_the_next_sample():
    gate = Reviewed()
    gate.propose([0.5, 0.2])
    again = thaw(gate.rules, freeze(gate.state))
    assert (freeze(again), again.reviews) == (freeze(gate.state), gate.state.reviews)
    gate.advance()
    assert (gate.last.outcome, gate.state.reviews, gate.of(OrderBasket)) == ("lapsed", [], [])
    assert [e.text for e in gate.of(Publish)][-1].endswith("lapsed: nobody decided in time")
    refused = gate.review()
    assert [e.text for e in refused if isinstance(e, Refused)] == [
        "no proposal '1' of s0 waits; it was decided, replaced or has lapsed"
    ]
    assert not gate.of(OrderBasket)


def test_a_declined_and_a_replaced_proposal_say_so_and_order_nothing():
    gate = Reviewed()
    gate.propose([0.5, 0.2])
    gate.propose([0.4, 0.2], id="2")
    assert [verdict.outcome for verdict in gate.state.outside[GUEST].verdicts] == ["lapsed", "approval"]
    gate.review(approve=False, id="2")
    assert (gate.last.outcome, gate.last.why) == ("declined", "ann: seen")
    assert (gate.of(OrderBasket), gate.state.reviews) == ([], [])


def test_an_approval_is_refused_where_the_orders_would_differ_from_its_preview_or_the_house_is_halted():
    gate = Reviewed()
    gate.propose([0.5, 0.2])
    differs = gate.review(plan="0" * 32)
    gate.take(Operator(gate.state.now, "halt", "a test", "ann"))
    halted = gate.review()
    assert ["would differ now" in str(differs), "is halted" in str(halted)] == [True, True]
    assert ([r.agent for r in gate.state.reviews], gate.last.outcome, gate.of(OrderBasket)) == ([GUEST], "approval", [])
    gate.take(Operator(gate.state.now, "resume", "a test", "ann"))
    copy = thaw(gate.rules, freeze(gate.state))
    copy.now = gate.state.now
    effects = step(copy, ProposalReviewed(copy.now, GUEST, "1", True, "seen", "ann"))
    gate.review(plan=plan_digest(gate.state.reviews[0], effects))
    assert (gate.last.outcome, len(gate.of(OrderBasket))) == ("passed", 1)


def test_a_shadow_needs_no_person_because_none_of_its_orders_is_real():
    gate = Gate()
    gate.rules = replace(gate.rules, reviewed=dict.fromkeys(gate.rules.outside, 0))
    gate.shell = gate.fresh(gate)
    gate.advance(10).propose([0.5, 0.2])
    assert (gate.last.outcome, gate.state.reviews) == ("passed", [])


def test_several_orders_wait_for_a_person_beside_each_other_and_each_end_is_an_effect():
    gate = Reviewed(within=3 * DAY_NS)
    for n in range(MOST_WAITING + 1):
        effects = gate.take(Proposed(gate.state.now, GUEST, str(n), "a test", "me", orders=(Wish(0, 5),)))
    assert f"{MOST_WAITING} of its proposals wait for a person already" in str(effects)
    gate.review(id="1")
    gate.review(approve=False, id="0")
    assert [(e.id, e.outcome, e.why) for e in gate.of(ProposalEnded)] == [("0", "declined", "ann: seen")]
    assert [basket.cause for basket in gate.of(OrderBasket)] == ["s0/1"]
    gate.advance(2)
    assert len(gate.state.reviews) == MOST_WAITING - 2
    gate.advance(3)
    assert (gate.state.reviews, len(gate.of(ProposalEnded))) == ([], MOST_WAITING - 1)
    assert {e.outcome for e in gate.of(ProposalEnded)[1:]} == {"lapsed"}


def test_what_the_limits_refuse_does_not_wait_for_a_person():
    gate = Reviewed()
    effects = gate.take(Proposed(gate.state.now, GUEST, "1", "a test", "me", orders=(Wish(0, 10**6),), whole=True))
    (refused,) = (e for e in effects if isinstance(e, Refused))
    assert "at most" in refused.text
    assert gate.state.reviews == []


def within_gross(exposure):
    """A gate whose outside agent may hold this gross exposure."""
    gate = Gate()
    (shadow,) = gate.rules.shadows
    limits = replace(shadow.agents[0].limits, max_gross_exposure=exposure, in_flight=0.0)
    agent = replace(shadow.agents[0], limits=limits)
    gate.rules = replace(gate.rules, shadows=(replace(shadow, agents=(agent,)),))
    gate.shell = gate.fresh(gate)
    return gate.advance(20)


def test_targets_that_exposure_limits_scale_are_cut_and_cut_again():
    gate = within_gross(0.5)
    for id in ("1", "2"):
        gate.propose([0.4, 0.4], id=id)
        assert gate.last.outcome == "cut"
        assert [(line.code, line.asked > 0) for line in gate.last.symbols] == [(SCALED, True)] * 2
        gate.advance(3)
    assert gate.state.shadows[0].held_weights(0) == pytest.approx([0.25, 0.25], abs=0.02)


@pytest.mark.parametrize(
    ("exposure", "why"), [(0.5, "the weights exceed the limits of exposure"), (0.81, "the rest waits for cash")]
)
def test_whole_targets_that_limits_scale_or_keep_back_send_nothing(exposure, why):
    gate = within_gross(exposure)
    (refused,) = (e for e in own_effects(gate.propose([0.4, 0.4], whole=True)) if isinstance(e, Refused))
    assert why in refused.text
    assert not gate.state.shadows[0].working
    gate.propose([0.2, 0.2], whole=True)
    assert (gate.last.outcome, gate.last.orders) == ("passed", 2)
