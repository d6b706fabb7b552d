from quantd.daemon.cli.failures import Failure, explained
from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER, ExplainedError


class NoLine(ExplainedError):
    exit_code = TRY_LATER


def test_a_failure_carries_its_exit_code_to_the_command_line():
    assert explained(NoLine("the line is busy")) == ("the line is busy", TRY_LATER)
    assert explained(Failure("wrong", 7)) == ("wrong", 7)
    assert explained(ExplainedError("no")) == ("no", CHECK_FAILED)


def test_in_a_group_the_explained_failure_is_reported():
    group = ExceptionGroup("tasks", [ValueError("a bug"), NoLine("the line is busy")])
    assert explained(group) == ("the line is busy", TRY_LATER)
