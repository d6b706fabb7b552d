"""The section of a report with rolling figures: over the newest samples, such as 252, at each sample of the run."""

from html import escape
from typing import Final

from quantd.research.reports.page_parts import paragraph, placed
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import first_benchmark
from quantd.research.reports.sections.section import Charts, Section


def rolling(report: BacktestReport, charts: Charts) -> str:
    """Return the empty boxes for the rolling charts as HTML, or a sentence where no window is full."""
    titles = {
        "rolling_sharpe": "Sharpe ratio", "rolling_volatility": "Volatility, annual",
        "rolling_drawdown": "Maximum drawdown in the window",
        "rolling_beta": f"Beta of the house to {first_benchmark(report)}",
    }  # fmt: skip
    boxes = [f"<div><h3>{escape(text)}</h3>{placed(name)}</div>" for name, text in titles.items() if name in charts]
    content = f'<div class="grid charts">{"".join(boxes)}</div>'
    too_short = f"The run has fewer than {report.rolling.window:,} returns."
    return content if boxes else paragraph(too_short)


def heading(report: BacktestReport, _: Charts) -> str:
    return f"Rolling figures of the newest {report.rolling.window:,} samples"


SECTION: Final = Section(
    "rolling",
    50,
    "Rolling",
    rolling,
    heading=heading,
    about="Sharpe ratio, volatility, drawdown and beta of the newest 252 samples",
)
