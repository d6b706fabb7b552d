"""A policy over a universe by date sees the members of the day, as if nothing else were traded."""

import numpy as np
import pytest

from quantd.strategies.policies import POLICIES
from quantd.strategies.policies.membership import MembersOfDay, MembersOnly, part_of
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Membership, Universe
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD, Noted, View

SIZE, SAMPLES = 6, 300
UNIVERSE = Universe(
    tuple(Instrument(f"S{k}") for k in range(SIZE)), benchmark="S0", groups=(("g", ("S0", "S4")), ("h", ("S5",)))
)
END = 20_000 * DAY_NS
MEMBERS = (1, 2, 4)
MEMBERSHIP = Membership([(k, 0, 2**62) for k in MEMBERS] + [(0, 0, END - 30 * DAY_NS), (5, END + DAY_NS, 2**62)])


def view_of(columns, universe, seed=1):
    prices = 100.0 * np.exp(np.random.default_rng(seed).normal(0.0003, 0.01, (SAMPLES, SIZE)).cumsum(axis=0))
    ring = Ring(len(columns), 260)
    for row in prices:
        ring.append(row[list(columns)])
    weights = np.linspace(0.05, 0.15, SIZE)[list(columns)]
    return View(
        universe=universe, ring=ring, prices=prices[-1][list(columns)], weights=weights, cash=0.1, equity=1e6,
        time=END, sample_time=END,
    )  # fmt: skip


WHOLE = view_of(range(SIZE), UNIVERSE)


class Asked:
    """A policy that keeps what it saw."""

    lookback = 20

    def __init__(self, answer=None):
        self.views, self.memories, self.answer = [], [], answer

    def act(self, view, memory):
        self.views.append(view)
        self.memories.append(dict(memory))
        weights = np.full(view.universe.size, 1.0 / view.universe.size) if self.answer is None else self.answer
        return weights, {"calls": np.array([len(self.views)], dtype=np.float64)}


@pytest.mark.parametrize(
    "name", ["equal_weight", "inverse_volatility", "momentum", "risk_parity", "min_variance", "hrp", "mean_variance"]
)
def test_a_registered_policy_answers_as_in_a_universe_of_the_members(name):
    policy = POLICIES[name]({})
    given, _ = MembersOfDay(policy, MEMBERSHIP).act(WHOLE, {})
    alone, _ = POLICIES[name]({}).act(view_of(MEMBERS, part_of(UNIVERSE, MEMBERS)), {})
    given, alone = (answer.weights if isinstance(answer, Noted) else answer for answer in (given, alone))
    np.testing.assert_allclose(given[list(MEMBERS)], alone, atol=1e-12)
    assert given[[0, 3, 5]].tolist() == [0.0, 0.0, 0.0]


def test_a_view_has_the_columns_of_the_members():
    policy = Asked()
    MembersOfDay(policy, MEMBERSHIP).act(WHOLE, {})
    view = policy.views[0]
    columns = list(MEMBERS)
    assert view.universe.symbols == ("S1", "S2", "S4")
    np.testing.assert_array_equal(view.prices, WHOLE.prices[columns])
    np.testing.assert_array_equal(view.weights, WHOLE.weights[columns])
    for k in (1, 20, 260):
        np.testing.assert_array_equal(view.returns(k), WHOLE.returns(k)[:, columns])
        np.testing.assert_array_equal(view.synchronous(k), WHOLE.synchronous(k)[:, columns])
    np.testing.assert_allclose(view.deviation(60), WHOLE.deviation(60)[columns])
    np.testing.assert_allclose(view.momentum(60, 5), WHOLE.momentum(60, 5)[columns])
    np.testing.assert_allclose(view.covariance(60), WHOLE.covariance(60)[np.ix_(columns, columns)])
    held = view.held_by(np.array([0.5, 0.0, 0.0]))
    assert (held.universe.symbols, held.cash) == (view.universe.symbols, 0.5)
    np.testing.assert_array_equal(held.returns(5), view.returns(5))
    with pytest.raises(ValueError, match="read-only"):
        view.prices[0] = 1.0


def test_groups_and_benchmark_are_those_among_the_members():
    part = part_of(UNIVERSE, MEMBERS)
    assert part.benchmark == ""
    assert part.groups == (("g", ("S4",)),)
    assert part_of(UNIVERSE, (0, 5)).benchmark == "S0"


def test_memory_is_kept_while_the_members_are_the_same():
    policy = Asked()
    membered = MembersOfDay(policy, MEMBERSHIP)
    _, memory = membered.act(WHOLE, {})
    _, memory = membered.act(WHOLE, memory)
    assert [memory_before.get("calls", [0.0])[0] for memory_before in policy.memories] == [0.0, 1.0]
    later = view_of(range(SIZE), UNIVERSE)
    later.sample_time = later.time = END + 5 * DAY_NS
    membered.act(later, memory)
    assert policy.memories[-1] == {}
    assert policy.views[-1].universe.symbols == ("S1", "S2", "S4", "S5")
    assert policy.views[0].universe is policy.views[1].universe


def test_without_members_everything_is_cash_and_a_hold_stays_a_hold():
    assert MembersOfDay(Asked(), Membership([])).act(WHOLE, {})[0].tolist() == [0.0] * SIZE
    assert MembersOfDay(Asked(HOLD), MEMBERSHIP).act(WHOLE, {})[0] is HOLD


def test_rules_around_a_policy_give_no_weight_to_others():
    given, _ = MembersOnly(Asked(np.full(SIZE, 0.1)), MEMBERSHIP).act(WHOLE, {})
    assert np.flatnonzero(given).tolist() == list(MEMBERS)
    assert MembersOnly(Asked(HOLD), MEMBERSHIP).act(WHOLE, {})[0] is HOLD


def test_the_day_of_a_sample_at_midnight_is_the_one_that_ends():
    policy = Asked()
    joined = Membership([(0, END, 2**62)])
    assert MembersOfDay(policy, joined).act(WHOLE, {})[0].tolist() == [0.0] * SIZE
    assert policy.views == []
