"""Builds the site: stages the pages, calls the generator, adds the Markdown copies and llms.txt, checks every link."""

import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from quantd.regular_file import remove_folder
from scripts.site.links import faults, rewritten, site_faults
from scripts.site.pages import ROOT, Page, pages
from scripts.site.reference.generated import generated
from scripts.site.search import install
from scripts.site.snippets.report import marked, not_run_page

BUILD: Final = ROOT / "build" / "docs"
DOORS: Final = tomllib.loads((ROOT / "docs" / "doors" / "doors.toml").read_text(encoding="utf-8"))
"""Door or other tab -> the pages below it, as patterns of paths; a page stands below the first that names it."""

_IMAGES: Final = (".png", ".svg")
ABOUT: Final = (
    "quantd is a trading daemon: it reads bars, computes target weights with one or several agents, and sends orders "
    "to a paper account or a venue. Every order passes a pre-trade risk gate."
)


class LinkError(Exception):
    """Links of the pages or of the site lead nowhere; the message lists them."""


def sections(found: Sequence[Page]) -> dict[str, list[Page]]:
    """Tab -> its pages, in the order of the patterns and then of paths. Each page stands once."""
    left = [page for page in found if page.place != "index.md"]
    tabs: dict[str, list[Page]] = {}
    for tab, patterns in DOORS.items():
        tabs[tab] = []
        for pattern in patterns:
            own = [page for page in left if fnmatchcase(page.path, pattern)]
            tabs[tab] += own
            left = [page for page in left if page not in own]
    if left:
        raise LinkError(f"docs/doors/doors.toml names no door for: {', '.join(page.path for page in left)}")
    return tabs


def stage(found: Sequence[Page], source: Path) -> None:
    """Write the pages where the generator reads them, and each file of the checkout that they link to."""
    remove_folder(source, ignore_errors=True)
    places = {page.path: page.place for page in found}
    files: set[str] = set()

    def copied(path: str) -> str:
        files.add(path)
        return file_place(path)

    for page in found:

        def to(path: str, fragment: str, here: str = page.place) -> str:
            place = places.get(path) or copied(path)
            return posixpath.relpath(place, posixpath.dirname(here) or ".") + (f"#{fragment}" if fragment else "")

        target = source / page.place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rewritten(page, to), encoding="utf-8")
    for path in sorted(files):
        target = source / file_place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            target.write_text(_listing(path), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / path, target)


def file_place(path: str) -> str:
    """Where a file of the checkout stands in the site: text ends with .txt, which every browser shows."""
    return f"files/{path}" if path.endswith(_IMAGES) else f"files/{path}.txt"


def _listing(folder: str) -> str:
    names = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout  # only what is tracked
    return f"Files of {folder} in the checkout:\n\n{names}"


def settings(found: Sequence[Page], source: Path, site: Path) -> dict[str, Any]:
    """The configuration of Zensical: no font or script from a network, GitHub's fragments, a tab for each door."""
    nav: list[dict[str, Any]] = [{"Home": "index.md"}]
    nav += [{tab: [{page.title: page.place} for page in own]} for tab, own in sections(found).items()]
    return {
        "site_name": "quantd",
        "site_description": ABOUT,
        "docs_dir": str(source.relative_to(BUILD)),
        "site_dir": str(site.relative_to(BUILD)),
        "use_directory_urls": False,
        "nav": nav,
        "theme": {
            "language": "en",
            "font": False,
            "features": ["navigation.tabs", "navigation.top", "content.code.copy", "search.highlight", "toc.follow"],
        },
        "markdown_extensions": {
            "tables": {},
            "md_in_html": {},
            "admonition": {},
            "toc": {"permalink": True, "slugify": {"object": "pymdownx.slugs.slugify", "kwds": {"case": "lower"}}},
            "pymdownx": {"superfences": {}, "highlight": {"auto_title": False}},
        },
    }


def llms(found: Sequence[Page]) -> str:
    """The index for language models (llmstxt.org): every page with its first sentence, as Markdown."""
    parts = [f"# quantd\n\n> {ABOUT}\n"]
    for tab, own in sections(found).items():
        rows = (f"- [{page.title}]({page.place}): {page.answer}" for page in own)
        parts.append(f"## {tab}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def build(found: Sequence[Page]) -> Path:
    """The folder of the built site. Raises LinkError, with every link that leads nowhere."""
    if broken := faults(list(found)):
        raise LinkError("\n".join(broken))
    source, site = BUILD / "source", BUILD / "site"
    stage(found, source)
    remove_folder(site, ignore_errors=True)
    BUILD.joinpath("zensical.toml").write_text(f"project = {toml(settings(found, source, site))}\n", encoding="utf-8")
    variables = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(BUILD / "zensical.toml")]
    done = subprocess.run(command, cwd=BUILD, env=variables, text=True, capture_output=True)
    if done.returncode:
        raise LinkError(done.stdout + done.stderr)
    for page in found:
        shutil.copyfile(source / page.place, site / page.place)
    install(site)
    (site / "llms.txt").write_text(llms(found), encoding="utf-8")
    if broken := site_faults(site):
        raise LinkError("\n".join(broken))
    return site


def toml(value: Any) -> str:
    """A value as TOML in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def everything(*, api: bool = True) -> list[Page]:
    """The pages of the checkout and of the reference, with their marks; without `api` no daemon starts, and no route is
    listed."""
    made = generated(api=api)
    names = {"not-run": "Snippets that are not run"} | {
        page.path.removeprefix("docs/reference/").removesuffix(".md"): page.title for page in made
    }

    def linked(page: Page) -> Page:
        if page.path != "docs/reference/README.md":
            return page
        links = re.sub(r"<!-- page: ([\w-]+) -->", lambda found: f"[{names[found[1]]}]({found[1]}.md).", page.text)
        return replace(page, text=links)

    found = [*map(linked, pages()), *made]
    return [*map(marked, found), not_run_page(found)]
