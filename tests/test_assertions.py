"""Each test asserts: by itself, or by a function of the tests that it calls. None asserts that a machine is quick."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.checkout import ROOT

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
BEGUN = ("__init__", "__post_init__", "__enter__")


class Function(NamedTuple):
    """Whether an assertion stands in a function, and what it calls: (last name, whether it is an attribute)."""

    name: str
    asserts: bool
    calls: frozenset[tuple[str, bool]]


class Module(NamedTuple):
    """A module of tests: the functions in it by name, and name -> (module of tests, name there) of its imports."""

    functions: dict[str, list[Function]]
    imports: dict[str, tuple[str, str]]


def function_of(node: FunctionNode) -> Function:
    asserts, calls = False, set()
    for child in (child for statement in node.body for child in ast.walk(statement)):
        if isinstance(child, ast.Assert):
            asserts = True
        elif isinstance(child, ast.Call):
            match child.func:
                case ast.Attribute(value=ast.Name("pytest"), attr="raises" | "warns" | "fail"):
                    asserts = True
                case ast.Attribute(attr=name) if name.startswith("assert_"):
                    asserts = True  # of numpy and its like
                case ast.Attribute(attr=name):
                    calls.add((name, True))
                case ast.Name(id=name):
                    calls.add((name, False))
    return Function(node.name, asserts, frozenset(calls))


def module_of(tree: ast.Module) -> Module:
    functions: dict[str, list[Function]] = {}
    imports: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            functions.setdefault(node.name, []).append(function_of(node))
        elif isinstance(node, ast.ClassDef):  # a call of a class begins an object of it
            constructors = [member for member in node.body if isinstance(member, FunctionNode) and member.name in BEGUN]
            functions.setdefault(node.name, []).extend(map(function_of, constructors))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tests":
            imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return Module(functions, imports)


def modules_below(folder: Path) -> dict[str, Module]:
    """Dotted name -> module, for each file of Python below `folder`."""
    return {
        ".".join(file.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): module_of(
            ast.parse(file.read_text(encoding="utf-8"))
        )
        for file in folder.rglob("*.py")
    }


def callees(function: Function, home: str, modules: dict[str, Module]) -> Iterator[tuple[str, str]]:
    """(module, name) of each function of tests that the function may call.

    A method is found by its name in the module itself and in those from which it imports.
    """
    module = modules[home]
    for name, is_attribute in function.calls:
        if not is_attribute and name in module.imports:
            yield module.imports[name]
        elif name in module.functions:
            yield home, name
        elif is_attribute:
            for origin, imported in module.imports.values():
                yield (inner if (inner := f"{origin}.{imported}") in modules else origin), name


def without_assertion(modules: dict[str, Module]) -> list[str]:
    """`module::test` of each test that asserts neither by itself nor by a function of tests that it calls."""
    reached: dict[tuple[str, str], set[tuple[str, str]]] = {}
    asserting, tests = set(), set()
    for home, module in modules.items():
        # a package passes on what its modules define
        reached |= {(home, name): {origin} for name, origin in module.imports.items()}
        for name, functions in module.functions.items():
            reached[home, name] = {callee for function in functions for callee in callees(function, home, modules)}
            if any(function.asserts for function in functions):
                asserting.add((home, name))
            if home.split(".")[-1].startswith("test_") and name.startswith("test_"):
                tests.add((home, name))
    while more := {function for function, calls in reached.items() if function not in asserting and calls & asserting}:
        asserting |= more
    return sorted("::".join(test) for test in tests - asserting)


def given(**sources: str) -> dict[str, Module]:
    return {f"tests.{name}": module_of(ast.parse(source)) for name, source in sources.items()}


@pytest.mark.long
@pytest.mark.requirement("R-269")
def test_each_test_asserts() -> None:
    assert without_assertion(modules_below(ROOT / "tests")) == []


@pytest.mark.parametrize(
    "body",
    [
        "assert 1 == 1",
        "with pytest.raises(ValueError): int('x')",
        "np.testing.assert_allclose(1, 1)",
        "own()",
        "passed_on()",
        "Far().method()",
        "for k in range(3): own()",
    ],
)
def test_an_assertion_is_found_also_in_what_a_test_calls(body: str) -> None:
    text = f"from tests.near import Far, passed_on\ndef own(): assert 1\ndef test_it():\n    {body}\n"
    near = "from tests.far import passed_on\nclass Far:\n    def method(self): assert 1\n"
    far = "def passed_on(): deeper()\ndef deeper(): assert 1\n"
    assert without_assertion(given(test_x=text, near=near, far=far)) == []


@pytest.mark.parametrize("body", ["print(1)", "silent()", "mark.requirement('R-001')", "assertion = 1", "recursive()"])
def test_a_test_that_prints_or_calls_only_is_found(body: str) -> None:
    text = (
        f"def silent(): print(2)\ndef recursive(): recursive()\ndef asserting(): assert 1\ndef test_it():\n    {body}\n"
    )
    assert without_assertion(given(test_x=text)) == ["tests.test_x::test_it"]


CLOCKS = ("monotonic", "perf_counter", "process_time", "thread_time", "time")
PATIENT_S = 20.0
"""Smallest upper bound of a measured time in a test: machines differ, and a wait that never ends is longer."""


def impatient(tree: ast.AST) -> list[int]:
    """Lines of assertions that a difference of clocks is below fewer seconds than PATIENT_S."""
    lines = []
    for node in (
        node for statement in ast.walk(tree) if isinstance(statement, ast.Assert) for node in ast.walk(statement)
    ):
        match node:
            case ast.Compare(
                left=ast.BinOp(left=ast.Call(func=ast.Attribute(attr=clock)), op=ast.Sub()),
                ops=[*_, ast.Lt() | ast.LtE()],
                comparators=[*_, ast.Constant(value=int() | float() as bound)],
            ) if clock in CLOCKS and bound < PATIENT_S:
                lines.append(node.lineno)
    return lines


@pytest.mark.long
def test_no_test_fails_because_a_machine_is_slow() -> None:
    timed = {
        str(file.relative_to(ROOT)): lines
        for file in (ROOT / "tests").rglob("*.py")
        if (lines := impatient(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert timed == {}, "a measured time belongs into benchmarks/"


def test_a_short_bound_of_a_measured_time_is_found() -> None:
    assert impatient(ast.parse("assert time.monotonic() - began < 2.0\nassert x and process_time.time() - a <= 1")) == [
        1,
        2,
    ]
    assert impatient(ast.parse("assert time.monotonic() - began < 60\nassert time.monotonic() - began >= 0.2")) == []
