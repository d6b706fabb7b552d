from dataclasses import replace as replace_panel

import numpy as np
import pytest
from msgspec import Struct
from msgspec.structs import replace

from quantd.models.history.panel import Panel
from quantd.models.observation import sight
from quantd.models.observation.feature_sets import of_panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK, spec_hash
from quantd.models.observation.sight import SightSpec, observation, observed_by, shown, sight_hash
from quantd.trading.market import Floats

DAY = 86_400_000_000_000


def panel(rows: int = 180, assets: int = 3) -> Panel:
    draw = np.random.default_rng(5)
    close: Floats = np.exp(np.cumsum(draw.normal(0.0003, 0.01, (rows, assets)), axis=0)) * 50.0
    close[:20, 2] = np.nan
    ones = np.ones_like(close)
    bars = {"high": close * 1.01, "low": close * 0.98, "volume": close * draw.uniform(90.0, 110.0, close.shape)}
    macro = {"vix": draw.uniform(10.0, 30.0, rows)}
    return Panel(("A", "B", "C"), np.arange(rows) * DAY, close.copy(), close, ones, 0.0 * ones, bars=bars, macro=macro)


COLUMNS = SightSpec(
    (), 0, ("weights", "cash"), columns=("rsi_5", "vix_z_20", "beta_20", "momentum_20.rank"), benchmark="A"
)


@pytest.mark.parametrize(
    "spec", [SightSpec(), SightSpec(window=60), SightSpec(FEATURES[:4], 5, ()), SightSpec((), 30, ("cash",))]
)
def test_a_row_of_the_panel_is_what_trading_shows_at_that_close(spec: SightSpec) -> None:
    world = panel()
    observed = observed_by(spec, world)
    returns = world.returns()
    assert observed.warm == LOOKBACK
    for row in range(LOOKBACK, len(returns)):
        past = returns[row - LOOKBACK + 1 : row + 1]
        assert np.array_equal(observed.table[row], shown(spec, past).reshape(-1))
        vector = observation(spec, past, np.array([0.2, 0.3, 0.1]), 0.4)
        assert vector.dtype == np.float32
        assert len(vector) == spec.size(3)
        if spec.book == ("weights", "cash"):
            assert vector[-4:] == pytest.approx([0.2, 0.3, 0.1, 0.4])


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
        (SightSpec(columns=("rsi_5", "rsi_5")), "rsi_5"),
        (SightSpec(columns=("rs_5",)), "did you mean"),
        (SightSpec(("momentum_5",), columns=("momentum_5",)), "another meaning"),
        (SightSpec(columns=("weight",)), "of the book"),
        (SightSpec(columns=("beta_20",)), 'benchmark = "A"'),
        (SightSpec(columns=("rsi_5",), benchmark="A"), "needed by no column"),
        (SightSpec(columns=("beta_20",), benchmark="Z"), "Z"),
    ],
)
def test_what_cannot_be_shown_is_named(spec: SightSpec, word: str) -> None:
    assert word in sight.fault(spec, ("A", "B"))
    assert sight.fault(SightSpec(), ("A", "B")) == ""
    assert sight_hash(spec) != sight_hash(SightSpec())


def test_the_hash_of_a_sight_without_columns_is_that_of_the_first_artifacts() -> None:
    assert sight_hash(SightSpec()) == spec_hash(First())
    assert sight_hash(SightSpec(columns=("rsi_5",))) != sight_hash(SightSpec(columns=("rsi_6",)))


class First(Struct, frozen=True):
    """A sight as the first artifacts declared it."""

    features: tuple[str, ...] = FEATURES
    window: int = 0
    book: tuple[str, ...] = ("weights", "cash")
    version: int = 1


@pytest.mark.parametrize("spec", [COLUMNS, replace(COLUMNS, features=FEATURES[:3]), replace(COLUMNS, window=4)])
def test_columns_stand_with_their_asset_and_shared_ones_before_the_book(spec: SightSpec) -> None:
    world = panel()
    observed = observed_by(spec, world)
    columns = of_panel(world, spec.declared, "A")
    held = np.array([0.2, 0.3, 0.1])
    assert len(observed.names) == spec.market(3) == observed.table.shape[1]
    assert spec.assets(spec.size(3)) == 3
    assert observed.names[-1] == "vix_z_20"
    returns = world.returns()
    for row in range(observed.warm, len(returns)):
        past = returns[max(0, row - LOOKBACK + 1) : row + 1]
        vector = observation(spec, past, held, 0.4, columns[row])
        assert np.array_equal(vector[: spec.market(3)], observed.table[row])
        assert vector[-4:] == pytest.approx([0.2, 0.3, 0.1, 0.4])
        entries = dict(zip(observed.names, vector.tolist(), strict=False))
        assert entries["rsi_5 B"] == pytest.approx(columns[row, 1, 0], rel=1e-6)
        assert entries["vix_z_20"] == pytest.approx(columns[row, 0, 1], rel=1e-6)


def test_an_asset_without_a_column_is_unknown_and_shows_nothing() -> None:
    columns = np.ones((3, 4))
    columns[1, 2] = np.nan
    seen = observation(COLUMNS, np.zeros((1, 3)), np.zeros(3), 1.0, columns)
    assert seen[: COLUMNS.width * 3].reshape(3, -1).tolist() == [[1.0] * 4, [0.0] * 4, [1.0] * 4]


def test_a_set_by_name_is_its_features_without_those_of_the_book() -> None:
    names = sight.names_in("observation")
    assert isinstance(names, list)
    assert {"rsi_14", "vix_z_60", "regime_bull"} < set(names)
    assert not {"weight", "equity_return_5"} & set(names)
    assert len(sight.names_in("full")) == 247
    with pytest.raises(ValueError, match="default, four_asset, full"):
        sight.names_in("everything")


EVERY = replace(
    COLUMNS, features=FEATURES[:2], window=2,
    columns=("rsi_5", "vix_z_20", "beta_20", "momentum_20.rank", "natr_3.week", "series_score_change_3", "regime_bull"),
)  # fmt: skip


def of_columns(world: Panel, order: list[int]) -> Panel:
    arrays = {name: getattr(world, name)[:, order] for name in ("open", "close", "split", "dividend")}
    columns = {key: {n: v[:, order] for n, v in getattr(world, key).items()} for key in ("bars", "series")}
    return replace_panel(world, symbols=tuple(world.symbols[k] for k in order), **arrays, **columns)


def of_rows(world: Panel, rows: int) -> Panel:
    arrays = {name: getattr(world, name)[:rows] for name in ("day_ns", "open", "close", "split", "dividend")}
    columns = {key: {n: v[:rows] for n, v in getattr(world, key).items()} for key in ("bars", "series", "macro")}
    return replace_panel(world, **arrays, **columns)


def scored(rows: int = 260) -> Panel:
    world = panel(rows)
    return replace_panel(world, series={"score": np.random.default_rng(7).normal(size=world.close.shape)})


@pytest.mark.parametrize("rows", [200, 231, 259])
def test_what_comes_after_a_row_changes_none_of_its_entries(rows: int) -> None:
    reference = observed_by(EVERY, scored())
    part = observed_by(EVERY, of_rows(scored(), rows))
    assert reference.warm < rows - 30
    np.testing.assert_array_equal(reference.table[:rows], part.table)
    other = scored()
    for values in (other.close, other.open, *other.bars.values(), other.macro["vix"], other.series["score"]):
        values[rows:] *= 1.5
    np.testing.assert_array_equal(observed_by(EVERY, other).table[:rows], part.table)


def test_another_order_of_the_symbols_is_another_order_of_the_entries() -> None:
    straight = observed_by(EVERY, scored())
    turned = observed_by(EVERY, of_columns(scored(), [2, 0, 1]))
    places = [turned.names.index(name) for name in straight.names]
    np.testing.assert_allclose(turned.table[:, places], straight.table, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_a_value_before_the_first_bar_counts_in_no_rank() -> None:
    spec = SightSpec((), columns=("series_score.rank",))
    world = scored()
    table = observed_by(spec, world).table.reshape(len(world.close), 3, 2)
    assert not np.isfinite(world.close[:20, 2]).any()
    assert not table[:20, 2].any()
    assert set(np.unique(table[:20, :2, 0]).tolist()) == {0.0, 1.0}
