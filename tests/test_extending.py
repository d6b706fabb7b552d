"""The recipes of docs/develop/extending.md, carried out in a copy of the repository.

Each thing works, and the tests that look at its kind are green.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.checkout import ROOT, copy_package, environment
from tests.support.recipes import PAGE, blocks_of, complete, copy_repository, run_python, section_of


def nothing(root: Path) -> None:
    pass


class Recipe(NamedTuple):
    """One recipe: the heading of its section, the files that its Python blocks are, in their order, and the tests that
    look at its kind. `change` does what the section says in words. `scripts` are the lines that it tells to run."""

    section: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    change: Callable[[Path], None] = nothing
    scripts: tuple[str, ...] = ()

    def carry_out(self, root: Path) -> None:
        for file, block in zip(self.files, blocks_of(self.section), strict=True):
            (root / file).write_text(block, encoding="utf-8")


def add_reference(root: Path) -> None:
    """The row of REFERENCES for the page's metric."""
    (row,) = re.findall(r'^    "median_return": .*$', section_of("A metric"), re.MULTILINE)
    file = root / "tests/support/metric_references.py"
    text = file.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith("REFERENCES: "))
    file.write_text(text.replace(first, f"{first}\n{row}"), encoding="utf-8")


LIMITS = "tests/risk/limits/"
METRICS = "tests/research/metrics/test_catalogue.py"
RECIPES = (
    Recipe("A learner", ("training/learners/reinforce.py",), ("tests/training/learners/test_record.py",)),
    Recipe(
        "A policy",
        ("strategies/policies/lowest_volatility.py",),
        (
            "tests/strategies/policies/test_policies.py",
            "tests/strategies/policies/test_record.py",
            "tests/test_strategies_page.py",
        ),
    ),
    Recipe(
        "A command",
        ("server/cli/look/halted.py",),
        ("tests/daemon/cli/test_program.py::test_help_with_all_lists_every_command",),
    ),
    Recipe("A feed", ("adapters/feeds/sources/sawtooth.py",), ("tests/adapters/test_plugins.py",)),
    Recipe("A broker", ("adapters/brokers/offline.py",), ("tests/adapters/test_plugins.py",)),
    Recipe("An alert sink", ("adapters/sinks/lines.py",), ("tests/adapters/test_plugins.py",)),
    Recipe(
        "A limit",
        ("risk/limits/price_ceiling.py", "risk/limits/long_exposure.py"),
        (
            *(f"{LIMITS}test_{name}.py" for name in ("catalogue", "ruleset")),
            "tests/risk/pretrade/test_failing_limit.py",
            "tests/daemon/config/test_keys.py",
            "tests/daemon/config/test_mutations.py",
            "tests/daemon/views/test_limit_rows.py",
        ),
        scripts=("python scripts/limits_page.py docs/risk/limits.md",),
    ),
    Recipe(
        "A metric",
        ("research/metrics/median_return.py",),
        tuple(
            f"{METRICS}::test_{name}"
            for name in (
                "names_and_titles_are_unique_and_every_field_is_filled",
                "the_metrics_of_a_module_stand_together_in_the_order_of_its_source",
                "every_metric_has_a_reference",
                "every_metric_varies_with_its_input",
            )
        ),
        add_reference,
    ),
    Recipe(
        "A report section",
        ("research/reports/sections/worst_months.py",),
        ("tests/research/reports/test_report_page.py",),
        scripts=("python scripts/sections_page.py docs/research/reports.md",),
    ),
    Recipe(
        "A section of the risk report",
        ("daemon/views/report/sections/agents_by_drawdown.py",),
        ("tests/daemon/views/report/test_page.py",),
    ),
)
ALL = (
    "tests/test_structure.py",
    "tests/test_documents.py",
    "tests/test_ground.py::test_every_imported_package_is_declared",
    "tests/test_ground.py::test_only_training_imports_torch_and_policies_run_without_it",
)
"""Tests that look at every file."""

QUICK = "not long and not slow"


def quantd(root: Path, *words: str, folder: Path) -> str:
    """The standard output of a command of the copied package."""
    process = run_python(root, "-m", "quantd.daemon.cli", *words, folder=folder)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package in which each recipe is carried out."""
    root = copy_package(tmp_path_factory.mktemp("extended"))
    for recipe in RECIPES:
        recipe.carry_out(root)
    return root


def test_every_section_of_the_page_with_a_file_is_tried() -> None:
    """An event has its own copy below, because it also changes a file; an effect shows no code.

    tests/test_new_records.py runs the records of the daemon.
    """
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    exceptions = {"An event", "An effect", "A job", "A route", "An edge", "A fold of steps"}
    assert set(headings) == {recipe.section for recipe in RECIPES} | exceptions


def run_script(root: Path, recipe: str, script: str) -> None:
    assert script in " ".join(section_of(recipe).split()), "the page names what the test runs"
    process = run_python(root, *script.split()[1:])
    assert process.returncode == 0, process.stderr


def check_tests(root: Path, marks: str, *tests: str) -> None:
    process = run_python(root, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-m", marks, *tests)
    assert process.returncode == 0, process.stdout[-6000:] + process.stderr


@pytest.fixture(scope="module")
def completed(extended: Path) -> Path:
    """The copy with the rest of the repository, and with what each recipe says in words."""
    complete(extended)
    for recipe in RECIPES:
        recipe.change(extended)
        for script in recipe.scripts:
            run_script(extended, recipe.section, script)
    return extended


@pytest.mark.slow
def test_every_recipe_leaves_the_quick_tests_of_its_kind_green(completed: Path) -> None:
    """One copy has the results of all recipes, and the quick tests of all kinds run in it once."""
    check_tests(completed, QUICK, *dict.fromkeys((*ALL, *(test for recipe in RECIPES for test in recipe.tests))))


@pytest.mark.slow
def test_one_file_adds_a_learner(extended: Path, tmp_path: Path) -> None:
    from tests.support import training as world  # PyTorch

    bars = world.bars(tmp_path)
    assert "reinforce" in quantd(extended, "train", "--help", folder=tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'agent = "reinforce"\nsteps = 400\nevaluate_every = 200\nseeds = [1]\nwarmup_days = 170\n'
        f'[data]\nbars = "{bars}"\nactions = ""\nsymbols = ["AAA", "BBB", "CCC"]\n[splits]\n'
        "train = { first = 2015-07-01, last = 2016-06-30 }\nvalidation = { first = 2016-07-01, last = 2016-12-31 }\n"
        "test = { first = 2017-01-01, last = 2017-06-30 }\n[learner]\nhidden = [8]\n[market.episodes]\nlength = 30\n"
    )
    space = json.loads(quantd(extended, "tune", str(plan), "--show", "--json", folder=tmp_path))
    assert set(space) == {"learner.learning_rate", "learner.gamma"}
    card = quantd(extended, "train", str(plan), "--out", "artifact", "--tracker", "none", folder=tmp_path)
    assert "A policy trained by REINFORCE" in card
    manifest = json.loads(quantd(extended, "models", "list", "artifact", "--json", folder=tmp_path))
    assert manifest["algorithm"] == "reinforce"
    quantd(extended, "models", "verify", "artifact", folder=tmp_path)


@pytest.mark.long
@pytest.mark.requirement("R-116")
def test_one_file_adds_a_policy(extended: Path, tmp_path: Path) -> None:
    config = (
        '[universe]\nsymbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]\n'
        '[feed]\npath = "data/us_daily.parquet"\nactions = "data/us_actions.csv"\nstamps = "session"\n'
        "start = 2020-01-02\nend = 2020-03-31\n"
        '[broker]\ncash = "100000.00"\n[[agents]]\nname = "calm"\ncapital = 1.0\npolicy = "lowest_volatility"\nparams '
        "= { lookback = 20 }\n"
    )
    (tmp_path / "config.toml").write_text(config)
    quantd(extended, "config", "check", folder=tmp_path)
    result = json.loads(quantd(extended, "backtest", "--json", "--no-compare", folder=tmp_path))
    assert result["fills"]

    (tmp_path / "config.toml").write_text(config.replace("lookback", "lokback"))
    process = run_python(extended, "-m", "quantd.daemon.cli", "config", "check", folder=tmp_path)
    assert (process.returncode, "Did you mean lookback?" in process.stdout + process.stderr) == (78, True)


@pytest.mark.long
def test_one_file_adds_a_command(extended: Path, tmp_path: Path) -> None:
    lines = quantd(extended, "--help", "--all", folder=tmp_path).splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("  halted "))
    assert "List the symbols without new orders" in lines[at]
    assert "  status " in lines[at - 1]  # order 15 in the panel Look
    assert "  serve " in lines[at + 1]
    assert "--state" in quantd(extended, "halted", "--help", folder=tmp_path)

    command = ("-m", "quantd.daemon.cli", "halted", "--state", str(tmp_path), "--json")
    process = run_python(extended, *command, folder=tmp_path)
    assert (process.returncode, process.stderr) == (1, "")
    assert json.loads(process.stdout) == {"running": False, "halted": {}}


@pytest.mark.slow
def test_one_file_adds_a_metric_and_one_a_section_to_a_report(extended: Path, tmp_path: Path) -> None:
    config = (
        '[universe]\nsymbols = ["SPY", "QQQ"]\n[feed]\npath = "data/us_daily.parquet"\nstamps = "session"\n'
        'start = 2020-01-02\nend = 2020-08-31\nactions = "data/us_actions.csv"\n[broker]\ncash = "100000.00"\n'
        '[[agents]]\nname = "even"\ncapital = 1.0\npolicy = "equal_weight"\n[study]\ngoals = { median_return = 0.1 }\n'
    )
    (tmp_path / "config.toml").write_text(config)
    quantd(extended, "backtest", "--report", "page.html", "--json", folder=tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "median_return: median(r) (Tukey 1977)" in page
    assert re.search(r'data-figure="goals.0.measured" data-value="0.00\d+"', page)
    section = page.partition('<section id="worst_months">')[2].partition("</section>")[0]
    months = re.findall(r"<th>(2020-\d\d)</th>", section)
    assert (len(months), months[0]) == (5, "2020-03")
    assert page.index('id="months"') < page.index('id="worst_months"') < page.index('id="exposures"')
    assert '<a href="#worst_months">Worst months</a>' in page


REMARK = """
import numpy as np
from quantd.daemon.runtime.journal import Journal, fold_live
from quantd.trading.codec import decode, encode
from quantd.trading.events import Remark
from tests.support.engine import START, World, block

def world(log):
    made = World(block(np.full((3, 1), 100.0)), [lambda view: np.array([0.5])])
    made.shell.log = log
    return made

written = Journal()
event = Remark(START, 0, "the listing moves", "ada")
(effect,) = world(written).shell.run(event)
(data,) = written.entries
again = Journal([data])
fold_live(world(again).shell, again)
print(effect.text, decode(data).event == event, again.compared, sep="|")
"""


def in_copy(root: Path, program: str) -> "subprocess.CompletedProcess[str]":
    variables = environment(root)
    variables["PYTHONPATH"] += f":{ROOT}"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=root, env=variables, text=True, capture_output=True, timeout=100)


STORIES = "scripts/worlds/stories.py"
EVENT_LINES = (
    (STORIES, "from quantd.trading.events import ("),
    (STORIES, "STORIES: Final"),
    ("scripts/worlds/comparison/expected.py", "MODULES: Final"),
    ("tests/trading/test_codec.py", "LATER_EVENTS: "),
    ("adapters/store/incidents/alert_kinds.py", "ALERT_KINDS: Final"),
)
"""Files of the table in the section on events, and the line after which the line of its row is added."""


def insert(file: Path, text: str, *, after: str = "", before: str = "") -> None:
    """Add lines to a file, after or before the first line with this beginning."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(after or before)) + bool(after)
    file.write_text("".join([*lines[:at], text, *lines[at:]]), encoding="utf-8")


def add_struct(root: Path, struct: str) -> None:
    events = root / "trading/events.py"
    text = events.read_text().replace("External = (\n", "External = (\n    Remark |\n", 1)
    events.write_text(text.replace("External = (", f"{struct}\n\nExternal = (", 1))


@pytest.mark.long
def test_a_struct_and_a_handler_add_an_event_that_is_stepped_journalled_and_replayed(tmp_path: Path) -> None:
    root = copy_package(tmp_path)
    struct, handler, _ = blocks_of("An event")
    add_struct(root, struct)
    missing = in_copy(root, "import quantd.daemon.engine")
    assert "on_remark, the handler of Remark, is in no module" in missing.stderr
    (root / "daemon/engine/remarks.py").write_text(handler)
    process = in_copy(root, REMARK)
    assert (process.stdout, process.stderr) == ("ada: the listing moves|True|1\n", "")


@pytest.mark.slow
def test_an_event_leaves_the_tests_of_events_green(tmp_path: Path) -> None:
    root = copy_repository(tmp_path)
    struct, handler, story = blocks_of("An event")
    add_struct(root, struct)
    (root / "daemon/engine/remarks.py").write_text(handler)
    insert(root / STORIES, f"{story}\n\n", before="STORIES: Final")
    rows = re.findall(r"\| `(    .+)` \|$", section_of("An event"), re.MULTILINE)
    for (file, line), row in zip(EVENT_LINES, rows, strict=True):
        insert(root / file, f"{row}\n", after=line)
    run_script(root, "An event", "python scripts/alert_kinds_page.py docs/risk/monitor.md")
    check_tests(
        root,
        "not slow",
        "tests/test_structure.py",
        "tests/trading/test_codec.py",
        "tests/test_compare_engines.py::test_the_tours_make_every_event_and_a_feature_without_a_world_is_named",
        "tests/test_compare_engines.py::test_each_module_of_the_engine_has_features_that_worlds_hit",
        "tests/adapters/store/incidents/test_alert_kinds.py",
    )
