"""Every feature: sample by sample equal to the whole history at once, from the past only, by name and not by place."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from quantd.strategies.features import (
    SETS,
    FeatureError,
    FeatureSpec,
    Inputs,
    compute,
    feature,
    shipped,
    spec_of,
)
from quantd.strategies.features.cross_section import across
from quantd.trading.bars import FIELDS
from quantd.trading.market import Floats
from tests.support.examples import examples

DAY = 86_400_000_000_000
OF_SERIES = (
    "series_esg", "series_esg_change_1", "series_esg_change_20", "series_esg_z_2", "series_esg_z_60",
    "series_esg.rank", "series_esg.z", "series_esg_change_5.excess", "series_esg_z_20.rank", "series_mode_is_0",
    "series_mode_is_2", "series_mode_is_2.rank", "series_step_z_5", "series_step_change_60", "series_step_ago_1",
    "series_esg_ago_7.rank",
)  # fmt: skip
ALL = spec_of([*SETS["observation"], "yield_10y", *OF_SERIES])


class World:
    """Raw bars on weekdays with gaps, splits and dividends, and the same as a view of bars gives them: adjusted."""

    def __init__(self, seed: int, rows: int = 330, size: int = 4, gaps: float = 0.03, actions: bool = True) -> None:
        rng = np.random.default_rng(seed)
        days = np.arange(4, 4 + 2 * rows, dtype=np.int64)
        self.session = days[(days + 3) % 7 < 5][:rows] * DAY
        factor, shares = np.ones((rows, size)), np.ones((rows, size))
        if actions:
            for _ in range(3):
                t, n = rng.integers(1, rows), rng.integers(0, size)
                factor[t, n], shares[t, n] = factor[t, n] / 4.0, shares[t, n] * 4.0
                factor[rng.integers(1, rows), rng.integers(0, size)] *= 0.99
        level = np.exp(rng.normal(4, 0.5, size)) * np.cumprod(factor, axis=0)
        close = level * np.exp((rng.standard_t(4, (rows, size)) * 0.012).cumsum(axis=0))
        start = close * np.exp(rng.normal(0, 0.006, (rows, size)))
        raw = {
            "open": start,
            "high": np.maximum(start, close) * np.exp(np.abs(rng.normal(0, 0.005, (rows, size)))),
            "low": np.minimum(start, close) * np.exp(-np.abs(rng.normal(0, 0.005, (rows, size)))),
            "close": close,
            "volume": np.round(rng.lognormal(13, 1, (rows, size))) * np.cumprod(shares, axis=0),
        }
        missing = rng.random((rows, size)) < gaps
        if gaps:
            missing[: rows // 4, size - 1] = True
        raw["volume"][rng.random((rows, size)) < gaps] = np.nan
        self.raw = {name: np.where(missing, np.nan, column) for name, column in raw.items()}
        self.factor, self.shares = factor, shares
        # what older rows are multiplied by to be comparable with the newest
        price = np.vstack([np.cumprod(factor[::-1], axis=0)[::-1][1:], np.ones((1, size))])
        volume = np.vstack([np.cumprod(shares[::-1], axis=0)[::-1][1:], np.ones((1, size))])
        self.bars = {name: self.raw[name] * (volume if name == "volume" else price) for name in FIELDS}
        weight = rng.dirichlet(np.ones(size + 1), rows)
        # a series of all rows with gaps, codes that begin late, and a value that rarely moves
        steps = np.where(rng.random((rows, size)) < 0.05, rng.normal(50.0, 10.0, (rows, size)), 0.0)
        self.own = {
            "weight": weight[:, :size],
            "series esg": np.where(rng.random((rows, size)) < gaps / 3.0, np.nan, rng.normal(50, 10, (rows, size))),
            "series mode": np.where(np.arange(rows)[:, None] < 9, np.nan, rng.integers(0, 3, (rows, size))),
            "series step": 0.1 + steps.cumsum(axis=0),
        }
        self.shared = {
            "cash": weight[:, size],
            "equity": np.exp(rng.normal(0.0003, 0.01, rows).cumsum()),
            "vix": np.where(rng.random(rows) < 0.1, np.nan, rng.uniform(10, 40, rows)),
            "yield_10y": rng.uniform(1, 5, rows),
        }

    def inputs(self, end: int | None = None, start: int = 0, order: list[int] | None = None) -> Inputs:
        rows = slice(start, end)
        turn = order or list(range(self.factor.shape[1]))
        return Inputs(
            self.session[rows],
            {n: c[rows][:, turn] for n, c in self.bars.items()},
            turn.index(0),
            {n: c[rows][:, turn] for n, c in self.own.items()},
            {n: c[rows] for n, c in self.shared.items()},
        )

    def known_at(self, t: int) -> Inputs:
        """The rows up to `t`, adjusted by the splits and dividends of these rows only."""
        inputs = self.inputs(end=t + 1)
        later = {"volume": np.prod(self.shares[t + 1 :], axis=0)}
        price = np.prod(self.factor[t + 1 :], axis=0)
        return replace(inputs, bars={name: column / later.get(name, price) for name, column in inputs.bars.items()})


def same(values: Floats, expected: Floats, names: tuple[str, ...], tolerance: float = 1e-9) -> None:
    """Equal to `tolerance` of the value, or of the feature's largest where the value is near 0."""
    for place, name in enumerate(names):
        a, b = values[..., place], expected[..., place]
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=name)
        finite = np.isfinite(b)
        scale = np.abs(b[finite]).max(initial=0.0)
        np.testing.assert_allclose(a[finite], b[finite], rtol=tolerance, atol=tolerance * scale, err_msg=name)


def looks_ahead(spec: FeatureSpec, world: World, cut: int) -> list[str]:
    """Names of features whose rows up to `cut` change when what comes later is cut off or is different."""
    reference = compute(spec, world.inputs())[: cut + 1]
    cropped = compute(spec, world.inputs(end=cut + 1))
    later = World(999, len(world.session), world.factor.shape[1])
    changed = world.inputs()
    for mine, other in (
        (changed.bars, later.bars),
        (changed.by_symbol, later.own),
        (changed.shared, later.shared),
    ):
        for name in mine:
            mine[name][cut + 1 :] = other[name][cut + 1 :]  # type: ignore[index]
    altered = compute(spec, changed)[: cut + 1]
    names = []
    for place, name in enumerate(spec.names):
        for other in (cropped[..., place], altered[..., place]):
            if not np.allclose(other, reference[..., place], rtol=1e-9, atol=1e-11, equal_nan=True):
                names.append(name)
                break
    return names


@pytest.mark.requirement("R-044")
@pytest.mark.long
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.03, 0.3]))
@settings(
    max_examples=examples(3), deadline=None, phases=[Phase.explicit, Phase.generate]
)  # a found case is seconds long: no shrinking
def test_sample_by_sample_equals_the_whole_history_for_every_feature(seed: int, gaps: float) -> None:
    world, rows = World(seed, rows=300, gaps=gaps), range(8, 300, 7)
    sampled = np.array([compute(ALL, world.known_at(t), rows=1)[0] for t in rows])
    same(sampled, compute(ALL, world.inputs())[list(rows)], ALL.names)


@pytest.mark.quick_cases(1)
@pytest.mark.requirement("R-018")
@pytest.mark.parametrize("cut", [70, 200, 289])
def test_no_feature_looks_ahead(cut: int) -> None:
    assert looks_ahead(ALL, World(3, rows=320), cut) == []


def test_permuted_columns_permute_the_features() -> None:
    world = World(5, rows=300)
    order = [2, 0, 3, 1]
    straight = compute(ALL, world.inputs())
    same(compute(ALL, world.inputs(order=order)), straight[:, order], ALL.names, 1e-12)


def test_no_feature_has_a_unit() -> None:
    world = World(6, rows=300, gaps=0.0, actions=False)
    usual = compute(shipped("full"), world.inputs())
    for name in world.bars:
        world.bars[name] = world.bars[name] * (1000.0 if name == "volume" else 7.0)
    same(compute(shipped("full"), world.inputs()), usual, shipped("full").names, 1e-7)


def test_a_feature_is_the_same_alone_and_in_company() -> None:
    """Nodes are shared by their formula: two that differed under one name would show here."""
    world = World(12, rows=280, gaps=0.05)
    together = compute(ALL, world.inputs(), rows=1)
    for place, item in enumerate(ALL.features):
        alone = compute(FeatureSpec((item,)), world.inputs(), rows=1)[..., 0]
        np.testing.assert_allclose(alone, together[..., place], rtol=1e-9, atol=1e-11, err_msg=item.name)


def test_a_feature_is_a_function_of_the_samples_it_says_it_looks_back_on() -> None:
    world = World(8, rows=900, gaps=0.02)
    spec = FeatureSpec(tuple(f for f in shipped("full").features if f.lookback <= 450))
    assert len(spec.features) > 220
    long = compute(spec, world.inputs(), rows=1)[0]
    for place, item in enumerate(spec.features):
        alone = FeatureSpec((item,))
        # gaps are no bars: what is missing has to be made up for
        short = compute(alone, world.inputs(start=900 - int(item.lookback * 1.1) - 8), rows=1)[0, :, 0]
        np.testing.assert_allclose(short, long[:, place], rtol=1e-4, atol=1e-4, err_msg=item.name)


@pytest.mark.requirement("R-029", "R-030")
def test_returns_and_volatility_are_those_computed_by_hand() -> None:
    close = np.array([[100.0], [110.0], [99.0], [99.0], [108.9], [119.79]])
    bars = dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": np.ones_like(close)}
    spec = spec_of([*(f"daily_return_{k}" for k in range(1, 6)), "momentum_5", "volatility_5"])
    row = compute(spec, Inputs(np.arange(6) * DAY, bars))[-1, 0]
    np.testing.assert_allclose(row[:5], [0.1, 0.1, 0.0, -0.1, 0.1])
    np.testing.assert_allclose(row[5], 0.1979)
    np.testing.assert_allclose(row[6], np.std([0.1, -0.1, 0.0, 0.1, 0.1], ddof=1))


@pytest.mark.requirement("R-031")
def test_rsi_is_that_of_the_published_example() -> None:
    """StockCharts' worked example of Wilder's index, to the two decimals it prints."""
    close = [44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931, 46.0328,
             45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439]  # fmt: skip
    column = np.array(close)[:, None]
    bars = dict.fromkeys(FIELDS, column)
    rsi = compute(spec_of(["rsi_14"]), Inputs(np.arange(20) * DAY, bars))[14:, 0, 0]
    np.testing.assert_allclose(rsi, [70.53, 66.32, 66.55, 69.41, 66.36, 57.97], atol=0.006)


def test_weeks_and_months_are_those_that_are_over() -> None:
    session = (np.arange(4, 25) * DAY).astype(np.int64)  # Monday 1970-01-05 .. Sunday 25th, each day a row
    close = np.arange(1.0, 22.0)[:, None]
    bars = dict.fromkeys(FIELDS, close)
    ratios = compute(spec_of(["daily_return_1.week"]), Inputs(session, bars))[:, 0, 0]
    assert np.isnan(ratios[:14]).all()
    # in the third week: closes of the two that are over, 14 after 7
    np.testing.assert_allclose(ratios[14:], 14.0 / 7.0 - 1.0)


def test_across_a_row_names_share_the_places() -> None:
    row = np.array([3.0, np.nan, 1.0, 3.0 + 1e-12, 2.0])
    np.testing.assert_allclose(across(row, "rank"), [5 / 6, np.nan, 0.0, 5 / 6, 1 / 3])
    np.testing.assert_allclose(across(row, "excess"), [0.75, np.nan, -1.25, 0.75, -0.25], atol=1e-9)
    assert across(np.array([np.nan, 4.0]), "rank")[1] == 0.5
    np.testing.assert_array_equal(across(np.full(3, 0.1), "z"), np.zeros(3))


@pytest.mark.requirement("R-035", "F-27")
def test_the_full_observation_has_over_two_hundred_columns_each_with_a_name() -> None:
    spec = shipped("observation")
    columns = spec.columns(("SPY",))
    assert len(columns) == len(set(columns)) == len(spec.features) >= 200
    groups = {f.about.group for f in spec.features}
    assert groups >= {"returns", "oscillator", "volume", "portfolio", "risk", "regime", "time", "macro", "volatility"}


@pytest.mark.requirement("R-036")
def test_the_state_of_four_assets_has_thirty_four_entries() -> None:
    columns = shipped("four_asset").columns(("SPY", "TLT", "GLD", "BTC-USD"))
    assert len(columns) == 34
    assert columns[:2] == ["weight SPY", "weight TLT"]
    assert columns[-6:] == ["regime_bull", "regime_bear", "regime_volatile", "vix", "yield_10y", "value"]


def test_a_set_has_one_hash_and_another_set_another() -> None:
    assert spec_of(["rsi_14", "adx_14"]).digest == spec_of(["rsi_14", "adx_14"]).digest
    other_sets = [
        ["adx_14", "rsi_14"],
        ["rsi_15", "adx_14"],
        ["rsi_14"],
        ["rsi_14.week", "adx_14"],
        ["rsi_14.rank", "adx_14"],
    ]
    assert len({spec_of(names).digest for names in [["rsi_14", "adx_14"], *other_sets]}) == 6


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rsx_14", "did you mean 'rsi"),
        ("rsi_1", "2 to 2520 bars"),
        ("rsi_14.rank.week", "then rank, z or excess"),
        ("vix.rank", "one number for all"),
        ("weight.week", "no bars of weeks"),
        ("sentiment", "FinBERT"),
        ("sentiment", r"name a file in \[feed\] series and write series_sentiment"),
        ("esg", r"name a file in \[feed\] series and write series_esg"),
        ("series_esg.week", "series_esg has no bars of weeks"),
        ("series_esg_z_20.month", "series_esg_z_20 has no bars of weeks"),
        ("series_esg_z_1", "2 to 2520 samples"),
        ("series_esg_change_0", "1 to 2520 samples"),
        ("series_", "there is no feature"),
        ("sma_cross_20", "there is no feature"),
    ],
)
def test_a_wrong_name_is_told_what_would_be_right(name: str, said: str) -> None:
    with pytest.raises(FeatureError, match=said):
        feature(name)


def test_what_is_needed_and_not_given_is_refused_not_filled() -> None:
    world = World(11, rows=50)
    bare = Inputs(world.session, world.bars)
    with pytest.raises(ValueError, match="'beta_60' needs 'benchmark'"):
        compute(spec_of(["beta_60"]), bare)
    with pytest.raises(ValueError, match="'vix' needs 'vix'"):
        compute(spec_of(["vix"]), bare)


def test_features_of_a_series_are_those_computed_by_hand_in_every_row() -> None:
    value = np.array([[np.nan, 3.0], [2.0, 3.0], [4.0, np.nan], [8.0, 1.0]])
    bars = dict.fromkeys(FIELDS, np.array([[1.0, np.nan]] * 4))  # the second instrument has no bar
    names = [
        "series_esg",
        "series_esg_change_2",
        "series_esg_z_3",
        "series_esg_is_3",
        "series_esg.rank",
        "series_esg_ago_1",
    ]
    inputs = Inputs(np.arange(4) * DAY, bars, by_symbol={"series esg": value})
    columns = compute(spec_of(names), inputs)
    np.testing.assert_array_equal(columns[..., 0], value)
    np.testing.assert_array_equal(columns[..., 1], [[np.nan] * 2, [np.nan] * 2, [np.nan, np.nan], [6.0, -2.0]])
    last = (8.0 - 14.0 / 3.0) / np.std([2.0, 4.0, 8.0])
    np.testing.assert_allclose(columns[..., 2], [[np.nan] * 2, [np.nan] * 2, [np.nan] * 2, [last, np.nan]])
    np.testing.assert_array_equal(columns[..., 3], [[np.nan, 1.0], [0.0, 1.0], [0.0, np.nan], [0.0, 0.0]])
    np.testing.assert_array_equal(columns[1:, :, 5], value[:-1])
    np.testing.assert_array_equal(columns[..., 4], [[np.nan, 0.5], [0.0, 1.0], [0.5, np.nan], [1.0, 0.0]])


def test_a_series_is_named_in_its_feature_and_needed_by_it() -> None:
    change = feature("series_news_2_change_5.rank")
    assert (change.series, change.parameters, change.lookback) == ("news_2", (5.0,), 6)
    assert (feature("series_oil_change").series, feature("rsi_14").series) == ("oil_change", "")
    assert feature("series_mode_is_0").lookback == feature("series_esg").lookback == 1
    assert spec_of(["series_esg", "series_mood_z_9"]).needs == {"series esg", "series mood"}
    world = World(11, rows=50)
    with pytest.raises(ValueError, match="'series_mood' needs 'series mood'"):
        compute(spec_of(["series_mood"]), world.inputs())
