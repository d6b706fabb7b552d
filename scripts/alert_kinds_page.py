"""`python scripts/alert_kinds_page.py docs/risk/monitor.md` writes the table of that page from the kinds of alerts."""

import re
import sys
from pathlib import Path

from quantd.adapters.store.incidents.alert_kinds import kinds_table


def with_table(page: str) -> str:
    """A page with the table of kinds as the records have it, in place of the table with the same head."""
    table = kinds_table()
    head = table.split("\n", 1)[0]
    return re.sub(rf"^{re.escape(head)}\n(?:\|.*(?:\n|\Z))*", lambda _: f"{table.rstrip()}\n", page, flags=re.MULTILINE)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
