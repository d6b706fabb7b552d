"""Prints the size of this checkout: lines of code by package, lines of tests, words of documents, commands and keys.

A line of code has a token that is neither a comment nor a docstring.
"""

import ast
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

from quantd.daemon.cli.program import commands
from quantd.daemon.config.keys import all_keys

BLANK = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
ASIDE = ("tests", "scripts", "benchmarks", "examples", "deploy", "setup.py")


def code_lines(path: Path) -> int:
    with tokenize.open(path) as file:
        tokens = [token for token in tokenize.generate_tokens(file.readline) if token.type not in BLANK and token.line]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def leaves() -> int:
    actions = [entry.command.action for entry in commands().values()]
    return sum(1 if callable(action) else len(action) for action in actions)


def main() -> None:
    files = [Path(name) for name in subprocess.check_output(["git", "ls-files"], text=True).split("\n") if name]
    files = [path for path in files if not path.is_symlink() and path.is_file()]
    code = Counter[str]()
    for path in files:
        if path.suffix in (".py", ".pyi"):
            code[path.parts[0]] += code_lines(path)
    for top, lines in sorted(code.items()):
        print(f"{lines:8,}  code lines of {top}")
    tests = sum(
        len(path.read_bytes().splitlines()) for path in files if path.suffix == ".py" and path.parts[0] == "tests"
    )
    pages = [path for path in files if path.suffix == ".md" and (path.parts[0] == "docs" or len(path.parts) == 1)]
    print(f"{sum(lines for top, lines in code.items() if top not in ASIDE):8,}  code lines of the product")
    print(f"{tests:8,}  lines of tests")
    print(f"{sum(len(path.read_text(encoding='utf-8').split()) for path in pages):8,}  words of documents")
    print(f"{leaves():8,}  commands")
    keys = all_keys()
    leaf_keys = [key for key in keys if not any(other[: len(key)] == key for other in keys if other != key)]
    print(f"{len(leaf_keys):8,}  configuration keys")


if __name__ == "__main__":
    main()
