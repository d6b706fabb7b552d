"""The figures of the documents: each result with its command, commit and date, and how a page must repeat it.

`docs/figures.toml` is the file of results. `make figures` measures again what this machine can measure, and writes what
came out; a figure that depends on the machine is a ratio, and is compared within the tolerance of its result.
"""

import csv
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct, convert

from scripts.site.pages import ROOT, outside_code, slug

TABLE: Final = ROOT / "docs" / "figures.toml"
RATIOS: Final = ROOT / "benchmarks" / "peers" / "ratios.csv"
_NUMBER: Final = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?: ?(?:%|ms|us|s|x|MiB|MB))?(?: ± \d[\d.]*)?")

CASES: Final = {
    "monthly": "20 x 5,000, equal weight every 21 sessions",
    "daily": "20 x 5,000, all 20 trade every day",
    "roomy": "20 x 5,000, daily, no purchase needs a sale",
    "three": "20 x 5,000, three agents every day",
    "quiet": "1 x 20,000, asked every bar, quiet",
    "crossing": "1 x 20,000, averages of 10 and 30 closes",
}
"""Case of `benchmarks/peers` -> its words on the page."""


class Result(Struct, frozen=True, forbid_unknown_fields=True):
    """One result. `figures` are texts that stand on each of the pages; `tables` are the rows below a heading of the
    first page, cell by cell. `again`: `make figures` measures it. `tolerance` is the largest relative change of a
    ratio."""

    command: str
    commit: str
    date: date
    pages: tuple[str, ...]
    again: bool = False
    tolerance: float = 0.0
    figures: dict[str, str] = {}
    tables: dict[str, list[list[str]]] = {}


def results() -> dict[str, Result]:
    """Return the results of docs/figures.toml by name. Raises msgspec.ValidationError for another form."""
    return convert(tomllib.loads(TABLE.read_text(encoding="utf-8")), dict[str, Result])


def tables(text: str) -> dict[str, list[list[str]]]:
    """Heading -> the rows with numbers of the tables below it, as cells."""
    rows_by_heading: dict[str, list[list[str]]] = {}
    heading = ""
    for line in outside_code(text).split("\n"):
        if line.startswith("#"):
            heading = slug(line.lstrip("# "))
        elif line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if any(_NUMBER.fullmatch(cell) for cell in cells[1:]):
                rows_by_heading.setdefault(heading, []).append(cells)
    return rows_by_heading


def faults(name: str, result: Result) -> list[str]:
    """What a page has that the result does not have, or has otherwise."""
    mistakes = []
    for path in result.pages:
        text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
        mistakes += [f"{path} lacks {figure!r} of {name}" for figure in result.figures.values() if figure not in text]
    shown = tables((ROOT / result.pages[0]).read_text(encoding="utf-8"))
    for heading, rows in result.tables.items():
        if shown.get(heading) != rows:
            mistakes.append(f"{result.pages[0]}#{heading} differs from {name}: {_first(shown.get(heading, []), rows)}")
    return mistakes


def _first(shown: list[list[str]], rows: list[list[str]]) -> str:
    return next((f"{a} is not {b}" for a, b in zip(shown, rows, strict=False) if a != b), "another number of rows")


def peers_rows(file: Path = RATIOS) -> list[list[str]]:
    """The rows of the page, from the ratios of the last run of `make bench-peers`."""
    with file.open(encoding="utf-8") as lines:
        return [
            [CASES[row["case"]], row["peer"], _rounded(row["ratio_median"]), _rounded(row["ratio_min"])]
            for row in csv.DictReader(lines)
        ]


def _rounded(ratio: str) -> str:
    value = float(ratio)
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def beyond(old: list[list[str]], new: list[list[str]], tolerance: float) -> list[str]:
    """Each ratio of the new rows that is further from the old one than the tolerance."""
    before = {tuple(row[:2]): float(row[2]) for row in old}
    return [
        f"{', '.join(row[:2])}: {before[tuple(row[:2])]:g} became {row[2]}"
        for row in new
        if abs(float(row[2]) / before.get(tuple(row[:2]), float(row[2])) - 1) > tolerance
    ]


def backtest_figures() -> dict[str, str]:
    """The figures of `quantd backtest` with the shipped configuration, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "quantd.daemon.cli", "backtest", "-c", str(ROOT / "config.toml")]
        process = subprocess.run([*words, "--state", folder], capture_output=True, text=True, check=True)
    text = " ".join(process.stdout.split())
    patterns = {
        "verdict": r"Sharpe -?[\d.]+ \[[^]]*\], equal weight -?[\d.]+ \[[^]]*\]; deflated [\d.]+",
    }
    matches = {name: re.search(pattern, text) for name, pattern in patterns.items()}
    return {name: match[0] for name, match in matches.items() if match}


AGAIN: Final[dict[str, Callable[[], dict[str, str]]]] = {"backtest": backtest_figures}
"""Results that every machine repeats to the last digit."""


def remake(*, peers: bool) -> list[str]:
    """Measure again, and write what came out; `peers`: beside other engines, too. Returns what lies beyond a
    tolerance."""
    entries, warnings = results(), list[str]()
    for name, measured in AGAIN.items():
        entries[name] = _stamped(entries[name], figures=measured())
    if peers:
        subprocess.run(["make", "bench-peers", "ARGS=--rounds 3"], cwd=ROOT, check=True)
        old, new = entries["peers"].tables["beside-others"], peers_rows()
        warnings = beyond(old, new, entries["peers"].tolerance)
        entries["peers"] = _stamped(entries["peers"], tables={"beside-others": new})
    TABLE.write_text(document(entries), encoding="utf-8")
    return warnings + [fault for name, result in entries.items() for fault in faults(name, result)]


def _stamped(
    result: Result, figures: dict[str, str] | None = None, tables: dict[str, list[list[str]]] | None = None
) -> Result:
    """The result with new figures, and with commit and date where they differ."""
    new_figures, new_tables = figures or result.figures, tables or result.tables
    if (new_figures, new_tables) == (result.figures, result.tables):
        return result
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    today = datetime.now(UTC).date()
    return Result(result.command, commit, today, result.pages, result.again, result.tolerance, new_figures, new_tables)


_HEAD: Final = """\
# Results that the documents repeat, each with its command, commit and date. A test compares the pages with this file;
# `make figures` measures again those with `again = true` (ARGS=--peers: those of other engines too).
"""


def document(entries: dict[str, Result]) -> str:
    """The file of results."""
    parts = [_HEAD]
    for name, entry in entries.items():
        lines = [
            f"[{name}]",
            f'command = "{entry.command}"',
            f'commit = "{entry.commit}"',
            f"date = {entry.date.isoformat()}",
            f"pages = [{', '.join(_quoted(page) for page in entry.pages)}]",
        ]
        lines += ["again = true"] if entry.again else []
        lines += [f"tolerance = {entry.tolerance:g}"] if entry.tolerance else []
        if entry.figures:
            lines += [f"[{name}.figures]", *(f"{key} = {_quoted(value)}" for key, value in entry.figures.items())]
        if entry.tables:
            lines += [f"[{name}.tables]"]
            for heading, rows in entry.tables.items():
                body = "".join(f"  [{', '.join(map(_quoted, row))}],\n" for row in rows)
                lines.append(f"{heading} = [\n{body}]")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
