"""What is shown at a close: named, from the past alone, and refused where it is not a number."""

import numpy as np
import pytest

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK
from quantd.models.observation.table import Observed, four_assets, observe, price_features, regimes
from quantd.strategies.regimes import REGIMES, RegimeParams, model_of
from quantd.training.market.episodes import Episodes
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import market_of
from tests.support.panels import panel_of


def cut(panel: Panel, rows: int) -> Panel:
    arrays = (getattr(panel, f)[:rows] for f in ("day_ns", "open", "close", "split", "dividend"))
    return Panel(panel.symbols, *arrays)


@pytest.mark.requirement("R-022", "R-036")
def test_the_four_asset_state_has_its_34_entries_by_name() -> None:
    panel = panel_of(1, 90, 4)
    rng = np.random.default_rng(0)
    vix, ten_year = rng.uniform(10, 40, 90), rng.uniform(1, 5, 90)
    seen = four_assets(panel, vix, ten_year)
    env = Simulator(market_of(panel, seen), batch=2, episodes=Episodes(20, False))
    names = env.observation_names
    assert len(names) == env.observation_size == 34
    assert len(set(names)) == 34
    shown = dict(zip(names, env.reset()[0].tolist(), strict=True))
    row, returns = seen.warm, panel.returns()
    assert shown["S2.return_0"] == pytest.approx(returns[row, 2] * 100, rel=1e-5)
    assert shown["S1.return_4"] == pytest.approx(returns[row - 4, 1] * 100, rel=1e-5)
    assert shown["S3.volatility"] == pytest.approx(returns[row - 19 : row + 1, 3].std(ddof=1) * 252**0.5, rel=1e-5)
    assert shown["vix"] == pytest.approx(vix[row] / 100, rel=1e-5)
    assert shown["ten_year"] == pytest.approx(ten_year[row] / 10, rel=1e-5)
    assert shown["value"] == 1.0
    assert sum(shown[f"regime.{n}"] for n in REGIMES) == 1.0
    assert sum(n.endswith(".weight") for n in names) == 4


@pytest.mark.requirement("R-018")
def test_a_macro_series_with_a_hole_is_refused_and_not_filled() -> None:
    panel = panel_of(1, 90, 4)
    vix = np.full(90, 20.0)
    vix[80] = np.nan
    with pytest.raises(ValueError, match="vix is NaN or infinite in row 80"):
        four_assets(panel, vix, np.full(90, 3.0))
    with pytest.raises(ValueError, match="ten_year has"):
        four_assets(panel, np.full(90, 20.0), np.full(89, 3.0))


@pytest.mark.parametrize("rows", [140, 155])
def test_nothing_shown_changes_when_what_comes_after_is_removed(rows: int) -> None:
    panel = panel_of(2, 170, 3)
    macro = np.linspace(10.0, 30.0, 170)
    reference, part = observe(panel), observe(cut(panel, rows))
    np.testing.assert_array_equal(reference.table[:rows], part.table)
    reference, part = four_assets(panel, macro, macro), four_assets(cut(panel, rows), macro[:rows], macro[:rows])
    np.testing.assert_array_equal(reference.table[:rows], part.table)


def test_the_usual_features_are_those_that_policies_trade_on_and_what_is_known() -> None:
    panel = panel_of(2, 140, 2)
    panel.open[:30, 1] = panel.close[:30, 1] = np.nan
    features, names = price_features(panel)
    assert tuple(names) == (*FEATURES, "known")
    seen = observe(panel)
    assert seen.warm == LOOKBACK
    assert seen.names[:2] == ("S0.momentum_5", "S0.momentum_21")
    assert features[LOOKBACK, :, -1].tolist() == [1.0, 0.0]  # the second lacks a full lookback
    assert (features[LOOKBACK, 1] == 0.0).all()


@pytest.mark.long
def test_regimes_are_those_that_policies_read_each_of_its_own_past() -> None:
    rng = np.random.default_rng(0)
    calm = rng.normal(0.002, 0.004, (150, 2))
    bear = rng.normal(-0.004, 0.006, (150, 2))
    wild = rng.normal(0.0, 0.05, (150, 2))
    returns = np.concatenate([calm, bear, wild])
    shown = regimes(returns)
    assert np.isnan(shown[:59]).all()
    assert (shown[59:].sum(axis=1) == 1).all()
    assert [REGIMES[int(shown[row].argmax())] for row in (140, 290, 440)] == ["bull", "bear", "volatile"]
    model, memory = model_of(RegimeParams()), {}
    for row in range(300):
        reading, memory = model.read(returns[max(0, row + 1 - model.lookback) : row + 1].mean(axis=1), row, memory)
        if reading is not None:
            assert reading.probabilities.tolist() == shown[row].tolist()
    markov = regimes(returns, RegimeParams(model="markov", window=120))
    np.testing.assert_allclose(markov[100:].sum(axis=1), 1.0)


def test_columns_without_a_name_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a different name"):
        Observed(np.zeros((3, 2), np.float32), ("a", "a"), 0)
