"""A listing at Yahoo whose prices are a random walk."""

from datetime import UTC, date, datetime

import numpy as np

from quantd.adapters.calendars import sessions
from quantd.trading.instruments import calendar_of, usual_currency
from tests.support.venues.yahoo import Listing

THEIRS = {"GBX": "GBp"}


def listing(symbol: str, start: float = 100.0, volume: float = 1_000_000.0) -> Listing:
    """Two years of a symbol on the sessions of its exchange, as a random walk."""
    exchange_sessions = sessions(calendar_of(symbol), date(2022, 12, 1), date(2024, 12, 31))
    walk = start * np.exp(
        np.cumsum(np.random.default_rng(len(symbol)).normal(0.0, 0.005, len(exchange_sessions.day_ns)))
    )
    days = [datetime.fromtimestamp(ns // 10**9, UTC).date() for ns in exchange_sessions.day_ns]
    code = usual_currency(symbol)
    return Listing(
        [(day, x, x * 1.01, x * 0.99, x * 1.002, volume) for day, x in zip(days, walk.tolist(), strict=True)],
        zone=exchange_sessions.zone, opens=(12, 0), currency=THEIRS.get(code, code),
    )  # fmt: skip
