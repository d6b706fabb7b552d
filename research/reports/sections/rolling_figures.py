"""The section of a report with rolling figures: over the newest samples, such as 252, at each sample of the run."""

from typing import Final

from quantd.daemon.views.report.section_parts import Chart, Grid, Note, Part, Plot, Section, Series
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import chart, first_benchmark, rounded, seconds


def rolling(report: BacktestReport) -> list[Part]:
    """Return the rolling charts, or a sentence where no window is full."""
    windows = report.rolling
    if not windows.ts:
        return [Note(f"The run has fewer than {windows.window:,} returns.")]
    plots = [
        Plot("rolling_sharpe", chart(report, windows.ts, windows.sharpe, "ratio"), "Sharpe ratio"),
        Plot("rolling_volatility", chart(report, windows.ts, windows.volatility, "percent"), "Volatility, annual"),
        Plot(
            "rolling_drawdown",
            chart(report, windows.ts, windows.drawdown, "percent", scale=-1.0),
            "Maximum drawdown in the window",
        ),
    ]
    if windows.beta:
        beta = Series("beta", rounded(windows.beta), "--c0", wide=True)
        title = f"Beta of the house to {first_benchmark(report)}"
        plots.append(Plot("rolling_beta", Chart(seconds(windows.ts), (beta,), "ratio"), title))
    return [Grid([[plot] for plot in plots], "charts")]


def heading(report: BacktestReport) -> str:
    return f"Rolling figures of the newest {report.rolling.window:,} samples"


SECTION: Final = Section(
    "rolling",
    50,
    heading,
    rolling,
    link="Rolling",
    about="Sharpe ratio, volatility, drawdown and beta of the newest 252 samples",
)
