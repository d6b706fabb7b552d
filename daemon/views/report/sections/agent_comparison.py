"""The agents compared: correlation, promotion tests and capital."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Cell, Part, Row, Section, Table, cells

LAST_MOVES: Final = 24
"""Maximum number of capital reallocations on the page, the newest; the JSON has all."""


def comparison(report: Report) -> list[Part]:
    """Correlation of the agents' returns, tests of challengers, and reallocations."""
    house = report.house
    parts: list[Part] = [
        Table((), [Row("mean absolute correlation of returns", cells("house", house, diversity="ratio"))])
    ]
    trials = [
        Row(
            f"{trial.challenger} against {trial.champion}, {trial.time[:10]}",
            [
                "promoted" if trial.promoted else trial.why,
                *cells(f"house.trials.{k}", trial, gain="ratio", p="fine", alpha="fine", look="text"),
            ],
        )
        for k, trial in enumerate(house.trials)
    ]
    if trials:
        parts.append(Table(("challenger", "", "gain a year", "p", "required p", "test"), trials))
    names = list(house.capital[0].target) if house.capital else []
    moves = [
        Row(
            f"{move.time[:10]}, {move.method}",
            [
                *(Cell(f"house.capital.{k}.target.{name}", move.target.get(name), "fraction") for name in names),
                move.why,
            ],
        )
        for k, move in enumerate(house.capital)
    ][-LAST_MOVES:]
    if moves:
        parts.append(Table(("capital shares from then on", *names, "reason"), moves))
    return parts


SECTION: Final = Section("comparison", 100, "Comparison of agents", comparison)
