"""Classes that extend a compiled one, listed or not: what they must not replace or hide.

A compiled class calls its private methods and reads its fields in C, whatever a subclass of Python has under their
names. A value of another type that a subclass assigns to a field is an error of mypy, and raises TypeError in a build.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Set
from typing import Final

from quantd.engine_build.declarations.c_types import CType
from quantd.engine_build.declarations.refusal import Refusal, Refusals
from quantd.engine_build.declarations.surface import Class, Module, Signature, Surface, outline

HEAD: Final = re.compile(r"^[ \t]*class\s+(\w+)\s*\(([^)]*)\)", re.MULTILINE)
"""The first line of a class with bases."""

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
            check_fields(surface, child, base, refusals)
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


def check_fields(surface: Surface, child: Class, base: Place, refusals: Refusals) -> None:
    """Refuse what hides a field of a compiled base: C reads the field."""
    owners: dict[str, str] = {}
    at: Place | None = base
    while at is not None:
        owners |= dict.fromkeys(at[1].fields, at[1].node.name)
        at = surface.base(*at)
    for node in child.node.body:
        for name in owners.keys() & set(_attributes(node)):
            what = f"{child.node.name} has an attribute {name} of its class, which hides the field of {owners[name]}"
            refusals.add(node, what, "choose another name")


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
