"""Writes the results of a study: a CSV of its trials, two pages of plots, and the best plan as TOML."""

import csv
import io
import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import optuna

from quantd.regular_file import remove, write_whole
from quantd.trading.display_text import toml_value
from quantd.training.learners.record import Space
from quantd.training.plans.plan import Plan, default, described, replaced
from quantd.training.search.spaces import Value
from quantd.training.search.study import Search, Sitting
from quantd.training.search.study_results import Row, importances

TRIALS: Final = "trials.csv"
HISTORY: Final = "history.html"
IMPORTANCE: Final = "importance.html"
BEST: Final = "best.toml"

BEGINNING: Final = ("trial", "state", "score", "scores", "steps", "seconds")
"""First columns of the CSV."""


def write(folder: Path, study: optuna.Study, search: Search, sitting: Sitting, note: Sequence[str]) -> tuple[Path, ...]:
    """Write all results of the study, and return their paths. `sitting` is the state of the study after this run of the
    search. `note` becomes a comment in the best plan."""
    texts = {TRIALS: table(sitting.rows, search.space), HISTORY: history(study)}
    shares = importances(study)
    if shares:
        texts[IMPORTANCE] = importance(shares, len(sitting.rows))
    if sitting.best is not None:
        changes = {
            "name": f"{search.plan.name}-tuned",
            "tuning_trials": search.plan.tuning_trials + tried(search, sitting),
        }
        plan = replaced(search.plan, {**sitting.best.values, **changes})
        texts[BEST] = "".join(f"# {line}\n" for line in note) + toml(plan)
    for name in (TRIALS, HISTORY, IMPORTANCE, BEST):
        if name in texts:
            write_whole(folder / name, texts[name].encode())
        else:
            remove(folder / name, missing_ok=True)  # a file of an earlier study, which was begun anew
    return tuple(folder / name for name in texts)


def tried(search: Search, sitting: Sitting) -> int:
    """Return the number of validation scores among which the best trial was chosen: one per seed and evaluation.
    `sitting` has the trials of the study."""
    every = search.base.evaluate_every
    return sum(max(row.steps // every, math.isfinite(row.score)) for row in sitting.rows)


def table(rows: Sequence[Row], space: Space) -> str:
    """Return a CSV with one trial per line and the keys of the space as columns."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*BEGINNING, *space, "reason"))
    for row in rows:
        scores = " ".join(repr(score) for score in row.scores)
        seconds = "" if math.isnan(row.seconds) else f"{row.seconds:.3f}"
        score = "" if math.isnan(row.score) else repr(row.score)
        values = (_cell(row.values.get(name)) for name in space)
        writer.writerow((row.index + 1, row.state, score, scores, row.steps, seconds, *values, row.reason))
    return buffer.getvalue()


def history(study: optuna.Study) -> str:
    """Return a self-contained HTML page with the scores of complete trials and the best so far."""
    figure = optuna.visualization.plot_optimization_history(study, target_name="validation Sharpe ratio")
    figure.update_layout(title=f"{study.study_name}: validation Sharpe ratio of each trial")
    return _page(figure)


def importance(shares: dict[str, float], trials: int) -> str:
    """Return a self-contained HTML page with the importance of each searched key."""
    import plotly.graph_objects as go

    names = list(reversed(shares))
    figure = go.Figure(go.Bar(x=[shares[name] for name in names], y=names, orientation="h"))
    figure.update_layout(title=f"What the best tenth of {trials} trials had in common, by key (PED-ANOVA)")
    return _page(figure)


def toml(plan: Plan) -> str:
    """Return the TOML text of a plan: agent, profile, and each setting that differs from their defaults."""
    defaults = described(default(plan.agent, plan.profile))
    lines = [f"agent = {_toml(plan.agent)}"]
    if plan.profile:
        lines.append(f"profile = {_toml(plan.profile)}")
    for key, value in described(plan).items():
        if key not in ("agent", "profile") and value != defaults.get(key):
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Return a value of a plan as TOML; a date becomes text."""
    return toml_value(str(value) if isinstance(value, date) else value)


def _cell(value: Value | None) -> str:
    """Return the text of a value as a cell of the CSV file of trials."""
    if isinstance(value, tuple):
        return "-".join(str(width) for width in value)
    return "" if value is None else repr(value)


def _page(figure: Any) -> str:
    return str(figure.to_html(include_plotlyjs=True, full_html=True))
