"""`python scripts/jobs_page.py docs/risk/jobs.md` writes the table of that page from the records of the jobs."""

import re
import sys
from pathlib import Path
from typing import Final

from quantd.daemon.jobs.job_table import jobs_table

_TABLE: Final = re.compile(r"^\| job \|.*\n(?:\|.*\n)+", re.MULTILINE)


def with_table(page: str) -> str:
    """A page with its table of jobs as the records have it."""
    return _TABLE.sub(lambda _: f"{jobs_table()}\n", page, count=1)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
