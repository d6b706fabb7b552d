"""`python scripts/sections_page.py docs/research/reports.md` writes the table of that page from the records."""

import re
import sys
from pathlib import Path
from typing import Final

from quantd.research.reports.page_sections import SECTIONS

_TABLE: Final = re.compile(r"(?<=<!-- sections -->\n).*?(?=<!-- end -->)", re.DOTALL)


def with_table(page: str) -> str:
    """A page with the table between `<!-- sections -->` and `<!-- end -->` as the records have it."""
    rows = [
        "| section | content |",
        "|---|---|",
        *(f"| {section.link or section.title} | {section.about} |" for section in SECTIONS),
    ]
    return _TABLE.sub(lambda _: "".join(f"{row}\n" for row in rows), page)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
