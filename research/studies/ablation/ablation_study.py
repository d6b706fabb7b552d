"""Ablation: a plan is trained again without each of its parts, and the drop of the Sharpe ratio is measured.

What can go wrong: a drop is due to a chance of the seed, of the dates, or of the number of variants. So all variants
have the same data, splits, costs and seeds. A drop is paired by seed and by date, and its p-value is adjusted for the
number of variants (Holm 1979). A test over the seeds alone is reported too.

The measured figure is the Sharpe ratio on the test part after costs, with the network weights of each seed that were
best on the validation part. For a plan without a positive ratio, a drop has no share and no tier.
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
"""A drop above this share of the full plan's ratio has the tier "high"."""

MEDIUM: Final = 0.05
"""A drop of at least this share has the tier "medium", a smaller one "low"."""

FEWEST_SEEDS: Final = 2

FEWEST_DATES: Final = 10
"""Minimum number of returns for an interval: an autoregression is estimated."""

NORMAL: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

COMMAND: Final = "quantd ablate"
"""The command that the card of each artifact names."""

Trade = Callable[[Plan, Path, bool], Trial]
"""Trades an artifact over the test part through the engine. Arguments: the plan, the folder of the artifact, and
whether the gate has its limits."""


class Variant(Struct, frozen=True):
    """The plan without one part, compared with the full plan.

    `full` and `sharpes` are the Sharpe ratios of the full plan and of the variant by seed, and `drops` the full plan's
    ratios less the variant's. `width` is the length of the observation vector. `drop` is the mean drop over the seeds.
    Its 95 % interval, from `low` to `high`, and its p-value `p` are estimated over the dates of the test part. `p_holm`
    is `p` adjusted for the number of variants. `p_seeds` is from a paired t-test over the seeds alone. `share` is the
    mean drop divided by the mean full ratio, and `spread` the standard deviation of this share over the seeds.
    `missing` says why there are no figures.
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
    """The result of an ablation of a plan.

    `power` is a sentence on the statistical power of the plan's test part. `test` has the first and last date of the
    test part. `width` is the length of the full plan's observation vector, and `sharpes` its Sharpe ratios by seed.
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
    """Train `plan` and the variant of each name with every seed, and compare them. Trials in `folder` are read, not
    repeated.

    Raises PlanError for data that do not fit the plan, Diverged for a loss that is not finite, OSError for an
    unreadable file, and ValueError for fewer than two seeds.
    """
    if len(plan.seeds) < FEWEST_SEEDS:
        raise ValueError(f"seeds = {list(plan.seeds)}: an ablation needs at least {FEWEST_SEEDS} seeds; write five")
    return of_parts(plan, [Part(LIMITS) if name == LIMITS else variant(plan, name) for name in names], folder,
                    progress, trade)  # fmt: skip


def of_parts(
    plan: Plan, parts: Sequence[Part], folder: Path, progress: Callable[[float, str], None], trade: Trade
) -> Ablation:
    """Return the ablation of the plan without each of `parts`. Raises PlanError, Diverged or OSError of a training."""
    # trainings or tradings by seed: the full plan, 2 for the limits (with and without), 1 for a variant with a plan
    total = 1 + sum(2 if part.name == LIMITS else part.plan is not None for part in parts)
    runner = _TrialRunner(folder, total * len(plan.seeds), progress)
    full = runner.trained(plan, "full")
    rows = []
    for part in parts:
        if part.name == LIMITS:
            rows.append(_limits(plan, runner, trade))
        elif part.plan is None:
            rows.append(Variant(part.name, missing=part.missing or NO_DATA))
        else:
            row = compared(part.name, part.left_out, full, runner.trained(part.plan, f"without {part.name}"))
            rows.append(msgspec.structs.replace(row, note=part.note))
    test = plan.splits.test
    dates = test.first.isoformat(), test.last.isoformat()
    ratios = tuple(trial.sharpe for trial in full)
    return Ablation(power_line(plan), plan.name, plan.seeds, dates, full[0].width, ratios, adjusted(rows), runner.done)


class _TrialRunner:
    """Makes the trials of one ablation, or reads the stored ones, counts them and reports the progress."""

    def __init__(self, folder: Path, total: int, progress: Callable[[float, str], None]) -> None:
        self.folder: Final = folder
        self.done = 0
        self._total, self._progress = total, progress

    def trained(self, plan: Plan, name: str) -> list[Trial]:
        """Return the trial of each seed of a plan, trained where it is not stored.

        `name` is shown with the progress.
        """
        trainer = Trainer(plan)
        return [self.made(plan, seed, name, "", partial(trainer.trial, seed)) for seed in plan.seeds]

    def made(self, plan: Plan, seed: int, name: str, kind: str, make: Callable[[], Trial]) -> Trial:
        """Return one trial, stored or made by `make`. `kind` distinguishes trials of one plan and seed."""
        self._progress(self.done / self._total, f"{name}, seed {seed}")
        trial = stored(self.folder, digest_of(plan, seed, kind), make)
        self.done += 1
        return trial


def _limits(plan: Plan, runner: _TrialRunner, trade: Trade) -> Variant:
    """Trade the artifact of each seed through the engine, with and without risk limits, and compare the results."""
    if plan.data.sources:
        return Variant(LIMITS, missing="the plan reads series of files, which only a daemon's feed trades")
    with_limits: list[Trial] = []
    without_limits: list[Trial] = []
    for seed in plan.seeds:
        folder = runner.folder / f"artifact-{digest_of(plan, seed)}"
        for limited, trials in ((True, with_limits), (False, without_limits)):
            name = f"{'with' if limited else 'without'} limits"
            make = partial(_traded, plan, seed, folder, limited, trade)
            trials.append(runner.made(plan, seed, name, name, make))
    return compared(LIMITS, ("the profile's limits",), with_limits, without_limits)


def _traded(plan: Plan, seed: int, folder: Path, limited: bool, trade: Trade) -> Trial:
    return trade(plan, artifact_of(plan, seed, folder, COMMAND, lambda news: False), limited)


def compared(name: str, left_out: tuple[str, ...], full: Sequence[Trial], variant_trials: Sequence[Trial]) -> Variant:
    """Return the row of a variant, paired with the full plan by seed; without figures where a ratio is undefined.

    `left_out` names what the variant lacks. `full` and `variant_trials` have one trial for each seed, in one order.
    """
    full_ratios, variant_ratios = (
        [np.nan if trial.sharpe is None else trial.sharpe for trial in trials] for trials in (full, variant_trials)
    )
    # an iterator of two: the finite ratios of the full plan, then those of the variant
    finite_ratios = (tuple(value for value in values if isfinite(value)) for values in (full_ratios, variant_ratios))
    row = Variant(name, left_out, variant_trials[0].width, next(finite_ratios), next(finite_ratios))
    drops = np.subtract(full_ratios, variant_ratios)
    if not np.isfinite(drops).all():
        return msgspec.structs.replace(row, missing="an account never moved, so a seed has no ratio")
    mean, full_mean = float(drops.mean()), float(np.mean(full_ratios))
    share = mean / full_mean if full_mean > 0.0 else None
    p_seeds = paired_t(np.asarray(full_ratios), np.asarray(variant_ratios)).p
    error = drop_error(full, variant_trials)
    # NORMAL standard errors on both sides of the mean are 95 %
    return msgspec.structs.replace(
        row, drops=tuple(drops.tolist()), drop=mean,
        low=None if error is None else mean - NORMAL * error, high=None if error is None else mean + NORMAL * error,
        p=None if error is None else _two_sided(mean, error), p_seeds=p_seeds if isfinite(p_seeds) else None,
        share=share, spread=float(drops.std(ddof=1)) / full_mean if full_mean > 0.0 else None, tier=tier(share),
    )  # fmt: skip


def drop_error(full: Sequence[Trial], variant_trials: Sequence[Trial]) -> float | None:
    """Return the annual standard error of the mean drop over the dates; None for fewer than FEWEST_DATES returns.

    The method is the delta method with a kernel estimate (Ledoit & Wolf 2008, section 3.1). The contribution of each
    date is the mean over the seeds.
    """
    # `influence` is the part of each date in the Sharpe ratio of a trial
    series: Floats = np.mean(
        [
            influence(np.array(full_trial.returns)) - influence(np.array(variant_trial.returns))
            for full_trial, variant_trial in zip(full, variant_trials, strict=True)
        ],
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
    """Return the tier of a share of the Sharpe ratio lost: "high", "medium" or "low"; "none" for no share (None)."""
    if share is None:
        return "none"
    return "high" if share > HIGH else "medium" if share >= MEDIUM else "low"


def tiers(rows: Sequence[Variant]) -> Mapping[str, int]:
    """Return the number of rows of each tier.

    The keys high, medium and low are always present, "none" only where a row has it.
    """
    counts = dict.fromkeys(("high", "medium", "low"), 0)
    for row in rows:
        if row.tier:
            counts[row.tier] = counts.get(row.tier, 0) + 1
    return counts


def adjusted(rows: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the rows with p-values adjusted for the number of rows (Holm 1979)."""
    tested = [k for k, row in enumerate(rows) if row.p is not None]
    variants = list(rows)
    for k, p in zip(tested, holm(np.array([rows[k].p for k in tested])) if tested else (), strict=True):
        variants[k] = msgspec.structs.replace(rows[k], p_holm=float(p))
    return tuple(variants)
