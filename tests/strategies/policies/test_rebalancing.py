"""The rules of rebalancing as an agent has them: when it trades and when it holds, over a walked market."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from quantd.strategies.policies.members import stateless
from quantd.strategies.policies.rebalancing import SETTLES, CostAware, Rebalanced, RebalanceRules
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import Memory, Noted, View
from tests.support.policies import close_of, made, market, prices_of, view_of, walk

EVEN = made("equal_weight", {})


def days_of(rules, prices, policy=EVEN, **how):
    """Rows at which a book is traded."""
    return [row for row, said, _ in walk(Rebalanced(policy, rules), prices, **how) if said.weights is not None]


def date(row):
    return np.datetime64(close_of(row) // DAY_NS, "D")


@pytest.mark.requirement("R-117", "R-134")
def test_a_month_is_traded_on_its_first_session_and_nothing_in_between():
    rows = days_of(RebalanceRules(when="calendar", every="month"), market(1, 3, 140))
    assert rows[0] == 1
    assert [str(date(row)) for row in rows[1:]] == ["2020-02-03", "2020-03-02", "2020-04-01", "2020-05-01",
        "2020-06-01", "2020-07-01"]  # fmt: skip


@pytest.mark.requirement("R-134")
def test_a_week_is_traded_on_its_friday():
    rows = days_of(RebalanceRules(when="calendar", every="week"), market(1, 3, 40))
    assert {date(row).astype(object).strftime("%A") for row in rows[1:]} == {"Friday"}
    assert all(b - a <= 5 for a, b in pairwise(rows))
    fortnights = days_of(RebalanceRules(when="calendar", every="two_weeks"), market(1, 3, 40))
    assert set(fortnights[1:]) == set(rows[1:][(rows.index(fortnights[1]) - 1) % 2 :: 2])


@dataclass(frozen=True)
class Counted:
    """Equal weights, and the times of its calls."""

    times: list[int]
    stateless: bool
    lookback: int = 1

    def act(self, view: View, memory: Memory):
        self.times.append(view.time)
        return np.full(len(view.prices), 1 / len(view.prices)), memory


@pytest.mark.parametrize("when", ["calendar", "always"])
def test_a_stateless_policy_is_asked_on_the_dates_of_its_calendar_alone_with_the_same_answers(when):
    rules, prices = RebalanceRules(when=when, every="month"), market(1, 3, 140)
    kept, free = Counted([], False), Counted([], True)
    answers = list(walk(Rebalanced(kept, rules, stateless=stateless(kept)), prices))
    same = list(walk(Rebalanced(free, rules, stateless=stateless(free)), prices))
    assert [(row, said) for row, said, _ in same] == [(row, said) for row, said, _ in answers]
    traded = [close_of(row) for row, said, _ in same if said.weights is not None]
    assert free.times == (traded if when == "calendar" else kept.times)
    assert len(kept.times) > 130


@pytest.mark.requirement("R-110", "R-129")
@pytest.mark.parametrize(("move", "trades"), [(0.16, False), (0.27, True)])
def test_a_drift_of_four_percent_does_nothing_and_one_of_six_trades(move, trades):
    # half and half, one rises: the weight becomes (1 + move) / (2 + move)
    returns = np.zeros((SETTLES + 6, 2))
    returns[SETTLES + 2, 0] = move
    rules = RebalanceRules(when="threshold", drift=0.05, risk_drift=1.0)
    assert days_of(rules, prices_of(returns)) == ([1, SETTLES + 3] if trades else [1])


@pytest.mark.parametrize("row", range(1, SETTLES))
def test_a_drift_before_the_book_has_settled_trades_once_it_has(row):
    returns = np.zeros((SETTLES + 6, 2))
    returns[row, 0] = 0.27
    rules = RebalanceRules(when="threshold", drift=0.05, risk_drift=1.0)
    # the goal drifts with the market, so the move is no shortfall of the last rebalance
    assert days_of(rules, prices_of(returns)) == [1, SETTLES + 1]


@pytest.mark.requirement("R-129")
def test_a_drift_of_risk_trades_where_weights_have_not_moved():
    draw = np.random.default_rng(1)
    returns = draw.normal(0.0, 0.004, (260, 2))
    returns[130:, 0] *= 3.0
    mixed = made("inverse_volatility", {"lookback": 20})
    by_weight = RebalanceRules(when="threshold", drift=0.9, risk_drift=1.0)
    by_risk = RebalanceRules(when="threshold", drift=0.9, risk_drift=0.03)
    assert len(days_of(by_weight, prices_of(returns), mixed)) == 1
    assert len(days_of(by_risk, prices_of(returns), mixed)) > 5


CALM = np.random.default_rng(3).normal(0.0003, 0.004, (200, 2))


def events(*names, wait=5):
    return RebalanceRules(when="event", events=names, lookback=100, short=20, wait=wait)


@pytest.mark.requirement("R-130")
def test_a_jump_of_volatility_raises_one_rebalance():
    returns = CALM.copy()
    returns[150:] *= 5.0
    assert len(days_of(events("volatility"), prices_of(CALM))) == 1
    rows = days_of(events("volatility"), prices_of(returns))
    assert len(rows) == 2
    assert 151 < rows[1] < 165


@pytest.mark.requirement("R-130")
def test_a_break_of_correlations_raises_one_rebalance():
    returns = CALM.copy()
    returns[:, 1] = returns[:, 0] * 0.5 + returns[:, 1] * 0.2
    broken = returns.copy()
    broken[150:, 1] *= -1.0
    assert len(days_of(events("correlation"), prices_of(returns))) == 1
    rows = days_of(events("correlation"), prices_of(broken))
    assert len(rows) == 2
    assert 151 < rows[1] < 175


@pytest.mark.requirement("R-130")
def test_a_change_of_regime_raises_one_rebalance_and_says_so():
    returns = np.full((200, 2), 0.001)
    returns[::2] *= -0.5
    returns[150:] -= 0.004
    returns[:, 1] += np.where(np.arange(200) % 3, 0.0005, -0.001)
    rows = days_of(events("regime"), prices_of(returns))
    assert len(rows) == 2
    assert 150 < rows[1] < 175
    *_, (_, last, _) = walk(Rebalanced(EVEN, events("regime")), prices_of(returns))
    assert last.note == f"rebalanced on {date(rows[1])}: the regime changed"


def test_events_trade_at_most_once_in_the_time_between():
    returns = CALM.copy()
    returns[60:] *= np.where((np.arange(140) // 7) % 2, 8.0, 0.3)[:, None]
    rows = days_of(events("regime", "volatility", "correlation", wait=15), prices_of(returns))
    assert len(rows) > 3
    assert min(np.diff(rows)) >= 15


def test_costs_that_are_not_worth_it_are_not_paid_and_none_is_the_plain_rebalance():
    prices = market(2, 4, 200)
    free = RebalanceRules(cost_aware=CostAware(cost_bp=0.0))
    plain = [said.weights for _, said, _ in walk(EVEN, prices, start=130)]
    aware = [said.weights for _, said, _ in walk(Rebalanced(EVEN, free), prices, start=130)]
    np.testing.assert_array_equal(np.frombuffer(aware[-1]), np.frombuffer(plain[-1]))

    def turnover(cost_bp):
        rules = RebalanceRules(cost_aware=CostAware(cost_bp=cost_bp))
        walked = walk(Rebalanced(EVEN, rules), prices, start=130, book=np.full(4, 0.25))
        return sum(
            np.abs(np.frombuffer(said.weights) - held).sum() for _, said, held in walked if said.weights is not None
        )

    traded = [turnover(bp) for bp in (0.0, 1.0, 10.0, 50.0)]
    assert traded == sorted(traded, reverse=True)
    assert traded[2] < 0.6 * traded[0]


def test_an_empty_book_is_filled_whole_and_later_changes_are_limited():
    rules = RebalanceRules(max_change=0.1)
    mix = made(
        "regime_switched",
        {r: {"policy": "fixed_mix", "params": {"weights": {"A": 0.9}}} for r in ("bull", "bear", "volatile")},
    )
    (_, first, _), (_, second, _), *_ = walk(Rebalanced(mix, rules), prices_of(np.zeros((5, 2))))
    np.testing.assert_allclose(np.frombuffer(first.weights), [0.9, 0.0])
    assert second.weights is None
    (_, said, _), *_ = walk(
        Rebalanced(made("fixed_mix", {"weights": {"A": 0.9}}), rules),
        prices_of(np.zeros((2, 2))),
        book=np.array([0.3, 0.5]),
    )
    np.testing.assert_allclose(np.frombuffer(said.weights), [0.4, 0.4])


def test_while_a_policy_wants_nothing_yet_its_first_answer_is_still_to_come():
    late = made("momentum", {"lookback": 20})
    rows = days_of(RebalanceRules(when="event", lookback=60), prices_of(np.full((50, 2), 0.001)), late)
    assert rows == [20]


def test_room_that_worst_prices_leave_is_no_drift():
    rules = RebalanceRules(when="threshold", drift=0.02, risk_drift=1.0)
    prices = prices_of(np.zeros((10, 1)))
    held = np.array([0.95])
    without = Rebalanced(EVEN, rules)
    roomy = Rebalanced(EVEN, rules, lambda weights: 0.95)
    seen = view_of(prices, 130, held)
    memory: Memory = {"rebalance/last": np.array([0.0, 5.0])}
    assert isinstance(without.act(seen, memory)[0], np.ndarray)
    assert not isinstance(roomy.act(seen, memory)[0], np.ndarray)


@dataclass(frozen=True)
class Halfway:
    """Walks a book that gets only half of what it asks for, and no rest from the engine."""

    rules: RebalanceRules

    def trades(self, prices):
        policy, memory, held, out = Rebalanced(EVEN, self.rules), {}, np.zeros(2), []
        for row in range(1, len(prices)):
            view = view_of(prices[: row + 1], policy.lookback, held)
            given, memory = policy.act(view, memory)
            if isinstance(given, np.ndarray):
                out.append(row)
                held = held + (given - held) / 2
        return out


@pytest.mark.parametrize("when", ["calendar", "threshold"])
def test_a_book_that_did_not_get_there_is_left_to_the_rest_that_the_engine_trades(when):
    rules = RebalanceRules(when=when, risk_drift=1.0)
    assert Halfway(rules).trades(prices_of(np.zeros((10, 2)))) == [1]


def capped_trades(returns, cap):
    """Rows at which a book trades that wants half and half, and may hold `cap` of the first at most."""
    policy, memory, held, out = Rebalanced(EVEN, RebalanceRules(when="threshold", risk_drift=1.0)), {}, np.zeros(2), []
    prices = prices_of(returns)
    for row in range(1, len(prices)):
        held = held * (1.0 + returns[row - 1]) / (1.0 + float(held @ returns[row - 1]))
        given, memory = policy.act(view_of(prices[: row + 1], policy.lookback, held), memory)
        if isinstance(given, np.ndarray):
            out.append(row)
            held = np.minimum(given, [cap, 1.0])
    return out


def test_what_a_limit_keeps_from_its_target_is_no_drift_each_day_but_a_new_one_is():
    returns = np.zeros((30, 2))
    assert capped_trades(returns, 0.35) == [1]
    returns[19, 1] = 0.3
    assert capped_trades(returns, 0.35) == [1, 20]


@pytest.mark.parametrize("when", ["always", "calendar", "threshold", "event"])
def test_a_restart_goes_on_to_the_bit(when):
    rules = RebalanceRules(when=when, lookback=60, cost_aware=CostAware(cost_bp=5.0))
    prices = market(7, 3, 160)
    one, two = (list(walk(Rebalanced(made("momentum", {"lookback": 20}), rules), prices)) for _ in range(2))
    assert [(r, s) for r, s, _ in one] == [(r, s) for r, s, _ in two]
    for _, said, held in one:
        if said.weights is not None:
            weights = np.frombuffer(said.weights)
            assert (weights >= 0.0).all()
            assert weights.sum() <= max(1.0, held.sum()) + 1e-9


def test_a_word_of_the_policy_is_passed_on():
    class Speaks:
        lookback = 1

        def act(self, view: View, memory: Memory):
            return Noted(np.full(2, 0.5), "bear", warns=True), memory

    said = [s for _, s, _ in walk(Rebalanced(Speaks(), RebalanceRules(when="calendar")), prices_of(np.zeros((4, 2))))]
    assert [(s.note, s.warns, s.weights is None) for s in said] == [("bear", True, False)] + [("bear", True, True)] * 3
