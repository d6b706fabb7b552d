"""quantd.daemon.config.scan: every key, table and element of a TOML text stands where it says."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantd.daemon.config.scan import deep_key, positions
from tests.support.checkout import ROOT

NUMBERED = (Path(__file__).parent / "numbered_lines.toml").read_text()
"""Each kind of key, string, array and table; a whole number is that of its line."""


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key), inner
        yield from leaves(inner, (*path, key))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_number_stands_on_its_line_and_each_table_on_that_of_its_header(end: str) -> None:
    lines, document = positions(NUMBERED.replace("\n", end)), tomllib.loads(NUMBERED)
    numbers = {path: value for path, value in leaves(document) if type(value) is int}
    assert {path: lines[path] for path in numbers} == numbers
    assert len(numbers) > 20
    tables: dict[tuple[str | int, ...], int] = {
        ("t31",): 31, ("t31", "sub.table"): 33, ("many",): 35, ("many", 0): 35, ("many", 0, "sub", "deep"): 37,
        ("many", 1): 39, ("many", 1, "sub"): 41, ("t31", "other"): 43, ("rows", 1): 22, ("rows", 2): 24,
        ("rows", 2, "y"): 24, ("a", "b"): 3, ("at",): 18,
    }  # fmt: skip
    assert {path: lines[path] for path in tables} == tables


def test_the_paths_are_those_that_the_parser_gives() -> None:
    files = [ROOT / "config.toml", ROOT / "pyproject.toml", *(ROOT / "examples").rglob("*.toml")]
    for text in (*(file.read_text() for file in files), NUMBERED, "", "a.b.c = 1\na.d = 2"):
        assert set(positions(text)) == {path for path, _ in leaves(tomllib.loads(text))}
        assert deep_key(text) == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (".".join("a" * 32) + " = 1", 0),
        (".".join("a" * 33) + " = 1", 1),
        ("\n[[" + " . ".join(["'a'", '"b.\\""', "c"] * 11) + "]]", 2),
        ("x = '" + ".".join("a" * 33) + "'\ny = \"" + ".".join("a" * 33) + '"', 0),
        ('x = """\n' + ".".join("a" * 33) + ' = 1\n""""\n', 0),
        ("x = '''\n" + ".".join("a" * 33) + " = 1'''\n", 0),
        ("# " + ".".join("a" * 33) + "\n" + ".".join("a" * 33), 2),
    ],
)
def test_a_key_of_more_than_32_parts_is_found_and_no_text_or_comment_is_taken_for_one(text, line):
    assert deep_key(text) == line


@pytest.mark.parametrize("unit", ['"', "'", '"""', '"\\', "'''", "a", "a ", "a.", "[", "#\n", '"a".\n'])
def test_a_deep_key_is_looked_for_in_linear_time_in_any_text(unit):
    """A search in the square of the length would not end within the time of a test."""
    assert deep_key(unit * (2**20 // len(unit))) == (unit == "a.")
