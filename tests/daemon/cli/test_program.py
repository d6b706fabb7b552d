"""The commands of `quantd` are the modules with a record; an action's return value is the exit code."""

import pytest

from quantd.daemon.cli.command import Command
from quantd.daemon.cli.program import commands, program


def exit_code(command: Command, monkeypatch: pytest.MonkeyPatch) -> object:
    from quantd.daemon.cli.look import status

    monkeypatch.setattr(status, "COMMAND", command)
    with pytest.raises(SystemExit) as ended:
        program({"status": status.__name__})(["status"], prog_name="quantd")
    return ended.value.code


def test_a_module_without_a_record_is_no_command() -> None:
    found = commands()
    assert found["halt"] == "quantd.daemon.cli.operate.halt"
    assert {"remote", "switch", "vendors", "doctor-live", "backtest-run"}.isdisjoint(found)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (78, 78)])
def test_the_return_value_of_an_action_is_the_exit_code(returned, code, monkeypatch) -> None:
    assert exit_code(Command(lambda: returned, "Look"), monkeypatch) == code


def test_a_misspelled_command_is_answered_with_the_near_one(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        program(commands(), listed=True)(["statuss"], prog_name="quantd")
    assert ended.value.code == 2
    assert "Did you mean 'status'?" in capsys.readouterr().err
