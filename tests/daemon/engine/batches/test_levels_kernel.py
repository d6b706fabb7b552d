"""Levels hold where each measure, by its definition, lies inside its band; numbers are dyadic, so that sums are
exact."""

from math import inf

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantd.daemon.engine.batches import levels_kernel as kernel
from quantd.daemon.engine.batches.levels_kernel import MARKS, levels_hold, observe, pairs_hold
from quantd.daemon.engine.batches.loops import BatchLoops
from quantd.risk.measures.diversification import diversification
from quantd.trading.covariance import covariance

Floats = np.ndarray

N, WIDTH, BOOK = 5, 24, 1
BEYOND = 1 / 1024

sixteenths = st.integers(-16, 16).map(lambda k: k / 16)
weights_of = arrays(np.float64, N, elements=sixteenths)
returns_of = arrays(np.float64, (N, WIDTH), elements=st.integers(-20, 20).map(lambda k: k / 64))
shocks_of = arrays(np.float64, (4, N), elements=sixteenths)
labels_of = arrays(np.int64, (2, N), elements=st.integers(-1, N))
LABELS = np.zeros((2, N), dtype=np.int64)

MIDDLE = [kernel.HEAVIEST, kernel.GROSS, kernel.NET, kernel.LEVERAGE, kernel.HERFINDAHL]


def exposure(kind: int, weights: Floats) -> float:
    """A measure of the weights alone."""
    size, short = np.abs(weights), -weights.clip(max=0.0).sum()
    return {
        kernel.HEAVIEST: size.max(), kernel.GROSS: size.sum(), kernel.NET: abs(weights.sum()),
        kernel.LEVERAGE: max(weights.clip(0.0).sum(), 1.0 + short if short else 0.0), kernel.HERFINDAHL: size @ size,
    }[kind]  # fmt: skip


def largest_group(weights: Floats, labels: Floats) -> float:
    return max([0.0, *(np.abs(weights)[labels == group].sum() for group in range(1, N + 1))])


def holds(
    measures: list[list[float]],
    weights: Floats,
    *,
    rising: bool,
    labels: Floats = LABELS,
    counts: tuple[int, ...] = (1,),
    known: int = 9,
    end: int = 12,
    returns: Floats | None = None,
    shocks: Floats | None = None,
    spread: Floats | None = None,
    book: int = BOOK,
) -> bool:
    returns = np.zeros((N, WIDTH)) if returns is None else returns
    other = [book + 5, kernel.GROSS, inf, inf, 77.0, 77.0, 77.0, 0.0]
    whole = [other, *measures, other]
    numbers = [value for each in whole for value in (*each, *[0.0] * (kernel.MEASURE - len(each)))]
    return levels_hold(
        book, weights.data, N, np.array(numbers).data, labels.ravel().data, np.array(counts).data, known, end,
        returns.data, np.zeros(1).data if shocks is None else shocks.ravel().data, BatchLoops(),
        np.full(WIDTH, np.nan).data,
        np.full(2 * N + 2 + WIDTH, np.nan).data, (np.full(N, np.nan) if spread is None else spread).data, rising,
    )  # fmt: skip


def bands(value: float) -> list[tuple[float, float]]:
    """Bands that a value is in, at an edge of, and beyond."""
    near = max(BEYOND * abs(value), BEYOND**3)
    edges = [-inf, value - near, value, value + near, inf]
    return [(low, high) for low in edges for high in edges if low < high]


def check(value: float, measure: list[float], weights: Floats, edges: bool = True, **more: object) -> None:
    """A measure of a value holds inside its band only; while it rises, below the upper end."""
    for low, high in bands(value):
        if not edges and value in (low, high):
            continue
        for rising in (False, True):
            found = holds([[BOOK, measure[0], low, high, *measure[1:]]], weights, rising=rising, **more)
            assert found is bool(value < high and (rising or low < value)), (value, low, high, rising)


@given(weights_of)
def test_an_exposure_holds_inside_its_band_only(weights):
    for kind in MIDDLE:
        check(exposure(kind, weights), [kind], weights)


@given(weights_of, labels_of, st.integers(0, 1), st.integers(0, 1))
def test_the_heaviest_group_holds_inside_its_band_only(weights, labels, family, alone):
    value = largest_group(weights, labels[family])
    value = max(value, np.abs(weights).max()) if alone else value
    check(value, [kernel.FAMILY, family, alone], weights, labels=labels)


@given(weights_of, shocks_of, st.integers(1, 3))
def test_the_worst_scenario_from_the_first_on_holds_inside_its_band_only(weights, shocks, rows):
    for first in range(5 - rows):
        value = max((-(shocks[first : first + rows] @ weights)).tolist())
        check(value, [kernel.STRESS, rows, first], weights, shocks=shocks)


@given(weights_of, returns_of, st.integers(1, 20), st.integers(12, WIDTH), st.data())
def test_losses_hold_inside_their_bands_only(weights, returns, known, end, data):
    """By the newest returns, at most as many as are known and as the lookback has, of what is held."""
    known = min(known, end)
    lookback = data.draw(st.integers(2, 16))
    rows = min(known, lookback)
    count = data.draw(st.integers(1, rows))
    counts, scale = [99] * 3 + [99] * lookback + [99], 1.5
    counts[3 + rows] = count
    losses = np.sort(-(weights @ returns[:, end - rows : end]))
    unheld = np.where(weights[:, None] == 0.0, np.nan, returns)
    about = {"counts": tuple(counts), "known": known, "end": end, "returns": unheld}
    check(losses[-count] * scale, [kernel.VAR, lookback, 3, scale], weights, **about)
    check(losses[-count:].sum() / count * scale, [kernel.CVAR, lookback, 3, scale], weights, **about)
    if rows > 1:
        check(losses.std(ddof=1) * 2.0, [kernel.VOLATILITY, lookback, 2.0], weights, edges=False, **about)


@given(weights_of, returns_of)
def test_losses_of_a_shorter_lookback_are_the_last_of_a_longer_one(weights, returns):
    assume(weights.any())
    about = {"counts": (2,) * 20, "returns": returns, "rising": False}
    whole = [BOOK, kernel.CVAR, -inf, inf, 9, 0, 1.0]
    losses = -(weights @ returns[:, 12 - 9 : 12])
    var, spread = np.sort(losses[-4:])[-2], losses[-4:].std(ddof=1)
    for low, high in bands(var):
        measures = [whole, [BOOK, kernel.VAR, low, high, 4, 0, 1.0]]
        assert holds(measures, weights, **about) is bool(low < var < high)
    for low, high in bands(spread):
        if spread not in (low, high):
            measures = [whole, [BOOK, kernel.VOLATILITY, low, high, 4, 1.0]]
            assert holds(measures, weights, **about) is bool(low < spread < high)


@given(weights_of, returns_of, st.integers(3, 12))
def test_the_share_of_risk_that_joint_holding_removes_holds_inside_its_band_only(weights, returns, rows):
    """As `quantd.risk.measures.diversification` defines it; without a risk, and before a plan, every band holds."""
    newest = returns[:, 12 - rows : 12]
    spread, measure = newest.std(axis=1, ddof=1), [BOOK, kernel.DIVERSIFICATION, inf, inf, rows]
    about = {"returns": returns, "known": 12, "spread": spread}
    assert holds([measure], weights, rising=True, **about)
    if not np.abs(weights) @ spread > 0.0:
        assert holds([measure], weights, rising=False, **about)
        return
    value = diversification(weights, covariance(newest.T))
    for low, high in ((value - 1e-6, value + 1e-6), (-inf, value - 1e-6), (value + 1e-6, inf)):
        found = holds([[*measure[:2], low, high, rows]], weights, rising=False, **about)
        assert found is bool(low < value < high)


@pytest.mark.parametrize("kind", [kernel.REALISED_VOLATILITY, kernel.SHARPE])
def test_a_realised_measure_holds_inside_its_band_and_where_it_has_no_value(kind):
    for low, high, inside in ((0.1, 0.3, True), (0.2, 0.3, False), (0.1, 0.2, False), (-inf, inf, True)):
        assert holds([[BOOK, kind, low, high, 0.2, 1.0]], np.ones(N), rising=False) is inside
        assert holds([[BOOK, kind, low, high, 0.2, 0.0]], np.ones(N), rising=False)
        assert holds([[BOOK, kind, low, high, 0.2, 1.0]], np.ones(N), rising=True)


@given(weights_of)
def test_a_book_has_its_own_measures_and_those_with_enough_history_only(weights):
    outside = [BOOK, kernel.GROSS, inf, inf]
    inside = [BOOK, kernel.GROSS, -inf, inf]
    assert not holds([inside, outside], weights, rising=False)
    assert not holds([outside, inside], weights, rising=False)
    assert holds([inside, inside], weights, rising=False)
    assert holds([inside, outside], weights, rising=False, book=BOOK + 1)
    quiet = [BOOK, kernel.VAR, -inf, inf, 3, 0, 1.0]
    assert holds([quiet, inside], weights, rising=False, counts=(1,) * 4)
    assert not holds([quiet, outside], weights, rising=False, counts=(1,) * 4)
    for least, known in ((9, 9), (10, 9), (9, 10)):
        measures = [[*outside, 0.0, 0.0, 0.0, least], inside]
        assert holds(measures, weights, rising=False, known=known) is (least > known)


def linked(weights: Floats, returns: Floats, least: float, most: float, threshold: float, edge: float) -> bool:
    """Whether two weights above `least`, together at least `most`, have a correlation above a threshold on their
    sides, or one that an edge brings there."""
    for k in range(N):
        for other in range(k):
            one, two = abs(weights[k]), abs(weights[other])
            if min(one, two) > least and one + two >= most:
                a, b = returns[k] - returns[k].mean(), returns[other] - returns[other].mean()
                own = a @ b * np.sign(weights[k] * weights[other])
                if own >= (threshold + edge) * np.sqrt((a @ a) * (b @ b)):
                    return True
    return False


@given(weights_of, returns_of, st.integers(0, 8), st.integers(1, 24), st.integers(2, 12), st.integers(12, WIDTH))
def test_a_pair_is_heavy_where_its_correlation_on_the_sides_held_exceeds_the_threshold(
    weights, returns, least, most, rows, end
):
    least, most, newest = least / 16, most / 16, returns[:, end - rows : end]
    for threshold in (-0.5, 0.0, 0.25, 0.5, 0.9, 1.0):
        surely, perhaps = (linked(weights, newest, least, most, threshold, edge) for edge in (1e-6, -1e-6))
        found = pairs_hold(weights.data, N, least, -inf, most, threshold, returns.data, end, rows)
        assert surely <= (not found) <= perhaps
        if surely != perhaps:
            continue
        own = {"known": rows, "end": end, "returns": returns}
        for low in (-inf, most - 0.25, most - 0.125):
            measure = [BOOK, kernel.PAIRS, low, most, least, threshold, rows]
            assert holds([measure], weights, rising=True, **own) is not surely
            some = [linked(weights, newest, least, low + 1e-9, threshold, edge) for edge in (1e-6, -1e-6)]
            if some[0] == some[1]:
                assert holds([measure], weights, rising=False, **own) is (not surely and (low == -inf or some[0]))


def test_a_pair_is_linked_at_its_threshold_too():
    """Two equal series have a correlation of 1; so have opposite ones of opposite sides."""
    series = np.array([0.25, -0.5, 0.125, 0.75])
    for sign, threshold, found in ((1.0, 1.0, True), (-1.0, 1.0, True), (1.0, 1.0 + 1e-8, False)):
        returns = np.array([series, sign * series])
        for scale in (1.0, 2.0**-12, 2.0**12):
            scaled = returns * [[1.0], [scale]]
            weights = np.array([0.5, sign * 0.5])
            assert pairs_hold(weights.data, 2, 0.25, -inf, 1.0, threshold, scaled.data, 4, 4) is not found
        assert pairs_hold(np.array([0.5, -sign * 0.5]).data, 2, 0.25, -inf, 1.0, threshold, returns.data, 4, 4)


def test_a_pair_without_an_upper_end_is_not_measured():
    same = np.tile(np.arange(WIDTH) / 64, (N, 1))
    measures = [[BOOK, kernel.PAIRS, -inf, inf, 0.0, 0.5, 5], [BOOK, kernel.GROSS, -inf, 1.0]]
    assert not holds(measures, np.full(N, 0.25), rising=False, returns=same)
    assert holds(measures[:1], np.full(N, 0.25), rising=False, returns=same)
    assert not holds([[BOOK, kernel.PAIRS, -inf, 0.5, 0.0, 0.5, 5]], np.full(N, 0.25), rising=False, returns=same)


def test_a_pair_is_measured_by_the_newest_known_returns():
    """The first half of two series is the same and the second is opposite, or the other way round."""
    half = np.array([0.25, -0.5, 0.125, 0.75])
    returns = np.zeros((N, WIDTH))
    returns[0, 4:12] = *half, *half
    returns[1, 4:12] = *half, *-half
    weights = np.array([0.5, 0.5, 0.0, 0.0, 0.0])
    for known, lookback, found in ((4, 9, True), (9, 4, True), (4, 4, True), (2, 9, True)):
        measure = [BOOK, kernel.PAIRS, -inf, 1.0, 0.25, 0.5, lookback]
        assert holds([measure], weights, rising=False, known=known, returns=returns) is found
        assert not holds([measure], weights, rising=False, known=known, end=8, returns=returns)
        turned = returns * np.where(np.arange(N) == 1, -1.0, 1.0)[:, None]
        assert not holds([measure], weights, rising=False, known=known, returns=turned)
        assert holds([measure], weights, rising=False, known=known, end=8, returns=turned)


@given(arrays(np.float64, 12, elements=sixteenths), st.integers(1, 12), st.data())
def test_the_worst_losses_are_in_ascending_order(losses, size, data):
    start, count = data.draw(st.integers(0, 12 - size)), data.draw(st.integers(1, size))
    for beyond in (7.0, -7.0):
        top = np.full(14, beyond)
        kernel.worst(losses.data, start, size, count, top.data)
        assert top[:count].tolist() == sorted(losses[start : start + size])[-count:]
        assert (top[count:] == beyond).all()


MONDAY = 4 + 7 * 2_000
"""Days since 1970 of a Monday."""


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(80, 120)), min_size=1, max_size=12))
def test_a_switch_has_the_equity_at_the_beginning_of_its_day_and_week_and_its_maximum(steps):
    """The equity of each sample is marked after some days."""
    day, marks = MONDAY + 5, np.zeros(3 * MARKS, dtype=np.int64)
    days, values = [day], [100]
    marks[:MARKS] = 100, 100, 100, day, (day + 3) // 7, 100
    wide = np.array([-1.0, 2.0] * 3)
    for later, value in steps:
        day += later
        before = [k for k, each in enumerate(days) if each < day]
        week = [k for k, each in enumerate(days) if (each - MONDAY) // 7 < (day - MONDAY) // 7]
        days.append(day)
        values.append(value)
        opened = values[before[-1]] if before else 100
        began = values[week[-1]] if week else 100
        high = max(values)
        assert observe(marks.data, 0, 2 * MARKS, value, day, wide.data, 0)
        assert marks[2 * MARKS :].tolist() == [high, opened, began, day, (day - MONDAY) // 7 + 2_001, value]
        losses = [max(0.0, 1.0 - value / each) for each in (high, opened, began)]
        for k, loss in enumerate(losses):
            for low, high_end in bands(loss):
                bounds = np.array([9.0, 9.0, *wide])
                bounds[2 + 2 * k], bounds[3 + 2 * k] = low, high_end
                assert observe(marks.data, 0, 2 * MARKS, value, day, bounds.data, 2) is (low < loss < high_end)
        marks[:MARKS] = marks[2 * MARKS :]


@pytest.mark.parametrize("opening", [kernel.DAY_OPEN, kernel.WEEK_OPEN])
@pytest.mark.parametrize("value", [0, 1, -5])
def test_a_loss_since_an_opening_that_is_not_positive_is_left_to_the_engine(opening, value):
    marks, wide = np.zeros(2 * MARKS, dtype=np.int64), np.array([-inf, inf] * 3)
    marks[:MARKS] = 100, 100, 100, MONDAY, (MONDAY + 3) // 7, 100
    marks[opening] = value
    assert observe(marks.data, 0, MARKS, 90, MONDAY, wide.data, 0) is (value > 0)
