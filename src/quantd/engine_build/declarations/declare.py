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
    """The input of the compiler: by module name a Cython declaration and a source, and the refusals of a build."""

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
    unlisted: Mapping[str, str] | None = None,
) -> Declared:
    """Return the declarations of the listed modules. `read` returns the text of a module by its name.

    With `checked`, inner loops keep their checks of bounds.
    `unlisted` are the texts of modules that are not listed, by file: their classes may extend listed ones.
    """
    surface = Surface(read, listed)
    declarations, sources, refusals = {}, {}, set()
    for name in listed:
        module = surface.of(name)
        module_refusals = Refusals(module.file)
        declarations[name] = "\n".join(_module(surface, module, module_refusals)) + "\n"
        loops = [loop for loop in inner if loop.module == name]
        sources[name] = _compiled_text(surface, module, loops, module_refusals, checked=checked)
        refusals |= module_refusals.found
    shaping = surface.read  # what a subclass is made of shapes no declaration
    texts, classes = unlisted or {}, {name for listed_one in listed for name in surface.of(listed_one).classes}
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
    for class_ in _bases_first(surface, module):
        body += _class(surface, module, class_, refusals)
    yield "cimport cython"
    yield from _cimports(surface, module, refusals, "\n".join(body))
    yield from (f"cdef class {name}{_base(surface, module, class_)}" for name, class_ in module.classes.items())
    yield from body


def _signature(surface: Surface, node: ast.FunctionDef | ast.AsyncFunctionDef, module: Module) -> Signature:
    if isinstance(node, ast.AsyncFunctionDef):
        return Signature(node.name, (), (), 0, CType("unknown"))
    return surface.signature(node, module)


def _function(signature: Signature, locals_: dict[str, CType], pad: str, method: bool = False) -> Iterator[str]:
    """The declaration of a function: public ones are for Python too.

    The line of the locals is there without locals too: a first one moves no line that other modules include.
    """
    typed = {name: kind for name, kind in locals_.items() if kind.typed}
    text = ", ".join(f'{name}="{kind.c}"' for name, kind in typed.items())
    yield f"{pad}@cython.locals({text})" if typed else ""
    kind = "cdef" if signature.name.startswith("_") else "cpdef"
    needed = len(signature.names) - signature.defaults
    pairs = enumerate(zip(signature.types, signature.names, strict=True))
    arguments = [f"{c_type.c} {name}" + ("" if k < needed else "=*") for k, (c_type, name) in pairs]
    result = signature.returns.c
    raises = RAISES.get(result, " except *" if result.startswith("(") else "")
    yield f"{pad}{kind} {result} {signature.name}({', '.join([*(['self'] if method else []), *arguments])}){raises}"


def _class(surface: Surface, module: Module, class_: Class, refusals: Refusals) -> Iterator[str]:
    scope = Scope(surface, module, refusals, class_)
    _check_class(surface, module, class_, scope)
    if base := surface.base(module, class_):
        check_fields(surface, class_, base, refusals)
    yield f"cdef class {class_.node.name}{_base(surface, module, class_)}:"
    lines: list[str] = []
    for name, kind in class_.fields.items():
        if name in _of_the_class(class_):
            continue
        final = name in _final(class_)
        lines.append(f"    cdef {'readonly' if final else 'public'} {kind.c} {name}")
    for node in class_.node.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _decorators(node, refusals, method=True)
            reserved(node, node.name, scope)
            locals_ = check_function(node, surface, module, refusals, class_)
            if not plain(node, True) and isinstance(node, ast.FunctionDef):
                lines += _function(class_.methods[node.name], locals_, "    ", method=True)
    yield from lines or ["    pass"]


def _check_class(surface: Surface, module: Module, class_: Class, scope: Scope) -> None:
    """Refuse bases, decorators and parts that an extension type does not have."""
    node = class_.node
    reserved(node, node.name, scope)
    if node.keywords or len(node.bases) > 1 or (node.bases and surface.base(module, class_) is None):
        bases = ", ".join(map(ast.unparse, [*node.bases, *(keyword.value for keyword in node.keywords)]))
        scope.add(
            node,
            f"the class {node.name} has the base {bases}, which is not listed",
            "list its module, or move the class",
        )
    for decorator in node.decorator_list:
        what = f"the class {node.name} has the decorator {ast.unparse(decorator)}"
        scope.add(node, what, "write an ordinary class, or move it to a module that is not listed")
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            reserved(statement, statement.target.id, scope)
            if statement.value is not None and statement.target.id not in _of_the_class(class_):
                scope.add(
                    statement, f"the field {statement.target.id} has a value in its class", "assign it in __init__"
                )
        elif isinstance(statement, ast.Assign) and not _is_slots(statement):
            scope.add(statement, "the class assigns a name", "write a constant of the module")
        elif isinstance(statement, ast.ClassDef):
            scope.add(statement, f"the class {statement.name} is inside another", "define it in the module")


def _is_slots(node: ast.Assign) -> bool:
    return all(isinstance(target, ast.Name) and target.id == "__slots__" for target in node.targets)


def _of_the_class(class_: Class) -> set[str]:
    return _noted(class_, "ClassVar")


def _final(class_: Class) -> set[str]:
    return _noted(class_, "Final")


def _noted(class_: Class, word: str) -> set[str]:
    """Fields whose annotation begins with a word."""
    return {
        node.target.id
        for node in class_.node.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        and re.match(rf"(typing\.)?{word}\b", ast.unparse(node.annotation))
    }  # fmt: skip


def _decorators(node: ast.FunctionDef | ast.AsyncFunctionDef, refusals: Refusals, *, method: bool) -> None:
    for decorator in node.decorator_list:
        text = ast.unparse(decorator)
        if not (method and (text in ALLOWED or text.endswith((".setter", ".getter")))):
            refusals.add(node, f"{node.name} has the decorator {text}", "write a plain function")


def _base(surface: Surface, module: Module, class_: Class) -> str:
    base = surface.base(module, class_)
    return f"({base[1].node.name})" if base else ""


def _bases_first(surface: Surface, module: Module) -> Iterator[Class]:
    done: set[str] = set()

    def visit(class_: Class) -> Iterator[Class]:
        base = surface.base(module, class_)
        if base and base[0] is module and base[1].node.name not in done:
            yield from visit(base[1])
        if class_.node.name not in done:
            done.add(class_.node.name)
            yield class_

    for class_ in module.classes.values():
        yield from visit(class_)


def _declared_constants(surface: Surface, module: Module, refusals: Refusals) -> Iterator[str]:
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
    """Yield the lines that import names of other listed modules."""
    imports: dict[str, str] = {}
    for name, (place, _) in module.imports.items():
        home = surface.home(name, module)
        if home is None or home[0].name not in surface.listed or home[0] is module:
            continue
        there, inner = home
        if inner.startswith("_"):
            node = next(
                (n for n in ast.walk(module.tree) if isinstance(n, ast.ImportFrom) and n.module == place), module.tree
            )
            refusals.add(node, f"{inner} of {there.file} is private: Python does not see it", "give it a public name")
        if inner in there.classes or inner in there.functions:
            imports[name] = f"from {there.name} cimport {inner}" + (f" as {name}" if name != inner else "")
    yield from imports.values()
    # a type that reaches this module by a field or a result of another one
    for name in surface.listed:
        for class_name in surface.of(name).classes:
            if class_name not in imports and class_name not in module.classes and re.search(rf"\b{class_name}\b", body):
                imports[class_name] = ""
                yield f"from {name} cimport {class_name}"


def _compiled_text(
    surface: Surface, module: Module, loops: Sequence[InnerLoop], refusals: Refusals, *, checked: bool
) -> str:
    """The source that is compiled. Each line keeps its number, so that a traceback names the right one."""
    lines = module.text.splitlines()
    functions = {node.name: node for node in module.tree.body if isinstance(node, ast.FunctionDef)}
    for class_ in module.classes.values():
        functions |= {f"{class_.node.name}.{n.name}": n for n in class_.node.body if isinstance(n, ast.FunctionDef)}
    for loop in loops:
        for name in (loop.function, loop.checked_by):
            if name not in functions:
                refusals.add(module.tree, f"the recipe names {name}, which is not there", "correct INNER_LOOPS")
        node = functions.get(loop.function)
        if node is None or checked:
            continue
        above = node.lineno - 2
        if above < 0 or lines[above].strip():
            refusals.add(node, f"no blank line before the inner loop {loop.function}", "leave one for its directive")
            continue
        lines[above] = " " * node.col_offset + f"@cython.{INNER_DIRECTIVES[0]}"
    if loops and not checked:
        first = next(n for n in module.tree.body if isinstance(n, ast.Import | ast.ImportFrom) and n.col_offset == 0)
        lines[first.lineno - 1] = "import cython; " + lines[first.lineno - 1]
    names = [name for name in _declared_constants(surface, module, refusals) if name in module.assigned]
    exports = [f'globals()["{name}"] = {name}' for name in names if not name.startswith("_")]
    return "\n".join([*lines, *exports]) + "\n"
