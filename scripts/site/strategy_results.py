"""`make strategies` backtests each folder of examples/strategies and writes the result into its README.

A folder is found by its `config.toml`; there is no list. The result is what `quantd backtest` prints in an empty state
folder: the verdict, and the rows beside equal weight.
"""

import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "examples" / "strategies"
ROWS: Final = (
    "this run", "total return", "a year", "volatility a year", "largest drawdown", "turnover a year", "costs paid",
    "invested on average", "Sharpe difference",
)  # fmt: skip
"""Beginnings of the printed lines that a README repeats."""

_MARKS: Final = re.compile(r"(?<=<!-- result: written by make strategies -->\n).*?(?=<!-- end -->)", re.DOTALL)


def folders() -> list[Path]:
    """The folders of strategies, by name."""
    return sorted(path.parent for path in FOLDER.glob("*/config.toml"))


def result(folder: Path) -> str:
    """The block of a README: the command and what it prints."""
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-P", "-m", "quantd.daemon.cli", "backtest", "--config", str(folder / "config.toml")]
        process = subprocess.run([*command, "--state", state], cwd=ROOT, text=True, capture_output=True, check=True)
    verdict, *lines = process.stdout.splitlines()
    rows = [re.sub(r"(?<=\S)  +(?=\S)", "  ", line.strip()) for line in lines if line.strip().startswith(ROWS)]
    cells = [row.split("  ") for row in rows]
    cells[0] = ["", *cells[0]]
    table = ["".join(f"{cell:<{width}}" for cell, width in zip(row, (24, 16, 16), strict=False)) for row in cells]
    shown = f"$ quantd backtest --config examples/strategies/{folder.name}/config.toml"
    return "\n".join(["", *(f"    {line}".rstrip() for line in [shown, *textwrap.wrap(verdict, 112), *table]), "", ""])


def described(folder: Path, block: str) -> str:
    """The README of a folder with a block as its result. Raises ValueError where its marks are gone."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    if not _MARKS.search(text):
        raise ValueError(f"{folder.name}/README.md has lost the marks of its result")
    return _MARKS.sub(lambda _: block, text)


def main() -> None:
    """Write every README."""
    for folder in folders():
        (folder / "README.md").write_text(described(folder, result(folder)), encoding="utf-8")
        print(folder.name, flush=True)


if __name__ == "__main__":
    main()
