"""CSV files of daily bars in the columns of a Yahoo page, made by rule."""

from datetime import date, timedelta
from pathlib import Path

from quantd.adapters.calendars import sessions


def days(symbol: str, count: int = 300, first: date = date(2022, 1, 3), calendar: str = "XNYS") -> str:
    """A CSV in Yahoo's columns: a slow walk up and down on the sessions of a calendar."""
    own = sessions(calendar, first, first + timedelta(days=2 * count))
    lines = ["Date,Open,High,Low,Close,Adj Close,Volume"]
    for k, ns in enumerate(own.days[:count].tolist()):
        price = 50 + len(symbol) + (k * 37 % 91) / 40
        lines.append(
            f"{date(1970, 1, 1) + timedelta(days=ns // 86_400_000_000_000)},{price:.2f},{price + 1:.2f},"
            f"{price - 1:.2f},{price + 0.25:.2f},{price:.2f},{100_000 + k}"
        )
    return "\n".join([*lines, ""])


def three(folder: Path, count: int = 300) -> list[str]:
    """The names of files of three symbols, written into a folder."""
    for name in ("ACME", "BOLT", "CRUX"):
        (folder / f"{name}.csv").write_text(days(name, count))
    return ["ACME.csv", "BOLT.csv", "CRUX.csv"]
