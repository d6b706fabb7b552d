"""Ablation: a plan is trained again without each of its parts, and the drop of the ratio measured.

What can go wrong: a drop is the chance of a seed, of a date, or of one part among many. So all variants have the same
data, splits, costs and seeds. A drop is paired by seed and by date, and its p-value is adjusted for all variants (Holm
1979). A test over the seeds alone stands beside it.

The figure is the Sharpe ratio of the test part after costs, of each seed at its best on the validation part. A plan
without a positive ratio has no share of a drop, and no tier.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import erfc, isfinite, sqrt
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.research.significance.long_run import long_run_error
from quantd.research.significance.multiple_tests import holm
from quantd.research.significance.paired_tests import paired_t
from quantd.research.studies.ablation.ablation_trials import Trainer, Trial, artifact_of, digest_of, stored
from quantd.research.studies.ablation.ablation_variants import LIMITS, NO_DATA, Part, variant
from quantd.trading.bootstrap import influence
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.plans.plan import Plan
from quantd.training.power.power_line import power_line

HIGH: Final = 0.15
"""A drop above this share of the full ratio is high."""

MEDIUM: Final = 0.05
"""A drop from this share on is medium, and below it low."""

FEWEST_SEEDS: Final = 2

FEWEST_DATES: Final = 10
"""Minimum number of returns for an interval: an autoregression is estimated."""

NORMAL: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

COMMAND: Final = "quantd study ablation"
"""The command on the card of each artifact."""

Trade = Callable[[Plan, Path, bool], Trial]
"""Trades an artifact over the test part through the engine; the flag is whether the gate has its limits."""


class Variant(Struct, frozen=True):
    """The plan without one part. `sharpes` are by seed, as `drops`, the full ratio less that of the variant.

    `width` is the size of the observation. `drop` is the mean drop. `low`, `high` (95 %) and `p` are over the dates of
    the test part, of the seeds together. `p_holm` is adjusted for all variants. `p_seeds` is a paired t-test over the
    seeds alone. `share` is the mean drop over the mean full ratio, and `spread` the deviation of that share over the
    seeds. `missing` says why there are no figures. `full` are the ratios of the plan that the variant is compared with.
    """

    name: str
    left_out: tuple[str, ...] = ()
    width: int = 0
    full: tuple[float, ...] = ()
    sharpes: tuple[float, ...] = ()
    drops: tuple[float, ...] = ()
    drop: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_seeds: float | None = None
    share: float | None = None
    spread: float | None = None
    tier: str = ""
    missing: str = ""
    note: str = ""


class Ablation(Struct, frozen=True):
    """The result: the full plan's power line, observation and ratios by seed, and its variants.

    `test_evaluations` counts the evaluations on the test part, each of which is a trial.
    """

    power: str
    plan: str
    seeds: tuple[int, ...]
    test: tuple[str, str]
    width: int
    sharpes: tuple[float | None, ...]
    variants: tuple[Variant, ...]
    test_evaluations: int


def ablate(
    plan: Plan, names: Sequence[str], folder: Path, progress: Callable[[float, str], None], trade: Trade
) -> Ablation:
    """Train `plan`, and each of its variants by name, with every seed. Trials in `folder` are read, not repeated.

    Raises PlanError, Diverged, OSError, and ValueError for fewer than two seeds.
    """
    if len(plan.seeds) < FEWEST_SEEDS:
        raise ValueError(f"seeds = {list(plan.seeds)}: a drop over seeds needs {FEWEST_SEEDS} at least; write five")
    return of_parts(plan, [Part(LIMITS) if name == LIMITS else variant(plan, name) for name in names], folder,
                    progress, trade)  # fmt: skip


def of_parts(
    plan: Plan, parts: Sequence[Part], folder: Path, progress: Callable[[float, str], None], trade: Trade
) -> Ablation:
    """Return the ablation of these parts. Raises as `ablate`."""
    total = 1 + sum(2 if part.name == LIMITS else part.plan is not None for part in parts)
    course = _Course(folder, total * len(plan.seeds), progress)
    full = course.trained(plan, "full")
    rows = []
    for part in parts:
        if part.name == LIMITS:
            rows.append(_limits(plan, course, trade))
        elif part.plan is None:
            rows.append(Variant(part.name, missing=part.missing or NO_DATA))
        else:
            row = compared(part.name, part.left_out, full, course.trained(part.plan, f"without {part.name}"))
            rows.append(msgspec.structs.replace(row, note=part.note))
    test = plan.splits.test
    dates = test.first.isoformat(), test.last.isoformat()
    ratios = tuple(trial.sharpe for trial in full)
    return Ablation(power_line(plan), plan.name, plan.seeds, dates, full[0].width, ratios, adjusted(rows), course.done)


class _Course:
    """Counts and reports the trials of one ablation."""

    def __init__(self, folder: Path, total: int, progress: Callable[[float, str], None]) -> None:
        self.folder: Final = folder
        self.done = 0
        self._total, self._progress = total, progress

    def trained(self, plan: Plan, name: str) -> list[Trial]:
        trainer = Trainer(plan)
        return [self.made(plan, seed, name, "", partial(trainer.trial, seed)) for seed in plan.seeds]

    def made(self, plan: Plan, seed: int, name: str, kind: str, make: Callable[[], Trial]) -> Trial:
        self._progress(self.done / self._total, f"{name}, seed {seed}")
        trial = stored(self.folder, digest_of(plan, seed, kind), make)
        self.done += 1
        return trial


def _limits(plan: Plan, course: _Course, trade: Trade) -> Variant:
    """Trade the artifact of each seed through the engine, with the gate's limits and without them."""
    if plan.data.sources:
        return Variant(LIMITS, missing="the plan reads series of files, which only a daemon's feed trades")
    with_limits: list[Trial] = []
    free: list[Trial] = []
    for seed in plan.seeds:
        folder = course.folder / f"artifact-{digest_of(plan, seed)}"
        for limited, trials in ((True, with_limits), (False, free)):
            name = f"{'with' if limited else 'without'} limits"
            make = partial(_traded, plan, seed, folder, limited, trade)
            trials.append(course.made(plan, seed, name, name, make))
    return compared(LIMITS, ("the profile's limits",), with_limits, free)


def _traded(plan: Plan, seed: int, folder: Path, limited: bool, trade: Trade) -> Trial:
    return trade(plan, artifact_of(plan, seed, folder, COMMAND, lambda news: False), limited)


def compared(name: str, gone: tuple[str, ...], full: Sequence[Trial], other: Sequence[Trial]) -> Variant:
    """Return the row of a variant, paired with the full plan by seed; without figures where a ratio is undefined."""
    one, two = ([np.nan if trial.sharpe is None else trial.sharpe for trial in trials] for trials in (full, other))
    finite_ratios = (tuple(value for value in values if isfinite(value)) for values in (one, two))
    row = Variant(name, gone, other[0].width, next(finite_ratios), next(finite_ratios))
    drops = np.subtract(one, two)
    if not np.isfinite(drops).all():
        return msgspec.structs.replace(row, missing="an account never moved, so a seed has no ratio")
    mean, base = float(drops.mean()), float(np.mean(one))
    share = mean / base if base > 0.0 else None
    p_seeds = paired_t(np.asarray(one), np.asarray(two)).p
    error = drop_error(full, other)
    return msgspec.structs.replace(
        row, drops=tuple(drops.tolist()), drop=mean,
        low=None if error is None else mean - NORMAL * error, high=None if error is None else mean + NORMAL * error,
        p=None if error is None else _two_sided(mean, error), p_seeds=p_seeds if isfinite(p_seeds) else None,
        share=share, spread=float(drops.std(ddof=1)) / base if base > 0.0 else None, tier=tier(share),
    )  # fmt: skip


def drop_error(full: Sequence[Trial], other: Sequence[Trial]) -> float | None:
    """Return the standard error of the mean drop over the dates, annual; None for fewer than FEWEST_DATES.

    Delta method with a kernel estimate (Ledoit & Wolf 2008, section 3.1), of the mean over the seeds.
    """
    series: Floats = np.mean(
        [influence(np.array(a.returns)) - influence(np.array(b.returns)) for a, b in zip(full, other, strict=True)],
        axis=0,
    )
    if len(series) < FEWEST_DATES:
        return None
    if not series.any():
        return 0.0
    return long_run_error(series[:, None], np.ones(1), "parzen", prewhiten=True).error * sqrt(PERIODS_PER_YEAR)


def _two_sided(drop: float, error: float) -> float | None:
    if error > 0.0:
        return erfc(abs(drop) / error / sqrt(2.0))
    return 1.0 if drop == 0.0 else None


def tier(share: float | None) -> str:
    """Return "high", "medium" or "low"; "none" where the full plan has no positive ratio to lose."""
    if share is None:
        return "none"
    return "high" if share > HIGH else "medium" if share >= MEDIUM else "low"


def tiers(rows: Sequence[Variant]) -> Mapping[str, int]:
    """Return the number of rows of each tier, those of high, medium and low also where there are none."""
    counts = dict.fromkeys(("high", "medium", "low"), 0)
    for row in rows:
        if row.tier:
            counts[row.tier] = counts.get(row.tier, 0) + 1
    return counts


def adjusted(rows: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the rows with p-values adjusted for all of them (Holm 1979)."""
    at = [k for k, row in enumerate(rows) if row.p is not None]
    variants = list(rows)
    for k, p in zip(at, holm(np.array([rows[k].p for k in at])) if at else (), strict=True):
        variants[k] = msgspec.structs.replace(rows[k], p_holm=float(p))
    return tuple(variants)
