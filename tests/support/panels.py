"""Small invented panels for the tests of the simulator and its environments."""

import numpy as np

from quantd.models.history.panel import Panel
from quantd.models.observation.table import observe
from quantd.training.market.tensors import Market, market_of

DAY = 86_400_000_000_000


def panel_of(seed: int, rows: int, size: int, *, actions: bool = True, deviation: float = 0.03) -> Panel:
    """Prices in cents, some splits and dividends; every seventh day is two days after the one before."""
    draw = np.random.default_rng(seed)
    close = np.round(50.0 * np.cumprod(1.0 + draw.normal(0.0, deviation, (rows, size)), axis=0), 2) + 1.0
    opens = np.round(close * (1.0 + draw.normal(0.0, 0.01, (rows, size))), 2)
    split, dividend = np.ones((rows, size)), np.zeros((rows, size))
    if actions:
        split[draw.random((rows, size)) < 0.05] = 2.0
        split[draw.random((rows, size)) < 0.03] = 0.25
        dividend[draw.random((rows, size)) < 0.1] = 0.37
    days = np.cumsum(1 + (np.arange(rows) % 7 == 0)) * DAY
    return Panel(tuple(f"S{k}" for k in range(size)), days, opens, close, split, dividend)


def plain(panel: Panel) -> tuple[np.ndarray, list[str]]:
    """One feature, the number of the row."""
    shape = panel.close.shape
    return np.broadcast_to(np.arange(shape[0], dtype=np.float32)[:, None, None], (*shape, 1)).copy(), ["row"]


def market(panel: Panel, **options: object) -> Market:
    return market_of(panel, observe(panel, plain), **options)  # type: ignore[arg-type]
