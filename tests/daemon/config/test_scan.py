"""quantd.daemon.config.scan: every key, table and element of a TOML text stands where it says."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.config.scan import deep_key, positions
from tests.support.checkout import ROOT
from tests.support.examples import examples

SCALARS = st.sampled_from(
    ["1", "-2.5", "true", "nan", "1979-05-27 07:32:00Z", "07:32:00", '"a # ] } = \\" b"', "'c:\\d # ['", '""', "''"]
)
LONG = st.sampled_from(
    [
        '"""\none ""two""\n# no comment\n[none]\n"""',
        "'''\nx = 1\n'' '''",
        '"""a""""',
        '"""\\\n   b\\"""c"""',
        "'''d'''''",
    ]
)
KEYS = st.sampled_from(["a", "b-1", "_c", "3", '"d.e"', "'f#[g]'", '"h\\u00e9"', '""'])
GAPS = st.sampled_from(["", "\n", "  # a = 1\n", "\n\n# [x]\n"])


class Writer:
    """Writes TOML and notes the line of each thing as it writes it."""

    def __init__(self):
        self.text = ""
        self.lines = {}

    def note(self, path):
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self, raw, path):
        path = (*path, tomllib.loads(f"k = {raw}")["k"] if raw[0] in "\"'" else raw)
        self.note(path)
        self.text += raw
        return path

    def value(self, shape, path, inline):
        kind, content = shape
        if kind == "scalar":
            self.text += content
        elif kind == "array":
            self.text += "["
            for k, (gap, inner) in enumerate(content):
                self.text += "" if inline else gap
                self.note((*path, k))
                self.value(inner, (*path, k), inline)
                self.text += " ,"
            self.text += "]"
        else:
            self.text += "{ "
            for k, (raw, inner) in enumerate(content):
                self.text += ", " if k else ""
                inner_path = self.key(raw, path)
                self.text += " = "
                self.value(inner, inner_path, True)
            self.text += " }"


def unique_by_key(pairs):
    seen = {}
    for raw, value in pairs:
        seen.setdefault(tomllib.loads(f"k = {raw}")["k"] if raw[0] in "\"'" else raw, (raw, value))
    return list(seen.values())


SHAPES = st.recursive(
    st.tuples(st.just("scalar"), SCALARS | LONG),
    lambda inner: st.one_of(
        st.tuples(st.just("array"), st.lists(st.tuples(GAPS, inner), max_size=3)),
        st.tuples(st.just("table"), st.lists(st.tuples(KEYS, inner), max_size=3).map(unique_by_key)),
    ),
    max_leaves=6,
)
TABLES = st.lists(st.tuples(KEYS, SHAPES), max_size=4).map(unique_by_key)


@st.composite
def documents(draw):
    """(text, path -> line), the lines counted by the writer."""
    writer = Writer()

    def body(pairs, path):
        for raw, shape in pairs:
            writer.text += draw(GAPS)
            if not writer.text.endswith("\n") and writer.text:
                writer.text += "\n"
            writer.text += draw(st.sampled_from(["", "  "]))
            inner = writer.key(raw, path)
            writer.text += draw(st.sampled_from([" = ", "=", "  =\t"]))
            writer.value(shape, inner, False)
            writer.text += draw(st.sampled_from(["\n", "   # tail = [\n"]))

    body(draw(TABLES), ())
    for k in range(draw(st.integers(0, 3))):
        name = f"section{k}"
        for element in range(draw(st.integers(1, 3)) if k % 2 else 1):
            path = (name,)
            writer.text += draw(GAPS)
            writer.text += "" if writer.text.endswith("\n") or not writer.text else "\n"
            writer.note(path)
            if k % 2:
                path = (name, element)
                writer.note(path)
                writer.text += f"[[ {name} ]] # head\n"
            else:
                writer.text += f"[{name}]\n"
            body(draw(TABLES), path)
            writer.note((*path, "sub"))
            writer.note((*path, "sub", "deep"))
            writer.text += f"[{name}.sub.deep]\n"
            body(draw(TABLES), (*path, "sub", "deep"))
    return writer.text, writer.lines


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(documents())
def test_every_thing_of_a_generated_text_is_found_on_the_line_it_was_written_on(document):
    text, lines = document
    tomllib.loads(text)
    assert positions(text) == lines


@pytest.mark.long
@settings(max_examples=examples(50), deadline=None)
@given(documents())
def test_windows_line_ends_change_no_line(document):
    text, lines = document
    assert positions(text.replace("\n", "\r\n")) == lines


def paths(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def test_the_paths_are_those_that_the_parser_gives():
    for text in ((ROOT / "config.toml").read_text(), (ROOT / "pyproject.toml").read_text(), "", "a.b.c = 1\na.d = 2"):
        assert set(positions(text)) == set(paths(tomllib.loads(text)))


def test_a_key_inside_an_inline_table_stands_on_its_own_line():
    text = 'x = [\n  { a = 1 },\n  { b = """\n\n""", c = 2 },\n]\n'
    lines = positions(text)
    assert lines[("x", 0, "a")] == 2
    assert (lines[("x", 1, "b")], lines[("x", 1, "c")]) == (3, 5)


@settings(max_examples=examples(50), deadline=None)
@given(documents())
def test_no_generated_text_has_a_deep_key(document):
    assert deep_key(document[0]) == 0


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
