"""Settings that follow from the user's file of bars, where neither the plan nor an option sets them.

The settings are the actions file beside the bars, all symbols of the bars, and the dates of training, validation and
test parts where the default dates lie outside the bars. This module imports no torch.

What can go wrong. Bundled symbols, actions or dates would be used for a file that has other ones, and a stock split of
a bundled share would apply to another share of the same name. So symbols, actions and dates follow from the file. A
setting of the user would be replaced: so every setting of the plan or of an option stays.
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

LEAST_SESSIONS: Final = 60
"""Minimum of sessions after the lookback for splits to be made; with fewer, the check of the plan names the lack."""


def beside(bars: Path) -> str:
    """Return the path of the actions file beside `bars`; empty for none.

    The name of this file is BARS.actions.csv, or X_actions.csv for bars named X_daily.
    """
    names = (f"{bars.stem}.actions.csv", f"{bars.stem.removesuffix('_daily')}_actions.csv")
    return next((str(bars.with_name(name)) for name in names if bars.with_name(name).is_file()), "")


def usual(bars: Path, table: Table) -> dict[str, object]:
    """Return the settings that follow from a file of bars, by dotted key; `table` is the plan with its options.

    The result is empty for the file that plans use by default, and for a missing file. For a file that cannot be read
    it has what was found before the fault, which the check of the plan reports.
    """
    file, data = find(bars), table.get("data", {})
    if not file.is_file() or str(bars) == DataPlan().bars or not isinstance(data, Mapping):
        return {}
    keys: dict[str, object] = {} if "actions" in data else {"data.actions": beside(file)}
    try:
        symbols = list(data["symbols"]) if "symbols" in data else symbols_of(file)
        keys |= {} if "symbols" in data else {"data.symbols": symbols}
        return keys if "splits" in table else keys | _splits(file, symbols)
    except (ValueError, TypeError):
        return keys


def _splits(file: Path, symbols: list[str]) -> dict[str, object]:
    """Return dates of the training, validation and test part that suit the bars, by dotted key.

    The result is empty where the bars contain the default parts, or have fewer than LEAST_SESSIONS sessions after the
    lookback.

    Raises ValueError where the bars cannot be read.
    """
    first, last = dates(file, symbols)
    if first <= USUAL_SPLITS.train.first and USUAL_SPLITS.test.last <= last:
        return {}
    # the first sessions only fill lookbacks
    days = [day for ns in sessions(file, symbols) if first <= (day := day_of(ns)) <= last][LOOKBACK + 1 :]
    if len(days) < LEAST_SESSIONS:
        return {}
    validation_start, test_start = int(len(days) * TRAIN), int(len(days) * (TRAIN + VALIDATION))
    one_day = timedelta(days=1)
    return {
        "splits.train.first": days[0], "splits.train.last": days[validation_start] - one_day,
        "splits.validation.first": days[validation_start], "splits.validation.last": days[test_start] - one_day,
        "splits.test.first": days[test_start], "splits.test.last": days[-1],
    }  # fmt: skip
