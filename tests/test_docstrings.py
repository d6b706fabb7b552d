"""Public functions, methods and classes have docstrings; the kinds that need none are named with their reason."""

import ast
from functools import cache

import pytest

from tests.support.docstrings import KINDS, PACKAGES, Missing, classes, missing, missing_in, modules

SOURCE = '''
class Feed(Protocol):
    def bars(self):
        """Bars of the universe, oldest first."""
    def close(self): ...

class File:
    """Bars in a file."""
    def bars(self): ...
    def close(self): ...
    def rows(self): ...
    def _read(self): ...

class Quick(File):
    """The same, with a cache."""
    @property
    def size(self): ...
    @size.setter
    def size(self, size): ...

    class Row:
        def text(self): ...

class Lines(logging.Handler):
    """Log lines."""
    def emit(self, record): ...

@metric("Beta", "ratio")
def beta(record): ...

if True:
    def look(config): ...
    def other(): ...

COMMAND: Final = Command("Look", 1, look)
'''


def kinds(module: str) -> list[tuple[str, str]]:
    """The definitions of SOURCE without a docstring, as those of a module at this path, with their kind."""
    tree = ast.parse(SOURCE)
    return [(entry.name, entry.kind) for entry in missing_in(module, tree, classes([(module, tree)]))]


@cache
def listed() -> dict[str, list[Missing]]:
    """The public definitions without a docstring of each package."""
    above = classes(modules(*PACKAGES))
    return {package: list(missing(package, above)) for package in PACKAGES}


@pytest.mark.long
def test_a_public_definition_has_a_docstring_or_is_of_a_kind_that_needs_none() -> None:
    assert [entry.text() for entries in listed().values() for entry in entries if not entry.kind] == []


def test_a_definition_without_a_docstring_is_seen_with_the_kind_that_excuses_it() -> None:
    assert kinds("daemon/cli/look/bars.py") == [
        ("Feed", ""),
        ("Feed.close", ""),
        ("File.bars", "override"),
        ("File.close", ""),
        ("File.rows", ""),
        ("Quick.size", ""),
        ("Quick.size", "setter"),
        ("Quick.Row", ""),
        ("Row.text", ""),
        ("Lines.emit", "library"),
        ("beta", "metric"),
        ("look", "command"),
        ("other", ""),
    ]


def test_a_handler_of_a_route_and_a_migration_are_known_by_their_folder() -> None:
    route = "class Reads:\n    def routes(self): ...\n    async def log(self): ...\n    def line(self): ...\n"
    migration = "def upgrade(): ...\n"
    tree, other = ast.parse(route), ast.parse(migration)
    assert [entry.kind for entry in missing_in("server/api/routes/a.py", tree, {})] == ["", "route", "route", ""]
    assert [entry.kind for entry in missing_in("server/api/a.py", tree, {})] == ["", "", "", ""]
    folder = "adapters/store/migrations/versions"
    assert [entry.kind for entry in missing_in(f"{folder}/r1.py", other, {})] == ["migration"]
    assert [entry.kind for entry in missing_in("adapters/store/r1.py", other, {})] == [""]


@pytest.mark.long
def test_each_kind_has_a_definition_and_a_reason() -> None:
    assert {entry.kind for entries in listed().values() for entry in entries} - {""} == set(KINDS)
    assert all(reason.strip() for reason in KINDS.values())
