"""Artifacts and market files by the names that commands take."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.instruments import Instrument, Universe, calendar_of

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
        found = resolved(place)
        if (found / MANIFEST).is_file():
            return found
    remedy = "name the folder of an artifact, such as models/shipped/scorer"
    fault = f"no {MANIFEST} there" if folder.exists() else "there is no such folder"
    raise Failure(f"{folder}: {fault}; {remedy}", CONFIG)


def require_sound_bars(bars: Path, actions: Path | None, symbols: Sequence[str], first: date, last: date) -> None:
    """Raise UnsoundPrices where daily bars jump near a split ratio that no action announces.

    Bars without volumes, or known to be adjusted, are not checked. A file that cannot be read is left to the reader of
    the panel, which names the fault.
    """
    from quantd.adapters.feeds.errors import FeedError
    from quantd.adapters.feeds.recorded.replay import Replay
    from quantd.adapters.feeds.recorded.soundness import require_announced
    from quantd.daemon.cli.setup.bar_files import origin_of
    from quantd.daemon.cli.setup.vendors import calendars_of

    origin = origin_of(bars)
    if origin is not None and origin.adjusted:
        return
    universe = Universe(tuple(Instrument(name, calendar=calendar_of(name)) for name in symbols))
    try:
        calendars = calendars_of(universe, first, last)
        feed = Replay.load(bars, universe=universe, sessions=calendars, actions=actions, start=first, end=last)
    except FeedError:
        return
    require_announced(feed, calendars)


@contextmanager
def failing(command: str) -> Iterator[None]:
    """Turn a ValueError or OSError of the block into a Failure of `command`; others pass, as ArtifactError does."""
    try:
        yield
    except ExplainedError:
        raise
    except (ValueError, OSError) as error:
        raise Failure(f"quantd {command}: {error}") from error
