"""Counts the public functions, methods and classes of the packages that have no docstring.

    python -m tests.support.docstrings [--list] [PACKAGE ...]

A name is public when neither it nor the class around it begins with an underscore. Functions inside a function are not
counted. A definition of one of the KINDS needs no docstring: what a reader needs stands elsewhere, where the kind's
reason tells.
"""

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.checkout import ROOT

PACKAGES: Final = (
    "trading", "strategies", "risk", "models", "adapters", "training", "research", "daemon", "server", "src/quantd",
)  # fmt: skip

KINDS: Final = {
    "setter": "the property's getter has the docstring",
    "override": "the method of a base class, or of a Protocol whose methods the class has, has the docstring",
    "library": "the method overrides one of a library, which documents it",
    "metric": "the decorator `@metric` has title, unit, formula and source",
    "command": "the action of a command: its help is the docstring of the module, and of each option its annotation",
    "route": "the handler of a route: the route's record has its text, which the OpenAPI document shows",
    "section": "the functions of a section of a report: the contract is that of the record `Section`",
    "job": "the function `work` of a job's record: the contract is that of `JobRecord`",
    "migration": "the docstring of the module names what the migration adds",
}
"""Kind of definition that needs no docstring -> where its reader finds what the docstring would say."""

LIBRARY: Final = {
    "Handler": {"emit", "close", "handleError"},  # logging
    "FileHandler": {"emit", "close", "handleError"},
    "RotatingFileHandler": {"emit", "close", "handleError"},
    "RequestHandler": {"connection_made", "data_received", "connection_lost"},  # asyncio.Protocol, of aiohttp
    "StringIO": {"write"},
    "Env": {"reset", "step"},  # gymnasium
    "ParallelEnv": {"reset", "step", "observation_space", "action_space"},  # pettingzoo
}
"""Base class of a library -> the methods that it documents."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Missing(NamedTuple):
    """A public definition without a docstring, with its kind of KINDS, or "" where one has to be written."""

    module: str
    line: int
    name: str
    kind: str

    def text(self) -> str:
        """Return the place and the name in a line, with the kind."""
        return f"{self.module}:{self.line}: {self.name}" + (f" ({self.kind})\n" if self.kind else "\n")


@dataclass
class Class:
    """A class of the packages: its base classes by name, its members, and the methods that have a docstring."""

    bases: list[str]
    members: set[str] = field(default_factory=set)
    documented: set[str] = field(default_factory=set)

    @property
    def protocol(self) -> bool:
        """Whether it is a Protocol; `adapters/bus/publisher.py` imports the name as Shape."""
        return bool({"Protocol", "Shape"} & set(self.bases))


@cache
def syntax(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and the syntax tree of each module of the packages; links are not followed."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not any(above.is_symlink() for above in path.parents if ROOT in above.parents):
                yield path.relative_to(ROOT).as_posix(), syntax(path)


def name_of(node: ast.expr) -> str:
    """Return the last name of a base class or a decorator: `Protocol` of `typing.Protocol[Row]`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value) | ast.Call(func=value):
            return name_of(value)
    return ""


def members_of(node: ast.ClassDef) -> Iterator[str]:
    """Yield the methods and attributes of a class, also those that its methods assign to `self`."""
    for entry in node.body:
        match entry:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
    for place in ast.walk(node):
        match place:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def classes(trees: Iterable[tuple[str, ast.Module]]) -> dict[str, list[Class]]:
    """Return the classes of modules by name; several may share one."""
    listed: dict[str, list[Class]] = {}
    for _, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                functions = (entry for entry in node.body if isinstance(entry, ast.FunctionDef | ast.AsyncFunctionDef))
                documented = {function.name for function in functions if ast.get_docstring(function)}
                bases = [name_of(base) for base in node.bases]
                listed.setdefault(node.name, []).append(Class(bases, set(members_of(node)), documented))
    return listed


def ancestors(bases: list[str], listed: dict[str, list[Class]], seen: frozenset[str] = frozenset()) -> Iterator[Class]:
    """Yield the base classes by name, and theirs."""
    for name in bases:
        if name not in seen:
            for ancestor in listed.get(name, ()):
                yield ancestor
                yield from ancestors(ancestor.bases, listed, seen | {name})


def inherits(node: ast.ClassDef, method: str, listed: dict[str, list[Class]]) -> str:
    """Return the kind of a method whose docstring stands at a base class or a Protocol, or ""."""
    bases = [name_of(base) for base in node.bases]
    above = list(ancestors(bases, listed))
    names = {*bases, *(base for ancestor in above for base in ancestor.bases)}
    if any(method in LIBRARY.get(name, ()) for name in names):
        return "library"
    if any(method in ancestor.documented for ancestor in above):
        return "override"
    members = set(members_of(node)).union(*(ancestor.members for ancestor in above))
    protocols = (entry for entries in listed.values() for entry in entries if entry.protocol and len(entry.members) > 1)
    if "Protocol" in bases:
        return ""
    return "override" if any(method in p.documented and p.members <= members for p in protocols) else ""


RECORDS: Final = {"Command": "command", "Section": "section", "JobRecord": "job"}
"""Record -> the kind of the functions that a module hands to it."""


def handed(tree: ast.Module) -> dict[str, str]:
    """Return the names that a module hands to records of RECORDS, with their kind."""
    calls = (entry.value for entry in tree.body if isinstance(entry, ast.AnnAssign) and entry.value)
    return {
        argument.id: RECORDS[name_of(call)]
        for call in calls
        if isinstance(call, ast.Call) and name_of(call) in RECORDS
        for argument in ast.walk(call)
        if isinstance(argument, ast.Name)
    }


def kind_of(
    module: str, tree: ast.Module, node: Definition, owner: ast.ClassDef | None, listed: dict[str, list[Class]]
) -> str:
    """Return the kind of KINDS of a definition without a docstring, or ""."""
    if isinstance(node, ast.ClassDef):
        return ""
    decorators = [name_of(decorator) for decorator in node.decorator_list]
    if "setter" in decorators or "metric" in decorators:
        return "setter" if "setter" in decorators else "metric"
    if owner is None:
        migration = "migration" if module.startswith("adapters/store/migrations/versions/") else ""
        return handed(tree).get(node.name, migration)
    if "/routes/" in module and (node.name == "routes" or isinstance(node, ast.AsyncFunctionDef)):
        return "route"
    return inherits(owner, node.name, listed)


def missing_in(
    module: str, tree: ast.Module, listed: dict[str, list[Class]], owner: ast.ClassDef | None = None
) -> Iterator[Missing]:
    """Yield the public definitions of a module, or of a class in it, that have no docstring."""
    body = list((owner or tree).body)
    while body:
        node = body.pop(0)
        if isinstance(node, ast.If | ast.Try):
            body = [*node.body, *node.orelse, *body]
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            name = f"{owner.name}.{node.name}" if owner else node.name
            yield Missing(module, node.lineno, name, kind_of(module, tree, node, owner, listed))
        if isinstance(node, ast.ClassDef):
            yield from missing_in(module, tree, listed, node)


def missing(package: str, listed: dict[str, list[Class]]) -> Iterator[Missing]:
    """Yield the public definitions of a package that have no docstring."""
    for module, tree in modules(package):
        yield from missing_in(module, tree, listed)


def counts(kinds: Counter[str]) -> str:
    """Return the numbers of definitions by kind in words."""
    parts = [f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind]]
    return f"{kinds['']:4} to write" + (f"; {', '.join(parts)}" if parts else "") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="default: all packages")
    parser.add_argument("--list", action="store_true", help="print each definition")
    options = parser.parse_args()
    listed, total = classes(modules(*PACKAGES)), Counter[str]()
    for package in options.packages or PACKAGES:
        definitions = list(missing(package, listed))
        if options.list:
            sys.stdout.writelines(entry.text() for entry in definitions)
        kinds = Counter(entry.kind for entry in definitions)
        total += kinds
        sys.stdout.write(f"{package:12} {counts(kinds)}")
    sys.stdout.write(f"{'all':12} {counts(total)}")


if __name__ == "__main__":
    main()
