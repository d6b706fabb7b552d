"""The parts of the gate beside a search of all lots, plain sums and matrix products, in exact numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from quantd.risk.limits.case import SLACK
from quantd.risk.pretrade.gate_bounds import BY_SIDE, CASH, MASK, NET, NOTHING, ROOM, TRADED, WEIGHT, Cap, Family, Row
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.scenes import READY, TOO_FEW, UNKNOWN
from quantd.risk.pretrade.standing import Standing
from tests.risk.pretrade.drawn_books import (
    Expected,
    Floats,
    Rare,
    added,
    bounds_of,
    drawn,
    give,
    one_order,
    outer,
    scene_of,
    stands,
    stated,
    wide,
)

SEEDS = range(200)
WEIGHT_CODE, HISTORY, EQUITY, CASH_CODE = 7, 8, 3, 4


def gate_of(n: int, rooms: int = 0, **bounds: Any) -> Gate:
    """A gate at the beginning of a basket, with these bounds only."""
    gate = Gate(n, Loops(), rooms)
    gate.bounds, gate.heavy = bounds_of(**bounds), False
    gate.scene = scene_of(gate.basket, Rare())
    gate.pairs.begin(gate.bounds, gate.scene)
    gate.tails.begin(gate.bounds, gate.scene)
    gate.forms.begin(gate.scene)
    gate.factor.begin()
    return gate


def state_of(gate: Gate, settled: bool) -> Standing:
    return gate.after if settled else gate.flight


# ---- caps of single orders ------------------------------------------------------------------------------------------


def test_masks_and_rooms_cut_each_order_in_their_order_by_side() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        gate = gate_of(n)
        basket = gate.basket
        drawn(rng, basket)
        lots, up, down = (rng.integers(low, 4, n) * 1.0 for low in (-3, 0, 0))
        give(basket, lots=lots, up=up, down=down)
        buys, size, reason, caps = np.asarray(basket.wish) > 0.0, np.array(basket.size), np.zeros(n), []
        for code in range(20, 20 + int(rng.integers(1, 4))):
            mask = bool(rng.random() < 0.5)
            numbers = rng.choice([0.0, 0.0, 1.0, 3.0], 2 * n) if mask else rng.integers(-2, 9, 2 * n) * 0.5
            parts = rng.choice([0.0, 1.0, 2.0], 3)
            caps.append(Cap(MASK if mask else ROOM, code, numbers[:n].copy().data, numbers[n:].copy().data))
            give(caps[-1], held=parts[0], same=parts[1], other=parts[2])
            for k in range(n):
                number = numbers[n + k] if buys[k] else numbers[k]
                sign, (same, other) = (1.0, (up, down)) if buys[k] else (-1.0, (down, up))
                most = number - parts @ [sign * lots[k], same[k], other[k]]
                if mask:
                    most = 0.0 if number else np.inf
                if size[k] > max(most, 0.0):
                    size[k], reason[k] = np.floor(max(most, 0.0)), number if mask else code
        gate.cap(caps)
        assert list(basket.size) == size.tolist()
        assert list(basket.reason) == reason.tolist()


def weighed(rng: np.random.Generator, n: int, two: bool) -> Gate:
    """A book with a limit of weights, of which some are beyond it."""
    gate = gate_of(n, two_states=two, weight_code=WEIGHT_CODE, weight=rng.choice([0.125, 0.25, 0.5]))
    basket = gate.basket
    drawn(rng, basket)
    # what has no order needs no price
    px = np.where(np.asarray(basket.size) > 0.0, np.asarray(basket.px), rng.choice([0.0, 1.0]))
    give(basket, px=px, near=rng.choice([0.0, 0.5]))
    for state in (gate.flight, gate.after)[: 1 + two]:
        sides = rng.integers(0, 5, 2 * n) * 1.0
        give(state, shorts=sides[:n], longs=sides[n:], equity=float(rng.integers(8, 60)), fresh=-1)
        give(state, slip=rng.choice([0.0, 0.25]), wider=rng.choice([1.0, 1.5]))
    return gate


def _most_of_weight(gate: Gate, states: list[Standing], k: int, all_orders: bool) -> float:
    """By trial of each number of lots; with `all_orders` at the equity that all other orders leave."""
    basket = gate.basket
    size, side = int(basket.size[k]), basket.n + k if basket.wish[k] > 0.0 else k
    value, keeps = added(basket), []
    for state in states:
        equity = state.equity - (state.slip * (value.sum() - value[side]) if all_orders else 0.0)
        lots = np.arange(size + 1) * basket.px[k]
        most = gate.bounds.weight * state.wider * (equity - state.slip * lots) + basket.near
        keeps.append(outer(state)[side] + lots <= most)
    return float(max([0, *np.flatnonzero(np.all(keeps, axis=0)).tolist()]))


@pytest.mark.parametrize("two", [False, True])
def test_a_position_gets_the_most_lots_that_weigh_no_more_than_permitted(two: bool) -> None:
    cut = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        gate = weighed(rng, n, two)
        basket, states = gate.basket, [gate.flight, gate.after][: 1 + two]
        lots = [_most_of_weight(gate, states, k, all_orders=False) for k in range(n)]
        reason = np.where(np.array(lots) < np.asarray(basket.size), WEIGHT_CODE, 0).tolist()
        heavy = False
        for state in states:
            equity = state.equity - state.slip * float(added(basket).sum())
            full = float((outer(state) + added(basket)).max())
            heavy |= full > gate.bounds.weight * state.wider * equity + basket.near
        gate.cap([Cap(WEIGHT, WEIGHT_CODE, basket.px, basket.px)])
        assert list(basket.size) == lots
        assert list(basket.reason) == reason
        assert gate.heavy == heavy
        cut += any(reason)
    assert cut > 50


@pytest.mark.parametrize("two", [False, True])
def test_a_weight_is_checked_again_at_the_equity_that_all_orders_leave(two: bool) -> None:
    cut = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        gate = weighed(rng, 1 if seed % 2 else 3, two)
        # a cut is not seen by the order before it
        basket, states = gate.basket, [gate.flight, gate.after][: 1 + two]
        trial = [_most_of_weight(gate, states, k, all_orders=True) for k in range(basket.n)]
        size = [min(pair) for pair in zip(trial, basket.size, strict=True)]
        reason = [
            WEIGHT_CODE if lots < size_before else 0 for lots, size_before in zip(trial, basket.size, strict=True)
        ]
        gate.weigh_again()
        assert list(basket.size) == size
        assert list(basket.reason) == reason
        cut += any(reason)
    assert cut > 50


def test_a_count_keeps_the_largest_orders_beside_the_reductions() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n, counts = int(rng.integers(1, 8)), int(rng.integers(1, 4))
        names = rng.permutation(n).astype(np.int64)
        gate = gate_of(n, counts, names=names, counts=np.arange(20, 20 + counts))
        basket = gate.basket
        drawn(rng, basket)
        rooms = rng.choice([-1.0, 0.0, 1.0, 2.0, 3.0, 5.0, np.nan], counts)
        give(gate, rooms=rooms)
        basket.reductions = int(rng.integers(0, 3))
        size, reason = np.array(basket.size), np.zeros(n)
        value, cuts = (size * np.asarray(basket.px)).tolist(), 0
        for c, room in enumerate(rooms):
            order = sorted(np.flatnonzero(size).tolist(), key=lambda k: (-value[k], names[k]))
            over = order[0 if np.isnan(room) else int(max(room - basket.reductions, 0.0)) :]
            size[over], reason[over], cuts = 0.0, 20 + c, cuts + bool(over)
        orders = gate.count()
        assert list(basket.size) == size.tolist()
        assert list(basket.reason) == reason.tolist()
        assert (orders, basket.changes) == (np.count_nonzero(size), cuts)


def test_symbols_with_too_few_returns_are_refused_and_all_where_one_is_carried_or_the_rows_are_too_few() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        gate = gate_of(n, history=HISTORY)
        basket = gate.basket
        drawn(rng, basket)
        carried = rng.choice([0.0, 0.0, 0.0, 1.0, -1.0], (3, n))
        give(basket, lots=carried[0], up=carried[1], down=carried[2])
        few, short, names_known = bool(rng.random() < 0.3), rng.random(n) < 0.4, bool(rng.random() < 0.8)
        gate.scene.rows = TOO_FEW if few else READY
        if names_known:
            give(gate.scene, lacking=short * 1.0, any_lacking=True)
        else:
            # what is not said to be lacking is not read
            give(gate.scene, lacking=np.ones(n))
        short &= names_known
        refused = short | few | bool((short & carried.any(axis=0)).any())
        size = np.where(refused, 0.0, np.asarray(basket.size))
        reason = np.where(size < np.asarray(basket.size), HISTORY, 0)
        orders = gate.history()
        assert list(basket.size) == size.tolist()
        assert list(basket.reason) == reason.tolist()
        assert orders == np.count_nonzero(size)


# ---- the common factor ----------------------------------------------------------------------------------------------


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("by_symbol", [False, True])
def test_a_linear_limit_gives_the_largest_factor_within_it_or_bars_what_adds_to_a_breach(
    settled: bool, by_symbol: bool
) -> None:
    cut = capped = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        expected = _rows_as_by_products(rng, int(rng.integers(1, 4)), settled, by_symbol)
        cut, capped = cut + (expected.code != 0), capped + (expected.ceiling is not None)
    assert min(cut, capped) > 40


def _row_of(code: int, kind: int, bounds: Any, loads: Floats, n: int) -> Row:
    """`loads` of what is held, and of growth in flight and after all fills, each short | long."""
    row = Row(code, kind, *(float(bound) for bound in bounds))
    row.by_symbol = loads.shape[1] > 2
    if row.by_symbol:
        give(row, short_loads=loads[0, :n], long_loads=loads[0, n:])
        give(row, settled_short_loads=loads[1, :n], settled_long_loads=loads[1, n:])
        # these are not read
        give(row, per_short=np.nan, per_long=np.nan, settled_short=np.nan, settled_long=np.nan)
    else:
        give(row, per_short=loads[0, 0], per_long=loads[0, 1], settled_short=loads[1, 0], settled_long=loads[1, 1])
    return row


def _rows_as_by_products(rng: np.random.Generator, n: int, settled: bool, by_symbol: bool) -> Expected:
    gate = gate_of(n, equity=EQUITY)
    state, basket = state_of(gate, settled), gate.basket
    stated(rng, state, unpriced=settled)
    expected, rows = Expected(state), []
    for code in rng.permutation([EQUITY, 11, 12])[: int(rng.integers(1, 4))].tolist():
        kind = int(rng.choice([BY_SIDE, NET, TRADED, CASH, NOTHING])) if code != EQUITY else NOTHING
        bounds = rng.choice([0.0, 0.25, 0.5, 1.0], 2) * (1.0 if code != EQUITY else 4.0)
        loads = rng.choice([0.0, 0.5, 1.0, 1.0, 2.0], (2, 2 * n if by_symbol and n > 1 else 2))
        gate.bounds.rows.append(_row_of(code, kind, bounds, loads, n))
        rows.append((code, kind, bounds[int(settled)], loads if loads.shape[1] > 2 else loads.repeat(n, axis=1)))
    side = np.arange(n) + n * (np.asarray(basket.wish) > 0.0)
    present = np.concatenate((-stands(state), stands(state)))
    present = np.where(present > 0.0, present, 0.0)
    for code, kind, bound, loads in rows:
        most = {
            BY_SIDE: loads[0] @ outer(state), NET: loads[0] @ wide(state), TRADED: state.traded, CASH: state.spent,
            NOTHING: 0.0,
        }[kind]  # fmt: skip
        growth = float(loads[int(settled)] @ added(basket))
        if most + growth <= bound * expected.left + expected.near:
            continue
        if kind == BY_SIDE:
            breached = loads[0] @ present > bound * expected.now + expected.near
        else:
            breached = most > bound * state.before + expected.near
        if not breached:
            growth += bound * (expected.equity - expected.left)
            expected.take((bound * expected.equity + expected.near - most) / growth if growth > 0.0 else np.inf, code)
        elif expected.cap(np.where((loads[int(settled)][side] > 0.0) | (code == EQUITY), 0.0, np.inf), code):
            break
    assert gate.scale_in(state) == (expected.ceiling is not None)
    expected.check(gate.factor)
    return expected


def test_what_a_limit_bars_adds_to_what_it_counts() -> None:
    """A breached limit on the long side alone: sales pass, buys do not; that on both sides bars both."""
    for loads, passes in (([0.0, 1.0], [6.0, 0.0]), ([1.0, 1.0], [0.0, 0.0])):
        gate = two_orders()
        give(gate.flight, equity=2.0, now=2.0, before=2.0)
        give(gate.basket, wish=np.array([-6.0, 2.0]), lots=np.array([0.0, 4.0]))
        gate.bounds.rows = [_row_of(11, BY_SIDE, [1.0, 9.0], np.array([loads, loads]), 2)]
        gate.scale()
        assert list(gate.basket.size) == passes


@pytest.mark.parametrize("settled", [False, True])
def test_names_need_the_equity_at_which_the_largest_that_may_comply_weighs_its_bound(settled: bool) -> None:
    needed = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n, weights = int(rng.integers(1, 4)), rng.choice([-1.0, 0.0, 0.125, 0.25, 0.5], 2)
        gate = gate_of(n, first_weight=weights[0], second_weight=weights[1])
        state = state_of(gate, settled)
        stated(rng, state)
        sides = rng.integers(0, 9, 2 * n) * 1.0
        give(state, shorts=sides[:n], longs=sides[n:])
        gate.heavy = bool(rng.random() < 0.8)
        present, need = np.concatenate((-stands(state), stands(state))), 0.0
        for weight in weights * state.wider:
            may = present <= weight * state.now + gate.basket.near
            if gate.heavy and weight > 0.0 and may.any():
                need = max(need, float(sides[may].max() / weight))
        assert gate.names_equity(state) == need
        needed += need > 0.0
    assert needed > 100


@pytest.mark.parametrize("settled", [False, True])
def test_equity_is_kept_for_pairs_beside_weights(settled: bool) -> None:
    """Two symbols that lose together, of which nothing breaches."""
    cut = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        gate = gate_of(2, equity=EQUITY, first_weight=rng.choice([-1.0, 0.25, 0.5]), second_weight=-1.0)
        gate.bounds.least, gate.bounds.joint = 0.0, 0.25
        state, rare = state_of(gate, settled), Rare()
        stated(rng, state)
        sides = np.array([0.0, 0.0, *rng.integers(1, 9, 2)]) * 1.0
        give(state, shorts=sides[:2], longs=sides[2:], now=1e3)
        gate.scene, rare.links = scene_of(gate.basket, rare), np.full((2, 2), 1.0)
        gate.pairs.begin(gate.bounds, gate.scene)
        gate.heavy = True
        alone = sides.max() / (gate.bounds.first_weight * state.wider) if gate.bounds.first_weight > 0.0 else 0.0
        together = sides.sum() / (gate.bounds.joint * state.wider)
        assert gate.names_equity(state) == pytest.approx(alone)
        assert rare.asked == []
        gate.pairs.binding = True
        need = max(alone, together)
        assert gate.names_equity(state) == pytest.approx(need)
        assert rare.asked == [[2, 3]]
        expected = Expected(state)
        growth = expected.equity - expected.left
        if need > expected.left + expected.near and growth > 0.0:
            expected.take((expected.equity + expected.near - need) / growth, EQUITY)
        give(state, before=1e3)
        gate.bounds.rows = [_row_of(EQUITY, NOTHING, [1.0, 1.0], np.zeros((2, 2)), 2)]
        assert not gate.scale_in(state)
        expected.check(gate.factor)
        cut += expected.code != 0
    assert cut > 50


@pytest.mark.parametrize("settled", [False, True])
def test_a_group_gives_the_largest_factor_within_its_bound_or_bars_its_orders_if_it_is_beyond(settled: bool) -> None:
    cut = capped = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        expected = _families_as_by_products(rng, int(rng.integers(1, 5)), settled)
        cut, capped = cut + (expected.code != 0), capped + (expected.ceiling is not None)
    assert min(cut, capped) > 40


def _families_as_by_products(rng: np.random.Generator, n: int, settled: bool) -> Expected:
    gate = gate_of(n)
    state = state_of(gate, settled)
    stated(rng, state)
    reference, groups = Expected(state), []
    for code in range(21, 21 + int(rng.integers(1, 4))):
        count = int(rng.integers(1, n + 1))
        labels, bounds = rng.integers(0, count + 1, n), rng.choice([0.0, 0.25, 0.5, 1.0], 2).tolist()
        largest = max(np.count_nonzero(labels == g) for g in range(1, count + 1))
        gate.bounds.families.append(Family(code, count, largest, labels.astype(np.int64).data, *bounds))
        groups += [(code, bounds[int(settled)], labels == g) for g in range(1, count + 1)]
    for code, bound, inside in groups:
        used, growth = (
            float(sides.reshape(2, n)[:, inside].sum()) for sides in (outer(state), added(reference.basket))
        )
        if used + growth <= bound * reference.left + reference.near:
            continue
        if np.abs(stands(state))[inside].sum() > bound * reference.now + reference.near:
            if reference.cap(np.where(inside, 0.0, np.inf), code):
                break
            continue
        growth += bound * (reference.equity - reference.left)
        reference.take((bound * reference.equity + reference.near - used) / growth if growth > 0.0 else np.inf, code)
    assert gate.scale_in(state) == (reference.ceiling is not None)
    reference.check(gate.factor)
    return reference


@pytest.mark.parametrize(("bound", "summed"), [(0.5, False), (np.nextafter(0.5, 0.0), True)])
def test_no_group_is_added_up_where_both_sides_of_the_heaviest_in_every_place_comply(
    bound: float, summed: bool
) -> None:
    gate = gate_of(1)
    one_order(gate.flight, 4.0)
    gate.bounds.families = [Family(21, 1, 1, np.ones(1, dtype=np.int64).data, float(bound), 9.0)]
    give(gate, groups=np.full(2, np.nan))
    assert gate.family(gate.flight, gate.bounds.families[0]) is False
    assert np.isfinite(gate.groups).all() == summed
    assert gate.factor.value == 1.0


def test_buys_share_the_cash_that_is_left_after_short_sales_were_cut() -> None:
    cut = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        loads = rng.choice([-0.5, 0.0, 0.5, 1.0], 2)
        gate = gate_of(int(rng.integers(1, 4)), cash=CASH_CODE, two_states=True)
        gate.bounds.cash_row = _row_of(CASH_CODE, CASH, [0.0, 0.0], np.array([[9.0, 9.0], loads]), 1)
        state, basket, n = gate.after, gate.basket, gate.n
        stated(rng, state)
        size, value = np.array(basket.size), added(basket)
        spent, brought = loads[1] * value[n:].sum(), -loads[0] * value[:n].sum()
        room = max(brought - state.spent + basket.near, 0.0)
        share = room / spent if spent > room else 1.0
        buys = (np.asarray(basket.wish) > 0.0) & (size > 0.0)
        reason = np.where(buys & (share < 1.0), CASH_CODE, 0)
        state.fresh = -1
        gate.settled_cash()
        assert list(basket.size) == np.where(buys, np.floor(size * share * (1.0 + 1e-12)), size).tolist()
        assert list(basket.reason) == reason.tolist()
        cut += bool(reason.any())
    assert cut > 30


def two_orders() -> Gate:
    """Six and two lots of 1 are bought of an equity of 16, beside 2 in each symbol."""
    gate = gate_of(2)
    nothing, lots = np.zeros(2), np.array([6.0, 2.0])
    give(gate.basket, px=np.ones(2), size=lots, wish=lots, lots=np.full(2, 2.0), near=0.0, changes=0)
    give(gate.flight, low=nothing, high=np.full(2, 2.0), equity=16.0, now=16.0, before=16.0, slip=0.0, wider=1.0)
    gate.flight.sums()
    return gate


@pytest.mark.parametrize(("bound", "factor"), [(1.0, 1.0), (0.5, 0.5), (0.625, 0.75)])
def test_orders_of_a_basket_keep_the_same_share_in_whole_lots(bound: float, factor: float) -> None:
    gate = two_orders()
    gate.bounds.rows = [_row_of(11, BY_SIDE, [bound, bound], np.ones((2, 2)), 2)]
    gate.scale()
    assert list(gate.basket.size) == [np.floor(6.0 * factor), np.floor(2.0 * factor)]
    assert list(gate.basket.reason) == ([11, 11] if factor < 1.0 else [0, 0])
    # the reach is computed again only for other lots
    assert gate.basket.changes == (1 if factor < 1.0 else 0)


def test_an_order_that_keeps_its_lots_has_no_reason() -> None:
    """A share of 0.5 leaves none of one lot in the second symbol, and of nothing in the first no less."""
    gate = two_orders()
    give(gate.basket, size=np.array([0.0, 1.0]))
    gate.bounds.rows = [_row_of(11, BY_SIDE, [4.5 / 16.0, 9.0], np.ones((2, 2)), 2)]
    gate.scale()
    assert (list(gate.basket.size), list(gate.basket.reason)) == ([0.0, 0.0], [0, 11])


def limits() -> Iterator[tuple[str, Any]]:
    yield "rows", _row_of(11, BY_SIDE, [0.625, 0.5], np.ones((2, 2)), 2)
    yield "families", Family(11, 1, 2, np.ones(2, dtype=np.int64).data, 0.625, 0.5)


@pytest.mark.parametrize(("name", "limit"), limits())
@pytest.mark.parametrize("two", [False, True])
def test_the_least_factor_of_both_states_is_taken(name: str, limit: Any, two: bool) -> None:
    """Within 0.625 of 16 in flight six of eight lots of 1 pass, within 0.5 after all fills four."""
    gate = two_orders()
    give(gate.bounds, two_states=two, **{name: [limit]})
    give(gate.after, low=np.full(2, -2.0), high=np.full(2, 2.0), equity=16.0, now=16.0, before=16.0, slip=0.0)
    gate.after.wider = 1.0
    gate.after.sums()
    gate.scale()
    assert list(gate.basket.size) == ([3.0, 1.0] if two else [4.0, 1.0])


def test_no_limit_is_evaluated_where_no_order_adds() -> None:
    gate = two_orders()
    give(gate.basket, size=np.zeros(2))
    give(gate.factor, value=0.25, code=5)
    gate.scale()
    assert (gate.factor.value, gate.flight.fresh, gate.basket.changes) == (0.25, -1, 0)


def test_a_breached_limit_takes_single_orders_and_the_others_share_what_another_permits() -> None:
    """The group of the first symbol is beyond its bound; of the second symbol one lot in two fits beside what is
    held."""
    gate = two_orders()
    labels = np.array([1, 0], dtype=np.int64)
    gate.bounds.families = [Family(21, 1, 1, labels.data, 0.0625, 9.0)]
    gate.bounds.rows = [_row_of(11, BY_SIDE, [5.0 / 16.0, 9.0], np.ones((2, 2)), 2)]
    gate.scale()
    assert (list(gate.basket.size), list(gate.basket.reason)) == ([0.0, 1.0], [21, 11])


@pytest.mark.parametrize(("near", "bound"), [(0.0, 0.75), (0.5, 0.71875)])
def test_a_group_within_its_bound_with_all_orders_is_not_compared_with_the_present(near: float, bound: float) -> None:
    """Four are held, and all orders make it twelve, which is within a tolerance of the bound of an equity of 16. Four
    are beyond the bound of the present equity, which is 0."""
    gate = two_orders()
    give(gate.flight, now=0.0)
    gate.basket.near = near
    gate.bounds.families = [Family(21, 1, 2, np.ones(2, dtype=np.int64).data, bound, 9.0)]
    gate.scale()
    assert list(gate.basket.size) == [6.0, 2.0]


@pytest.mark.parametrize("two", [False, True])
def test_a_single_order_gets_the_most_lots_beside_its_pair_at_the_equity_that_these_leave(two: bool) -> None:
    """Beside 4 that are held, x lots of 24 pass with x + 4 <= (16 - x / 4) / 2, in the tighter one of both states."""
    gate = gate_of(
        2, two_states=two, pairs=True, least=0.0, joint=0.5, correlation=9, names=np.arange(2),
        cash_row=_row_of(CASH_CODE, CASH, [0.0, 0.0], np.zeros((2, 2)), 2),
    )  # fmt: skip
    lots = np.array([24.0, 0.0])
    give(gate.basket, px=np.ones(2), size=lots, wish=lots, lots=np.array([0.0, 4.0]), near=0.0, changes=0)
    for state, equity in ((gate.flight, 1e3 if two else 16.0), (gate.after, 16.0)):
        exposed = np.array([0.0, 4.0])
        give(state, low=-exposed, high=exposed, equity=equity, before=equity, now=equity, slip=0.25, wider=1.0)
        give(state, spent=0.0, traded=0.0)
        state.sums()
    give(gate.scene, links=np.full((2, 2), 1.0), has_links=True)
    gate.shrink()
    assert (list(gate.basket.size), list(gate.basket.reason)) == ([3.0, 0.0], [9, 0])


def test_a_cap_or_a_row_counts_nothing_until_it_is_given() -> None:
    none = np.zeros(1).data
    cap, row = Cap(ROOM, 5, none, none), Row(6, NET, 0.5, 0.25)
    assert (cap.held, cap.same, cap.other) == (0.0, 0.0, 0.0)
    assert not row.by_symbol
    assert [row.load(settled, 0, buys) for settled in (False, True) for buys in (False, True)] == [0.0] * 4


# ---- the whole walk -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "room", "decided"),
    [(UNKNOWN, 5.0, False), (UNKNOWN, 0.0, True), (READY, 5.0, True), (TOO_FEW, 5.0, True)],
)
def test_a_basket_with_orders_left_waits_for_scenario_rows_that_are_not_known(
    rows: int, room: float, decided: bool
) -> None:
    gate = Gate(1, Loops(), 1)
    give(gate, rooms=np.array([room]))
    basket = gate.basket
    give(
        basket,
        wish=np.ones(1),
        cash=16.0,
        equity=16.0,
        up_cash=0.0,
        open_loss=0.0,
        open_gain=0.0,
        traded=0.0,
        derived=True,
    )
    bounds = bounds_of(
        names=np.arange(1), counts=np.array([20]), history=HISTORY, not_finite=1, zero_crossing=2, paid=0.0,
        covered=0.0, fee=0.0, sold=0.0, reserve=0.0, debit=0.0, in_flight=0.0,
    )  # fmt: skip
    scene = scene_of(basket, Rare(), rows)
    scene.px = np.ones(1).data
    assert gate.judge(bounds, scene, [], True) == decided
    assert basket.near == SLACK * 16.0
    code = {0.0: 20}.get(room, HISTORY if rows == TOO_FEW else 0)
    assert (list(basket.size), list(basket.reason)) == ([0.0 if code else 1.0], [code])
