"""What a page needs so that its snippets can run, from docs/snippets.toml: a daemon, files, what is not run."""

import tomllib
from functools import cache
from typing import Final

from msgspec import Struct, convert

from scripts.site.pages import ROOT
from scripts.site.snippets.extraction import Snippet

TABLE: Final = ROOT / "docs" / "snippets.toml"


class Scene(Struct, frozen=True, forbid_unknown_fields=True):
    """The scene of one page. Keys of the tables are the beginnings of commands, or of other snippets.

    `daemon` runs beside the snippets, `before` prepares the folder, `python` the interpreter. `files` are the names of
    files that a snippet is written to. With `compared` a command prints each line that the page shows below it. `codes`
    are expected exit codes other than 0. `until` ends a command that runs for ever after so many seconds. `short` runs
    a shorter command in place of one, `replaced` replaces texts in all commands. `not_run` has the reason, which the
    page shows.
    """

    daemon: str = ""
    python: str = ""
    before: tuple[str, ...] = ()
    files: dict[str, str] = {}
    compared: bool = False
    codes: dict[str, int] = {}
    until: dict[str, float] = {}
    short: dict[str, str] = {}
    replaced: dict[str, str] = {}
    not_run: dict[str, str] = {}

    def entries(self) -> set[str]:
        """The beginnings that the scene names."""
        return {*self.files, *self.codes, *self.until, *self.short, *self.not_run}


class Scenes(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table: the reasons that a snippet may have for not being run, and the scenes by page."""

    reasons: dict[str, str]
    pages: dict[str, Scene]


@cache
def scenes() -> Scenes:
    """The table of the checkout."""
    return convert(tomllib.loads(TABLE.read_text(encoding="utf-8")), Scenes)


def scene_of(page: str) -> Scene:
    """The scene of a page; an empty one where the table has none."""
    return scenes().pages.get(page, Scene())


def entry(table: dict[str, str], snippet: Snippet) -> str:
    """The value of the longest beginning of a snippet in a table; empty without one."""
    beginnings = [key for key in table if snippet.text.startswith(key)]
    return table[max(beginnings, key=len)] if beginnings else ""


def reason(snippet: Snippet) -> str:
    """Why a snippet is not run here; empty for one that is run."""
    return entry(scene_of(snippet.page).not_run, snippet)
