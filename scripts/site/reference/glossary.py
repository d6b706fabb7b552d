"""The glossary of CONTRIBUTING as a page, and the links from house words of other pages to it."""

import posixpath
import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from scripts.site.pages import ROOT, Page, lines_outside_code, slug

NAME: Final = "glossary"
PATH: Final = f"docs/reference/{NAME}.md"
LINKED: Final = (
    "sample", "gate", "verdict", "headroom", "house book", "basket", "worst price", "carry-over", "shadow", "artifact",
    "digest", "outbox", "sink", "parent order", "outside agent",
)  # fmt: skip
"""Words that a trader meets with a meaning of this house. The first of each on a page is a link."""

_UNLINKED: Final = (
    "CHANGELOG",
    "CONTRIBUTING",
    "docs/decisions/",
    "docs/reference/requirements",
    "docs/gallery/",
    "examples/notebooks/",
)
_ROW: Final = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \|$", re.MULTILINE)
_SPARED: Final = re.compile(r"`[^`]*`|!?\[[^\]]*\]\([^)]*\)|\*\*[^*]*\*\*|<[^>]*>|\w+(?:[./_-]\w+)+")


@cache
def terms() -> Mapping[str, str]:
    """Each entry of the glossary, such as "champion, challenger", with its meaning."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return {name: meaning for name, meaning in _ROW.findall(text[text.index("## Glossary") :]) if name != "word"}


def page() -> str:
    """The page of the glossary, in the order of the alphabet."""
    parts = [
        "# Glossary\n\nquantd uses some words of the field in one meaning only, and this page gives that meaning.\n"
    ]
    parts += [f"## {name}\n\n{meaning[:1].upper()}{meaning[1:]}.\n" for name, meaning in sorted(terms().items())]
    return "\n".join(parts)


def linked(page: Page) -> str:
    """The text of a page in which the first of each house word in prose is a link to its meaning."""
    if page.path == PATH or page.path.startswith(_UNLINKED):
        return page.text
    fragments = {name: slug(name) for name in LINKED if name in terms()}
    to = posixpath.relpath(PATH, posixpath.dirname(page.path) or ".")
    lines = page.text.split("\n")
    front = page.text.startswith("---\n")
    for number, line in lines_outside_code(page.text):
        if front and number > 1 and line == "---":
            front = False
        elif not front and line and not line.startswith(("#", "|", "!", "<")) and fragments:
            lines[number - 1] = _line(lines[number - 1], fragments, to)
    return "\n".join(lines)


def _line(line: str, fragments: dict[str, str], to: str) -> str:
    """The line with links; a word that got one is removed from `fragments`."""
    word = re.compile(rf"({_SPARED.pattern})|\b({'|'.join(sorted(fragments, key=len, reverse=True))})(s?)\b")

    def replaced(match: re.Match[str]) -> str:
        name = match[2]
        if not name or name not in fragments:
            return match[0]
        return f"[{name}{match[3]}]({to}#{fragments.pop(name)})"

    return word.sub(replaced, line)
