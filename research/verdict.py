"""Assesses a backtest after costs, with confidence intervals, against equal weight, and in one sentence.

What can go wrong: figures that are no result are believed. So the sentence states a reason why they are no result: a
policy failed, or nothing was traded, or the look (evaluation) is withdrawn. Where several reasons apply, the first one
in this order is named: a failed policy may be the reason why nothing was traded.

Order of operations: the settings of the run and of equal weight are compared before their figures are. The run is noted
in the ledger of looks before its Sharpe ratio is deflated, so that it counts itself as a trial. A confidence interval
is valid for one trial. With more trials the difference to equal weight must be significant by Bonferroni's bound, too.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, isfinite, sqrt
from pathlib import Path
from typing import Final

from msgspec import Struct

from quantd.adapters.feeds.table_files.statement import stated
from quantd.daemon.assembly.first_session import after_history, longest_history, period_notes, unpriced
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.views.struct_fields import struct_of
from quantd.research.doubts import Doubt, Evidence, doubt_lines, doubts_of, joined
from quantd.research.doubts.price_doubts import known_bars
from quantd.research.doubts.result_doubts import MIN_SAMPLES, passed_drawdown
from quantd.research.runs.asked import Asked
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
from quantd.research.runs.trials import Kind, Known, counted
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
from quantd.trading.display_text import session_date, some
from quantd.trading.instruments import MICRO, last_prices_note, synthetic_note
from quantd.trading.market import Floats
from quantd.trading.statistics import (
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    SHARPE_DEFINITION,
    Performance,
    RiskFree,
    performance,
    simple_returns,
)

NORMAL_QUANTILE: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: half the width of a 95 % interval, in standard errors."""

MIN_DEFLATED_SHARPE: Final = 0.95
"""A deflated Sharpe ratio below this value may be chance."""

TURNOVER_DEFINITION: Final = "turnover: value bought and sold over average equity, a year"


class Figures(Struct, frozen=True):
    """Figures of one account over its samples.

    Values are fractions, not percent; money is in account currency; an undefined ratio is None. `sharpe_low` and
    `sharpe_high` are the confidence interval of `sharpe`. `costs` is the sum of `commission`, `borrow` (the borrow
    fees) and `slippage_paid`. `slippage_paid` is the cost of fills at worse prices than the open of their bar; a better
    price counts 0. `invested` is the average gross exposure over equity, `interest` the interest on cash.
    `turnover_annual` is the value bought and sold a year over average equity. `gain` excludes deposits, `paid_in`.
    `asked` has what the policies asked for, what was held of it, and why not the rest.
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
    paid_in: float = 0.0
    gain: float = 0.0
    asked: Asked = Asked()


class Difference(Struct, frozen=True):
    """The run's Sharpe ratio minus equal weight's; `low` and `high` are its paired bootstrap interval, or None."""

    sharpe: float
    low: float | None
    high: float | None


class Bootstrap(Struct, frozen=True):
    """Method and parameters of the confidence intervals.

    `block`, `equal_weight_block` and `difference_block` are the block lengths, in samples, of the intervals of the run,
    of equal weight and of their difference.
    """

    block: int
    equal_weight_block: int | None = None
    difference_block: int | None = None
    method: str = "circular block bootstrap (Politis & Romano 1992, 1994), percentiles"
    block_rule: str = BLOCK_RULE
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = SEED


class Verdict(Struct, frozen=True):
    """The verdict on a run: the keys that a backtest's JSON document has beside its summary."""

    verdict: str
    sharpe_definition: str = SHARPE_DEFINITION
    turnover_definition: str = TURNOVER_DEFINITION
    performance: Figures | None = None
    equal_weight: Figures | None = None
    difference: Difference | None = None
    bootstrap: Bootstrap | None = None
    deflated_sharpe: float | None = None
    trials: int | None = None
    withdrawn: int = 0
    """The number of withdrawn trials, which `trials` includes."""
    trials_of: str = ""
    """The market of the trials: "SPY, QQQ 2004 to 2021, daily"."""
    min_trade: float | None = None
    """The smallest change of a weight that equal weight trades."""
    begins: str = ""
    """The date on which the run and equal weight first decide, after the longest lookback; empty where the bars end
    earlier."""
    first_fills: dict[str, str] = {}
    """The dates of the first fills, with the keys "this run" and "equal weight"; a run without fills has no key."""
    doubts: tuple[Doubt, ...] = ()
    """The reasons to doubt the figures, the heaviest first; the headline has the heaviest."""
    notes: tuple[str, ...] = ()
    failures: tuple[AgentFailures, ...] = ()
    """The agents whose policy failed to decide; if there is one, the figures are no result."""
    untraded: Untraded | None = None
    """The reason why nothing was traded, and its remedy; the figures are then no result. None for a run with fills."""

    @property
    def faults(self) -> tuple[str, ...]:
        """The lines above the headline of a verdict, each with a reason why the figures are no result."""
        return (*(failure.text for failure in self.failures), *([self.untraded.text] if self.untraded else []))


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished run: its settings, record, performance, simple returns and annual risk-free rate.

    `returns` are float64[T] for T + 1 samples.
    """

    settings: Settings
    record: Record
    performance: Performance
    returns: Floats
    risk_free_annual: RiskFree

    @classmethod
    def of(cls, assembly: Assembly, record: Record) -> "Measured":
        """Measure a run. Raises ValueError for fewer than two samples or an account that lost everything."""
        settings = settings_of(assembly, record)
        risk_free = assembly.risk_free_annual(record.days_ns, settings.periods)
        returns = simple_returns(record.wealth_micro())
        return cls(settings, record, performance_of(record, settings.periods, risk_free), returns, risk_free)

    @property
    def sharpe(self) -> float:
        """The annual Sharpe ratio of the run; NaN for a constant equity."""
        return self.performance.sharpe

    @property
    def sharpe_definition(self) -> str:
        """The formula of the Sharpe ratio, with the samples a year and the risk-free rate of this run."""
        return definition_of(self.settings.formula, self.settings.periods, self.risk_free_annual)

    def evidence(self, assembly: Assembly, other: "Measured | None" = None, knows: str = "") -> Evidence:
        """Return the evidence from which the reasons to doubt this run are derived.

        `other` is the run of equal weight, None where it did not run. `knows` is the verdict that an agent knows the
        future, from the ledger or from this run; empty for none.
        """
        other_record, other_performance = (None, None) if other is None else (other.record, other.performance)
        return Evidence(
            assembly, self.record, self.performance, self.settings.periods, other_record, other_performance, knows
        )

    def doubts(self, assembly: Assembly, other: "Measured | None" = None, knows: str = "") -> tuple[Doubt, ...]:
        """Return the reasons to doubt the run, the heaviest first. `other` is the run of equal weight or None, `knows`
        the verdict that an agent knows the future, empty for none."""
        return doubts_of(self.evidence(assembly, other, knows))

    def marked(self, assembly: Assembly, state: Path) -> str:
        """Return the verdict that an agent of this run knows the future, from the ledger of the folder `state`.

        The text is empty where the ledger has no such verdict or cannot be read, and for a constant equity.
        """
        if not isfinite(self.sharpe):
            return ""
        try:
            ledger = read_looks(state)
        except OSError:
            return ""
        return ledger.like(look_of(assembly, self.record.ts, self.sharpe, self.settings.periods)).knows

    def figures(self, interval: Interval | None) -> Figures:
        """Return the figures of the account; `interval` is the confidence interval of the account's Sharpe ratio."""
        measures, record, average_equity = self.performance, self.record, mean_equity(self.record)
        years = (measures.samples - 1) / self.settings.periods
        return struct_of(
            Figures,
            measures,
            sharpe=measures.sharpe if isfinite(measures.sharpe) else None,
            sharpe_low=interval.low if interval else None,
            sharpe_high=interval.high if interval else None,
            turnover_annual=record.traded / average_equity / years,
            costs=round(record.costs, 2),
            commission=record.commission_micro / MICRO,
            slippage_paid=round(record.slippage_paid, 2),
            borrow=record.borrow_micro / MICRO,
            invested=sum(record.gross) / len(record.gross),
            interest=record.interest_micro / MICRO,
            paid_in=sum(amount for _, _, amount in record.flows) / MICRO,
            gain=record.gain_micro(0, -1) / MICRO,
            asked=record.asked,
        )


def definition_of(formula: str, periods: float, risk_free_annual: RiskFree) -> str:
    """Return the `formula` of the Sharpe ratio with the samples a year and the risk-free rate of a run in their place.

    The formula of an array of rates, one for each return, names none.
    """
    formula = formula.replace(f"root of {PERIODS_PER_YEAR};", f"root of {periods:g};")
    if not isinstance(risk_free_annual, float | int) or risk_free_annual == RISK_FREE_ANNUAL:
        return formula
    return formula.replace(f"{RISK_FREE_ANNUAL:.0%} a year unless set", f"{risk_free_annual:.2%} a year")


# Long because the verdict is one record of eighteen fields, and its words need all parts at once.
def judge(
    assembly: Assembly, record: Record, state: Path, drive: Drive | Record | None, family: str = "",
    kind: Kind = "backtest", knows: str = "",
) -> Verdict:  # fmt: skip
    """Assess a finished run, and record it as a trial in the ledger of the folder `state`.

    `drive` runs the equal-weight benchmark, or is the record of such a run; None omits the comparison. `family` names
    the family of trials to which the run belongs, empty for none. `knows` is the verdict that an agent of the run knows
    the future, empty for none; this verdict marks the run in the ledger. Raises Incomparable when the settings of the
    two runs differ.
    """
    failures = record.failures.of(assembly.rules.names())
    try:
        run = Measured.of(assembly, record)
    except ValueError as why:
        return Verdict(f"No verdict: {lost_text(record) or why}.", failures=failures)
    # `untraded` runs the market once more, and a failed policy already explains a run without fills
    nothing_traded = untraded(assembly, record) if not failures else None
    equal_weight = None
    if drive is not None and run.settings.begins:
        equal_weight_assembly = equal_weight_of(assembly)
        equal_weight = Measured.of(
            equal_weight_assembly, drive if isinstance(drive, Record) else recorded(equal_weight_assembly, drive)
        )
        require_same(run.settings, equal_weight.settings)
        failures += equal_weight.record.failures.of(("equal weight",))
    periods, risk_free = run.settings.periods, run.risk_free_annual
    intervals = sharpe_intervals(
        run.returns, None if equal_weight is None else equal_weight.returns, periods=periods, risk_free_annual=risk_free
    )
    known_trials, notes = noted(assembly, run, state, kind, family, knows=knows)
    deflated = deflated_of(run, known_trials)
    difference = None if equal_weight is None else difference_of(run.sharpe, equal_weight.sharpe, intervals)
    return Verdict(
        verdict=(
            NO_RESULT
            if failures
            else NOTHING
            if nothing_traded
            else known_trials.withdrawal_text
            or sentence(run, difference, deflated, known_trials.trials, compared=equal_weight is not None)
        ),
        sharpe_definition=run.sharpe_definition,
        performance=run.figures(intervals.own if intervals else None),
        equal_weight=None if equal_weight is None else equal_weight.figures(intervals.other if intervals else None),
        difference=difference,
        bootstrap=Bootstrap(intervals.block, intervals.other_block, intervals.difference_block) if intervals else None,
        deflated_sharpe=deflated,
        trials=known_trials.trials,
        withdrawn=known_trials.withdrawn,
        trials_of=known_trials.market,
        min_trade=None if equal_weight is None else min_trade(assembly),
        begins=run.settings.begins,
        first_fills={
            name: compared_run.record.first_fill
            for name, compared_run in (("this run", run), ("equal weight", equal_weight))
            if compared_run is not None and compared_run.record.first_fill
        },
        doubts=run.doubts(assembly, equal_weight, knows or known_trials.knows),
        notes=_notes(assembly, run, notes),
        failures=failures,
        untraded=nothing_traded,
    )


def _notes(assembly: Assembly, run: Measured, trial_notes: Sequence[str]) -> tuple[str, ...]:
    """Return the notes that are printed below the doubts; `trial_notes` are the notes on the trials."""
    evidence = run.evidence(assembly)
    return (
        *period_notes(assembly.feed, assembly.sessions[assembly.universe.calendar], assembly.config),
        *_begin_notes(assembly, run),
        *_outside_hours_note(assembly),
        *(f"Bars of {line}." for line in stated(assembly.feed.statements)),
        *_outside_benchmark_note(assembly, run),
        *filter(None, [synthetic_note(assembly.universe.symbols), *trial_notes]), *known_bars(evidence),
        *filter(None, [last_prices_note(assembly.universe), passed_drawdown(evidence)]),
    )  # fmt: skip


def difference_of(sharpe: float, other: float, intervals: Intervals | None) -> Difference | None:
    """Return the annual Sharpe ratio `sharpe` minus `other`, with its interval where there are `intervals`; None where
    one of the two ratios is not finite."""
    if not (isfinite(sharpe) and isfinite(other)):
        return None
    interval = intervals.difference if intervals else None
    return Difference(sharpe - other, interval.low if interval else None, interval.high if interval else None)


def noted(
    assembly: Assembly, run: Measured, state: Path, kind: Kind = "backtest", family: str = "",
    values: Mapping[str, str] | None = None, knows: str = "",
) -> tuple[Known, list[str]]:  # fmt: skip
    """Record the run as a look (an evaluation) in the ledger of the folder `state`. Returns (the known trials of its
    market, notes).

    `kind`, `family` and `values` (the varied keys of a sweep's point) are stored with the look. `knows` is the verdict
    that an agent of the run knows the future, with which the look is marked; empty for none. A run of constant equity
    is not recorded, and its trials are then unknown.
    """
    if not isfinite(run.sharpe):
        return Known(fault="the equity is constant"), []
    look = look_of(assembly, run.record.ts, run.sharpe, run.settings.periods, kind, family, values)
    known_trials = try_note_looks(state, [look], knows).like(look)
    return known_trials, [known_trials.text] if known_trials.fault else []


def deflated_of(run: Measured, known_trials: Known) -> float | None:
    """Return the run's Sharpe ratio deflated by the known trials of its market, the run included; None if undefined."""
    if not isfinite(run.sharpe):
        return None
    periods = run.settings.periods
    return known_trials.deflated(run.returns - run.risk_free_annual / periods, run.sharpe, periods)


def _begin_notes(assembly: Assembly, run: Measured) -> list[str]:
    """Return notes on why trading begins after `[feed] start`, or on bars too few for the longest lookback.

    Trading begins late where the lookback needs more bars, or where the newest bar of a symbol is too old for orders.
    """
    # `start_row` and `first_row` are indices into the sessions of the universe's calendar
    lookback = longest_history(assembly.policies, assembly.universe)
    if not run.settings.begins:
        return [
            f"The longest lookback is {lookback:,} samples, and the bars end earlier: the policy never decided with "
            "a complete history, so it is not compared with equal weight. Give earlier bars, or a shorter lookback."
        ]
    feed, sessions = assembly.feed, assembly.sessions[assembly.universe.calendar]
    start_row = next((row for row, day in enumerate(sessions.day_ns) if day >= feed.start_key), 0)
    start_date = session_date(sessions.day_ns[start_row]).isoformat()
    if start_date >= run.settings.begins:
        return []
    first_row = bisect_left(
        sessions.open_ns,
        after_history(feed, sessions, sessions.open_ns[start_row], lookback),
    )
    notes = []
    if first_row > start_row:
        notes.append(
            f"Trading begins on {run.settings.begins}, after the longest lookback of {lookback:,} samples: the bars "
            f"begin on {session_date(feed.first_ts)}."
        )
    if late_columns := unpriced(feed, sessions, first_row) if first_row < len(sessions.open_ns) else []:
        symbols = some([assembly.universe.symbols[column] for column in late_columns])
        notes.append(
            f"Trading begins on {run.settings.begins}: at the close of {session_date(sessions.day_ns[first_row])} the "
            f"newest bar of {symbols} is older than orders allow (max_price_age)."
        )
    return notes


def _outside_benchmark_note(assembly: Assembly, run: Measured) -> list[str]:
    """Return a note with the figures of a benchmark outside the universe, or with the reason why they are missing."""
    if assembly.outside is None:
        return []
    from quantd.daemon.views.outside_wealth import (
        outside_of,
    )  # imported here because it is slow, and few runs have such a benchmark

    symbol = assembly.universe.benchmark
    wealth, reason = outside_of(assembly, run.record.ts)
    if wealth is None:
        return [f"The benchmark {symbol} is not compared: {reason}."]
    benchmark = performance(wealth, run.settings.periods, run.risk_free_annual)
    figures = (
        f"{benchmark.total_return:+.2%}, Sharpe ratio {ratio(benchmark.sharpe)}, drawdown {benchmark.max_drawdown:.2%}"
    )
    return [f"Benchmark {symbol}, which is not traded: {figures} (its prices and dividends, without costs)."]


def _outside_hours_note(assembly: Assembly) -> list[str]:
    """Return a note with the number of bars that the feed left out because they lie outside trading hours."""
    count = assembly.feed.extended
    return [f"{count:,} bars outside trading hours are left out."] if count else []


def sentence(
    run: Measured, difference: Difference | None, deflated: float | None, trials: int | None, *, compared: bool
) -> str:
    """Return the verdict as sentences: does the run beat equal weight?

    `compared` is False where equal weight did not run. `difference` is the Sharpe ratio of the run less the ratio of
    equal weight, with a confidence interval; None if equal weight has constant equity. `trials` is the number of known
    trials and `deflated` the deflated Sharpe ratio, a probability; either is None where it is unknown.
    """
    costs = run.settings.costs
    charged = costs.commission_bp or costs.commission_min_micro or costs.spread_bp or costs.slippage_bp or costs.impact
    basis_points = costs.commission_bp + costs.spread_bp / 2.0 + costs.slippage_bp
    costs_clause = "After costs" if charged else "Before any costs ([broker] sets them to 0)"
    if charged and basis_points < 1.0 and not (costs.commission_min_micro or costs.impact or costs.table):
        costs_clause = f"After costs of {basis_points:g} bp, below 1 bp,"
    if run.performance.samples < MIN_SAMPLES:
        costs_clause = f"With fewer than {MIN_SAMPLES} samples no ratio is judged. {costs_clause}"
    if not isfinite(run.sharpe):
        return "The equity is constant: there is no Sharpe ratio to compare."
    if not compared:
        return "Not compared with equal weight."
    if difference is None:
        return f"{costs_clause} there is no comparison: the equity of equal weight is constant."
    if difference.sharpe <= 0.0:
        return f"{costs_clause} this does not beat equal weight."
    if difference.low is None or difference.high is None:
        return f"{costs_clause} this is above equal weight, on too few samples to tell it from chance."
    if difference.low <= 0.0 <= difference.high:
        return f"{costs_clause} this is not distinguishable from equal weight."
    if trials is not None and chance_of(difference) * trials > 1.0 - CONFIDENCE:
        trials_clause = f"with {counted(trials, '')} it is not distinguishable from equal weight (Bonferroni)"
        return f"{costs_clause} this is above equal weight if it is the only trial, but {trials_clause}."
    text = f"{costs_clause} this beats equal weight."
    if deflated is not None and deflated < MIN_DEFLATED_SHARPE:
        text += (
            f" With {counted(trials or 0, '')} its deflated Sharpe ratio is below {MIN_DEFLATED_SHARPE:g}: "
            "it may still be luck."
        )
    return text


def chance_of(difference: Difference) -> float:
    """Return the two-sided p-value of a difference from its 95 % interval, as if it were normally distributed."""
    assert difference.low is not None
    assert difference.high is not None
    half_width = (difference.high - difference.low) / 2.0
    return erfc(abs(difference.sharpe) * NORMAL_QUANTILE / half_width / sqrt(2.0)) if half_width > 0.0 else 0.0


def headline(verdict: Verdict) -> str:
    """Return one line: "Sharpe 0.71 [0.31, 1.08], equal weight 0.78; deflated 0.21 (7 trials known of SPY ...). ...".

    The verdict follows the figures. A heavy doubt begins the line, a lighter one ends it. A run without figures or
    without fills has the verdict alone.
    """
    run_performance, equal_weight = verdict.performance, verdict.equal_weight
    if run_performance is None or verdict.untraded is not None:
        return verdict.verdict
    text = f"Sharpe {ratio(run_performance.sharpe)}{span(run_performance.sharpe_low, run_performance.sharpe_high)}"
    if equal_weight is not None:
        text += f", equal weight {ratio(equal_weight.sharpe)}{span(equal_weight.sharpe_low, equal_weight.sharpe_high)}"
    if verdict.deflated_sharpe is not None:
        trials_text = counted(verdict.trials or 0, verdict.trials_of, verdict.withdrawn)
        text += f"; deflated {verdict.deflated_sharpe:.2f} ({trials_text})"
    elif verdict.trials is None and run_performance.sharpe is not None:
        text += "; trials unknown"
    if clause := run_performance.asked.text():
        text += f"; {clause}"
    if equal_weight is not None and (clause := equal_weight.asked.text()):
        text += f"; equal weight {clause}"
    if paid := run_performance.paid_in:
        text += f"; {paid:,.2f} paid in by schedules, which is no return"
    return joined(f"{text}. {verdict.verdict}", verdict.doubts)


def ratio(value: float | None) -> str:
    """Format a ratio with two decimals; "none" where it is undefined."""
    return "none" if value is None else f"{value:.2f}"


def span(low: float | None, high: float | None) -> str:
    """Format an interval as " [0.31, 1.08]"; empty without one."""
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


def table_of(verdict: Verdict) -> list[tuple[str, str, str]]:
    """Return rows of text (figure, value of this run, value of equal weight or empty); no rows without figures."""
    if verdict.performance is None:
        return []
    run_columns = [
        _text_by_figure(figures) if figures is not None else {}
        for figures in (verdict.performance, verdict.equal_weight)
    ]
    return [(name, value, run_columns[1].get(name, "")) for name, value in run_columns[0].items()]


def _text_by_figure(figures: Figures) -> dict[str, str]:
    """Return the text of each figure of one account, by the figure's name."""
    return {
        "Sharpe": ratio(figures.sharpe) + span(figures.sharpe_low, figures.sharpe_high),
        "total return": f"{figures.total_return:+.2%}",
        "a year": f"{figures.annual_return:+.2%}",
        "volatility a year": f"{figures.volatility_annual:.2%}",
        "largest drawdown": f"{figures.max_drawdown:.2%}",
        "turnover a year": f"{figures.turnover_annual:.2f}",
        "costs paid": f"{figures.costs:,.2f}",
        **({"interest": f"{figures.interest:,.2f}"} if figures.interest else {}),
        **({"gain in money": f"{figures.gain:+,.2f}"} if figures.paid_in else {}),
        "invested on average": f"{figures.invested:.1%}",
        "samples": f"{figures.samples:,}",
    }


def blocks_text(bootstrap: Bootstrap) -> str:
    """Return the block lengths of the bootstrap as text, such as "23 samples (equal weight 24, difference 25)"."""
    text = f"{bootstrap.block} sample{'' if bootstrap.block == 1 else 's'}"
    if bootstrap.equal_weight_block is None:
        return text
    return f"{text} (equal weight {bootstrap.equal_weight_block}, difference {bootstrap.difference_block})"


def lines(verdict: Verdict) -> list[str]:
    """Return the verdict as lines of text: reasons why figures are no result, headline, figures, definitions, notes.

    The figures of a run that traded nothing are left out.
    """
    text_lines = [*verdict.faults, headline(verdict)]
    rows = table_of(verdict)
    if rows and verdict.untraded is None:
        compared = verdict.equal_weight is not None
        column_width = max(len(value) for _, value, _ in rows) + 2
        text_lines.append(f"  {'':<22}{'this run':<{column_width}}{'equal weight' if compared else ''}".rstrip())
        # the headline has row 0, the Sharpe ratios
        text_lines += [f"  {name:<22}{value:<{column_width}}{other}".rstrip() for name, value, other in rows[1:]]
        if verdict.difference is not None:
            difference = verdict.difference
            text_lines.append(
                f"  {'Sharpe difference':<22}{difference.sharpe:+.2f}{span(difference.low, difference.high)}"
            )
        text_lines += [f"  {verdict.sharpe_definition}", f"  {verdict.turnover_definition}"]
        if verdict.bootstrap is not None:
            bootstrap = verdict.bootstrap
            text_lines.append(
                f"  [..]: {bootstrap.confidence:.0%} of {bootstrap.resamples:,} resamples, {bootstrap.method}, "
                f"blocks of {blocks_text(bootstrap)}"
            )
        if compared:
            text_lines.append(
                "  equal weight: decides at each sample, on the same bars, dates, costs, capital and house limits; "
                f"weight changes below {verdict.min_trade or 0.0:.2%} are traded only together (the agents' min_trade)"
            )
    if verdict.first_fills:
        text_lines.append(f"  first fills: {', '.join(f'{name} {day}' for name, day in verdict.first_fills.items())}")
    text_lines += [f"  {note}" for note in (*doubt_lines(verdict.doubts), *verdict.notes)]
    return text_lines
