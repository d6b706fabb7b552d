"""Commands that backtest and study policies."""

from typing import Final

HELPERS: Final = (
    "backtest_report",
    "crises_output",
    "outside_run",
    "policy_answers",
    "power_output",
    "preset_output",
    "shared_options",
    "signal_output",
)
"""Modules of this package that are no command."""
