"""Artifacts and market files by the names that commands take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import CONFIG, ExplainedError

Bars = Annotated[Path, typer.Option(help="Daily raw bars.")]
Actions = Annotated[str, typer.Option(help='Splits and dividends; "" for none.')]
BARS_FILE: Final = Path("data/us_daily.parquet")
ACTIONS_FILE: Final = "data/us_actions.csv"


def market_files(bars: Path, actions: str) -> tuple[Path, Path | None]:
    """The paths of the two files, here or among the bundled ones. Raises Failure."""
    files = bundled.find(bars), bundled.find(actions) if actions else None
    for path in files:
        if path is not None and not path.is_file():
            remedy = "name the market with --bars, its splits and dividends with --actions"
            raise Failure(f"{path}: {bundled.absent(path)}; {remedy}", CONFIG)
    return files


def place_of(folder: Path) -> Path:
    """The folder of an artifact, here or among the shipped ones; of versions, the current one. Raises Failure."""
    from quantd.models.artifacts.manifest import MANIFEST
    from quantd.models.artifacts.versions import resolved

    for place in (bundled.find(folder), bundled.SHIPPED / folder):
        artifact = resolved(place)
        if (artifact / MANIFEST).is_file():
            return artifact
    remedy = "name the folder of an artifact, such as models/shipped/scorer"
    fault = f"no {MANIFEST} there" if folder.exists() else "there is no such folder"
    raise Failure(f"{folder}: {fault}; {remedy}", CONFIG)


@contextmanager
def failing(command: str) -> Iterator[None]:
    """Turn a ValueError or OSError of the block into a Failure of `command`; others pass, as ArtifactError does."""
    try:
        yield
    except ExplainedError:
        raise
    except (ValueError, OSError) as error:
        raise Failure(f"quantd {command}: {error}") from error
