"""The files of the page: from this daemon alone, as they were vendored, and all of them served."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from quantd.server.api.routes.dashboard_routes import FOLDER, FOLDERS
from tests.support.checkout import ROOT

OWN = [
    path
    for path in (*FOLDER.iterdir(), *(FOLDER / "panels").iterdir())
    if path.suffix in (".html", ".js", ".css", ".svg", ".webmanifest")
]
SERVED = {name for names in FOLDERS.values() for name in names} | {"index.html", "first_hour.html"}


@pytest.mark.requirement("R-210")
def test_the_dashboard_asks_for_nothing_from_elsewhere() -> None:
    assert len(OWN) > 5
    for path in OWN:
        addresses = set(re.findall(r"(?:https?:)?//[a-z][\w.-]+", path.read_text().replace("<!doctype", "")))
        # a link of the footer and the name of a format: nothing follows them
        assert addresses <= {"https://www.tradingview.com", "http://www.w3.org"}, path.name


def test_each_file_of_the_page_is_served_and_each_import_is_one_of_them() -> None:
    assert {path.name for path in OWN} <= SERVED
    for path in OWN:
        for name in re.findall(r'(?:from |import\()"\./([^"]+)"|="/dashboard/([^"]+)"', path.read_text()):
            assert "".join(name) in SERVED, (path.name, name)


@pytest.mark.parametrize("folder", [FOLDER / "vendor", ROOT / "tests" / "support" / "axe"], ids=["page", "axe"])
def test_vendored_files_are_those_of_their_packages(folder: Path) -> None:
    rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {p.name for p in folder.iterdir() if p.suffix in (".js", ".mjs")}
    for name, digest in rows:
        assert sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_the_page_asks_for_every_script_of_the_first_screen_at_once() -> None:
    wanted, found = ["dashboard.js"], set()
    while wanted:
        name = wanted.pop()
        found.add(name)
        text = next((path.read_text() for path in OWN if path.name == name), "")
        imported = re.findall(r'^import [^"]*? from "\./([^"]+)"', text, re.MULTILINE)
        wanted += [each for each in imported if each not in found]
    page = (FOLDER / "index.html").read_text()
    assert set(re.findall(r'modulepreload" href="/dashboard/([^"]+)"', page)) | {"dashboard.js"} == found


def test_no_part_of_the_page_parses_text_as_markup() -> None:
    for path in OWN:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|dangerously|eval\(", path.read_text())


def test_comments_of_the_page_end_at_120_columns() -> None:
    for path in OWN:
        lines = [
            line for line in path.read_text().splitlines() if re.match(r"\s*(//|\*|/\*)", line) and " @" not in line
        ]
        assert [line for line in lines if len(line) > 120] == [], path.name
