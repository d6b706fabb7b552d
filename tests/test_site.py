"""The site of documents: links, doors, the generated reference, and the snippets as the program understands them."""

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

import quantd
from quantd.adapters.store.incidents.alert_kinds import ALERT_KINDS
from quantd.daemon.config.keys import all_keys, pattern_of
from quantd.daemon.monitoring.metrics import COUNTERS, GAUGES, HISTOGRAMS
from quantd.daemon.runtime.version import VERSION
from quantd.risk.limits.catalogue import LIMITS
from scripts.publication.facts import facts
from scripts.site.builder import BUILD, LinkError, described, everything, llms, sections, settings, sitemap, stage
from scripts.site.figures import TABLE, Result, beyond, document, peers_rows, results, tables
from scripts.site.figures import faults as figure_faults
from scripts.site.gallery import FOLDER, NOTEBOOKS, SUMMARIES
from scripts.site.gallery import page as gallery_page
from scripts.site.links import faults, site_faults
from scripts.site.pages import ROOT, Page, pages, slug
from scripts.site.reference import command_line, glossary, records
from scripts.site.reference.generated import PAGES
from scripts.site.snippets.extraction import Snippet, snippets
from scripts.site.snippets.report import RUNS, marked, not_run_page
from scripts.site.snippets.scenes import reason, scenes
from scripts.site.versions import tags, versions

INLINE = re.compile(r"`quantd ([a-z][a-z-]*(?: [a-z][a-z-]*)?)[^`]*`")


@cache
def found() -> tuple[Page, ...]:
    return tuple(everything(api=False))


@cache
def every_snippet() -> tuple[Snippet, ...]:
    return tuple(snippet for page in pages() for snippet in snippets(page))


def of(path: str, text: str) -> Page:
    return Page(path, path, text)


@pytest.mark.long
@pytest.mark.requirement("R-270")
def test_each_link_of_the_documents_leads_to_a_file_and_a_heading() -> None:
    assert faults(list(found())) == []


def test_no_command_ends_in_prose_that_a_shell_would_take_for_arguments() -> None:
    commands = [snippet for snippet in every_snippet() if snippet.kind == "command"]
    texts = {snippet.where: re.sub(r"'[^']*'", "''", snippet.text) for snippet in commands}
    assert [where for where, text in texts.items() if re.search(r"\S {2,}[a-z0-9]", text)] == []


def test_a_link_that_leads_nowhere_is_named_with_its_page_and_line() -> None:
    page = of("pages/a.md", "# A\n\n[b](b.md) `[c](c.md)` [here](#a) [not](#gone)\n\n    [code](d.md)\n")
    assert faults([page]) == [
        "pages/a.md:3: b.md: there is no pages/b.md",
        "pages/a.md:3: #gone: pages/a.md has no heading #gone",
    ]


def test_a_reference_of_the_built_site_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html#y">b</a><a href="c.html">c</a><a href="#x">x</a>')
    (tmp_path / "b.html").write_text("<p>")
    assert [message.split(": ", 1)[1] for message in site_faults(tmp_path)] == [
        "b.html#y: no element has this id",
        "c.html: there is no such file",
    ]


def test_headings_have_the_fragments_of_github() -> None:
    assert slug("The `[risk]` keys, of 1.5 %") == "the-risk-keys-of-15-"
    assert of("a.md", "# A\n\n## B\n\n## B\n").anchors == {"a", "b", "b-1"}


@pytest.mark.long
def test_each_page_stands_below_one_tab_and_in_the_index_for_models() -> None:
    tabs = sections(found())
    assert {"Trade", "Research", "Agents", "Operate"} < set(tabs)
    places = [page.place for tab_pages in tabs.values() for page in tab_pages]
    assert sorted([*places, "index.md"]) == sorted(page.place for page in found())
    index = llms(found())
    assert [place for place in places if f"({place})" not in index] == []


def test_a_page_without_a_door_is_an_error() -> None:
    with pytest.raises(LinkError, match=r"names no door for: new\.md"):
        sections([of("new.md", "# New")])


def test_files_that_a_page_links_to_come_along(tmp_path: Path) -> None:
    a = of("pages/risk/a.md", "# A\n\n[gate](../../risk/pretrade/gate.py) [b](b.md#b)\n")
    stage([a, of("pages/risk/b.md", "# B")], tmp_path)
    text = (tmp_path / "pages/risk/a.md").read_text()
    assert text.splitlines()[:3] == ["---", 'description: "gate b"', "---"]
    assert text.splitlines()[6] == "[gate](../../files/risk/pretrade/gate.py.txt) [b](b.md#b)"
    assert (tmp_path / "files/risk/pretrade/gate.py.txt").is_file()


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_the_reference_has_every_record(name: str) -> None:
    expected = {
        "keys": {path[-1] for path, key in all_keys().items() if key.section is None},
        "commands": {f"## quantd {path}\n" for path in command_line.tree()},
        "metrics": {f"`quantd_{key}" for key in (COUNTERS | GAUGES | HISTOGRAMS)},
        "limits": {f"`{key}`" for key in LIMITS},
        "events": {f"## {kind.__name__}\n" for kind in records.event_kinds()},
        "exit-codes": {f"| {code} | `{key}` | {records.CODES[key]}" for key, code in records.codes().items()},
        "python-names": {f"## quantd.{name}\n" for name in quantd.__all__},
        "glossary": {f"## {name}\n" for name in glossary.terms()},
        "topics": {f"## {kind}\n" for kind in ("alert", "orders", "status", "command-answer")},
    }[name]
    assert {text for text in expected if text not in PAGES[name]()} == set()


@pytest.mark.requirement("R-270")
def test_each_alert_and_each_exit_code_has_a_runbook() -> None:
    text = next(page.text for page in pages() if page.path == "docs/operate/runbooks.md")
    kinds = {kind.name + "…" * kind.name.endswith("_") for kind in ALERT_KINDS}
    opens = {kind.name + "…" * kind.name.endswith("_") for kind in ALERT_KINDS if kind.reminded}
    assert {kind for kind in kinds if f"`{kind}`" not in text} == set()
    assert {kind for kind in opens if f"### `{kind}`\n" not in text} == set()
    assert {code for code in records.codes().values() if f"\n### {code}\n" not in text} == set()


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
    command, arguments = commands[path], words[len(path.split(" ")) :]
    try:
        context = command.context_class(command, info_name=path)
        command.make_parser(context).parse_args(arguments)
    except Exception as why:
        return f"quantd {' '.join(words)}: {getattr(why, 'message', why)}"
    return ""


@pytest.mark.requirement("R-270")
def test_the_program_accepts_every_command_line_of_the_documents() -> None:
    bad = []
    for snippet in every_snippet():
        expected_usage = scenes().pages.get(snippet.page)
        codes = expected_usage.codes if expected_usage else {}
        if any(snippet.text.startswith(key) and code == 2 for key, code in codes.items()):
            continue
        words = words_of(snippet.text) if snippet.kind == "command" else None
        if words and (why := refused(words)):
            bad.append(f"{snippet.where}: {why}")
    assert bad == []


def test_a_command_line_with_an_unknown_option_or_name_is_seen() -> None:
    assert "No such option" in refused(["backtest", "--frm", "2020-01-01"])
    assert "there is no such command" in refused(["backtets"])
    assert refused(["data", "check", "file.parquet", "--actions", "a.csv"]) == ""


def test_commands_named_in_sentences_exist() -> None:
    commands = command_line.tree()
    groups = {path.split(" ")[0] for path in commands}
    bad = [
        f"{page.path}: quantd {match[1]}"
        for page in pages()
        if page.path != "CHANGELOG.md"
        for match in INLINE.finditer(page.text)
        if match[1].split(" ")[0] not in groups
    ]
    assert bad == []


def test_each_table_of_toml_has_keys_of_the_configuration() -> None:
    keys = all_keys()
    top = {path[0] for path in keys}
    bad = []
    for snippet in every_snippet():
        if snippet.kind != "toml":
            continue
        document = tomllib.loads(snippet.text)
        if set(document) <= top and all(isinstance(value, dict | list) for value in document.values()):
            bad += [f"{snippet.where}: {'.'.join(map(str, path))}" for path in paths(document) if not is_key(path)]
    assert bad == []


FREE = (("alerts", "sinks"), ("agents", "*", "params"), ("agents", "*", "limits"), ("risk", "shocks"))
"""Tables whose keys are those of a plug-in, or a limit's own."""


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


def test_each_entry_of_the_table_of_snippets_names_a_snippet() -> None:
    by_page: dict[str, list[str]] = {page.path: [] for page in pages()}
    for snippet in every_snippet():
        by_page[snippet.page].append(snippet.text)
    for page, scene in scenes().pages.items():
        assert page in by_page, f"docs/snippets.toml has {page}, which is no page"
        unused = {key for key in scene.entries() if not any(text.startswith(key) for text in by_page[page])}
        assert unused == set(), page
        assert set(scene.not_run.values()) <= set(scenes().reasons), page


def test_what_is_not_run_carries_a_mark_and_is_listed_with_its_count() -> None:
    skipped = [snippet for snippet in every_snippet() if reason(snippet)]
    text = not_run_page(pages()).text
    assert f"{len(skipped)} are not run" in text
    assert text.count("\n| [docs/") + text.count("\n| [CONTRIBUTING") + text.count("\n| [tests/") == len(skipped)
    for path in {snippet.page for snippet in skipped}:
        page = next(page for page in pages() if page.path == path)
        assert marked(page).text.count("**Not run here**") >= 1, path
    plain = of("docs/trade/backtest.md", "# B\n\n    quantd backtest\n")
    assert marked(plain) is plain


def test_most_snippets_are_run() -> None:
    commands = [snippet for snippet in every_snippet() if snippet.kind in RUNS]
    assert sum(not reason(snippet) for snippet in commands) >= 0.7 * len(commands) > 150


def test_snippets_are_commands_outputs_files_and_tables() -> None:
    text = (
        "# A\n\n    $ quantd status   # look\n    RUN\n    $ quantd why X \\\n        --recorded\n\n"
        "    # mine.py\n    def act(view):\n        return 1\n\n    [risk]\n    max_drawdown = 0.2\n\n"
        "```python\nimport quantd\n```\n\n    step -> effects\n"
    )
    rows = [
        (snippet.line, snippet.kind, snippet.text.splitlines()[0], snippet.output)
        for snippet in snippets(of("a.md", text))
    ]
    assert rows == [
        (3, "command", "quantd status", ("RUN",)),
        (5, "command", "quantd why X --recorded", ("--recorded",)),
        (8, "file", "# mine.py", ()),
        (12, "toml", "[risk]", ()),
        (16, "python", "import quantd", ()),
        (19, "shown", "step -> effects", ()),
    ]


@pytest.mark.requirement("R-272")
def test_the_documents_repeat_the_results_with_command_commit_and_date() -> None:
    figures = results()
    assert [fault for name, result in figures.items() for fault in figure_faults(name, result)] == []
    assert all(result.command and re.fullmatch(r"[0-9a-f]{8,}", result.commit) for result in figures.values())
    assert TABLE.read_text(encoding="utf-8") == document(figures)


@pytest.mark.requirement("R-272")
def test_every_table_of_the_page_on_speed_has_a_result() -> None:
    path = "docs/develop/speed.md"
    page_tables = tables(next(page.text for page in pages() if page.path == path))
    stated = {heading for result in results().values() if result.pages[0] == path for heading in result.tables}
    assert set(page_tables) == stated
    assert results()["peers"].tables["beside-others"] == peers_rows()


def test_a_figure_that_a_page_has_otherwise_is_named() -> None:
    speed = results()["long_runs"]
    rows = [list(row) for row in speed.tables["long-runs"]]
    rows[0][1] = "99.9"
    changed = Result("x", "0" * 8, speed.date, ("docs/develop/speed.md",), figures={"a": "no such text"},
                     tables={"long-runs": rows})  # fmt: skip
    first, second = figure_faults("x", changed)
    assert "lacks 'no such text'" in first
    assert "'99.9'" in second


def test_a_ratio_beyond_its_tolerance_is_named() -> None:
    old = [["case", "bt", "8.0", "7.0"]]
    assert beyond(old, [["case", "bt", "9.0", "8.0"]], 0.25) == []
    assert beyond(old, [["case", "bt", "4.0", "3.0"]], 0.25) == ["case, bt: 8 became 4.0"]


def test_the_gallery_has_each_notebook_with_its_cells_and_outputs() -> None:
    names = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} == names == set(SUMMARIES)
    for name in names:
        cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        cells = [cell | {"source": "".join(cell["source"])} for cell in cells]
        text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        without_outputs = re.sub(r"\n```text\n.*?\n```\n|\n!\[.*?\)\n", "", text, flags=re.DOTALL)
        assert without_outputs == gallery_page(name, cells)[0], f"{name}: run make gallery"
        assert text.count("```text") >= 4


def test_the_settings_of_the_site_follow_publication_toml() -> None:
    bare = facts()
    site_settings = settings(found(), BUILD / "a", BUILD / "b", replace(bare, repository="", documentation=""))
    assert {"repo_url", "site_url"} & set(site_settings) == set()
    site_facts = replace(
        bare, repository="https://forge.example/me/quantd", documentation="https://docs.example/quantd"
    )
    site_settings = settings(found(), BUILD / "a", BUILD / "b", site_facts)
    assert (site_settings["repo_url"], site_settings["site_url"]) == (
        site_facts.repository,
        "https://docs.example/quantd/",
    )
    assert site_settings["extra"]["picture"] == "https://docs.example/quantd/files/docs/dashboard.png"
    assert [palette["scheme"] for palette in site_settings["theme"]["palette"] if "scheme" in palette] == [
        "default",
        "slate",
    ]


def test_the_sitemap_lists_every_page() -> None:
    text = sitemap(found(), "https://docs.example")
    places = re.findall(r"<loc>https://docs\.example/(.+?)</loc>", text)
    assert len(places) == len(found()) == len(set(places))
    assert {"index.html", "faq.html", "reference/glossary.html", "strategies/momentum_top.html"} <= set(places)


def test_a_page_has_its_first_sentence_as_description() -> None:
    page = of("a.md", '# A\n\nA page that says "yes" to all. More.\n')
    assert described(page, page.text).startswith('---\ndescription: "A page that says \\"yes\\" to all."\n---\n\n# A\n')
    front_matter_page = of("s.md", "---\nname: x\n---\n# A\n")
    assert described(front_matter_page, front_matter_page.text) == front_matter_page.text


def test_the_first_house_word_of_a_page_in_prose_is_a_link_to_the_glossary() -> None:
    text = "# The gate\n\n    gate\n\nOne `gate`, [gate](x.md), **gate** and a gate, gates. Out-of-sample samples.\n"
    page = Page("docs/trade/house.md", "trade/house.md", text)
    assert glossary.linked(page).splitlines()[4] == (
        "One `gate`, [gate](x.md), **gate** and a [gate](../reference/glossary.md#gate), gates. "
        "Out-of-sample [samples](../reference/glossary.md#sample)."
    )
    assert set(glossary.LINKED) <= set(glossary.terms())
    assert glossary.linked(Page("CHANGELOG.md", "changelog.md", text)) == text


def test_the_page_of_versions_has_those_of_the_changelog() -> None:
    page = (ROOT / "docs/release/versions.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == VERSION
    assert [name for name in headings if f"\n| {name} |" not in page] == []


def test_the_head_lists_each_version_of_the_changelog_with_its_state_and_page() -> None:
    changelog = "# Changes\n\n## 0.4.0\n\n### Added\n\n## 0.3.0\n\n## 0.2.0\n\nWith ## 9.9.9 in a sentence.\n"
    notes = Page("docs/release/0.3.0.md", "release/0.3.0.md", "# Release 0.3.0\n")
    assert versions(changelog, [notes], ["v0.3.0", "v0.1.0"], "0.4.0") == [
        ("0.4.0", "these pages, not tagged", "index.html"),
        ("0.3.0", "tagged", "release/0.3.0.html"),
        ("0.2.0", "not tagged", "changelog.html#020"),
    ]


def test_the_site_is_built_with_the_versions_of_this_checkout() -> None:
    extra = settings(found(), BUILD / "source", BUILD / "site", facts())["extra"]
    names = [version["name"] for version in extra["versions"]]
    assert names == re.findall(r"^## (\d+\.\d+\.\d+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert [version["name"] for version in extra["versions"] if version["link"] == "index.html"] == [VERSION]
    states = {version["name"]: version["state"].removeprefix("these pages, ") for version in extra["versions"]}
    assert {name for name, state in states.items() if state == "tagged"} == {
        name for name in names if f"v{name}" in tags()
    }
