"""The files that come with quantd: default configuration, recorded markets, training plans, trained policies.

In a checkout the entries beside this module are links; in a wheel they are the files. data/README.md has their
licences.
"""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
CONFIG: Final = FOLDER / "config.toml"
SHIPPED: Final = FOLDER / "models" / "shipped"

SOURCE_ONLY: Final = frozenset(
    {"seed4_actions.csv", "seed4_daily.parquet", "us20_actions.csv", "us20_daily.parquet"}
)  # fmt: skip
"""Recorded markets whose source states no licence: a checkout has them in data/, a wheel does not."""


def find(name: str | Path, folder: Path = Path()) -> Path:
    """The file or folder `name` in `folder`; where there is none, the bundled one of that name, such as
    data/us_daily.parquet or models/shipped/scorer. Where neither exists, the path in `folder`."""
    own, bundled = folder / name, FOLDER / name
    return bundled if not own.exists() and bundled.exists() else own


def absent(name: str | Path) -> str:
    """What to say of a file that `find` did not find."""
    if Path(name).name in SOURCE_ONLY:
        return (
            "there is no such file: its source states no licence, so that only the source repository has it, in data/"
        )
    return "there is no such file"
