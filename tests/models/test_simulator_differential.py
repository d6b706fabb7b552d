"""The batched simulator held to the event core: the same policy, days, costs and whole shares on real data with
splits and dividends give the same equity at every close. The core is exact; the simulator may round in the last bits."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from adapters.brokers.paper import Paper
from adapters.calendars import sessions as calendar_sessions
from adapters.feeds.replay import Replay
from daemon.engine.state import AgentRules, Rules, State
from daemon.loop import Shell
from daemon.policies import answer, load
from daemon.timeline import sample_ticks, timeline
from models.market_data import read_panel
from models.simulator import episodes, simulate
from risk.limits import PROFILES, override
from trading.effects import Ask, Effect, Valued
from trading.events import Decided, Event
from trading.execution import Costs
from trading.instruments import Instrument, Universe
from trading.ports import Policy

ROOT = Path(models.__file__).parents[1]
BARS, ACTIONS = ROOT / "data" / "us_daily.parquet", ROOT / "data" / "us_actions.csv"
SYMBOLS = ("SPY", "AAPL", "BAC", "IWM")
WARM, START, END = date(2013, 6, 3), date(2014, 1, 2), date(2015, 6, 30)
COSTS = Costs(commission_bp=10.0, spread_bp=2.0, slippage_bp=1.0)
CASH = 100_000


class Equity:
    """A log that keeps the valued equity and the weights that were answered."""

    def __init__(self) -> None:
        self.equity: list[float] = []
        self.weights: list[np.ndarray] = []

    def answer(self, ask: Ask) -> Decided | None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        if isinstance(event, Decided):
            assert event.failed == ""
            assert event.weights is not None
            self.weights.append(np.frombuffer(event.weights))
        self.equity += [e.equity_micro / 1e6 for e in effects if isinstance(e, Valued)]


def core(policy: Policy) -> Equity:
    """The event core over the bundled bars, without portfolio limits."""
    universe = Universe(tuple(Instrument(s) for s in SYMBOLS))
    house = calendar_sessions("XNYS", date(2013, 1, 2), date(2015, 8, 31))
    warmup = len([d for d in house.day_ns if ns(WARM) <= d < ns(START)])
    feed = Replay.load(
        BARS, universe=universe, sessions={"XNYS": house}, actions=ACTIONS, start=START, end=END, warmup=warmup
    )  # fmt: skip
    limits = override(PROFILES["research"], collar=0.5, fee_bp=10.0, max_price_age_ns=2 * 86_400_000_000_000)
    rules = Rules(
        universe=universe, sessions=(house,), calendar=(0,) * len(SYMBOLS), house=limits, cash_micro=CASH * 10**6,
        agents=(AgentRules("a", CASH * 10**6, limits, min_trade=0.0),),
    )  # fmt: skip
    log = Equity()
    start = next(o for d, o in zip(house.day_ns, house.open_ns, strict=True) if d >= ns(START))
    shell = Shell(
        State(rules), Paper(universe, COSTS), lambda ask: answer(policy, ask), interval_ns=feed.interval_ns, log=log
    )
    for item in timeline(
        feed.items(), sample_ticks(house, [house], feed.interval_ns, feed.first_ts - 1, feed.last_ts, start)
    ):
        shell.take(item)
    return log


def ns(day: date) -> int:
    return int(np.datetime64(day, "ns").astype(np.int64))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("equal_weight", {}),
        ("momentum", {"lookback": 63}),
        ("inverse_volatility", {"lookback": 21, "invested": 0.7}),
        ("models/shipped/scorer", {}),
    ],
)
def test_the_simulator_and_the_event_core_keep_the_same_account(name: str, params: Mapping[str, object]) -> None:
    panel = read_panel(BARS, ACTIONS, SYMBOLS, WARM, END)
    assert (panel.split != 1.0).any()
    assert (panel.dividend > 0.0).sum() > 10
    log = core(load(name, params, ROOT))
    first = int(np.searchsorted(panel.day_ns, ns(START)))
    length = len(panel.day_ns) - first - 1
    weights = torch.from_numpy(np.stack(log.weights[:length]))[None]
    path = simulate(episodes(panel, np.array([first]), length), weights, COSTS, float(CASH), lot=1.0)
    assert len(log.equity) == length + 1
    np.testing.assert_allclose(path.equity[0].numpy(), log.equity, rtol=1e-9)
    assert path.turnover.mean() > 0.0


def test_weights_from_the_panels_returns_are_those_of_the_running_daemon() -> None:
    policy = load("models/shipped/scorer", {}, ROOT)
    panel = read_panel(BARS, ACTIONS, SYMBOLS, WARM, END)
    returns = panel.returns()
    first = int(np.searchsorted(panel.day_ns, ns(START)))
    for k, asked in enumerate(core(policy).weights):
        given = policy.weights(returns[first + k - policy.lookback + 1 : first + k + 1])
        np.testing.assert_allclose(given, asked, atol=1e-6)
