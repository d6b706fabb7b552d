"""The checks of `quantd doctor` as a report in Markdown, for the person who approves a start."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from quantd.daemon.runtime.version import code_version
from quantd.server.cli.setup.doctor_checks import Check

MARKS: Final = {True: "passed", False: "FAILED", None: "not checked"}

BY_HAND: Final = (
    "a backup was restored on another machine, and `quantd replay` passed there (docs/operate/store.md)",
    "a person received the test alert, and knows which alerts wake somebody (docs/operate/alerts.md)",
    "`quantd emergency` was tried against the venue's sandbox or with `--dry-run` (docs/operate/emergency.md)",
    "`quantd replay --against backtest` explains how the paper run differs from its backtest (docs/trade/execution.md)",
    "a second person has read the caps of [live] and this report",
)
"""The conditions of a start with money that no command can check."""


def readiness(checks: Sequence[Check], name: str, mode: str, live: bool, now: datetime | None = None) -> str:
    """The report on a daemon `name`. With `live`, `checks` has the checks of a live start; `now` is the time in UTC."""
    failed = [check.name for check in checks if check.ok is False]
    state = "not ready" if failed else "ready" if live else "in order"
    lines = [
        f"# Readiness of quantd {_cell(name)}: {state}",
        "",
        f"- Time: {(now or datetime.now(UTC)):%Y-%m-%d %H:%M:%S} UTC",
        f"- Version: {code_version()}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"- Mode: {mode}",
        f"- Failed: {', '.join(dict.fromkeys(failed)) or 'none'} ({len(failed)} of {len(checks)} checks)",
        *([] if live else ["- The checks of a live start were not made: `quantd doctor --live --report`"]),
        "",
        "| check | result | finding |",
        "|---|---|---|",
        *(f"| {_cell(check.name)} | {MARKS[check.ok]} | {_cell(check.text)} |" for check in checks),
        "",
        "## To be confirmed by a person",
        "",
        *(f"- [ ] {confirmation}" for confirmation in BY_HAND),
        "",
        "Confirmed by: ____________________  on: ____________",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """The text on one line, with | escaped, for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
