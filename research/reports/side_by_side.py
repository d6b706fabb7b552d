"""Two backtests side by side: differences of their metrics, with intervals and tests of the returns.

Both runs must have the same bars, symbols, dates, costs, capital and formulas: a comparison of other runs is refused.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.daemon.views.report import rendering
from quantd.daemon.views.report.rendering import formatted
from quantd.daemon.views.report.section_parts import Cell, Chart, Note, Part, Plot, Row, Section, Series, Table, cells
from quantd.regular_file import write_whole
from quantd.research.doubts import Doubt, doubt_lines, lead, named_doubts
from quantd.research.metrics.metric import Better, Unit
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.reports.report_contents import BacktestReport, Figure, RunFigures, Versus
from quantd.research.reports.report_files import check_suffix, json_text
from quantd.research.reports.report_statistics import known, no_interval, versus_all
from quantd.research.runs.comparison import Incomparable
from quantd.research.significance.sharpe_tests import MIN_RETURNS
from quantd.trading.display_text import csv_table
from quantd.trading.exit_codes import CHECK_FAILED
from quantd.trading.sessions import DAY_NS

SAME: Final = (
    "bars", "symbols", "dates", "costs", "borrow_bp_annual", "cash_micro", "capital_micro", "periods", "formula",
    "begins",
)  # fmt: skip
"""Settings that two compared runs must share. Limits and schedules may differ: they are part of a strategy."""

Comparable = BacktestReport | RunFigures


class NotComparable(Incomparable):
    """Two runs with different settings cannot be compared; the text names each setting with both values."""

    exit_code = CHECK_FAILED


class Compared(Struct, frozen=True):
    """One metric of the two runs `one` and `other`. `difference` is the figure of `one` less the figure of `other`."""

    name: str
    title: str
    unit: Unit
    better: Better
    one: Figure
    other: Figure
    difference: Figure


class SideBySide(Struct, frozen=True):
    """The comparison of the runs that are named `one` and `other`.

    `versus` has the interval and the p-values of `one` against `other`. `differing` names the settings that differ, and
    `market` the market's other files that differ (members by date, macro series, interest rate).

    `wealth` has the equity curves of both whole accounts at the times `ts` (ns UTC), 1 at the first sample. `digests`
    are the hashes of the effects of both runs.
    """

    one: str
    other: str
    first: str
    last: str
    samples: int
    digests: tuple[str, str]
    metrics: tuple[Compared, ...]
    versus: Versus
    differing: tuple[str, ...]
    market: tuple[str, ...]
    sharpe_definition: str
    ts: tuple[int, ...]
    wealth: tuple[tuple[Figure, ...], tuple[Figure, ...]]
    failures: tuple[str, ...] = ()
    """The agents of both runs whose policy failed to decide, one line each."""
    doubts: tuple[Doubt, ...] = ()
    """The reasons to doubt the runs, the heaviest first. A doubt about only one of the runs names it."""
    annualised: str = ""
    """A mark such as "annualised from 4 months" for samples of less than a year, else empty."""
    no_interval: str = ""
    """Why there is no interval of the Sharpe difference; empty where there is one."""


def side_by_side(one: Comparable, other: Comparable, names: tuple[str, str]) -> SideBySide:
    """Compare the whole accounts of two runs, named `names`.

    Raises NotComparable with every setting that differs but must be equal (SAME).
    """
    settings, other_settings = one.header.settings, other.header.settings
    differing = [
        name for name in settings.__struct_fields__ if getattr(settings, name) != getattr(other_settings, name)
    ]
    refused = [name for name in differing if name in SAME]
    if refused:
        values = "; ".join(_both_values(name, one, other) for name in refused)
        # the later start lets both runs decide from one session on
        remedy = (
            f"; give both [feed] start = {max(str(settings.begins), str(other_settings.begins))}"
            if "begins" in refused
            else ""
        )
        raise NotComparable(f"the runs differ in {', '.join(refused)} and are not comparable ({values}){remedy}")
    record, other_record = _track_record(one), _track_record(other)
    rows = [
        Compared(
            metric.name,
            metric.title,
            metric.unit,
            metric.better,
            metric.values[0],
            other_metric.values[0],
            _difference(metric.values[0], other_metric.values[0]),
        )
        for metric, other_metric in zip(one.metrics, other.metrics, strict=True)
        if metric.needs != "benchmark"
    ]
    versus = versus_all(record, [(names[1], other_record)])[0]
    step = max(1, len(one.samples.ts) // 1_000)  # a chart shows 1,000 to 2,000 points
    shown = np.unique(np.append(np.arange(0, len(record.wealth), step), len(record.wealth) - 1))
    return SideBySide(
        one=names[0], other=names[1], first=one.header.first, last=one.header.last, samples=one.header.samples,
        digests=(one.header.digest, other.header.digest), metrics=tuple(rows),
        versus=versus, differing=tuple(differing), market=_differing_files(one, other),
        sharpe_definition=one.header.sharpe_definition, ts=tuple(one.samples.ts[k] for k in shown.tolist()),
        wealth=(_wealth(record, shown), _wealth(other_record, shown)),
        failures=(*_failure_lines(names[0], one), *_failure_lines(names[1], other)),
        doubts=named_doubts({names[0]: _doubts(one), names[1]: _doubts(other)}), annualised=record.annualised,
        no_interval=no_interval(versus, record, other_record, names),
    )  # fmt: skip


def _failure_lines(name: str, run: Comparable) -> list[str]:
    failures = run.verdict.failures if isinstance(run, BacktestReport) else run.failures
    return [f"{name}: {failure.text}" for failure in failures]


def _doubts(run: Comparable) -> tuple[Doubt, ...]:
    """Return the doubts about a run itself, without the doubts about its benchmark, which is not compared."""
    doubts = run.verdict.doubts if isinstance(run, BacktestReport) else run.doubts
    return tuple(doubt for doubt in doubts if doubt.kind != "benchmark")


def first_lines(comparison: SideBySide) -> list[str]:
    """Return the lines at the top of a comparison: the agents that failed, then the strongest reason for doubt."""
    return [*comparison.failures, *filter(None, [lead(comparison.doubts)])]


def _differing_files(one: Comparable, other: Comparable) -> tuple[str, ...]:
    """Return the names of the market's files beyond the bars that differ, or that only one run has.

    A report of an earlier version does not name such files: a difference then shows only in the hash of the whole
    market.
    """
    files, other_files = one.header.beyond_bars, other.header.beyond_bars
    if files is None or other_files is None:
        return (
            () if one.header.market == other.header.market else ("files beyond the bars that a report does not name",)
        )
    return tuple(name for name in sorted({*files, *other_files}) if files.get(name) != other_files.get(name))


def _both_values(name: str, one: Comparable, other: Comparable) -> str:
    """Return the setting `name` of both runs as text.

    Dates are shortened to the first, the last and their number. Of the costs, only those that differ are named.
    """
    first_header, second_header = one.header, other.header
    if name == "dates":
        return (
            f"dates: {first_header.first} to {first_header.last}, {first_header.samples:,} samples, and "
            f"{second_header.first} to {second_header.last}, {second_header.samples:,} samples"
        )
    if name == "costs":
        with_seeds = [{**header.costs, "seed": float(header.seed)} for header in (first_header, second_header)]
        first_costs, second_costs = (
            {"fitted_rows": 0.0, **costs} for costs in with_seeds
        )  # a run without a fitted table of costs lacks this key
        texts = [
            f"{key}: {first_costs[key]:g} and {second_costs[key]:g}"
            for key in first_costs
            if first_costs[key] != second_costs[key]
        ]
        tables = first_header.settings.costs.table != second_header.settings.costs.table
        return ", ".join([*texts, *(["the table of [broker] costs"] if tables else [])])
    values = [_shortened_json(getattr(header.settings, name)) for header in (first_header, second_header)]
    return f"{name}: {values[0]} and {values[1]}"


def _shortened_json(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."


def _track_record(report: Comparable) -> TrackRecord:
    """Return the track record of a report's whole account, from the samples that the report stores."""
    risk_free = report.samples.risk_free_annual
    ts = np.array(report.samples.ts, dtype=np.int64)
    days = (ts - 1) // DAY_NS * DAY_NS  # a session that ends at midnight belongs to the day before
    return TrackRecord(
        np.array(report.samples.equity), days, report.header.settings.periods,
        risk_free if isinstance(risk_free, float) else np.array(risk_free),
    )  # fmt: skip


def _wealth(record: TrackRecord, samples: np.ndarray) -> tuple[Figure, ...]:
    """Return the wealth at the samples with the indices `samples`; the wealth at the run's first sample is 1."""
    return tuple(known(value) for value in (record.wealth[samples] / record.wealth[0]).tolist())


def _difference(one: Figure, other: Figure) -> Figure:
    return None if one is None or other is None else one - other


TESTS: Final = (
    ("paired t", "paired_t"), ("Wilcoxon", "wilcoxon"), ("Kolmogorov-Smirnov", "kolmogorov_smirnov"),
    ("Ledoit-Wolf, Sharpe ratios", "ledoit_wolf"),
)  # fmt: skip
"""Title of each test, and its field of Versus."""

SUBJECTS: Final[Mapping[str, str]] = {
    "paired_t": "the mean returns", "wilcoxon": "the typical (median) returns",
    "kolmogorov_smirnov": "the distributions of returns", "ledoit_wolf": "the Sharpe ratios",
}  # fmt: skip
"""The quantity that each test compares."""

LEVEL: Final = 0.05
"""A p-value below this level is called a difference. It is not adjusted for the number of tests."""


def sentences_of_tests(comparison: SideBySide) -> list[str]:
    """Return a sentence for each test with a p-value: what it compares, and whether it finds a difference."""
    lines, verdicts = [], set()
    for title, name in TESTS:
        p = getattr(comparison.versus, name).p
        if p is None:
            few = comparison.samples <= MIN_RETURNS
            lines.append(f"{title}: {'there are too few samples' if few else 'undefined, since returns do not vary'}.")
            continue
        verdict = "differ" if p < LEVEL else "are not distinguishable"
        verdicts.add(verdict)
        pair = f"{comparison.one} and {comparison.other}"
        lines.append(f"{title.partition(',')[0]}: {SUBJECTS[name]} of {pair} {verdict} (p {_p_text(p)}).")
    if len(verdicts) > 1:
        lines.append("The tests ask different questions: returns may differ where Sharpe ratios do not.")
    return lines


def _p_text(value: float) -> str:
    """Return a p-value with its relation sign, such as "= 0.031" or "<0.001"."""
    text = formatted(value, "p")
    return text if text.startswith("<") else f"= {text}"


def sentence(comparison: SideBySide) -> str:
    """Return one sentence on the difference of the Sharpe ratios, or on why it has no interval."""
    versus = comparison.versus
    if versus.sharpe_difference is None or versus.low is None or versus.high is None:
        return f"{comparison.no_interval}."
    mark = f", {comparison.annualised}" if comparison.annualised else ""
    span = f"{versus.sharpe_difference:+.2f} [{versus.low:.2f}, {versus.high:.2f}]{mark}"
    if versus.low <= 0.0 <= versus.high:
        return (
            f"Sharpe difference {span}: by its ratio {comparison.one} is not distinguishable from {comparison.other}."
        )
    better = "better" if versus.low > 0.0 else "worse"
    return f"Sharpe difference {span}: by its ratio {comparison.one} is {better} than {comparison.other}."


def rows_of(comparison: SideBySide, names: tuple[str, ...] | None = None) -> list[tuple[str, ...]]:
    """Return rows (metric, one, other, difference) as text, for the metrics in `names`; None stands for all."""
    return [
        (metric.title, formatted(metric.one, metric.unit), formatted(metric.other, metric.unit),
         formatted(metric.difference, metric.unit))
        for metric in comparison.metrics if names is None or metric.name in names
    ]  # fmt: skip


def p_rows(comparison: SideBySide) -> list[tuple[str, str]]:
    """Return a row (title, p-value) for each test, as text."""
    return [(title, formatted(getattr(comparison.versus, name).p, "p")) for title, name in TESTS]


def _equity(comparison: SideBySide) -> tuple[Plot]:
    x = tuple(ts / 1e9 for ts in comparison.ts)  # seconds
    lines = (Series(comparison.one, comparison.wealth[0], "--c0", wide=True),
             Series(comparison.other, comparison.wealth[1], "--c1"))  # fmt: skip
    return (Plot("equity", Chart(x, lines, "ratio", high=True)),)


def _metrics(comparison: SideBySide) -> tuple[Table]:
    rows = [
        Row(one.title, cells(f"metrics.{k}", one, one=one.unit, other=one.unit, difference=one.unit))
        for k, one in enumerate(comparison.metrics)
    ]
    return (Table(("", comparison.one, comparison.other, "difference"), rows),)


def _tests(comparison: SideBySide) -> list[Part]:
    rows = [Row(title, [Cell(f"versus.{name}.p", getattr(comparison.versus, name).p, "p")]) for title, name in TESTS]
    return [Table((), rows), *map(Note, sentences_of_tests(comparison)), Note(comparison.sharpe_definition)]


SECTIONS: Final = (
    Section("equity", 1, "Equity, growth of 1", _equity),
    Section("metrics", 2, "Metrics", _metrics),
    Section("tests", 3, "p-values", _tests),
)


def _title(comparison: SideBySide) -> str:
    return f"{comparison.one} and {comparison.other}, {comparison.first} to {comparison.last}"


def _notes(comparison: SideBySide) -> list[Note]:
    """Return the paragraphs above the sections: failures and the strongest doubt, the verdict, settings and doubts."""
    return [
        *(Note(text, "verdict no") for text in first_lines(comparison)), Note(sentence(comparison), "verdict"),
        Note(settings_text(comparison)), *map(Note, doubt_lines(comparison.doubts)),
    ]  # fmt: skip


def _html(comparison: SideBySide) -> str:
    """Return the comparison as a page with a chart of equity, all metrics and the p-values."""
    return rendering.page(_title(comparison), _notes(comparison), SECTIONS, comparison)


def settings_text(comparison: SideBySide) -> str:
    """Return the settings that both runs share and those that differ, in sentences."""
    text = "Both runs have the same bars, dates, costs and capital."
    if comparison.differing:
        text += f" They differ in {', '.join(comparison.differing)}."
    if comparison.market:
        text += f" The market beyond the bars differs in {', '.join(comparison.market)}."
    return text


def _markdown(comparison: SideBySide) -> str:
    """Return the comparison as Markdown: the page without its chart."""
    return rendering.text(_title(comparison), _notes(comparison), SECTIONS, comparison)


def _csv(comparison: SideBySide) -> str:
    """Return the comparison as CSV: failed decisions and doubts, then every figure of both runs and the difference."""
    versus = comparison.versus
    return csv_table((
        ("figure", "one", "other", "difference"),
        *(("failed decisions", text, "", "") for text in comparison.failures),
        *(("doubt", doubt.text, "", "") for doubt in comparison.doubts),
        *((metric.name, metric.one, metric.other, metric.difference) for metric in comparison.metrics),
        ("sharpe_difference", "", "", versus.sharpe_difference),
        ("sharpe_difference_interval", versus.low, versus.high, ""),
        *((f"{name}_p", "", "", getattr(versus, name).p) for _, name in TESTS),
    ))  # fmt: skip


COMPARISON_WRITERS: Final[Mapping[str, Callable[[SideBySide], str]]] = {
    ".html": _html, ".json": json_text, ".md": _markdown, ".csv": _csv,
}  # fmt: skip


def write_comparison(path: Path, comparison: SideBySide) -> None:
    """Write the comparison in the format of the suffix of `path`.

    Raises UnknownSuffix for a suffix without a format, OSError where the file cannot be written.
    """
    check_suffix(path)
    write_whole(path, COMPARISON_WRITERS[path.suffix.lower()](comparison).encode())
