"""The agents compared: correlation, promotion tests and capital."""

from html import escape
from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import NUMBER, PERCENT, cells, figure, section, table
from quantd.daemon.views.report.sections.section import Section


def comparison(report: Report) -> str:
    """The section that compares the agents: correlation of returns, tests of challengers, and reallocations."""
    house = report.house
    correlation_row = row("mean absolute correlation of returns", figure("house.diversity", house.diversity, NUMBER))
    trials = [
        row(
            f"{trial.challenger} against {trial.champion}, {trial.time[:10]}",
            f"<td>{'promoted' if trial.promoted else escape(trial.why)}</td>",
            *cells(f"house.trials.{k}", trial, gain=NUMBER, p="{:.4f}", alpha="{:.4f}", look="{}"),
        )
        for k, trial in enumerate(house.trials)
    ]
    names = list(house.capital[0].target) if house.capital else []
    moves = [
        row(
            f"{move.time[:10]}, {move.method}",
            *(figure(f"house.capital.{k}.target.{name}", move.target.get(name), PERCENT) for name in names),
            f"<td>{escape(move.why)}</td>",
        )
        for k, move in enumerate(house.capital)
    ][-LAST_MOVES:]
    return section(
        "Comparison of agents",
        table((), [correlation_row]),
        table(("challenger", "", "gain a year", "p", "required p", "test"), trials) if trials else "",
        table(("capital shares from then on", *names, "reason"), moves) if moves else "",
    )


LAST_MOVES: Final = 24
"""Maximum number of capital reallocations on the page, the newest; the JSON has all."""


SECTION: Final = Section("comparison", 100, comparison)
