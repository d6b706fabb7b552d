"""Files bundled with quantd: default configuration, recorded markets, training plans, trained policies.

In a checkout the entries beside this module are links; in a wheel they are files. data/README.md lists their licences.
"""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
CONFIG: Final = FOLDER / "config.toml"
SHIPPED: Final = FOLDER / "models" / "shipped"

SOURCE_ONLY: Final = frozenset(
    {"seed4_actions.csv", "seed4_daily.parquet", "us20_actions.csv", "us20_daily.parquet"}
)  # fmt: skip
"""Recorded markets without a stated licence: a checkout has them in data/, a wheel does not."""


def find(name: str | Path, folder: Path = Path()) -> Path:
    """Return the path `name` in `folder`, or the bundled one of that name if only that exists.

    Examples are data/us_daily.parquet and models/shipped/scorer.
    """
    own, bundled = folder / name, FOLDER / name
    return bundled if not own.exists() and bundled.exists() else own


def absent(name: str | Path) -> str:
    """Return the error text for a file that `find` did not find."""
    if Path(name).name in SOURCE_ONLY:
        return (
            "there is no such file: its source states no licence, so that only the source repository has it, in data/"
        )
    return "there is no such file"
