"""The Markdown pages of the site: where each lies in the checkout and in the site, its title and its headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

RENAMED: Final = {
    "README.md": "readme.md",
    "docs/README.md": "by-task.md",
    "docs/doors/home.md": "index.md",
    "docs/doors/faq.md": "faq.md",
    "docs/decisions/README.md": "decisions/records.md",
    "data/README.md": "data.md",
    "examples/strategies/README.md": "strategies/shelf.md",
    "tests/recorded_runs/README.md": "develop/recorded-runs.md",
}
"""Page -> its place in the site, where that is not its path below docs/."""

MAKERS: Final = (
    "decisions/",
    "develop/claims",
    "develop/conformance",
    "develop/documents",
    "develop/reference-row",
    "reference/requirements",
)
"""Beginnings of the places of pages that only those who change quantd read: no search and no llms.txt leads there."""

_ALONE: Final = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "data/README.md",
                 "tests/recorded_runs/README.md")  # fmt: skip
_HEADING: Final = re.compile(r"^(#{1,6}) +(.+?)(?: +#+)?$")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\(([^)]*)\)")


@dataclass(frozen=True)
class Page:
    """A page: its path in the checkout (or of its generator), its place in the site and its text."""

    path: str
    place: str
    text: str

    @cached_property
    def title(self) -> str:
        """The text of the first heading."""
        return next((plain(text) for level, text in headings(self.text) if level == 1), self.path)

    @cached_property
    def anchors(self) -> frozenset[str]:
        """Fragments of the page, as GitHub and the site derive them from the headings."""
        counts: dict[str, int] = {}
        names = set()
        for _, text in headings(self.text):
            name = slug(text)
            count = counts.get(name, 0)
            counts[name] = count + 1
            names.add(f"{name}-{count}" if count else name)
        return frozenset(names)

    @cached_property
    def summary(self) -> str:
        """The first paragraph that is prose, without markup."""
        for block in re.split(r"\n{2,}", outside_code(self.text)):
            if re.match(r"[A-Za-z`\"\[*_]", block):
                return plain(" ".join(block.split()))
        return ""

    @property
    def answer(self) -> str:
        """The first sentence of the summary: the index for models, search engines and previews show it."""
        return re.split(r"(?<=[.!?])\s", self.summary, maxsplit=1)[0]


def pages() -> list[Page]:
    """Each Markdown page and notebook of the checkout that the site has, in the order of paths."""
    paths = [path for name in _ALONE if (path := ROOT / name).is_file()]
    paths += sorted((ROOT / "docs").rglob("*.md"))
    paths += sorted((ROOT / "examples" / "strategies").rglob("README.md"))
    paths += sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
    return [page(str(path.relative_to(ROOT))) for path in paths]


def page(path: str) -> Page:
    """The page at a path of the checkout."""
    if path.endswith(".ipynb"):
        from scripts.site.gallery import page as notebook_page  # which imports this module

        return Page(path, f"gallery/{Path(path).stem}.md", notebook_page(ROOT / path))
    place = RENAMED.get(path, path.removeprefix("docs/").replace("CHANGELOG", "changelog"))
    place = place.removeprefix("examples/").replace("/README.md", ".md") if path.startswith("examples/") else place
    return Page(path, place, (ROOT / path).read_text(encoding="utf-8"))


def lines_outside_code(text: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line that is in no block of code; a line of code is an empty one."""
    fenced = indented = False
    before = ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            fenced = not fenced
            yield number, ""
        elif fenced:
            yield number, ""
        else:
            indented = line.startswith("    ") and (indented or not before.strip())
            yield number, "" if indented else line
            indented = indented or (not line.strip() and before.startswith("    "))
        before = line


def outside_code(text: str) -> str:
    """The text with its blocks of code emptied; the numbers of lines stay."""
    return "\n".join(line for _, line in lines_outside_code(text))


def headings(text: str) -> Iterator[tuple[int, str]]:
    """Level and text of each heading."""
    for _, line in lines_outside_code(text):
        if match := _HEADING.match(line):
            yield len(match[1]), match[2]


def plain(text: str) -> str:
    """A line of Markdown without its links, code marks and emphasis."""
    text = _LINK.sub(lambda match: match[1], text)
    return re.sub(r"(?<!\w)[*_]{1,2}|[*_]{1,2}(?!\w)|`", "", text)


def slug(heading: str) -> str:
    """The fragment that GitHub gives to a heading."""
    bare = _LINK.sub(lambda match: match[1], heading).lower().strip()
    return re.sub(r"[^\w\- ]", "", bare).replace(" ", "-")
