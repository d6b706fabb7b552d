"""The whole engine: symbol-bars per second through gate, ledger, paper venue and digest.

    python -m benchmarks.engine [--profile] [--case NAME ...] [--sessions N]
    python -m benchmarks.engine --beside COMMIT [--case NAME ...] [--rounds N]    # benchmarks/beside.py

Bars are fat-tailed (Student t, 4 degrees), with one thread and a printed seed; those of the case "default profiles" are
recorded. Figures are CPU time. The lines above them show the machine's current speed, and the cost of the bars without
processing. The line below shows the memory.
`python -m benchmarks.parts` shows the parts of a session.
"""

import argparse
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

import quantd
from benchmarks.places import first_of
from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.engine.state import State
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import Item
from quantd.research.runs.answer_blocks import AnswerBlocks
from quantd.risk.limits.catalogue import Correlation, Limits, Tail, override
from quantd.strategies.policies import POLICIES
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Tick
from quantd.trading.execution import Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Block, MarketSlice
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS, Sessions
from quantd.trading.view import Memory, View

if TYPE_CHECKING:
    from quantd.daemon.engine.state.settings import AgentRules, Rules
    from quantd.daemon.runtime.step_log import Log
else:
    settings = first_of("quantd.daemon.engine.state.settings", "quantd.daemon.engine.settings")
    AgentRules, Rules = settings.AgentRules, settings.Rules

SEED = 7
CHUNK = 512
"""Items that `quantd backtest` takes at a time."""


class Rotating:
    """A policy whose weights change completely every sample: every symbol trades every day."""

    lookback = 2

    def act(self, view: View, memory: Memory) -> tuple[np.ndarray, Memory]:
        n = view.universe.size
        phase = view.sample_time // DAY_NS
        weights = 1.0 + 0.5 * np.sin(np.arange(n) * 1.7 + phase * 2.1)
        return weights / weights.sum() * 0.98, memory


class Quiet:
    """A policy that buys once, and then targets its current weights."""

    lookback = 2

    def act(self, view: View, memory: Memory) -> tuple[np.ndarray, Memory]:
        if view.weights.any():
            return view.weights, memory
        return np.full(view.universe.size, 0.9 / view.universe.size), memory


def market(symbols: int, days: int) -> tuple[Block, Universe, Sessions]:
    """Return bars of `days` sessions, with prices in whole cents, correlated through one factor."""
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
    sessions = Sessions(
        "X", "UTC", tuple(far.tolist()), tuple((far + DAY_NS * 2 // 3).tolist()), tuple((far + DAY_NS).tolist())
    )
    return block, universe, sessions


LIMITS = Limits(
    max_position_weight=0.35, max_gross_exposure=1.0, max_drawdown=0.9, max_daily_loss=0.9, fee_bp=1.0,
    max_price_age_ns=2 * DAY_NS, var=Tail(limit=0.08),
    correlation=Correlation(threshold=0.7, joint_weight=0.6, min_weight=0.05),
)  # fmt: skip
"""The limits of the default config.toml, for the house and for each agent; loss limits are as wide as these bars
need.
"""

MORE = override(LIMITS, cvar=Tail(limit=0.12), max_volatility=0.9, max_net_exposure=1.0, allow_short=False)
"""The same limits with expected shortfall, volatility, net exposure and no short sales."""


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


class World(NamedTuple):
    """A new shell, the items of its market, and the policies of its agents."""

    shell: Shell
    items: list[Item]
    policies: Sequence[Policy]


@dataclass(frozen=True)
class Case:
    """A run on synthetic bars: symbols, the policies of its agents, how often they are asked, limits; `days` of the
    printed row."""

    text: str
    symbols: int
    days: int
    policies: Callable[[], list[Policy]]
    every: int
    limits: Limits = LIMITS

    def world(self, days: int) -> World:
        """The run over so many sessions, before its first item."""
        block, universe, sessions = market(self.symbols, days)
        policies = self.policies()
        items = timeline(block, self.every, len(policies))
        return World(shell(universe, sessions, policies, True, self.limits), items, policies)


@dataclass(frozen=True)
class Shipped:
    """The run of the config.toml that this quantd ships on its recorded bars, with dividends, splits and schedules.

    Its agents have the limits of their profiles: protective stops with a cooldown, losses, realised measures and shares
    of the volume. `policy` takes the place of the trained policy, whose inference is not the engine's.
    """

    text: str
    symbols: int
    days: int
    policy: str
    trained: str = "models/shipped/scorer"

    def world(self, days: int) -> World:
        """The run over so many bars, before its first item."""
        # these take a second to import, and no other case needs them
        from quantd.daemon.assembly.parts import assemble
        from quantd.daemon.cli.configuration import read
        from quantd.daemon.recovery.start import begin

        # another commit has keys and data of its own
        root = Path(quantd.__file__).parents[2]
        text = (root / "config.toml").read_text(encoding="utf-8")
        for old, new in ((f'"{self.trained}"', f'"{self.policy}"'), ('"data/', f'"{root}/data/')):
            if old not in text:
                raise SystemExit(f"{root}/config.toml has no {old}; correct CASES of benchmarks/engine.py")
            text = text.replace(old, new)
        with TemporaryDirectory() as folder:
            file = Path(folder, "config.toml")
            file.write_text(text, encoding="utf-8")
            assembly = assemble(read(file))
        body = assembly.shell()
        begin(body, assembly, assembly.config, "engine", fresh=True)
        bars, items = 0, []
        for item in assembly.items():
            bars += type(item) is MarketSlice
            if bars > days:
                break
            items.append(item)
        return World(body, items, assembly.policies)


def even() -> list[Policy]:
    return [POLICIES["equal_weight"]({})]


def three() -> list[Policy]:
    return [*even(), POLICIES["inverse_volatility"]({"lookback": 63}), POLICIES["momentum"]({"lookback": 126})]


def rotating() -> list[Policy]:
    return [Rotating()]


def quiet() -> list[Policy]:
    return [Quiet()]


CASES: Final[dict[str, Case | Shipped]] = {
    "quiet": Case("20 x 5,000, one trade then quiet", 20, 5_000, quiet, 21),
    "monthly": Case("20 x 5,000, equal weight every 21 sessions", 20, 5_000, even, 21),
    "daily": Case("20 x 5,000, all 20 trade every day", 20, 5_000, rotating, 1),
    "three monthly": Case("20 x 5,000, three agents every 21 sessions", 20, 5_000, three, 21),
    "three daily": Case("20 x 5,000, three agents every day", 20, 5_000, three, 1),
    "daily, four more limits": Case("20 x 5,000, all 20 daily, four more limits", 20, 5_000, rotating, 1, MORE),
    "three daily, four more limits": Case("20 x 5,000, three daily, four more limits", 20, 5_000, three, 1, MORE),
    "one symbol": Case("1 x 100,000, asked every bar, quiet", 1, 100_000, quiet, 1),
    "default profiles": Shipped("5 x 818 recorded, default profiles", 5, 818, "equal_weight"),
}


def seconds(
    case: Case | Shipped,
    days: int = 0,
    log: "Log | None" = None,
    *,
    blocks: bool = False,
    single: bool = False,
) -> tuple[float, Shell]:
    """CPU seconds of one run over `days` sessions, those of the case without it, and its shell. With `blocks` policies
    answer for blocks of samples, as in `quantd backtest`; `single` items are taken one by one, as by a daemon."""
    body, items, policies = case.world(days or case.days)
    if log is not None:
        body.log = log
    ahead = AnswerBlocks(body.answer, policies.__getitem__, [True] * len(policies)) if blocks else None
    if ahead is not None:
        body.answer = ahead
    # as in `quantd backtest`: objects that exist at the start are excluded from garbage collection
    gc.collect()
    gc.freeze()
    began = time.process_time()
    for at in range(0, len(items), CHUNK):
        chunk = items[at : at + CHUNK]
        if ahead is not None:
            ahead.expect(chunk)
        if single:
            for item in chunk:
                body.take(item)
        else:
            body.take_all(chunk)
    took = time.process_time() - began
    gc.unfreeze()
    return took, body


def run(case: Case | Shipped, days: int, *, blocks: bool = False) -> None:
    """Print the best of three runs over so many sessions."""
    runs = [seconds(case, days, blocks=blocks) for _ in range(3)]
    best = min(took for took, _ in runs)
    text = case.text + ", in blocks" * blocks
    body = runs[0][1]
    tally = body.tally
    print(
        f"{text:44s} {tally.symbol_bars / best:12,.0f} symbol-bars/s  {best / days * 1e6:7.1f} us a session  "
        f"{tally.orders:7,d} orders  {tally.refused:6,d} refused {tally.clipped:6,d} clipped  equity "
        f"{body.state.equity_micro / 1e6:,.2f}  digest {body.digest.hexdigest()[:8]}  folded {shares(body)}"
    )


def shares(body: Shell) -> str:
    """What the fold took of bars, samples and rounds, as percentages."""
    state, tally = body.state, body.tally
    pairs = (state.bars_taken, tally.slices), (state.samples_taken, tally.samples), (state.rounds_taken, state.round_no)
    return ", ".join(f"{100 * taken / total:.1f}" if total else "-" for taken, total in pairs) + " %"


# ---- reference figures ---------------------------------------------------------------------------


def machine_us() -> float:
    """Return the CPU time of `sum(range(1000))`, best of 50: a scale for comparisons between machines."""
    best = float("inf")
    for _ in range(50):
        began = time.process_time_ns()
        for _ in range(200):
            sum(range(1000))
        best = min(best, (time.process_time_ns() - began) / 200)
    return best / 1e3


def baselines(symbols: int, days: int) -> None:
    """Time the same slices without processing, and with a valuation of a book of the same size at each close."""
    block, _, _ = market(symbols, days)
    items = timeline(block, 21, 1)
    lots = [1_000] * symbols

    def walk() -> None:
        for item in items:
            type(item)

    def value() -> None:
        for item in items:
            if type(item) is MarketSlice:
                sum(k * price for k, price in zip(lots, item.close_nano.tolist(), strict=True))

    for name, body in (("an empty walk over the slices", walk), ("only the exact value at each close", value)):
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            body()
            best = min(best, time.process_time() - began)
        print(
            f"baseline: {name:34s} {symbols * days / best:12,.0f} symbol-bars/s  {best / days * 1e6:7.2f} us a session"
        )


# ---- memory ----------------------------------------------------------------------------------------


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def memory(days: int) -> None:
    """Print resident memory during a million symbol-bars, with every symbol traded every 5 sessions."""
    block, universe, sessions = market(20, days)
    items = timeline(block, 5, 1)
    body = shell(universe, sessions, [Rotating()], True, LIMITS)
    readings = []
    for part in range(5):
        share = len(items) // 5
        for at in range(part * share, (part + 1) * share, CHUNK):
            body.take_all(items[at : min(at + CHUNK, (part + 1) * share)])
        readings.append(f"{body.tally.symbol_bars:,} {resident_mib():.1f}")
    print(f"resident memory in MiB after symbol-bars: {'; '.join(readings)} ({body.tally.orders:,} orders)")


def profiled() -> None:
    import cProfile
    import pstats

    block, universe, sessions = market(20, 2_000)
    items = timeline(block, 1, 1)
    body = shell(universe, sessions, [Rotating()], True, LIMITS)
    profile = cProfile.Profile()
    profile.enable()
    body.take_all(items)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description="The whole engine.")
    parser.add_argument("--profile", action="store_true", help="where the time of 2,000 sessions goes")
    parser.add_argument("--beside", metavar="COMMIT", help="compare with the engine of another commit or checkout")
    parser.add_argument("--case", metavar="NAME", action="append", default=[], help="only this case; may be repeated")
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="rounds in turn, 5 or more")
    parser.add_argument("--sessions", metavar="N", type=int, default=0, help="at most so many sessions of each case")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    from benchmarks import beside  # which imports this module

    words = options()
    if words.run:
        print(json.dumps(beside.answer(beside.Row(*json.loads(words.run)))))
        return 0
    if words.beside:
        return beside.compare(words.beside, words.case, words.rounds, words.sessions)
    if words.profile:
        profiled()
        return 0
    rows = [row for row in beside.rows(words.case, words.sessions) if row.form == "whole"]
    days = words.sessions or 5_000
    print(f"synthetic bars, seed {SEED}; one thread, CPU seconds of the process, best of 3")
    print(f"this machine now: sum(range(1000)) takes {machine_us():.1f} us")
    if not words.case:
        baselines(20, days)
    for row in rows:
        run(CASES[row.name], row.sessions)
    if words.case:
        return 0
    run(CASES["three daily"], days, blocks=True)
    print(f"this machine now: sum(range(1000)) takes {machine_us():.1f} us")
    memory(10 * days)
    return 0


if __name__ == "__main__":
    sys.exit(main())
