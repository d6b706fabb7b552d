"""Tests that a page names, and whether they are there."""

import ast

from tests.support.checkout import ROOT


def absent(tests: list[tuple[str, str]]) -> list[str]:
    """Those of the tests (module, name) that their module does not define."""
    missing = []
    for path, name in tests:
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body if (ROOT / path).exists() else []
        if name not in {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}:
            missing.append(f"{path}::{name}")
    return missing
