"""Runs of a study, each with a progress bar that has its name."""

from typing import TYPE_CHECKING

from quantd.daemon.cli.output import progress

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.runtime.loop import Shell
    from quantd.daemon.runtime.step_log import Log
    from quantd.research.runs.comparison import Drive


def drive_of(name: str) -> "Drive":
    """Return the drive of the run `name` of a study."""

    def run(assembly: "Assembly", log: "Log") -> "Shell":
        from quantd.research.runs.backtest import drive

        with progress(name) as advance:
            # "study" names the run; None: no journal is stored
            return drive(assembly, assembly.config, "study", log, None, advance)[0]

    return run
