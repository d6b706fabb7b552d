"""Goals of `[study.goals]` beside measured figures. A goal is a number that somebody wished for, never a result."""

from collections.abc import Mapping, Sequence
from typing import Final

from quantd.daemon.config import Config, ConfigError, Mistake
from quantd.daemon.config.mistakes import nearest, shown
from quantd.research.metrics.catalogue import METRIC_OF
from quantd.research.reports.report_contents import Account, Figure, Goal, MetricRow

LISTED: Final = "the metrics are listed in docs/research/metrics.md"


def goal_mistakes(config: Config) -> list[Mistake]:
    """Return a mistake for each goal of `[study.goals]` that names no metric of the catalogue."""
    named = {name: name.partition("/")[0] for name in config.study.goals}
    return [
        config.source.mistake(
            ("study", "goals", name),
            f"names the metric {shown(metric)}, which is not in the catalogue",
            f"Did you mean {near}?" if (near := nearest(metric, METRIC_OF)) else LISTED,
        )
        for name, metric in named.items()
        if metric not in METRIC_OF
    ]


def check_goals(config: Config) -> None:
    """Raise ConfigError where a goal names no metric."""
    if mistakes := goal_mistakes(config):
        raise ConfigError(mistakes)


def goals_of(
    wanted: Mapping[str, float], accounts: Sequence[Account], metrics: Sequence[MetricRow]
) -> tuple[Goal, ...]:
    """Return each goal beside the house's figure. A ratio divides it by the figure of a benchmark above 0."""
    rows = {row.name: row for row in metrics}
    places = {account.name: k for k, account in enumerate(accounts) if account.kind == "benchmark"}
    return tuple(_goal(name, number, rows, places) for name, number in wanted.items())


def _goal(name: str, number: float, rows: Mapping[str, MetricRow], places: Mapping[str, int]) -> Goal:
    metric, ratio, against = name.partition("/")
    row = rows[metric]
    measured = row.values[0]
    if ratio:
        base = row.values[places[against]] if against in places else None
        measured = measured / base if measured is not None and base is not None and base > 0.0 else None
    unit = "ratio" if ratio else row.unit
    return Goal(name, metric, against, unit, row.better, number, measured, _met(number, measured, row.better))


def _met(goal: float, measured: Figure, better: str) -> bool | None:
    if measured is None or not better:
        return None
    return measured >= goal if better == "high" else measured <= goal
