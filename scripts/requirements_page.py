"""`python scripts/requirements_page.py` prints the requirements with the tests that show them; the site has the page.

A test that shows a requirement has the decorator `@pytest.mark.requirement("R-001")`, or its module has that mark as
`pytestmark`. Marks are read from the text, so that no test is imported.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = Path("tests/requirements.toml")
_MARK: Final = re.compile(r"^(.*)pytest\.mark\.requirement\(([^)]*)\)", re.MULTILINE)
_OF_MODULE: Final = re.compile(r"^pytestmark = .*(?:\n .*)*\Z", re.MULTILINE)
_FUNCTION: Final = re.compile(r"^ *(?:async )?def (\w+)", re.MULTILINE)
STATES: Final = {"partly": "Partly", "missing": "Missing", "left_out": "Left out"}

HEAD: Final = """# Requirements and the tests that show them

Each row has one requirement of quantd and the tests that show it. `pytest PATH::NAME` runs a test. Add
`-m "long or not long"` for a test that `make test` leaves out.

- *Partly*: some of it is there. The last column names what is lacking.
- *Missing*: it is not built, or nothing shows it.
- *Left out*: this is not built on purpose. The last column has the reason.

"""


class Mark(NamedTuple):
    """A test, or a module whose name is "", that shows the requirement `id`."""

    id: str
    path: str
    name: str
    line: int


def sections() -> list[dict[str, Any]]:
    """The tables of the data: a title, id -> sentence, and state -> {id: words for what is not shown of it}."""
    return list(tomllib.loads((ROOT / DATA).read_text(encoding="utf-8")).values())


def requirements(section: dict[str, Any]) -> dict[str, tuple[str, dict[str, str]]]:
    """Id -> its sentence, and its states with their words."""
    return {
        name: (sentence, {state: section[state][name] for state in STATES if name in section.get(state, {})})
        for name, sentence in section.items()
        if isinstance(sentence, str) and name != "title"
    }


def marks_of(text: str, path: str) -> Iterator[Mark]:
    """The marks of the tests of a module, and of the module itself; a mark at another place has the name "?"."""
    for match in _MARK.finditer(text):
        test = _FUNCTION.search(text, match.end())
        name = test[1] if match[1].strip() == "@" and test else "?"
        if _OF_MODULE.search(text[: match.end()]):
            name = ""
        for requirement in re.findall(r"\w+-\d+", match[2]):
            line = text.count("\n", 0, match.end()) + 1
            yield Mark(requirement, path, name if name.startswith("test_") or not name else "?", line)


@cache
def marks() -> list[Mark]:
    """The marks of all test modules."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [mark for file in files for mark in marks_of(file.read_text("utf-8"), file.relative_to(ROOT).as_posix())]


def faults(tables: list[dict[str, Any]], given: list[Mark]) -> Iterator[str]:
    """What of the data and of the marks does not fit together."""
    known = {name: states for table in tables for name, (_, states) in requirements(table).items()}
    marked = {mark.id for mark in given}
    for table in tables:
        for state in STATES:
            stray = set(table.get(state, {})) - set(requirements(table))
            yield from (f"{DATA}: {state} has {name}, which has no sentence beside it" for name in sorted(stray))
    for mark in given:
        if mark.id not in known or mark.name == "?":
            yield f"{mark.path}:{mark.line}: {mark.id} is " + ("on no test" if mark.name == "?" else f"not in {DATA}")
        elif "missing" in known[mark.id]:
            yield f"{mark.path}:{mark.line}: {mark.id} is called missing in {DATA}"
    for name, states in known.items():
        if not {"partly", "missing"} & set(states) and name not in marked:
            yield f"{DATA}: {name} is shown by no test: mark one, or write what is lacking"


def page() -> str:
    """The text of the page."""
    parts, given = [HEAD], marks()
    for table in sections():
        parts.append(
            f"## {table['title']}\n\n| id | requirement | shown by | lacking or left out |\n|---|---|---|---|\n"
        )
        for name, (sentence, states) in requirements(table).items():
            tests = dict.fromkeys((mark.path, mark.name) for mark in given if mark.id == name)
            links = "<br>".join(f"[{path}{'::' if test else ''}{test}](../../{path})" for path, test in tests)
            notes = "<br>".join(f"*{STATES[state]}.* {words}" for state, words in states.items())
            parts.append(f"| {name} | {sentence} | {links} | {notes} |\n")
        parts.append("\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
    sys.exit("\n".join(faults(sections(), marks())) or 0)
