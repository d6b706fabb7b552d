"""`python -m scripts.site.reasons` writes docs/develop/reasons.md: the modules that open with what can go wrong.

Such a module holds an algorithm or a protocol. Its docstring has the words of OPENING, and tells which fault its
order of statements prevents, what was rejected, and where a formula comes from. The first sentence of the docstring is
its line on the page.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from scripts.words import PRODUCT, ROOT, modules

PAGE: Final = ROOT / "docs" / "develop" / "reasons.md"
OPENING: Final = "can go wrong"

HEAD: Final = """\
# Modules that give their reasons

Each of these modules opens with what can go wrong in it. Its first lines tell which fault the order of its statements
prevents, which alternative was rejected, and where a formula comes from. `python -m scripts.site.reasons` writes this
page from the modules.
"""


class Opening(NamedTuple):
    """A module that opens with what can go wrong, and the first sentence of its docstring."""

    module: str
    about: str


def openings() -> Iterator[Opening]:
    """Yield the modules of the product that open with what can go wrong, in the order of packages and paths."""
    packages = [place for place in PRODUCT if place not in ("scripts", "benchmarks", "examples")]
    for path in modules(packages):
        source = path.read_text(encoding="utf-8")
        docstring = (OPENING in source and ast.get_docstring(ast.parse(source))) or ""
        if OPENING in docstring:
            paragraph = " ".join(docstring.split("\n\n")[0].split())
            yield Opening(path.relative_to(ROOT).as_posix(), re.split(r"(?<=[.:])\s", paragraph)[0].rstrip(".:"))


def page() -> str:
    """Return the text of the page: a table for each package."""
    lines, package = [HEAD], ""
    for opening in openings():
        name = Path(opening.module).parts[0]
        if name != package:
            package = name
            lines += ["", f"## {package}/", "", "| module | what it is |", "|---|---|"]
        about = opening.about.replace("|", "\\|")
        lines.append(f"| [`{opening.module.partition('/')[2]}`](../../{opening.module}) | {about} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {sum(1 for _ in openings())} modules")


if __name__ == "__main__":
    main()
