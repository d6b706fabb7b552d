"""Made-up markets whose truth is known, as panels and as views."""

from collections.abc import Iterator, Mapping

import numpy as np

from quantd.models.forests.allocation import LearnedAllocation
from quantd.models.forests.forest_features import LOOKBACK
from quantd.models.history.panel import Panel
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Floats
from quantd.trading.view import EMPTY_MEMORY, Memory, Noted, View
from tests.support.checkout import SHIPPED

FOREST = {kind: SHIPPED / f"forest_{kind}" for kind in ("risk", "correlation", "allocation")}


def panel_of(returns: Floats) -> Panel:
    """Float64[T, N] returns as prices; row 0 is the first price."""
    close = 100.0 * np.vstack([np.ones(returns.shape[1]), np.cumprod(1.0 + returns, axis=0)])
    days = np.busday_offset("2000-01-03", np.arange(len(close)), roll="forward")
    day_ns = days.astype("datetime64[ns]").astype(np.int64)
    symbols = tuple(f"S{k}" for k in range(returns.shape[1]))
    return Panel(symbols, day_ns, close.copy(), close, np.ones_like(close), np.zeros_like(close))


def noise(seed: int, rows: int, size: int) -> Floats:
    """Nothing to be known: independent returns of a constant volatility."""
    return np.random.default_rng(seed).normal(0.0, 0.01, (rows, size))


def garch(seed: int, rows: int, size: int) -> Floats:
    """Volatility that comes in clusters and reverts to its mean (Bollerslev 1986): more can be known than what
    trails."""
    draw = np.random.default_rng(seed)
    variance, out = np.full(size, 1e-4), np.empty((rows, size))
    for t in range(rows):
        out[t] = np.sqrt(variance) * draw.normal(size=size)
        variance = 1e-4 * 0.04 + 0.20 * out[t] ** 2 + 0.76 * variance
    return out


def turning(seed: int, rows: int, size: int, period: int) -> Floats:
    """Volatility that is high for `period` samples, then low for as many, and so on; each asset begins elsewhere."""
    draw = np.random.default_rng(seed)
    phase = (np.arange(rows)[:, None] + np.arange(size) * period // size) // period % 2
    return np.where(phase == 1, 0.02, 0.005) * draw.normal(size=(rows, size))


def universe_of(symbols: tuple[str, ...]) -> Universe:
    return Universe(tuple(Instrument(s) for s in symbols))


def views(returns: Floats, symbols: tuple[str, ...] | None = None) -> Iterator[View]:
    """The view at each sample, from the first."""
    names = symbols or tuple(f"S{k}" for k in range(returns.shape[1]))
    ring, universe = Ring(len(names), LOOKBACK), universe_of(names)
    prices = 100.0 * np.vstack([np.ones(len(names)), np.cumprod(1.0 + returns, axis=0)])
    for t, row in enumerate(prices):
        ring.append(row)
        yield View(
            universe=universe,
            ring=ring,
            prices=row,
            weights=np.zeros(len(names)),
            cash=1.0,
            equity=1.0,
            time=t,
            sample_time=t,
        )


def view_of(returns: Floats, symbols: tuple[str, ...] | None = None) -> View:
    *_, last = views(returns, symbols)
    return last


def weights_of(answer: Floats | Noted) -> Floats:
    weights = answer.weights if isinstance(answer, Noted) else answer
    assert isinstance(weights, np.ndarray)
    return weights


def live(policy: LearnedAllocation, returns: Floats, memory: Memory = EMPTY_MEMORY) -> tuple[list[bool], Memory]:
    """Asks at every sample with a whole history: whether the answer warned, each time, and the memory at the end."""
    warned = []
    for t, view in enumerate(views(returns)):
        if t >= LOOKBACK:
            answer, memory = policy.act(view, memory)
            warned.append(isinstance(answer, Noted) and answer.warns)
    return warned, memory


def size_of(memory: Mapping[str, Floats]) -> int:
    """Bytes, as quantd.daemon.policies.loading counts them."""
    return sum(8 * (value.size + value.ndim) + len(name) for name, value in memory.items())
