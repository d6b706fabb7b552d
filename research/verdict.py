"""Assesses a backtest after costs, with confidence intervals, against equal weight, and in one sentence.

What can go wrong: a figure is believed that is no result. In place of the sentence stand, in this order: that a policy
failed, that nothing was traded, and that the look is withdrawn. A failure comes first, because it may be why nothing
was traded.

Order: the settings of both runs are compared before their figures are. The run is noted in the ledger before its ratio
is deflated, so that it counts itself. An interval is that of one trial. With more trials the difference must pass
Bonferroni's bound too.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, isfinite, sqrt
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.adapters.feeds.source import some
from quantd.adapters.feeds.tables.statement import stated
from quantd.daemon.assembly.first_session import after_history, longest_history, unpriced
from quantd.daemon.assembly.parts import Assembly
from quantd.research.doubts import Doubt, Evidence, doubt_lines, doubts_of, joined
from quantd.research.doubts.price_doubts import known_bars
from quantd.research.runs.comparison import (
    Drive,
    Settings,
    equal_weight_of,
    mean_equity,
    min_trade,
    performance_of,
    recorded,
    require_same,
    settings_of,
)
from quantd.research.runs.failures import NO_RESULT, AgentFailures
from quantd.research.runs.looks import look_of, read_looks, try_note_looks
from quantd.research.runs.run_record import Record
from quantd.research.runs.trials import Deflation, Kind, Known, counted
from quantd.research.runs.untraded import NOTHING, Untraded, lost_text, untraded
from quantd.research.significance.sharpe_intervals import (
    BLOCK_RULE,
    CONFIDENCE,
    RESAMPLES,
    SEED,
    Interval,
    Intervals,
    sharpe_intervals,
)
from quantd.trading.display_text import session_date
from quantd.trading.instruments import MICRO, synthetic_note
from quantd.trading.market import Floats
from quantd.trading.statistics import (
    OWN_CLOSES,
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    SHARPE_DEFINITION,
    Performance,
    RiskFree,
    performance,
    simple_returns,
)

NORMAL: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

BELIEVED: Final = 0.95
"""A deflated Sharpe ratio below this may be chance."""

TURNOVER_DEFINITION: Final = "turnover: value bought and sold over average equity, a year"


class Figures(Struct, frozen=True):
    """Figures of one account over its samples.

    Values are fractions, not percent; money is in account currency; an undefined ratio is None. `costs` is commission,
    borrow fees and `slippage_paid`, the cost of fills beyond the open of their bar, where a better price counts 0.
    `invested` is the average exposure over equity, `interest` the interest on cash. For `turnover_annual` see
    TURNOVER_DEFINITION.
    """

    total_return: float
    annual_return: float
    volatility_annual: float
    sharpe: float | None
    sharpe_low: float | None
    sharpe_high: float | None
    sortino: float | None
    max_drawdown: float
    samples: int
    turnover_annual: float
    costs: float
    commission: float
    slippage_paid: float
    borrow: float
    invested: float
    interest: float = 0.0


class Difference(Struct, frozen=True):
    """Sharpe ratio less that of equal weight, with a paired bootstrap interval."""

    sharpe: float
    low: float | None
    high: float | None


class Bootstrap(Struct, frozen=True):
    """Method and parameters of the intervals. Each interval has its block length in samples."""

    block: int
    equal_weight_block: int | None = None
    difference_block: int | None = None
    method: str = "circular block bootstrap (Politis & Romano 1992, 1994), percentiles"
    block_rule: str = BLOCK_RULE
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = SEED


class Verdict(Struct, frozen=True):
    """The keys that a backtest's JSON document has beside its summary."""

    verdict: str
    sharpe_definition: str = SHARPE_DEFINITION
    turnover_definition: str = TURNOVER_DEFINITION
    performance: Figures | None = None
    equal_weight: Figures | None = None
    difference: Difference | None = None
    bootstrap: Bootstrap | None = None
    deflated_sharpe: float | None = None
    deflated_without_withdrawals: float | None = None
    """The deflated Sharpe ratio as if no look was withdrawn; None where the withdrawals do not raise it."""
    trials: int | None = None
    withdrawn: int = 0
    """The number of withdrawn trials, which `trials` includes."""
    trials_of: str = ""
    """The market of the trials: "SPY, QQQ 2004 to 2021, daily"."""
    min_trade: float | None = None
    """Of equal weight: the smallest change of a weight that is traded."""
    begins: str = ""
    """The date of the first decision of every row, after the longest lookback; empty where the bars end before."""
    first_fills: dict[str, str] = {}
    """The date of the first fill, "this run" and "equal weight"; a row without fills is absent."""
    doubts: tuple[Doubt, ...] = ()
    """The reasons to doubt the figures, the heaviest first; the first line has the first of them."""
    notes: tuple[str, ...] = ()
    failures: tuple[AgentFailures, ...] = ()
    """The agents whose policy failed to decide; with any of them the figures are no result."""
    untraded: Untraded | None = None
    """The reason why nothing was traded, and its remedy; the figures are no result then."""

    @property
    def faults(self) -> tuple[str, ...]:
        """The lines before the headline, about what makes the figures no result."""
        return (*(failure.text for failure in self.failures), *([self.untraded.text] if self.untraded else []))


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished run: settings, record, figures without an interval, and the risk-free rate of each return."""

    settings: Settings
    record: Record
    performance: Performance
    returns: Floats
    risk_free_annual: RiskFree

    @classmethod
    def of(cls, assembly: Assembly, record: Record) -> "Measured":
        """Measure a run. Raises ValueError for fewer than two samples or a lost account."""
        settings = settings_of(assembly, record)
        free = assembly.risk_free_annual(record.days_ns, settings.periods)
        returns = simple_returns(np.array(record.equity_micro, dtype=np.float64))
        return cls(settings, record, performance_of(record, settings.periods, free), returns, free)

    @property
    def sharpe(self) -> float:
        """The annual Sharpe ratio; NaN for a constant equity."""
        return self.performance.sharpe

    @property
    def sharpe_definition(self) -> str:
        """The formula of the ratio, with the samples a year and the rate of this run."""
        return definition_of(self.settings.formula, self.settings.periods, self.risk_free_annual)

    def evidence(self, assembly: Assembly, other: "Measured | None" = None, knows: str = "") -> Evidence:
        """Return what the reasons for doubt are derived from, with equal weight as `other` where it ran.

        `knows` is the verdict that an agent knows the future, of the ledger or of the run.
        """
        record, beside = (None, None) if other is None else (other.record, other.performance)
        return Evidence(assembly, self.record, self.performance, self.settings.periods, record, beside, knows)

    def doubts(self, assembly: Assembly, other: "Measured | None" = None, knows: str = "") -> tuple[Doubt, ...]:
        """Return the reasons to doubt the run, the heaviest first."""
        return doubts_of(self.evidence(assembly, other, knows))

    def marked(self, assembly: Assembly, state: Path) -> str:
        """Return the verdict that an agent of this run knows the future, by the ledger of the folder `state`.

        Empty without one, and where the ledger cannot be read.
        """
        if not isfinite(self.sharpe):
            return ""
        try:
            ledger = read_looks(state)
        except OSError:
            return ""
        return ledger.like(look_of(assembly, self.record.ts, self.sharpe, self.settings.periods)).knows

    def figures(self, interval: Interval | None) -> Figures:
        """Return the figures of the account; `interval` is that of its Sharpe ratio."""
        p, record, money = self.performance, self.record, mean_equity(self.record)
        years = (p.samples - 1) / self.settings.periods
        return Figures(
            total_return=p.total_return,
            annual_return=p.annual_return,
            volatility_annual=p.volatility_annual,
            sharpe=p.sharpe if isfinite(p.sharpe) else None,
            sharpe_low=interval.low if interval else None,
            sharpe_high=interval.high if interval else None,
            sortino=p.sortino,
            max_drawdown=p.max_drawdown,
            samples=p.samples,
            turnover_annual=record.traded / money / years,
            costs=round(record.costs, 2),
            commission=record.commission_micro / MICRO,
            slippage_paid=round(record.slippage_paid, 2),
            borrow=record.borrow_micro / MICRO,
            invested=sum(record.gross) / len(record.gross),
            interest=record.interest_micro / MICRO,
        )


def definition_of(formula: str, periods: float, risk_free_annual: RiskFree) -> str:
    """Return the definition of the Sharpe ratio with the actual year and rate, where they differ from its own."""
    if not isinstance(risk_free_annual, float | int):
        return formula + (f"; here {periods:g} samples a year" if periods != PERIODS_PER_YEAR else "")
    if periods == PERIODS_PER_YEAR and risk_free_annual == RISK_FREE_ANNUAL:
        return formula
    return f"{formula}; here {periods:g} samples a year and {risk_free_annual:.2%} risk-free"


def judge(
    assembly: Assembly, record: Record, state: Path, drive: Drive | Record | None, family: str = "",
    kind: Kind = "backtest", knows: str = "",
) -> Verdict:  # fmt: skip
    """Assess a finished run and record it as a trial in the folder `state`, in a `family` of trials if it is named.

    `knows` is the verdict that an agent of the run knows the future; it marks the run in the ledger. `drive` runs the
    equal-weight benchmark, or is the record of such a run; None omits the comparison. Raises Incomparable when the
    settings of the two runs differ.
    """
    failures = record.failures.of(assembly.rules.names())
    try:
        run = Measured.of(assembly, record)
    except ValueError as why:
        return Verdict(f"No verdict: {lost_text(record) or why}.", failures=failures)
    nothing = untraded(assembly, record) if not failures else None
    other = None
    if drive is not None and run.settings.begins:
        beside = equal_weight_of(assembly)
        other = Measured.of(beside, drive if isinstance(drive, Record) else recorded(beside, drive))
        require_same(run.settings, other.settings)
        failures += other.record.failures.of(("equal weight",))
    periods, free = run.settings.periods, run.risk_free_annual
    intervals = sharpe_intervals(
        run.returns, None if other is None else other.returns, periods=periods, risk_free_annual=free
    )
    known_trials, notes = noted(assembly, run, state, kind, family, knows=knows)
    deflated = deflated_of(run, known_trials)
    difference = None if other is None else difference_of(run.sharpe, other.sharpe, intervals)
    return Verdict(
        verdict=(
            NO_RESULT
            if failures
            else NOTHING
            if nothing
            else known_trials.withdrawal_text
            or sentence(run, difference, deflated and deflated.value, known_trials.trials, compared=other is not None)
        ),
        sharpe_definition=run.sharpe_definition,
        performance=run.figures(intervals.own if intervals else None),
        equal_weight=None if other is None else other.figures(intervals.other if intervals else None),
        difference=difference,
        bootstrap=Bootstrap(intervals.block, intervals.other_block, intervals.difference_block) if intervals else None,
        deflated_sharpe=deflated and deflated.value,
        deflated_without_withdrawals=deflated and deflated.without_withdrawals,
        trials=known_trials.trials,
        withdrawn=known_trials.withdrawn,
        trials_of=known_trials.market,
        min_trade=None if other is None else min_trade(assembly),
        begins=run.settings.begins,
        first_fills={
            name: compared_run.record.first_fill
            for name, compared_run in (("this run", run), ("equal weight", other))
            if compared_run is not None and compared_run.record.first_fill
        },
        doubts=run.doubts(assembly, other, knows or known_trials.knows),
        notes=_notes(assembly, run, notes),
        failures=failures,
        untraded=nothing,
    )


def _notes(assembly: Assembly, run: Measured, of_trials: Sequence[str]) -> tuple[str, ...]:
    """Return what a reader must know beside the doubts, with the notes on the trials."""
    return (
        *_begun(assembly, run),
        *_outside_hours(assembly),
        *(f"Bars of {line}." for line in stated(assembly.feed.statements)),
        *_outside_benchmark(assembly, run),
        *filter(None, [synthetic_note(assembly.universe.symbols)]),
        *of_trials,
        *known_bars(run.evidence(assembly)),
        *([OWN_CLOSES] if run.record.own_closes else []),
    )


def difference_of(sharpe: float, other: float, intervals: Intervals | None) -> Difference | None:
    """Return the difference of two annual ratios with its interval; None where one of them is not finite."""
    if not (isfinite(sharpe) and isfinite(other)):
        return None
    interval = intervals.difference if intervals else None
    return Difference(sharpe - other, interval.low if interval else None, interval.high if interval else None)


def noted(
    assembly: Assembly, run: Measured, state: Path, kind: Kind = "backtest", family: str = "",
    values: Mapping[str, str] | None = None, knows: str = "",
) -> tuple[Known, list[str]]:  # fmt: skip
    """Record the run as a look in the ledger of the folder `state`. Returns (the known trials of its market, notes).

    `knows` marks it, as `note_looks`.
    """
    if not isfinite(run.sharpe):
        return Known(fault="the equity is constant"), []
    look = look_of(assembly, run.record.ts, run.sharpe, run.settings.periods, kind, family, values)
    known_trials = try_note_looks(state, [look], knows).like(look)
    return known_trials, [known_trials.text] if known_trials.fault or known_trials.unplaced else []


def deflated_of(run: Measured, known_trials: Known) -> Deflation | None:
    """Return the deflated Sharpe ratio by the known trials of its market, this run's included; None where undefined."""
    if not isfinite(run.sharpe):
        return None
    periods = run.settings.periods
    return known_trials.deflated(run.returns - run.risk_free_annual / periods, run.sharpe, periods)


def _begun(assembly: Assembly, run: Measured) -> list[str]:
    """Return a note where trading begins after [feed] start, or where the bars are shorter than the lookback."""
    needed = longest_history(assembly.policies, assembly.universe)
    if not run.settings.begins:
        return [
            f"The longest lookback is {needed:,} samples, and the bars end before: the policy never decided with a "
            "complete history, and is not compared. Give earlier bars, or a shorter lookback."
        ]
    feed, house = assembly.feed, assembly.sessions[assembly.universe.calendar]
    start = next((row for row, day in enumerate(house.day_ns) if day >= feed.start_key), 0)
    first = session_date(house.day_ns[start]).isoformat()
    if first >= run.settings.begins:
        return []
    begin = bisect_left(house.open_ns, after_history(feed, house, house.open_ns[start], needed))
    notes = []
    if begin > start:
        notes.append(
            f"Trading begins on {run.settings.begins}, after the longest lookback of {needed:,} samples: the bars "
            f"begin on {session_date(feed.first_ts)}."
        )
    if late := unpriced(feed, house, begin) if begin < len(house.open_ns) else []:
        symbols = some([assembly.universe.symbols[column] for column in late])
        notes.append(
            f"Trading begins on {run.settings.begins}: at the close of {session_date(house.day_ns[begin])} the newest "
            f"bar of {symbols} is older than orders allow (max_price_age)."
        )
    return notes


def _outside_benchmark(assembly: Assembly, run: Measured) -> list[str]:
    """Return the figures of a benchmark outside the universe as a note, or the reason why it has none."""
    if assembly.outside is None:
        return []
    from quantd.research.metrics.outside_wealth import (
        outside_of,
    )  # slow, and few runs have one

    name = assembly.universe.benchmark
    wealth, why = outside_of(assembly, run.record.ts, run.record.days_ns)
    if wealth is None:
        return [f"The benchmark {name} is not compared: {why}."]
    benchmark = performance(wealth, run.settings.periods, run.risk_free_annual)
    figures = (
        f"{benchmark.total_return:+.2%}, Sharpe ratio {ratio(benchmark.sharpe)}, drawdown {benchmark.max_drawdown:.2%}"
    )
    return [f"Benchmark {name}, which is not traded: {figures} (its prices and dividends, without costs)."]


def _outside_hours(assembly: Assembly) -> list[str]:
    """Return a note on the bars that the feed left out, as they lie before the open or after the close."""
    count = assembly.feed.extended
    return [f"{count:,} bars outside trading hours are left out."] if count else []


def sentence(
    run: Measured, difference: Difference | None, deflated: float | None, trials: int | None, *, compared: bool
) -> str:
    """Format the verdict as sentences."""
    costs = run.settings.costs
    charged = costs.commission_bp or costs.commission_min_micro or costs.spread_bp or costs.slippage_bp or costs.impact
    after = "After costs" if charged else "Before any costs ([broker] sets them to 0)"
    if not isfinite(run.sharpe):
        return "The equity is constant: there is no Sharpe ratio to compare."
    if not compared:
        return "Not compared with equal weight."
    if difference is None:
        return f"{after} there is no comparison: the equity of equal weight is constant."
    if difference.sharpe <= 0.0:
        return f"{after} this does not beat equal weight."
    if difference.low is None or difference.high is None:
        return f"{after} this is above equal weight, on too few samples to tell it from chance."
    if difference.low <= 0.0 <= difference.high:
        return f"{after} this is not distinguishable from equal weight."
    if trials is not None and chance_of(difference) * trials > 1.0 - CONFIDENCE:
        many = f"with {counted(trials, '')} it is not distinguishable from equal weight (Bonferroni)"
        return f"{after} this is above equal weight by an interval of one trial: {many}."
    text = f"{after} this beats equal weight."
    if deflated is not None and deflated < BELIEVED:
        text += (
            f" With {counted(trials or 0, '')} its deflated Sharpe ratio is below {BELIEVED:g}: it may still be luck."
        )
    return text


def chance_of(difference: Difference) -> float:
    """Return the two-sided p-value of a difference with an interval, by the normal distribution of that width."""
    assert difference.low is not None
    assert difference.high is not None
    width = (difference.high - difference.low) / 2.0
    return erfc(abs(difference.sharpe) * NORMAL / width / sqrt(2.0)) if width > 0.0 else 0.0


def headline(verdict: Verdict) -> str:
    """Format one line: Sharpe 0.71 [0.31, 1.08], equal weight 0.78; deflated 0.21 (7 trials known of SPY ...). …

    The worst doubt begins or ends it.
    """
    run_performance, other = verdict.performance, verdict.equal_weight
    if run_performance is None or verdict.untraded is not None:
        return verdict.verdict
    text = f"Sharpe {ratio(run_performance.sharpe)}{span(run_performance.sharpe_low, run_performance.sharpe_high)}"
    if other is not None:
        text += f", equal weight {ratio(other.sharpe)}{span(other.sharpe_low, other.sharpe_high)}"
    if verdict.deflated_sharpe is not None:
        text += f"; deflated {verdict.deflated_sharpe:.2f} ({trials_text(verdict)})"
    elif verdict.trials is None and run_performance.sharpe is not None:
        text += "; trials unknown"
    return joined(f"{text}. {verdict.verdict}", verdict.doubts)


def trials_text(verdict: Verdict) -> str:
    """Format the trials behind the deflated Sharpe ratio, and the ratio without withdrawals where these raise it."""
    text = counted(verdict.trials or 0, verdict.trials_of, verdict.withdrawn)
    without = verdict.deflated_without_withdrawals
    return text if without is None else f"{text}; {without:.2f} without the withdrawals"


def ratio(value: float | None) -> str:
    """Format a ratio with two decimals; "none" where it is undefined."""
    return "none" if value is None else f"{value:.2f}"


def span(low: float | None, high: float | None) -> str:
    """Format an interval as " [0.31, 1.08]"; empty without one."""
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


def table_of(verdict: Verdict) -> list[tuple[str, str, str]]:
    """Return (figure, this run, equal weight) rows, the last empty without a comparison."""
    if verdict.performance is None:
        return []
    columns = [
        _column(figures) if figures is not None else {} for figures in (verdict.performance, verdict.equal_weight)
    ]
    return [(name, value, columns[1].get(name, "")) for name, value in columns[0].items()]


def _column(f: Figures) -> dict[str, str]:
    return {
        "Sharpe": ratio(f.sharpe) + span(f.sharpe_low, f.sharpe_high),
        "total return": f"{f.total_return:+.2%}",
        "a year": f"{f.annual_return:+.2%}",
        "volatility a year": f"{f.volatility_annual:.2%}",
        "largest drawdown": f"{f.max_drawdown:.2%}",
        "turnover a year": f"{f.turnover_annual:.2f}",
        "costs paid": f"{f.costs:,.2f}",
        **({"interest": f"{f.interest:,.2f}"} if f.interest else {}),
        "invested on average": f"{f.invested:.1%}",
        "samples": f"{f.samples:,}",
    }


def blocks_text(bootstrap: Bootstrap) -> str:
    """Format the block lengths: 23 samples (equal weight 24, difference 25)."""
    text = f"{bootstrap.block} sample{'' if bootstrap.block == 1 else 's'}"
    if bootstrap.equal_weight_block is None:
        return text
    return f"{text} (equal weight {bootstrap.equal_weight_block}, difference {bootstrap.difference_block})"


def lines(verdict: Verdict) -> list[str]:
    """Format the verdict for a terminal: what makes it no result, headline, figures side by side, their definitions.

    A run that traded nothing has no figures to show.
    """
    out = [*verdict.faults, headline(verdict)]
    rows = table_of(verdict)
    if rows and verdict.untraded is None:
        compared = verdict.equal_weight is not None
        wide = max(len(value) for _, value, _ in rows) + 2
        out.append(f"  {'':<22}{'this run':<{wide}}{'equal weight' if compared else ''}".rstrip())
        out += [f"  {name:<22}{value:<{wide}}{other}".rstrip() for name, value, other in rows[1:]]
        if verdict.difference is not None:
            d = verdict.difference
            out.append(f"  {'Sharpe difference':<22}{d.sharpe:+.2f}{span(d.low, d.high)}")
        out += [f"  {verdict.sharpe_definition}", f"  {verdict.turnover_definition}"]
        if verdict.bootstrap is not None:
            b = verdict.bootstrap
            out.append(
                f"  [..]: {b.confidence:.0%} of {b.resamples:,} resamples, {b.method}, blocks of {blocks_text(b)}"
            )
        if compared:
            out.append(
                "  equal weight: decides at each sample, on the same bars, dates, costs, capital and house limits; "
                f"weight changes below {verdict.min_trade or 0.0:.2%} are not traded (the agents' smallest min_trade)"
            )
    if verdict.first_fills:
        out.append(f"  first fills: {', '.join(f'{name} {day}' for name, day in verdict.first_fills.items())}")
    out += [f"  {note}" for note in (*doubt_lines(verdict.doubts), *verdict.notes)]
    return out
