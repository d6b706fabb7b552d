"""Studies factors before any policy uses them: how well they rank returns, for how long, and what remains after costs.

Factor values are computed at complete synchronous rows: session dates of which every instrument's bar is known. The
return of a horizon begins at the next open, at which a decision made on that row could fill, and ends at the open one
horizon (in samples) later. A factor that fails the look-ahead check ("guard") gets no figures.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.daemon.assembly.parts import Assembly
from quantd.extras import lack
from quantd.research.runs.comparison import samples_a_year
from quantd.research.runs.looks import identity_of, try_note_looks
from quantd.research.runs.trials import Known, Look
from quantd.research.significance.multiple_tests import benjamini_hochberg
from quantd.research.studies.factor_figures import FEWEST, Charges, Horizon, horizon_of
from quantd.research.studies.factors import FactorError, FactorValues, Source, guards, values_of
from quantd.research.studies.lookahead import Lookahead
from quantd.research.studies.lookahead import lines as guard_lines
from quantd.research.studies.synchronous_rows import SynchronousRows, synchronous_rows
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import PackageMissing
from quantd.trading.market import Floats

HORIZONS: Final = (1, 2, 5, 10, 21, 63)
"""Default horizons in samples."""

QUANTILES: Final = 5
CUTS: Final = 20
"""Default number of cut markets of the look-ahead guard."""

DEFINITION: Final = (
    "IC: rank correlation of the factor with the return from the next open to the open that many samples later.",
    "t: Newey-West with horizon - 1 lags. IR: mean IC over its standard deviation, per sample.",
    "Spread: top quantile less bottom quantile, staggered over the horizon, for one unit of capital on each side.",
    "Its Sharpe ratio has no risk-free rate, because one side finances the other.",
)


class SignalStudy(Struct, frozen=True):
    """The result of a study for one factor. `horizons` is empty where the guard (the look-ahead check) refuses it.

    `mode` is "cross-section", or "time series" for fewer than FEWEST symbols and for a factor that is one number for
    all symbols. `periods` is the number of samples a year. `coverage` is the share of the values, over all symbols and
    samples, that are present. `p_adjusted` has the p-value of each horizon, adjusted for all factors and horizons of
    the study (Benjamini-Hochberg). `late` is True where the bars of a date are complete one sample later only.
    """

    factor: str
    mode: str
    symbols: int
    samples: int
    first: str
    last: str
    periods: float
    quantiles: int
    coverage: float
    cost_bp: float
    borrow_bp_annual: float
    late: bool
    guard: Lookahead
    horizons: tuple[Horizon, ...]
    p_adjusted: tuple[float, ...] = ()

    @property
    def refused(self) -> bool:
        """True if the look-ahead check found something against the factor; False also if it has no result."""
        return self.guard.clean is False

    @property
    def best(self) -> Horizon | None:
        """The horizon with the highest Sharpe ratio after costs."""
        return max(self.horizons, key=lambda h: h.spread.net_sharpe, default=None)


class SignalStudies(Struct, frozen=True):
    """The results of a study, the smallest adjusted p-value first and refused factors last.

    `known` are the trials of the market, this study's included.
    """

    studies: tuple[SignalStudy, ...]
    known: Known

    @property
    def refused(self) -> bool:
        """True if the look-ahead check refuses one of the factors."""
        return any(study.refused for study in self.studies)


Progress = Callable[[float], object]


def study_signals(
    assembly: Assembly,
    sources: Sequence[Source],
    *,
    horizons: Sequence[int] = HORIZONS,
    quantiles: int = QUANTILES,
    cuts: int = CUTS,
    state: Path | None = None,
    progress: Progress = lambda share: None,
    family: str = "",
) -> SignalStudies:
    """Study factors over the recorded market of `assembly`, and note each as a look (evaluation) in the ledger of the
    folder `state`.

    No look is noted without `state`. The looks belong to `family`, if it is named. Raises FactorError for a horizon
    longer than the market and for fewer than 2 quantiles, and PackageMissing without scipy.
    """
    if text := lack("a study of signals", "study", "scipy"):
        raise PackageMissing(text)
    rows = synchronous_rows(assembly)
    chosen_horizons = tuple(dict.fromkeys(horizons))
    total = int(rows.trading.sum())
    if not chosen_horizons or min(chosen_horizons) < 1 or max(chosen_horizons) >= total - 1:
        raise FactorError(f"horizons must be from 1 to {max(total - 2, 1)} samples, as the market has {total} samples")
    if quantiles < 2:
        raise FactorError("the number of quantiles is below 2; a spread needs 2 or more")
    steps = 2 * len(sources)  # the values of the factors are the first half of the progress, the guard the second
    computed: list[tuple[Source, FactorValues]] = []
    for index, source in enumerate(sources):
        computed.append((source, values_of(source, rows, partial(_advance, progress, index, steps))))
    guard_results = guards(assembly, rows, computed, cuts, lambda share: progress(0.5 + share / 2.0))
    studies = [
        _study(assembly, rows, source, values.values, check, chosen_horizons, quantiles)
        for (source, values), check in zip(computed, guard_results, strict=True)
    ]
    ordered = ranked(studies)
    looks = [
        look
        for source in sources
        for study in ordered
        if study.factor == source.name and (look := _look(assembly, source, study, family)) is not None
    ]
    if state is None:
        return SignalStudies(ordered, Known())
    known_trials = try_note_looks(state, looks)
    return SignalStudies(ordered, known_trials.like(looks[0]) if looks else known_trials)


def _advance(progress: Progress, step: int, steps: int, share: float) -> None:
    """Report the finished share of all steps: `step` steps are finished, and `share` of the next one."""
    progress((step + share) / steps)


def usual_quantiles(symbols: int, quantiles: int, values: Floats, *, over_time: bool) -> int:
    """Return the usable number of quantiles, from 2 to `quantiles`.

    The number is at most the factor's number of different values. In a cross-section each quantile must have at least
    two of the `symbols`.
    """
    distinct = len(np.unique(values[np.isfinite(values)]))
    return max(2, min(quantiles, distinct, quantiles if over_time else symbols // 2))


def _study(
    assembly: Assembly,
    rows: SynchronousRows,
    source: Source,
    values: Floats,
    guard: Lookahead,
    horizons: Sequence[int],
    quantiles: int,
) -> SignalStudy:
    """Return the figures of one factor at each horizon; none where the look-ahead check `guard` refused it.

    A factor with one value for all symbols is measured over time, and so is every factor in a market of few symbols.
    Other factors are measured in cross-sections.
    """
    trading = rows.trading
    over_time = source.shared or rows.universe.size < FEWEST
    costs, periods = assembly.costs, samples_a_year(assembly)
    cost_bp = costs.commission_bp + costs.spread_bp / 2.0 + costs.slippage_bp
    charges = Charges(cost_bp / 1e4, costs.borrow_bp_annual / 1e4, periods)
    trading_values, wealth, worth = values[trading], rows.wealth[trading], rows.worth[trading]
    quantile_count = usual_quantiles(rows.universe.size, quantiles, trading_values, over_time=over_time)
    figures: list[Horizon] = []
    # False: the guard found look-ahead; None, where it could not decide, does not refuse the factor
    if guard.clean is not False:
        figures = [
            horizon_of(trading_values, wealth, worth, horizon, quantile_count, charges, over_time=over_time)
            for horizon in horizons
        ]
        # the decay is the coefficient as a share of that at the first horizon
        first_ic = figures[0].rank_ic
        figures = [
            msgspec.structs.replace(horizon, decay=horizon.rank_ic / first_ic if first_ic else float("nan"))
            for horizon in figures
        ]
    dates = [session_date(int(rows.ts[row])).isoformat() for row in np.flatnonzero(trading)[[0, -1]]]
    return SignalStudy(
        factor=source.name,
        mode="time series" if over_time else "cross-section",
        symbols=rows.universe.size,
        samples=int(trading.sum()),
        first=dates[0],
        last=dates[1],
        periods=periods,
        quantiles=quantile_count,
        coverage=float(np.isfinite(trading_values).mean()),
        cost_bp=cost_bp,
        borrow_bp_annual=costs.borrow_bp_annual,
        late=rows.late,
        guard=guard,
        horizons=tuple(figures),
    )


def ranked(studies: Sequence[SignalStudy]) -> tuple[SignalStudy, ...]:
    """Adjust the p-values of all factors and horizons together, and order the factors by their smallest p-value."""
    p = np.array([horizon.p for study in studies for horizon in study.horizons])
    adjusted = iter(benjamini_hochberg(p).tolist()) if len(p) else iter(())
    adjusted_studies = [
        msgspec.structs.replace(study, p_adjusted=tuple(next(adjusted) for _ in study.horizons)) for study in studies
    ]
    return tuple(sorted(adjusted_studies, key=_order))


def _order(study: SignalStudy) -> tuple[float, float]:
    """Return the sort key of a factor's study: its smallest adjusted p-value, then its largest |t|, negated.

    A refused factor has the key 2, which is above any p-value, so that it comes last.
    """
    t = [abs(h.t) for h in study.horizons if isfinite(h.t)]
    return min(study.p_adjusted, default=2.0), -max(t, default=0.0)


def _look(assembly: Assembly, source: Source, study: SignalStudy, family: str) -> Look | None:
    """Return the look (entry for the ledger) of one factor, with the best Sharpe ratio after costs of its horizons.

    The result is None where the look-ahead check refused the factor.
    """
    best = study.best
    if best is None:
        return None
    identity_texts = (
        "signal", assembly.market, source.name, source.identity, repr([row.horizon for row in study.horizons]),
        repr(study.quantiles), repr((study.cost_bp, study.borrow_bp_annual)),
    )  # fmt: skip
    identity = blake2b("\n".join(identity_texts).encode(), digest_size=16).hexdigest()
    return Look(
        "study", source.name, identity, assembly.market, study.first, study.last, best.spread.net_sharpe, study.periods,
        family=family, values={"horizon": str(best.horizon)}, identity=identity_of(assembly),
    )  # fmt: skip


HEAD: Final = ("horizon", "IC", "Pearson", "sd", "IR", "t", "p adj", "IC > 0", "decay", "rank autocorrelation")
SPREAD_HEAD: Final = (
    "horizon", "spread a year", "95 % interval", "turnover a year", "break-even bp", "net a year", "net Sharpe",
)  # fmt: skip


def _shown(value: float, form: str) -> str:
    """Format a number; `-` where it is not finite."""
    return format(value, form) if isfinite(value) else "-"


def table(study: SignalStudy) -> list[tuple[str, ...]]:
    """Return the information coefficients of one factor as rows of text, one for each horizon."""
    return [
        (
            f"{row.horizon}", _shown(row.rank_ic, "+.4f"), _shown(row.pearson_ic, "+.4f"), _shown(row.deviation, ".3f"),
            _shown(row.ir, "+.3f"), _shown(row.t, "+.2f"), f"{p:.3f}", _shown(row.positive, ".1%"),
            _shown(row.decay, ".2f"), _shown(row.autocorrelation, ".3f"),
        )
        for row, p in zip(study.horizons, study.p_adjusted, strict=True)
    ]  # fmt: skip


def spread_table(study: SignalStudy) -> list[tuple[str, ...]]:
    """Return the long-short spread of one factor as rows of text, one for each horizon."""
    return [
        (
            f"{row.horizon}", f"{row.spread.annual:+.2%}",
            "-" if row.spread.low is None else f"{row.spread.low:+.2%} to {row.spread.high:+.2%}",
            f"{row.spread.turnover_annual:.1f}",
            "-" if row.spread.break_even_bp is None else f"{row.spread.break_even_bp:.1f}",
            f"{row.spread.net_annual:+.2%}", f"{row.spread.net_sharpe:+.2f}",
        )
        for row in study.horizons
    ]  # fmt: skip


def ranking(studies: SignalStudies) -> list[tuple[str, ...]]:
    """Format the accepted factors in their order, each with the horizon of its smallest adjusted p-value."""
    rows: list[tuple[str, ...]] = []
    for position, study in enumerate((candidate for candidate in studies.studies if not candidate.refused), 1):
        k = min(range(len(study.horizons)), key=lambda k: (study.p_adjusted[k], -abs(study.horizons[k].t)))
        row = study.horizons[k]
        rows.append(
            (
                f"{position}", study.factor, f"{row.horizon}", _shown(row.rank_ic, "+.4f"), _shown(row.t, "+.2f"),
                f"{study.p_adjusted[k]:.3f}", f"{row.spread.net_sharpe:+.2f}",
            )
        )  # fmt: skip
    return rows


COLUMNS: Final = (
    "factor", "mode", "symbols", "samples", "coverage", "horizon", "count", "rank_ic", "pearson_ic", "deviation", "ir",
    "t", "p", "p_adjusted", "positive", "decay", "autocorrelation", "spread_annual", "spread_low", "spread_high",
    "turnover_annual", "break_even_bp", "net_annual", "net_sharpe", "bottom_annual", "top_annual",
)  # fmt: skip
"""Columns of the flat table; returns and spreads are fractions a year."""


def flat(studies: SignalStudies) -> list[dict[str, str | int | float | None]]:
    """Return a dict with the keys COLUMNS per factor and horizon; numbers that are not finite are None."""
    rows = []
    for study in studies.studies:
        for horizon, p in zip(study.horizons, study.p_adjusted, strict=True):
            fields = {**msgspec.structs.asdict(study), **msgspec.structs.asdict(horizon), "p_adjusted": p}
            fields |= {f"spread_{name}": getattr(horizon.spread, name) for name in ("annual", "low", "high")}
            fields |= {name: getattr(horizon.spread, name) for name in ("turnover_annual", "break_even_bp")}
            fields |= {"net_annual": horizon.spread.net_annual, "net_sharpe": horizon.spread.net_sharpe}
            fields |= {"bottom_annual": horizon.quantiles[0], "top_annual": horizon.quantiles[-1]}
            figures = {name: fields[name] for name in COLUMNS}
            rows.append(
                {k: None if isinstance(value, float) and not isfinite(value) else value for k, value in figures.items()}
            )
    return rows


def quantile_head(study: SignalStudy) -> tuple[str, ...]:
    last = study.quantiles
    names = [f"Q{k}" for k in range(1, last + 1)]
    return ("horizon", f"{names[0]} (low)", *names[1:-1], f"{names[-1]} (high)")


def quantile_table(study: SignalStudy) -> list[tuple[str, ...]]:
    """Format the mean annual return of each quantile by horizon."""
    return [(f"{h.horizon}", *(_shown(mean_return, "+.2%") for mean_return in h.quantiles)) for h in study.horizons]


def title(study: SignalStudy) -> list[str]:
    """Describe one factor: what was measured, on how many samples, and the verdict of the look-ahead check."""
    texts = [
        f"{study.factor}: {study.mode}, {study.symbols} symbols, {study.samples:,} samples, {study.first} to "
        f"{study.last}, coverage {study.coverage:.1%}"
    ]
    if study.mode == "time series":
        texts.append(
            f"  measured over time, symbol by symbol: a cross-section needs {FEWEST} symbols and a value for each. "
            "Quantiles rank a value among the symbol's own past values"
        )
    if study.late:
        texts.append("  some instruments close after the house: a decision uses each row one sample later")
    texts += [f"  {line}" for line in guard_lines(study.guard, "factor")]
    if study.refused:
        texts.append("  refused: no figure is given for this factor")
    return texts


def footnotes(studies: SignalStudies) -> list[str]:
    """Return a signal study's notes: definitions and cost that apply to every table, and the number of trials."""
    first_study = studies.studies[0]
    tests = sum(len(study.horizons) for study in studies.studies)
    return [
        *DEFINITION,
        f"Costs: {first_study.cost_bp:g} bp of traded value (commission, half the spread, slippage), "
        f"{first_study.borrow_bp_annual:g} bp a year on shorts; no market impact.",
        f"p adj: adjusted for {tests} tests (Benjamini-Hochberg), from the larger of Newey-West's and Andrews' errors.",
        studies.known.text,
    ]
