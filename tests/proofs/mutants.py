"""Mutation test of risk/ and of the kernels: one small change of a function at a time, and whether a test notices.

    python -m tests.proofs.mutants [--share 1.0] [--minutes M] [--seed S] [--longest S]
        [--tests risk/test_x,risk/limits]
                                   [--only FILE] [module ...]

Tests are collected once; each mutant is a forked child whose functions have other code, and which runs the tests that
reach the changed line, the quickest first. mutmut does the same with a copy of the tree and a new collection for each
mutant; that was too slow here, and a test that fails by itself stopped it. Prints what survived; exit 1 below 95 %.
"""

import argparse
import ast
import copy
import gc
import os
import random
import re
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import Phase, settings

from tests.support.checkout import ROOT

ASKED: Final = 0.95

PACKAGES: Final = ROOT / "src" / "quantd"
"""The folder of the packages, by the path under which Python imports them."""

RISK: Final = PACKAGES / "risk"

TESTS: Final = ("risk", "proofs/adversary/test_adversary")
"""Folders and modules of tests/ that are about risk/."""

PLANTED: Final = ("planted", "the_property_sees", "the_comparison_sees", "compiled")
"""Tests that plant faults themselves test the tests. Compiled code has no mutants."""


class Mutant(NamedTuple):
    """One change. `module` is named by `module_name`, `text` is the line as it becomes, `code` the changed module."""

    module: str
    function: str
    line: int
    text: str
    code: CodeType

    def __str__(self) -> str:
        folder = "" if (PACKAGES / f"{self.module}.py").exists() else "risk/"
        return f"{folder}{self.module}.py:{self.line} {self.function}: {self.text}"


def survivors_in(text: str) -> set[str]:
    """The changes that an earlier run printed, with or without its outcome in brackets, whatever their lines
    are now."""
    outcome = re.compile(r"\s*\((survived|no test)\)\s*$")
    return {_unnumbered(outcome.sub("", line)) for line in text.splitlines() if _PLACE.match(line)}


def asked_again(mutant: Mutant, only: set[str] | None) -> bool:
    """Whether a mutant is among some survivors; None are all."""
    return only is None or _unnumbered(str(mutant)) in only


_PLACE: Final = re.compile(r"^([\w/]+\.py):\d+")


def _unnumbered(survivor: str) -> str:
    return _PLACE.sub(r"\1", survivor.strip())


# ---- changes --------------------------------------------------------------------------------------------------------

_COMPARED: Final = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: Final = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_SWAPPED: Final = {
    "max": "min", "min": "max", "any": "all", "all": "any", "maximum": "minimum", "minimum": "maximum", "floor": "ceil",
    "ceil": "floor", "isfinite": "isnan",
}  # fmt: skip


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    new = copy.copy(node)
    match node:
        case ast.Compare(ops=[first, *later_ops]) if type(first) in _COMPARED:
            new.ops = [_COMPARED[type(first)](), *later_ops]  # type: ignore[attr-defined]
            yield new
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _ARITHMETIC:
            new.op = _ARITHMETIC[type(op)]()  # type: ignore[attr-defined]
            yield new
        case ast.BoolOp(op=op):
            new.op = ast.Or() if isinstance(op, ast.And) else ast.And()  # type: ignore[attr-defined]
            yield new
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.copy_location(ast.Constant(not value), node)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.copy_location(ast.Constant(value + 1), node)
        case ast.Name(id=name, ctx=ast.Load()) if name in _SWAPPED:
            yield ast.copy_location(ast.Name(_SWAPPED[name], ast.Load()), node)
        case ast.Attribute(attr=name) if name in _SWAPPED:
            new.attr = _SWAPPED[name]  # type: ignore[attr-defined]
            yield new
        case ast.Continue():
            yield ast.copy_location(ast.Break(), node)
        case ast.Return(value=ast.Constant(value=None)):
            pass
        case ast.Return(value=ast.expr()):
            new.value = ast.copy_location(ast.Constant(None), node)  # type: ignore[attr-defined]
            yield new
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.If(test=test):
            for value in (True, False):
                new = copy.copy(node)
                new.test = ast.copy_location(ast.Constant(value), test)
                yield new
        case ast.Expr(value=ast.Call()):
            yield ast.copy_location(ast.Pass(), node)


_RUN: Final = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def _fields(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    """(field, index in it, child) of what is run: no annotations, decorators or defaults."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        if name == "args" and isinstance(value, ast.arguments):
            continue
        if isinstance(value, ast.AST):
            yield name, None, value
        elif isinstance(value, list):
            yield from ((name, k, child) for k, child in enumerate(value) if isinstance(child, ast.AST))


def module_name(path: Path) -> str:
    """The path of a module in risk/, or else among the packages, without .py, such as `pretrade/gate` or
    `trading/ledger/book`; of any other file its stem."""
    for folder in (RISK, PACKAGES):
        if path.is_relative_to(folder):
            return path.relative_to(folder).with_suffix("").as_posix()
    return path.stem


def module_path(name: str) -> Path:
    """The file of a module by its name; one in risk/ where no package has it."""
    path = PACKAGES / f"{name}.py"
    return path if path.exists() else RISK / f"{name}.py"


class Place(NamedTuple):
    """What may stand in the place of a node of a function: the child of `parent` in a field, and at an index there."""

    function: str
    parent: ast.AST
    field: str
    index: int | None
    child: ast.AST
    new: ast.AST


def mutants(path: Path, numbers: Container[int] | None = None) -> Iterator[Mutant]:
    """Every change of every function of a module, or those with these numbers."""
    tree = ast.parse(path.read_text())
    for number, (function, parent, field, index, child, new) in enumerate(_places(tree, "", False)):
        if numbers is not None and number not in numbers:
            continue
        _put(parent, field, index, new)
        try:
            code = compile(tree, str(path), "exec")
            text = ast.unparse(new).split("\n")[0]
            was = ast.unparse(child).split("\n")[0]
            line = child.lineno  # type: ignore[attr-defined]
            yield Mutant(module_name(path), function, line, f"{was}  ->  {text}", code)
        finally:
            _put(parent, field, index, child)


def count(path: Path) -> int:
    """How many mutants a module has."""
    return sum(1 for _ in _places(ast.parse(path.read_text()), "", False))


def _places(node: ast.AST, function: str, inside: bool) -> Iterator[Place]:
    for name, index, child in _fields(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        qualified_name = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            qualified_name = f"{function}.{child.name}" if function else child.name
        if inside:
            for new in _changes(child):
                yield Place(qualified_name, node, name, index, child, new)
        yield from _places(child, qualified_name, inside or isinstance(child, _RUN))


def _put(node: ast.AST, name: str, index: int | None, child: ast.AST) -> None:
    if index is None:
        setattr(node, name, child)
    else:
        getattr(node, name)[index] = child


# ---- tests ----------------------------------------------------------------------------------------------------------


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def _key(code: CodeType) -> tuple[str, int, int]:
    at = next((p for p in code.co_positions() if p[2] is not None), (0, 0, 0, 0))
    return code.co_qualname, code.co_firstlineno, at[2] or 0 if "<lambda>" in code.co_qualname else 0


class TooLong(BaseException):
    """Not an Exception, so that Hypothesis does not try the case again."""


class Hunt:
    """A pytest plugin: in place of running the tests once, runs them on mutants."""

    def __init__(
        self, modules: list[Path], share: float, minutes: float, seed: int, longest: float, only: set[str] | None
    ) -> None:
        self.modules, self.share, self.minutes, self.longest = modules, share, minutes, longest
        self.only = only
        self.rng = random.Random(seed)
        self.reach: dict[tuple[str, int], set[int]] = defaultdict(set)
        self.seconds: dict[int, float] = {}
        self.failed = False
        self.result = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = [i for i in session.items if not any(word in i.nodeid for word in PLANTED)]
        self._baseline()
        self._again()
        self.functions: dict[str, dict[tuple[str, int, int], list[FunctionType]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for candidate in gc.get_objects():
            if isinstance(candidate, FunctionType) and candidate.__code__.co_filename.startswith(str(PACKAGES)):
                self.functions[candidate.__code__.co_filename][_key(candidate.__code__)].append(candidate)
        self.result = self._all()
        return True

    def _protocol(self, number: int) -> bool:
        """Whether a test passes."""
        self.failed = False
        item = self.items[number]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self.failed

    def _baseline(self) -> None:
        """Which test reaches which line, and how long it takes; one that fails by itself is left out."""
        files = {str(path): module_name(path) for path in self.modules}
        lines: set[tuple[str, int]] = set()

        def inside(frame: Any, event: str, arg: Any) -> Any:
            if time.monotonic() - began > self.longest:
                raise TooLong
            lines.add((files[frame.f_code.co_filename], frame.f_lineno))
            return inside

        def called(frame: Any, event: str, arg: Any) -> Any:
            return inside(frame, event, arg) if frame.f_code.co_filename in files else None

        for number, item in enumerate(self.items):
            _forget()
            lines.clear()
            began = time.monotonic()
            sys.settrace(called)
            passed = self._protocol(number)
            sys.settrace(None)
            self.seconds[number] = time.monotonic() - began
            if not passed:
                why = "it takes too long" if self.seconds[number] > self.longest else "it fails without a mutant"
                print(f"left out, {why}: {item.nodeid}", file=sys.stderr)
                continue
            for line in lines:
                self.reach[line].add(number)
        print(f"{len(self.items)} tests, {sum(self.seconds.values()):.0f} s", file=sys.stderr, flush=True)

    def _again(self) -> None:
        """Once more, as a mutant is run but without one: a test that fails or hangs then would kill every mutant."""
        queue = sorted(set().union(*self.reach.values()))
        kept: list[int] = []
        while queue:
            done = self._timed(queue)
            kept += done
            queue = queue[len(done) :]
            if queue:
                lost = queue.pop(0)
                print(f"left out, it fails the second time: {self.items[lost].nodeid}", file=sys.stderr)
                for reached in self.reach.values():
                    reached.discard(lost)
        print(f"{sum(self.seconds[k] for k in kept):.0f} s untraced", file=sys.stderr, flush=True)

    def _timed(self, numbers: list[int]) -> list[int]:
        """Those that passed in a child before the first that did not."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._silence()
                for number in numbers:
                    signal.alarm(int(10.0 + 4.0 * self.seconds[number]))
                    began = time.monotonic()
                    if not self._protocol(number):
                        break
                    os.write(writing, f"{number} {time.monotonic() - began}\n".encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            passed = [(int(k), float(took)) for k, took in map(str.split, lines)]
        os.waitpid(pid, 0)
        self.seconds.update(passed)
        return [number for number, _ in passed]

    @staticmethod
    def _silence() -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)

    def _all(self) -> int:
        counts_by_module: dict[str, Counter[str]] = defaultdict(Counter)
        survivors: list[str] = []
        deadline = time.monotonic() + 60.0 * self.minutes
        for path in self.modules:
            counts = counts_by_module[module_name(path)]
            for mutant in mutants(path):
                if not asked_again(mutant, self.only):
                    continue
                if time.monotonic() > deadline or self.rng.random() >= self.share:
                    counts["not run"] += 1
                    continue
                reach = sorted(self.reach[mutant.module, mutant.line], key=lambda k: self.seconds[k])
                outcome = self._child(mutant, str(path), reach) if reach else "no test"
                counts[outcome] += 1
                if outcome != "killed":
                    survivors.append(f"{mutant}  ({outcome})")
                    print(survivors[-1], file=sys.stderr, flush=True)
        return report(counts_by_module, survivors)

    def _child(self, mutant: Mutant, file: str, reach: list[int]) -> str:
        pid = os.fork()
        if pid == 0:
            self._silence()
            code = 1
            try:
                self._patch(mutant.code, file)
                code = 0 if all(self._in_time(number) for number in reach) else 1
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        # what hangs or crashes is noticed too
        return "survived" if status == 0 else "killed"

    def _in_time(self, number: int) -> bool:
        # what hangs ends the child
        signal.alarm(int(8.0 + 8.0 * self.seconds[number]))
        return self._protocol(number)

    def _patch(self, code: CodeType, file: str) -> None:
        for new in _codes(code):
            for function in self.functions[file].get(_key(new), ()):
                if function.__code__ != new and len(function.__code__.co_freevars) == len(new.co_freevars):
                    function.__code__ = new
        _forget()


def _forget() -> None:
    """Empties what risk/ and trading/ remember: made by code that is to change, or by the test before."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("quantd.risk.", "quantd.trading.")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    if (rules := sys.modules.get("quantd.risk.limits.ruleset")) is not None:
        rules._ready.clear()


def report(counts_by_module: dict[str, Counter[str]], survivors: list[str]) -> int:
    """The table and what survived; 1 below what is asked."""
    total: Counter[str] = Counter()
    columns = ("killed", "survived", "no test", "not run")
    print("{:26}{:>9}{:>10}{:>9}{:>9}{:>8}".format("module", *columns, "share"))
    for module, counts in counts_by_module.items():
        total += counts
        run = counts["killed"] + counts["survived"] + counts["no test"]
        print(
            "{:26}{:>9}{:>10}{:>9}{:>9}".format(module, *(counts[c] for c in columns))
            + f"{counts['killed'] / max(run, 1):>8.1%}"
        )
    print("\n".join(survivors))
    run = total["killed"] + total["survived"] + total["no test"]
    share = total["killed"] / max(run, 1)
    print(f"{total['killed']:,} of {run:,} mutants killed, {share:.1%}")
    return 0 if share >= ASKED else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the mutants, drawn at random")
    parser.add_argument("--minutes", type=float, default=600.0, help="no mutant begins after that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--longest", type=float, default=600.0, help="seconds; a test that takes more, traced, is left out"
    )
    parser.add_argument(
        "--tests",
        default=",".join(TESTS),
        help="folders and modules in tests/, without .py, with commas; none: all of TESTS",
    )
    parser.add_argument(
        "--only", type=Path, help="a file with survivors as printed: only these changes, on whatever lines they are now"
    )
    parser.add_argument(
        "modules",
        nargs="*",
        help="paths without .py: in risk/ as pretrade/gate, or trading/ledger/book; none: risk/",
    )
    asked = parser.parse_args()
    names = asked.modules or sorted(module_name(p) for p in RISK.rglob("*.py") if p.stem != "__init__")
    paths = [module_path(name) for name in names]
    only = None if asked.only is None else survivors_in(asked.only.read_text())
    hunt = Hunt(paths, asked.share, asked.minutes, asked.seed, asked.longest, only)
    places = [ROOT / "tests" / name for name in asked.tests.split(",")]
    tests = [str(place if place.is_dir() else place.with_suffix(".py")) for place in places]
    for path in [*map(str, paths), *tests]:
        if not Path(path).exists():
            parser.error(f"there is no {path}")
    # a mutant is noticed by any failing example: none is made smaller, explained or kept
    settings.register_profile("mutants", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:timeout", "-s", "--no-header", "-W",
        "ignore",
               "--hypothesis-profile=mutants", "--rootdir", str(ROOT)]  # fmt: skip
    pytest.main([*options, *tests], plugins=[hunt])
    return hunt.result


if __name__ == "__main__":
    sys.exit(main())
