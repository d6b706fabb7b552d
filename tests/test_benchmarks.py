"""`make bench`: every part that it times is there, and has a budget."""

import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.engine import CASES
from benchmarks.multi_agent import CLAIMED_EFFICIENCY, COLUMNS, NAMES, efficiencies, written
from benchmarks.parts.__main__ import SESSIONS, SHARES, gates, resolved
from benchmarks.parts.budgets import BUDGETS, INTERPRETED
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.runtime.timeline import time_of
from quantd.engine_build.recipe import UNCOMPILED
from quantd.trading.events import Action
from quantd.trading.market import MarketSlice
from scripts.site.pages import pages
from tests.recorded_runs import processor
from tests.support.checkout import ROOT
from tests.support.command_line import environment

PROGRAM = re.compile(r"python (?:-m ((?:benchmarks|tests|scripts|quantd)(?:\.\w+)*)|((?:scripts)/[\w/]+\.py))")
TARGET = re.compile(r"(?:^    |`)make ([a-z][a-z-]+)", re.MULTILINE)
TINY = {"benchmarks.engine": ["--sessions", "30"]}
"""Program -> the words of a form of it that ends in seconds."""

TEXT = {"capture_output": True, "text": True}

START = """
import contextlib, importlib.util, io, json, pathlib, runpy, sys, traceback
for program, words in json.loads(sys.stdin.read()).items():
    try:
        spec = None if "/" in program else importlib.util.find_spec(program)
        if spec and spec.submodule_search_locations:
            spec = importlib.util.find_spec(program + ".__main__")
        source = pathlib.Path(spec.origin if spec else program).read_text()
        # a program without a parser would take --help for its work
        name = "__main__" if "ArgumentParser" in source else "imported"
        sys.argv = [program, *words]
        with contextlib.redirect_stdout(io.StringIO()):
            if spec:
                runpy.run_module(program, run_name=name, alter_sys=True)
            else:
                sys.path.insert(0, str(pathlib.Path(program).parent))
                runpy.run_path(program, run_name=name)
    except SystemExit as end:
        if end.code:
            print(program, end.code)
    except BaseException:
        print(program, traceback.format_exc().splitlines()[-1])
"""


def test_every_timed_function_is_there():
    for paths in SHARES.values():
        assert all(callable(resolved(path)[1]) for path in paths)


def test_every_part_has_a_budget_and_every_budget_a_part():
    gate_names = []
    assert list(gates(gate_names.append)) == []
    assert set(BUDGETS) - {*SESSIONS, *gate_names, *(f"daily: {name}" for name in SHARES)} == set()
    assert set(SESSIONS) <= set(BUDGETS)
    parts = {f"daily: {name}" for name in SHARES}
    assert parts <= {*BUDGETS, *INTERPRETED}
    assert set(INTERPRETED) <= {*SESSIONS, *parts, *gate_names}
    assert {part for part in BUDGETS if part.startswith("gate")} == {part for part in INTERPRETED if part in gate_names}
    assert {case for case, _ in SESSIONS.values()} == set(CASES)


def test_the_default_profiles_have_the_rules_of_the_shipped_configuration_on_its_bars_and_dividends():
    world = CASES["default profiles"].world(300)
    shipped = assemble(read(ROOT / "config.toml"))
    assert world.shell.state.rules == shipped.rules
    assert [type(policy).__module__.split(".")[1] for policy in world.policies] == ["strategies"] * 3
    items = [item for item in shipped.items() if time_of(item) <= time_of(world.items[-1])]
    kinds = Counter(type(item) for item in world.items)
    assert kinds == Counter(type(item) for item in items)
    assert (kinds[MarketSlice], kinds[Action] > 0) == (300, True)
    limits = [agent.limits for agent in shipped.rules.agents]
    assert all(
        agent_limits.protective and agent_limits.protective.cooldown and agent_limits.max_share_of_volume
        for agent_limits in limits
    )
    assert all(agent_limits.max_realised_volatility for agent_limits in limits)


@pytest.mark.requirement("F-06")
def test_the_efficiency_of_a_profile_is_its_ratio_over_the_seconds_of_an_episode():
    rows = {"full": {"seconds": 4.0}, "lite": {"seconds": 0.5}, "transformer": {"seconds": 8.0}}
    # a profile without an artifact has no ratio
    assert efficiencies(rows, {"full": (0.4, 0.5, 3), "lite": (0.6, 0.5, 5)}) == {"full": 0.1, "lite": 1.2}
    assert set(CLAIMED_EFFICIENCY) == set(NAMES)


@pytest.mark.requirement("R-249")
def test_the_table_of_profiles_is_written_as_csv_as_markdown_and_as_a_page_of_bars(tmp_path: Path):
    pytest.importorskip("plotly")
    measurements = {
        "full": {"seconds": 4.0, "peak": 300.5, "mean": 250.0},
        "lite": {"seconds": 0.5, "peak": 200.0, "mean": 180.0},
    }
    table, text, page = written(tmp_path / "new", measurements, {"full": None, "lite": (0.6, 0.5, 5)})
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [["profile", *COLUMNS]] * 2
    assert list(rows[0].values()) == ["full", "4.0", "300.5", "250.0", "", ""]
    assert list(rows[1].values()) == ["lite", "0.5", "200.0", "180.0", "0.6", "1.2"]
    assert text.read_text(encoding="utf-8").splitlines()[2:] == [
        "| full | 4 | 300.5 | 250 |  |  |",
        "| lite | 0.5 | 200 | 180 | 0.6 | 1.2 |",
    ]
    html = page.read_text(encoding="utf-8")
    assert all(title in html for title in COLUMNS.values())


@pytest.mark.slow
def test_each_program_and_each_target_that_a_page_names_starts():
    of_their_day = ("CHANGELOG.md", "docs/decisions/", "docs/release/")
    texts = [page.text for page in pages() if not page.path.startswith(of_their_day)]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    programs = {match[1] or match[2] for text in (*texts, makefile) for match in PROGRAM.finditer(text)}
    assert len(programs) > 40
    # in one process, since each imports much the same
    words = {program: TINY.get(program, ["--help"]) for program in sorted(programs)}
    command = [sys.executable, "-W", "ignore", "-c", START]
    # some programs start again where these are not set
    variables = environment() | processor.SETTING | {UNCOMPILED: "1"}
    process = subprocess.run(command, input=json.dumps(words), cwd=ROOT, env=variables, **TEXT)
    assert (process.returncode, process.stdout) == (0, ""), process.stderr
    targets = sorted({match[1] for text in texts for match in TARGET.finditer(text)} - {"sure"})
    assert len(targets) > 20
    variables = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    make = ["make", "-n", "-o", ".venv/.full", "-o", ".venv/.core", *targets]
    process = subprocess.run(make, cwd=ROOT, env=variables, **TEXT)
    assert process.returncode == 0, process.stderr
