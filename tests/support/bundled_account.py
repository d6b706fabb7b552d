"""The event core over the bundled bars, without portfolio limits."""

from collections.abc import Sequence
from datetime import date

import numpy as np
from msgspec.structs import replace

from quantd.adapters.brokers.paper.broker import Paper
from quantd.adapters.calendars import sessions as calendar_sessions
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Unanswered
from quantd.daemon.runtime.timeline import sample_ticks, timeline
from quantd.risk.limits.catalogue import PROFILES, override
from quantd.trading.cash_rate import CashRate
from quantd.trading.effects import Effect, Valued
from quantd.trading.events import Decided, Event
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.ports import Policy
from tests.support.checkout import ROOT

BARS, ACTIONS = ROOT / "data" / "us_daily.parquet", ROOT / "data" / "us_actions.csv"
SYMBOLS = ("SPY", "AAPL", "BAC", "IWM")
WARM, START, END = date(2013, 6, 3), date(2014, 1, 2), date(2015, 6, 30)
COSTS = Costs(commission_bp=10.0, spread_bp=2.0, slippage_bp=1.0)
CASH = 100_000


class Equity(Unanswered):
    """A log that keeps the valued equity, the lots then held and the weights that were answered."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.equity: list[float] = []
        self.lots: list[list[int]] = []
        self.weights: list[np.ndarray] = []

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        if isinstance(event, Decided):
            assert event.failed == ""
            assert event.weights is not None
            self.weights.append(np.frombuffer(event.weights).copy())
        for effect in effects:
            if isinstance(effect, Valued):
                self.equity.append(effect.equity_micro / 1e6)
                self.lots.append(list(self.state.ledger.house.lots))


def core(
    policy: Policy, costs: Costs = COSTS, rate: CashRate | None = None, lot_nano: Sequence[int] = (NANO,) * 4
) -> Equity:
    """The event core over the bundled bars, without portfolio limits; cash earns `rate`."""
    universe = Universe(tuple(Instrument(s, lot_nano=size) for s, size in zip(SYMBOLS, lot_nano, strict=True)))
    house = calendar_sessions("XNYS", date(2013, 1, 2), date(2015, 8, 31))
    warmup = len([d for d in house.day_ns if ns(WARM) <= d < ns(START)])
    feed = Replay.load(
        BARS, universe=universe, sessions={"XNYS": house}, actions=ACTIONS, start=START, end=END, warmup=warmup
    )  # fmt: skip
    limits = override(
        PROFILES["research"], collar=0.5, fee_bp=costs.commission_bp, max_price_age_ns=2 * 86_400_000_000_000
    )
    rules = Rules(
        universe=universe, sessions=(house,), calendar=(0,) * len(SYMBOLS), house=limits, cash_micro=CASH * 10**6,
        agents=(AgentRules("a", CASH * 10**6, limits, min_trade=0.0),), borrow_bp_annual=costs.borrow_bp_annual,
    )  # fmt: skip
    state = State(rules)
    log = Equity(state)
    start = next(o for d, o in zip(house.day_ns, house.open_ns, strict=True) if d >= ns(START))
    shell = Shell(state, Paper(universe, costs), lambda ask: answer(policy, ask), interval_ns=feed.interval_ns, log=log)
    ticks = sample_ticks(house, [house], feed.interval_ns, feed.first_ts - 1, feed.last_ts, start)
    if rate is not None:
        ticks = (replace(tick, cash_rate=rate.before(tick.key)) for tick in ticks)
    for item in timeline(feed.items(), ticks):
        shell.take(item)
    return log


def ns(day: date) -> int:
    return int(np.datetime64(day, "ns").astype(np.int64))
