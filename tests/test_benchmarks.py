"""`make bench`: every part that it times is there, and has a budget."""

from benchmarks.engine import CASES
from benchmarks.parts.__main__ import SESSIONS, SHARES, gates, resolved
from benchmarks.parts.budgets import BUDGETS, INTERPRETED


def test_every_timed_function_is_there():
    for paths in SHARES.values():
        assert all(callable(resolved(path)[1]) for path in paths)


def test_every_part_has_a_budget_and_every_budget_a_part():
    asked = []
    assert list(gates(asked.append)) == []
    assert set(BUDGETS) - {*SESSIONS, *asked, *(f"daily: {name}" for name in SHARES)} == set()
    assert set(SESSIONS) <= set(BUDGETS)
    parts = {f"daily: {name}" for name in SHARES}
    assert parts <= {*BUDGETS, *INTERPRETED}
    assert set(INTERPRETED) <= {*SESSIONS, *parts, *asked}
    assert {part for part in BUDGETS if part.startswith("gate")} == {part for part in INTERPRETED if part in asked}
    assert {case for case, _ in SESSIONS.values()} == set(CASES)
