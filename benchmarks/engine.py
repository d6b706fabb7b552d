"""The whole engine on synthetic bars: symbol-bars a second through gate, ledger, paper venue and digest.

python -m benchmarks.engine [--profile]: fat-tailed bars (Student t, 4 degrees), one thread, seed printed. Beside
each case stands what an empty walk over the same slices takes, so that the share of the loop itself is seen.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from adapters.brokers.paper import Paper
from daemon.loop import Shell
from daemon.policies import answer
from daemon.state import AgentRules, Rules, State
from daemon.timeline import Item
from risk.limits import Correlation, Limits, Tail
from strategies.policies import POLICIES
from trading.effects import Ask
from trading.events import Decided, Tick
from trading.execution import Costs
from trading.instruments import Instrument, Universe
from trading.market import Block, MarketSlice
from trading.ports import Policy
from trading.sessions import DAY_NS, Sessions
from trading.view import Memory, View

SEED = 7


class Rotating:
    """Weights that change completely every sample: every symbol trades every day."""

    lookback = 2

    def act(self, view: View, memory: Memory) -> tuple[np.ndarray, Memory]:
        n = view.universe.size
        phase = view.sample // DAY_NS
        weights = 1.0 + 0.5 * np.sin(np.arange(n) * 1.7 + phase * 2.1)
        return weights / weights.sum() * 0.98, memory


class Quiet:
    """Buys once, then holds by wanting what it has."""

    lookback = 2

    def act(self, view: View, memory: Memory) -> tuple[np.ndarray, Memory]:
        if view.weights.any():
            return view.weights, memory
        return np.full(view.universe.size, 0.9 / view.universe.size), memory


def market(symbols: int, days: int) -> tuple[Block, Universe, Sessions]:
    """Bars of `days` sessions, prices to the cent, correlated through one factor."""
    rng = np.random.default_rng(SEED)
    factor = rng.standard_t(4, (days, 1)) * 0.006
    returns = factor + rng.standard_t(4, (days, symbols)) * 0.008
    close = np.round(100 * np.exp(np.clip(returns, -0.2, 0.2).cumsum(axis=0) * 0.5), 2).clip(5.0, 5e4)
    open_ = np.round(np.vstack([close[:1], close[:-1]]) * (1 + rng.normal(0, 0.002, close.shape)), 2)
    ts = np.arange(1, days + 1, dtype=np.int64) * DAY_NS
    block = Block(
        ts_open=ts - DAY_NS // 3, ts_event=ts, key=ts - DAY_NS, open=open_, high=np.maximum(open_, close) * 1.01,
        low=np.minimum(open_, close) * 0.99, close=close, volume=np.full(close.shape, 1e7),
        fresh=np.ones(close.shape, dtype=bool),
    )  # fmt: skip
    universe = Universe(tuple(Instrument(f"S{k:03d}", calendar="X") for k in range(symbols)), calendar="X")
    far = np.arange(days + 30, dtype=np.int64) * DAY_NS
    sessions = Sessions("X", "UTC", tuple(far.tolist()), tuple((far + DAY_NS * 2 // 3).tolist()), tuple((far + DAY_NS).tolist()))
    return block, universe, sessions


LIMITS = Limits(
    max_position_weight=0.35, max_gross_exposure=1.0, max_drawdown=0.9, fee_bp=1.0, max_price_age_ns=2 * DAY_NS,
    var=Tail(limit=0.08), cvar=Tail(limit=0.12), max_volatility=0.9, correlation=Correlation(threshold=0.9),
    max_net_exposure=1.0, allow_short=False,
)  # fmt: skip


def shell(universe: Universe, sessions: Sessions, policies: list[Policy], scheduled: bool, limits: Limits) -> Shell:
    cash = 10_000_000 * 1_000_000
    agents = tuple(
        AgentRules(f"a{k}", cash // len(policies), limits, min_trade=0.0, scheduled=scheduled)
        for k in range(len(policies))
    )
    rules = Rules(universe, (sessions,), (0,) * universe.size, agents, limits, cash)

    def ask(question: Ask) -> Decided:
        return answer(policies[question.agent], question)

    return Shell(State(rules), Paper(universe, Costs(commission_bp=1.0, slippage_bp=1.0)), ask, interval_ns=DAY_NS)


def timeline(block: Block, every: int, agents: int) -> list[Item]:
    due = tuple(range(agents))
    items: list[Item] = []
    for row in range(len(block)):
        ts = block.ts_event[row]
        items.append(MarketSlice(block, row))
        items.append(Tick(ts, True, block.key[row], ts, due if row % every == 0 and row else ()))
    return items


def run(name: str, symbols: int, days: int, policies: list[Policy], every: int) -> None:
    block, universe, sessions = market(symbols, days)
    items = timeline(block, every, len(policies))
    best = float("inf")
    for _ in range(3):
        body = shell(universe, sessions, policies, True, LIMITS)
        take: Callable[[Item], None] = body.take
        began = time.process_time()
        for item in items:
            take(item)
        best = min(best, time.process_time() - began)
    tally = body.tally
    print(
        f"{name:44s} {tally.symbol_bars / best:12,.0f} symbol-bars/s  {best / days * 1e6:7.1f} us a session  "
        f"{tally.orders:7,d} orders  {tally.refused + tally.clipped:6,d} cut  equity {body.state.equity_micro / 1e6:,.2f}"
    )


def main() -> None:
    if "--profile" in sys.argv:
        import cProfile
        import pstats

        block, universe, sessions = market(20, 2_000)
        items = timeline(block, 1, 1)
        body = shell(universe, sessions, [Rotating()], True, LIMITS)
        profile = cProfile.Profile()
        profile.enable()
        for item in items:
            body.take(item)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    print(f"synthetic bars, seed {SEED}; one thread, CPU seconds of the process, best of 3")
    run("20 x 5,000, one trade then quiet", 20, 5_000, [Quiet()], 21)
    run("20 x 5,000, equal weight every 21 sessions", 20, 5_000, [POLICIES["equal_weight"]({})], 21)
    run("20 x 5,000, all 20 trade every day", 20, 5_000, [Rotating()], 1)
    three: list[Policy] = [
        POLICIES["equal_weight"]({}),
        POLICIES["inverse_volatility"]({"lookback": 63}),
        POLICIES["momentum"]({"lookback": 126}),
    ]
    run("20 x 5,000, three agents every 21 sessions", 20, 5_000, three, 21)
    run("20 x 5,000, three agents every day", 20, 5_000, three, 1)
    run("1 x 100,000, asked every bar, quiet", 1, 100_000, [Quiet()], 1)


if __name__ == "__main__":
    main()
