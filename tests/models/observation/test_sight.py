import numpy as np
import pytest

from quantd.models.history.panel import Panel
from quantd.models.observation import sight
from quantd.models.observation.return_features import FEATURES, LOOKBACK, spec_hash
from quantd.models.observation.sight import SightSpec, features_of, observation, shown
from quantd.models.observation.table import observe
from quantd.trading.market import Floats

DAY = 86_400_000_000_000


def panel(rows: int = 180, assets: int = 3) -> Panel:
    draw = np.random.default_rng(5)
    close: Floats = np.exp(np.cumsum(draw.normal(0.0003, 0.01, (rows, assets)), axis=0)) * 50.0
    close[:20, 2] = np.nan
    ones = np.ones_like(close)
    return Panel(("A", "B", "C"), np.arange(rows) * DAY, close.copy(), close, ones, 0.0 * ones)


@pytest.mark.parametrize(
    "spec", [SightSpec(), SightSpec(window=60), SightSpec(FEATURES[:4], 5, ()), SightSpec((), 30, ("cash",))]
)
def test_a_row_of_the_panel_is_what_trading_shows_at_that_close(spec: SightSpec) -> None:
    world = panel()
    observed = observe(world, features_of(spec), spec.book)
    returns = world.returns()
    assert observed.warm == LOOKBACK
    for row in range(LOOKBACK, len(returns)):
        past = returns[row - LOOKBACK + 1 : row + 1]
        assert np.array_equal(observed.table[row], shown(spec, past).reshape(-1))
        whole = observation(spec, past, np.array([0.2, 0.3, 0.1]), 0.4)
        assert whole.dtype == np.float32
        assert len(whole) == spec.size(3)
        if spec.book == ("weights", "cash"):
            assert whole[-4:] == pytest.approx([0.2, 0.3, 0.1, 0.4])


def test_a_window_is_each_assets_returns_in_its_own_deviations() -> None:
    returns = np.random.default_rng(1).normal(0.0, [0.01, 0.05], (LOOKBACK, 2))
    given = shown(SightSpec((), 10), returns)
    assert given.shape == (2, 11)
    assert given[:, 1:] == pytest.approx((returns[-10:] / returns.std(axis=0, ddof=1)).T, rel=1e-6)
    returns[3, 1] = np.nan
    assert not shown(SightSpec((), 10), returns)[1].any(), "unknown: nothing is shown"


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (SightSpec(version=2), "version 2"),
        (SightSpec(("momentum_5", "beta")), "beta"),
        (SightSpec(("volatility", "volatility")), "twice"),
        (SightSpec(window=LOOKBACK + 1), "window of 127"),
        (SightSpec(()), "nothing"),
        (SightSpec(book=("cash", "cash")), "cash"),
    ],
)
def test_what_cannot_be_shown_is_named(spec: SightSpec, word: str) -> None:
    assert word in sight.fault(spec)
    assert sight.fault(SightSpec()) == ""
    assert spec_hash(spec) != spec_hash(SightSpec())
