"""Runs of a study, each with a progress bar that has its name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantd.daemon.cli.output import progress

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.runtime.loop import Shell
    from quantd.daemon.runtime.step_log import Log
    from quantd.research.runs.comparison import Drive


def drives(*, shown: bool) -> "Callable[[str], Drive]":
    """Return the function that gives the drive of a run by its name; without `shown` no bar is printed."""

    def drive_of(name: str) -> "Drive":
        def run(assembly: "Assembly", log: "Log") -> "Shell":
            from quantd.research.runs.backtest import drive

            with progress(name, shown=shown) as advance:
                # "study" names the run; None: no journal is stored
                return drive(assembly, assembly.config, "study", log, None, advance)[0]

        return run

    return drive_of
