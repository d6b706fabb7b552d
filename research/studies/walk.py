"""Walk-forward: each refit chooses the best point of a grid in sample, and the engine trades it in the next period.

What can go wrong: a refit reads bars of the period that it will trade. So the points of a refit run over bars that end
`embargo` sessions before the refit, and no choice or fit can read later bars.

A change of parameters must not be free. So there is one account from the first refit to the last bar, which trades and
pays for the changes of each refit. For the same reason a walk-forward chooses policies and their parameters only, no
setting of the whole account and no costs.

A return belongs to the refit whose choice was in force at the sample before the return.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
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
from quantd.research.studies.sweep_points import Base, Point, Run, Work, config_of, run_points
from quantd.research.studies.walk_calendar import Refit, Steps, WalkError, day_of
from quantd.research.studies.walk_policy import walked
from quantd.training.runs.workers import Executor

POINTS: Final = "points.bin"
TABLE: Final = "walk.parquet"
RETURNS: Final = "returns.parquet"


class Choice(Struct, frozen=True):
    """The choice of a refit: the values of the swept keys.

    `look` is the in-sample evaluation by which they were chosen.
    """

    refit: Refit
    values: tuple[str, ...]
    look: Look
    seen: tuple[str, ...] = ()
    """The text that the table shows in place of the values; empty where it shows the values."""

    @property
    def shown(self) -> tuple[str, ...]:
        """What the table of refits shows for the choice: the texts in `seen` or, if it is empty, the chosen values."""
        return self.seen or self.values

    @property
    def sharpe(self) -> float:
        """The annual Sharpe ratio of the choice in sample."""
        return self.look.sharpe


def require_keys(grid: Grid) -> None:
    """Raise WalkError for a key that a walk-forward cannot choose: a cost, or a setting of the whole account."""
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
    parts = msgspec.json.encode((shared, market, grid.identity, steps, code_version()))
    return blake2b(parts, digest_size=16).hexdigest()


def folder_of(state: Path, identity: str) -> Path:
    return state / "walks" / identity[:12]


def base_between(base: Base, first: date | None, last: date) -> Base:
    """Return the shared input of points that trade from `first` on (None: from the first bar) over bars to `last`."""
    ends = [f"feed.end={last.isoformat()}"]
    begins = [] if first is None else [f"feed.start={first.isoformat()}"]
    return msgspec.structs.replace(base, sets=(*base.sets, *begins, *ends))


def open_works(
    tries: Iterable[tuple[Base, Sequence[tuple[int, tuple[str, ...]]]]], keys: tuple[str, ...], file: PointsFile
) -> Iterator[Work]:
    """Yield the points that `file` does not have yet, at most MOST_PER_WORK in a work.

    `tries` are shared inputs with points, each of them (its number in the file, its values of `keys`).
    """
    for base, points in tries:
        open_points = [point for point in points if point[0] not in file.points]
        for first in range(0, len(open_points), MOST_PER_WORK):
            yield Work(base, keys, tuple(open_points[first : first + MOST_PER_WORK]))


def lean(run: Run) -> Run:
    """Return a function that runs points as `run` does, and leaves out what a walk-forward does not store.

    Left out are the returns of each point and the identity of its market.
    """
    return _WithoutSeries(run)


@dataclass(frozen=True, slots=True)
class _WithoutSeries:
    """The function that `lean` returns. It is a class, because it is pickled for worker processes."""

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

    `planned` are the refits, `identity` is the result of `identity_of`, and `where` runs the workers. Raises
    SweepFailed, WalkError where no point of a refit has a ratio, DecisionFailed for a failed decision if `stop` is
    True, and WorkerLost where a worker process ended early.
    """
    file = PointsFile(folder / POINTS, identity)
    if stop:
        stop_at(file.points.values())
    size = len(grid)  # point k of refit r has the number r * size + k in the file of points
    tries = (
        (
            base_between(base, refit.first, refit.last),
            [(refit.number * size + k, point) for k, point in enumerate(grid)],
        )
        for refit in planned
    )
    # `lean` leaves out the returns of each point, which a walk-forward does not store
    where.run(lean(run), open_works(tries, grid.keys, file), Collector(file, size * len(planned), progress, stop=stop))
    return tuple(_choice(grid, refit, [file.points[refit.number * size + k] for k in range(size)]) for refit in planned)


def _choice(grid: Grid, refit: Refit, points: Sequence[Point]) -> Choice:
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
    """Return the parts of the run that trades the choices from the first refit on. Raises the errors of `assemble`.

    `chosen` has a choice for each refit, in order of time, with a value for each of `keys`.
    """
    configs = {choice.values: _config_of_choice(base, keys, chosen[0], choice.values) for choice in chosen}
    config = configs[chosen[0].values]
    assembly = assemble(config, cache=Path(base.cache), isolation=isolation, bars=bars, history=base.history)
    chosen_agents = {key.split(".")[1] for key in keys}  # a key is agents.NAME.KEY
    since = [choice.refit.opens_ns for choice in chosen]
    order = [choice.values for choice in chosen]
    policies = list(assembly.policies)
    for k, agent in enumerate(assembly.config.seats):
        if agent.name not in chosen_agents:
            continue
        loaded = {
            values: fitted_policy(choice_config, agent.name, assembly, isolation)
            for values, choice_config in configs.items()
        }
        policy = walked(loaded, order, since)
        factor = factor_of(assembly.config, assembly.universe, assembly.interval_ns, agent)
        # inside the sizing and the rebalancing of the agent, as a policy that is not walked
        policies[k] = with_rules(assembly.config, agent, policy, factor, assembly.members)
    assembly = replace(assembly, policies=tuple(policies))
    return replace(assembly, rules=limits_of_config(assembly, assembly.config))


def _config_of_choice(base: Base, keys: Sequence[str], first: Choice, values: Sequence[str]) -> Config:
    """Return the configuration with `values` of `keys`, for a run from the day of the first refit on."""
    sets = [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
    return config_of(base, [f"feed.start={first.refit.day.isoformat()}", *sets]).for_backtest()


def fitted_policy(config: Config, name: str, assembly: Assembly, isolation: Apart | None) -> Any:
    """Return the policy of the agent `name`, which knows the universe of `assembly`. Raises PolicyError."""
    agent: Agent = next(candidate for candidate in config.seats if candidate.name == name)
    if isolation is not None and agent.reads:
        isolation = isolation.reading([config.at(path) for path in agent.reads])
    policy = load(agent.policy, agent.params, config.source.folder, isolation, config.feed.unused_series)
    fit(policy, assembly.universe)
    return policy


class Period(Struct, frozen=True):
    """One refit with the period that it traded: `sharpe` is annual and out of sample, None where undefined.

    `first` and `last` are the dates of the period's first and last return. A return belongs to the refit whose choice
    was in force at the sample before the return.
    """

    choice: Choice
    first: str
    last: str
    samples: int
    sharpe: float | None
    total_return: float


@dataclass(frozen=True)
class Walk:
    """The result of a walk-forward: the refits with their periods, and the returns out of sample.

    A return ends at the sample with the same index in `ts` (ns UTC).
    """

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
        """The returns out of sample: ts, return, and the date of the latest refit."""
        refit = [period.choice.refit.day for period in self.periods for _ in range(period.samples)]
        ts = pl.Series("ts", self.ts, pl.Int64).cast(pl.Datetime("ns", "UTC"))
        return pl.DataFrame([ts, pl.Series("return", self.returns), pl.Series("refit", refit, pl.Date)])

    @property
    def sharpe_in(self) -> float:
        """The mean in-sample Sharpe ratio of the refits' choices, annual."""
        return float(np.mean([period.choice.sharpe for period in self.periods]))

    @property
    def efficiency(self) -> float | None:
        """The Sharpe ratio out of sample divided by the mean ratio in sample; None where that mean is not above 0."""
        if self.sharpe is None or self.sharpe_in <= 0.0:
            return None
        return self.sharpe / self.sharpe_in

    @property
    def stability(self) -> float | None:
        """The share of refits that chose the same values as the previous refit; None for a single refit."""
        order = [period.choice.shown for period in self.periods]
        if len(order) < 2:
            return None
        return sum(a == b for a, b in pairwise(order)) / (len(order) - 1)

    def sentences(self) -> list[str]:
        """Return two sentences, on the efficiency and on the stability of the walk-forward."""
        count = f"{len(self.periods):,} refit{'' if len(self.periods) == 1 else 's'}"
        out = "undefined" if self.sharpe is None else f"{self.sharpe:.2f}"
        text = f"{count}: Sharpe {out} out of sample, {self.sharpe_in:.2f} on average in sample"
        share = "undefined" if self.efficiency is None else f"{self.efficiency:.2f}"
        return [f"{text}; efficiency {share}.", self._stability()]

    def _stability(self) -> str:
        """Return how often the choice changed, and the values of each key, as a sentence."""
        order = [period.choice.shown for period in self.periods]
        if self.stability is None:
            return f"One choice: {', '.join(map(' '.join, zip(self.keys, order[0], strict=True)))}."
        unchanged = round(self.stability * (len(order) - 1))
        key_texts = []
        for k, key in enumerate(self.keys):
            values = [choice[k] for choice in order]
            most_frequent = max(dict.fromkeys(values), key=values.count)
            often = f"most often {most_frequent} ({values.count(most_frequent)} refits)"
            several = len(set(values)) > 1
            key_texts.append(
                f"{key} took {len(set(values))} values, {often}" if several else f"{key} was always {most_frequent}"
            )
        return f"The choice stayed at {unchanged} of {len(order) - 1} refits; {'; '.join(key_texts)}."


def walk_of(assembly: Assembly, record: Record, keys: Sequence[str], chosen: Sequence[Choice]) -> Walk:
    """Return the result of the finished run over the assembly that `traded` made.

    Raises ValueError for an account that lost everything.
    """
    track = track_record_of(assembly, record, trips=False)
    ts = np.asarray(record.ts, dtype=np.int64)
    opens = np.array([refit_choice.refit.opens_ns for refit_choice in chosen])
    # a return belongs to the refit in force when it began; those before the first refit belong to the first
    refit_index = np.maximum(np.searchsorted(opens, ts[:-1], side="right") - 1, 0)
    risk_free = np.broadcast_to(
        np.asarray(track.risk_free_annual, dtype=np.float64) / track.periods, track.returns.shape
    )
    periods = []
    for k, choice in enumerate(chosen):
        rows = np.flatnonzero(refit_index == k)
        if not len(rows):
            continue
        returns = track.returns[rows]
        excess = returns - risk_free[rows]
        deviation = float(excess.std(ddof=1)) if len(rows) > 1 else 0.0
        ratio = float(excess.mean()) / deviation * track.periods**0.5 if deviation > 0.0 else None
        first, last = (day_of(track.days_ns[rows[at] + 1]).isoformat() for at in (0, -1))
        periods.append(Period(choice, first, last, len(rows), ratio, float(np.prod(1.0 + returns) - 1.0)))
    sharpe = measure(track, ("sharpe",))["sharpe"]
    sharpe = sharpe if sharpe is not None and isfinite(sharpe) else None
    return Walk(tuple(keys), tuple(periods), ts[1:], track.returns, sharpe)


def note_choices(state: Path, market: Assembly, keys: Sequence[str], chosen: Sequence[Choice], family: str) -> Known:
    """Record one trial per refit in the ledger of looks (evaluations) of the folder `state`.

    A trial has the identity of all bars of the walk-forward, from `market`, and the trial's dates end at the refit. So
    its dates adjoin the dates of the run out of sample, and the deflated Sharpe ratio of that run counts the trial.
    """
    market_identity = identity_of_market(market)
    looks = [
        msgspec.structs.replace(
            choice.look, kind="walk", market=market.market, identity=market_identity, family=family,
            last=choice.refit.day.isoformat(), values=dict(zip(keys, choice.shown, strict=True)),
        )
        for choice in chosen
    ]  # fmt: skip
    return try_note_looks(state, looks)


def write(walk: Walk, folder: Path) -> None:
    """Write the table of refits and the returns out of sample to `folder`."""
    walk.table.write_parquet(folder / TABLE)
    walk.stitched.write_parquet(folder / RETURNS)
