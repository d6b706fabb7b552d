"""A policy walked over a panel answers, holds and earns what it does in the running daemon."""

import numpy as np
import pytest

from quantd.daemon.policies.loading import load
from quantd.models.history.panel_files import read_panel
from quantd.trading.execution import Costs
from quantd.trading.view import HOLD
from quantd.training.market import walk
from tests.support.bundled_account import ACTIONS, BARS, CASH, COSTS, END, START, SYMBOLS, WARM, core, ns
from tests.support.checkout import ROOT
from tests.support.panels import panel_of


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("momentum", {"lookback": 63}),
        ("inverse_volatility", {"lookback": 21, "invested": 0.7}),
        ("models/shipped/scorer", {}),
    ],
)
def test_a_walk_is_what_the_event_core_does(name: str, params: dict[str, object]) -> None:
    policy = load(name, params, ROOT)
    log = core(policy)
    panel = read_panel(BARS, ACTIONS, SYMBOLS, WARM, END)
    first = int(np.searchsorted(panel.day_ns, ns(START)))
    outcome = walk.walk(policy, panel, range(first, len(panel.day_ns)), costs=COSTS, capital=float(CASH), lot=1.0)
    assert len(outcome.weights) > 370
    np.testing.assert_allclose(outcome.weights, np.stack(log.weights[: len(outcome.weights)]), atol=1e-9)
    np.testing.assert_allclose(outcome.equity, log.equity, rtol=1e-9)
    assert outcome.turnover.sum() > 0.0


class Watching:
    """Keeps what it was shown."""

    lookback = 5

    def __init__(self) -> None:
        self.shown: list[tuple[np.ndarray, np.ndarray, float, float]] = []

    def act(self, view, memory):
        self.shown.append((view.returns(5).copy(), view.weights.copy(), view.cash, view.equity))
        count = int(memory["n"][0]) if memory else 0
        answer = HOLD if count % 2 else np.array([0.5, 0.25, 0.0])
        return answer, {"n": np.array([count + 1.0])}


def test_it_sees_the_past_its_own_book_and_its_memory_and_nothing_that_comes() -> None:
    panel, policy = panel_of(3, 40, 3), Watching()
    outcome = walk.walk(policy, panel, range(10, 30), costs=Costs(commission_bp=10.0), lot=None)
    assert len(policy.shown) == 19
    returns = panel.returns()
    for row, (window, weights, cash, equity) in enumerate(policy.shown, 10):
        np.testing.assert_allclose(window, returns[row - 4 : row + 1], rtol=1e-12)
        assert weights.sum() + cash == pytest.approx(1.0)
        assert equity == pytest.approx(outcome.equity[row - 10])
    np.testing.assert_array_equal(policy.shown[0][1], 0.0)
    np.testing.assert_array_equal(outcome.weights[1], policy.shown[1][1])  # a hold is what was held
    cut = panel_of(3, 40, 3)
    for column in (cut.open, cut.close):
        column[25:] *= 3.0
    again = walk.walk(Watching(), cut, range(10, 30), costs=Costs(commission_bp=10.0), lot=None)
    np.testing.assert_array_equal(again.equity[:15], outcome.equity[:15])
    assert again.equity[-1] != outcome.equity[-1]


class Broken:
    lookback = 1

    def __init__(self, answer) -> None:
        self.answer = answer

    def act(self, view, memory):
        if self.answer is None:
            raise RuntimeError("no idea")
        return self.answer, memory


@pytest.mark.parametrize(
    ("answer", "message"),
    [(None, "fails on 1970-.*no idea"), (np.ones(2), "3 finite"), (np.full(3, np.nan), "3 finite")],
)
def test_a_policy_that_fails_is_named_with_its_day(answer, message) -> None:
    with pytest.raises(ValueError, match=message):
        walk.walk(Broken(answer), panel_of(3, 40, 3), range(10, 30), costs=Costs(), lot=1.0)
