"""Walk-forward: at each refit the best point of a grid in sample, then the next period through the engine.

What can go wrong: a refit reads bars of the period that it will trade. The points of a refit run over bars that end
`embargo` sessions before it: nothing that is chosen or fitted can read more.

A change of parameters must not be free. The account is therefore one, from the first refit to the last bar, and what a
refit changes is traded and paid for. For the same reason a walk chooses policies and their parameters only, and no key
of the account. Costs are not chosen.

A return belongs to the refit whose choice held at the sample before it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct

from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.daemon.assembly.loaded_artifacts import factor_of
from quantd.daemon.assembly.parts import Assembly, assemble, limits_of_config
from quantd.daemon.config import Agent, Config
from quantd.daemon.policies.composed import with_rules
from quantd.daemon.policies.loading import Apart, fit, load
from quantd.daemon.runtime.version import code_version
from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.run_track import track_record_of
from quantd.research.runs.looks import identity_of as identity_of_market
from quantd.research.runs.looks import try_note_looks
from quantd.research.runs.run_record import Record
from quantd.research.runs.trials import Known, Look
from quantd.research.studies.grid import Grid
from quantd.research.studies.sweep import (
    COSTS,
    MOST_PER_WORK,
    Collector,
    PointsFile,
    Progress,
    Sweep,
    stop_at,
)
from quantd.research.studies.sweep_points import Base, Point, Work, config_of, run_points
from quantd.research.studies.walk_calendar import Refit, Steps, WalkError, day_of
from quantd.research.studies.walk_policy import walked
from quantd.training.runs.workers import Executor

POINTS: Final = "points.bin"
TABLE: Final = "walk.parquet"
RETURNS: Final = "returns.parquet"

Run = Callable[[Work, Callable[[Point], bool]], int]
"""Runs points one after another and reports each."""


class Choice(Struct, frozen=True):
    """The choice of a refit: the values of the keys, and the look at the bars by which they were chosen."""

    refit: Refit
    values: tuple[str, ...]
    look: Look
    seen: tuple[str, ...] = ()
    """The text that the table shows in place of the values; empty where it shows the values."""

    @property
    def shown(self) -> tuple[str, ...]:
        """The text in the table: `seen`, or the values without it."""
        return self.seen or self.values

    @property
    def sharpe(self) -> float:
        """The annual Sharpe ratio in sample."""
        return self.look.sharpe


def require_keys(grid: Grid) -> None:
    """Raise WalkError for a key that a walk cannot choose: a cost, or what belongs to the whole account."""
    for key in grid.keys:
        if key in COSTS:
            raise WalkError(f"{key} is a cost, which nobody chooses; write it as a setting, --set {key}=VALUE")
        parts = key.split(".")
        if len(parts) < 3 or parts[0] != "agents" or parts[2] not in ("params", "policy"):
            text = f"{key} belongs to the account, which trades on through all refits; a walk chooses policies and"
            raise WalkError(f"{text} their parameters: agents.NAME.params.KEY, agents.NAME.policy")


def identity_of(base: Base, grid: Grid, steps: Steps, market: str) -> str:
    """Return the hex BLAKE2b of everything that decides the result of a walk-forward."""
    shared = msgspec.structs.replace(base, cache="", bars="", folder="")
    parts = msgspec.json.encode((shared, market, list(grid.axes.items()), steps, code_version()))
    return blake2b(parts, digest_size=16).hexdigest()


def folder_of(state: Path, identity: str) -> Path:
    """Return the folder of a walk-forward in a state folder."""
    return state / "walks" / identity[:12]


def base_at(base: Base, refit: Refit) -> Base:
    """Return the shared part of the points of one refit: the bars end before it."""
    ends = [f"feed.end={refit.last.isoformat()}"]
    begins = [] if refit.first is None else [f"feed.start={refit.first.isoformat()}"]
    return msgspec.structs.replace(base, sets=(*base.sets, *begins, *ends))


def lean(run: Run) -> Run:
    """Return `run` without the returns and the market of each point, which a walk does not store."""
    return _Lean(run)


@dataclass(frozen=True, slots=True)
class _Lean:
    run: Run

    def __call__(self, work: Work, tell: Callable[[Point], bool]) -> int:
        return self.run(work, lambda point: tell(_without_series(point)))


def _without_series(point: Point) -> Point:
    look = None if point.look is None else msgspec.structs.replace(point.look, identity=None)
    return msgspec.structs.replace(point, returns=b"", ts=b"", look=look)


def choices(
    base: Base,
    grid: Grid,
    planned: Sequence[Refit],
    identity: str,
    folder: Path,
    where: Executor,
    progress: Progress = lambda share: None,
    run: Run = run_points,
    *,
    stop: bool = False,
) -> tuple[Choice, ...]:
    """Return the best point of each refit, by the Sharpe ratio in sample; finished points are read from `folder`.

    Raises SweepFailed, WalkError where no point of a refit has a ratio, DecisionFailed with `stop`, WorkerLost.
    """
    file = PointsFile(folder / POINTS, identity)
    if stop:
        stop_at(file.points.values())
    size = len(grid)

    def arguments() -> Iterator[Work]:
        for refit in planned:
            numbered = [(refit.number * size + k, values) for k, values in enumerate(grid)]
            open_points = [point for point in numbered if point[0] not in file.points]
            for first in range(0, len(open_points), MOST_PER_WORK):
                yield Work(base_at(base, refit), grid.keys, tuple(open_points[first : first + MOST_PER_WORK]))

    where.run(lean(run), arguments(), Collector(file, size * len(planned), progress, stop=stop))
    return tuple(_chosen(grid, refit, [file.points[refit.number * size + k] for k in range(size)]) for refit in planned)


def _chosen(grid: Grid, refit: Refit, points: Sequence[Point]) -> Choice:
    best = Sweep(grid.keys, tuple(points), Known()).best
    if best is None or best.look is None:
        why = next((point.fault for point in points if point.fault), "its equity is constant in sample")
        raise WalkError(f"refit {refit.day}: no point has a Sharpe ratio on the bars up to {refit.last}: {why}")
    return Choice(refit, best.values, best.look)


def traded(
    base: Base,
    keys: Sequence[str],
    chosen: Sequence[Choice],
    isolation: Apart | None = None,
    bars: BarFrame | None = None,
) -> Assembly:
    """Return the run of the choices over the bars from the first refit on. Raises what `assemble` raises."""
    configs = {choice.values: _config(base, keys, chosen[0], choice.values) for choice in chosen}
    config = configs[chosen[0].values]
    assembly = assemble(config, cache=Path(base.cache), isolation=isolation, bars=bars, history=base.history)
    varied = {key.split(".")[1] for key in keys}
    since = [choice.refit.opens_ns for choice in chosen]
    order = [choice.values for choice in chosen]
    policies = list(assembly.policies)
    for k, agent in enumerate(assembly.config.seats):
        if agent.name not in varied:
            continue
        loaded = {values: _loaded(of, agent.name, assembly, isolation) for values, of in configs.items()}
        policy = walked(loaded, order, since)
        factor = factor_of(assembly.config, assembly.universe, assembly.interval_ns, agent)
        policies[k] = with_rules(assembly.config, agent, policy, factor, assembly.members)
    assembly = replace(assembly, policies=tuple(policies))
    return replace(assembly, rules=limits_of_config(assembly, assembly.config))


def _config(base: Base, keys: Sequence[str], first: Choice, values: Sequence[str]) -> Config:
    sets = [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
    return config_of(base, [f"feed.start={first.refit.day.isoformat()}", *sets]).for_backtest()


def _loaded(config: Config, name: str, assembly: Assembly, isolation: Apart | None) -> Any:
    agent: Agent = next(candidate for candidate in config.seats if candidate.name == name)
    if isolation is not None and agent.reads:
        isolation = isolation.reading([config.at(path) for path in agent.reads])
    policy = load(agent.policy, agent.params, config.source.folder, isolation, config.feed.unused_series)
    fit(policy, assembly.universe)
    return policy


class Period(Struct, frozen=True):
    """One refit with the period that it traded: ratios are annual, None where undefined.

    `first` and `last` are the dates of the period's first and last return. A return belongs to the refit whose choice
    held at the sample before it.
    """

    choice: Choice
    first: str
    last: str
    samples: int
    sharpe: float | None
    total_return: float


@dataclass(frozen=True)
class Walk:
    """The result of a walk-forward: the refits with their periods, and the returns between samples at `ts`."""

    keys: tuple[str, ...]
    periods: tuple[Period, ...]
    ts: np.ndarray[tuple[int], np.dtype[np.int64]]
    returns: np.ndarray[tuple[int], np.dtype[np.float64]]
    sharpe: float | None
    """The annual Sharpe ratio of all periods together, out of sample."""

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per refit: its dates, the chosen values, and the ratios in and out of sample."""
        rows = self.periods
        columns: dict[str, Any] = {
            "refit": [period.choice.refit.day for period in rows],
            "fitted_from": [period.choice.look.first for period in rows],
            "fitted_to": [period.choice.look.last for period in rows],
            "last": [period.last for period in rows],
            "samples": [period.samples for period in rows],
            **{key: [period.choice.shown[k] for period in rows] for k, key in enumerate(self.keys)},
            "sharpe_in": [period.choice.sharpe for period in rows],
            "sharpe_out": pl.Series("sharpe_out", [period.sharpe for period in rows], pl.Float64),
            "return_out": [period.total_return for period in rows],
        }
        return pl.DataFrame(columns)

    @cached_property
    def stitched(self) -> pl.DataFrame:
        """The returns out of sample: ts, return, and the date of the refit in force."""
        refit = [period.choice.refit.day for period in self.periods for _ in range(period.samples)]
        ts = pl.Series("ts", self.ts, pl.Int64).cast(pl.Datetime("ns", "UTC"))
        return pl.DataFrame([ts, pl.Series("return", self.returns), pl.Series("refit", refit, pl.Date)])

    @property
    def sharpe_in(self) -> float:
        """The mean Sharpe ratio in sample of what was chosen."""
        return float(np.mean([period.choice.sharpe for period in self.periods]))

    @property
    def efficiency(self) -> float | None:
        """The Sharpe ratio out of sample over the mean one in sample; None where that is not above 0."""
        if self.sharpe is None or self.sharpe_in <= 0.0:
            return None
        return self.sharpe / self.sharpe_in

    @property
    def stability(self) -> float | None:
        """The share of refits that chose as the one before; None for a single refit."""
        order = [period.choice.shown for period in self.periods]
        if len(order) < 2:
            return None
        return sum(a == b for a, b in pairwise(order)) / (len(order) - 1)

    def sentences(self) -> list[str]:
        """Return efficiency and stability, a sentence each."""
        count = f"{len(self.periods):,} refit{'' if len(self.periods) == 1 else 's'}"
        out = "undefined" if self.sharpe is None else f"{self.sharpe:.2f}"
        text = f"{count}: Sharpe {out} out of sample, {self.sharpe_in:.2f} on average in sample"
        share = "undefined" if self.efficiency is None else f"{self.efficiency:.2f}"
        return [f"{text}; efficiency {share}.", self._stability()]

    def _stability(self) -> str:
        order = [period.choice.shown for period in self.periods]
        if self.stability is None:
            return f"One choice: {', '.join(map(' '.join, zip(self.keys, order[0], strict=True)))}."
        kept = round(self.stability * (len(order) - 1))
        parts = []
        for k, key in enumerate(self.keys):
            values = [choice[k] for choice in order]
            top = max(dict.fromkeys(values), key=values.count)
            often = f"most often {top} ({values.count(top)} refits)"
            several = len(set(values)) > 1
            parts.append(f"{key} took {len(set(values))} values, {often}" if several else f"{key} was always {top}")
        return f"The choice stayed at {kept} of {len(order) - 1} refits; {'; '.join(parts)}."


def walk_of(assembly: Assembly, record: Record, keys: Sequence[str], chosen: Sequence[Choice]) -> Walk:
    """Return the result of the finished run of `traded`. Raises ValueError for a lost account."""
    track = track_record_of(assembly, record, trips=False)
    ts = np.asarray(record.ts, dtype=np.int64)
    opens = np.array([refit_choice.refit.opens_ns for refit_choice in chosen])
    owner = np.maximum(np.searchsorted(opens, ts[:-1], side="right") - 1, 0)  # of the sample before each return
    free = np.broadcast_to(np.asarray(track.risk_free_annual, dtype=np.float64) / track.periods, track.returns.shape)
    periods = []
    for k, choice in enumerate(chosen):
        rows = np.flatnonzero(owner == k)
        if not len(rows):
            continue
        returns = track.returns[rows]
        excess = returns - free[rows]
        spread = float(excess.std(ddof=1)) if len(rows) > 1 else 0.0
        ratio = float(excess.mean()) / spread * track.periods**0.5 if spread > 0.0 else None
        first, last = (day_of(track.days_ns[rows[at] + 1]).isoformat() for at in (0, -1))
        periods.append(Period(choice, first, last, len(rows), ratio, float(np.prod(1.0 + returns) - 1.0)))
    sharpe = measure(track, ("sharpe",))["sharpe"]
    sharpe = sharpe if sharpe is not None and isfinite(sharpe) else None
    return Walk(tuple(keys), tuple(periods), ts[1:], track.returns, sharpe)


def note_choices(state: Path, market: Assembly, keys: Sequence[str], chosen: Sequence[Choice], family: str) -> Known:
    """Record one trial per refit in the ledger of `state`.

    A trial has the identity of all bars of the walk, those of `market`. Its dates go to the refit, so that the years
    of each one meet those of the run out of sample, which counts them all.
    """
    of = identity_of_market(market)
    looks = [
        msgspec.structs.replace(
            choice.look, kind="walk", market=market.market, identity=of, family=family,
            last=choice.refit.day.isoformat(), values=dict(zip(keys, choice.shown, strict=True)),
        )
        for choice in chosen
    ]  # fmt: skip
    return try_note_looks(state, looks)


def write(walk: Walk, folder: Path) -> None:
    """Write the table and the returns."""
    walk.table.write_parquet(folder / TABLE)
    walk.stitched.write_parquet(folder / RETURNS)
