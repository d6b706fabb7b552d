"""The page of modules that open with what can go wrong is made from the modules."""

import ast

import pytest

from scripts.site.reasons import PAGE, openings, page
from scripts.words import ROOT


@pytest.mark.long
def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m scripts.site.reasons`"


@pytest.mark.long
def test_an_opening_is_more_than_the_words() -> None:
    for opening in openings():
        docstring = ast.get_docstring(ast.parse((ROOT / opening.module).read_text(encoding="utf-8"))) or ""
        assert len(docstring.split()) >= 30, opening.module


def test_every_part_of_the_run_that_holds_an_algorithm_is_there() -> None:
    modules = {opening.module for opening in openings()}
    assert modules >= {
        "risk/pretrade/gate.py", "risk/pretrade/standing.py", "risk/pretrade/pairs.py", "risk/pretrade/forms.py",
        "risk/pretrade/worst_losses.py", "trading/history/rings.py", "trading/ledger/book.py",
        "daemon/engine/venue/unknown.py", "daemon/engine/stops/sync.py", "training/learners/algorithms/on_policy.py",
        "daemon/recovery/replay.py", "adapters/store/journal/writer.py", "adapters/store/lease.py",
        "server/api/access/guard.py", "daemon/policies/isolation/worker.py",
    }  # fmt: skip
