"""The modules of the packages, each with the first sentence of its docstring."""

import ast
import re
from itertools import groupby
from pathlib import Path
from typing import Final

from quantd.daemon.runtime.version import python_files
from scripts.site.pages import ROOT
from scripts.site.reference.tables import cell, code, first_line, table

PACKAGES: Final = ("research", "server", "training", "daemon", "models", "strategies", "risk", "adapters", "trading")


def page() -> str:
    """The page of modules: a table for each folder, packages in the order of imports."""
    parts = ["# Modules\n\nThis page lists every module of quantd with the first sentence of its docstring.\n"]
    for package in PACKAGES:
        paths = (path for path in python_files(ROOT / package) if path.name != "__init__.py")
        for folder, modules in groupby(sorted(paths, key=lambda path: (path.parent, path.name)), lambda p: p.parent):
            rows = [[code(path.name), _about(path)] for path in modules]
            title = folder.relative_to(ROOT).as_posix()
            parts.append(f"## `{title}/`\n\n{_about(folder / '__init__.py')}\n\n" + table(["module", "about"], rows))
    return "\n".join(parts)


def _about(path: Path) -> str:
    text = first_line(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))
    return cell(re.split(r"(?<=[.])\s", text)[0]).replace("<", "&lt;")
