"""Ablation of features: a plan is trained again without each group of its features, and the drop of the ratio measured.

All variants have the same data, splits, costs and seeds. The figure is the Sharpe ratio of the test part after costs,
of each seed at its best on the validation part. A drop is paired by seed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, sqrt
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.models.training.plans.plan import Plan, replaced
from quantd.models.training.seeds.learner import policy_of
from quantd.models.training.seeds.markets import markets_of, window_market
from quantd.models.training.seeds.seed_run import fit
from quantd.models.training.seeds.validation import evaluate
from quantd.research.significance.multiple_tests import holm
from quantd.research.significance.paired_tests import paired_t

GROUPS: Final[Mapping[str, re.Pattern[str]]] = {
    "returns, short": re.compile(r"daily_return_|(momentum|roc)_([1-9]|1\d|2[01])(\D|$)"),
    "returns, long": re.compile(r"(momentum|roc)_(2[2-9]|[3-9]\d|\d{3,})(\D|$)|momentum_skip_"),
    "RSI": re.compile(r"rsi_|stochastic_rsi"),
    "MACD": re.compile(r"macd"),
    "Bollinger": re.compile(r"bollinger_"),
    "volatility": re.compile(r"volatility|ewma_volatility|natr_|parkinson_|garman_klass_|rogers_satchell_|yang_zhang_"),
    "ESG": re.compile(r"esg", re.IGNORECASE),
    "sentiment": re.compile(r"sentiment", re.IGNORECASE),
    "VIX": re.compile(r"vix", re.IGNORECASE),
    "yield": re.compile(r"yield", re.IGNORECASE),
}
"""The groups by the names of their features. Returns are two groups, so that each length has a row of its own."""

NO_DATA: Final = "no data"

HIGH: Final = 0.15
"""A drop above this share of the full ratio is high."""

MEDIUM: Final = 0.05
"""A drop from this share on is medium, and below it low."""

FEWEST_SEEDS: Final = 2


class Variant(Struct, frozen=True):
    """The plan without one group. `sharpes` are by seed, as `drops`, the full ratio less that of the variant.

    `width` is the size of the observation. `low` and `high` bound the mean drop with 95 % (Student's t over the seeds).
    `p` is that of a paired t-test, `p_holm` adjusted for all variants. `share` is the mean drop over the mean full
    ratio, and `spread` the deviation of that share over the seeds. `missing` says why there are no figures.
    """

    group: str
    left_out: tuple[str, ...] = ()
    width: int = 0
    sharpes: tuple[float, ...] = ()
    drops: tuple[float, ...] = ()
    drop: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    share: float | None = None
    spread: float | None = None
    tier: str = ""
    missing: str = ""


class Ablation(Struct, frozen=True):
    """The result: the full plan's observation and ratios by seed, and one variant for each group.

    `test_evaluations` counts the evaluations on the test part, each of which is a trial.
    """

    plan: str
    seeds: tuple[int, ...]
    test: tuple[str, str]
    width: int
    sharpes: tuple[float, ...]
    variants: tuple[Variant, ...]
    test_evaluations: int


def features_of(plan: Plan) -> tuple[str, ...]:
    """Return the names of the features of a plan's observation, without its known flag, window and book."""
    return (*plan.sight.features, *plan.sight.columns)


def without(plan: Plan, group: str) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan without a group's features, and their names. Raises PlanError where none would remain."""
    gone = tuple(name for name in features_of(plan) if GROUPS[group].search(name))
    changes = {
        "sight.features": [name for name in plan.sight.features if name not in gone],
        "sight.columns": [name for name in plan.sight.columns if name not in gone],
    }
    return replaced(plan, changes), gone


def ablate(plan: Plan, groups: Sequence[str], progress: Callable[[float, str], None]) -> Ablation:
    """Train `plan`, and the plan without each of `groups`, with every seed. Raises PlanError, Diverged, OSError,
    and ValueError for fewer than two seeds."""
    if len(plan.seeds) < FEWEST_SEEDS:
        raise ValueError(f"seeds = {list(plan.seeds)}: a drop over seeds needs {FEWEST_SEEDS} at least; write five")
    variants = [(group, *without(plan, group)) for group in groups]
    present = [(group, other, gone) for group, other, gone in variants if gone]
    runs = (1 + len(present)) * len(plan.seeds)
    done = 0

    def trained(of: Plan, name: str) -> tuple[int, tuple[float, ...]]:
        nonlocal done
        markets = markets_of(of)
        test = window_market(of, of.splits.test.first, of.splits.test.last)
        width, found = 0, []
        for seed in of.seeds:
            progress(done / runs, f"{name}, seed {seed}")
            fitted = fit(of, markets, seed, None, lambda news: False)
            policy = policy_of(fitted.learner, fitted.normaliser, of.market, markets.symbols)
            walked = evaluate(policy, test, of.market)
            width = len(walked.seen)
            found.append(walked.performance.sharpe)
            done += 1
        return width, tuple(found)

    width, full = trained(plan, "full")
    rows = []
    for group, other, gone in variants:
        if not gone:
            rows.append(Variant(group, missing=NO_DATA))
            continue
        rows.append(compared(group, gone, full, *trained(other, f"without {group}")))
    test_part = plan.splits.test
    dates = test_part.first.isoformat(), test_part.last.isoformat()
    return Ablation(plan.name, plan.seeds, dates, width, full, adjusted(rows), runs)


def compared(group: str, gone: tuple[str, ...], full: Sequence[float], width: int, sharpes: Sequence[float]) -> Variant:
    """Return the row of a variant, paired with the full plan by seed; without figures where a ratio is undefined."""
    row = Variant(group, gone, width, tuple(sharpes))
    drops = np.subtract(full, sharpes)
    if not np.isfinite(drops).all():
        return msgspec.structs.replace(row, missing="an account never moved, so a seed has no ratio")
    from scipy import stats

    count, mean = len(drops), float(drops.mean())
    error = float(drops.std(ddof=1)) / sqrt(count)
    half = float(stats.t.ppf(0.975, count - 1)) * error
    p = paired_t(np.asarray(full), np.asarray(sharpes)).p
    base = float(np.mean(full))
    share = mean / base if base > 0.0 else None
    return msgspec.structs.replace(
        row, drops=tuple(drops.tolist()), drop=mean, low=mean - half, high=mean + half,
        p=p if isfinite(p) else None, share=share,
        spread=float(drops.std(ddof=1)) / base if base > 0.0 else None, tier=tier(share),
    )  # fmt: skip


def tier(share: float | None) -> str:
    """Return "high", "medium" or "low"; "none" where the full plan has no positive ratio to lose."""
    if share is None:
        return "none"
    return "high" if share > HIGH else "medium" if share >= MEDIUM else "low"


def adjusted(rows: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the rows with p-values adjusted for all of them (Holm 1979)."""
    at = [k for k, row in enumerate(rows) if row.p is not None]
    found = list(rows)
    for k, p in zip(at, holm(np.array([rows[k].p for k in at])) if at else (), strict=True):
        found[k] = msgspec.structs.replace(rows[k], p_holm=float(p))
    return tuple(found)
