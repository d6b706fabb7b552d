"""The declarations of listed modules, and the text that is compiled."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from quantd.engine_build.declarations.bodies import check_function, reserved
from quantd.engine_build.declarations.c_types import FLOAT, CType
from quantd.engine_build.declarations.expressions import Scope, of_number
from quantd.engine_build.declarations.refusal import Refusal, Refusals
from quantd.engine_build.declarations.subclasses import check_fields, extending, subclass_refusals
from quantd.engine_build.declarations.surface import Class, Module, Read, Signature, Surface, plain
from quantd.engine_build.recipe import INNER_DIRECTIVES, InnerLoop

RAISES = {"long long": " except? -1", "double": " except? -1", "bint": " except? -1"}
"""A result that may mean an exception, which is then looked for."""

ALLOWED = ("property", "staticmethod", "classmethod")


@dataclass(frozen=True, slots=True)
class Declared:
    """What is compiled: a declaration and a source for each module."""

    declarations: dict[str, str]
    sources: dict[str, str]
    """The source with the same lines; inner loops have their directives, and constants are kept for Python."""
    read: tuple[str, ...]
    """Every module from which a type or a constant came."""
    refusals: tuple[Refusal, ...]


def declare(
    read: Read,
    listed: tuple[str, ...],
    inner: Sequence[InnerLoop] = (),
    *,
    checked: bool = False,
    others: Mapping[str, str] | None = None,
) -> Declared:
    """Declare the listed modules. `read` gives the text of a module; `checked` keeps the checks of inner loops.

    `others` are the texts of modules that are not listed, by file: their classes may extend listed ones.
    """
    surface = Surface(read, listed)
    declarations, sources, refusals = {}, {}, set()
    for name in listed:
        module = surface.of(name)
        found = Refusals(module.file)
        declarations[name] = "\n".join(_module(surface, module, found)) + "\n"
        loops = [each for each in inner if each.module == name]
        sources[name] = _compiled_text(surface, module, loops, found, checked=checked)
        refusals |= found.found
    shaping = surface.read  # what a subclass is made of shapes no declaration
    texts, classes = others or {}, {name for listed_one in listed for name in surface.of(listed_one).classes}
    for file in extending(texts, classes):
        refusals |= set(subclass_refusals(surface, file, texts[file]))
    return Declared(declarations, sources, shaping, tuple(sorted(refusals)))


def _module(surface: Surface, module: Module, refusals: Refusals) -> Iterator[str]:
    body: list[str] = []
    for name in _declared_constants(surface, module, refusals):
        value = surface.constant(name, module)
        body.append(f"cdef {(of_number(value) if value is not None else FLOAT).c} {name}")
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _decorators(node, refusals, method=False)
            locals_ = check_function(node, surface, module, refusals)
            body += _function(_signature(surface, node, module), locals_, "")
    for made in _bases_first(surface, module):
        body += _class(surface, module, made, refusals)
    yield "cimport cython"
    yield from _cimports(surface, module, refusals, "\n".join(body))
    yield from (f"cdef class {name}{_base(surface, module, made)}" for name, made in module.classes.items())
    yield from body


def _signature(surface: Surface, node: ast.FunctionDef | ast.AsyncFunctionDef, module: Module) -> Signature:
    if isinstance(node, ast.AsyncFunctionDef):
        return Signature(node.name, (), (), 0, CType("unknown"))
    return surface.signature(node, module)


def _function(told: Signature, locals_: dict[str, CType], pad: str, method: bool = False) -> Iterator[str]:
    """The declaration of a function: public ones are for Python too.

    The line of the locals is there without locals too: a first one moves no line that other modules include.
    """
    kept = {name: kind for name, kind in locals_.items() if kind.typed}
    text = ", ".join(f'{name}="{kind.c}"' for name, kind in kept.items())
    yield f"{pad}@cython.locals({text})" if kept else ""
    kind = "cdef" if told.name.startswith("_") else "cpdef"
    needed = len(told.names) - told.defaults
    pairs = enumerate(zip(told.types, told.names, strict=True))
    given = [f"{each.c} {name}" + ("" if k < needed else "=*") for k, (each, name) in pairs]
    result = told.returns.c
    raises = RAISES.get(result, " except *" if result.startswith("(") else "")
    yield f"{pad}{kind} {result} {told.name}({', '.join([*(['self'] if method else []), *given])}){raises}"


def _class(surface: Surface, module: Module, made: Class, refusals: Refusals) -> Iterator[str]:
    scope = Scope(surface, module, refusals, made)
    _check_class(surface, module, made, scope)
    if base := surface.base(module, made):
        check_fields(surface, module, made, base, refusals)
    yield f"cdef class {made.node.name}{_base(surface, module, made)}:"
    lines: list[str] = []
    for name, kind in made.fields.items():
        if name in _of_the_class(made):
            continue
        final = name in _final(made)
        lines.append(f"    cdef {'readonly' if final else 'public'} {kind.c} {name}")
    for node in made.node.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _decorators(node, refusals, method=True)
            reserved(node, node.name, scope)
            locals_ = check_function(node, surface, module, refusals, made)
            if not plain(node, True) and isinstance(node, ast.FunctionDef):
                lines += _function(made.methods[node.name], locals_, "    ", method=True)
    yield from lines or ["    pass"]


def _check_class(surface: Surface, module: Module, made: Class, scope: Scope) -> None:
    """Refuse bases, decorators and parts that an extension type does not have."""
    node = made.node
    reserved(node, node.name, scope)
    if node.keywords or len(node.bases) > 1 or (node.bases and surface.base(module, made) is None):
        bases = ", ".join(map(ast.unparse, [*node.bases, *(each.value for each in node.keywords)]))
        scope.add(
            node,
            f"the class {node.name} has the base {bases}, which is not listed",
            "list its module, or move the class",
        )
    for decorator in node.decorator_list:
        what = f"the class {node.name} has the decorator {ast.unparse(decorator)}"
        scope.add(node, what, "write an ordinary class, or move it to a module that is not listed")
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            reserved(each, each.target.id, scope)
            if each.value is not None and each.target.id not in _of_the_class(made):
                scope.add(each, f"the field {each.target.id} has a value in its class", "assign it in __init__")
        elif isinstance(each, ast.Assign) and not _is_slots(each):
            scope.add(each, "the class assigns a name", "write a constant of the module")
        elif isinstance(each, ast.ClassDef):
            scope.add(each, f"the class {each.name} is inside another", "define it in the module")


def _is_slots(node: ast.Assign) -> bool:
    return all(isinstance(each, ast.Name) and each.id == "__slots__" for each in node.targets)


def _of_the_class(made: Class) -> set[str]:
    return _noted(made, "ClassVar")


def _final(made: Class) -> set[str]:
    return _noted(made, "Final")


def _noted(made: Class, word: str) -> set[str]:
    """Fields whose annotation begins with a word."""
    return {
        node.target.id
        for node in made.node.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        and re.match(rf"(typing\.)?{word}\b", ast.unparse(node.annotation))
    }  # fmt: skip


def _decorators(node: ast.FunctionDef | ast.AsyncFunctionDef, refusals: Refusals, *, method: bool) -> None:
    for each in node.decorator_list:
        text = ast.unparse(each)
        if not (method and (text in ALLOWED or text.endswith((".setter", ".getter")))):
            refusals.add(node, f"{node.name} has the decorator {text}", "write a plain function")


def _base(surface: Surface, module: Module, made: Class) -> str:
    found = surface.base(module, made)
    return f"({found[1].node.name})" if found else ""


def _bases_first(surface: Surface, module: Module) -> Iterator[Class]:
    done: set[str] = set()

    def visit(made: Class) -> Iterator[Class]:
        base = surface.base(module, made)
        if base and base[0] is module and base[1].node.name not in done:
            yield from visit(base[1])
        if made.node.name not in done:
            done.add(made.node.name)
            yield made

    for made in module.classes.values():
        yield from visit(made)


def _declared_constants(surface: Surface, module: Module, refusals: Refusals) -> Iterator[str]:
    """Names of numbers that the module defines or imports."""
    for name, nodes in module.assigned.items():
        value = surface.constant(name, module)
        if len(nodes) > 1:
            refusals.add(nodes[1], f"{name} is assigned twice in the module", "write a field of an object")
        elif value is not None and of_number(value).typed:
            reserved(nodes[0], name, Scope(surface, module, refusals))
            yield name
    for name, (place, inner) in module.imports.items():
        value = surface.constant(name, module)
        if (value is not None and of_number(value).typed) or (place == "math" and inner in ("inf", "nan")):
            yield name


def _cimports(surface: Surface, module: Module, refusals: Refusals, body: str) -> Iterator[str]:
    """What comes from other listed modules."""
    known: dict[str, str] = {}
    for name, (place, _) in module.imports.items():
        found = surface.home(name, module)
        if found is None or found[0].name not in surface.listed or found[0] is module:
            continue
        there, inner = found
        if inner.startswith("_"):
            node = next(
                (n for n in ast.walk(module.tree) if isinstance(n, ast.ImportFrom) and n.module == place), module.tree
            )
            refusals.add(node, f"{inner} of {there.file} is private: Python does not see it", "give it a public name")
        if inner in there.classes or inner in there.functions:
            known[name] = f"from {there.name} cimport {inner}" + (f" as {name}" if name != inner else "")
    yield from known.values()
    # a type that reaches this module by a field or a result of another one
    for name in surface.listed:
        for each in surface.of(name).classes:
            if each not in known and each not in module.classes and re.search(rf"\b{each}\b", body):
                known[each] = ""
                yield f"from {name} cimport {each}"


def _compiled_text(
    surface: Surface, module: Module, loops: Sequence[InnerLoop], refusals: Refusals, *, checked: bool
) -> str:
    """The source that is compiled. Each line keeps its number, so that a traceback names the right one."""
    lines = module.text.splitlines()
    functions = {node.name: node for node in module.tree.body if isinstance(node, ast.FunctionDef)}
    for made in module.classes.values():
        functions |= {f"{made.node.name}.{n.name}": n for n in made.node.body if isinstance(n, ast.FunctionDef)}
    for each in loops:
        for name in (each.function, each.checked_by):
            if name not in functions:
                refusals.add(module.tree, f"the recipe names {name}, which is not there", "correct INNER_LOOPS")
        node = functions.get(each.function)
        if node is None or checked:
            continue
        above = node.lineno - 2
        if above < 0 or lines[above].strip():
            refusals.add(node, f"no blank line before the inner loop {each.function}", "leave one for its directive")
            continue
        lines[above] = " " * node.col_offset + f"@cython.{INNER_DIRECTIVES[0]}"
    if loops and not checked:
        first = next(n for n in module.tree.body if isinstance(n, ast.Import | ast.ImportFrom) and n.col_offset == 0)
        lines[first.lineno - 1] = "import cython; " + lines[first.lineno - 1]
    own = [name for name in _declared_constants(surface, module, refusals) if name in module.assigned]
    kept = [f'globals()["{name}"] = {name}' for name in own if not name.startswith("_")]
    return "\n".join([*lines, *kept]) + "\n"
