"""The commands of `quantd` are the modules with a record; an action's return value is the exit code."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest

from quantd.adapters.calendars import sessions
from quantd.daemon.cli import COLLECT_AFTER
from quantd.daemon.cli.gone_commands import GONE, OPTIONS
from quantd.daemon.cli.program import FIRST, commands, program
from scripts.site.reference.command_line import tree
from tests.support.command_line import Done, environment, quantd, write


def installed_command(folder: Path, module: str, text: str) -> dict[str, str]:
    """The environment of a process in which a package has an entry point `answer` to a module with this source."""
    metadata = folder / "theirs-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[quantd.commands]\nanswer = {module}\n")
    (folder / "theirs.py").write_text(text)
    variables = environment()
    path = [str(folder), *filter(None, [variables.get("PYTHONPATH")])]
    return variables | {"PYTHONPATH": os.pathsep.join(path), "COLUMNS": "120"}


def program_with(variables: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "quantd.daemon.cli", *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)


THEIRS = '''"""Print an answer."""

from typing import Final

from quantd.daemon.cli.command import Command


def answer() -> None:
    print("forty-two")


COMMAND: Final = Command("Look", 999, answer)
'''


@pytest.mark.long
def test_a_command_of_another_package_is_listed_and_runs(tmp_path: Path) -> None:
    variables = installed_command(tmp_path, "theirs", THEIRS)
    listed = program_with(variables, "--help", "--all").stdout
    assert "Print an answer." in listed
    done = program_with(variables, "answer")
    assert (done.returncode, done.stdout) == (0, "forty-two\n")


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("module", "text", "why"),
    [
        ("theirs", '"""Print an answer."""\n', "theirs (quantd.commands): declares no COMMAND;"),
        ("gone", THEIRS, "gone (quantd.commands): ModuleNotFoundError: No module named 'gone';"),
        ("theirs.inner", "raise RuntimeError('broken')\n", "theirs.inner (quantd.commands): RuntimeError: broken;"),
    ],
)
def test_a_command_of_another_package_that_cannot_be_read_is_refused_by_name_and_left_out_of_the_list(
    module: str, text: str, why: str, tmp_path: Path
) -> None:
    variables = installed_command(tmp_path, module, text)
    done = program_with(variables, "answer")
    assert (done.returncode, "Traceback" in done.stderr) == (78, False)
    assert f"{why} repair that package, or uninstall it" in " ".join(done.stderr.split())
    listed = program_with(variables, "--help", "--all")
    assert (listed.returncode, " answer " in listed.stdout) == (0, False)


def test_a_misspelled_command_is_answered_with_the_near_one(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        program(commands(), listed=True)(["statuss"], prog_name="quantd")
    assert ended.value.code == 2
    assert "Did you mean 'status'?" in capsys.readouterr().err


@pytest.mark.requirement("R-009")
def test_help_answers_at_once_and_without_the_libraries_of_trading():
    code = "import sys\nfrom quantd.daemon.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = ('rich', 'numpy', 'aiohttp', 'polars', 'sqlmodel', 'pydantic', 'onnxruntime')\n"
    code += "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.requirement("R-009")
def test_help_with_all_lists_every_command(tmp_path):
    shown = quantd(tmp_path, "--help", "--all").stdout
    assert all(f"\n  {name} " in shown for name in commands())


@pytest.mark.parametrize("words", [("--help",), ()])
def test_help_shows_the_first_commands_in_three_groups_and_names_the_list_of_all(tmp_path, words):
    shown = quantd(tmp_path, *words).stdout
    named = [name for name in commands() if f"\n  {name} " in shown]
    assert (len(named), len(re.findall("^[A-Z][a-z]+:$", shown, re.MULTILINE))) == (12, 3 + 1)  # and the options
    assert sorted(named) == sorted(name for names in FIRST.values() for name in names)
    assert "quantd --help --all" in " ".join(shown.split())


def test_help_prints_the_names_of_tables(tmp_path):
    for words, table in (
        ("agent add", "[portfolios]"),
        ("study costs", "[broker]"),
        ("order buy", "[manual]"),
        ("bench", "[api]"),
    ):
        shown = quantd(tmp_path, *words.split(), "--help").stdout
        assert table in shown
        assert "\\" not in shown


def test_a_command_that_went_is_refused_with_a_command_line_that_exists(tmp_path):
    leaves = tree()
    for words, line in GONE.items():
        assert words not in leaves
        done = quantd(tmp_path, *words.split(), "--help")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"quantd has no command `{words}`: `quantd {line}` does its work" in done.stderr
        name = max((leaf for leaf in leaves if f"{line} ".startswith(f"{leaf} ")), key=len)
        options = {option for parameter in leaves[name].params for option in parameter.opts}
        rest = line.removeprefix(name).split()
        assert {word for word in rest if word.startswith("--")} <= options


def test_an_option_of_other_programs_is_refused_with_what_does_its_work(tmp_path):
    config = tmp_path / "config.toml"
    assert quantd(tmp_path, "init", str(tmp_path)).returncode == 0
    options = {option for parameter in tree()["backtest"].params for option in parameter.opts}
    for word, remedy in OPTIONS.items():
        done = quantd(tmp_path, "backtest", "-c", str(config), word, "x")
        assert (done.returncode, done.stdout, word in options) == (2, "", False)
        assert f"quantd backtest has no option {word}: {remedy}" in done.stderr
        if line := re.search("--set ([^ ]+)", remedy):
            line = line[1].replace("NAME.params.KEY=VALUE", "trend.params.lookback=63")
            assert quantd(tmp_path, "config", "check", "-c", str(config), "--set", line).returncode == 0, line
    assert "No such option: --frm" in quantd(tmp_path, "backtest", "--frm", "x").stderr


def test_an_amount_below_zero_is_no_option_and_names_the_command_that_turns_it(tmp_path):
    for words, remedy in (("order buy -10 SPY", "order sell 10"), ("cash remove -5", "cash add 5")):
        done = quantd(tmp_path, *words.split())
        assert done.returncode == 2
        assert f"is below 0, and amounts have no sign; write quantd {remedy}" in done.stderr
    assert "No such option: -1" not in quantd(tmp_path, "study", "rebalance", "--cost", "-1").stderr
    assert "Traceback" not in quantd(tmp_path, "halt", "--reason", "", "-1").stderr


def test_the_option_of_a_configuration_is_refused_with_the_argument_that_replaces_it(tmp_path):
    assert quantd(tmp_path, "init").returncode == 0
    over = ["--over", "agents.trend.params.lookback=21"]
    for words in (["sweep", "-c", "config.toml", *over], ["sweep", "--config=config.toml", *over], ["walk", "-c", "x"]):
        done = quantd(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"write quantd {words[0]} config.toml" in done.stderr
    assert quantd(tmp_path, "sweep", "config.toml", *over).returncode == 0


def test_an_empty_word_is_refused_and_never_taken_for_all(tmp_path):
    assert quantd(tmp_path, "init").returncode == 0
    for words, named in (
        (("resume", "--agent", "", "--reason", "x"), "--agent ''"), (("orders", "--run="), "--run ''"),
        (("halt", "--symbol", ""), "--symbol ''"),
        (("status", "--state", ""), "--state ''"), (("why", ""), "the word '' after why"),
        (("replay", "--json", "-c", ""), "-c ''"),
    ):  # fmt: skip
        done = quantd(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{named} is empty" in done.stderr
    assert "is empty" not in quantd(tmp_path, "flatten", "--reason", "").stderr


def test_parts_of_one_value_are_joined_by_commas(tmp_path):
    for words, remedy in (
        (("init", "--weights", "AAPL=60", "KO=40"), "--weights AAPL=60,KO=40"),
        (("init", "mine", "--weights", "AAPL=60,", "KO=40"), "--weights AAPL=60,KO=40"),
        (("run", "--set", "a.b=1", "a.c=2"), "--set a.b=1 --set a.c=2"),
        (("init", "--symbols", "AAPL", "KO"), "--symbols AAPL,KO"),
        (("portfolio", "create", "p", "--symbols", "AAPL,", "BRK.B"), "--symbols AAPL,BRK.B"),
    ):
        done = quantd(tmp_path, *words)
        assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
        assert f"; write {remedy}" in done.stderr


def test_an_option_of_one_value_has_one(tmp_path):
    assert quantd(tmp_path, "init").returncode == 0
    for words, two in (
        (("resume", "--agent", "a", "--reason", "x", "--agent", "b"), "--agent has two values, a and b"),
        (("orders", "-n", "3", "--last=5"), "--last has two values, 3 and 5"),
        (("report", "--compare", "a", "b", "--compare", "a", "c"), "--compare has two values, a b and a c"),
        (("token", "create", "x", "--scope", "read", "--scope", "admin"), "--scope has two values, read and admin"),
    ):
        done = quantd(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{two}; write one of them" in done.stderr
    for words in (("halt", "--reason", "a", "--reason", "b"), ("orders", "--run", "x", "--run", "x"),
                  ("orders", "--run", "--symbol", "--symbol", "SPY")):  # fmt: skip
        assert "two values" not in quantd(tmp_path, *words).stderr


LOADS = """
import gc, sys
from quantd.daemon.cli import main

for line in sys.argv[1].splitlines():
    words, _, rare = line.partition(": ")
    try:
        main(words.split())
    except SystemExit as end:
        print("loaded:", words, end.code, *(n for n in rare.split() if n in sys.modules), file=sys.stderr)
print("loaded: collects after", gc.get_threshold()[0], file=sys.stderr)
"""
"""Runs commands one after the other in one process; after each, which of the modules behind its colon it has loaded."""

VENDORS = "yfinance curl_cffi ccxt aiosmtplib pandas exchange_calendars"
LEARNING = "torch onnxruntime cryptography scipy"
RARE = f"{LEARNING} {VENDORS}"
SERVER = "aiohttp aiomqtt amqtt prometheus_client quantd.daemon.app quantd.server.api.server quantd.daemon.live"
STORE = "sqlalchemy sqlmodel alembic"
DIALECT = "sqlalchemy.dialects.postgresql"
ENGINE = "quantd.daemon.engine quantd.daemon.assembly.parts quantd.research.runs"
BESIDE_A_RUN = (
    "quantd.research.reports quantd.research.attribution quantd.research.metrics quantd.research.outside.asking "
    "quantd.adapters.bus quantd.adapters.sinks.email quantd.adapters.sinks.http_post quantd.adapters.pace "
    "quantd.adapters.feeds.sources.alpaca quantd.adapters.feeds.sources.http_client quantd.adapters.brokers.alpaca "
    "quantd.adapters.brokers.ccxt quantd.adapters.exchange quantd.adapters.store.handle "
    "quantd.models.forests.allocation quantd.daemon.recovery.replay"
)
"""What a backtest without a report, a journal, outside agents and learned allocations has no use for."""


def loaded(folder: Path, lines: Iterable[str]) -> list[str]:
    """Each command with its exit code and the modules that it should not have loaded."""
    write(folder)
    # built here: without it a command loads the library of calendars
    sessions("XNYS", date(2017, 1, 1), date(2022, 12, 31), cache=folder / "state" / "cache")
    line = [sys.executable, "-c", LOADS, "\n".join(lines)]
    run = subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True, check=True)
    *entries, last = [
        output_line.removeprefix("loaded: ")
        for output_line in run.stderr.splitlines()
        if output_line.startswith("loaded: ")
    ]
    assert last == f"collects after {COLLECT_AFTER}"
    return entries


@pytest.mark.long
def test_a_command_loads_the_libraries_that_its_configuration_needs_and_no_others(tmp_path: Path) -> None:
    never = f"{RARE} {SERVER} {STORE} structlog"
    entries = loaded(
        tmp_path,
        [
            f"--version: {never} numpy polars {ENGINE}",
            f"features list: {never} polars {ENGINE}",
            f"schedule list --next 10 --after 2020-01-03: {never} polars {ENGINE}",
            f"config check: {never} quantd.research.runs",
            f"backtest --json --no-compare: {never} {BESIDE_A_RUN}",
            f"backtest --json --no-compare --journal: {RARE} {SERVER} structlog {DIALECT}",
            f"why QQQ --json --state state/backtests: {LEARNING} {SERVER} structlog {DIALECT}",
            f"report --export fills --state state/backtests: {LEARNING} {SERVER} structlog {DIALECT}",
        ],
    )
    assert entries == [
        "--version 0", "features list 0", "schedule list --next 10 --after 2020-01-03 0", "config check 0",
        "backtest --json --no-compare 0", "backtest --json --no-compare --journal 0",
        "why QQQ --json --state state/backtests 0", "report --export fills --state state/backtests 0",
    ]  # fmt: skip


@pytest.mark.long
def test_the_help_of_a_command_loads_neither_the_engine_nor_the_store_nor_a_server(tmp_path: Path) -> None:
    never = f"{RARE} {SERVER} {STORE} structlog {ENGINE} polars quantd.daemon.config"
    names = sorted(commands())
    lines = [f"{name} --help: {never}" for name in names]
    assert loaded(tmp_path, lines) == [f"{name} --help 0" for name in names]


@pytest.mark.long
def test_the_status_of_a_stopped_run_loads_no_library_and_its_orders_no_market(tmp_path: Path) -> None:
    entries = loaded(tmp_path, [f"backtest --json --no-compare --journal: {RARE}"])
    run = "--state state/backtests"
    lines = [f"status {run}: {RARE} {SERVER} {STORE} {ENGINE} numpy polars"]
    entries += loaded(tmp_path, [*lines, f"orders {run}: {RARE} {SERVER} polars quantd.daemon.assembly.parts"])
    assert entries == ["backtest --json --no-compare --journal 0", f"status {run} 0", f"orders {run} 0"]


@pytest.mark.long
def test_a_run_loads_no_library_of_models_vendors_or_certificates(tmp_path: Path) -> None:
    lines = [f"why QQQ: {RARE} {SERVER} structlog polars {ENGINE}", f"run --quiet: {RARE} alembic"]
    assert loaded(tmp_path, lines) == ["why QQQ 1", "run --quiet 0"]  # there is no store before the run


def path_arguments(value: str) -> Iterator[tuple[str, ...]]:
    """Each command of the table, once for each of its arguments and options that are a path, with `value` there."""
    for name, command in tree().items():
        parameters: list[Any] = [one for one in command.params if one.name != "help"]
        for parameter in parameters:
            if "Path" not in type(parameter.type).__name__:
                continue
            words = [*name.split(), *parameter.opts[: parameter.param_type_name == "option"], value]
            for other in parameters:
                if other.required and other is not parameter:
                    words += [*other.opts[: other.param_type_name == "option"], "X"]
            yield tuple(words)


def within(seconds: int, folder: Path, words: tuple[str, ...]) -> Done:
    """A command that may wait so long."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(seconds)
    try:
        return quantd(folder, *words)
    finally:
        signal.alarm(0)


@pytest.mark.one_of(3)
@pytest.mark.long
@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "socket", "device", "link to a device", "link to itself"])
def test_a_path_that_is_no_file_ends_every_command_with_a_sentence(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing = tmp_path / "thing"
    if "pipe" in kind:
        os.mkfifo(tmp_path / "pipe")
        thing.symlink_to(tmp_path / "pipe")
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # the name of a socket is at most 107 bytes long
        socket.socket(socket.AF_UNIX).bind("thing")
    else:
        thing.symlink_to(thing if kind == "link to itself" else "/dev/zero")
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero")}.get(kind, thing)
    cases = list(path_arguments(str(path)))
    assert len(cases) > 150
    wrong = []
    for words in cases:
        done = within(5, tmp_path, words)
        if done.returncode != 2 or not done.stderr.startswith(f"{path} is a ") or "; " not in done.stderr:
            wrong.append((words, done))
    assert not wrong


POLICY_ARGUMENTS: Final = (
    "backtest mine.py:act", "run mine.py:act", "study compare mine.py:act equal_weight", "study lookahead mine.py",
    "study signal mine.py:act", "backtest --set agents.even.policy=mine.py:act", "backtest --set broker.costs=mine.py",
    "config check --set feed.path=mine.py", "backtest --set feed.actions=mine.py",
    "backtest --set feed.exceptions=mine.py", "backtest --set universe.members=mine.py",
)  # fmt: skip
"""Commands that find a path in the text of a policy or of a setting."""


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("words", POLICY_ARGUMENTS)
def test_a_pipe_in_place_of_a_file_of_a_policy_or_a_setting_is_named(tmp_path: Path, words: str) -> None:
    write(tmp_path)
    os.mkfifo(tmp_path / "mine.py")
    done = within(5, tmp_path, tuple(words.split()))
    assert done.returncode in (2, 78)
    assert re.search(r"mine.py.*(not a regular file|no such file)", done.stderr)
