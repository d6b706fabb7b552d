import signal
from contextlib import suppress

import pytest

from quantd.daemon.cli.failures import explained, guarded
from quantd.daemon.cli.output import progress
from quantd.trading.exit_codes import INTERRUPTED, TRY_LATER, ExplainedError


class NoLine(ExplainedError):
    exit_code = TRY_LATER


def test_in_a_group_the_explained_failure_is_reported():
    group = ExceptionGroup("tasks", [ValueError("a bug"), NoLine("the line is busy")])
    assert explained(group) == ("the line is busy", TRY_LATER)


@pytest.mark.parametrize("before", [True, False])
def test_a_ctrl_c_whose_exception_is_dropped_ends_the_command_at_its_next_step(before, capsys):
    """As the import of a compiled package may drop it."""
    done = []

    def drop():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def command():
        if before:
            drop()
        with progress("backtest") as bar:
            done.append("begun")
            drop()
            bar(0.5)
            done.append("half")

    assert guarded(command) == INTERRUPTED
    assert done == ([] if before else ["begun"])
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
