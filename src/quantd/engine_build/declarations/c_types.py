"""The C types of annotations."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CType:
    """A type: `kind` is a name of Python, `buffer`, `class` or `unknown`.

    `of` are the types of the items of a tuple, a list or a buffer; `c` is the text in a declaration.
    """

    kind: str
    c: str = "object"
    of: "tuple[CType, ...]" = ()
    home: str = ""
    """The module of a class."""

    @property
    def number(self) -> bool:
        """Whether C computes with it: an int, a float or a bool."""
        return self.kind in NUMBERS

    @property
    def typed(self) -> bool:
        """Whether C has more to say about it than that it is an object."""
        return self.c != "object"


UNKNOWN: Final = CType("unknown")
OBJECT: Final = CType("object")
NONE: Final = CType("None")
INT: Final = CType("int", "long long")
FLOAT: Final = CType("float", "double")
BOOL: Final = CType("bool", "bint")
NUMBERS: Final = ("int", "float", "bool")

BUILTINS: Final = {
    "int": INT, "float": FLOAT, "bool": BOOL, "None": NONE, "object": OBJECT,
    **{name: CType(name, name) for name in ("str", "bytes", "list", "dict", "set", "tuple")},
}  # fmt: skip

ELEMENTS: Final = {
    "q": ("long long", INT), "i": ("int", INT), "b": ("signed char", INT), "B": ("unsigned char", INT),
    "d": ("double", FLOAT),
}  # fmt: skip
"""Format of a memoryview, as in the module struct -> the C type of an element, and its type in Python."""

RESERVED: Final = frozenset(
    ("auto", "bint", "break", "case", "char", "const", "continue", "cdef", "cimport", "cpdef", "ctypedef", "default",
     "do", "double", "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
     "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned",
     "void", "volatile", "while", "complex", "object", "size_t", "ssize_t", "NULL", "include", "nogil", "gil",
     "readonly", "public", "api", "cppclass")
)  # fmt: skip
"""Words that are no names in a declaration."""


def buffer(code: str, dimensions: int, read_only: bool = False) -> CType:
    """A contiguous memoryview; a `read_only` one also takes memory that nobody may write. Raises KeyError for a format
    that has no C type."""
    c, element = ELEMENTS[code]
    text = f"{c}[{', '.join([*[':'] * (dimensions - 1), '::1'])}]"
    return CType("buffer", f"const {text}" if read_only else text, (element,) * dimensions)
