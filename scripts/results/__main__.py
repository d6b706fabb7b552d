"""`python -m scripts.results [--data DIR]` makes the table of results."""

import argparse
from pathlib import Path

from scripts.results import PLAN, ROOT, make

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="make the table of results")
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--data", type=Path, help="the folder of files that the repository lacks")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    make(given.plan, given.data, given.build, given.out)
