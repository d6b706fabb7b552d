"""The names of the modules: their classes with fields and methods, functions, constants and aliases of types."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

from quantd.engine_build.declarations.c_types import BUILTINS, OBJECT, UNKNOWN, CType, buffer
from quantd.engine_build.declarations.constants import Value, folded

Read = Callable[[str], str | None]
"""Name of a module -> its text; None for a module that is not ours."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Signature:
    """A function or a method without `self`."""

    name: str
    names: tuple[str, ...]
    types: tuple[CType, ...]
    defaults: int
    returns: CType
    plain: bool = False
    """A special, static or decorated method: it stays a function of Python, without a declaration."""


@dataclass(slots=True)
class Class:
    """A class: its fields and methods, without those of its base."""

    node: ast.ClassDef
    fields: dict[str, CType] = field(default_factory=dict)
    methods: dict[str, Signature] = field(default_factory=dict)


@dataclass(slots=True)
class Module:
    """A module as it is written."""

    name: str
    text: str
    tree: ast.Module
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Local name -> the module and the name there."""
    classes: dict[str, Class] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    assigned: dict[str, list[ast.stmt]] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The path of the module below the package."""
        return "/".join(self.name.split(".")[1:]) + ".py"


def plain(node: Function, method: bool) -> bool:
    """Whether a function stays one of Python: special and decorated methods."""
    return method and bool(node.name.startswith("__") or node.decorator_list)


class Surface:
    """Every module that the listed ones name, read once."""

    def __init__(self, read: Read, listed: tuple[str, ...]) -> None:
        self._read = read
        self.listed = listed
        self._modules: dict[str, Module | None] = {}
        for name in listed:
            self.fill(self.of(name))

    @property
    def read(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, module in self._modules.items() if module is not None))

    def of(self, name: str) -> Module:
        """A listed module. Raises FileNotFoundError without its source, and SyntaxError."""
        module = self.module(name)
        if module is None:
            raise FileNotFoundError(f"{name} is listed, and there is no such module")
        return module

    def module(self, name: str) -> Module | None:
        """A module of ours, else None."""
        if name not in self._modules:
            text = self._read(name)
            self._modules[name] = None if text is None else outline(name, text)
        return self._modules[name]

    def fill(self, module: Module) -> None:
        """Read the fields and the methods of a module."""
        for class_ in module.classes.values():
            for node in class_.node.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    class_.fields[node.target.id] = self.type_of(node.annotation, module)
                elif isinstance(node, ast.FunctionDef):
                    class_.methods[node.name] = self.signature(node, module, method=True)

    def signature(self, node: ast.FunctionDef, module: Module, method: bool = False) -> Signature:
        """The types of a function's arguments and of its result."""
        static = any(
            isinstance(decorator, ast.Name) and decorator.id == "staticmethod" for decorator in node.decorator_list
        )
        arguments = node.args.args[1 if method and not static else 0 :]
        types = tuple(self.type_of(argument.annotation, module) for argument in arguments)
        returns = self.type_of(node.returns, module)
        names = tuple(argument.arg for argument in arguments)
        return Signature(node.name, names, types, len(node.args.defaults), returns, plain(node, method))

    def home(self, name: str, module: Module) -> tuple[Module, str] | None:
        """The module in which a name is defined, and its name there."""
        for _ in range(10):
            if name in module.classes or name in module.functions or name in module.assigned:
                return module, name
            if name not in module.imports:
                return None
            place, name = module.imports[name]
            source_module = self.module(place)
            if source_module is None:
                return None
            module = source_module
        return None

    def listed_class(self, name: str, module: Module) -> Class | None:
        """The class of a name, if it is in a listed module."""
        home = self.home(name, module)
        return home[0].classes.get(home[1]) if home and home[0].name in self.listed else None

    def class_of(self, kind: CType) -> tuple[Module, Class] | None:
        if kind.kind != "class":
            return None
        module = self.of(kind.home)
        return module, module.classes[kind.c]

    def base(self, module: Module, class_: Class) -> tuple[Module, Class] | None:
        for base in class_.node.bases:
            home = self.home(base.id, module) if isinstance(base, ast.Name) else None
            if home and home[0].name in self.listed and home[1] in home[0].classes:
                return home[0], home[0].classes[home[1]]
        return None

    def member(self, kind: CType, name: str) -> CType | Signature | None:
        """A field or a method of an object of a listed class or of its bases."""
        at = self.class_of(kind)
        while at is not None:
            if name in at[1].fields:
                return at[1].fields[name]
            if name in at[1].methods:
                return at[1].methods[name]
            at = self.base(*at)
        return None

    def function(self, name: str, module: Module) -> Signature | None:
        """A function of ours that a name stands for, listed or not."""
        home = self.home(name, module)
        node = home[0].functions.get(home[1]) if home else None
        return self.signature(node, home[0]) if home and node else None

    def constant(self, name: str, module: Module) -> Value | None:
        """The number that a name of a module stands for; None for anything else."""
        home = self.home(name, module)
        if home is None or len(nodes := home[0].assigned.get(home[1], [])) != 1:
            return None
        value = getattr(nodes[0], "value", None)
        return folded(value, lambda other: self.constant(other, home[0])) if value is not None else None

    def type_of(self, note: ast.expr | None, module: Module) -> CType:
        if isinstance(note, ast.Constant) and isinstance(note.value, str):
            note = ast.parse(note.value, mode="eval").body
        if isinstance(note, ast.Constant):
            return BUILTINS["None"] if note.value is None else UNKNOWN
        if isinstance(note, ast.BinOp):
            return self._optional(note, module)
        if isinstance(note, ast.Subscript):
            return self._generic(note, module)
        if isinstance(note, ast.Name):
            return self._named(note.id, module)
        return OBJECT if note is not None else UNKNOWN

    def _named(self, name: str, module: Module) -> CType:
        home = self.home(name, module)
        if home is None:
            return BUILTINS.get(name, OBJECT)
        there, inner = home
        if inner in there.classes:
            return CType("class", inner, home=there.name) if there.name in self.listed else OBJECT
        node = there.assigned[inner][0] if inner in there.assigned else None
        value = getattr(node, "value", None)
        return self.type_of(value, there) if isinstance(value, ast.expr) else OBJECT

    def _optional(self, note: ast.BinOp, module: Module) -> CType:
        """`Book | None` is a Book, whose absence is checked at each access; other unions are objects."""
        sides = [self.type_of(side, module) for side in (note.left, note.right)]
        types = [side for side in sides if side.kind != "None"]
        return types[0] if len(types) == 1 and types[0].kind == "class" else OBJECT

    def _generic(self, note: ast.Subscript, module: Module) -> CType:
        name = note.value.id if isinstance(note.value, ast.Name) else getattr(note.value, "attr", "")
        inner = list(note.slice.elts) if isinstance(note.slice, ast.Tuple) else [note.slice]
        if name in ("Final", "ClassVar"):
            return self.type_of(inner[0], module)
        if name == "Annotated":
            return self._annotated(inner, module)
        if name == "tuple":
            of = tuple(self.type_of(part, module) for part in inner)
            numeric = of and all(part.number for part in of)
            return CType("tuple", f"({', '.join(part.c for part in of)})" if numeric else "tuple", of)
        if name in BUILTINS:
            return CType(name, name, tuple(self.type_of(part, module) for part in inner))
        return OBJECT

    def _annotated(self, inner: list[ast.expr], module: Module) -> CType:
        """`Annotated["memoryview[int]", "q", 2]` is a buffer, with `"const"` one to read; `Annotated[int, object]` an
        object."""
        marks = [mark.value for mark in inner[1:] if isinstance(mark, ast.Constant)]
        head = inner[0].value if isinstance(inner[0], ast.Constant) else ast.unparse(inner[0])
        if str(head).startswith("memoryview") and marks and isinstance(marks[0], str):
            return buffer(marks[0], next((k for k in marks if isinstance(k, int)), 1), "const" in marks)
        if any(isinstance(mark, ast.Name) and mark.id == "object" for mark in inner[1:]):
            return OBJECT
        return self.type_of(inner[0], module)


def outline(name: str, text: str) -> Module:
    """Return the imports, classes, functions and assignments at the top of a module, from its text.

    Raises SyntaxError for text that is no Python.
    """
    tree = ast.parse(text)
    module = Module(name, text, tree)
    for node in top_level(tree.body):
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                module.imports[alias.asname or alias.name] = (node.module or "", alias.name)
        elif isinstance(node, ast.ClassDef):
            module.classes[node.name] = Class(node)
        elif isinstance(node, ast.FunctionDef):
            module.functions[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    module.assigned.setdefault(target.id, []).append(node)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and isinstance(node.target, ast.Name):
            module.assigned.setdefault(node.target.id, []).append(node)
    return module


def top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements of a module, with those under `if TYPE_CHECKING`."""
    statements: list[ast.stmt] = []
    for node in body:
        statements += top_level(node.body) if isinstance(node, ast.If) else [node]
    return statements
