"""The import plan: what imports what, on the folders to which the links lead."""

import json
from pathlib import Path

import pytest

from scripts.import_plan import LEVELS, circles_of, file_circles, floors_of, main, plan_of, source_of
from tests.support.checkout import ROOT

SMALL = {
    "trading/__init__.py": "",
    "trading/orders.py": "import os\nfrom quantd import regular_file\n",
    "risk/__init__.py": "",
    "risk/gate.py": "from ..trading.orders import Order\nfrom . import bounds\n",
    "risk/bounds.py": "import quantd.trading.orders as orders\nx = orders\n",
    "daemon/__init__.py": "",
    "daemon/app.py": (
        "from typing import TYPE_CHECKING\n"
        "from quantd.risk import gate\n"
        "from quantd.risk.gate import (\n    Gate,\n)\n"
        "if TYPE_CHECKING:\n"
        "    from quantd.research.studies import Study\n"
        "class App:\n"
        "    def report(self):\n"
        "        from quantd.research.reports import write\n"
        "        try:\n"
        "            import quantd.research.pictures\n"
        "        except ImportError:\n"
        "            pass\n"
    ),
    "daemon/engine/__init__.py": "",
    "daemon/engine/state/__init__.py": "from quantd.daemon.engine.state.valuation import value\n",
    "daemon/engine/state/settings.py": (
        "from quantd.daemon.engine import extra\nfrom quantd.daemon.engine.venue.waits import Wait\n"
    ),
    "daemon/engine/state/valuation.py": (
        "import typing\nif typing.TYPE_CHECKING:\n    from quantd.daemon.engine.state import State\n"
    ),
    "daemon/engine/venue/__init__.py": "",
    "daemon/engine/venue/waits.py": "def wait():\n    from quantd.daemon.engine import state\n",
    "daemon/engine/extra.py": "",
    "research/__init__.py": "",
    "research/studies/__init__.py": "from quantd.daemon.app import App\n",
    "research/reports.py": "",
    "research/pictures.py": "def f():\n    from quantd.daemon import app\n\nimport quantd.daemon.app\n",
    "src/quantd/__init__.py": "if TYPE_CHECKING:\n    from quantd.research.reports import write\n",
    "src/quantd/regular_file.py": "",
}
LINKS = ("trading", "risk", "daemon", "research")


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkout with two packages that import each other, and links to its folders."""
    root = tmp_path / "checkout"
    write(root, SMALL)
    for name in LINKS:
        (root / "src" / "quantd" / name).symlink_to(f"../../{name}")
    (root / "src" / "quantd" / "bundled").mkdir()
    (root / "src" / "quantd" / "bundled" / "risk").symlink_to(root / "risk")  # its modules are not those of `bundled`
    return root


def printed(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> tuple[int, list[str]]:
    """The exit status and the lines of the script."""
    status = main(["--root", str(root), *words])
    return status, capsys.readouterr().out.splitlines()


def block(lines: list[str], first: str) -> list[str]:
    """The lines below the one that begins so, to the next that is not indented."""
    start = next(number for number, line in enumerate(lines) if line.startswith(first)) + 1
    end = next((number for number in range(start, len(lines)) if not lines[number].startswith("  ")), len(lines))
    return [line.strip() for line in lines[start:end]]


def rows(lines: list[str], first: str) -> list[str]:
    """The same with single spaces."""
    return [" ".join(line.split()) for line in block(lines, first)]


def test_a_level_has_its_numbers_groups_pairs_and_circles(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = printed(capsys, small)
    assert status == 0
    assert lines[0] == (
        "packages: files 20, lines 35, groups 6, arrows 6, imports 10, arrows up 1, imports up 3, pairs 1, circles 1"
    )
    assert block(lines, "packages")[-2:] == [
        "pair: daemon -> research (3), research -> daemon (2)",
        "circle: daemon, research",
    ]
    assert rows(lines, "daemon") == ["group files lines", "app 1 14", "daemon 1 0", "engine 7 8"]
    assert block(lines, "circles of files: 2") == [
        "circle: daemon/app.py, research/pictures.py, research/studies/__init__.py",
        "circle: daemon/engine/state/__init__.py, daemon/engine/state/valuation.py",
    ]


def test_imports_that_go_up_are_listed_by_path_with_line_and_kind(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, lines = printed(capsys, small, "--up")
    assert block(lines, "packages, up: daemon -> research (3)") == [
        "daemon/app.py -> research/pictures.py (12, in a function)",
        "daemon/app.py -> research/reports.py (10, in a function)",
        "daemon/app.py -> research/studies/__init__.py (7, type-only)",
    ]
    assert block(lines, "engine, up: state -> venue (1)") == [
        "daemon/engine/state/settings.py -> daemon/engine/venue/waits.py (2)"
    ]
    assert sum("up:" in line for line in lines) == 2


def test_modules_of_the_engine_have_rooms_and_those_without_a_place_are_named(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, lines = printed(capsys, small)
    assert rows(lines, "engine:") == [
        "group files lines",
        "engine 1 0",
        "extra 1 0",
        "state 3 6",
        "venue 2 2",
        "pair: state -> venue (1), venue -> state (1)",
        "circle: state, venue",
        "no place: extra (imported by state, imports none)",
    ]


def test_an_import_that_also_stands_at_the_top_is_marked_as_nothing_else(small: Path) -> None:
    entries = [entry for entry in source_of(small).imports if entry.importer == "quantd.research.pictures"]
    assert [(entry.imported, entry.kind, entry.lines) for entry in entries] == [("quantd.daemon.app", "", (2, 4))]


def test_the_order_of_the_command_line_replaces_that_of_the_table(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = "packages=regular_file < trading < risk < daemon, research < quantd"
    assert "arrows up 0, imports up 0" in printed(capsys, small, "--order", order)[1][0]
    reverse = "packages=quantd < research < daemon < risk < trading < regular_file"
    assert "arrows up 5, imports up 7" in printed(capsys, small, "--order", reverse)[1][0]
    assert any(
        line.startswith("daemon:") and "arrows up" in line
        for line in printed(capsys, small, "--order", "daemon=engine < app")[1]
    )


@pytest.mark.parametrize("order", ["nowhere=a < b", "packages=risk < daemon, risk", "packages=risk <", "risk < daemon"])
def test_an_order_of_another_form_is_refused(small: Path, order: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(small), "--order", order])
    assert caught.value.code == 2


def test_a_folder_without_modules_and_a_file_of_another_form_are_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    for words in (["--root", str(tmp_path)], ["--root", str(small), "--beside", str(tmp_path / "other.json")]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2


def test_the_status_tells_of_arrows_up_and_of_circles_where_it_is_asked_to(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, small, "--require-down")[0] == 1
    write(small, {"daemon/app.py": "", "daemon/engine/state/settings.py": ""})
    assert printed(capsys, small, "--require-down")[0] == 0
    write(small, {"trading/orders.py": "import quantd.risk.gate\n", "risk/gate.py": "", "risk/bounds.py": ""})
    assert printed(capsys, small, "--require-down")[0] == 1  # up, without a circle
    down = ["--order", "packages=risk < trading", "--require-down"]
    assert printed(capsys, small, *down)[0] == 0
    write(small, {"risk/gate.py": "import quantd.trading\n"})
    flat = ["--order", "packages=risk, trading", "--require-down"]
    assert printed(capsys, small, *flat)[0] == 1  # a circle, without an arrow up


def test_two_plans_are_compared_by_what_is_gone_and_new(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = small.parent / "before.json"
    printed(capsys, small, "--json", str(before))
    assert printed(capsys, small, "--beside", str(before))[1][-1] == "nothing differs"
    write(small, {
        "daemon/app.py": "from quantd.trading import orders\nfrom quantd.risk import gate, bounds\n",
        "daemon/engine/state/__init__.py": "",
    })  # fmt: skip
    _, lines = printed(capsys, small, "--beside", str(before))
    assert lines[lines.index("daemon: lines 22 -> 9") :] == [
        "daemon: lines 22 -> 9",
        "engine: lines 8 -> 7",
        "packages: lines 35 -> 22",
        "packages: imports 10 -> 9",
        "packages: arrows up 1 -> 0",
        "packages: imports up 3 -> 0",
        "packages: pairs 1 -> 0",
        "packages: circles 1 -> 0",
        "packages: arrow gone: daemon -> research",
        "packages: arrow new: daemon -> trading",
        "packages: arrow daemon -> risk 1 -> 2",
        "packages: arrow up gone: daemon -> research",
        "packages: pair gone: daemon <-> research",
        "packages: circle gone: daemon, research",
        "circle of files gone: daemon/app.py, research/pictures.py, research/studies/__init__.py",
        "circle of files gone: daemon/engine/state/__init__.py, daemon/engine/state/valuation.py",
    ]


def test_the_file_of_a_plan_is_sorted_and_does_not_change_with_lines(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [small.parent / "one.json", small.parent / "two.json"]
    printed(capsys, small, "--json", str(paths[0]))
    first, other_lines = SMALL["daemon/app.py"].split("\n", 1)
    write(small, {"daemon/app.py": f"{other_lines}{first}\n"})
    printed(capsys, small, "--json", str(paths[1]))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    plan = json.loads(paths[0].read_text())
    assert plan["levels"]["packages"]["arrows"]["daemon -> research"] == {
        "count": 3,
        "imports": [
            "daemon/app.py -> research/pictures.py (in a function)",
            "daemon/app.py -> research/reports.py (in a function)",
            "daemon/app.py -> research/studies/__init__.py (type-only)",
        ],
    }
    assert plan["levels"]["packages"]["groups"]["risk"] == {
        "risk/__init__.py": 0,
        "risk/bounds.py": 2,
        "risk/gate.py": 2,
    }


def test_circles_are_the_sets_in_which_each_leads_to_each() -> None:
    assert circles_of([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d"), ("e", "f")]) == [
        ["a", "b", "c"],
        ["d", "e"],
    ]
    assert circles_of([("a", "b"), ("a", "c"), ("b", "c")]) == []
    assert floors_of("a < b, c < d") == {"a": 0, "b": 1, "c": 1, "d": 2}
    assert floors_of("") == {}


@pytest.mark.long
def test_the_project_has_no_import_that_goes_up_and_no_circle_of_packages() -> None:
    source = source_of(ROOT)
    packages, *rooms = [plan_of(source, level) for level in LEVELS]
    assert packages.numbers["files"] > 900
    for plan in (packages, *rooms):
        assert (plan.up, plan.pairs, plan.circles) == ([], [], []), plan.level.name
    assert packages.without_place == []
    assert all((ROOT / module.path).is_file() for module in source.modules.values())
    paths = {module.path for module in source.modules.values()}
    assert {"daemon/app.py", "src/quantd/__init__.py", "src/quantd/engine_build/hook.py"} <= paths
    assert all(len(circle) > 1 for circle in file_circles(source))
