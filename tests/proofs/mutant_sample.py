"""A sample of mutants of engine, gate, books and paper broker: which of them `make test` kills, and which only
`make test-all`.

    python -m tests.proofs.mutant_sample [--mutants 200] [--seed 1] [--minutes M] [--folder build/mutant_sample]
                                         [--modules risk/pretrade/judge,risk/pretrade/pairs]

Each area gives the same number of mutants; with --modules, these modules together give all. A forked child with a
mutant runs the tests of `make test` that execute the changed line, the quickest first. If all pass, the tests that
`make test-all` adds follow. Files in the folder take the results as they come, and what each test executes; the same
command goes on where it was stopped.
"""

import argparse
import ast
import builtins
import contextlib
import gc
import importlib
import json
import marshal
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import pytest
from hypothesis import Phase, is_hypothesis_test, settings
from hypothesis.internal.conjecture import providers

from quantd.engine_build import finder
from quantd.engine_build.recipe import CHECKED, UNCOMPILED
from tests.proofs.mutants import PACKAGES, PLANTED, Mutant, _codes, _forget, _key, _places, count, module_path, mutants
from tests.support.checkout import ROOT

AREAS: Final = {
    "engine": ("daemon/engine",),
    "gate": ("risk",),
    "books": ("trading",),
    "paper": ("adapters/brokers/paper",),
}
LEFT_OUT: Final = ("measures", "bootstrap.py", "covariance.py", "statistics.py", "cash_rate.py", "macro.py",
                   "display_text.py", "sessions.py", "assessment.py")  # fmt: skip
"""Folders and modules of the areas that are neither engine, gate, books nor execution."""

TESTS: Final = (
    "adapters/brokers/paper", "trading", "risk", "daemon/engine", "proofs/adversary", "daemon/runtime",
    "daemon/recovery", "attacks", "daemon/assembly", "proofs/conformance", "daemon/live", "server/requests",
    "proofs/simulation", "daemon/views", "proofs/processes",
)  # fmt: skip
LONGEST: Final = {"quick": 40, "all": 60}
"""Seconds of one test; one that takes longer is left out."""

DEAD: Final = ("killed", "crashed")
"""Outcomes of a mutant that a test noticed; it crashed by a signal, such as the alarm of a test that hangs."""

SELECTED: Final = {"quick": "not long and not slow", "all": "not slow"}
PROFILES: Final = {"quick": "quick", "all": "full"}

PATCH: Final = """
import builtins, importlib.machinery, marshal, os
with open(os.environ["MUTANT_CODES"], "rb") as _file:
    _codes = marshal.load(_file)
_own = importlib.machinery.SourceFileLoader.get_code
_seen = set()
def get_code(self, name):
    return _codes.get(os.path.realpath(self.path)) or _own(self, name)
def _reached(number):
    if number not in _seen:
        _seen.add(number)
        with open(os.environ["MUTANT_REACHED"], "a") as out:
            out.write(f"{number}\\n")
importlib.machinery.SourceFileLoader.get_code = get_code
builtins._reached = _reached
"""
"""`sitecustomize.py` of the processes that a test starts: changed modules, and where probes write."""


def modules_of(area: str) -> list[Path]:
    """The modules of an area, in the order of their names."""
    paths = [path for folder in AREAS[area] for path in (PACKAGES / folder).rglob("*.py")]
    return sorted(path for path in paths if not set(LEFT_OUT) & {*path.parts, path.name})


def drawn(mutants_: int, seed: int, chosen: Collection[Path] = ()) -> list[tuple[str, Path, int]]:
    """(area, module, number of the mutant in it), as many of each area, one area after the other; with `chosen` so many
    of these modules together."""
    columns = []
    for area in AREAS:
        paths = [path for path in modules_of(area) if not chosen or path in chosen]
        columns.append([(area, path, number) for path in paths for number in range(count(path))])
    if chosen:
        return random.Random(str(seed)).sample([place for column in columns for place in column], mutants_)
    per_area = mutants_ // len(AREAS)
    columns = [
        random.Random(f"{seed} {area}").sample(column, per_area) for area, column in zip(AREAS, columns, strict=True)
    ]
    return [place for row in zip(*columns, strict=True) for place in row]


def probed(path: Path, numbers: dict[int, int]) -> CodeType:
    """A module that calls `_reached(k)` before the statement with the mutant `number`, for each `number: k`."""
    tree = ast.parse(path.read_text())
    statement: dict[int, ast.stmt] = {}

    def walk(node: ast.AST, around: ast.stmt | None) -> None:
        for child in ast.iter_child_nodes(node):
            child_statement = child if isinstance(child, ast.stmt) else around
            if child_statement is not None:
                statement[id(child)] = child_statement
            walk(child, child_statement)

    walk(tree, None)
    wanted: dict[int, list[int]] = defaultdict(list)
    for number, place in enumerate(_places(tree, "", False)):
        if number in numbers:
            wanted[id(statement[id(place.child)])].append(numbers[number])
    for node in list(ast.walk(tree)):
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and any(id(child) in wanted for child in value):
                setattr(
                    node, name, [new for child in value for new in (*_probes(child, wanted.pop(id(child), ())), child)]
                )
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


def _probes(at: ast.AST, numbers: Iterable[int]) -> list[ast.stmt]:
    calls = [ast.Expr(ast.Call(ast.Name("_reached", ast.Load()), [ast.Constant(k)], [])) for k in numbers]
    return [ast.copy_location(call, at) for call in calls]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; none where it is missing."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Sample:
    """A pytest plugin: in place of running the tests once, maps what they execute and runs them on mutants."""

    def __init__(
        self, which: str, sample: list[tuple[str, Path, int]], folder: Path, deadline: float, cap: float
    ) -> None:
        self.which, self.sample, self.folder, self.deadline, self.cap = which, sample, folder, deadline, cap
        self.results = folder / "results.jsonl"
        self.trusted: set[str] = set()
        self.reach: dict[int, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.failed = False

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        # any failing example kills a mutant: none is made smaller, explained or kept
        name = PROFILES[self.which]
        settings.register_profile(name, settings.get_profile(name), phases=(Phase.explicit, Phase.generate))
        settings.load_profile(name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {i.nodeid: i for i in session.items if not any(word in i.nodeid for word in PLANTED)}
        for area in AREAS:
            for path in modules_of(area):
                importlib.import_module("quantd." + path.relative_to(PACKAGES).with_suffix("").as_posix()
                                        .replace("/", ".").removesuffix(".__init__"))  # fmt: skip
        providers._get_local_constants()
        self.functions: dict[str, dict[tuple[str, int, int], list[FunctionType]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for candidate in gc.get_objects():
            if isinstance(candidate, FunctionType) and candidate.__code__.co_filename.startswith(str(PACKAGES)):
                self.functions[candidate.__code__.co_filename][_key(candidate.__code__)].append(candidate)
        gc.freeze()
        self._map()
        self._all()
        return True

    # ---- what a test executes

    def _map(self) -> None:
        """Reads the maps of both sets, and adds the tests of this one that are in none. Quick properties are not run
        again with more examples."""
        map_path = self.folder / f"map_{self.which}.jsonl"
        records = [record for path in {map_path, self.folder / "map_quick.jsonl"} for record in lines_of(path)]
        self.before = {record["test"] for record in lines_of(self.folder / "map_quick.jsonl")}
        queue = [name for name in self.items if name not in {record["test"] for record in records}]
        queue.sort(key=lambda name: self._kind(name) == "long")
        print(f"{self.which}: {len(self.items)} tests, {len(queue)} to map", flush=True)
        # long tests may take hours to map: half of the time is for the mutants
        until = self.deadline if self.which == "quick" else (time.time() + self.deadline) / 2.0
        while queue and time.time() < until:
            self._forked(lambda names=queue: self._trace(names, map_path, until))  # type: ignore[misc]
            done = {record["test"] for record in lines_of(map_path)}
            stopped = [name for name in queue if name not in done][:1]
            if stopped and time.time() < until:
                with map_path.open("a") as out:
                    out.write(json.dumps({"test": stopped[0], "passed": False, "seconds": 0.0}) + "\n")
            queue = [name for name in queue if name not in done | set(stopped)]
        unusable = []
        for record in [record for path in {map_path, self.folder / "map_quick.jsonl"} for record in lines_of(path)]:
            name = record["test"]
            if not record["passed"]:
                unusable.append(name)
                continue
            self.seconds[name] = record["seconds"]
            for k in record["reached"]:
                self.reach[k].add(name)
        print(f"{self.which}: left out {len(unusable)}, not mapped {len(queue)}, "
              f"{sum(self.seconds.values()):.0f} s of tests", flush=True)  # fmt: skip

    def _trace(self, names: list[str], out: Path, until: float) -> None:
        reached_path = self.folder / "reached"
        os.environ["MUTANT_REACHED"] = str(reached_path)
        self._install({path: probed(path, numbers) for path, numbers in self._numbers().items()})
        seen: set[int] = set()
        builtins._reached = seen.add  # type: ignore[attr-defined]
        for name in names:
            if time.time() > until:
                return
            signal.alarm(LONGEST[self.which])
            _forget()
            seen.clear()
            reached_path.write_text("")
            began = time.monotonic()
            passed = self._passes(name)
            took = time.monotonic() - began
            reached = seen | {int(k) for k in reached_path.read_text().split()}
            with out.open("a") as to:
                record = {"test": name, "passed": passed, "seconds": round(took, 3), "reached": sorted(reached)}
                to.write(json.dumps(record) + "\n")

    def _numbers(self) -> dict[Path, dict[int, int]]:
        numbers: dict[Path, dict[int, int]] = defaultdict(dict)
        for k, (_, path, number) in enumerate(self.sample):
            numbers[path][number] = k
        return numbers

    def _passes(self, name: str) -> bool:
        self.failed = False
        self.items[name].config.hook.pytest_runtest_protocol(item=self.items[name], nextitem=None)
        return not self.failed

    @staticmethod
    def _forked(act: Callable[[], None]) -> int:
        """The status of a child that acted, in a session of its own; what the child left running ends with it."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setsid()
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 1)
                os.dup2(nowhere, 2)
                act()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return status

    # ---- mutants

    def _all(self) -> None:
        before = {(r["set"], r["mutant"]): r for r in lines_of(self.results)}
        mutants_by_path: dict[Path, dict[int, Mutant]] = {}
        for k, (area, path, number) in enumerate(self.sample):
            if path not in mutants_by_path:
                wanted = {n for _, p, n in self.sample if p == path}
                mutants_by_path[path] = dict(zip(sorted(wanted), mutants(path, wanted), strict=True))
            mutant = mutants_by_path[path][number]
            key = f"{mutant} #{number}"
            if (self.which, key) in before:
                continue
            first = before.get(("quick", key))
            if self.which == "all" and (first is None or first["outcome"] in DEAD):
                continue
            if time.time() > self.deadline:
                return
            began = time.monotonic()
            outcome, by, tests, beyond = self._judged(mutant, path, self._tests(k, mutant))
            which = self._kind(by) if self.which == "all" and by else self.which
            record = {"set": self.which, "area": area, "mutant": key, "outcome": outcome, "by": by, "kind": which,
                      "tests": tests, "beyond_cap": beyond,
                      "seconds": round(time.monotonic() - began, 1)}  # fmt: skip
            with self.results.open("a") as out:
                out.write(json.dumps(record) + "\n")

    def _tests(self, k: int, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant, those of its module and the quickest first; in the second pass those that the
        first had not."""
        reached = {name for name in self.reach[k] if name in self.items}
        if self.which == "all":
            reached = {name for name in reached if self._kind(name) == "long" or name not in self.before}
        test_file = f"test_{Path(mutant.module).name}.py"
        return sorted(reached, key=lambda n: (self.seconds[n] > 1.0 or test_file not in n, self.seconds[n]))

    def _kind(self, name: str) -> str:
        """`quick` for a test that does in `make test` what it does in `make test-all`: no property, not `long`."""
        item = self.items[name]
        longer = item.get_closest_marker("long") or is_hypothesis_test(item.obj)  # type: ignore[attr-defined]
        return "long" if longer else "quick"

    def _judged(self, mutant: Mutant, path: Path, names: list[str]) -> tuple[str, str, int, int]:
        """(outcome, the test that killed it, tests given, tests beyond the cap)."""
        progress = self.folder / "progress"
        while True:
            given: list[str] = []
            spent = 0.0
            for name in names:
                more = self.which == "all" and name in self.before  # a property with four times the examples
                spent += self.seconds[name] * (4.0 if more else 1.0)
                if spent > self.cap and given:
                    break
                given.append(name)
            if not given:
                return "no test", "", 0, 0
            progress.write_text("")
            status = self._forked(lambda given=given: self._run(mutant, path, given, progress))  # type: ignore[misc]
            begun = progress.read_text().split("\n")
            if status == 0:
                return "survived", "", len(given), len(names) - len(given)
            if begun[0] == "not installed":
                return "not installed", "", 0, 0
            by = begun[-2]
            if by in self.trusted or self._forked(lambda by=by: self._run(None, path, [by], progress)) == 0:  # type: ignore[misc]
                self.trusted.add(by)
                return "killed" if os.WIFEXITED(status) else "crashed", by, len(begun) - 1, 0
            print(f"left out, it fails without a mutant: {by}", flush=True)
            names = [name for name in names if name != by]
            self.seconds.pop(by)
            self.items.pop(by)

    def _run(self, mutant: Mutant | None, path: Path, names: Iterable[str], progress: Path) -> None:
        if mutant is not None and not self._install({path: mutant.code}):
            progress.write_text("not installed\n")
            raise SystemExit(1)
        _forget()
        for name in names:
            with progress.open("a") as out:
                out.write(name + "\n")
            signal.alarm(int(20.0 + 10.0 * self.seconds[name]))
            if not self._passes(name):
                raise SystemExit(1)

    def _install(self, codes: dict[Path, CodeType]) -> bool:
        """Changes functions in this process, and modules in those that it starts; whether a function changed."""
        changed = False
        for path, code in codes.items():
            for new in _codes(code):
                for function in self.functions[str(path)].get(_key(new), ()):
                    if function.__code__ != new and len(function.__code__.co_freevars) == len(new.co_freevars):
                        function.__code__ = new
                        changed = True
        site = self.folder / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(PATCH)
        (site / "codes").write_bytes(marshal.dumps({str(path.resolve()): code for path, code in codes.items()}))
        os.environ["MUTANT_CODES"] = str(site / "codes")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
        return changed


def report(results: Path) -> str:
    """The table by area, and the mutants that the tests of `make test` did not kill."""
    quick = {r["mutant"]: r for r in lines_of(results) if r["set"] == "quick"}
    later = {r["mutant"]: r for r in lines_of(results) if r["set"] == "all"}
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    survivor_lines = []
    for name, record in quick.items():
        if record["outcome"] == "not installed":
            continue
        if record["outcome"] in DEAD:
            where = "quick"
        elif name not in later:
            where = "pending"
        else:
            where = later[name]["kind"] if later[name]["outcome"] in DEAD else "none"
        for area in (record["area"], "all"):
            rows[area][where] += 1
        if where != "quick":
            survivor_lines.append(f"{where:8}{record['area']:8}{name}  {later.get(name, record)['by']}".rstrip())
    lines = [f"{'area':8}{'drawn':>7}{'quick':>7}{'long':>7}{'none':>7}{'pending':>9}{'quick of killed':>17}"]
    for area in (*AREAS, "all"):
        row = rows[area]
        killed = row["quick"] + row["long"]
        lines.append(f"{area:8}{row.total():>7}{row['quick']:>7}{row['long']:>7}{row['none']:>7}{row['pending']:>9}"
                     f"{row['quick'] / max(killed, 1):>17.1%}")  # fmt: skip
    return "\n".join([*lines, "", *sorted(survivor_lines)])


def run(
    which: str, sample: list[tuple[str, Path, int]], folder: Path, deadline: float, cap: float, places: list[str]
) -> None:
    """One pass in a child, since the profile of Hypothesis is read where a test module is imported."""
    pid = os.fork()
    if pid == 0:
        os.environ["CI"] = "true"  # properties draw the same examples each time
        options = ["-q", "-m", SELECTED[which], "-p", "no:cacheprovider", "-p", "no:timeout", "-s", "--no-header", "-W",
                   "ignore", f"--hypothesis-profile={PROFILES[which]}", "--rootdir", str(ROOT), "--basetemp",
                   str(folder / "t"), "-o", "tmp_path_retention_policy=none"]  # fmt: skip
        pytest.main([*options, *places], plugins=[Sample(which, sample, folder, deadline, cap)])
        os._exit(0)
    os.waitpid(pid, 0)


def main() -> int:
    if finder.loaded() is not None:  # a mutant changes the source
        kept = {name: value for name, value in os.environ.items() if name != CHECKED} | {UNCOMPILED: "1"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.proofs.mutant_sample", *sys.argv[1:]], kept)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="nothing begins after that")
    parser.add_argument("--cap", type=float, default=60.0, help="seconds of tests for a mutant, the quickest first")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutant_sample")
    parser.add_argument("--tests", default=",".join(TESTS), help="folders and modules in tests/, with commas")
    parser.add_argument("--modules", help="modules of the areas, by their paths without .py, with commas; none: all")
    parser.add_argument("--set", choices=SELECTED, help="this pass only")
    parser.add_argument("--report", action="store_true", help="print the results so far, and run nothing")
    asked = parser.parse_args()
    chosen = [module_path(name) for name in asked.modules.split(",")] if asked.modules else []
    lost = [str(path) for path in chosen if not any(path in modules_of(area) for area in AREAS)]
    if lost:
        parser.error(f"no module of the areas: {', '.join(lost)}")
    # what was mapped is of these mutants; sources that changed need another folder
    folder = asked.folder.resolve() / "_".join([f"{asked.mutants}_{asked.seed}", *(path.stem for path in chosen)])
    if not asked.report:
        folder.mkdir(parents=True, exist_ok=True)
        began = time.time()
        sample = drawn(asked.mutants, asked.seed, chosen)
        places = [str(ROOT / "tests" / name) for name in asked.tests.split(",")]
        for which, share in zip(SELECTED, (0.65, 1.0), strict=True):
            if asked.set in (None, which):
                part = 1.0 if asked.set else share
                run(which, sample, folder, began + part * 60.0 * asked.minutes, asked.cap, places)
    print(report(folder / "results.jsonl"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
