"""Signals of three horizons, and the policy that trades ranks of features."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantd.daemon.policies.loading import PolicyError, answer, load
from quantd.strategies.features.signals import SIGNALS
from quantd.strategies.indicators import batch
from quantd.strategies.policies import POLICIES
from quantd.trading.bars import BarRing
from quantd.trading.effects import Ask
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.macro import MacroHistory, series_columns
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import leaves
from quantd.trading.view import PartView, View
from tests.support.engine import World, block, walk

ROWS = 300


def newest(close: Floats) -> dict[str, Floats]:
    """Each signal with its usual windows at the last of these closes, float64[N] by name."""
    bars = {"open": close * 0.999, "high": close * 1.005, "low": close * 0.995, "close": close}
    columns = batch({n: s.make(**s.parameters) for n, s in SIGNALS.items()}, bars)
    return {name: column[-1] for name, column in columns.items()}


def noisy(drift: float, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    return 100.0 * np.exp((drift + rng.normal(0, 0.01, ROWS)).cumsum())


def view_of(close: Floats, symbols: tuple[str, ...], lookback: int = 400) -> View:
    ring, kept = Ring(len(symbols), lookback), BarRing(len(symbols), lookback)
    for t, row in enumerate(close):
        ring.append(row)
        kept.forming[:] = [row * 0.999, row * 1.005, row * 0.995, row, np.full(len(row), 1e6)]
        kept.forming[:, ~np.isfinite(row)] = np.nan
        kept.sample(t * 86_400_000_000_000, row, [])
    return View(
        universe=Universe(tuple(Instrument(s) for s in symbols), benchmark=symbols[0]), ring=ring, prices=close[-1],
        weights=np.zeros(len(symbols)), cash=1.0, equity=1.0, time=0, sample_time=0, bars=kept,
    )  # fmt: skip


@pytest.mark.requirement("R-042")
def test_there_are_two_signals_of_each_horizon() -> None:
    horizons = [s.horizon for s in SIGNALS.values()]
    assert sorted(horizons) == ["long", "long", "medium", "medium", "short", "short"]
    assert [n for n, s in SIGNALS.items() if s.horizon == "long"] == ["value_signal", "growth_signal"]


@pytest.mark.requirement("R-042")
def test_what_rises_and_what_falls_have_opposite_signs_and_all_are_bounded() -> None:
    signals = newest(np.stack([noisy(0.004), noisy(-0.004)], axis=1))
    for name in ("momentum_signal", "trend_signal", "breakout_signal", "growth_signal"):
        assert signals[name][0] > 0.3 > -0.3 > signals[name][1], name
    assert signals["value_signal"][0] < 0 < signals["value_signal"][1]
    assert all(np.abs(v).max() <= 1.0 for v in signals.values())


@pytest.mark.requirement("R-040")
def test_momentum_speaks_beyond_two_percent_and_reversion_against_the_move() -> None:
    flat = np.full(ROWS, 100.0)
    up = np.r_[np.full(ROWS - 1, 100.0), 102.01]
    near = np.r_[np.full(ROWS - 1, 100.0), 101.99]
    down = np.r_[np.full(ROWS - 1, 100.0), 97.0]
    signals = newest(np.stack([flat, up, near, down], axis=1))
    assert signals["momentum_signal"].tolist() == [0.0, 1.0, 0.0, -1.0]
    assert signals["reversion_signal"].tolist()[0] == 0.0
    assert signals["reversion_signal"][1] == -1.0
    assert signals["reversion_signal"][3] == 1.0


def test_a_breakout_is_measured_against_the_bars_before_it() -> None:
    close = np.full((ROWS, 2), 100.0)
    close[-1] = [101.0, 99.0]
    assert newest(close)["breakout_signal"].tolist() == [1.0, -1.0]


def test_the_policy_holds_the_first_by_weighted_ranks() -> None:
    close = np.stack([noisy(d, seed) for seed, d in enumerate((0.004, -0.002, 0.001, -0.008))], axis=1)
    view = view_of(close, ("A", "B", "C", "D"))
    best = POLICIES["signals"]({"features": {"momentum_126": 1.0}, "top": 2})
    weights, _ = best.act(view, {})
    assert weights.tolist() == [0.5, 0.0, 0.5, 0.0]
    worst = POLICIES["signals"]({"features": {"momentum_126": -1.0}, "top": 1, "invested": 0.8})
    assert worst.act(view, {})[0].tolist() == [0.0, 0.0, 0.0, 0.8]
    sized = POLICIES["signals"]({"features": {"momentum_126": 1.0}, "top": 2, "size": "inverse_volatility"})
    assert 0.3 < sized.act(view, {})[0][0] < 0.7


def test_permuted_columns_permute_the_answer_ties_included() -> None:
    close = np.stack([noisy(0.001, s) for s in (1, 1, 2, 3, 4)], axis=1)
    symbols, order = ("E", "A", "B", "C", "D"), [3, 1, 4, 0, 2]
    policy = POLICIES["signals"]({"features": {"rsi_14": -1.0, "momentum_60.week": 0.5, "beta_60": 0.1}, "top": 1})
    straight, _ = policy.act(view_of(close, symbols, policy.lookback), {})
    turned_view = view_of(close[:, order], tuple(symbols[i] for i in order), policy.lookback)
    turned_view.universe = Universe(turned_view.universe.instruments, benchmark="E")
    turned, _ = policy.act(turned_view, {})
    np.testing.assert_array_equal(turned, straight[order])


def test_who_has_too_few_bars_takes_no_part_and_nobody_means_cash() -> None:
    close = np.stack([noisy(0.001, s) for s in (1, 2)], axis=1)
    close[:250, 1] = np.nan
    policy = POLICIES["signals"]({"features": {"momentum_126": 1.0}})
    assert policy.act(view_of(close, ("A", "B")), {})[0].tolist() == [1.0, 0.0]
    assert policy.act(view_of(close[:100], ("A", "B")), {})[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("vix", "weight", "part"),
    [((20.0, 26.0), -1.0, 0.7), ((20.0, 26.0), 1.0, 1.0), ((20.0, 80.0), -1.0, 0.0), ((26.0, 20.0), -1.0, 1.0),
    ((), -1.0, 0.0)],
)  # fmt: skip
def test_exposure_multiplies_what_is_invested_by_one_plus_the_weighted_values(
    vix: tuple[float, ...], weight: float, part: float
) -> None:
    close = np.stack([noisy(0.004), noisy(-0.002, 2)], axis=1)
    view = view_of(close, ("A", "B"))
    history = MacroHistory(("vix",), 400)
    for _ in range(300):
        history.sample(vix[:1])
    history.sample(vix[1:])
    view._macro = history
    policy = POLICIES["signals"](
        {"features": {"momentum_126": 1.0}, "exposure": {"vix_change_1": weight}, "top": 1, "invested": 0.8}
    )
    assert policy.uses_macro == ("vix",)  # type: ignore[attr-defined]
    np.testing.assert_allclose(policy.act(view, {})[0], [0.8 * part, 0.0], atol=1e-12)


def with_series(view: View, **rows: list[list[float]]) -> View:
    """The view with series per symbol, their newest rows as given."""
    names = [column for name in rows for column in series_columns(name, view.universe.symbols)]
    view._macro = history = MacroHistory(tuple(names), 400)
    for newest_row in zip(*rows.values(), strict=True):
        history.sample([value for row in newest_row for value in row])
    return view


def test_the_policy_ranks_by_a_series_and_holds_nothing_without_a_value() -> None:
    close = np.stack([noisy(0.001, s) for s in (1, 2, 3)], axis=1)
    view = with_series(view_of(close, ("A", "B", "C")), esg=[[1.0, 9.0, 5.0], [5.0, 1.0, np.nan]])
    policy = POLICIES["signals"]({"features": {"series_esg": 1.0}, "top": 1})
    assert (policy.uses_series, policy.uses_macro) == (("esg",), ())  # type: ignore[attr-defined]
    assert policy.act(view, {})[0].tolist() == [1.0, 0.0, 0.0]
    moved = POLICIES["signals"]({"features": {"series_esg_change_1": -1.0}, "top": 3})
    # C has no value now, so it takes no part
    assert moved.act(view, {})[0].tolist() == [0.5, 0.5, 0.0]
    part = PartView(view, Universe(view.universe.instruments[1:]), (1, 2))
    assert policy.act(part, {})[0].tolist() == [1.0, 0.0]


def test_an_instrument_without_a_bar_keeps_its_series_and_one_without_a_price_does_not_count() -> None:
    close = np.stack([noisy(0.001, s) for s in (1, 2, 3)], axis=1)
    close[-1, 1] = np.nan
    view = with_series(view_of(close, ("A", "B", "C")), esg=[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    names = ("series_esg", "series_esg.rank", "series_esg_change_1", "series_esg_is_2")
    policy: Any = POLICIES["signals"]({"features": dict.fromkeys(names, 1.0), "top": 2})
    view.prices = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(
        policy.features(view), [[1.0, 0.0, 0.0, 0.0], [2.0, 0.5, 0.0, 1.0], [3.0, 1.0, 0.0, 0.0]]
    )
    view.prices = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(policy.features(view), [[1.0, 0.0, 0.0, 0.0], [np.nan] * 4, [3.0, 1.0, 0.0, 0.0]])
    assert policy.act(view, {})[0].tolist() == [0.5, 0.0, 0.5]


def test_features_of_a_series_that_is_switched_off_are_left_out(tmp_path: Path) -> None:
    params = {"features": {"series_esg": 1.0, "momentum_60": 2.0, "series_mood_z_9": -1.0}, "exposure": {"vix": 0.1}}
    policy: Any = load("signals", params, tmp_path, unused=frozenset({"esg"}))
    assert policy.left_out == ("series_esg",)
    assert policy.spec.names == ("momentum_60", "series_mood_z_9", "vix")
    assert policy.weights == (2.0, -1.0)
    assert (policy.uses_series, policy.uses_macro) == (("mood",), ("vix",))
    complete: Any = load("signals", params, tmp_path, unused=frozenset({"other"}))
    assert (complete.left_out, len(complete.weights)) == ((), 3)
    members = {"members": [{"policy": "signals", "params": params}, {"policy": "equal_weight"}]}
    inside: Any = load("ensemble", members, tmp_path, unused=frozenset({"esg"}))
    assert [name for leaf in leaves(inside) for name in getattr(leaf, "left_out", ())] == ["series_esg"]
    with pytest.raises(PolicyError, match=r"switched off \(series_esg\); write use = true in \[feed\] series"):
        load("signals", {"features": {"series_esg": 1.0}}, tmp_path, unused=frozenset({"esg"}))


@pytest.mark.long
def test_it_answers_the_same_asked_twice_and_in_a_run_kept_and_restored() -> None:
    policy = POLICIES["signals"]({"features": {"rsi_14": -1.0, "adx_14": 0.5}, "top": 2})
    assert policy.uses_bars  # type: ignore[attr-defined]
    straight, restarted = (
        World(block(walk(420, 3, 9)), [lambda view: policy.act(view, {})[0]], keep_bars=True, lookback=policy.lookback)
        for _ in range(2)
    )
    straight.run()
    for number, item in enumerate(restarted.items()):
        restarted.shell.take(item)
        if number % 50 == 49:
            restarted.restart()
    assert len(straight.of(OrderBasket)) > 20
    kept, uninterrupted = ([e for e in w.effects if not isinstance(e, Ask)] for w in (restarted, straight))
    assert kept == uninterrupted
    view = view_of(walk(300, 3, 4), ("A", "B", "C"))
    assert answer(policy, Ask(0, 0, view, {})) == answer(policy, Ask(0, 0, view, {}))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "signals: it needs features, such as"),
        ({"features": {"rsx_14": 1.0}}, "did you mean 'rsi"),
        ({"features": {}}, "signals: it needs features, such as"),
        ({"features": {"rsi_14": float("nan")}}, "must be a finite number"),
        ({"features": {"month_sin": 1.0}}, "cannot rank instruments"),
        ({"features": {"weight": 1.0}}, "cannot rank instruments"),
        ({"features": {"vix_change_5": 1.0}}, "does not come from their own bars; name it in exposure instead"),
        (
            {"features": {"rsi_14": 1.0}, "exposure": {"rsi_20": 1.0}},
            "exposure 'rsi_20' is no macro series, regime or season",
        ),
        ({"features": {"rsi_14": 1.0}, "exposure": {"cash": 1.0}}, "exposure 'cash' is no macro series"),
        (
            {"features": {"rsi_14": 1.0}, "exposure": {"vix": float("inf")}},
            "each weight of exposure must be a finite number",
        ),
        ({"features": {"rsi_14": 1.0}, "exposure": {"series_esg": 1.0}}, "exposure 'series_esg' is no macro series"),
        ({"features": {"rsi_14": 1.0}, "top": 0}, "top = 0"),
        ({"feature": {"rsi_14": 1.0}}, "did you mean 'features'"),
    ],
)
def test_wrong_parameters_are_told_what_would_be_right(params: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=said):
        load("signals", params, tmp_path)
