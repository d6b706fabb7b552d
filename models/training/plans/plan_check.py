"""Checks the data, the splits and the sight of a plan, and reports all their mistakes at once.

This module imports no torch: a faulty plan is refused within a second or two.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.bundled import absent
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import dates, rate_of, read_panel, sessions
from quantd.models.history.series_files import SeriesError
from quantd.models.history.splits import USUAL_SPLITS, Split, Splits, day_of
from quantd.models.learners import names
from quantd.models.observation import sight as sights
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.sight import SightSpec, observed_by
from quantd.models.training.plans.data_plan import DataPlan, Table, converted, lay, meant
from quantd.trading.cash_rate import CashRateError


class PlanParts(Struct, frozen=True):
    """The keys of a plan that this module checks, with their defaults, which `plan.Plan` takes from here."""

    data: DataPlan = DataPlan()
    splits: Splits = USUAL_SPLITS
    warmup_days: int = 400
    purge: int = 1
    embargo: int = 5
    sight: SightSpec = SightSpec()


USUAL_PARTS: Final = PlanParts()

_PARTS: Final[dict[str, Any]] = {
    "data": DataPlan, "splits": Splits, "warmup_days": int, "purge": int, "embargo": int, "sight": SightSpec,
}  # fmt: skip


def mistakes_in(given: Mapping[str, object], read: Callable[[Path], None] | None = None) -> list[str]:
    """Return the mistakes of a plan's table; those of other keys are found by `plan.parsed`.

    `read` opens the file of bars safely before it is scanned; without it, no file is read.
    """
    found: list[str] = []
    agent = given.get("agent", "ppo")
    if agent not in names():
        found.append(f"agent {agent!r}: one of {', '.join(names())}{meant(str(agent), dict.fromkeys(names()))}")
    table: Table = msgspec.to_builtins(USUAL_PARTS)
    found += lay(table, {key: value for key, value in given.items() if key in _PARTS})
    spoiled = len(found)
    found += named_columns(table)
    spoiled = len(found) - spoiled
    usual: Table = msgspec.to_builtins(USUAL_PARTS)
    made = {name: converted(name, table, usual, kind, found) for name, kind in _PARTS.items()}
    spec, data = made["sight"], made["data"]
    shown = given.get("sight")
    # a profile has features of its own, which only its learner knows
    owned = "profile" not in given or (isinstance(shown, Mapping) and "features" in shown)
    if spec is not None and data is not None and owned and not spoiled:
        faults, spec = sight_faults(spec, data)
        found += faults
    else:
        spec = None
    if data is None or read is None:
        return found
    market = given.get("market")
    rate = market.get("cash_rate") if isinstance(market, Mapping) else None
    parts = PlanParts(**{key: part for key, part in made.items() if part is not None})
    whole = all(part is not None for part in made.values())
    return found + _data_mistakes(parts, rate, read, spec if whole else None)


def named_columns(table: Table) -> list[str]:
    """Put the names of a set of columns in place of its name in a plan's table, and return the mistakes."""
    series = table["data"]["series"]
    known = [each for each in series if isinstance(each, dict)] if isinstance(series, list | tuple) else []
    try:
        unused = [each.get("name", "") for each in known if each.get("use") is False]
        table["sight"]["columns"] = sights.names_in(table["sight"]["columns"], unused)
    except ValueError as error:
        table["sight"]["columns"] = []
        return [f"sight.columns: {error}"]
    return []


def sight_faults(spec: SightSpec, data: DataPlan) -> tuple[list[str], SightSpec | None]:
    """Return why `spec` cannot be computed of `data`, with the key first, and the sight without these mistakes.

    It is None where its columns stay unknown.
    """
    found: list[str] = []
    while fault := _sight_fault(spec, data):
        if fault in found:
            return found, None
        found.append(fault)
        if fault.startswith("sight.benchmark: "):
            needed = bool(spec.columns) and "benchmark" in spec.declared.needs
            spec = msgspec.structs.replace(spec, benchmark=data.symbols[0] if needed else "")
        elif set(spec.features) & set(spec.columns) and "is one of features" in fault:
            spec = msgspec.structs.replace(spec, features=())
        else:
            return found, None
    return found, spec


def _sight_fault(spec: SightSpec, data: DataPlan) -> str:
    fault = sights.fault(spec, data.symbols)
    given = {"macro": {m.name for m in data.macro}, "series": {s.name for s in data.series if s.use}}
    for key, wanted in (("macro", spec.macro), ("series", spec.series)) if not fault else ():
        if missing := set(wanted) - given[key]:
            entry = f'{{ name = "{min(missing)}", path = "FILE" }}'
            fault = f"columns: the series {min(missing)} is missing; write data.{key} = [{entry}]"
    return f"sight{'.' if fault.startswith(('columns: ', 'benchmark: ')) else ': '}{fault}" if fault else ""


def warmup_fault(data: DataPlan, warmup_days: int, train: Split, day_ns: NDArray[np.int64], warm: int) -> str:
    """Return why the training part begins too early, with the remedy; empty where it does not.

    `day_ns` are the sessions that were read, the first `warm` of which only fill the lookback.
    """
    row = train.rows(day_ns).start
    if warm <= row:
        return ""
    text = (
        f"warmup_days {warmup_days}: {row} sessions before splits.train.first ({train.first}), and what is observed "
        f"needs {warm}"
    )
    known = sessions(data.files[0], data.symbols)
    first = int(np.searchsorted(known, day_ns[row]))
    if first >= warm:
        days = (train.first - day_of(known[first - warm])).days
        return f"{text}; write --set warmup_days={days}"
    begins = day_of(day_ns[min(warm, len(day_ns) - 1)])
    if warm >= len(day_ns) or begins >= train.last:
        return f"{text}, more than there are; give earlier bars"
    longer = (begins - day_of(day_ns[0])).days
    more = f" --set warmup_days={longer}" if longer > warmup_days else ""
    return f"{text}; write --set splits.train.first={begins}{more}, or give earlier bars"


def _data_mistakes(parts: PlanParts, rate: object, read: Callable[[Path], None], spec: SightSpec | None) -> list[str]:
    data, splits, found = parts.data, parts.splits, list[str]()
    bars, actions = data.files
    for key, path in (("bars", bars), ("actions", actions)):
        if path is not None and not path.is_file():
            found.append(f"data.{key} = {str(path)!r}: {absent(path)}")
    try:
        rate_of(rate if isinstance(rate, float | str) else None)
    except CashRateError as error:
        found.append(f"market.cash_rate: {error}")
    if not bars.is_file():
        return found
    read(bars)
    begins = splits.train.first - timedelta(days=parts.warmup_days)
    panel = None
    try:
        known = sessions(bars, data.symbols)
        outside = _parts_outside(data, splits, known)
        found += outside.values()
        if not outside.keys() & {"train", "validation"} and (actions is None or actions.is_file()):
            panel = read_panel(bars, actions, data.symbols, begins, splits.validation.last, None, data.sources)
    except SeriesError as error:
        found.append(f"data: {error}")
    except ValueError as error:
        found.append(f"data.symbols: {error}")
    return found + (_history_mistakes(parts, panel, spec) if panel is not None and spec is not None else [])


def _parts_outside(data: DataPlan, splits: Splits, known: NDArray[np.int64]) -> dict[str, str]:
    found = {}
    for split in (splits.train, splits.validation, splits.test):
        try:
            split.rows(known)
        except ValueError as error:
            found[split.name] = f"splits.{error}; {span_text(data)}"
    return found


def span_text(data: DataPlan) -> str:
    """Return the remedy for a part outside the bars. Raises ValueError where a symbol has none."""
    first, last = dates(data.files[0], data.symbols)
    return f"the bars of all symbols go from {first} to {last}: set the splits within them"


def _history_mistakes(parts: PlanParts, panel: Panel, spec: SightSpec) -> list[str]:
    splits, found = parts.splits, list[str]()
    fitted, chosen = splits.train.rows(panel.day_ns), splits.validation.rows(panel.day_ns)
    for split, rows, following in ((splits.train, fitted, chosen.start), (splits.validation, chosen, chosen.stop)):
        try:
            purged(split, rows, following, parts.purge, parts.embargo)
        except ValueError as error:
            found.append(str(error))
    try:
        warm = observed_by(spec, panel).warm if spec.columns else LOOKBACK + panel.behind
    except ValueError as error:
        return [*found, f"sight: {error}"]
    fault = warmup_fault(parts.data, parts.warmup_days, splits.train, panel.day_ns, warm)
    return [*found, fault] if fault else found


def purged(split: Split, rows: range, following: int, purge: int, embargo: int) -> range:
    """Return the rows with an outcome at least `embargo` sessions before row `following`. Raises ValueError."""
    left = range(rows.start, min(rows.stop, following - embargo - purge + 1))
    if len(left) < 2:
        raise ValueError(
            f"splits.{split.name}: {len(rows)} sessions, of which purge {purge} and embargo {embargo} leave "
            f"{max(0, len(left))}"
        )
    return left
