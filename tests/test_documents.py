"""The documents hold: what they link, name, show and repeat is there. One test prints everything that is wrong."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantd.adapters.store.incidents.alert_kinds import ALERT_KINDS
from quantd.daemon.config.keys import all_keys, pattern_of
from quantd.risk.limits.catalogue import LIMITS
from scripts import requirements_page
from scripts.site import figures, links
from scripts.site.pages import ROOT, Page, pages, slug
from scripts.site.reference import command_line, records
from scripts.site.snippets.extraction import Snippet, snippets
from scripts.site.snippets.scenes import scenes
from tests.support.checkout import BUILDINGS

INLINE = re.compile(r"`quantd ([a-z][a-z-]*(?: [a-z][a-z-]*)*)[^`]*`")
NAMED = re.compile(
    rf"(?<!\]\()(?<![\w./-])(?:docs/[\w./-]+\.md|(?:tests|benchmarks|scripts|systemd|{'|'.join(BUILDINGS)})"
    r"/[\w./@-]+\.(?:py|service))\b(?:::\w+)?"
)
PROGRAM = re.compile(r"python -m ((?:tests|benchmarks|scripts|quantd)(?:\.\w+)*)")
OF_THEIR_DAY = ("CHANGELOG.md", "docs/decisions/", "docs/release/", "models/shipped/", "docs/develop/extending.md")
"""Pages that keep the names of their day, or that name files which their reader makes."""

MADE = set(re.findall(r"[Tt]his file, as `([^`]+)`", (ROOT / "docs/develop/extending.md").read_text(encoding="utf-8")))
"""Files that a reader of the recipes makes."""

FREE = (("alerts", "sinks"), ("agents", "*", "params"), ("agents", "*", "limits"), ("risk", "shocks"))
"""Tables whose keys are those of a plug-in, or a limit's own."""


def documents() -> list[Page]:
    """The pages of the site that are files, and the other pages of the repository."""
    others = (path for top in (*BUILDINGS, "examples", "tests", "benchmarks") for path in (ROOT / top).rglob("*.md"))
    names = {path.relative_to(ROOT).as_posix() for path in others if not {"state", "mlruns"} & {*path.parts}}
    names -= {page.path for page in pages()}
    return [*pages(), *(Page(name, name, (ROOT / name).read_text(encoding="utf-8")) for name in sorted(names))]


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of each page, of each file that names pages or modules, and of the sources."""
    yield from ((page.path, page.text) for page in pages() if not page.path.startswith(OF_THEIR_DAY))
    files = [*ROOT.glob("*.toml"), *(ROOT / "examples").rglob("*.toml"), ROOT / "Makefile"]
    files += [path for top in (*BUILDINGS, "scripts", "benchmarks") for path in (ROOT / top).rglob("*.py")]
    yield from ((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in files)


def name_faults(path: str, text: str) -> Iterator[str]:
    """The files, tests and programs that a text names and that are not there."""
    for name in {match[0] for match in NAMED.finditer(text)} - MADE:
        file, _, test = name.partition("::")
        if not (ROOT / file).is_file():
            yield f"{path}: there is no {file}"
        elif test and f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8"):
            yield f"{path}: {file} has no {test}"
    for name in {match[1] for match in PROGRAM.finditer(text)}:
        inside = Path(*name.removeprefix("quantd.").split("."))
        places = (ROOT / inside, ROOT / "src/quantd" / inside)
        if not any(place.with_suffix(".py").is_file() or (place / "__main__.py").is_file() for place in places):
            yield f"{path}: there is no python -m {name}"


def words_of(command: str) -> list[str] | None:
    """The words after `quantd` of a command line; none where a shell decides what they are."""
    match = re.search(r"(?:^|[|;&] *|\$\()(?:[A-Z_]+=\S* +)*(?:\.venv/bin/)?quantd ([^|;&><]*)", command)
    return None if match is None else shlex.split(match[1].replace("…", "x"), comments=True)


def refused(words: list[str]) -> str:
    """Why the program would not accept a command line; empty for an accepted one."""
    commands = command_line.tree()
    path = next((p for n in (3, 2, 1) if (p := " ".join(words[:n])) in commands), "")
    if not path:
        return f"quantd {' '.join(words)}: there is no such command"
    command = commands[path]
    try:
        command.make_parser(command.context_class(command, info_name=path)).parse_args(words[len(path.split(" ")) :])
    except Exception as why:
        return f"quantd {' '.join(words)}: {getattr(why, 'message', why)}"
    return ""


def snippet_faults(snippet: Snippet) -> Iterator[str]:
    """What the program would refuse of a command line or of a table of config.toml that a page shows."""
    if snippet.kind == "command":
        if re.search(r"\S {2,}[a-z0-9]", re.sub(r"'[^']*'", "''", snippet.text)):
            yield f"{snippet.where}: a shell would take the words behind the command for arguments"
        scene = scenes().pages.get(snippet.page)
        usage = scene and any(snippet.text.startswith(key) and code == 2 for key, code in scene.codes.items())
        if not usage and (words := words_of(snippet.text)) and (why := refused(words)):
            yield f"{snippet.where}: {why}"
    if snippet.kind == "toml":
        document = tomllib.loads(snippet.text)
        if set(document) <= {path[0] for path in all_keys()} and all(
            isinstance(value, dict | list) for value in document.values()
        ):
            for path in paths(document):
                if not is_key(path):
                    yield f"{snippet.where}: {'.'.join(map(str, path))} is no key"


def is_key(path: tuple[str | int, ...]) -> bool:
    shape = pattern_of(path)
    free = any(shape[: len(prefix)] == prefix for prefix in FREE) or (shape[0] == "risk" and shape[1] in LIMITS)
    return free or shape in all_keys() or any(shape[:n] in all_keys() and n < len(shape) for n in range(2, len(shape)))


def paths(value: object, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of each value of a document."""
    if isinstance(value, dict):
        return [path for key, child in value.items() for path in paths(child, (*above, key))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [path for number, child in enumerate(value) for path in paths(child, (*above, number))]
    return [above]


def command_faults(page: Page) -> Iterator[str]:
    """The commands that a sentence of a page names and that the program does not have."""
    commands = command_line.tree()
    groups = {path.split(" ")[0] for path in commands if " " in path}
    for match in INLINE.finditer(page.text):
        words = match[1].split(" ")
        known = (
            " ".join(words[:2]) in commands if words[0] in groups and words[1:] else words[0] in {*commands, *groups}
        )
        if not known and not match[1].endswith("-"):
            yield f"{page.path}: there is no command quantd {' '.join(words[:2])}"


def scene_faults(by_page: dict[str, list[str]]) -> Iterator[str]:
    """The entries of docs/snippets.toml that fit no page or no snippet."""
    for page, scene in scenes().pages.items():
        for key in scene.entries():
            if not any(text.startswith(key) for text in by_page.get(page, ())):
                yield f"docs/snippets.toml: {page} has no snippet {key!r}"
        for name in set(scene.not_run.values()) - set(scenes().reasons):
            yield f"docs/snippets.toml: {page}: {name!r} is no reason"


def runbook_faults(text: str) -> Iterator[str]:
    """The alerts and exit codes without their place in the page of runbooks."""
    for kind in ALERT_KINDS:
        name = kind.name + "…" * kind.name.endswith("_")
        if f"`{name}`" not in text or (kind.reminded and f"### `{name}`\n" not in text):
            yield f"docs/operate/runbooks.md: there is no runbook of the alert {name}"
    for code in records.codes().values():
        if f"\n### {code}\n" not in text:
            yield f"docs/operate/runbooks.md: there is no runbook of exit code {code}"


def figure_faults() -> Iterator[str]:
    """The figures that a page has otherwise than docs/figures.toml, which names their commands, commits and dates."""
    results = figures.results()
    for name, result in results.items():
        yield from figures.faults(name, result)
    stated = {heading for result in results.values() if result.pages[0] == SPEED for heading in result.tables}
    for heading in set(figures.tables((ROOT / SPEED).read_text(encoding="utf-8"))) - stated:
        yield f"{SPEED}#{heading} is no result of docs/figures.toml"


SPEED = "docs/develop/speed.md"


def faults() -> Iterator[str]:
    """Everything that is wrong in the documents, a line each."""
    yield from links.faults(documents())
    for path, text in texts():
        yield from name_faults(path, text)
    by_page: dict[str, list[str]] = {}
    for page in pages():
        for snippet in snippets(page):
            by_page.setdefault(page.path, []).append(snippet.text)
            yield from snippet_faults(snippet)
        if not page.path.startswith(OF_THEIR_DAY):
            yield from command_faults(page)
    yield from scene_faults(by_page)
    yield from runbook_faults((ROOT / "docs/operate/runbooks.md").read_text(encoding="utf-8"))
    yield from figure_faults()
    yield from requirements_page.faults(requirements_page.sections(), requirements_page.marks())


@pytest.mark.requirement("R-270", "R-272")
def test_what_the_documents_link_name_show_and_repeat_is_there() -> None:
    wrong = list(faults())
    assert not wrong, "\n".join(wrong)


def test_headings_have_the_fragments_of_github() -> None:
    assert slug("The `[risk]` keys, of 1.5 %") == "the-risk-keys-of-15-"
    assert Page("a.md", "a.md", "# A\n\n## B\n\n## B\n").anchors == {"a", "b", "b-1"}
