"""The common factor of quadratic forms, beside a halving between 0 and 1 and products of whole matrices."""

from typing import Any

import numpy as np
import pytest

from quantd.risk.pretrade.forms import Forms
from quantd.risk.pretrade.gate_bounds import Form
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.scenes import Spread
from quantd.risk.pretrade.standing import Basket, Factor, Standing
from tests.risk.pretrade.drawn_books import (
    Expected,
    Floats,
    Rare,
    added,
    give,
    one_order,
    outer,
    scene_of,
    stands,
    stated,
    wide,
)


def forms_of(state: Standing, loops: Loops | None = None) -> tuple[Forms, Factor]:
    factor = Factor(state.basket.n)
    factor.begin()
    return Forms(state.basket, factor, loops or Loops()), factor


@pytest.mark.parametrize("settled", [False, True])
def test_a_form_gives_the_largest_factor_within_its_bound_or_bars_what_adds_to_a_breach(settled: bool) -> None:
    cut = capped = asked = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        rare, expected = _forms_as_by_hand(rng, int(rng.integers(1, 4)), settled)
        asked += len(rare.asked)
        cut, capped = cut + (expected.code != 0), capped + (expected.ceiling is not None)
    assert min(cut, capped, asked) > 10


def _forms_as_by_hand(rng: np.random.Generator, n: int, settled: bool) -> tuple[Rare, Expected]:
    """Each form is either the sum of squares, or a matrix with deviations that its shortcut reads."""
    state, rare = Standing(Basket(n), settled), Rare()
    stated(rng, state, unpriced=settled)
    scene, expected, asked = scene_of(state.basket, rare), Expected(state), False
    forms, factor = forms_of(state)
    forms.begin(scene)
    matrices_known = bool(rng.random() < 0.8)
    factors = rng.integers(-2, 3, (2, 3, n)) * (rng.random((2, 3, n)) < 0.8) * 0.25
    # rounding may leave a form negative
    matrices = [factor_rows.T @ factor_rows - rng.choice([0.0, 0.0, 0.25]) for factor_rows in factors]
    count, drawn_forms = int(rng.integers(1, 4)), []
    for code in range(41, 41 + count):
        bounds, which = rng.choice([0.0, 0.125, 0.25, 0.5], 2).tolist(), int(rng.integers(-1, 2))
        deviations = rng.choice([0.0, 0.25, 1.0, 9.0], n)
        spread = Spread(which < 0, deviations.copy().data)
        matrix = np.eye(n) if which < 0 else matrices[which]
        if matrices_known and which >= 0:
            give(spread, matrix=matrix, ready=True)
        scene.spreads.append(spread)
        rare.matrices.append(matrix)
        drawn_forms.append((Form(code, *bounds), spread, bounds[settled], matrix, None if which < 0 else deviations))
    capped = False
    for form, spread, bound, matrix, deviations in drawn_forms:
        before = spread.ready
        reached, capped_by_hand = _form_by_hand(expected, form.code, bound, matrix, deviations)
        asked = asked or (reached and not before)
        assert forms.scale(state, form, spread) == capped_by_hand
        capped = capped_by_hand
        if capped:
            break
    assert rare.asked == (["matrices"] if asked else [])
    expected.check(factor)
    return rare, expected


def _form_by_hand(
    reference: Expected, code: int, bound: float, matrix: Floats, deviations: Floats | None
) -> tuple[bool, bool]:
    """Leaves in `reference` what a form permits; whether the matrix is needed, and whether single orders are capped."""
    state, n, adding = reference.state, reference.basket.n, added(reference.basket)
    # the smallest exposure on a side whatever fills; an order on the other side may take it to nothing
    against = np.roll(adding, n) > 0.0
    inner = np.where(against, 0.0, np.maximum(-np.roll(wide(state), n), 0.0))
    allowed = bound * reference.left + reference.near
    if deviations is not None and deviations @ (outer(state) + adding).reshape(2, n).sum(axis=0) <= allowed:
        return False, False
    like, unlike = matrix.clip(0.0), (-matrix).clip(0.0)
    most, least = np.block([[like, unlike], [unlike, like]]), np.block([[unlike, like], [like, unlike]])
    kept = np.zeros(2 * n) if deviations is None else inner
    base = outer(state) @ most @ outer(state) - kept @ least @ kept
    cross, square = adding @ most @ outer(state), adding @ most @ adding
    if allowed >= 0.0 and base + 2.0 * cross + square <= allowed**2:
        return True, False
    if np.sqrt(max(stands(state) @ matrix @ stands(state), 0.0)) - bound * reference.now > reference.near:
        return True, reference.cap(np.where(matrix.diagonal() > 0.0, 0.0, np.inf), code)
    target, fall = bound * reference.equity + reference.near, bound * (reference.equity - reference.left)
    reference.take(_largest_root(float(base), float(cross), float(square), target, fall), code)
    return True, False


def _largest_root(base: float, cross: float, square: float, target: float, fall: float) -> float:
    """The largest f with base + 2 f cross + f^2 square <= (target - f fall)^2, halved between 0 and 1. Nothing passes
    where nothing may be held, though rounding may leave a form negative."""

    def complies(f: float) -> bool:
        short = base - target**2 + 2.0 * f * (cross + target * fall) + f * f * (square - fall**2)
        return target - f * fall >= 0.0 >= short

    if target <= 0.0 or not complies(0.0):
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if complies(middle) else (low, middle)
    return high


@pytest.mark.parametrize(("bound", "asked"), [(0.125, []), (np.nextafter(0.125, 0.0), ["matrices"])])
def test_a_matrix_is_asked_for_where_the_sum_of_deviations_exceeds_the_bound_by_a_bit(
    bound: float, asked: list[str]
) -> None:
    """The sum is a half of 4."""
    state, rare = Standing(Basket(1), False), Rare()
    one_order(state, 4.0)
    forms, factor = forms_of(state)
    scene = scene_of(state.basket, rare)
    scene.spreads, rare.matrices = [Spread(False, np.full(1, 0.5).data)], [np.eye(1)]
    forms.begin(scene)
    assert not forms.scale(state, Form(41, float(bound), 9.0), scene.spreads[0])
    assert (rare.asked, factor.code) == (asked, 41 if asked else 0)


@pytest.mark.parametrize(("bound", "summed"), [(0.03125, False), (np.nextafter(0.03125, 0.0), True)])
def test_no_square_is_added_up_where_the_heaviest_times_the_sum_complies(bound: float, summed: bool) -> None:
    state = Standing(Basket(1), False)
    one_order(state, 0.5)
    forms, factor = forms_of(state)
    forms.begin(scene_of(state.basket, Rare()))
    give(forms, ordered=-1.0)
    assert not forms.scale(state, Form(41, float(bound), 9.0), Spread(True, np.zeros(1).data))
    assert forms.ordered == (0.25 if summed else -1.0)
    assert factor.code == (41 if summed else 0)


def test_an_order_that_nothing_is_correlated_with_does_not_pass_at_exactly_the_bound() -> None:
    """Four are held of an equity of 16, with a deviation of 1 and a bound of a quarter."""
    state = Standing(Basket(2), False)
    size = np.array([0.0, 1.0])
    give(state.basket, px=np.ones(2), size=size, wish=size, lots=np.array([4.0, 0.0]), near=0.0, changes=0)
    exposed = np.array([4.0, 0.0])
    give(state, low=-exposed, high=exposed, equity=16.0, now=16.0, before=16.0, slip=0.0, wider=1.0)
    state.sums()
    state.reach()
    forms, factor = forms_of(state)
    forms.begin(scene_of(state.basket, Rare()))
    spread = Spread(False, np.ones(2).data)
    give(spread, matrix=np.eye(2), ready=True)
    assert not forms.scale(state, Form(41, 0.25, 9.0), spread)
    assert (factor.value, factor.code) == (0.0, 41)


class Sided(Loops):
    """Records whether products of shorts are made."""

    def __init__(self) -> None:
        self.sided: list[bool] = []

    def corners(self, *given: Any) -> None:
        self.sided.append(bool(given[-1]))
        super().corners(*given)


@pytest.mark.parametrize(
    ("held", "side", "sided"), [(0.0, 1.0, False), (0.0, -1.0, True), (0.25, 1.0, True), (0.25, -1.0, True)]
)
def test_products_of_shorts_are_made_only_where_something_is_or_may_be_short(
    held: float, side: float, sided: bool
) -> None:
    state, loops = Standing(Basket(1), False), Sided()
    one_order(state, 4.0, side)
    give(state, shorts=np.full(1, held), sum_short=held)
    forms, _ = forms_of(state, loops)
    forms.begin(scene_of(state.basket, Rare()))
    spread = Spread(False, np.ones(1).data)
    give(spread, matrix=np.eye(1), ready=True)
    forms.scale(state, Form(41, 0.0625, 9.0), spread)
    assert loops.sided == [sided]
