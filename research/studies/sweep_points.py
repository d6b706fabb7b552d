"""The points of a sweep: each point runs the configuration with its own values, over a market that is read once."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct

from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.daemon.assembly.first_session import longest_history
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, assemble, policies_of, reassemble
from quantd.daemon.config import Config, ConfigError, of_keys, read
from quantd.daemon.policies.loading import Apart
from quantd.daemon.runtime.timeline import Item
from quantd.research.doubts import Doubt
from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.run_track import track_record_of
from quantd.research.runs.backtest import drive_items
from quantd.research.runs.comparison import first_decision
from quantd.research.runs.failures import AgentFailures, DecisionFailed
from quantd.research.runs.looks import look_of
from quantd.research.runs.run_record import Record
from quantd.research.runs.trials import Look
from quantd.research.studies.grid import Grid, GridError
from quantd.research.verdict import Measured
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import ExplainedError

METRICS = (
    "sharpe", "cagr", "volatility", "max_drawdown", "calmar", "sortino", "total_return", "turnover", "trading_cost",
    "average_gross",
)  # fmt: skip
"""Metrics of each point, in the order of the table."""


class Base(Struct, frozen=True):
    """The input that all points of a sweep share.

    `text` is the configuration, from `file` in `folder`. `sets` are the overrides KEY=VALUE of the configuration, and
    `environ` the overrides from environment variables. `bars`, if set, is a file whose bars replace the bars of the
    feed. All points begin to decide at the same session, after `history` samples.
    """

    text: str
    file: str
    folder: str
    sets: tuple[str, ...]
    environ: dict[str, str]
    cache: str
    bars: str = ""
    history: int = 0
    """Samples that precede trading: the longest lookback of any point."""


class Point(Struct, frozen=True, omit_defaults=True):
    """One finished point: its index in the grid (`number`), values of the keys, and metrics by name.

    `returns` are float64[T] bytes, `ts` the instants of their samples, int64[T] bytes in ns UTC. `fault` says why there
    is no result. `failures` are the agents whose policy failed: a point with failures has a look, because it was tried,
    but no metrics and no returns. `doubts` are the reasons to doubt the metrics, the heaviest first.
    """

    number: int
    values: tuple[str, ...]
    metrics: dict[str, float | None] = {}
    look: Look | None = None
    returns: bytes = b""
    ts: bytes = b""
    fault: str = ""
    failures: tuple[AgentFailures, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def series(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the simple returns of the point, float64[T]."""
        return np.frombuffer(self.returns)


class Work(Struct, frozen=True):
    """Points for one worker: (index in the grid, values) of each point, with a value for each of `keys`."""

    base: Base
    keys: tuple[str, ...]
    points: tuple[tuple[int, tuple[str, ...]], ...]


Run = Callable[[Work, Callable[[Point], bool]], int]
"""Runs the points of some work, and tells each result; returns how many points ran."""


def base_of(config: Config, text: str, sets: Sequence[str], cache: Path) -> Base:
    """Return the input that all points of a sweep of this configuration share. `text` is its TOML text."""
    folder = str(config.source.folder.resolve())
    return Base(text, config.source.file, folder, tuple(sets), of_keys(os.environ), str(cache))


def config_of(base: Base, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of a point, with the point's `overrides` KEY=VALUE. Raises ConfigError for a wrong key
    or value."""
    return read(
        base.text, known_names(), file=base.file, folder=Path(base.folder), environ=base.environ,
        sets=(*base.sets, *overrides),
    )  # fmt: skip


def grid_history(base: Base, grid: Grid, isolation: Apart | None = None) -> int:
    """Return the largest number of samples before trading that the policies of any point of a grid need.

    A point with a wrong value counts as 0. Only keys of agents change the number, so that all other keys have their
    first value in this computation.
    """
    firsts = {key: values[0] for key, values in grid.axes.items() if not key.startswith("agents.")}
    longest = 0
    for values in dict.fromkeys(tuple(map(firsts.get, grid.keys, point)) for point in grid):
        try:
            config = config_of(base, [f"{key}={value}" for key, value in zip(grid.keys, values, strict=True)])
            universe = config.instruments()
            longest = max(
                longest, longest_history(policies_of(config, universe, config.feed.interval_ns, isolation), universe)
            )
        except (ConfigError, ExplainedError, ValueError):
            continue  # the point itself reports its fault
    return longest


def require_values(base: Base, grid: Grid, isolation: Apart | None = None) -> None:
    """Refuse a value of a key with which no point of a grid can begin.

    A point can begin if its configuration has no mistake and its policies can be loaded. Raises GridError with the key,
    the value and the mistake of its first point.
    """
    faults: dict[tuple[str, str], str] = {}
    open_values = {(key, value) for key, values in grid.axes.items() for value in values}
    for point in grid:
        pairs = list(zip(grid.keys, point, strict=True))
        if not open_values:
            break
        if open_values.isdisjoint(pairs):
            continue
        try:
            config = config_of(base, [f"{key}={value}" for key, value in pairs])
            policies_of(config, config.instruments(), config.feed.interval_ns, isolation)
            open_values.difference_update(pairs)
        except ConfigError as error:
            text = str(error.mistakes[0])
        except (ExplainedError, ValueError) as error:
            text = str(error)
        else:
            continue
        for pair in pairs:
            faults.setdefault(pair, text)
    refused = [pair for pair in faults if pair in open_values]
    if refused:
        key, value = refused[0]
        fault = faults[refused[0]].rstrip(".")
        raise GridError(f"no point can take {key}={value}: {fault}. Leave the value out; no point ran")


def run_points(work: Work, tell: Callable[[Point], bool]) -> int:
    """Run points one after another, and report each to `tell`, which returns True to end the work. Returns the number
    of points that ran."""
    market = _market(msgspec.msgpack.encode(work.base))
    for index, (number, values) in enumerate(work.points):
        if tell(run_point(market, work.base, work.keys, number, values)):
            return index + 1
    return len(work.points)


class Market:
    """The market of a sweep, read once, and its items (bars, actions, ticks) for each set of schedules."""

    def __init__(self, assembly: Assembly, bars: BarFrame | None, cache: Path, history: int) -> None:
        self.assembly, self.bars, self.cache, self.history = assembly, bars, cache, history
        self._items: dict[object, list[Item]] = {}
        self._identified: set[str] = set()

    @classmethod
    def open(cls, base: Base, isolation: Apart | None = None, bars: BarFrame | None = None) -> "Market":
        """Read the market of a sweep, unless its `bars` are in memory. Raises the errors of `assemble`."""
        if bars is None and base.bars:
            bars = BarFrame(pl.read_parquet(base.bars))
        cache = Path(base.cache)
        assembly = assemble(config_of(base), cache=cache, isolation=isolation, bars=bars, history=base.history)
        return cls(assembly, bars, cache, base.history)

    def under(self, config: Config) -> Assembly:
        """Return the parts of a run under another configuration.

        Where that configuration has another market, the other market is read for this run only.
        """
        same = reassemble(self.assembly, config)
        return same or assemble(
            config, cache=self.cache, isolation=self.assembly.isolation, bars=self.bars, history=self.history
        )

    def identified(self, look: Look) -> Look:
        """Return the look (record of an evaluation) without its market's identity, if an earlier look has it.

        Storing the identity once saves space.
        """
        if look.market in self._identified:
            return msgspec.structs.replace(look, identity=None)
        self._identified.add(look.market)
        return look

    def items(self, assembly: Assembly) -> list[Item]:
        """Return the bars, actions and ticks of a run. The newest list is remembered for the next point with the same
        schedules."""
        if assembly.feed is not self.assembly.feed:
            return list(assembly.items())
        key = assembly.schedules, assembly.rules.seats, assembly.rules.venue_pays
        if key not in self._items:
            self._items = {key: list(assembly.items())}
        return self._items[key]


@lru_cache(maxsize=1)
def _market(encoded: bytes) -> Market:
    """Return the market of an encoded `Base`. A worker process reads the market once for all its work."""
    base = msgspec.msgpack.decode(encoded, type=Base)
    return Market.open(base)


def run_point(
    market: Market, base: Base, keys: Sequence[str], number: int, values: tuple[str, ...], *, stop: bool = False
) -> Point:
    """Run one point of a sweep.

    The returned point has a `fault` if its configuration is wrong, its policy fails or its account is lost.

    `number` is the index of the point in the grid. If `stop` is True, the first failed decision raises DecisionFailed.
    The point has its look, the record that this configuration was tried on the market.
    """
    try:
        config = config_of(base, [f"{key}={value}" for key, value in zip(keys, values, strict=True)])
        point = measured(market, config, number, values, stop=stop)
    except DecisionFailed:
        raise
    except ConfigError as error:
        return Point(number, values, fault=str(error.mistakes[0]))
    except ExplainedError as error:
        return Point(number, values, fault=str(error))
    if point.look is None:
        return point
    look = msgspec.structs.replace(point.look, values=dict(zip(keys, values, strict=True)))
    return msgspec.structs.replace(point, look=market.identified(look))


def measured(market: Market, config: Config, number: int, values: tuple[str, ...], *, stop: bool = False) -> Point:
    """Run the configuration of a point over the market, and return the point with its metrics and its look.

    A look is the record that this configuration was tried on the market. `number` is the index of the point in the
    grid. If `stop` is True, the first failed decision raises DecisionFailed.
    """
    assembly = market.under(config)
    record = Record(assembly.universe)
    # the whole run; its last state then values the record at each instrument's own close
    record.end(drive_items(assembly, record, market.items(assembly), stop=stop).state)
    # every point must decide at the first sample, so that all points have the same dates
    if first_decision(assembly, record) != session_date(record.ts[0]).isoformat():
        needed = longest_history(assembly.policies, assembly.universe)
        text = f"its policy reads {needed:,} samples, more than there are before the first sample of the sweep"
        remedy = f"write LOOKBACK = {needed} into its file (Python: act.lookback = {needed}), or give earlier bars"
        return Point(number, values, fault=f"{text}; {remedy}")
    failures = record.failures.of(assembly.rules.names())
    fault = "; ".join(failure.text for failure in failures)
    try:
        track = track_record_of(assembly, record, trips=False)
    except ValueError as error:
        return Point(number, values, fault=fault or str(error), failures=failures)
    metrics: Mapping[str, float | None] = measure(track, METRICS)
    sharpe = metrics["sharpe"]
    look = None if sharpe is None else look_of(assembly, record.ts, sharpe, track.periods, "sweep")
    if failures:
        return Point(number, values, look=look, fault=fault, failures=failures)
    ts = np.asarray(record.ts[1:], dtype=np.int64).tobytes()  # the first return ends at the second sample
    doubts = Measured.of(assembly, record).doubts(assembly)
    return Point(number, values, dict(metrics), look, track.returns.tobytes(), ts, doubts=doubts)
