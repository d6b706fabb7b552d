"""What a plan takes from a file of bars of one's own, where neither the plan nor an option says it.

These are the actions beside the file, all its symbols, and parts of its history where the usual parts lie outside it.
This module imports no torch.

What can go wrong: bundled symbols, actions or dates are taken for a file that has others. A split of a bundled share
would apply to another share of the same name. What follows from a file is set only where neither the plan nor an option
says it.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from quantd.bundled import find
from quantd.models.history.panel_files import dates, sessions, symbols_of
from quantd.models.history.splits import USUAL_SPLITS, day_of
from quantd.models.observation.return_features import LOOKBACK
from quantd.training.plans.data_plan import DataPlan, Table

TRAIN, VALIDATION = 0.6, 0.2
"""Fractions of the sessions in the training and in the validation part; the rest is the test part."""

LEAST: Final = 60
"""Sessions after the lookback, from which parts are made; with fewer the plan's own check names what is missing."""


def beside(bars: Path) -> str:
    """Return the actions file of `bars` by name, BARS.actions.csv or X_actions.csv for X_daily; empty for none."""
    names = (f"{bars.stem}.actions.csv", f"{bars.stem.removesuffix('_daily')}_actions.csv")
    return next((str(bars.with_name(name)) for name in names if bars.with_name(name).is_file()), "")


def usual(bars: Path, table: Table) -> dict[str, object]:
    """Return the keys that follow from a file of bars, by dotted name; `table` is the plan with its options.

    Empty for the file that plans use by default, and for one that cannot be read: the plan's check names its fault.
    """
    file, data = find(bars), table.get("data", {})
    if not file.is_file() or str(bars) == DataPlan().bars or not isinstance(data, Mapping):
        return {}
    keys: dict[str, object] = {} if "actions" in data else {"data.actions": beside(file)}
    try:
        symbols = list(data["symbols"]) if "symbols" in data else symbols_of(file)
        keys |= {} if "symbols" in data else {"data.symbols": symbols}
        return keys if "splits" in table else keys | _parts(file, symbols)
    except (ValueError, TypeError):
        return keys


def _parts(file: Path, symbols: list[str]) -> dict[str, object]:
    """Return the dates of the parts; empty where the bars contain the usual ones, or have fewer than LEAST sessions.

    Raises ValueError where the bars cannot be read.
    """
    first, last = dates(file, symbols)
    if first <= USUAL_SPLITS.train.first and USUAL_SPLITS.test.last <= last:
        return {}
    days = [day for ns in sessions(file, symbols) if first <= (day := day_of(ns)) <= last][LOOKBACK + 1 :]
    if len(days) < LEAST:
        return {}
    chosen, tested = int(len(days) * TRAIN), int(len(days) * (TRAIN + VALIDATION))
    before = timedelta(days=1)
    return {
        "splits.train.first": days[0], "splits.train.last": days[chosen] - before,
        "splits.validation.first": days[chosen], "splits.validation.last": days[tested] - before,
        "splits.test.first": days[tested], "splits.test.last": days[-1],
    }  # fmt: skip
