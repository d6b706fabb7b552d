"""Sessions of 20 assets per second: the batched simulator compared with a plain loop and Stable-Baselines3's vector
environments.

    python -m benchmarks.simulator
    python -m benchmarks.simulator --exact

One run uses one thread and the same synthetic market, account and observation everywhere (checked), with random starts
and 252 sessions per episode. The plain environment is hand-written numpy, as a fair peer. Figures are the best and the
median of short rounds, because other work on the machine only adds time.

`--exact` has the exact environment instead, on bars of `benchmarks/engine.py` with the limits of config.toml: the CPU
time of a step by the fold, and the same episode with each item by `step`, in turn. Both have the same digest (checked).
"""

import json
import os
import statistics
import sys
from collections.abc import Callable
from datetime import date
from time import perf_counter, process_time_ns
from typing import Any

import numpy as np

SEED, ASSETS, SESSIONS, LENGTH = 7, 20, 3000, 252
ROUNDS, ROUND_S = 12, 0.1
BP = 1e-4

EXACT_SESSIONS, EXACT_ROUNDS = 1200, 5
EXACT = """
[quantd]
name = "exact"
[universe]
symbols = SYMBOLS
[feed]
path = "(bars in memory)"
stamps = "session"
interval = "1d"
jumps = "real"
spikes = "real"
holes = "known"
[broker]
cash = "10000000.00"
commission_bp = 1.0
spread_bp = 0.0
slippage_bp = 1.0
participation = 0.0
[risk]
max_position_weight = 0.35
max_gross_exposure = 1.0
max_drawdown = 0.9
max_daily_loss = 0.9
var = { method = "historical", confidence = 0.95, horizon = 1, lookback = 252, limit = 0.08 }
correlation = { threshold = 0.7, joint_weight = 0.6, min_weight = 0.05, lookback = 252 }
[[agents]]
name = "learner"
policy = "hold"
capital = 1.0
min_trade = 0.0
limits = { max_position_weight = 0.35, max_gross_exposure = 1.0, max_drawdown = 0.9, max_daily_loss = 0.9 }
"""


def invented() -> "Panel":
    draw = np.random.default_rng(SEED)
    shape = (SESSIONS, ASSETS)
    close = 50.0 * np.cumprod(1.0 + draw.normal(0.0003, 0.012, shape), axis=0)
    opens = close * (1.0 + draw.normal(0.0, 0.004, shape))
    dividend = np.where(draw.random(shape) < 0.016, 0.004 * close, 0.0)
    days = np.arange(SESSIONS) * 86_400_000_000_000
    return Panel(tuple(f"S{k}" for k in range(ASSETS)), days, opens, close, np.ones(shape), dividend)


def rates(acts: dict[str, Callable[[], int]]) -> dict[str, tuple[float, float]]:
    """Return (best, median) steps per second of each function, which returns its number of steps.

    Rounds alternate, so that other load affects all equally.
    """
    per_second: dict[str, list[float]] = {name: [] for name in acts}
    for act in acts.values():
        act()
    for _ in range(ROUNDS):
        for name, act in acts.items():
            steps, began = 0, perf_counter()
            while (took := perf_counter() - began) < ROUND_S:
                steps += act()
            per_second[name].append(steps / took)
    return {name: (max(samples), float(np.median(samples))) for name, samples in per_second.items()}


def plain_class() -> type:
    """Return a gymnasium environment of one account in plain numpy: the same market, costs, reward and observation."""
    import gymnasium

    class Plain(gymnasium.Env):  # type: ignore[type-arg]
        def __init__(self, world: "Market") -> None:
            self.seen, self.gap, self.total = (np.asarray(x) for x in (world.seen, world.gap, world.total))
            self.dividend = np.asarray(world.dividend)
            self.first, self.last = world.first, world.last
            self.draw = np.random.default_rng(SEED)
            width = self.seen.shape[1]
            self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
            self.action_space = gymnasium.spaces.Box(0.0, 1.0, (ASSETS + 1,), np.float32)

        def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict]:
            if seed is not None:
                self.draw = np.random.default_rng(seed)
            self.row = int(self.draw.integers(self.first, self.last - LENGTH + 1))
            self.value = np.zeros(ASSETS, np.float32)
            self.cash = self.equity = self.peak = 100_000.0
            self.steps = 0
            return self.shown(), {}

        def shown(self) -> np.ndarray:
            row = self.seen[self.row].copy()
            row[-ASSETS - 3 : -3] = self.value / self.equity
            row[-3:] = self.cash / self.equity, 1.0 - self.equity / self.peak, self.steps / LENGTH
            return row

        def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
            weights = np.maximum(action, 0.0)
            weights = weights[:-1] / weights.sum()
            self.row += 1
            wanted = weights * self.equity
            order = (wanted - self.value) * self.gap[self.row]
            bought, moved = float(order.sum()), float(np.abs(order).sum())
            cost = moved * 15 * BP + bought * (5 * BP * 10 * BP)
            self.cash += float(self.value @ self.dividend[self.row]) - bought - cost
            self.value = wanted * self.total[self.row]
            before, self.equity = self.equity, self.cash + float(self.value.sum())
            self.peak = max(self.peak, self.equity)
            self.steps += 1
            return self.shown(), float(np.log(self.equity / before)), self.equity <= 1e4, self.steps >= LENGTH, {}

    return Plain


def recorded() -> "Assembly":
    """Return the run of one agent over bars of `benchmarks/engine.py`, whose dates are sessions of New York."""
    block, _, _ = engine_bars(ASSETS, EXACT_SESSIONS)
    days = sessions("XNYS", date(2005, 1, 3), date(2010, 12, 31)).day_ns[:EXACT_SESSIONS]
    names = [f"S{k:03d}" for k in range(ASSETS)]
    columns = {name: getattr(block, name).reshape(-1) for name in ("open", "high", "low", "close", "volume")}
    stamps = np.repeat(np.array(days), ASSETS).astype("datetime64[ns]")
    frame = pl.DataFrame({"ts": stamps, "symbol": names * EXACT_SESSIONS, **columns})
    config = read(EXACT.replace("SYMBOLS", json.dumps(names)), known_names(), file="exact.toml")
    return assemble(config, bars=BarFrame(frame), history=252)


def quiet(number: int, held: np.ndarray) -> np.ndarray:
    """Return an action that buys once, and then targets the current weights."""
    weights = held if number else np.full(ASSETS, 0.9 / ASSETS)
    return np.append(weights, 1.0 - weights.sum())


def all_trade(number: int, held: np.ndarray) -> np.ndarray:
    """Return an action by which every symbol trades."""
    weights = 1.0 + 0.5 * np.sin(np.arange(ASSETS) * 1.7 + number * 2.1)
    return np.append(weights / weights.sum() * 0.98, 0.02)


class Timed:
    """A shell whose own time is measured: answers, bars and ticks."""

    def __init__(self, shell: "Shell") -> None:
        self.shell, self.ns = shell, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shell, name)

    def take(self, item: object) -> None:
        began = process_time_ns()
        self.shell.take(item)
        self.ns += process_time_ns() - began

    def answered(self, answer: object) -> None:
        began = process_time_ns()
        self.shell.answered(answer)
        self.ns += process_time_ns() - began


def episode(env: "Exact", act: Callable[[int, np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Return microseconds of CPU a step of a whole episode, and those of its engine."""
    env.reset()
    env.shell = timed = Timed(env.shell)
    number, spent, over, held = 0, 0, False, np.zeros(ASSETS)
    while not over:
        action = act(number, held)
        began = process_time_ns()
        *_, over, info = env.step(action)
        spent += process_time_ns() - began
        number, held = number + 1, info["weights"]
    return spent / number / 1e3, timed.ns / number / 1e3


def exact() -> int:
    env = Exact(assembly=recorded(), episodes=WHOLE)
    fast = Portfolio(market=market_of(panel := invented(), observe(panel)), episodes=WHOLE)

    def step_of_simulator(act: Callable[[int, np.ndarray], np.ndarray]) -> float:
        fast.reset()
        spent, weights = 0, np.zeros(ASSETS)
        for number in range(EXACT_SESSIONS):
            action = act(number, weights)
            began = process_time_ns()
            *_, info = fast.step(action)
            spent, weights = spent + process_time_ns() - began, info["weights"]
        return spent / EXACT_SESSIONS / 1e3

    print(f"{ASSETS} assets, {EXACT_SESSIONS} sessions; microseconds of CPU a step, median of {EXACT_ROUNDS} rounds")
    print(f"{'':<14}{'simulator':>12}{'exact':>10}{'its engine':>16}")
    for act in (quiet, all_trade):
        rounds: list[tuple[float, ...]] = []
        for number in range(1 + EXACT_ROUNDS):
            exactly = episode(env, act)
            if number:  # the first round computes the features
                rounds.append((step_of_simulator(act), *exactly))
        figures = (statistics.median(column) for column in zip(*rounds, strict=True))
        print("{:<14}{:>12.0f}{:>10.0f}{:>16.0f}".format(act.__name__.replace("_", " "), *figures))
    return 0


def main() -> int:
    world = market_of(panel := invented(), observe(panel))
    usual = np.full((1, ASSETS + 1), 1.0 / (ASSETS + 1), np.float32)
    plain = plain_class()

    def check() -> None:
        one, many = plain(world), Simulator(world, batch=1, episodes=WHOLE)
        one.reset()
        one.row = world.first
        many.reset()
        for _ in range(LENGTH):
            one.step(usual[0])
            many.step(torch.from_numpy(usual))
        if abs(one.equity / float(many.equity) - 1.0) > 1e-4:
            raise SystemExit(f"the plain account has {one.equity}, the simulator {float(many.equity)}")

    check()
    print(f"seed {SEED}; {ASSETS} assets, {world.seen.shape[1]} entries an observation; steps a second of one account")
    print(f"{'':<46}{'best':>12}{'middle':>12}{'B = 1024 is faster, x':>22}")
    acts: dict[str, Callable[[], int]] = {}
    opened: list[Any] = []
    for batch in (8, 64, 1024):
        env = Simulator(world, batch=batch, episodes=Episodes(LENGTH), seed=SEED)
        env.reset()
        action = torch.from_numpy(usual).expand(batch, -1).contiguous()

        def go(env: "Simulator" = env, action: "torch.Tensor" = action) -> int:
            for _ in range(10):
                env.step(action)
            return 10 * env.batch

        acts[f"simulator, B = {batch}"] = go

    def loop(env: "Any") -> Callable[[], int]:
        env.reset()

        def act() -> int:
            for _ in range(50):
                *_, ended, over, _ = env.step(usual[0])
                if ended or over:
                    env.reset()
            return 50

        return act

    def vector(env: "Any", size: int) -> Callable[[], int]:
        env.reset()
        rows = np.repeat(usual, size, axis=0)

        def act() -> int:
            for _ in range(5):
                env.step(rows)
            return 5 * size

        return act

    acts["plain loop over one account in numpy"] = loop(plain(world))
    acts["gymnasium view of the simulator"] = loop(Portfolio(market=world))
    for kind, factory in (("plain", plain), ("quantd's", lambda w: Portfolio(market=w))):
        for name, vectors in (("DummyVecEnv", DummyVecEnv), ("SubprocVecEnv", SubprocVecEnv)):
            options = {"start_method": "fork"} if vectors is SubprocVecEnv else {}
            opened.append(vectors([lambda factory=factory: factory(world)] * 8, **options))
            acts[f"SB3 {name}(8) of {kind} environment"] = vector(opened[-1], 8)
    per_second = rates(acts)
    for env in opened:
        env.close()
    fast, middle = per_second["simulator, B = 1024"]
    for name, (best, median) in per_second.items():
        print(f"{name:<46}{best:>12,.0f}{median:>12,.0f}{fast / best:>10,.1f}{middle / median:>10,.1f}")
    print(f"aim at B = 1024: 3,000,000 a second; here {fast / 3e6:.2f} of it")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import polars as pl
        import torch
        from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

        from benchmarks.engine import market as engine_bars
        from quantd.adapters.calendars import sessions
        from quantd.adapters.feeds.recorded.bar_files import BarFrame
        from quantd.daemon.assembly.names import known_names
        from quantd.daemon.assembly.parts import Assembly, assemble
        from quantd.daemon.config import read
        from quantd.daemon.runtime.loop import Shell
        from quantd.models.history.panel import Panel
        from quantd.models.observation.table import observe
        from quantd.training.exact.engine_environment import Exact
        from quantd.training.market.environments import Portfolio
        from quantd.training.market.episodes import WHOLE, Episodes
        from quantd.training.market.simulator import Simulator
        from quantd.training.market.tensors import Market, market_of
    except ImportError as error:
        print(f"needs what `make test` installs: {error}")
        sys.exit(0)
    torch.set_num_threads(1)
    sys.exit(exact() if sys.argv[1:] == ["--exact"] else main())
