"""Attacks on the account's statement: one line each. Foreign text stays text in one cell, and a damaged document of a
day is a day that was not compared."""

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from quantd.daemon.jobs.tasks.account_differences import Difference
from quantd.daemon.jobs.tasks.account_lines import AccountLine, StatementDay
from quantd.daemon.jobs.tasks.account_statement import COLUMNS, csv_text
from quantd.daemon.jobs.tasks.statement_job import FOLDER
from quantd.trading.instruments import Instrument, Universe
from tests.support.command_line import CONFIG, answer, quantd, write

DAY = date(2019, 3, 14)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True)
class Cell:
    """A text of the venue, and the cell that it becomes."""

    name: str
    text: str
    written: str


CELLS = (
    Cell("a program as a formula", "=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
    Cell("a sum", "+1+1", "'+1+1"),
    Cell("a difference with a link", '-1+HYPERLINK("http://evil.example")', '\'-1+HYPERLINK("http://evil.example")'),
    Cell("a function at an address", "@SUM(A1:A9)", "'@SUM(A1:A9)"),
    Cell("a formula after a tab", "\t=1+1", "'\t=1+1"),
    Cell("a formula after a line feed", "\n=1+1", "'\n=1+1"),
    Cell("a formula after a carriage return", "\r=1+1", "\\x0d=1+1"),
    Cell("a formula in full-width letters", "\uff1d1+1", "'\uff1d1+1"),
    Cell("a line more", 'x"\n"forged",2019-03-14,,flow,,,,9999.00', 'x"\n"forged",2019-03-14,,flow,,,,9999.00'),
    Cell("control characters", "x\x1b[2J\x00\u202ey", "x\\x1b[2J\\x00\\u202ey"),
)


@pytest.mark.parametrize("attack", CELLS, ids=lambda attack: attack.name)
def test_a_text_of_the_venue_is_one_cell_that_no_spreadsheet_runs(attack: Cell) -> None:
    line = AccountLine("1-1-0", DAY, 10**18, "flow", attack.text, 0, 0, -1_500_000, attack.text, attack.text)
    day = StatementDay(DAY, 1_000_000, -500_000, 0, 0, 10**18, [line])
    difference = Difference("cash", "1", attack.text, "cash", "-0.01", "", attack.text)
    universe = Universe((Instrument("SPY"),))
    text = csv_text("r", universe, [day], {DAY: [difference]})
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["kind"] for row in rows] == ["opening", "flow", "closing", "difference"]
    assert rows[1]["symbol"] == rows[1]["reference"] == rows[1]["text"] == rows[3]["reference"] == attack.written
    assert [row["amount"] for row in rows] == ["1.00", "-1.50", "-0.50", "0.00"], "figures stay figures"
    for row in rows:
        assert set(row) == set(COLUMNS)
        for cell in row.values():
            assert not cell.startswith(FORMULA) or float(cell) < 0


Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Document:
    """What is done to the document of a day, and the day's text in the table."""

    name: str
    damage: Damage
    compared: str = "0 differences"


def of(name: str, shown: str = "0 differences", **fields: Any) -> Document:
    """Other fields of a valid document."""
    return Document(name, lambda path: path.write_text(json.dumps(valid(**fields))), shown)


def data(name: str, content: bytes) -> Document:
    return Document(name, lambda path: path.write_bytes(content))


def valid(**fields: Any) -> dict[str, Any]:
    """The document of a day that was not compared, with other fields."""
    document = dict.fromkeys(("opening", "closing", "equity"), "0.00") | {
        "run": RUN[0], "day": "2019-03-14", "currency": "USD", "lines": 0, "compared": "not compared",
        "differences": [], "positions": [],
    }  # fmt: skip
    return document | fields


RUN = [""]
"""The run of the module."""

DOCUMENTS = (
    data("a document nested without an end", b'{"x": ' + b"[" * 500_000),
    data("a document of no alphabet", b'{"run": "\xff\xfe"}'),
    data("a document without content", b""),
    Document("a document larger than memory", lambda path: (path.touch(), os.truncate(path, 1 << 40))),
    Document("a pipe", os.mkfifo),
    Document("a device that never ends", lambda path: path.symlink_to("/dev/zero")),
    Document("a folder", os.mkdir),
    of("a document of another run", run="other"),
    of("figures that are none", lines="NaN"),
    of("control characters of a terminal", "\\x1b]0;x\\x07\\x1b[2Jagreed", compared="\x1b]0;x\x07\x1b[2Jagreed"),
    of("markup of the table", "[red]agreed[/red]", compared="[red]agreed[/red]"),
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder, CONFIG)
    assert quantd(folder, "run", "--quiet").returncode == 0
    RUN[0] = answer(quantd(folder, "report", "--statement", "--from", "2019-03-14", "--to", "2019-03-14", "--json"))[
        "run"
    ]
    (folder / "state" / FOLDER).mkdir()
    return folder


@pytest.mark.long
@pytest.mark.parametrize("attack", DOCUMENTS, ids=lambda attack: attack.name)
def test_a_damaged_document_of_a_day_is_not_believed_and_ends_nothing(ran: Path, attack: Document) -> None:
    path = ran / "state" / FOLDER / "statement-2019-03-14.json"
    attack.damage(path)
    done = quantd(ran, "report", "--statement", "--from", "2019-03-14", "--to", "2019-03-14")
    path.rmdir() if path.is_dir() else path.unlink()
    assert (done.returncode, done.stderr) == (0, "")
    assert attack.compared in done.stdout
    assert "\x1b" not in done.stdout
