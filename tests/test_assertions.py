"""Each test asserts: by itself, or by a function of the tests that it calls, at once or by way of others."""

import ast

import pytest

from tests.support.checkout import ROOT


def without_assertion(sources):
    """The tests in some texts that reach no assertion; functions are told apart by their names only."""
    calls, asserting, tests = {}, set(), set()
    for text in sources:
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("test_"):
                tests.add(node.name)
            inside = list(ast.walk(node))
            called = {
                getattr(call.func, "attr", getattr(call.func, "id", ""))
                for call in inside
                if isinstance(call, ast.Call)
            }
            calls.setdefault(node.name, set()).update(called)
            asserts = any(isinstance(part, ast.Assert) for part in inside) or called & {"raises", "warns", "fail"}
            if asserts or any(name.startswith("assert_") for name in called):
                asserting.add(node.name)
    while more := {name for name, called in calls.items() if called & asserting} - asserting:
        asserting |= more
    return sorted(tests - asserting)


@pytest.mark.slow
@pytest.mark.requirement("R-269")
def test_each_test_asserts():
    silent = "def test_a(): print(1)\ndef test_b(): c()\ndef c(): d()\ndef d(): assert 1\n"
    assert without_assertion([silent]) == ["test_a"]
    assert without_assertion(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")) == []
