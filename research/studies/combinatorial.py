"""Combinatorial purged cross-validation of a choice of parameters (López de Prado 2018, chapter 12).

The sessions are cut into N groups. Each split holds k groups out and chooses a point of the grid on the other groups,
the training groups. The held-out groups are traded with that choice. Each group is held out in several splits, so the
held-out groups of all splits join into k/N * C(N, k) paths through all groups.

What can go wrong: a choice reads bars on which it is tested. So a run on training groups ends `embargo` sessions before
a held-out group. After a held-out group it begins so late that its whole warm-up, too, lies `embargo` sessions or more
behind that group (purging): the engine is never given a bar of a held-out group. A run also ends there, because the
ruin of a point in a held-out group would otherwise exclude this point from the choice.

A group is traded by an account of its own, which begins in cash at the last close before the group. An account that
came from the group before would hold positions of another split's choice, which may know the bars of the group.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import combinations, pairwise
from math import comb, isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from msgspec import Struct

from quantd.adapters.feeds.bars.stamps import warm_from
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.policies.loading import Apart
from quantd.research.runs.comparison import samples_a_year
from quantd.research.runs.looks import identity_of as identity_of_market
from quantd.research.runs.looks import try_note_looks
from quantd.research.runs.trials import Known, Look
from quantd.research.significance.overfitting import Overfitting
from quantd.research.studies.grid import Grid
from quantd.research.studies.sweep import Collector, PointsFile, Progress, Sweep, stop_at
from quantd.research.studies.sweep_points import Base, Point, Run, config_of
from quantd.research.studies.walk import base_between, fitted_policy, open_works
from quantd.research.studies.walk_calendar import WalkError, day_of
from quantd.trading.market import Floats
from quantd.trading.ports import leaves
from quantd.trading.sessions import DAY_NS, Sessions
from quantd.trading.statistics import sharpe
from quantd.training.runs.workers import Executor

MOST_SPLITS: Final = 1_000
"""Maximum number of splits, each of which is a trial."""

POINTS: Final = "combinatorial.bin"
SPLITS: Final = "splits.parquet"
PATHS: Final = "paths.parquet"

Integers = np.ndarray[Any, np.dtype[np.int64]]

Span = tuple[int, int]
"""The sessions of one run, as rows of the calendar: the first decision is in the first, the last sample in the last."""


class Groups(Struct, frozen=True):
    """N groups of sessions (`count`), of which each split holds k out (`held_out`).

    Raises WalkError unless 1 <= k < N, and for more than MOST_SPLITS splits.
    """

    count: int
    held_out: int

    def __post_init__(self) -> None:
        text = f"combinatorial {self.text}"
        if not 1 <= self.held_out < self.count:
            raise WalkError(f"{text}: hold out at least 1 group and fewer than all {self.count}; write 6,2")
        if (splits := comb(self.count, self.held_out)) > MOST_SPLITS:
            raise WalkError(f"{text} has {splits:,} splits, above the maximum of {MOST_SPLITS:,}; write 6,2")

    @classmethod
    def of(cls, text: str) -> "Groups":
        """Read "6,2". Raises WalkError for another form."""
        try:
            count, held_out = map(int, text.split(","))
        except ValueError:
            remedy = "write the number of groups and how many are held out, as 6,2"
            raise WalkError(f"combinatorial {text!r} is no pair of numbers; {remedy}") from None
        return cls(count, held_out)

    @property
    def text(self) -> str:
        """The option of the command: "6,2"."""
        return f"{self.count},{self.held_out}"

    @property
    def splits(self) -> tuple[tuple[int, ...], ...]:
        """The held-out groups of each split, counted from 0."""
        return tuple(combinations(range(self.count), self.held_out))

    @property
    def paths(self) -> int:
        """The number of splits that hold a group out, k/N * C(N, k), which is the number of paths."""
        return comb(self.count - 1, self.held_out - 1)


@dataclass(frozen=True, slots=True)
class Folds:
    """The groups on a calendar: group g has the sessions from row `edges[g]` to before row `edges[g + 1]`.

    `tests` has the sessions of the run that trades each group, from the close before the group on. `training` has, by
    the held-out groups of each split, the sessions of the runs on its other groups, one run for adjacent groups.
    """

    groups: Groups
    calendar: Sessions
    edges: tuple[int, ...]
    tests: tuple[Span, ...]
    training: Mapping[tuple[int, ...], tuple[Span, ...]]
    embargo: int
    warmup: int
    """The number of samples that a run reads before its first decision."""

    @classmethod
    def of(cls, groups: Groups, embargo: int, assembly: Assembly, history: int) -> "Folds":
        """Cut the sessions of a market into groups of equal length, to within one session.

        The first session of trading belongs to no group, because its close is the first decision. `history` is the
        longest lookback of the grid in samples. Raises WalkError for a group of fewer than two sessions, and for a
        split without bars to choose on.
        """
        calendar, text = assembly.sessions[assembly.universe.calendar], f"combinatorial {groups.text}"
        begin = int(np.searchsorted(calendar.opens, assembly.start_ns)) + 1
        end = int(np.searchsorted(calendar.closes, assembly.feed.last_ts, side="right"))
        if end - begin < 2 * groups.count:
            few = f"{max(0, end - begin):,} sessions after the first decision"
            raise WalkError(f"{text}: {few} are too few; write fewer groups, or give more bars")
        edges = tuple(begin + (end - begin) * g // groups.count for g in range(groups.count + 1))
        warmup = max(assembly.config.feed.warmup, history)
        # by group: the first session whose warm-up begins after the embargo that follows a held-out group before it
        clean = [
            bisect_left(
                range(end),
                calendar.close_ns[min(edge + embargo, end) - 1],
                key=lambda row: warm_from(calendar, calendar.day_ns[row], warmup, assembly.interval_ns),
            )
            for edge in edges
        ]
        training = {}
        for held_out in groups.splits:
            spans = [
                (
                    edges[0] - 1 if before < 0 else clean[before + 1],
                    edges[after] - 1 - (embargo if after < groups.count else 0),
                )
                for before, after in pairwise((-1, *held_out, groups.count))
                if after - before > 1
            ]
            training[held_out] = tuple((first, last) for first, last in spans if first < last)
            if not training[held_out]:
                why = f"a warm-up of {warmup:,} samples and an embargo of {embargo} sessions leave no bars to choose on"
                remedy = "hold out fewer groups, give more bars, or shorten the lookbacks and feed.warmup"
                raise WalkError(f"{text}: where {_named(held_out)} are held out, {why}; {remedy}")
        tests = tuple((first - 1, last - 1) for first, last in pairwise(edges))
        return cls(groups, calendar, edges, tests, training, embargo, warmup)

    def base_of(self, base: Base, span: Span) -> Base:
        """Return the shared input of the points that trade the sessions of `span`."""
        first, last = (day_of(self.calendar.day_ns[row]) for row in span)
        return base_between(base, first, last)


def _named(groups: Sequence[int]) -> str:
    return f"groups {', '.join(str(group + 1) for group in groups)}"


@dataclass(frozen=True)
class Samples:
    """The samples of a market: instants `ts` int64[T] in ns UTC, rows of the calendar int64[T], the annual risk-free
    rate float64[T] of the return that ends at each, and the samples a year."""

    ts: Integers
    rows: Integers
    risk_free_annual: Floats
    periods: float

    @classmethod
    def of(cls, assembly: Assembly, calendar: Sessions) -> "Samples":
        """Read the samples of a market from its first decision on."""
        ticks = [tick for tick in assembly.ticks() if tick.sample and not tick.warmup]
        ts, periods = np.array([tick.ts for tick in ticks]), samples_a_year(assembly)
        rates = assembly.risk_free_annual([tick.key - tick.key % DAY_NS for tick in ticks], periods)
        # no return ends at the first sample
        risk_free = np.concatenate([[0.0], np.broadcast_to(rates, len(ts) - 1)])
        return cls(ts, np.searchsorted(calendar.closes, ts), risk_free, periods)

    def sharpe(self, returns: Floats, at: Integers) -> float:
        """Return the annual Sharpe ratio of returns float64[n] that end at the samples `at`; NaN if constant."""
        return sharpe(returns, self.periods, self.risk_free_annual[at])

    def of_point(self, point: Point, first_row: int = 0) -> tuple[Integers, Floats]:
        """Return (samples at which the returns of a run end, these returns), from the session `first_row` on."""
        at = np.searchsorted(self.ts, np.frombuffer(point.ts, dtype=np.int64))
        inside = self.rows[at] >= first_row
        return at[inside], point.series()[inside]


class SplitChoice(Struct, frozen=True):
    """The choice of a split: the held-out groups from 0, the number and values of the point, and in sample the number
    of returns and their annual Sharpe ratio."""

    held_out: tuple[int, ...]
    point: int
    values: tuple[str, ...]
    samples: int
    sharpe: float


@dataclass(frozen=True)
class Combinatorial:
    """The result of combinatorial purged cross-validation.

    `returns` float64[T, phi] has a column for each path; the return in row t ends at `ts[t]` (ns UTC). `sharpes`
    float64[phi] are annual, NaN for a path of constant equity. `overfitting` is that of a sweep of the grid over all
    bars, None for too few points or bars. `known` are the trials of the market, with those of all splits and paths.
    """

    keys: tuple[str, ...]
    folds: Folds
    choices: tuple[SplitChoice, ...]
    ts: Integers
    returns: Floats
    sharpes: Floats
    overfitting: Overfitting | None
    periods: float
    known: Known

    @cached_property
    def splits(self) -> pl.DataFrame:
        """One row per split: the held-out groups from 1, the chosen values, and the returns and ratio in sample."""
        columns: dict[str, Any] = {
            "held_out": [[group + 1 for group in choice.held_out] for choice in self.choices],
            "samples": [choice.samples for choice in self.choices],
            **{key: [choice.values[k] for choice in self.choices] for k, key in enumerate(self.keys)},
            "sharpe_in": [choice.sharpe for choice in self.choices],
        }
        return pl.DataFrame(columns)

    @cached_property
    def paths(self) -> pl.DataFrame:
        """The returns of each path: ts, path_1, path_2 and so on."""
        ts = pl.Series("ts", self.ts, pl.Int64).cast(pl.Datetime("ns", "UTC"))
        return pl.DataFrame([ts, *(pl.Series(f"path_{k + 1}", column) for k, column in enumerate(self.returns.T))])

    @cached_property
    def figures(self) -> dict[str, float | None]:
        """The distribution of the paths' Sharpe ratios: median, 5 % quantile and share below 0, the deflated ratio of
        the middle path (of two, the lower), and the probability of overfitting; None where one is undefined."""
        ratios = np.sort(self.sharpes[np.isfinite(self.sharpes)])
        names = ("median", "quantile_5", "below_0", "deflated", "overfitting")
        figures: dict[str, float | None] = dict.fromkeys(names)
        if self.overfitting is not None:
            figures["overfitting"] = self.overfitting.probability
        if len(ratios):
            middle = float(ratios[(len(ratios) - 1) // 2])
            returns = self.returns[:, int(np.flatnonzero(self.sharpes == middle)[0])]
            figures["deflated"] = self.known.deflated(returns, middle, self.periods)
            figures["median"], figures["quantile_5"] = np.quantile(ratios, [0.5, 0.05]).tolist()
            figures["below_0"] = float((ratios < 0.0).mean())
        return figures

    @property
    def document(self) -> dict[str, Any]:
        """The splits, the Sharpe ratio of each path and the figures as a dict for JSON; undefined figures are None."""
        ratios = [ratio if isfinite(ratio) else None for ratio in self.sharpes.tolist()]
        return {"splits": self.splits.to_dicts(), "sharpes": ratios, **self.figures}

    def sentences(self) -> list[str]:
        """Return the distribution over the paths with the probability of overfitting, and the choices, as sentences."""
        groups, constant = self.folds.groups, int((~np.isfinite(self.sharpes)).sum())
        text = {name: "undefined" if value is None else f"{value:.2f}" for name, value in self.figures.items()}
        below = "" if self.figures["below_0"] is None else f", {self.figures['below_0']:.0%} below 0"
        paths = f"{groups.paths:,} path{'' if groups.paths == 1 else 's'}"
        without = f" ({constant:,} of constant equity left out)" if constant else ""
        order = [", ".join(map(" ".join, zip(self.keys, choice.values, strict=True))) for choice in self.choices]
        frequent = max(dict.fromkeys(order), key=order.count)
        return [
            f"Combinatorial, {groups.held_out} of {groups.count} groups held out: {len(order):,} splits, {paths}. "
            f"Sharpe of the paths{without}: median {text['median']}, 5 % quantile {text['quantile_5']}{below}; "
            f"deflated {text['deflated']} (middle path, {self.known.counted}). "
            f"Probability of overfitting {text['overfitting']}.",
            f"Different choices of the splits: {len(set(order)):,}; "
            f"most often {frequent} ({order.count(frequent):,} of {len(order):,}).",
        ]


def validated(
    base: Base,
    grid: Grid,
    folds: Folds,
    assembly: Assembly,
    identity: str,
    folder: Path,
    where: Executor,
    progress: Progress,
    run: Run,
    isolation: Apart | None,
    *,
    stop: bool,
) -> Combinatorial:
    """Choose a point for each split, and trade the held-out groups with the choices; finished points are read again.

    `assembly` is the market of all bars, `identity` identifies the walk-forward, `isolation` loads a policy that is an
    object of the caller. Raises the errors of `walk.choices`, and WalkError for a choice that was trained on later bars
    than the first decision, or that fails in a held-out group.
    """
    groups, size = folds.groups, len(grid)
    key = f"{identity} {groups.text} {folds.embargo}"
    file = PointsFile(folder / POINTS, blake2b(key.encode(), digest_size=16).hexdigest())
    if stop:
        stop_at(file.points.values())
    # all bars, for the probability of overfitting
    everything = folds.edges[0] - 1, folds.edges[-1] - 1
    training = [everything, *(span for spans in folds.training.values() for span in spans)]
    # number of a span's first point in the file
    numbers = {span: n * size for n, span in enumerate(dict.fromkeys([*folds.tests, *training]))}
    values = list(grid)

    def run_at(span: Span, k: int) -> Point:
        return file.points[numbers[span] + k]

    def run_spans(wanted: Mapping[Span, Iterable[int]]) -> None:
        """Run the points `wanted` of each span."""
        tries = [
            (folds.base_of(base, span), [(numbers[span] + k, values[k]) for k in points])
            for span, points in wanted.items()
        ]
        total = len(file.points.keys() | {number for _, points in tries for number, _ in points})
        where.run(run, open_works(tries, grid.keys, file), Collector(file, total, progress, stop=stop))

    run_spans({span: range(size) for span in training})
    samples = Samples.of(assembly, folds.calendar)
    chosen = [
        _choice(held_out, [[run_at(span, k) for span in spans] for k in range(size)], samples)
        for held_out, spans in folds.training.items()
    ]
    _require_untrained(base, grid.keys, chosen, assembly, isolation)
    traded = [[choice for choice in chosen if group in choice.held_out] for group in range(groups.count)]
    run_spans({span: {choice.point for choice in traded[group]} for group, span in enumerate(folds.tests)})
    runs = [[run_at(span, choice.point) for choice in traded[group]] for group, span in enumerate(folds.tests)]
    at, paths = _joined(folds, runs, samples)
    ratios = np.array([samples.sharpe(path, at) for path in paths.T])
    full = Sweep(grid.keys, tuple(run_at(everything, k) for k in range(size)), Known())
    return Combinatorial(
        grid.keys, folds, tuple(chosen), samples.ts[at], paths, ratios, full.overfitting, samples.periods, full.known
    )


def _joined(folds: Folds, runs: Sequence[Sequence[Point]], samples: Samples) -> tuple[Integers, Floats]:
    """Return (samples at which the returns of the paths end, these returns float64[T, phi]).

    `runs` has the runs of each group, in the order of the splits that hold it out: run j is part of path j. Raises
    WalkError for a run without a result.
    """
    ends, returns = [], []
    for group, points in enumerate(runs):
        if fault := next((point for point in points if point.fault), None):
            raise WalkError(f"group {group + 1}: {', '.join(fault.values)} has no result: {fault.fault}")
        parts = [samples.of_point(point, folds.edges[group]) for point in points]
        ends.append(parts[0][0])
        returns.append(np.column_stack([part for _, part in parts]))
    return np.concatenate(ends), np.concatenate(returns)


def _choice(held_out: tuple[int, ...], runs: Sequence[Sequence[Point]], samples: Samples) -> SplitChoice:
    """Return the point with the highest Sharpe ratio over the runs on the training groups of a split.

    `runs` has the runs of each point. Raises WalkError where no point has a ratio.
    """
    best: SplitChoice | None = None
    fault = "its equity is constant in sample"
    for k, parts in enumerate(runs):
        if any(faults := [point.fault for point in parts]):
            fault = next(filter(None, faults))
            continue
        at, returns = map(np.concatenate, zip(*map(samples.of_point, parts), strict=True))
        ratio = samples.sharpe(returns, at)
        if isfinite(ratio) and (best is None or ratio > best.sharpe):
            best = SplitChoice(held_out, k, parts[0].values, len(returns), ratio)
    if best is None:
        raise WalkError(f"where {_named(held_out)} are held out, no point has a Sharpe ratio on the others: {fault}")
    return best


def _require_untrained(
    base: Base, keys: Sequence[str], chosen: Sequence[SplitChoice], assembly: Assembly, isolation: Apart | None
) -> None:
    """Raise WalkError for a chosen policy that was trained on bars after the first decision."""
    for values in dict.fromkeys(choice.values for choice in chosen):
        config = config_of(base, [f"{key}={value}" for key, value in zip(keys, values, strict=True)]).for_backtest()
        for name in dict.fromkeys(key.split(".")[1] for key in keys):
            policy = fitted_policy(config, name, assembly, isolation)
            until = max(int(getattr(leaf, "trained_until_ns", 0)) for leaf in leaves(policy))
            if until > assembly.start_ns:
                text = f"{', '.join(values)} was trained on bars to {day_of(until - 1)}, which the groups contain"
                raise WalkError(f"{text}; remove this policy, begin later (--from), or leave combinatorial out")


def noted(
    result: Combinatorial, state: Path, folder: Path, assembly: Assembly, identity: str, family: str
) -> Combinatorial:
    """Record a trial for the choice of each split and for each path, and write splits and paths to `folder`.

    Returns the result with the known trials.
    """
    first, last = (day_of(ns).isoformat() for ns in (result.ts[0], result.ts[-1]))
    market = identity_of_market(assembly)
    trials = [
        ({"split": _named(choice.held_out)} | dict(zip(result.keys, choice.values, strict=True)), choice.sharpe)
        for choice in result.choices
    ] + [({"path": str(k + 1)}, ratio) for k, ratio in enumerate(result.sharpes.tolist()) if isfinite(ratio)]
    looks = []
    for values, ratio in trials:
        text = f"{identity} {result.folds.groups.text} {result.folds.embargo} {values}"
        looks.append(
            Look(
                "walk", assembly.config.quantd.name, blake2b(text.encode(), digest_size=16).hexdigest(),
                assembly.market, first, last, ratio, result.periods, {}, family, values, market,
            )
        )  # fmt: skip
    result.splits.write_parquet(folder / SPLITS)
    result.paths.write_parquet(folder / PATHS)
    return replace(result, known=try_note_looks(state, looks).like(looks[-1]))
