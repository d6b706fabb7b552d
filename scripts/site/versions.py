"""The versions that the head of every page lists: those of CHANGELOG, with their state and the page of each."""

import re
import subprocess
from collections.abc import Collection, Sequence
from typing import NamedTuple

from quantd.daemon.runtime.version import VERSION
from scripts.site.pages import ROOT, Page, slug

_HEADING = re.compile(r"^## (\d+\.\d+\.\d+)$", re.MULTILINE)


class Version(NamedTuple):
    """A version: its number, its state in words, and the place in the site that describes it."""

    name: str
    state: str
    link: str


def tags() -> list[str]:
    """The tags of the checkout; none where it is no clone."""
    process = subprocess.run(["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=False)
    return process.stdout.split()


def versions(changelog: str, site_pages: Sequence[Page], tagged: Collection[str], here: str = VERSION) -> list[Version]:
    """Every version of a changelog, in its order; `here` is the one that the site describes.

    The link of `here` is the first page. That of another version is its notes, or else its part of the changes.
    """
    places = {page.path: page.place for page in site_pages}

    def version(name: str) -> Version:
        state = "tagged" if f"v{name}" in tagged else "not tagged"
        if name == here:
            return Version(name, f"these pages, {state}", "index.html")
        notes = places.get(f"docs/release/{name}.md", "").replace(".md", ".html")
        return Version(name, state, notes or f"changelog.html#{slug(name)}")

    return [version(name) for name in _HEADING.findall(changelog)]
