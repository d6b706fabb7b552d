"""Checks a whole plan with its data, and reports all mistakes at once.

This module imports no torch: a faulty plan is refused within a second or two.

What can go wrong. A mistake in the data would end a training after minutes: so the data are read here as the training
reads them. One mistake would hide other mistakes: so each check runs on the tables without mistakes. A damaged file of
bars would end the process: so `read` opens it safely before it is scanned.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantd.bundled import absent
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import dates, rate_of, read_panel, sessions
from quantd.models.history.series_files import SeriesError
from quantd.models.history.splits import Split, Splits, day_of
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.sight import observed_by
from quantd.trading.cash_rate import CashRateError
from quantd.training.learners.record import learners
from quantd.training.plans.data_plan import DataPlan, PlanError
from quantd.training.plans.plan import Fields, Plan, default, laid_over, learner_named


def mistakes_in(given: Mapping[str, object], read: Callable[[Path], None] | None = None) -> list[str]:
    """Return all mistakes in a plan's table `given`, and in the data that it names.

    `read` opens the file of bars safely before it is scanned; without it, no file is read.
    """
    base, mistakes = _based_on(given)
    fields, faults = laid_over(base, {key: value for key, value in given.items() if key not in ("agent", "profile")})
    mistakes += faults
    if fields["data"] is not None and read is not None:
        mistakes += _data_mistakes(base, fields, read)
    return mistakes


def _based_on(table: Mapping[str, object]) -> tuple[Plan, list[str]]:
    """Return the default plan for the agent and profile in a table, and the mistakes in these two keys.

    With an unknown profile the plan has the agent's defaults, with an unknown agent the defaults of ppo.
    """
    agent, profile = table.get("agent", "ppo"), table.get("profile", "")
    try:
        return default(learner_named(agent).name, str(profile)), []
    except PlanError as error:
        mistakes = [str(error)]
    return default(str(agent) if agent in learners() else "ppo"), mistakes


def warmup_fault(data: DataPlan, warmup_days: int, train: Split, day_ns: NDArray[np.int64], warm: int) -> str:
    """Return why the training part begins too early, with the remedy; empty where it begins late enough.

    `day_ns` are the sessions that were read, the first `warm` of which only fill the lookback.
    """
    row = train.rows(day_ns).start
    if warm <= row:
        return ""
    fault = (
        f"warmup_days {warmup_days}: {row} sessions before splits.train.first ({train.first}), and the observation "
        f"needs {warm}"
    )
    all_sessions = sessions(data.files[0], data.symbols)
    first = int(np.searchsorted(all_sessions, day_ns[row]))
    # the file has enough earlier sessions: more of them must be read
    if first >= warm:
        days = (train.first - day_of(all_sessions[first - warm])).days
        return f"{fault}; write --set warmup_days={days}"
    # it has not: the training part must begin later
    begins = day_of(day_ns[min(warm, len(day_ns) - 1)])
    if warm >= len(day_ns) or begins >= train.last:
        return f"{fault}, more than the bars have; give earlier bars"
    longer_warmup = (begins - day_of(day_ns[0])).days
    warmup_option = f" --set warmup_days={longer_warmup}" if longer_warmup > warmup_days else ""
    return f"{fault}; write --set splits.train.first={begins}{warmup_option}, or give earlier bars"


def _data_mistakes(base: Plan, fields: Fields, read: Callable[[Path], None]) -> list[str]:
    """Return the mistakes in the data of a plan.

    A field that has a mistake already is None in `fields`: its value in `base` is used, or it is not checked. `read` is
    called with the file of bars before it is read here, and may raise.
    """
    data, mistakes = fields["data"], list[str]()
    splits = fields["splits"] or base.splits
    warmup_days = base.warmup_days if fields["warmup_days"] is None else fields["warmup_days"]
    rate = None if fields["market"] is None else fields["market"].cash_rate
    bars, actions = data.files
    for key, path in (("bars", bars), ("actions", actions)):
        if path is not None and not path.is_file():
            mistakes.append(f"data.{key} = {str(path)!r}: {absent(path)}")
    try:
        rate_of(rate)
    except CashRateError as error:
        mistakes.append(f"market.cash_rate: {error}")
    if not bars.is_file():
        return mistakes
    read(bars)
    begins = splits.train.first - timedelta(days=warmup_days)
    panel = None
    try:
        all_sessions = sessions(bars, data.symbols)
        outside = _parts_outside(data, splits, all_sessions)
        mistakes += outside.values()
        # the panel is read only for parts that the bars cover
        if not outside.keys() & {"train", "validation"} and (actions is None or actions.is_file()):
            panel = read_panel(bars, actions, data.symbols, begins, splits.validation.last, None, data.sources)
    except SeriesError as error:
        mistakes.append(f"data: {error}")
    except ValueError as error:
        mistakes.append(f"data.symbols: {error}")
    if panel is None or any(fields[name] is None for name in ("splits", "warmup_days", "purge", "embargo", "sight")):
        return mistakes
    return mistakes + _history_mistakes(fields, panel)


def _parts_outside(data: DataPlan, splits: Splits, day_ns: NDArray[np.int64]) -> dict[str, str]:
    """Return name -> mistake of each part (training, validation, test) that lies outside the sessions `day_ns`."""
    mistakes = {}
    for split in (splits.train, splits.validation, splits.test):
        try:
            split.rows(day_ns)
        except ValueError as error:
            mistakes[split.name] = f"splits.{error}; {span_text(data)}"
    return mistakes


def span_text(data: DataPlan) -> str:
    """Return the remedy for a part outside the bars. Raises ValueError where a symbol has no bars."""
    first, last = dates(data.files[0], data.symbols)
    return f"the bars of all symbols go from {first} to {last}: set the splits within them"


def _history_mistakes(fields: Fields, panel: Panel) -> list[str]:
    """Return the mistakes of parts (training, validation, test) that are too short or have too little history."""
    splits, spec, mistakes = fields["splits"], fields["sight"], list[str]()
    training_rows, validation_rows = splits.train.rows(panel.day_ns), splits.validation.rows(panel.day_ns)
    for split, rows, following in (
        (splits.train, training_rows, validation_rows.start),
        (splits.validation, validation_rows, validation_rows.stop),
    ):
        try:
            purged(split, rows, following, fields["purge"], fields["embargo"])
        except ValueError as error:
            mistakes.append(str(error))
    try:
        # the number of sessions before the first complete observation
        warm = observed_by(spec, panel).warm if spec.columns else LOOKBACK + panel.behind
    except ValueError as error:
        return [*mistakes, f"sight: {error}"]
    fault = warmup_fault(fields["data"], fields["warmup_days"], splits.train, panel.day_ns, warm)
    return [*mistakes, fault] if fault else mistakes


def purged(split: Split, rows: range, following: int, purge: int, embargo: int) -> range:
    """Return the `rows` of a part whose outcome is at least `embargo` sessions earlier than row `following`.

    The outcome of a decision is known `purge` sessions after it. Raises ValueError where fewer than two rows remain.
    """
    usable = range(rows.start, min(rows.stop, following - embargo - purge + 1))
    if len(usable) < 2:
        raise ValueError(
            f"splits.{split.name}: {len(rows)} sessions, of which purge {purge} and embargo {embargo} leave "
            f"{max(0, len(usable))}; lengthen it to leave 2"
        )
    return usable
