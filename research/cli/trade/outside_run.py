"""The outside agents of a backtest: their configuration, and the run that asks them.

With --rename the market is run twice: under the true names of symbols and dates, and under other names.
"""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import progress
from quantd.trading.exit_codes import USAGE

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.config import Config
    from quantd.daemon.runtime.loop import Shell
    from quantd.research.outside.asking import Questioned
    from quantd.research.runs.backtest import BacktestJournal
    from quantd.research.runs.run_record import Record


def configured(
    file: Path, sets: list[str] | None, start: date | None, end: date | None, *, options: bool
) -> tuple["Config", tuple[str, ...]]:
    """Return (the configuration in which outside agents are asked, its overrides KEY=VALUE).

    Raises Failure for `options` about outside agents (--rename, --most-questions) without such an agent.
    """
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.config.overrides import between
    from quantd.research.outside.outside_agents import NO_OUTSIDE_AGENT, overrides

    settings = between(sets, start, end)
    configuration = read(file, settings)
    if asking_settings := overrides(configuration):  # empty without an outside agent
        settings = (*settings, *asking_settings)
        return read(file, settings), settings
    if options:
        raise Failure(f"--rename and --most-questions {NO_OUTSIDE_AGENT}", USAGE)
    return configuration, settings


def asked_drive(
    assembly: "Assembly",
    run: str,
    record: "Record",
    saved: "BacktestJournal | None",
    folder: Path,
    most: int | None,
    *,
    rename: bool,
) -> tuple[tuple["Shell", float], "Questioned | None"]:
    """Run the market, and return ((shell with engine and venue, duration in seconds), counts of questions and verdicts
    on the outside agents).

    Without outside agents there are no counts. `most` is the largest number of questions (None: any). With `rename` the
    market is run again under other symbols and dates; the steps of the first run go to `record` and `saved`, and the
    second run is not recorded.
    """
    from quantd.research.runs.backtest import drive
    from quantd.strategies.policies.holding import OutsidePolicy
    from quantd.trading.ports import leaves

    def run_true_names() -> "tuple[Shell, float]":
        with progress("backtest") as advance:
            return drive(assembly, assembly.config, run, record, saved, advance)

    # an `OutsidePolicy` is a policy that puts its question to an outside agent
    if not any(isinstance(leaf, OutsidePolicy) for policy in assembly.policies for leaf in leaves(policy)):
        return run_true_names(), None
    from quantd.research.outside.asking import asked_run

    def run_other_names() -> None:
        with progress("other names") as advance:
            drive(assembly, assembly.config, run, None, None, advance)  # no record and no journal

    return asked_run(assembly, folder, most, run_true_names, run_other_names if rename else None, record)
