"""The declarations of annotated Python, and each refusal with its line and remedy."""

import ast

import pytest

from quantd.engine_build import builder, recipe
from quantd.engine_build.declarations import Surface, declare, extending, subclass_refusals
from quantd.engine_build.recipe import InnerLoop

NUMBER_TYPES = """
from typing import Annotated, TypeAlias
Ints: TypeAlias = Annotated["memoryview[int]", "q"]
Floats: TypeAlias = Annotated["memoryview[float]", "d"]
Codes: TypeAlias = Annotated["memoryview[int]", "b"]
Rows: TypeAlias = Annotated["memoryview[float]", "d", 2]
IntRows: TypeAlias = Annotated["memoryview[int]", "q", 2]
ReadFloats: TypeAlias = Annotated["memoryview[float]", "d", "const"]
ReadRows: TypeAlias = Annotated["memoryview[float]", "d", 2, "const"]
Whole: TypeAlias = Annotated[int, object]
HOUSE = -1
MANY = 10**6
LARGE = 2**70
"""
HEAD = "from quantd.types import HOUSE, MANY, Codes, Floats, IntRows, Ints, ReadFloats, ReadRows, Rows, Whole\n"
ONE, TWO = "quantd.trading.one", "quantd.risk.two"


def declared(text, *, other="", listed=(ONE,), inner=(), checked=False):
    """What is declared of one or two modules."""
    texts = {ONE: HEAD + text, TWO: other, "quantd.types": NUMBER_TYPES}
    return declare(texts.get, listed, inner, checked=checked)


def refusals(text, **options):
    """The refusals of a module, as lines; its first line is the second of the file."""
    return [str(refusal) for refusal in declared(text, **options).refusals]


BOOK = """
class Book:
    size: int
    held: Floats
    lots: Ints
    name: str
    def __init__(self, size: int) -> None:
        self.size = size
    def value(self, k: int, price: float = 1.0) -> float:
        found: float = 0.0
        for j in range(k):
            found += self.held[j] * price
        return found
    def _part(self, marks: Ints, whole: bool) -> tuple[int, int]:
        left: Whole = marks[0]
        return self.size, marks[0]
"""


def test_a_buffer_to_read_is_declared_constant():
    analysis = declared(
        "def first(row: ReadFloats, rows: ReadRows, k: int) -> float:\n    return row[k] + rows[k, 0]\n"
    )
    assert analysis.refusals == ()
    assert "first(const double[::1] row, const double[:, ::1] rows, long long k)" in analysis.declarations[ONE]


def test_public_functions_are_for_python_too_and_private_ones_for_c_only():
    analysis = declared(
        BOOK + "\ndef half(a: int, b: int = 2) -> int:\n    return a // b\ndef _own() -> None:\n    return\n"
    )
    assert analysis.refusals == ()
    lines = analysis.declarations[ONE].splitlines()
    assert "cpdef long long half(long long a, long long b=*) except? -1" in lines
    assert "cdef object _own()" in lines
    assert lines[lines.index("cdef class Book:") :] == [
        "cdef class Book:",
        "    cdef public long long size",
        "    cdef public double[::1] held",
        "    cdef public long long[::1] lots",
        "    cdef public str name",
        '    @cython.locals(found="double", j="long long")',
        "    cpdef double value(self, long long k, double price=*) except? -1",
        "",  # the line of the locals, of which there are none
        "    cdef (long long, long long) _part(self, long long[::1] marks, bint whole) except *",
    ]


def test_a_local_more_or_less_moves_no_line_of_a_declaration():
    other = BOOK.replace("        found: float = 0.0\n", "").replace("found += ", "price *= ").replace("found", "price")
    lines = [
        declared(text).declarations[ONE].splitlines() for text in (BOOK, other.replace("for j in range(k)", "if k"))
    ]
    assert [(a, b) for a, b in zip(*lines, strict=True) if a != b] == [
        ('    @cython.locals(found="double", j="long long")', "")
    ]


def test_a_listed_class_of_another_module_is_a_type_and_an_unlisted_one_an_object():
    text = "from quantd.risk.two import Gate\n"
    text += "def check(gate: Gate, other: 'Gate | None') -> bool:\n    return gate.check()\n"
    other = "class Gate:\n    def check(self) -> bool:\n        return True\n"
    declarations = declared(text, other=other, listed=(ONE, TWO)).declarations[ONE]
    assert "from quantd.risk.two cimport Gate" in declarations
    assert "cpdef bint check(Gate gate, Gate other) except? -1" in declarations
    assert "cpdef bint check(object gate, object other)" in declared(text, other=other).declarations[ONE]


def test_a_function_and_a_constant_of_another_module_are_of_c():
    text = "from quantd.risk.two import half, WIDE\ndef twice(k: int) -> int:\n    return half(k) * WIDE * MANY\n"
    other = "WIDE = 3\ndef half(k: int) -> int:\n    return k // 2\n"
    declarations = declared(text, other=other, listed=(ONE, TWO)).declarations[ONE]
    assert "from quantd.risk.two cimport half" in declarations
    assert "cdef long long MANY" in declarations
    assert "cdef long long WIDE" in declarations


def test_a_class_extends_a_listed_one_that_is_declared_before_it():
    text = "class Late:\n    base: 'Early'\nclass Early:\n    n: int\nclass Child(Early):\n    k: int\n"
    lines = declared(text).declarations[ONE].splitlines()
    assert "cdef class Child(Early)" in lines
    assert lines.index("cdef class Early:") < lines.index("cdef class Child(Early):")


def test_a_public_constant_is_kept_for_python():
    source = declared("MOST = 2**62 - 1\n_OWN = 4\n").sources[ONE]
    assert source.splitlines()[-1] == 'globals()["MOST"] = MOST'
    assert declared("TOO_LARGE = 2**64\n").declarations[ONE].count("TOO_LARGE") == 0


LOOP = """
class Gate:
    n: int
    held: Floats

    def attach(self, held: Floats) -> None:
        self.held = held

    def total(self) -> float:
        found: float = 0.0
        for k in range(self.n):
            found += self.held[k]
        return found
"""


def test_an_inner_loop_of_the_list_has_no_checks_except_in_the_checked_build():
    inner = [InnerLoop(ONE, "Gate.total", "Gate.attach")]
    fast = declared(LOOP, inner=inner)
    assert fast.refusals == ()
    lines, plain = fast.sources[ONE].splitlines(), (HEAD + LOOP).splitlines()
    assert [(a, b) for a, b in zip(lines, plain, strict=True) if a != b] == [
        ("import cython; " + HEAD.strip(), HEAD.strip()),
        ("    @cython.boundscheck(False)", ""),
    ]
    assert declared(LOOP, inner=inner, checked=True).sources[ONE].splitlines() == plain
    assert "boundscheck" not in declared(LOOP).sources[ONE]


@pytest.mark.parametrize("function", ["Gate.gone", "Gate.total"])
def test_an_inner_loop_names_two_functions_that_are_there(function):
    (line,) = refusals(LOOP, inner=[InnerLoop(ONE, function, "Gate.attach" if "gone" in function else "Gate.never")])
    assert "which is not there; correct INNER_LOOPS" in line


F = "def f(a: int, b: float, xs: Ints, ys: Floats, flag: bool) -> float:\n"
REFUSED = [
    (F + "    c = a + 1\n    return b\n", 3, "the local c holds a number and has no type; declare c: int"),
    (F + "    c = ys[a]\n    return c\n", 3, "the local c holds a number and has no type; declare c: float"),
    (F + "    c = flag\n    return b\n", 3, "declare c: bool"),
    (F + "    for x in ys:\n        b += x\n    return b\n", 3, "has no type; declare x: float"),
    (F + "    if (c := a) > 1:\n        pass\n    return b\n", 3, "the local c holds a number"),
    ("def f(*args: int) -> None:\n    pass\n", 2, "f takes *args or **kwargs; name every argument"),
    ("def f(*, a: int) -> None:\n    pass\n", 2, "f has arguments by name or by position only; leave out * and /"),
    ("def f(a) -> None:\n    pass\n", 2, "the argument a of f has no type"),
    ("def f(a: int):\n    pass\n", 2, "f has no type of its result"),
    (F + "    def g() -> None:\n        pass\n    return b\n", 3, "g is defined inside a function; write a loop"),
    (F + "    g = lambda: a\n    return b\n", 3, "a closure: a lambda"),
    (F + "    return sum(x for x in ys)\n", 3, "a generator; write a loop"),
    ("def f(a: int) -> object:\n    yield a\n", 3, "a generator"),
    ("async def f(a: int) -> None:\n    pass\n", 2, "f is asynchronous; move it"),
    (F + "    return ys[-1]\n", 3, "-1 is a negative index into a buffer: memory before the array in C"),
    (F + "    return ys[HOUSE]\n", 3, "HOUSE is a negative index into a buffer"),
    (F + "    k: int = HOUSE\n    return ys[k]\n", 4, "k is a negative index"),
    ("class Book:\n    ys: Floats\n    def f(self) -> float:\n        return self.ys[HOUSE]\n", 5, "a negative index"),
    ("class Book(Exception):\n    n: int\n", 2, "has the base Exception, which is not listed; list its module"),
    ("@final\nclass Book:\n    n: int\n", 3, "the class Book has the decorator final; write an ordinary class"),
    ("@cache\ndef f(a: int) -> int:\n    return a\n", 3, "f has the decorator cache; write a plain function"),
    ("class Book:\n    n: int = 3\n", 3, "the field n has a value in its class; assign it in __init__"),
    ("class Book:\n    n = 3\n", 3, "the class assigns a name; write a constant"),
    ("class Book:\n    n: int\n    def f(self) -> None:\n        self.m = 3\n", 5, "declares no field m; write m:"),
    ("def f(double: int) -> None:\n    pass\n", 2, "double is a word of C; choose another name"),
    (F + "    return a / 2\n", 3, "a quotient of two ints: Python rounds the exact quotient"),
    (F + "    return b // 2.0\n", 3, "// or % of floats"),
    (F + "    return b ** 2.0\n", 3, "a power"),
    (F + "    c: int = a << a\n    return b\n", 3, "a shift by a number that is not a constant"),
    (F + "    if b < a:\n        pass\n    return b\n", 3, "a is an int and is compared with a float"),
    (F + "    return 0\n", 3, "0 is an int where a float belongs: it stays an int in Python only; write 0.0"),
    (F + "    b = a\n    return b\n", 3, "it stays an int in Python only; write float(a)"),
    (F + "    c: int = flag\n    return b\n", 3, "flag is a bool where an int belongs"),
    (F + "    return b if flag else 0\n", 3, "one value is an int, the other a float"),
    (F + "    return f(a, a, xs, ys, flag)\n", 3, "a is an int where a float belongs"),
    (F + "    c: int = 1\n    c: float = 1.0\n    return b\n", 4, "the local c has two types"),
    (F + "    global MANY\n    return b\n", 3, "MANY belongs to another scope"),
    ("A = 1\nA = 2\n", 3, "A is assigned twice in the module"),
    (F + "    return float(abs(xs[a]))\n", 3, "abs of an element of a buffer of whole numbers"),
    ("def f(rows: IntRows) -> int:\n    return abs(rows[1, 2])\n", 3, "abs of an element"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), REFUSED)
def test_what_would_differ_when_it_is_compiled_is_refused_with_line_and_remedy(text, line, message):
    lines = refusals(text)
    assert [refusal for refusal in lines if refusal.startswith(f"trading/one.py:{line}: ") and message in refusal], (
        lines
    )


@pytest.mark.parametrize(
    "text",
    [
        F + "    c: int = a + 1\n    d: float\n    e: int\n    e, d = c, b\n    return d * c\n",
        F + "    c: int\n    rest: int\n    c, rest = divmod(a, 7)\n    return float(c) / float(rest)\n",
        F + "    return ys[a - 1] if b > 0 else 0.0\n",
        F + "    xs[a] = MANY\n    return b + MANY\n",
        F + "    wide: Whole = a\n    other = wide * 3\n    return b\n",
        F + "    found = [float(x) for x in xs]\n    return found[0]\n",
        F + "    name = f'{a} {b:.2f}'\n    raise ValueError(name)\n",
        F + "    a += 1\n    b *= 2.0\n    flag = a > 3\n    return abs(b) if not flag else max(b, 1.0)\n",
        F + "    k: int = 2**40 >> 3\n    return float(k)\n",
        F + "    lots: int = xs[a]\n    return abs(ys[a]) + float(abs(lots) + abs(xs[a] - 1))\n",
        "class Book:\n    n: int\n    def __eq__(self, other: object) -> bool:\n        return self is other\n",
    ],
)
def test_ordinary_code_is_declared(text):
    assert refusals(text) == []


def test_a_private_name_of_a_listed_module_is_not_imported():
    lines = refusals("from quantd.risk.two import _own\n", other="def _own() -> None:\n    pass\n", listed=(ONE, TWO))
    assert lines == ["trading/one.py:2: _own of risk/two.py is private: Python does not see it; give it a public name"]


CORE = """
class Core:
    now: int
    worth: float
    ready: bool
    name: str
    held: Floats
    seen: ReadFloats
    rests: dict[str, int]
    pair: tuple[int, int]
    book: "Book | None"
    log: object
    def _post(self) -> None:
        return
class Book:
    n: int
class Page(Book):
    k: int
"""


def in_subclass(body, *, head="", bases="Core", source=CORE):
    """The refusals of a class that extends `Core` in a module that is not listed, without the place of each."""
    imports = "from quantd.types import Floats\nfrom quantd.trading.one import Book, Core, Page\n"
    text = f"{imports}{head}class State({bases}):\n{body}"
    surface = Surface({ONE: HEAD + source, "quantd.types": NUMBER_TYPES}.get, (ONE,))
    return [str(refusal).partition(": ")[2] for refusal in subclass_refusals(surface, "daemon/state.py", text)]


def test_a_private_method_of_a_compiled_class_is_replaced_by_no_subclass():
    text = "    def {}(self):\n        return\n"
    assert in_subclass(text.format("_post")) == [
        "_post of State replaces a C function of Core, which calls its own; give it a public name in trading/one.py"
    ]
    assert in_subclass(text.format("post")) == in_subclass(text.format("__init__")) == []


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("    held = None\n", "State has an attribute held of its class"),
        ("    now: int = 3\n", "State has an attribute now of its class"),
        ("    log = 3\n", "State has an attribute log of its class"),
        ("    def rests(self):\n        return 0\n", "State has an attribute rests of its class"),
        ("    @property\n    def log(self):\n        return 0\n", "State has an attribute log of its class"),
        ("    class book:\n        pass\n", "State has an attribute book of its class"),
        ("    __slots__ = ('held', 'other')\n", "State has an attribute held of its class"),
    ],
)
def test_a_subclass_hides_no_compiled_field(body, what):
    (refusal,) = in_subclass(body)
    assert refusal.startswith(f"{what}, "), refusal


@pytest.mark.parametrize(
    "head",
    [
        "class Middle(Core):\n    pass\n",
        "import enum\nclass Plain:\n    pass\nclass Middle(Plain, Core):\n    pass\n",
        "from quantd.trading import one\nclass Middle(one.Core):\n    pass\n",
        "from quantd.trading.one import Core as Base\nclass Middle(Base):\n    pass\n",
    ],
)
def test_a_class_between_a_subclass_and_its_compiled_base_hides_nothing(head):
    body = "    held = None\n"
    assert len(in_subclass(body, head=head, bases="Middle")) == 1
    assert in_subclass(body, head=head, bases="object") == []


def test_a_subclass_of_a_module_that_is_not_listed_is_refused_with_the_listed_ones_and_makes_no_build_stale():
    texts = {ONE: HEAD + CORE, "quantd.types": NUMBER_TYPES, "quantd.risk.two": "class Plain:\n    pass\n"}
    unlisted_modules = {
        "risk/state.py": "from quantd.trading.one import Core\nclass Middle(\n    Core,\n):\n    pass\n",
        "risk/late.py": "from quantd.risk.state import Middle\nclass Late(Middle):\n    now = 0\n",
        "risk/other.py": "from quantd.risk.two import Plain\nclass Other(Plain):\n    now = 0\n",
        "risk/broken.py": "a syntax error",
    }
    texts |= {"quantd." + name.replace("/", ".")[:-3]: text for name, text in unlisted_modules.items()}
    read = declare(texts.get, (ONE,)).read
    analysis = declare(texts.get, (ONE,), unlisted=unlisted_modules)
    assert [refusal.file for refusal in analysis.refusals] == ["risk/late.py"]
    assert analysis.read == read
    assert sorted(extending(unlisted_modules, {"Core"})) == ["risk/late.py", "risk/state.py"]


def test_only_functions_that_check_call_an_inner_loop():
    checkers = {(loop.module, loop.checked_by) for loop in recipe.INNER_LOOPS}
    for place in sorted({loop.module for loop in recipe.INNER_LOOPS}):
        inner = {loop.function.rpartition(".")[2] for loop in recipe.INNER_LOOPS if loop.module == place}
        tree = ast.parse(builder.read(place) or "")
        for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for function in (node for node in owner.body if isinstance(node, ast.FunctionDef)):
                called = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)} & inner
                assert not called or (place, f"{owner.name}.{function.name}") in checkers, function.name
