"""Random daily bars with a change of level, such as a split, for tests of the checks on prices."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.trading.display_text import session_date
from quantd.trading.instruments import Instrument, Universe

CALENDARS = {"XNYS": sessions("XNYS", date(2018, 1, 1), date(2021, 12, 31))}
DAYS = CALENDARS["XNYS"].days
UNIVERSE = Universe((Instrument("X", calendar="XNYS"),), calendar="XNYS")


def level(
    shares: float = 1.0, at: int = 100, *, count: int = 260, seed: int = 1, sigma: float = 0.012, price: float = 80.0
) -> pl.DataFrame:
    """`count` bars of X; from bar number `at` on, `shares` new shares stand for one old."""
    draw = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(draw.normal(0, sigma, count)))
    opened = np.append(close[:1], close[:-1] * np.exp(draw.normal(0, sigma / 6, count - 1)))
    new = np.where(np.arange(count) >= at, shares, 1.0)
    top, bottom = np.maximum(opened, close) * 1.003, np.minimum(opened, close) * 0.997
    return pl.DataFrame({
        "ts": pl.from_epoch(pl.Series(DAYS[:count]), "ns"), "symbol": "X",
        "open": opened / new, "high": top / new, "low": bottom / new, "close": close / new,
        "volume": draw.uniform(4e6, 6e6, count) * new,
    })  # fmt: skip


def volatile(shares: float, sigma: float, seed: int, *, at: int = 150, count: int = 200) -> pl.DataFrame:
    """Bars of a share whose close moves by `sigma` a day, with fat tails; half of the move comes overnight.

    From bar number `at` on, `shares` new shares stand for one old. Volumes vary by a half.
    """
    draw = np.random.default_rng(seed)
    moves = draw.standard_t(5, (count, 2)) / np.sqrt(5 / 3) * sigma * np.array([0.5, np.sqrt(0.75)])
    path = np.exp(np.cumsum(moves.ravel())).reshape(count, 2) * 80.0
    opened, close = path[:, 0], path[:, 1]
    reach = np.exp(np.abs(draw.normal(0, sigma / 3, (count, 2))))
    new = np.where(np.arange(count) >= at, shares, 1.0)
    return pl.DataFrame({
        "ts": pl.from_epoch(pl.Series(DAYS[:count]), "ns"), "symbol": "X", "open": opened / new,
        "high": np.maximum(opened, close) * reach[:, 0] / new, "low": np.minimum(opened, close) / reach[:, 1] / new,
        "close": close / new, "volume": 5e6 * np.exp(draw.normal(0, 0.45, count)) * new,
    })  # fmt: skip


def scaled(frame: pl.DataFrame, rows: range, factor: float, *columns: str) -> pl.DataFrame:
    """Multiply columns of some bars, by default all prices."""
    there = pl.int_range(pl.len()).is_in(list(rows))
    return frame.with_columns(
        pl.when(there).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
        for name in columns or ("open", "high", "low", "close")
    )


def day(at: int) -> str:
    """The date of bar number `at`."""
    return session_date(int(DAYS[at])).isoformat()


def read(
    frame: pl.DataFrame, folder: Path | None = None, actions: str = "", exceptions: str = "", **more: object
) -> Replay:
    """The market of a frame, with lines of actions and of exceptions."""
    files: dict[str, Path] = {}
    for name, header, lines in (
        ("actions", "ts,symbol,kind,ratio,cash\n", actions), ("exceptions", "date,symbol,answer\n", exceptions),
    ):  # fmt: skip
        if lines and folder is not None:
            files[name] = folder / f"{name}.csv"
            files[name].write_text(f"{header}{lines}\n")
    more = {"spikes": "stop", **more}
    return Replay.load(BarFrame(frame), universe=UNIVERSE, sessions=CALENDARS, **files, **more)  # type: ignore[arg-type]
