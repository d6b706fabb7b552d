"""Report files in the state folder: written atomically; only the newest of each kind are kept."""

import re
from pathlib import Path
from typing import Final

import msgspec

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.page import page
from quantd.regular_file import remove, write_whole

KEPT: Final = 120
"""Number of reports of each kind that are not deleted."""

FOLDER: Final = "reports"
_STEM: Final = re.compile(r"(?P<kind>[a-z]+)-\d{4}-\d{2}-\d{2}(T\d{6})?")

NAMES: Final = {"daily_report": "daily", "risk_report": "weekly"}
"""Job -> name of its files."""

DAYS: Final = {"daily_report": 1, "risk_report": 7}
"""Job -> days in the span of its report."""


def keep(folder: Path, job: str, report: Report) -> Path:
    """Write page and JSON as `reports/<kind>-<date of the last sample>`, delete old reports, return the page's path.

    The kind is the file name in NAMES for `job`.
    """
    reports = folder / FOLDER
    reports.mkdir(exist_ok=True, mode=0o700)
    kind = NAMES[job]
    path = reports / f"{kind}-{report.header.last[:10]}.html"
    write(path, report)
    prune(reports, kind)
    return path


def write(path: Path, report: Report) -> None:
    """Writes the page to `path` and its figures beside it as JSON."""
    write_whole(path, page(report).encode())
    write_whole(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def prune(reports: Path, kind: str) -> None:
    """Deletes all but the newest KEPT reports of a kind, by the date in their names."""
    stems = sorted(p.stem for p in reports.glob(f"{kind}-*.html") if _STEM.fullmatch(p.stem))
    for stem in stems[:-KEPT]:
        for suffix in (".html", ".json"):
            remove(reports / f"{stem}{suffix}", missing_ok=True)
