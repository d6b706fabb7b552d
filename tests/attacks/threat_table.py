"""The table of attacks in the page of the threat model."""

import re
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT

PAGE: Final = (ROOT / "docs/security.md").read_text()
COUNTS: Final = {name: int(count) for name, count in re.findall(r"\| `(tests/\S+)` \| (\d+) \|", PAGE)}
"""Test module -> number of its attacks."""


def attacks_on_the_page(module: str) -> int:
    """The number of attacks that the page has for a test module, given its file. Raises KeyError without a row."""
    return COUNTS[str(Path(module).resolve().relative_to(ROOT))]
