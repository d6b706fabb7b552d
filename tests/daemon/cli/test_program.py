"""The commands of `quantd` are the modules with a record; an action's return value is the exit code."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from quantd.daemon.cli.command import Command
from quantd.daemon.cli.look import status
from quantd.daemon.cli.program import commands, program
from tests.support.command_line import environment, quantd


def exit_code(command: Command, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(status, "COMMAND", command)
    with pytest.raises(SystemExit) as ended:
        program({"status": commands()["status"]})(["status"], prog_name="quantd")
    return ended.value.code


def test_a_module_without_a_record_is_no_command() -> None:
    found = commands()
    halt = found["halt"]
    assert (halt.module, halt.panel, halt.order) == ("quantd.daemon.cli.operate.halt", "Operate", 10)
    assert halt.help.startswith("Stop all trading")
    assert {"remote", "switch", "vendors", "doctor-live", "backtest-run"}.isdisjoint(found)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (78, 78)])
def test_the_return_value_of_an_action_is_the_exit_code(returned, code, monkeypatch) -> None:
    assert exit_code(Command("Look", 10, lambda: returned), monkeypatch) == code


def test_a_misspelled_command_is_answered_with_the_near_one(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        program(commands(), listed=True)(["statuss"], prog_name="quantd")
    assert ended.value.code == 2
    assert "Did you mean 'status'?" in capsys.readouterr().err


def test_what_the_list_reads_from_the_source_is_what_the_module_declares() -> None:
    for entry in commands().values():
        module = import_module(entry.module)
        assert (entry.panel, entry.order) == (module.COMMAND.panel, module.COMMAND.order)
        assert entry.help == module.__doc__


@pytest.mark.requirement("R-009")
def test_help_answers_at_once_and_without_the_libraries_of_trading():
    code = "import sys\nfrom quantd.daemon.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = ('numpy', 'aiohttp', 'polars', 'sqlmodel', 'pydantic', 'msgspec', 'onnxruntime')\n"
    code += "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "backtest" in done.stdout


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("study", "costs"), "[broker]"), (("order", "buy"), "[manual]"), (("bench", "api"), "[api]"),
        (("store", "compact"), "[store]"),
    ],
)  # fmt: skip
def test_the_name_of_a_table_of_the_configuration_is_shown_in_help(
    tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    assert name in quantd(tmp_path, *words, "--help").stdout
