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

from quantd.daemon.runtime.version import VERSION
from quantd.regular_file import remove_folder
from scripts.publication.facts import Facts, facts
from scripts.site.links import faults, rewritten, site_faults
from scripts.site.pages import MAKERS, ROOT, Page, pages
from scripts.site.reference import glossary
from scripts.site.reference.generated import generated
from scripts.site.search import question_faults, questions, search_script, with_questions
from scripts.site.snippets.report import marked, not_run_page
from scripts.site.versions import tags, versions

BUILD: Final = ROOT / "build" / "docs"
DOORS: Final = tomllib.loads((ROOT / "docs" / "doors" / "doors.toml").read_text(encoding="utf-8"))
"""Door or other tab -> the pages below it, as patterns of paths; a page stands below the first that names it."""

THEME: Final = Path(__file__).with_name("theme")
"""What replaces parts of the generator's theme: the head of a page, the foot and styles."""

STYLES: Final = "assets/quantd.css"
SCRIPT: Final = "assets/quantd.js"
PICTURE: Final = "files/docs/dashboard.png"
"""The picture of the home page, which a preview of any page shows."""

LOCAL: Final = "http://127.0.0.1:8000"
"""Address of the site where publication.toml has none: that of `python -m http.server`."""

PALETTE: Final = [
    {"media": "(prefers-color-scheme)", "toggle": {"icon": "lucide/sun-moon", "name": "Switch to light colours"}},
    {"media": "(prefers-color-scheme: light)", "scheme": "default",
     "toggle": {"icon": "lucide/sun", "name": "Switch to dark colours"}},
    {"media": "(prefers-color-scheme: dark)", "scheme": "slate",
     "toggle": {"icon": "lucide/moon", "name": "Switch to the colours of the system"}},
]  # fmt: skip
"""Light and dark: the system's choice, until a reader chooses."""

_IMAGES: Final = (".png", ".svg")
ABOUT: Final = (
    "quantd is a trading daemon: it reads bars, computes target weights with one or several agents, and sends orders "
    "to a paper account or a venue. Every order passes a pre-trade risk gate."
)


class LinkError(Exception):
    """Links of the pages or of the site lead nowhere; the message lists them."""


def sections(site_pages: Sequence[Page]) -> dict[str, list[Page]]:
    """Tab -> its pages, in the order of the patterns and then of paths. Each page stands once."""
    unplaced = [page for page in site_pages if page.place != "index.md"]
    tabs: dict[str, list[Page]] = {}
    for tab, patterns in DOORS.items():
        tabs[tab] = []
        for pattern in patterns:
            tab_pages = [page for page in unplaced if fnmatchcase(page.path, pattern)]
            tabs[tab] += tab_pages
            unplaced = [page for page in unplaced if page not in tab_pages]
    if unplaced:
        raise LinkError(f"docs/doors/doors.toml names no door for: {', '.join(page.path for page in unplaced)}")
    return tabs


def stage(site_pages: Sequence[Page], source: Path) -> None:
    """Write the pages where the generator reads them, and each file of the checkout that they link to."""
    remove_folder(source, ignore_errors=True)
    places = {page.path: page.place for page in site_pages}
    files: set[str] = set()

    def copied(path: str) -> str:
        files.add(path)
        return file_place(path)

    for page in site_pages:

        def to(path: str, fragment: str, here: str = page.place) -> str:
            place = places.get(path) or copied(path)
            return posixpath.relpath(place, posixpath.dirname(here) or ".") + (f"#{fragment}" if fragment else "")

        target = source / page.place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(described(page, rewritten(page, to)), encoding="utf-8")
    for path in sorted(files):
        target = source / file_place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            target.write_text(_listing(path), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / path, target)


def described(page: Page, text: str) -> str:
    """The text of a page with its first sentence as its description, which search engines and previews show."""
    return text if text.startswith("---\n") else f"---\ndescription: {json.dumps(page.answer)}\n---\n\n{text}"


def file_place(path: str) -> str:
    """Where a file of the checkout stands in the site: text ends with .txt, which every browser shows."""
    return f"files/{path}" if path.endswith(_IMAGES) else f"files/{path}.txt"


def _listing(folder: str) -> str:
    names = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout  # only what is tracked
    return f"Files of {folder} in the checkout:\n\n{names}"


def settings(site_pages: Sequence[Page], source: Path, site: Path, owner: Facts) -> dict[str, Any]:
    """The configuration of Zensical: no font or script from a network, GitHub's fragments, a tab for each door.

    The addresses of the site and of the repository are those of publication.toml; an empty one is left out.
    """
    nav: list[dict[str, Any]] = [{"Home": "index.md"}]
    nav += [{tab: [{page.title: page.place} for page in tab_pages]} for tab, tab_pages in sections(site_pages).items()]
    addresses = {"site_url": f"{owner.documentation}/"} if owner.documentation else {}
    if owner.repository:
        addresses |= {"repo_url": owner.repository, "repo_name": "Repository"}
    return {
        **addresses,
        "site_name": "quantd",
        "site_description": ABOUT,
        "extra_css": [STYLES],
        "extra_javascript": [SCRIPT],
        "extra": {
            "quantd_version": VERSION,
            "picture": f"{owner.documentation or LOCAL}/{PICTURE}",
            "versions": [version._asdict() for version in versions(_changelog(), site_pages, tags())],
            "alternate": True,  # the head then has theme/partials/alternate.html, which lists the versions
        },
        "docs_dir": str(source.relative_to(BUILD)),
        "site_dir": str(site.relative_to(BUILD)),
        "use_directory_urls": False,
        "nav": nav,
        "theme": {
            "language": "en",
            "font": False,
            "custom_dir": os.path.relpath(THEME, BUILD),
            "palette": PALETTE,
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


def _changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def sitemap(site_pages: Sequence[Page], address: str) -> str:
    """The list of pages for search engines (sitemaps.org), by the address of the site."""
    places = (page.place.removesuffix(".md") + ".html" for page in site_pages)
    rows = "".join(f"  <url><loc>{address}/{place}</loc></url>\n" for place in places)
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{space}">\n{rows}</urlset>\n'


def llms(site_pages: Sequence[Page]) -> str:
    """The index for language models (llmstxt.org): every page for a user with its first sentence, as Markdown."""
    parts = [f"# quantd\n\n> {ABOUT}\n"]
    for tab, tab_pages in sections(site_pages).items():
        rows = (
            f"- [{page.title}]({page.place}): {page.answer}" for page in tab_pages if not page.place.startswith(MAKERS)
        )
        parts.append(f"## {tab}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def build(site_pages: Sequence[Page]) -> Path:
    """The folder of the built site. Raises LinkError, with every link that leads nowhere."""
    asked = questions()
    if broken := [*faults(list(site_pages)), *question_faults(site_pages, asked)]:
        raise LinkError("\n".join(broken))
    source, site, owner = BUILD / "source", BUILD / "site", facts()
    stage(site_pages, source)
    for place in (STYLES, SCRIPT):
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(THEME / Path(place).name, source / place)
    remove_folder(site, ignore_errors=True)
    BUILD.joinpath("zensical.toml").write_text(
        f"project = {toml(settings(site_pages, source, site, owner))}\n", encoding="utf-8"
    )
    variables = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(BUILD / "zensical.toml")]
    process = subprocess.run(command, cwd=BUILD, env=variables, text=True, capture_output=True)
    if process.returncode:
        raise LinkError(process.stdout + process.stderr)
    for page in site_pages:
        staged = (source / page.place).read_text(encoding="utf-8")
        (site / page.place).write_text(_without_front_matter(staged), encoding="utf-8")
    (worker,) = (site / "assets/javascripts/workers").glob("search.*.js")
    worker.write_text(search_script(), encoding="utf-8")
    index = site / "search.json"
    index.write_text(with_questions(index.read_text(encoding="utf-8"), site_pages, asked), encoding="utf-8")
    (site / "llms.txt").write_text(llms(site_pages), encoding="utf-8")
    (site / "sitemap.xml").write_text(sitemap(site_pages, owner.documentation or LOCAL), encoding="utf-8")
    if broken := site_faults(site):
        raise LinkError("\n".join(broken))
    return site


def _without_front_matter(text: str) -> str:
    return re.sub(r"\A---\ndescription: .*\n---\n\n", "", text)


def toml(value: Any) -> str:
    """A value as TOML in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def everything(*, api: bool = True) -> list[Page]:
    """The pages of the checkout and of the reference, with their marks; without `api` no daemon starts, and no route is
    listed."""
    reference_pages = generated(api=api)
    names = {"not-run": "Snippets that are not run"} | {
        page.path.removeprefix("docs/reference/").removesuffix(".md"): page.title for page in reference_pages
    }

    def linked(page: Page) -> Page:
        if page.path != "docs/reference/README.md":
            return page
        links = re.sub(r"<!-- page: ([\w-]+) -->", lambda match: f"[{names[match[1]]}]({match[1]}.md).", page.text)
        return replace(page, text=links)

    site_pages = [*map(linked, pages()), *reference_pages]
    every = [*map(marked, site_pages), not_run_page(site_pages)]
    return [replace(page, text=glossary.linked(page)) for page in every]
