"""Goals of `[study.goals]` beside measured figures. A goal is a number that somebody wished for, never a result."""

from collections.abc import Mapping, Sequence
from typing import Final

from quantd.daemon.config import Config, ConfigError, Mistake
from quantd.daemon.config.mistakes import nearest, shown
from quantd.research.metrics.catalogue import METRIC_OF
from quantd.research.reports.report_contents import Account, Figure, Goal, MetricRow

METRICS_HINT: Final = "the metrics are listed in docs/research/metrics.md"


def goal_mistakes(config: Config) -> list[Mistake]:
    """Return a mistake for each goal of `[study.goals]` that names no metric of the catalogue."""
    metrics = {name: name.partition("/")[0] for name in config.study.goals}
    return [
        config.source.mistake(
            ("study", "goals", name),
            f"names the metric {shown(metric)}, which is not in the catalogue",
            f"Did you mean {near}?" if (near := nearest(metric, METRIC_OF)) else METRICS_HINT,
        )
        for name, metric in metrics.items()
        if metric not in METRIC_OF
    ]


def check_goals(config: Config) -> None:
    """Raise ConfigError where a goal names no metric."""
    if mistakes := goal_mistakes(config):
        raise ConfigError(mistakes)


def goals_of(goals: Mapping[str, float], accounts: Sequence[Account], metrics: Sequence[MetricRow]) -> tuple[Goal, ...]:
    """Return each goal of `[study.goals]` beside the figure of the whole account.

    A goal METRIC is compared with the house's figure, a goal METRIC/BENCHMARK with the house's figure divided by the
    benchmark's.
    """
    rows = {row.name: row for row in metrics}
    columns = {account.name: k for k, account in enumerate(accounts) if account.kind == "benchmark"}
    return tuple(_goal(name, goal, rows, columns) for name, goal in goals.items())


def _goal(name: str, goal: float, rows: Mapping[str, MetricRow], columns: Mapping[str, int]) -> Goal:
    """Return one goal. `rows` are the metrics by name, `columns` the index of each benchmark in their `values`.

    A ratio to a benchmark is undefined where the benchmark's figure is not above 0, or the report has no such
    benchmark.
    """
    metric, slash, against = name.partition("/")
    row = rows[metric]
    measured = row.values[0]
    if slash:
        base = row.values[columns[against]] if against in columns else None
        measured = measured / base if measured is not None and base is not None and base > 0.0 else None
    unit = "ratio" if slash else row.unit
    return Goal(name, metric, against, unit, row.better, goal, measured, _met(goal, measured, row.better))


def _met(goal: float, measured: Figure, better: str) -> bool | None:
    """Return whether `measured` reaches the goal; None where `measured` is undefined, or `better` is empty."""
    if measured is None or not better:
        return None
    return measured >= goal if better == "high" else measured <= goal
