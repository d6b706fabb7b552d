"""Links of the pages: each leads to a file and to a heading that is there. The same for the built site."""

import os
import posixpath
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from scripts.site.pages import ROOT, Page, lines_outside_code

_LINK: Final = re.compile(r"(\]\()([^)\s]+)(\))")
_CODE: Final = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_OUTSIDE: Final = ("http:", "https:", "mailto:")

Rewrite = Callable[[str, str], str]
"""Path in the checkout and fragment -> the target that stands in the site."""


def links(text: str) -> Iterator[tuple[int, str]]:
    """Line and target of each link outside code."""
    for number, line in lines_outside_code(text):
        for match in _LINK.finditer(_CODE.sub(lambda code: " " * len(code[0]), line)):
            yield number, match[2]


def target_of(page: str, link: str) -> tuple[str, str]:
    """The path in the checkout that a link of a page names, and its fragment."""
    path, _, fragment = link.partition("#")
    if not path:
        return page, fragment
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(path))), fragment


def faults(pages: list[Page]) -> list[str]:
    """Each link that leads nowhere: page, line, target and what is missing."""
    pages_by_path = {page.path: page for page in pages}
    broken_links = []
    for page in pages:
        for number, link in links(page.text):
            if link.startswith(_OUTSIDE):
                continue
            path, fragment = target_of(page.path, link)
            if path not in pages_by_path and not (ROOT / path).exists():
                broken_links.append(f"{page.path}:{number}: {link}: there is no {path}")
            elif fragment and path in pages_by_path and fragment not in pages_by_path[path].anchors:
                broken_links.append(f"{page.path}:{number}: {link}: {path} has no heading #{fragment}")
    return broken_links


def rewritten(page: Page, to: Rewrite) -> str:
    """The text of a page with each link inside the checkout replaced."""

    def replaced(match: re.Match[str]) -> str:
        if match[2].startswith((*_OUTSIDE, "#")):
            return match[0]
        return f"{match[1]}{to(*target_of(page.path, match[2]))}{match[3]}"

    lines = page.text.split("\n")
    for number, line in lines_outside_code(page.text):
        if "](" in line:
            parts, at = [], 0
            for code in _CODE.finditer(line):  # a link in code is code; code in the text of a link is not
                parts += [line[at : code.start()], code[0]]
                at = code.end()
            parts.append(line[at:])
            lines[number - 1] = "".join(part if n % 2 else _LINK.sub(replaced, part) for n, part in enumerate(parts))
    return "\n".join(lines)


class _Targets(HTMLParser):
    """Fragments and references of a page of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.references: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value and tag != "base":
                self.references.append((self.getpos()[0], value))


def _absent(fragment: str, page: _Targets) -> bool:
    """Whether a fragment names no element; those of the theme itself begin with two underscores."""
    return bool(fragment) and fragment not in page.ids and not fragment.startswith("__")


def site_faults(site: Path) -> list[str]:
    """Each reference of the built site that leads to no file or to no element."""
    parsed = {}
    for path in sorted(site.rglob("*.html")):
        parsed[path] = _Targets()
        parsed[path].feed(path.read_text(encoding="utf-8"))
    broken_references = []
    for path, page in parsed.items():
        if path.name == "404.html":  # its references begin at the root of a server
            continue
        for line, reference in page.references:
            split = urlsplit(reference)
            if split.scheme or split.netloc:
                continue
            target = path if not split.path else Path(os.path.normpath(path.parent / unquote(split.path)))
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                broken_references.append(f"{path.relative_to(site)}:{line}: {reference}: there is no such file")
            elif target in parsed and _absent(unquote(split.fragment), parsed[target]):
                broken_references.append(f"{path.relative_to(site)}:{line}: {reference}: no element has this id")
    return broken_references
