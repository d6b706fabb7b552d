"""`python -m scripts.site.peer_table` writes the table of docs/learn/power.md beside other libraries from its fits.

The fits are benchmarks/peers/ppo/fits.jsonl, which `python -m benchmarks.peers.ppo` appends to. The page has the table
between two comments.
"""

from pathlib import Path
from typing import Final

from benchmarks.peers.ppo.peer_fits import head, newest, read_fits, rows
from scripts.site.pages import ROOT
from scripts.site.power_table import PAGE, written

FITS: Final = ROOT / "benchmarks" / "peers" / "ppo" / "fits.jsonl"

BEGIN: Final = "<!-- table of fits: python -m scripts.site.peer_table -->"


def table_of(file: Path = FITS) -> str:
    """Return the table of the fits of a file, in Markdown. Raises ValueError for a line that is no fit."""
    lines = [head(), ["---"] * len(head()), *rows(newest(read_fits(file)))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), table_of(), BEGIN), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
