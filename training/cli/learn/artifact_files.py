"""Finds artifacts and market files by the names given on the command line, and makes the options for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import typer

from quantd import bundled
from quantd.daemon.cli.failures import Failure, file_fault
from quantd.trading.exit_codes import CONFIG, ExplainedError


def bars_option(default: str) -> Any:
    """The option --bars; `default` is the help text about the bars that are read without it."""
    return typer.Option(help="Daily raw bars.", show_default=default)


def actions_option(default: str) -> Any:
    """The option --actions; `default` is the help text about the actions that are read without it."""
    default += "; with other bars BARS.actions.csv, if present"
    return typer.Option(help='Splits and dividends; "" for none.', show_default=default)


def symbols_option(default: str) -> Any:
    """The option --symbols; `default` is the help text about the symbols without it."""
    return typer.Option(help="Symbols, with commas.", show_default=default)


BARS_FILE: Final = Path("data/us_daily.parquet")
ACTIONS_FILE: Final = "data/us_actions.csv"
FOREST_SYMBOLS: Final = ("AAPL", "BAC", "IWM", "QQQ", "SPY")
"""The symbols of a forest without --symbols."""


def symbols_in(text: str | None) -> list[str]:
    """The symbols of the option --symbols; an empty list without the option."""
    return [name for name in (text or "").split(",") if name]


def market_files(bars: Path | None, actions: str | None) -> tuple[Path, Path | None]:
    """Return the paths of bars and actions, in the working folder or among the bundled files; None for actions "".

    Without an option (None) the files are the bundled ones, and with other bars the actions file beside them. Raises
    Failure for a missing file.
    """
    from quantd.training.plans.own_bars import beside

    if actions is None:
        actions = ACTIONS_FILE if bars is None else beside(bundled.find(bars))
    bars = bars or BARS_FILE
    files = bundled.find(bars), bundled.find(actions) if actions else None
    for path in files:
        if path is not None and not path.is_file():
            remedy = "name the market with --bars, its splits and dividends with --actions"
            raise Failure(f"{path}: {bundled.absent(path)}; {remedy}", CONFIG)
    return files


def place_of(folder: Path) -> Path:
    """Return the folder of an artifact, in the working folder or among the shipped artifacts.

    For a folder of versions, return the folder of the current version.

    Raises Failure for a folder without an artifact.
    """
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
    """Turn a ValueError or OSError of the block into a Failure of `command`.

    An ExplainedError, such as ArtifactError, passes unchanged: its text has the remedy already.
    """
    try:
        yield
    except ExplainedError:
        raise
    except (ValueError, OSError) as error:
        raise Failure(f"quantd {command}: {file_fault(error)}") from error
