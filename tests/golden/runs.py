"""The runs whose results are kept in digests.json: backtests of the shipped configurations, and synthetic markets."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.engine import CASES, LIMITS, Case, Shipped, rotating, seconds, three
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.runtime.loop import Shell
from quantd.research.runs.backtest import after_history, drive
from quantd.research.runs.benchmark_runs import benchmark_history
from quantd.risk.limits.catalogue import Tail, override
from tests.support.checkout import ROOT
from tests.support.command_line import quantd

FILE: Final = Path(__file__).parent / "digests.json"

Row = dict[str, str | int]
"""Results of a run: its digest, numbers of orders, of refused and of clipped ones, and the equity at its end."""

SHORT: Final = 400
"""Sessions of a short run of a synthetic market: more than the longest lookback of its limits, a year."""

SHORT_OF_ONE: Final = 4_000
"""The same with one symbol."""

TIGHT: Final = override(
    LIMITS, max_position_weight=0.066, max_herfindahl=0.0525, var=Tail(limit=0.0082), cvar=Tail(limit=0.0105),
    max_volatility=0.0625,
)  # fmt: skip
"""Limits that cut orders in short runs: weight, Herfindahl index, exposure, VaR, expected shortfall, volatility."""

BINDING: Final[dict[str, Case | Shipped]] = {
    "daily, tight limits": Case("", 20, SHORT, rotating, 1, TIGHT),
    "three daily, tight limits": Case("", 20, SHORT, three, 1, TIGHT),
}
"""Cases beside those of `benchmarks/engine.py`, in which few limits bind."""

NOT_RUN: Final[dict[str, str]] = {}
"""Example that has no run here -> reason."""

LONG_EXAMPLES: Final = frozenset({"five-agents"})
"""Examples that take more than 5 CPU seconds."""


class Run(NamedTuple):
    """A run: `make` gets a folder for generated and cached files. `long`: it takes more than some seconds."""

    make: Callable[[Path], Shell]
    long: bool


def backtest(config: Path, folder: Path) -> Shell:
    """The shell after a backtest, as `quantd backtest` drives it. Bars that the example generates are made first."""
    text = config.read_text()
    commands = re.findall(r"^#   quantd (data fetch --synthetic .+)$", text.replace(" \\\n#", ""), re.MULTILINE)
    for command in commands:
        (folder / "state").mkdir(exist_ok=True)
        process = quantd(folder, *shlex.split(command))
        assert process.returncode == 0, process.stderr
        (folder / "examples").mkdir(exist_ok=True)
        config = Path(shutil.copy(config, folder / "examples"))
    settings = read(config, ())
    cache = folder / "cache"
    assembly = after_history(
        lambda history: assemble(settings, cache=cache, history=history), benchmark_history(settings)
    )
    shell, _ = drive(assembly, settings, "golden", None, None, lambda share: None)
    return shell


def synthetic(case: Case | Shipped, sessions: int, folder: Path) -> Shell:
    """The shell after a case of `benchmarks/engine.py` over so many sessions."""
    return seconds(case, sessions)[1]


def runs() -> dict[str, Run]:
    """Every run by name."""
    runs_by_name = {"backtest config.toml": Run(partial(backtest, ROOT / "config.toml"), long=False)}
    for path in sorted((ROOT / "examples").glob("*.toml")):
        if path.stem not in NOT_RUN:
            runs_by_name[f"backtest examples/{path.name}"] = Run(partial(backtest, path), path.stem in LONG_EXAMPLES)
    for name, case in (CASES | BINDING).items():
        for sessions in sorted({SHORT_OF_ONE if case.symbols == 1 else SHORT, case.days}):
            run = Run(partial(synthetic, case, sessions), long=sessions > SHORT_OF_ONE)
            runs_by_name[f"engine {name}: {case.symbols} x {sessions:,}"] = run
    return runs_by_name


def row_of(shell: Shell) -> Row:
    """The row of a run that has ended."""
    shell.state.revalue()
    tally = shell.tally
    return {
        "digest": shell.digest.hexdigest(),
        "orders": tally.orders,
        "refused": tally.refused,
        "clipped": tally.clipped,
        "equity_micro": shell.state.equity_micro,
    }


def kept() -> dict[str, Row]:
    """The rows of the file."""
    rows: dict[str, Row] = json.loads(FILE.read_text())
    return rows


def text_of(rows: dict[str, Row]) -> str:
    """The file of these rows: one line each, sorted by name."""
    lines = [f"{json.dumps(name)}: {json.dumps(rows[name])}" for name in sorted(rows)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def difference(name: str, before: Row | None, now: Row) -> str:
    """What differs of one run, as a line; empty for nothing."""
    if before is None:
        return f"{name} is not in {FILE.name}"
    parts = [f"{key} {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]]
    return f"{name}: {', '.join(parts)}" if parts else ""
