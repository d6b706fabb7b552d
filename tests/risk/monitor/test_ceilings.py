"""Upper bounds of limit values: what they settle keeps its level in a full measurement, of any book at any sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Correlation, Limits, Stress, Tail
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.limits.values import held_values, standing
from quantd.risk.measures.stress import Shock
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.monitor.levels import in_use, observe, sure
from quantd.risk.pretrade.gate import RUN, Context, gate, measure
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from tests.support.examples import examples
from tests.support.risk_books import scenario_returns

SEEDS = st.integers(0, 2**32 - 1)
NAMES = [f"S{k}" for k in range(6)]
UNIVERSE = Universe(
    tuple(Instrument(name, sector="even" if k % 2 else "odd", asset="abc"[k % 3]) for k, name in enumerate(NAMES)),
    groups=(("g", (NAMES[0], NAMES[3])),),
)
LEAST = 20


def limits_of(rng: np.random.Generator) -> Limits:
    """Limits of all kinds, of which some books use little and some much."""

    def some(low: float, high: float) -> float | None:
        return float(rng.uniform(low, high)) if rng.random() < 0.6 else None

    def tail(low: float, high: float) -> Tail | None:
        bound = some(low, high)
        method = str(rng.choice(["historical", "historical", "historical", "filtered", "ewma"]))
        return None if bound is None else Tail(bound, method, 0.9, int(rng.integers(1, 4)), int(rng.choice([25, 40])))

    return Limits(
        max_gross_exposure=some(0.5, 3.0), max_net_exposure=some(0.5, 2.0), max_leverage=some(1.0, 3.0),
        max_position_weight=some(0.2, 1.0), max_concentration=some(0.2, 1.0), max_herfindahl=some(0.1, 0.9),
        max_sector_weight=some(0.4, 2.0), group_caps=(("g", 0.7),) if rng.random() < 0.4 else (),
        var=tail(0.02, 0.2), cvar=tail(0.02, 0.3), max_volatility=some(0.1, 1.5), volatility_lookback=40,
        stress=Stress(0.5, (Shock("crash", {"even": -0.3, "odd": -0.1}),)) if rng.random() < 0.3 else None,
        correlation=Correlation(joint_weight=float(rng.uniform(0.4, 2.0)), lookback=40, min_weight=0.1)
        if rng.random() < 0.5
        else None,
        min_diversification=some(0.05, 0.6), min_history=LEAST, allow_short=True,
    )  # fmt: skip


def market(rng: np.random.Generator, rows: int) -> tuple[Ring, np.ndarray]:
    """An empty ring, and float64[rows, N] prices with gaps now and then."""
    returns = np.clip(scenario_returns(rng, len(NAMES), rows) * rng.choice([0.3, 1.0, 2.0]), -0.4, 0.4)
    prices = 100.0 * np.cumprod(1.0 + returns, axis=0)
    if rng.random() < 0.4:
        prices[rng.random(prices.shape) < 0.01] = np.nan
    return Ring(len(NAMES), 40), prices


def context(ring: Ring, marks: np.ndarray) -> Context:
    return Context(
        px=marks, prices_nano=np.rint(np.nan_to_num(marks) * 1e9).astype(np.int64), age_ns=np.zeros(6, dtype=np.int64),
        volume_lots=np.full(6, 1e9), returns=ring.returns, universe=UNIVERSE,
    )  # fmt: skip


def holdings(values: np.ndarray, equity: float) -> Holdings:
    book = Holdings(len(values))
    book.values[:] = values
    book.weigh(equity)
    return book


@pytest.mark.long
@settings(max_examples=examples(80), deadline=None)
@given(SEEDS)
def test_what_is_settled_keeps_its_level_in_a_full_measurement(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits, (ring, prices) = limits_of(rng), market(rng, 120)
    levels: dict[str, int] = {}
    marks, lots, equity = prices[0], np.zeros(6), 1e6
    for number, row in enumerate(prices):
        ring.append(row, [(0, 2.0, 0.3)] if rng.random() < 0.03 else None)
        marks = np.where(np.isfinite(row), row, marks)
        if number % 15 == 5:
            sides = rng.choice([1.0, 1.0, 1.0, -1.0, 0.0], 6)
            lots = np.trunc(np.nan_to_num(sides * rng.uniform(0.0, 0.5, 6) * equity / marks))
        equity *= float(rng.uniform(0.97, 1.03))
        account = Account(lots=lots, cash=equity / 2, equity=equity)
        ctx = context(ring, marks)
        values = standing(ctx, account, limits, None) | held_values(ctx, account, limits)
        values.pop("max_turnover", None)
        bands = Bands(rules_of(limits, UNIVERSE), levels)
        before = dict(levels)
        changes = observe(levels, values)
        if bands.keep(holdings(lots * marks, equity), ring):
            assert not changes, (number, changes, before)
        if Bands(rules_of(limits, UNIVERSE), before, True).keep(holdings(lots * marks, equity), ring):
            risen = observe(dict(before), values, falling=False)
            assert not [change for change in risen if change[0] != "min_diversification"], (number, risen, before)


@pytest.mark.long
@settings(max_examples=examples(80), deadline=None)
@given(SEEDS)
def test_a_level_that_changes_is_a_doubt_and_one_that_a_doubt_settles_is_that_of_a_measurement(seed: int) -> None:
    """With prices that are missing now and then, so that some limits are not measured."""
    rng = np.random.default_rng(seed)
    limits, (ring, prices) = limits_of(rng), market(rng, 90)
    rules = rules_of(limits, UNIVERSE)
    levels: dict[str, int] = {}
    marks, lots, equity = prices[0], np.zeros(6), 1e6
    for number, row in enumerate(prices):
        ring.append(row)
        marks = np.where(np.isfinite(row), row, marks)
        if number % 5 == 1:
            sides = rng.choice([1.0, 1.0, 1.0, -1.0, 0.0], 6)
            lots = np.trunc(np.nan_to_num(sides * rng.uniform(0.0, 0.7, 6) * equity / marks))
        account = Account(lots=lots, cash=equity / 2, equity=equity)
        ctx = context(ring, marks)
        values = standing(ctx, account, limits, None) | held_values(ctx, account, limits)
        values.pop("max_turnover", None)
        before = dict(levels)
        observe(levels, values)
        risen = dict(before)
        observe(risen, {key: pair for key, pair in values.items() if key != "min_diversification"}, falling=False)
        book = holdings(lots * marks, equity)
        for bands, after, falls in (
            (Bands(rules, before), levels, True),
            (Bands(rules, before, True), risen, False),
        ):
            doubts = bands.doubts(book, ring)
            if doubts is None:
                assert bands.unsettled
                continue
            assert (doubts == []) is bands.keep(book, ring)
            changed = {key for key in after if after[key] != before.get(key, 0)}
            assert changed <= {key for key, *_ in doubts}
            for key, least, most, bound in doubts:
                if sure(key, least, most, bound, before.get(key, 0)):
                    settled = observe(dict(before), {key: (least, bound)}, falling=falls)
                    assert [level for _, _, level, _, _ in settled] == [after[key]] * (key in changed)


@settings(max_examples=examples(80), deadline=None)
@given(SEEDS)
def test_what_a_verdict_records_are_those_of_all_values_that_cut_or_may_have_a_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits, (ring, prices) = limits_of(rng), market(rng, 80)
    for row in prices:
        ring.append(row)
    marks = np.array([column[np.isfinite(column)][-1] for column in prices.T])
    lots = np.trunc(rng.uniform(-0.2, 0.3, 6) * 1e6 / marks)
    ctx, account = context(ring, marks), Account(lots=lots, cash=1e6, equity=1e6)
    verdict = gate(ctx, account, np.trunc(rng.uniform(-3e3, 3e3, 6)), limits, RUN)
    values = verdict.values
    measure([verdict], sums=ring.sums)
    cutting = verdict._cutting()
    expected = {k: v for k, v in values.items() if in_use(k, *v) or k.partition(".")[0] in cutting}
    bounds = [bound for bound in (limits.max_position_weight, limits.max_concentration) if bound is not None]
    if "equity" in cutting and bounds and lots.any():
        # a cut to keep equity names the heaviest position, for the text of its reason
        weights = {name: abs(q * px) / 1e6 for name, q, px in zip(NAMES, lots, marks, strict=True)}
        heaviest = max(weights, key=lambda name: weights[name])
        expected[f"equity.{heaviest}"] = (weights[heaviest], min(bounds))
    assert verdict.recorded.keys() == expected.keys()
    for key, (value, bound) in expected.items():
        assert verdict.recorded[key] == (pytest.approx(value, rel=1e-9, abs=1e-12), bound)
    levels: dict[str, int] = {}
    every: dict[str, int] = {}
    assert [change[:3] for change in observe(levels, verdict.recorded, falling=False)] == [
        change[:3] for change in observe(every, values, falling=False)
    ]
