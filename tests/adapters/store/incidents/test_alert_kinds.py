"""The table of kinds is complete: every kind that the code publishes is in it, and so is the documentation."""

import ast
import re
from pathlib import Path
from runpy import run_path
from typing import get_args

import pytest

from quantd.adapters.store.incidents.alert_kinds import ALERT_KINDS, kind_of, kinds_table
from quantd.daemon.jobs.tasks.account_differences import KINDS
from quantd.risk.limits.catalogue import LIMITS
from quantd.trading.effects import Level
from quantd.trading.events import Condition
from tests.support.checkout import ROOT

PUBLISHERS = ("alert", "refuse_command", "Publish")
"""Functions whose call makes an alert; the kind is the third argument of each, after state or ts and level or code."""


def named() -> dict[str, str]:
    """Kind -> a file that publishes it, of kinds that are written out."""
    folders = ("daemon", "server", "training", "research", "trading", "risk", "adapters")
    calls = re.compile(rf"\b({'|'.join(PUBLISHERS)})\(")
    kinds: dict[str, str] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)) if calls.search(source) else ():
            match node:
                case ast.Call(ast.Name(function), [_, _, ast.Constant(str(kind)), *_]) if function in PUBLISHERS:
                    kinds[kind] = str(path.relative_to(ROOT))
    return kinds


@pytest.mark.long
@pytest.mark.requirement("R-184")
def test_every_kind_that_is_written_in_the_code_is_in_the_table() -> None:
    path_by_kind = named()
    assert len(path_by_kind) >= 15
    remedy = "add the kind to ALERT_KINDS of adapters/store/incidents/alert_kinds.py"
    assert {kind: path for kind, path in path_by_kind.items() if kind_of(kind) is None} == {}, remedy


@pytest.mark.long
def test_every_kind_that_is_computed_is_in_the_table() -> None:
    (what,) = (t for name, t in Condition.__annotations__.items() if name == "what")
    assert {kind for kind in get_args(what) if kind not in ("job", "statement") and kind_of(kind) is None} == set()
    assert {kind for kind in KINDS if kind_of(f"statement_{kind}") is None} == set()
    assert {key for key in LIMITS if kind_of(f"limit_{key}") is None} == set()
    assert kind_of("nothing") is None


@pytest.mark.parametrize("kind", ALERT_KINDS, ids=lambda kind: kind.name)
def test_a_kind_opens_incidents_at_its_own_levels_and_names_what_clears_them(kind) -> None:
    assert set(kind.opens) <= set(kind.levels) <= set(get_args(Level))
    assert bool(kind.opens) == bool(kind.clears) == kind.reminded


def test_the_documentation_has_the_table() -> None:
    page = Path(ROOT / "docs" / "risk" / "monitor.md").read_text()
    assert kinds_table() in page, "run python scripts/alert_kinds_page.py docs/risk/monitor.md"
    with_table = run_path(str(ROOT / "scripts/alert_kinds_page.py"))["with_table"]
    (row,) = (line for line in page.splitlines(keepends=True) if line.startswith("| `feed` |"))
    assert with_table(page) == with_table(page.replace(row, "")) == page
