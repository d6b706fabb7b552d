"""Regimes as a policy has them: told from the past alone, the same after a restart, named by what they are."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from quantd.daemon.policies.loading import PolicyError, load, probe
from quantd.strategies.regimes import REGIMES, RegimeParams, model_of
from quantd.strategies.regimes.detectors import named
from quantd.strategies.regimes.thresholds import DOWN, FLAT, UP, direction_of, level_of, regime_of
from tests.support.examples import examples
from tests.support.policies import made, market, prices_of, view_of, walk, weights_in

LEVELS = (0.15, 0.25, 0.35)
BRANCHES = {
    "bull": {"policy": "fixed_mix", "params": {"weights": {"A": 1.0}}},
    "bear": {"policy": "fixed_mix", "params": {"weights": {"B": 1.0}}, "exposure": 0.5},
    "volatile": {"policy": "equal_weight", "exposure": 0.25},
}
QUICK = {"window": 120, "refit": 30, "iterations": 15}


def seasons(*parts, seed=1):
    """float64[T, 2] returns: parts of (samples, mean a sample, deviation a sample)."""
    draw = np.random.default_rng(seed)
    rows = []
    for samples, mean, deviation in parts:
        noise = draw.normal(size=samples)
        noise = (noise - noise.mean()) / noise.std()
        rows.append(mean + deviation * noise)
    column = np.concatenate(rows)
    return np.column_stack([column, column])


def read_all(params, returns, memory=None, start=0):
    """The readings of a model walked through float64[T] returns, one sample at a time."""
    model, returns = model_of(params), np.ascontiguousarray(returns)
    memory, out = memory or {}, []
    for t in range(start, len(returns)):
        reading, memory = model.read(returns[max(0, t + 1 - model.lookback) : t + 1], t + 1, memory)
        out.append(reading)
    return out, memory


@pytest.mark.requirement("R-039")
@pytest.mark.parametrize(
    ("volatility", "level"), [(0.1499, 0), (0.15, 1), (0.2499, 1), (0.25, 2), (0.3499, 2), (0.35, 3)]
)
def test_the_three_levels_of_volatility_are_reached_at_their_figures(volatility, level):
    assert level_of(volatility, LEVELS, 0, 0.1) == level


@pytest.mark.requirement("R-040")
@pytest.mark.parametrize(
    ("trend", "direction"), [(0.02, FLAT), (0.0201, UP), (-0.02, FLAT), (-0.0201, DOWN), (0.0, FLAT)]
)
def test_a_trend_is_one_beyond_two_percent(trend, direction):
    assert direction_of(trend, 0.02, FLAT, 0.1) == direction


def test_what_was_reached_is_left_only_some_way_below():
    assert [level_of(v, LEVELS, 2, 0.1) for v in (0.2499, 0.226, 0.2249, 0.136, 0.134)] == [2, 2, 1, 1, 0]
    assert [direction_of(t, 0.02, UP, 0.1) for t in (0.019, 0.018, -0.019, -0.021)] == [UP, FLAT, FLAT, DOWN]
    assert level_of(0.2499, LEVELS, 2, 0.0) == 1


def test_the_table_says_what_each_level_and_trend_is():
    said = {(level, way): regime_of(level, way, "bear") for level in range(4) for way in (DOWN, FLAT, UP)}
    assert [said[0, w] for w in (DOWN, FLAT, UP)] == ["bear", "bull", "bull"]
    assert [said[1, w] for w in (DOWN, FLAT, UP)] == ["bear", "bear", "bull"]
    assert regime_of(1, FLAT, "bull") == regime_of(1, FLAT, "volatile") == "bull"
    assert [said[2, w] for w in (DOWN, FLAT, UP)] == ["bear", "volatile", "bull"]
    assert {said[3, w] for w in (DOWN, FLAT, UP)} == {"volatile"}


@pytest.mark.requirement("R-038")
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("model", ["thresholds", "markov", "mixture"])
@settings(max_examples=examples(4), deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 10**6), cut=st.integers(130, 210))
def test_what_was_said_of_a_sample_stays_said_when_later_rows_change_or_go(model, seed, cut):
    returns = seasons((110, 0.001, 0.006), (60, -0.002, 0.02), (50, 0.001, 0.007), seed=seed)[:, 0]
    params = RegimeParams(model=model, **QUICK)
    reference, _ = read_all(params, returns)
    altered = returns.copy()
    altered[cut:] = np.where(np.arange(len(returns) - cut) % 2, 0.3, -0.2)
    for other in (returns[:cut], altered):
        said, _ = read_all(params, other)
        for one, two in zip(said[:cut], reference[:cut], strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                assert one.regime == two.regime
                np.testing.assert_array_equal(one.probabilities, two.probabilities)


@pytest.mark.parametrize("model", ["thresholds", "markov", "mixture"])
def test_a_restart_goes_on_from_memory_to_the_bit(model):
    returns = seasons((130, 0.001, 0.006), (60, -0.002, 0.02), (60, 0.001, 0.007))[:, 0]
    params = RegimeParams(model=model, **QUICK)
    uninterrupted, _ = read_all(params, returns)
    first, memory = read_all(params, returns[:170])
    memory = {name: np.frombuffer(value.tobytes()).reshape(value.shape) for name, value in memory.items()}
    later, _ = read_all(params, returns, memory, start=170)
    for one, two in zip([*first, *later], uninterrupted, strict=True):
        if one is not None:
            np.testing.assert_array_equal(one.probabilities, two.probabilities)


@pytest.mark.parametrize("model", ["thresholds", "markov", "mixture"])
def test_probabilities_are_probabilities_and_the_regime_is_the_likeliest(model):
    returns = seasons((150, 0.001, 0.006), (60, -0.003, 0.025))[:, 0]
    for reading in read_all(RegimeParams(model=model, **QUICK), returns)[0]:
        if reading is not None:
            assert reading.probabilities.sum() == pytest.approx(1.0)
            assert (reading.probabilities >= 0.0).all()
            assert REGIMES[int(reading.probabilities.argmax())] == reading.regime


@pytest.mark.parametrize("model", ["markov", "mixture"])
def test_a_fit_is_kept_for_as_long_as_asked_and_then_made_anew(model):
    returns = seasons((260, 0.0005, 0.01))[:, 0]
    params = RegimeParams(model=model, **QUICK)
    maker = model_of(params)
    fits, memory = [], {}
    for t in range(150, 260):
        _, memory = maker.read(returns[max(0, t + 1 - maker.lookback) : t + 1], t + 1, memory)
        fits.append(int(memory["at"][0]))
    assert sorted(set(fits)) == [151, 181, 211, 241]


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("model", ["markov", "mixture"])
@pytest.mark.parametrize("states", [2, 3, 4])
def test_calm_rises_are_bull_and_storms_volatile(model, states):
    returns = seasons((120, 0.001, 0.005), (60, -0.004, 0.03), (120, 0.001, 0.005), (30, -0.004, 0.03))[:, 0]
    said, _ = read_all(RegimeParams(model=model, states=states, window=300, refit=63, iterations=40), returns)
    assert said[295].regime == "bull"
    assert said[-1].regime == "volatile"


@pytest.mark.parametrize("model", ["thresholds", "markov", "mixture"])
def test_a_crash_counts_on_the_day_it_comes(model):
    returns = seasons((120, 0.001, 0.005), (60, -0.004, 0.03), (120, 0.001, 0.005))[:, 0]
    params = RegimeParams(model=model, window=300, iterations=30)
    said, memory = read_all(params, returns)
    assert said[-1].regime == "bull"
    after, _ = model_of(params).read(np.append(returns[1:], -0.25), len(returns) + 1, memory)
    assert after.regime == "volatile"
    assert after.probabilities[2] > 0.9


def test_a_state_is_named_by_its_own_mean_and_volatility():
    assert [REGIMES[named(mean, vol, 0.01)] for mean,
        vol in ((0.001, 0.008), (0.0, 0.0149), (-0.0001, 0.0149), (0.01, 0.015), (-0.01, 0.02))] == [
        "bull", "bull", "bear", "volatile", "volatile"
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["thresholds", "markov", "mixture"])
@pytest.mark.parametrize("returns", [np.empty(0), np.zeros(20), np.zeros(700), np.full(700, 1e-9)])
def test_a_market_that_is_too_young_or_stands_still_is_no_failure(model, returns):
    reading, memory = model_of(RegimeParams(model=model)).read(returns, len(returns), {})
    if reading is not None:
        assert reading.regime == "bull"
    assert all(np.isfinite(value).all() for value in memory.values())


STORM = seasons((80, 0.001, 0.006), (60, -0.004, 0.008), (40, 0.0, 0.035))


@pytest.mark.requirement("R-117", "R-162")
def test_the_policy_of_the_regime_decides_with_its_exposure_and_says_the_switch_once():
    policy = made("regime_switched", BRANCHES)
    decisions = list(walk(policy, prices_of(STORM)))
    notes = [said.note for _, said, _ in decisions]
    said = {row: weights_in(answer) for row, answer, _ in decisions}
    np.testing.assert_allclose(said[79], [1.0, 0.0])
    np.testing.assert_allclose(said[130], [0.0, 0.5])
    np.testing.assert_allclose(said[-1 % 180], [0.125, 0.125])
    changes = [n for n, before in zip(notes, ["", *notes], strict=False) if n != before]
    assert [c.split()[0].rstrip(":") for c in changes] == ["volatile", "bull", "bear", "volatile"]
    assert changes[0] == "volatile: too few samples for a regime"
    assert changes[2].startswith("bear since 2020-0")
    assert "trend -" in changes[2]
    assert not any(answer.warns for _, answer, _ in decisions)


def test_a_regime_lasts_at_least_as_long_as_it_must():
    def spells(dwell):
        policy = made("regime_switched", {**BRANCHES, "dwell": dwell, "regime": {"margin": 0.0, "trend": 0.0}})
        notes = [said.note for _, said, _ in walk(policy, market(4, 2, 400)) if "since" in said.note]
        return [sum(1 for n in notes if n == note) for note in dict.fromkeys(notes)][:-1]

    assert min(spells(0)) < 5
    assert min(spells(25)) >= 25


@pytest.mark.parametrize("model", ["thresholds", "markov", "mixture"])
def test_asked_twice_and_replayed_it_answers_the_same_to_the_bit(model):
    params = {**BRANCHES, "regime": {"model": model, **QUICK}}
    prices = prices_of(STORM)
    policy = made("regime_switched", params)
    first = [(row, said) for row, said, _ in walk(policy, prices, every=7)]
    assert first == [(row, said) for row, said, _ in walk(made("regime_switched", params), prices, every=7)]
    assert probe(policy, view_of(prices, policy.lookback)) == ""


def test_permuting_the_columns_permutes_the_weights():
    prices = market(3, 4, 150)
    order = [2, 0, 3, 1]
    params = {**BRANCHES, "regime": {"model": "markov", **QUICK}}
    policy = made("regime_switched", params)
    straight, _ = policy.act(view_of(prices, policy.lookback), {})
    turned, _ = policy.act(view_of(prices[:, order], policy.lookback, order=order), {})
    np.testing.assert_allclose(turned.weights, straight.weights[order], rtol=1e-9)


def test_what_each_branch_remembers_is_kept_while_another_is_in_force():
    branches = {
        **BRANCHES,
        "bear": {"policy": "ensemble", "params": {"members": [BRANCHES["bear"] | {}, BRANCHES["bull"]]}},
    }
    branches["bear"]["params"]["members"] = [
        {"policy": "equal_weight"},
        {"policy": "momentum", "params": {"lookback": 5}},
    ]
    *_, (_, last, _) = walk(made("regime_switched", branches), prices_of(STORM))
    assert {"bear/books", "bear/at", "regime/since", "regime/state"} <= set(last.memory)
    assert sum(len(data) for _, data in last.memory.values()) < 1024


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"bull": BRANCHES["bull"]}, "regime_switched needs bear, such as"),
        ({**BRANCHES, "bear": {"policy": "momentu"}}, "params.bear.policy: there is no policy 'momentu'"),
        ({**BRANCHES, "bear": {"policy": "momentum", "params": {"lookback": 0}}},
        "params.bear.params: momentum: lookback = 0"),
        ({**BRANCHES, "regime": {"model": "oracle"}},
        "regime_switched: params.regime.model: invalid enum value 'oracle'"),
        ({**BRANCHES, "regime": {"statess": 3}},
        "regime_switched: regime = {'statess': 3}: object contains unknown field statess"),
        ({**BRANCHES, "dwel": 3}, "regime_switched has no parameter 'dwel'; did you mean 'dwell'?"),
    ],
)  # fmt: skip
def test_a_wrong_branch_is_named_by_its_path(params, text):
    with pytest.raises(PolicyError) as refused:
        load("regime_switched", params, Path())
    assert str(refused.value).startswith(text)
