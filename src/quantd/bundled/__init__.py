"""Files bundled with quantd: default configuration, recorded markets, training plans, trained policies.

In a checkout the entries beside this module are links; in a wheel they are files. data/README.md lists their licences.
"""

import os
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
CONFIG: Final = FOLDER / "config.toml"
SHIPPED: Final = FOLDER / "models" / "shipped"

SOURCE_ONLY: Final = frozenset(
    {"seed4_actions.csv", "seed4_daily.parquet", "us20_actions.csv", "us20_daily.parquet"}
)  # fmt: skip
"""Recorded markets without a stated licence: a checkout has them in data/, a wheel does not."""


PLACES: Final = {"data": "DATA_DIR", "models": "MODELS_DIR"}
"""Variables of the environment with the folder that stands for a first folder of a name."""


def placed(variable: str, default: str | Path = "") -> Path:
    """Return the folder that a variable of the environment names, or the default one."""
    return Path(os.environ.get(variable) or default)


def find(name: str | Path, folder: Path = Path()) -> Path:
    """Return the path `name` in `folder`, or the bundled one of that name if only that exists.

    Examples are data/us_daily.parquet and models/shipped/scorer. A file in DATA_DIR or MODELS_DIR goes before both.
    """
    there = elsewhere(name)
    if there is not None:
        return there[0]
    path, bundled = folder / name, FOLDER / name
    return bundled if not path.exists() and bundled.exists() else path


def elsewhere(name: str | Path) -> tuple[Path, str] | None:
    """Return the path that stands for `name` by a variable of the environment, and the variable; None without one."""
    first, *parts = Path(name).parts or ("",)
    if parts and os.environ.get(PLACES.get(first, "")) and (there := placed(PLACES[first]).joinpath(*parts)).exists():
        return there, PLACES[first]
    return None


def absent(name: str | Path) -> str:
    """Return the error text for a file that `find` did not find."""
    if Path(name).name in SOURCE_ONLY:
        return (
            "there is no such file: its source states no licence, so that only the source repository has it, in data/"
        )
    return "there is no such file"
