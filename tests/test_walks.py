"""Walks by executed files: what is counted, in the product and in a copy with one more file in the way."""

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.walks import Walk, differences, main, measured, table
from tests.support.checkout import ROOT, copy_package

WAYPOINT = '''"""A file in the way of a bar."""


def passed() -> None:
    """Do nothing."""
'''

DETOUR = """

from quantd.daemon.runtime import waypoint

_feed_recorded = feed_recorded


async def feed_recorded(*arguments):
    waypoint.passed()
    await _feed_recorded(*arguments)
"""
"""The end of the feeder's module that leads over the waypoint."""


def rows(**files: list[str]) -> dict[str, dict[str, object]]:
    """Rows of walks with these files and no other numbers."""
    return {name: {"numbers": {"files": len(paths)}, "files": paths} for name, paths in files.items()}


@pytest.fixture(scope="module")
def fill() -> dict[str, Any]:
    """The walk of a fill in this checkout."""
    row: dict[str, Any] = measured("fill", ROOT)["fill"]
    return row


@pytest.mark.long
def test_a_file_that_is_put_in_the_way_of_a_bar_is_one_file_more(fill: dict[str, Any], tmp_path: Path) -> None:
    copy = copy_package(tmp_path)
    (copy / "daemon/runtime/waypoint.py").write_text(WAYPOINT)
    with (copy / "daemon/runtime/feeder.py").open("a") as file:
        file.write(DETOUR)
    after = measured("fill", copy)["fill"]
    assert [path for path in after["files"] if path != "daemon/runtime/waypoint.py"] == fill["files"]
    assert after["numbers"]["files"] == fill["numbers"]["files"] + 1
    assert after["numbers"]["functions"] == fill["numbers"]["functions"] + 2  # with the one that leads over it
    assert after["numbers"]["folders"] == fill["numbers"]["folders"]


@pytest.mark.long
def test_a_fill_goes_from_the_feed_over_the_venue_and_the_engine_to_the_book_and_no_further(
    fill: dict[str, Any],
) -> None:
    files = fill["files"]
    assert files[0] == "daemon/runtime/feeder.py"
    assert files[-1] == "trading/ledger/book.py"
    assert {
        "daemon/runtime/loop.py", "daemon/runtime/host/fold_host.py", "daemon/engine/core/fold.py",
        "adapters/brokers/paper/broker.py", "trading/fill_prices.py",
    } <= set(files)  # fmt: skip
    assert not [path for path in files if path.startswith(("tests/", "scripts/", ".venv/", "risk/"))]


@pytest.mark.long
def test_a_limit_is_read_and_judged_and_without_it_less_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "walks.json"
    assert main(["limit", "--files", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    document = json.loads(file.read_text())
    assert table(document) in printed
    full_walk, alone = document["limit"], document["limit alone"]
    assert set(alone["files"]) < set(full_walk["files"])
    assert {"daemon/config/parser.py", "risk/limits/ruleset.py", "daemon/engine/core/limiter.py"} <= set(alone["files"])
    assert main(["limit", "--beside", str(file)]) == 0
    assert "file gone" not in capsys.readouterr().out


def test_a_walk_counts_files_folders_packages_and_functions() -> None:
    walk = Walk({"risk/gate.py": 3, "risk/limits/bounds.py": 1, "daemon/app.py": 2})
    walk.functions.update({("risk/gate.py", "judge", 4): 3, ("risk/limits/bounds.py", "low", 2): 1})
    walk.functions.update({("daemon/app.py", "serve", 9): 2})
    walk.changes = 4
    assert walk.row() == {
        "numbers": {"files": 3, "folders": 3, "packages": 2, "changes": 4, "functions": 3, "calls": 6},
        "files": ["risk/gate.py", "risk/limits/bounds.py", "daemon/app.py"],
    }


def test_a_walk_without_another_has_what_is_called_more_often() -> None:
    walk, other = Walk({"a.py": 5, "b.py": 1}), Walk({"a.py": 4, "b.py": 1})
    walk.functions.update({("a.py", "f", 1): 3, ("a.py", "g", 2): 2, ("b.py", "h", 1): 1})
    other.functions.update({("a.py", "f", 1): 2, ("a.py", "g", 2): 2, ("b.py", "h", 1): 1})
    alone = walk.without(other)
    assert (alone.files, dict(alone.functions)) == ({"a.py": 1}, {("a.py", "f", 1): 1})


def test_what_differs_is_printed_for_walks_of_both_sides() -> None:
    before, after = rows(bar=["a.py", "b.py"], fill=["a.py"]), rows(bar=["a.py", "c.py", "d.py"], proposal=["a.py"])
    lines = ["bar: files 2 -> 3", "bar: file gone: b.py", "bar: file new: c.py", "bar: file new: d.py"]
    assert differences(before, after).splitlines() == lines
    assert differences(before, before) == "nothing differs"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["walk"], "walk is no walk; the walks are fill, bar, proposal, backtest, limit"),
        (["fill", "--root", "/"], "/ is no checkout: it has no src/quantd"),
        (["fill", "--beside", str(ROOT / "scripts/likeness.py")], "likeness.py is not a file of --json"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_reason(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert reason in capsys.readouterr().err
