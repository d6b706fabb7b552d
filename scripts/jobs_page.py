"""`python scripts/jobs_page.py docs/risk/jobs.md` writes the table of that page from the records of the jobs."""

import re
import sys
from pathlib import Path
from typing import Final

from quantd.daemon.jobs.job_table import JOBS, duration_text

_TABLE: Final = re.compile(r"^\| job \|.*\n(?:\|.*\n)+", re.MULTILINE)


def jobs_table() -> str:
    lines = [
        "| job | what it does | runs in | time limit | attempts, pause | alert | repeated |",
        "|---|---|---|---|---|---|---|",
    ]
    for job in JOBS:
        outside_loop = job.where != "loop"
        cells = (
            f"`{job.name}`", job.text, job.place, duration_text(job.timeout_s) if outside_loop else "",
            f"{job.attempts}, {duration_text(job.pause_s)}" if outside_loop else "",
            ("CRITICAL" if job.critical else "WARNING") if outside_loop else "", "yes" if job.again else "no",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """A page with its table of jobs as the records have it."""
    return _TABLE.sub(lambda _: f"{jobs_table()}\n", page, count=1)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
