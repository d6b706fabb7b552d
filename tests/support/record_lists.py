"""Folders that are lists of records, as the registries of the product name them in their sources.

A registry calls one of four walkers: `ordered` and `records` with packages and a class, `declaring` with a package and
the line that declares a record, or `iter_modules` with the path of a package whose constant it reads by name. Commands
have the expression of their registry.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any, Final

from quantd.daemon.cli import program
from quantd.daemon.runtime.version import python_files
from tests.support.checkout import BUILDINGS, ROOT

WALKERS: Final = {"ordered", "records", "declaring", "iter_modules"}


class Source:
    """A module of the product: its constants, the packages that it imports, and its calls with what encloses them."""

    def __init__(self, folder: str, text: str) -> None:
        self.folder, self.text = folder, text
        self.constants: dict[str, ast.expr] = {}
        self.packages: dict[str, str] = {}
        self.calls: list[tuple[str, ast.Call]] = []
        tree = ast.parse(text)
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(name)], value=value):
                    self.constants[name] = value
                case ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value):
                    self.constants[name] = value
                case ast.ImportFrom(module=str(module), names=names):
                    self.packages |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
            outer = getattr(node, "name", "")
            self.calls += [(outer, call) for call in ast.walk(node) if isinstance(call, ast.Call)]

    def value(self, node: ast.expr) -> ast.expr:
        """The constant of the module that a name is, else the node itself."""
        return self.constants.get(node.id, node) if isinstance(node, ast.Name) else node

    def places(self, node: ast.expr) -> list[str]:
        """The packages that an argument names, dotted."""
        text = ast.unparse(node)
        if text in ("__name__", "__path__", "[folder]"):
            return ["quantd." + self.folder.replace("/", ".")]
        if isinstance(node, ast.Attribute):
            return [self.packages[text.partition(".")[0]]] if text.partition(".")[0] in self.packages else []
        strings = [constant.value for constant in ast.walk(self.value(node)) if isinstance(constant, ast.Constant)]
        return [string for string in strings if isinstance(string, str) and string.startswith("quantd.")]


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def line_of(source: Source, call: ast.Call) -> str:
    """The expression of the line that declares a record, or "" where the call is of no registry."""
    if name_of(call) in ("ordered", "records"):
        return rf"^\w+: Final = {ast.unparse(call.args[1])}\(" if len(call.args) == 3 else ""
    declares: Any = source.constants.get("DECLARES")
    if declares is not None:
        text = declares.args[0].value if isinstance(declares, ast.Call) else re.escape(declares.value.decode().strip())
        return str(text) if text.startswith("^") else f"^{text}"
    names = [
        getattr_call.args[1]
        for _, getattr_call in source.calls
        if name_of(getattr_call) == "getattr" and len(getattr_call.args) == 3
    ]
    read = next((name.value for name in names if isinstance(name, ast.Constant)), None)
    return "" if read is None else rf"^{read}: Final = "


def record_lines() -> dict[str, re.Pattern[str]]:
    """Folder -> the line that declares a record in a module of it."""
    paths = [path.relative_to(ROOT) for top in BUILDINGS for path in python_files(ROOT / top)]
    texts = {path: (ROOT / path).read_text() for path in paths}
    walking = [Source(str(path.parent), text) for path, text in texts.items() if any(f"{w}(" in text for w in WALKERS)]
    lines = dict(_walked(walking, WALKERS))
    # a function that is given the package of a registry walks that of its callers
    further = {outer: line_of(source, call) for source in walking for outer, call in source.calls
               if name_of(call) == "declaring" and not source.places(call.args[0])}  # fmt: skip
    for path, text in texts.items():
        if any(f"{outer}(" in text for outer in further if outer):
            source = Source(str(path.parent), text)
            for _, call in source.calls:
                if further.get(name_of(call)) and call.args:
                    lines |= dict.fromkeys(source.places(call.args[0]), further[name_of(call)])
    folders = {package.removeprefix("quantd.").replace(".", "/"): line for package, line in lines.items()}
    commands = [path for top in BUILDINGS for path in (ROOT / top / "cli").glob("*/")]
    return {folder: re.compile(line, re.MULTILINE) for folder, line in folders.items() if (ROOT / folder).is_dir()} | {
        str(path.relative_to(ROOT)): program.RECORD for path in commands if (path / "__init__.py").exists()
    }


def _walked(sources: list[Source], walkers: set[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        for _, call in source.calls:
            if name_of(call) in walkers and call.args and (line := line_of(source, call)):
                for package in source.places(call.args[0]):
                    yield package, line
