"""The section of a report that shows the configuration's goals beside the measured figures."""

from typing import Final

from quantd.daemon.views.report.section_parts import Cell, Note, Row, Section, Table
from quantd.research.reports.report_contents import BacktestReport


def goals(report: BacktestReport) -> tuple[Table, Note]:
    """Return the table of goals with the measured figures."""
    rows = [
        Row(
            goal.name,
            [
                Cell(f"goals.{k}.goal", goal.goal, goal.unit, "n goal"),
                Cell(f"goals.{k}.measured", goal.measured, goal.unit, "n own"),
                Cell(f"goals.{k}.met", goal.met, "text", "n" if goal.met else "n no"),
            ],
        )
        for k, goal in enumerate(report.goals)
    ]
    text = "A goal is a number from the configuration, not a result. Measured figures are those of the house."
    return Table(("", "goal's number", "measured", "reached"), rows), Note(text)


SECTION: Final = Section(
    "goals",
    20,
    "Goals",
    goals,
    needs="goals",
    missing="The configuration has no [study.goals].",
    about="the numbers of `[study.goals]` beside the measured figures",
)
