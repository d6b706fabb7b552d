"""Artifacts and market files as the commands of `quantd models` name them."""

from pathlib import Path

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.models.artifacts.manifest import MANIFEST
from quantd.models.artifacts.versions import resolved
from quantd.trading.exit_codes import CONFIG


def market_files(bars: Path, actions: Path | None) -> tuple[Path, Path | None]:
    """Where the two files lie, here or among the bundled. Raises Failure."""
    files = bundled.find(bars), None if actions is None else bundled.find(actions)
    for path in files:
        if path is not None and not path.is_file():
            text = (
                f"{path}: {bundled.absent(path)}; name the market with --bars, its splits and dividends with --actions"
            )
            raise Failure(text, CONFIG)
    return files


def place_of(folder: Path) -> Path:
    """As given, or among those that came with quantd; of a folder of versions the one it points to. Raises Failure."""
    for place in (bundled.find(folder), bundled.SHIPPED / folder):
        found = resolved(place)
        if (found / MANIFEST).is_file():
            return found
    raise Failure(
        f"{folder}: no {MANIFEST} there; name the folder of an artifact, such as models/shipped/scorer", CONFIG
    )
