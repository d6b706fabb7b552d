"""Whole runs have the digests, orders and equity of tests/golden/digests.json.

`pytest -m slow` adds the cases of benchmarks/engine.py at their whole length, of which CI makes 400 sessions.
"""

from pathlib import Path

import pytest

from tests.golden.runs import FILE as DIGESTS
from tests.golden.runs import NOT_RUN, Row, difference, kept, row_of, runs, text_of
from tests.support.checkout import ROOT

RUNS = runs()


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """A long run of an example is made in CI; that of a synthetic market, which has a short run, is not."""
    if not RUNS[name].long:
        return []
    return [pytest.mark.slow] if name.startswith("engine ") else [pytest.mark.long]


CASES = [pytest.param(name, marks=marks_of(name), id=name) for name in RUNS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated bars and the sessions of calendars, which the runs share."""
    return tmp_path_factory.mktemp("golden")


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_run_has_its_kept_results(name: str, folder: Path) -> None:
    assert difference(name, kept().get(name), row_of(RUNS[name].make(folder))) == ""


def test_each_row_is_a_run_and_each_run_a_row_of_a_sorted_file() -> None:
    rows = kept()
    assert rows.keys() == RUNS.keys()
    assert DIGESTS.read_text() == text_of(rows)
    assert DIGESTS.read_text().count("\n") == len(rows) + 2
    assert rows["backtest config.toml"]["digest"].startswith("727a449b")  # type: ignore[union-attr]


def test_each_example_has_a_run_or_a_reason_why_it_has_none() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("*.toml")}
    run = {name.removeprefix("backtest examples/") for name in RUNS if name.startswith("backtest examples/")}
    assert run | {f"{stem}.toml" for stem in NOT_RUN} == examples
    assert not run & {f"{stem}.toml" for stem in NOT_RUN}
    assert all(NOT_RUN.values())


def test_a_difference_names_the_run_and_what_differs() -> None:
    before: Row = {"digest": "2be2", "orders": 3, "refused": 0, "clipped": 1, "equity_micro": 5}
    assert difference("a run", before, dict(before)) == ""
    assert difference("a run", before, before | {"digest": "77aa", "orders": 4}) == (
        "a run: digest 2be2 -> 77aa, orders 3 -> 4"
    )
    assert difference("a run", None, before) == "a run is not in digests.json"
