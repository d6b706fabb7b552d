"""`python scripts/requirements_page.py` writes docs/requirements.md from the marks of tests.

A test that shows a requirement has the decorator `@pytest.mark.requirement("R-001")`, or its module has that mark as
`pytestmark`. Marks are read from syntax trees, so that no test is imported.
"""

import ast
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = Path("tests/requirements.toml")
PAGE: Final = Path("docs/requirements.md")
MARK: Final = "pytest.mark.requirement"
STATES: Final = {"partly": "Partly", "missing": "Missing", "left_out": "Left out"}

HEAD: Final = """# Requirements and the tests that show them

Each row has one requirement of quantd and the tests that show it. Use this page to see what is proven, what is lacking
and what is left out on purpose. `pytest PATH::NAME` runs a test. Add `-m "long or not long"` for a test that
`make test` leaves out.

- *Shown*: tests show the requirement, but for a part that the last column calls left out.
- *Partly*: some of it is there. The last column names what is lacking.
- *Missing*: it is not built, or nothing shows it.
- *Left out*: this is not built on purpose. The last column has the reason.

`python scripts/requirements_page.py` writes this page from `tests/requirements.toml` and the marks of the tests.
"""


class Requirement(NamedTuple):
    """One requirement: its sentence, and state -> words for what is not shown of it."""

    id: str
    sentence: str
    states: dict[str, str]

    @property
    def shown(self) -> bool:
        """Whether nothing is lacking but what is left out on purpose."""
        return "partly" not in self.states and "missing" not in self.states


class Mark(NamedTuple):
    """A test, or a module whose name is "", that shows the requirement `id`."""

    id: str
    path: str
    name: str
    line: int


class MarkError(ValueError):
    """Marks and requirements that do not fit together, one line each."""


def sections_of(text: str) -> dict[str, list[Requirement]]:
    """Title -> requirements, in the order of the file; MarkError where a state names no requirement."""
    sections, faults = {}, []
    for table in tomllib.loads(text).values():
        states = {state: table.get(state, {}) for state in STATES}
        sentences = {name: value for name, value in table.items() if isinstance(value, str) and name != "title"}
        sections[table["title"]] = [
            Requirement(name, sentence, {state: words[name] for state, words in states.items() if name in words})
            for name, sentence in sentences.items()
        ]
        faults += [
            f"{DATA}: {state} has {name}, which has no sentence in the section {table['title']!r}"
            for state, words in states.items()
            for name in words
            if name not in sentences
        ]
    names = [requirement.id for requirement in in_order(sections)]
    faults += [f"{DATA}: {name} occurs twice" for name in sorted({name for name in names if names.count(name) > 1})]
    if faults:
        raise MarkError("\n".join(faults))
    return sections


def in_order(sections: dict[str, list[Requirement]]) -> list[Requirement]:
    """All requirements."""
    return [requirement for requirements in sections.values() for requirement in requirements]


def marks_of(source: str, path: str) -> list[Mark]:
    """The marks in the source text of a test module; MarkError for one that is on no test or names no id."""
    tree = ast.parse(source)
    seen: set[int] = set()
    marks = [mark for owner, call in _marked(tree) for mark in _ids(call, path, owner, seen)]
    for call in _calls(tree):
        if id(call) not in seen:
            raise MarkError(f"{path}:{call.lineno}: {MARK} is on no test; a test or `pytestmark` may have it")
    return marks


def _marked(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Each mark of a test with the name of the test, and each of the module with ""."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets):
            yield from (("", call) for call in _calls(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _is_mark(decorator):
                    yield node.name, decorator


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_mark(node):
            yield node


def _is_mark(call: ast.Call) -> bool:
    named = isinstance(call.func, ast.Attribute) and call.func.attr == "requirement"
    return named and ast.unparse(call.func) == MARK


def _ids(call: ast.Call, path: str, owner: str, seen: set[int]) -> Iterator[Mark]:
    seen.add(id(call))
    if not call.args:
        raise MarkError(f"{path}:{call.lineno}: {MARK} names no requirement")
    for argument in call.args:
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise MarkError(f'{path}:{call.lineno}: {ast.unparse(argument)} is no text; write ids such as "R-001"')
        yield Mark(argument.value, path, owner, call.lineno)


def marks_below(folder: Path) -> list[Mark]:
    """The marks of all test modules below `folder`, with paths that begin with its name."""
    marks = []
    for file in sorted(folder.rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "requirement(" in text:
            marks += marks_of(text, file.relative_to(folder.parent).as_posix())
    return marks


def faults(requirements: list[Requirement], marks: list[Mark]) -> list[str]:
    """A line for each mark of an unknown id, each shown requirement without a test and each missing one with a test."""
    by_id = {entry.id: entry for entry in requirements}
    marked = {entry.id for entry in marks}
    faulty = [f"{m.path}:{m.line}: {m.id} is in no section of {DATA}" for m in marks if m.id not in by_id]
    faulty += [
        f'{entry.id} is shown by no test; mark one with @{MARK}("{entry.id}"), or write in {DATA} what is lacking'
        for entry in requirements
        if entry.shown and entry.id not in marked
    ]
    faulty += [
        f"{m.id} is called missing in {DATA}, and {m.path}:{m.line} shows it"
        for m in marks
        if m.id in by_id and "missing" in by_id[m.id].states
    ]
    return faulty


def page_of(sections: dict[str, list[Requirement]], marks: list[Mark]) -> str:
    """The text of the page."""
    parts = [HEAD, _counts(in_order(sections)), _lacking(sections)]
    for title, requirements in sections.items():
        parts.append(f"## {title}\n\n| id | requirement | shown by | lacking or left out |\n|---|---|---|---|\n")
        parts += [_row(requirement, [m for m in marks if m.id == requirement.id]) for requirement in requirements]
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _counts(requirements: list[Requirement]) -> str:
    rows = ["\n| | requirements (R) | figures (F) |\n|---|---:|---:|\n"]
    counted: dict[str, Callable[[Requirement], bool]] = {
        "shown": lambda requirement: requirement.shown,
        "partly": lambda requirement: "partly" in requirement.states,
        "missing": lambda requirement: "missing" in requirement.states,
        "with a part left out": lambda requirement: "left_out" in requirement.states,
    }
    for title, holds in counted.items():
        both = [sum(holds(requirement) for requirement in requirements if requirement.id[0] == kind) for kind in "RF"]
        rows.append(f"| {title} | {both[0]} | {both[1]} |\n")
    return "".join(rows) + "\n"


def _lacking(sections: dict[str, list[Requirement]]) -> str:
    """What is left out on purpose, as a list."""
    rows = [
        f"- {requirement.id}: {requirement.states['left_out']}\n"
        for requirement in in_order(sections)
        if "left_out" in requirement.states
    ]
    return f"## Left out on purpose\n\n{''.join(rows)}\n" if rows else ""


def _row(requirement: Requirement, marks: list[Mark]) -> str:
    tests = "<br>".join(
        f"[{m.path}{'::' if m.name else ''}{m.name}](../{m.path})"
        for m in dict.fromkeys(m._replace(line=0) for m in marks)
    )
    notes = "<br>".join(f"*{STATES[state]}.* {words}" for state, words in requirement.states.items())
    return f"| {requirement.id} | {requirement.sentence} | {tests} | {notes} |\n"


def main() -> int:
    try:
        sections = sections_of((ROOT / DATA).read_text(encoding="utf-8"))
        marks = marks_below(ROOT / "tests")
        faulty = faults(in_order(sections), marks)
    except MarkError as error:
        faulty = str(error).splitlines()
    if faulty:
        print("\n".join(faulty), file=sys.stderr)
        return 1
    (ROOT / PAGE).write_text(page_of(sections, marks), encoding="utf-8")
    print(f"{PAGE}: {len(in_order(sections))} requirements, {len(marks)} marks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
