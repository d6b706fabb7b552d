"""Table kind x venue of docs/operate/live.md, from venue_kinds.toml (python -m tests.proofs.venue_kinds --write)."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT

VENUES: Final = ("alpaca", "kraken", "paper")
KINDS: Final[list[dict[str, str]]] = tomllib.loads((Path(__file__).parent / "venue_kinds.toml").read_text())["kind"]
PAGE: Final = ROOT / "docs" / "operate" / "live.md"
BEGINS, ENDS = "<!-- made by tests/proofs/venue_kinds.py -->\n", "<!-- end -->\n"

CASE, NONE = "case: ", "none: "


def shown(cell: str) -> str:
    """A cell of the page: a linked test, a case of the conformance suite, or the reason why there is none."""
    if cell.startswith(CASE):
        return f"[{cell.removeprefix(CASE)}](../../tests/proofs/conformance/cases.py)"
    if cell.startswith(NONE):
        return f"none: {cell.removeprefix(NONE)}"
    path, _, name = cell.partition("::")
    return f"[{re.sub('_', ' ', name.removeprefix('test_'))}](../../{path})"


def table() -> str:
    """The table of the page."""
    rows = [f"| {kind['name']} | {' | '.join(shown(kind[venue]) for venue in VENUES)} |" for kind in KINDS]
    return "\n".join(("| kind | Alpaca | Kraken | paper |", "|---|---|---|---|", *rows)) + "\n"


def page(text: str) -> str:
    """The page with the present table."""
    before, _, remainder = text.partition(BEGINS)
    return f"{before}{BEGINS}{table()}{ENDS}{remainder.partition(ENDS)[2]}"


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(page(PAGE.read_text()))
