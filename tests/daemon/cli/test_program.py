"""The commands of `quantd` are the modules with a record; an action's return value is the exit code."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from quantd.daemon.cli.command import Command
from quantd.daemon.cli.look import status
from quantd.daemon.cli.program import commands, program
from tests.support.checkout import DATA
from tests.support.command_line import environment, quantd

SCHEDULED = f"""
[universe]
symbols = ["SPY"]
[feed]
path = "{DATA / "us_daily.parquet"}"
stamps = "session"
start = 2020-01-02
[broker]
cash = "1000.00"
[[agents]]
name = "all"
policy = "equal_weight"
capital = 1.0
[[schedules]]
name = "open"
at = "open+30m"
do = "rebalance"
"""


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
    ("words", "code"),
    [("features list --count", 0), ("schedule next --after 2020-01-03", 0), ("why QQQ", 1)],
)
def test_a_small_command_loads_neither_the_engine_nor_the_store(tmp_path: Path, words: str, code: int) -> None:
    (tmp_path / "config.toml").write_text(SCHEDULED)
    heavy = ("torch", "polars", "aiohttp", "sqlmodel", "onnxruntime", "cryptography", "aiomqtt", "quantd.daemon.engine",
             "quantd.daemon.assembly.parts")  # fmt: skip
    if words.startswith("why"):  # it looks for a store, and there is none
        heavy = tuple(name for name in heavy if name != "sqlmodel")
    program = "import sys\nfrom quantd.daemon.cli import main\ntry: main(sys.argv[1:])\n"
    program += f"except SystemExit as end: print(end.code, [n for n in {heavy} if n in sys.modules], file=sys.stderr)"
    line = [sys.executable, "-c", program, *words.split()]
    run = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert run.stderr.splitlines()[-1] == f"{code} []", run.stderr


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
