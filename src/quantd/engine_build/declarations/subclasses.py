"""Classes that extend a compiled one, listed or not: what they must not replace, hide or assign.

A compiled class calls its private methods and reads its fields in C, whatever a subclass of Python has under their
names. C converts what is assigned to a field, Python keeps it.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from quantd.engine_build.declarations.bodies import inside, name_types
from quantd.engine_build.declarations.c_types import BUILTINS, NONE, CType
from quantd.engine_build.declarations.expressions import Scope, arithmetic, type_of
from quantd.engine_build.declarations.refusal import Refusal, Refusals
from quantd.engine_build.declarations.surface import Class, Function, Module, Signature, Surface, outline

HEAD: Final = re.compile(r"^[ \t]*class\s+(\w+)\s*\(([^)]*)\)", re.MULTILINE)
"""The first line of a class with bases."""

DISPLAYS: Final = {
    ast.List: "list", ast.ListComp: "list", ast.Dict: "dict", ast.DictComp: "dict", ast.Set: "set",
    ast.SetComp: "set", ast.JoinedStr: "str",
}  # fmt: skip
"""Expressions of one type."""

Place = tuple[Module, Class]


def extending(texts: Mapping[str, str], classes: Set[str]) -> list[str]:
    """The files that may extend one of these classes by its name, also through classes of each other."""
    heads = {file: HEAD.findall(text) for file, text in texts.items()}
    names, before = set(classes), 0
    while len(names) > before:
        before = len(names)
        names |= {name for bases in heads.values() for name, text in bases if _words(text) & names}
    return [file for file, bases in heads.items() if any(_words(text) & names for _, text in bases)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def subclass_refusals(surface: Surface, file: str, text: str) -> list[Refusal]:
    """Return the refusals of the classes of an unlisted module that extend a listed class.

    Raises SyntaxError for text that is no Python.
    """
    module, refusals = outline("", text), Refusals(file)
    for child in module.classes.values():
        if base := compiled_base(surface, module, child):
            _check_methods(surface, child, base, refusals)
            check_fields(surface, module, child, base, refusals)
    return sorted(refusals.found)


def compiled_base(surface: Surface, module: Module, child: Class) -> Place | None:
    """The listed class that a class extends, directly or through classes that are not listed."""
    ahead: list[Place] = [(module, child)]
    passed: list[ast.ClassDef] = []
    while ahead:
        there, heir = ahead.pop(0)
        passed.append(heir.node)
        for place in (_class_of(surface, there, base) for base in heir.node.bases):
            if place is not None and place[0].name in surface.listed:
                return place
            if place is not None and place[1].node not in passed:
                ahead.append(place)
    return None


def _class_of(surface: Surface, module: Module, base: ast.expr) -> Place | None:
    """The class of a base that is written as a name, or as a name of an imported module."""
    place: tuple[Module, str] | None = None
    if isinstance(base, ast.Name):
        place = surface.home(base.id, module)
    elif isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and base.value.id in module.imports:
        owner = surface.module(".".join(module.imports[base.value.id]))
        place = surface.home(base.attr, owner) if owner else None
    return (place[0], place[0].classes[place[1]]) if place and place[1] in place[0].classes else None


def _check_methods(surface: Surface, child: Class, base: Place, refusals: Refusals) -> None:
    """Refuse each private method that would replace one of the compiled base."""
    kind = CType("class", base[1].node.name, home=base[0].name)
    for node in child.node.body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("_") or node.name[-2:] == "__":
            continue
        if isinstance(surface.member(kind, node.name), Signature):
            what = f"{node.name} of {child.node.name} replaces a C function of {kind.c}, which calls its own"
            refusals.add(node, what, f"give it a public name in {base[0].file}")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a compiled class: its type, the type as it is written, and the name of the class."""

    kind: CType
    text: str
    owner: str


def _fields(surface: Surface, base: Place) -> Iterator[tuple[str, Field]]:
    """The fields of a compiled class and of its bases, by name."""
    at: Place | None = base
    while at is not None:
        for node in at[1].node.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                text = ast.unparse(node.annotation).strip("'")
                if not text.startswith(("ClassVar", "typing.ClassVar")):
                    yield node.target.id, Field(at[1].fields[node.target.id], text, at[1].node.name)
        at = surface.base(*at)


def check_fields(surface: Surface, module: Module, child: Class, base: Place, refusals: Refusals) -> None:
    """Refuse what hides a field of a compiled base, and what gives one another type."""
    heir = Heir(surface, module, child, base, dict(_fields(surface, base)), refusals)
    for node in child.node.body:
        heir.check_attributes(node)
        if isinstance(node, ast.AnnAssign) and node.value is None and isinstance(node.target, ast.Name):
            heir.check_annotation(node, node.target.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            heir.check_method(node)


@dataclass(frozen=True, slots=True)
class Heir:
    """A class that extends a compiled one, and the fields that it has from there."""

    surface: Surface
    module: Module
    child: Class
    base: Place
    fields: Mapping[str, Field]
    refusals: Refusals

    @property
    def name(self) -> str:
        return self.child.node.name

    def check_attributes(self, node: ast.stmt) -> None:
        """Refuse an attribute of the class itself that has the name of a field: C reads the field."""
        for name in _attributes(node):
            if name in self.fields:
                what = f"{self.name} has an attribute {name} of its class, which hides the field of {self.owner(name)}"
                self.refusals.add(node, what, "choose another name")

    def owner(self, name: str) -> str:
        """The compiled class that declares a field."""
        return self.fields[name].owner

    def check_annotation(self, node: ast.AnnAssign, name: str) -> None:
        """Refuse the declaration of a field with another type; a compiled class cannot declare it again."""
        if name not in self.fields:
            return
        field, text = self.fields[name], ast.unparse(node.annotation)
        kind = annotated_type(node.annotation, self.surface, self.module)
        same = (kind.kind, kind.c) == (field.kind.kind, field.kind.c)
        if self.module.name in self.surface.listed:
            what = f"{self.name} declares {name}: {text}, which its base {field.owner} has"
            self.refusals.add(node, what, "leave it out")
        elif field.kind.typed and not same and not _extends(kind, field.kind, self.surface):
            what = f"{self.name} declares {name}: {text}, a compiled field of {field.owner} of type {field.text}"
            self.refusals.add(node, what, "declare that type, or choose another name for the attribute")

    def check_method(self, node: Function) -> None:
        """Refuse each assignment of a value of another type to a field of `self`."""
        names = [word.arg for word in node.args.args]
        if not names or any(isinstance(word, ast.Name) and word.id == "staticmethod" for word in node.decorator_list):
            return
        # what could not be compiled is no fault here
        scope = Scope(self.surface, self.module, Refusals(self.refusals.file))
        given, locals_ = name_types(node, scope)
        object_ = CType("class", self.base[1].node.name, home=self.base[0].name)
        scope.names = {**locals_, **given, names[0]: object_}
        for part in inside(node):
            match part:
                case ast.Assign():
                    for target in part.targets:
                        self.check_target(target, part.value, names[0], scope)
                case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id=word), attr=name)) if word == names[0]:
                    self.check_annotation(part, name)
                    if part.value is not None:
                        self.check_value(name, part.value, scope)
                case ast.AugAssign(target=ast.Attribute(value=ast.Name(id=word), attr=name)) if word == names[0]:
                    self.check_type(name, arithmetic(part, part.op, part.target, part.value, scope), part)

    def check_target(self, target: ast.expr, value: ast.expr, self_name: str, scope: Scope) -> None:
        """One target of an assignment; those of a tuple get the values of a tuple."""
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == self_name:
            self.check_value(target.attr, value, scope)
        elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            for part, inner in zip(target.elts, value.elts, strict=False):
                self.check_target(part, inner, self_name, scope)

    def check_value(self, name: str, value: ast.expr, scope: Scope) -> None:
        """Refuse each value of an expression that has not the type of the field."""
        for choice in _choices(value):
            self.check_type(name, value_type(choice, scope), choice)

    def check_type(self, name: str, kind: CType, node: ast.AST) -> None:
        """Refuse an assignment of another type than that of the compiled field."""
        field = self.fields.get(name)
        if field is not None and differs(field.kind, kind, self.surface):
            text = ast.unparse(node)
            what = f"{self.name} assigns {text} to {name}, a compiled field of {field.owner} of type {field.text}"
            self.refusals.add(node, what, "assign that type, or choose another name for the attribute")


def _attributes(node: ast.stmt) -> Iterator[str]:
    """The attributes that a statement of a class gives to the class."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Assign():
            for word in (word for target in node.targets for word in ast.walk(target)):
                if isinstance(word, ast.Name):
                    yield word.id
            if any(isinstance(target, ast.Name) and target.id == "__slots__" for target in node.targets):
                texts = (word.value for word in ast.walk(node.value) if isinstance(word, ast.Constant))
                yield from (text for text in texts if isinstance(text, str))
        case ast.AnnAssign(target=ast.Name(id=name)) if node.value is not None:
            yield name


def _choices(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.IfExp():
            yield from _choices(node.body)
            yield from _choices(node.orelse)
        case ast.BoolOp():
            for part in node.values:
                yield from _choices(part)
        case ast.NamedExpr():
            yield from _choices(node.value)
        case _:
            yield node


def value_type(node: ast.expr, scope: Scope) -> CType:
    """The type of a value of ordinary Python; UNKNOWN where the source does not show it."""
    if type(node) in DISPLAYS:
        return BUILTINS[DISPLAYS[type(node)]]
    match node:
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=bytes()):
            return BUILTINS["bytes"]
        case ast.Tuple():
            return CType("tuple", "tuple", tuple(value_type(part, scope) for part in node.elts))
        case ast.Call(func=ast.Name(id=name)):
            place = scope.surface.home(name, scope.module)
            if place is None and name in BUILTINS and name not in scope.module.imports:
                return BUILTINS[name]
            if place is not None and place[1] in place[0].classes:
                return _instance(scope.surface, place[0], place[0].classes[place[1]])
    return type_of(node, scope)


def annotated_type(note: ast.expr, surface: Surface, module: Module) -> CType:
    """The type of an annotation; a class that extends a compiled one is one of that."""
    if isinstance(note, ast.Constant) and isinstance(note.value, str):
        note = ast.parse(note.value, mode="eval").body
    if isinstance(note, ast.BinOp) and isinstance(note.right, ast.Constant) and note.right.value is None:
        inner = annotated_type(note.left, surface, module)
        return inner if inner.kind == "class" else surface.type_of(note, module)
    place = _class_of(surface, module, note)
    return _instance(surface, *place) if place else surface.type_of(note, module)


def _instance(surface: Surface, module: Module, owner: Class) -> CType:
    """The type of an object of a class: its own, or its nearest listed base."""
    listed = (module, owner) if module.name in surface.listed else compiled_base(surface, module, owner)
    if listed is None:
        return CType("instance", owner.node.name)
    return CType("class", listed[1].node.name, home=listed[0].name)


def differs(wanted: CType, kind: CType, surface: Surface) -> bool:
    """Whether a value of one type is certainly none of another: C would refuse or convert it."""
    if not wanted.typed or kind.kind in ("unknown", "object"):
        return False
    if kind.kind == "None":
        return wanted.number or wanted.c.startswith("(")
    match wanted.kind:
        case "class":
            return not _extends(kind, wanted, surface)
        case "buffer":
            plain = kind.c.removeprefix("const ")
            return kind.kind != "buffer" or plain != wanted.c.removeprefix("const ") or len(kind.c) > len(wanted.c)
        case "tuple":
            parts = zip(wanted.of, kind.of, strict=False)
            return kind.kind != "tuple" or (
                wanted.c.startswith("(")
                and (len(wanted.of) != len(kind.of) or any(differs(one, two, surface) for one, two in parts))
            )
    return kind.kind != wanted.kind


def _extends(kind: CType, wanted: CType, surface: Surface) -> bool:
    at = surface.class_of(kind)
    while at is not None:
        if (at[0].name, at[1].node.name) == (wanted.home, wanted.c):
            return True
        at = surface.base(*at)
    return False
