"""The section of a report that shows the configuration's goals beside the measured figures."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted, paragraph, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section, Table


def goals(report: BacktestReport, _: Charts) -> str:
    """Return the table of goals with the measured figures, as HTML.

    The helper `figure` makes a cell from the number's path in the report's JSON, the number, its unit and a CSS class.
    """
    rows = [
        row(
            goal.name,
            figure(f"goals.{k}.goal", goal.goal, goal.unit, "n goal"),
            figure(f"goals.{k}.measured", goal.measured, goal.unit, "n own"),
            figure(f"goals.{k}.met", goal.met, "text", "n" if goal.met else "n no"),
        )
        for k, goal in enumerate(report.goals)
    ]
    text = "A goal is a number from the configuration, not a result. Measured figures are those of the house."
    return table(("", "goal", "measured", "reached"), rows) + paragraph(text)


def tables(report: BacktestReport) -> tuple[Table, ...]:
    rows = [
        (goal.name, formatted(goal.goal, goal.unit), formatted(goal.measured, goal.unit), formatted(goal.met, "text"))
        for goal in report.goals
    ]
    return (Table("Goals (no results)", ("goal", "goal's number", "measured", "reached"), rows),)


SECTION: Final = Section(
    "goals",
    20,
    "Goals",
    goals,
    tables,
    needs="goals",
    missing="The configuration has no [study.goals].",
    about="the numbers of `[study.goals]` beside the measured figures",
)
