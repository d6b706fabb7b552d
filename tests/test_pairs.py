"""What is left of orders in instruments that move together, judged by counting lots down until every pair complies."""

from typing import Any

import numpy as np
import pytest

from quantd.risk.limits.case import SLACK, Account, Case, Extent
from quantd.risk.limits.catalogue import Correlation, Limits, override
from quantd.risk.limits.context import Bools, Floats
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.pairs import clip_pairs, joint_weight, pair_equity
from tests.support.risk_books import make_context, scenario_returns

EQUITY = 1_000.0


def spec_of(**given: Any) -> Correlation:
    return Correlation(**{"threshold": 0.3, "joint_weight": 0.5, "min_weight": 0.1, "lookback": 80, **given})


def case_of(
    y: Floats,
    slip: Floats,
    spec: Correlation,
    buys: Bools,
    *,
    settled: bool = False,
    seed: int = 1,
    px: Any = None,
    returns: Floats | None = None,
    held: Floats | None = None,
    **limits: Any,
) -> Case:
    """A book with float64[2N] exposures `y` at their worst, in a market with pairs of both signs; float64[N] `held`
    now."""
    n = len(buys)
    moves = scenario_returns(np.random.default_rng(seed), n) if returns is None else returns
    ctx = make_context(np.full(n, 10.0) if px is None else px, moves, [f"S{k:02}" for k in range(n)])
    rules = rules_of(override(Limits(correlation=spec), **limits), ctx.universe)
    extent = Extent(y, EQUITY, EQUITY, slip, 0.0, 0.0, settled)
    lots = np.zeros(n) if held is None else held / ctx.px
    case = Case(ctx, Account(lots=lots, cash=EQUITY, equity=EQUITY), rules, buys, [extent])
    case.scenarios = {80: ctx.window(80, 60).all}
    return case


def links(case: Case, spec: Correlation) -> Bools:
    """bool[2N, 2N]: sides that lose together, by numpy's corrcoef."""
    rho = np.asarray(np.corrcoef(case.ctx.window(80, 60).all.returns.T))
    np.fill_diagonal(rho, -1.0)
    unlike = -rho
    np.fill_diagonal(unlike, -1.0)
    return np.block([[rho, unlike], [unlike, rho]]) > spec.threshold


def complies(mine: Floats | float, partner: float, equity: Floats | float, least: float, joint: float) -> Any:
    near = SLACK * EQUITY
    small = np.minimum(mine, partner) <= least * equity + near
    return small | (np.add(mine, partner) <= joint * equity + near)


def counted_down(case: Case, lots: Floats, spec: Correlation, others_slip: bool) -> Floats:
    """The larger notional first, each with the most whole lots at which it complies with all it is linked to."""
    out = lots.copy()
    n, linked = len(lots), links(case, spec)
    for extent in case.extents:
        room = 1.0 if extent.settled else 1.0 + case.rules.limits.in_flight
        least, joint = spec.min_weight * room, (0.0 if spec.strict else spec.joint_weight) * room
        held = extent.y.copy()
        equity = extent.equity - float(extent.slip @ out) * others_slip
        for k in sorted(np.flatnonzero(out), key=lambda k: (-out[k] * case.ctx.px[k], k)):
            side = k + n * int(case.buys[k])
            sizes = np.arange(out[k], -1.0, -1.0)
            after = equity - sizes * extent.slip[k] * (not others_slip)
            good = np.ones(len(sizes), dtype=bool)
            for partner in np.flatnonzero(linked[side]):
                good &= complies(held[side] + sizes * case.ctx.px[k], held[partner], after, least, joint)
            out[k] = sizes[good][0] if good.any() else 0.0
            held[side] += out[k] * case.ctx.px[k]
            equity -= out[k] * extent.slip[k] * (not others_slip)
    return out


def drawn(seed: int, n: int) -> tuple[Case, Floats, Correlation]:
    rng = np.random.default_rng((seed, 11))
    spec = spec_of(
        joint_weight=float(rng.uniform(0.1, 0.6)),
        min_weight=float(rng.choice([0.0, 0.05, 0.1, 0.2])),
        strict=bool(rng.random() < 0.2),
    )
    few = np.isin(np.arange(n), rng.choice(n, 5, replace=False))
    y = np.round(rng.uniform(0.0, 250.0, 2 * n), 2) * (rng.random(2 * n) < 0.4) * np.tile(few, 2)
    px = np.round(rng.uniform(3.0, 60.0, n), 2)
    slip = px * float(rng.choice([0.0, 0.02, 0.2]))
    lots = np.floor(rng.uniform(0.0, 20.0, n)) * (rng.random(n) < 0.8) * few
    settled, in_flight = bool(rng.random() < 0.5), float(rng.choice([0.0, 0.3]))
    buys = rng.random(n) < 0.6
    return case_of(y, slip, spec, buys, settled=settled, in_flight=in_flight, seed=seed, px=px), lots, spec


@pytest.mark.parametrize("others_slip", [False, True])
@pytest.mark.parametrize(("n", "count"), [(5, 300), (66, 40)])
def test_each_order_keeps_the_most_lots_that_comply_with_all_it_is_linked_to(
    n: int, count: int, others_slip: bool
) -> None:
    """Few symbols, whose links are made once, and more than a covariance is made of unasked."""
    cut = 0
    for seed in range(count):
        case, lots, spec = drawn(seed, n)
        kept = clip_pairs(case, lots, spec, others_slip)
        expected = counted_down(case, lots, spec, others_slip)
        assert kept.tolist() == expected.tolist(), seed
        cut += int((kept < lots).any())
    assert cut > count // 5


def test_pairs_that_comply_with_all_that_may_fill_are_not_looked_at_again() -> None:
    """Both move as one; 400 together of 500, and 600 where it is too much."""
    returns = scenario_returns(np.random.default_rng(8), 3)
    returns[:, 1] = returns[:, 0]
    spec, buys = spec_of(threshold=0.9), np.ones(3, dtype=bool)
    for lots, free in (([20.0, 20.0, 0.0], True), ([26.0, 0.0, 26.0], True), ([30.0, 30.0, 0.0], False)):
        case = case_of(np.zeros(6), np.zeros(3), spec, buys, returns=returns)
        asked = np.array(lots)
        kept = clip_pairs(case, asked, spec, False)
        assert (case.pairs is None) is free
        assert (kept is asked) is free


@pytest.mark.parametrize("seed", range(12))
def test_a_pair_at_exactly_its_bounds_complies(seed: int) -> None:
    """One lot each, priced so that the last bit of a bound is met: by the least weight, and by both together."""
    returns = scenario_returns(np.random.default_rng(8), 2)
    returns[:, 1] = returns[:, 0]
    rng = np.random.default_rng(seed)
    least, joint = float(rng.uniform(0.1, 0.2)), float(rng.uniform(0.45, 0.6))
    spec, lots, near = spec_of(threshold=0.9, min_weight=least, joint_weight=joint), np.ones(2), SLACK * EQUITY
    for px, complying in (
        ([600.0, least * EQUITY + near], True),
        ([600.0, np.nextafter(least * EQUITY + near, 1e9)], False),
        ([(joint * EQUITY + near) / 2] * 2, True),
        ([np.nextafter((joint * EQUITY + near) / 2, 1e9)] * 2, False),
    ):
        case = case_of(np.zeros(4), np.zeros(2), spec, np.ones(2, dtype=bool), px=np.array(px), returns=returns)
        clip_pairs(case, lots, spec, False)
        assert (case.pairs is None) is complying, px
        exposures = np.array([0.0, 0.0, *px])
        assert (joint_weight(case, exposures, EQUITY, spec) == 0.0) is bool(px[1] <= least * EQUITY + near)


@pytest.mark.parametrize("n", [2, 66])
def test_a_correlation_of_exactly_the_threshold_is_no_link(n: int) -> None:
    returns = scenario_returns(np.random.default_rng(4), n)
    returns[:, 1] += returns[:, 0]
    case = case_of(np.zeros(2 * n), np.zeros(n), spec_of(), np.ones(n, dtype=bool), returns=returns)
    rho = float(case.scenarios[80].correlation([0, 1])[0, 1])
    lots = np.zeros(n)
    lots[:2] = 40.0
    for threshold, kept in ((rho + 1e-9, 40.0), (rho if n > 2 else rho + 1e-15, 40.0), (rho - 1e-9, 10.0)):
        spec = spec_of(threshold=threshold)
        assert clip_pairs(case, lots, spec, False)[:2].tolist() == [40.0, kept], threshold


@pytest.mark.parametrize("n", [5, 66])
def test_equity_that_pairs_need_is_the_least_at_which_those_that_comply_still_do(n: int) -> None:
    asked_for = 0
    for seed in range(300 if n == 5 else 25):
        case, lots, spec = drawn(seed, n)
        extent = case.extents[0]
        extent.before = EQUITY * float(np.random.default_rng(seed).uniform(0.8, 1.3))
        room = 1.0 if extent.settled else 1.0 + case.rules.limits.in_flight
        least, joint = spec.min_weight * room, (0.0 if spec.strict else spec.joint_weight) * room
        low = extent.equity - float(extent.slip @ lots)
        account = case.account
        account.lots = (extent.y[n:] - extent.y[:n]) / case.ctx.px * np.random.default_rng(seed).uniform(0.3, 1.0, n)
        account.equity = EQUITY * float(np.random.default_rng(seed).uniform(0.8, 1.3))
        held, now = case.standing(extent)
        need = pair_equity(case, extent, lots, spec)
        pairs = np.argwhere(np.triu(links(case, spec))).tolist()

        def keep(equity: float, of: Any, y: Floats = extent.y, least: float = least, joint: float = joint) -> list[Any]:
            return [(i, j) for i, j in of if complies(y[i], y[j], equity, least, joint)]

        known = keep(now, pairs, np.maximum(held, 0.0))
        # of what may not be held together at all no equity is enough
        assert (need == np.inf and joint == 0.0) or len(keep(max(need, low), known)) == len(known), seed
        if need > low:
            asked_for += 1
            assert len(keep(need * (1.0 - 1e-9), known)) < len(known), seed
        if not known:
            assert need == 0.0
    assert asked_for > 3


def test_a_pair_at_exactly_its_bound_is_kept_there_and_one_beyond_is_given_up() -> None:
    """250 each, of half of the equity that is left; an open order that may make it so asks for as much."""
    returns = scenario_returns(np.random.default_rng(8), 2)
    returns[:, 1] = returns[:, 0]
    spec, near = spec_of(threshold=0.9), SLACK * EQUITY
    held = np.array([250.0, 250.0])
    for now, equity, need in (
        (held, 1_000.0, 1_000.0), (held, 1_000.0 - near, 1_000.0), (held, 1_000.0 - 2.0 * near, 0.0),
        (held / 2, 1_000.0 - 2.0 * near, 1_000.0), (held / 2, 400.0, 0.0), (held * [1.0, 0.0], 400.0, 1_000.0),
    ):  # fmt: skip
        y, buys = np.array([0.0, 0.0, 250.0, 250.0]), np.ones(2, dtype=bool)
        case = case_of(y, np.zeros(2), spec, buys, returns=returns, held=now)
        assert 1_000.0 - near + near == 1_000.0
        case.account.equity = equity
        assert pair_equity(case, case.extents[0], np.zeros(2), spec) == need


def test_an_order_is_free_beside_a_partner_at_exactly_the_least_weight() -> None:
    """Of the equity before all orders; a third one takes from it what makes the partner matter at the end."""
    returns = scenario_returns(np.random.default_rng(8), 3)
    returns[:, 1] = returns[:, 0]
    spec, lots = spec_of(threshold=0.9), np.array([60.0, 0.0, 10.0])
    for extra, kept in ((0.0, 60.0), (1e-6, 39.0)):
        y = np.array([0.0, 0.0, 0.0, 0.0, spec.min_weight * EQUITY + SLACK * EQUITY + extra, 0.0])
        case = case_of(y, np.array([0.0, 0.0, 5.0]), spec, np.ones(3, dtype=bool), returns=returns)
        assert clip_pairs(case, lots, spec, False).tolist() == [kept, 0.0, 10.0]
        assert case.pairs is spec


def test_a_lone_position_or_a_small_partner_asks_for_no_equity() -> None:
    returns = scenario_returns(np.random.default_rng(8), 2)
    returns[:, 1] = returns[:, 0]
    spec = spec_of(threshold=0.9)
    for long in ([600.0, 0.0], [300.0, 100.0], [0.0, 0.0]):
        case = case_of(np.array([0.0, 0.0, *long]), np.zeros(2), spec, np.ones(2, dtype=bool), returns=returns)
        assert pair_equity(case, case.extents[0], np.zeros(2), spec) == 0.0


def test_a_joint_weight_is_that_of_the_heaviest_pair_whatever_little_equity_there_is() -> None:
    case, _, spec = drawn(3, 5)
    linked = links(case, spec)
    for equity in (0.5, 100.0):
        exposures = np.random.default_rng(2).uniform(0.0, 0.6, 10) * equity
        big = exposures > spec.min_weight * equity
        both = np.add.outer(exposures, exposures)[linked & np.logical_and.outer(big, big)]
        assert joint_weight(case, exposures, equity, spec) == pytest.approx(both.max() / equity, rel=1e-9)
