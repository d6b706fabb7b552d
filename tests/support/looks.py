"""Looks at markets for tests of the ledger."""

import numpy as np

from quantd.models.history.fingerprints import Fingerprint, fingerprints
from quantd.research.runs.trials import Look, MarketIdentity


def look(digest: str, sharpe: float = 1.0, periods: float = 252, **more) -> Look:
    identity = MarketIdentity(("SPY",), "1d", {})
    fields = {"market": "market", "first": "2020-01-02", "last": "2020-12-31", "identity": identity, **more}
    return Look(kind="backtest", name="paper", digest=digest, sharpe=sharpe, periods=periods, **fields)


def traded(digest: str, *symbols: str, years: tuple[int, int] = (2020, 2020), interval: str = "1d", **more) -> Look:
    """A look at a market of its own."""
    series = more.pop("series", {})
    market = f"{symbols} {years} {interval} {sorted(series)}"
    first, last = f"{years[0]}-01-02", f"{years[1]}-12-31"
    identity = MarketIdentity(symbols, interval, series)
    return look(digest, market=market, first=first, last=last, identity=identity, **more)


def walk_of(symbol: str, seed: int, days: int = 600) -> dict[str, Fingerprint]:
    """The fingerprint of a random walk from 2019 on."""
    day_ns = np.arange("2019-01-01", days, dtype="datetime64[D]").astype("datetime64[ns]").astype(np.int64)
    steps = np.random.default_rng(seed).normal(0.0, 0.01, days)
    return fingerprints([symbol], day_ns, np.exp(np.cumsum(steps))[:, None])
