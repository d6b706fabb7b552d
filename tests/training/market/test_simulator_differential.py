"""The simulators held to the event core: the same weights, days, costs and whole shares on real data with splits and
dividends give the same lots and the same equity at every close. The core is exact; a simulator may round in the last
bits."""

from dataclasses import replace as replace_panel
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import read
from quantd.daemon.policies.loading import load
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import read_panel
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.table import observe
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO
from quantd.trading.ports import Policy
from quantd.trading.view import Memory, View
from quantd.training.exact.engine_environment import Exact
from quantd.training.market.environments import Portfolio
from quantd.training.market.episodes import WHOLE
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import market_of
from tests.support.bundled_account import ACTIONS, BARS, CASH, COSTS, END, START, SYMBOLS, WARM, Equity, core, ns
from tests.support.checkout import ROOT
from tests.support.panels import plain


class Drawn:
    """A policy of drawn weights, long or partly short. It moves there by a quarter a day: all at once, at worst prices
    half as high again, is more than even the profile `research` lets through."""

    lookback = 1

    def __init__(self, seed: int, short: bool) -> None:
        self.draw = np.random.default_rng(seed)
        self.short = short
        self.weights = np.zeros(len(SYMBOLS))

    def act(self, view: View, memory: Memory) -> tuple[NDArray[np.float64], Memory]:
        weights = self.draw.dirichlet(np.full(len(SYMBOLS), 0.5)) * self.draw.choice([0.0, 0.5, 0.99, 1.0])
        weights *= self.draw.choice([-0.9, 1.0], len(SYMBOLS)) if self.short else 1.0
        self.weights += (weights - self.weights) / 4
        return self.weights, memory


def walked(
    panel: Panel, log: Equity, costs: Costs, lot: float | list[float] = 1.0
) -> tuple[list[float], list[list[float]]]:
    """The equity and the units held at each close, of a simulator that moves to the weights of the event core."""
    first = int(np.searchsorted(panel.day_ns, ns(START)))
    short = min(float(w.min()) for w in log.weights) < 0.0
    market = market_of(panel, observe(panel, plain), range(first, len(panel.day_ns)), dtype=torch.float64)
    env = Simulator(market, batch=1, kind="box" if short else "simplex", episodes=WHOLE, costs=costs, lot=lot)
    env.reset()
    equity, units = [float(env.equity)], [[0.0] * len(SYMBOLS)]
    for weights in log.weights[: market.last - first]:
        row = weights if short else np.append(weights, max(0.0, 1.0 - weights.sum()))
        env.move(env.targets(torch.from_numpy(row)[None]))
        equity.append(float(env.equity))
        units.append(env.lots()[0].tolist())
    return equity, units


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("policy", "costs"),
    [
        (load("equal_weight", {}, ROOT), Costs()),
        (load("momentum", {"lookback": 63}, ROOT), COSTS),
        (load("inverse_volatility", {"lookback": 21}, ROOT), Costs(commission_bp=1.0, commission_min_micro=1_000_000)),
        (load("models/shipped/scorer", {}, ROOT), Costs(commission_bp=10.0, slippage_bp=5.0)),
        (Drawn(1, short=False), Costs(commission_bp=10.0, spread_bp=3.0, slippage_bp=5.0)),
        (Drawn(2, short=True), Costs(commission_bp=10.0, slippage_bp=5.0, borrow_bp_annual=300.0)),
        (Drawn(3, short=True), Costs(commission_bp=2.0, commission_min_micro=350_000, borrow_bp_annual=1000.0)),
    ],
    ids=["equal weight", "momentum", "inverse volatility", "scorer", "drawn", "drawn short", "drawn, least fee"],
)
def test_a_step_at_a_time_holds_the_lots_of_the_event_core_every_day(policy: Policy, costs: Costs) -> None:
    log = core(policy, costs)
    equity, lots = walked(read_panel(BARS, ACTIONS, SYMBOLS, WARM, END), log, costs)
    assert len(log.equity) == len(equity) > 370
    assert np.abs(np.diff(log.lots, axis=0)).sum() > 1000
    ties = int((np.abs(np.array(lots) - log.lots) > 1e-6).sum())
    assert ties == 0
    np.testing.assert_allclose(equity, log.equity, rtol=1e-9)


EXACT = f"""
[quantd]
name = "exact"
[universe]
symbols = ["SPY", "AAPL", "BAC", "IWM"]
[feed]
path = "{BARS}"
actions = "{ACTIONS}"
stamps = "session"
interval = "1d"
start = {START}
end = {END}
[broker]
cash = "{CASH}.00"
commission_bp = 10.0
spread_bp = 2.0
slippage_bp = 1.0
participation = 0.0
borrow_bp_annual = 300.0
[risk]
profile = "research"
[[agents]]
name = "learner"
policy = "hold"
capital = 1.0
profile = "research"
min_trade = 0.0
"""


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize(
    ("action", "reward", "rate"),
    [
        ("continuous", "composite", None),
        ("short", "log", None),
        ("continuous", "sharpe", 0.05),
        ("continuous", "log", None),
        ("short", "sharpe", None),
        ("short", "composite", 0.05),
    ],
)
def test_the_environment_of_the_simulator_walks_with_the_exact_one(
    action: Literal["continuous", "short"], reward: Literal["log", "sharpe", "composite"], rate: float | None
) -> None:
    settings = () if rate is None else (f"account.cash_rate={rate}",)
    assembly = assemble(read(EXACT, known_names(), file="exact.toml", sets=settings), history=LOOKBACK)
    exact = Exact(assembly=assembly, action=action, reward=reward, episodes=WHOLE)
    panel = read_panel(BARS, ACTIONS, SYMBOLS, WARM, END, rate)
    rows = range(int(np.searchsorted(panel.day_ns, ns(START))), len(panel.day_ns))
    market = market_of(panel, observe(panel), rows, dtype=torch.float64)
    costs = replace(COSTS, borrow_bp_annual=300.0)
    fast = Portfolio(market=market, action=action, reward=reward, episodes=WHOLE, costs=costs, lot=1.0)
    assert exact.state_names == fast.state_names
    draw, held, steps, ended = np.random.default_rng(8), np.zeros(len(SYMBOLS)), 0, False
    np.testing.assert_allclose(fast.reset()[0], exact.reset()[0], atol=2e-5)
    while not ended:
        weights = draw.dirichlet(np.full(len(SYMBOLS), 0.5)) * draw.choice([0.0, 0.5, 0.9])
        weights *= draw.choice([-1.0, 1.0], len(SYMBOLS)) if action == "short" else 1.0
        held += (weights - held) / 4
        target = held if action == "short" else np.append(held, 1.0 - held.sum())
        simulated, engine = fast.step(target), exact.step(target)
        np.testing.assert_allclose(simulated[0], engine[0], atol=2e-5)
        assert simulated[1] == pytest.approx(engine[1], rel=1e-6, abs=1e-7)
        assert simulated[2:4] == engine[2:4]
        for name in ("equity", "cost", "turnover", "drawdown", "weights"):
            np.testing.assert_allclose(simulated[4][name], engine[4][name], rtol=1e-8, atol=1e-5, err_msg=name)
        steps, ended = steps + 1, bool(engine[3])
    assert steps == market.last - market.first > 370
    assert sum(exact.shell.samples) > 370


BILLS = "date,rate\n2013-06-03,0.01\n2014-03-07,0.2\n2014-09-01,-0.03\n2015-02-13,0.08\n"
BILL_POLICIES = [
    (load("inverse_volatility", {"lookback": 21, "invested": 0.3}, ROOT), COSTS),
    (Drawn(4, short=False), Costs(commission_bp=10.0, spread_bp=3.0)),
    (Drawn(5, short=True), Costs(commission_bp=10.0, slippage_bp=5.0, borrow_bp_annual=300.0)),
]


@pytest.mark.long
@pytest.mark.parametrize(("policy", "costs"), BILL_POLICIES, ids=["mostly cash", "drawn", "drawn short"])
def test_cash_earns_the_same_in_the_simulator_and_in_the_event_core(
    policy: Policy, costs: Costs, tmp_path: Path
) -> None:
    (tmp_path / "bills.csv").write_text(BILLS)
    panel = read_panel(BARS, ACTIONS, SYMBOLS, WARM, END, str(tmp_path / "bills.csv"))
    log = core(policy, costs, panel.cash_rate)
    np.testing.assert_allclose(walked(panel, log, costs)[0], log.equity, rtol=1e-9)
    idle = np.array(walked(replace_panel(panel, cash_rate=None), log, costs)[0])
    assert np.abs(idle / log.equity - 1.0).max() > 0.01


@pytest.mark.parametrize("seed", [6, 7])
def test_lots_of_their_own_size_are_those_of_the_event_core(seed: int) -> None:
    sizes = (NANO, 10, NANO // 100, 5 * NANO)
    costs = Costs(commission_bp=10.0, spread_bp=3.0)
    log = core(Drawn(seed, short=False), costs, lot_nano=sizes)
    lot = [size / NANO for size in sizes]
    equity, units = walked(read_panel(BARS, ACTIONS, SYMBOLS, WARM, END), log, costs, lot)
    differences = np.abs(np.array(units) - np.array(log.lots) * lot)
    # money of the core is whole micro: of lots of 1e-8, worth a micro each, it may be a few more or less
    assert (differences < 1e-6).all()
    np.testing.assert_allclose(equity, log.equity, rtol=1e-9)
