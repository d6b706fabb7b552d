"""The common factor of losses in scenarios and of quadratic forms in the gate's kernel, beside their definitions."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from quantd.trading.jit import interpreted

from quantd.daemon.engine.batches import gate_kernel as kernel
from tests.daemon.engine.batches.gate_arrays import Arrays, Floats, Found, one_order, stated, unpriced

SEEDS = range(300)


# ---- losses of scenarios --------------------------------------------------------------------------------------------


def worst(returns: Floats, wide: Floats) -> Floats:
    """The worst loss in each scenario of exposures in a range [-lowest | highest]."""
    n = len(returns)
    return np.maximum(returns * wide[:n, None], -returns * wide[n:, None]).sum(axis=0)


def measured(losses: Floats, m: int, mean: int) -> float:
    """The m-th worst loss, or the mean of the m worst."""
    tail = np.sort(losses)[-m:]
    return float(tail.mean() if mean else tail[0])


def largest_factor(base: Floats, adding: Floats, m: int, mean: int, target: float, fall: float) -> float:
    """The largest factor f with measure(base + f adding) <= target - f fall: a mean up to 1, by trial of every set of m
    scenarios, of which the worst is the mean."""
    if not mean:
        room, growth = target - base, adding + fall
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(growth > 0.0, room / growth, np.where(room >= 0.0, np.inf, -np.inf))
        return float(np.sort(each)[m - 1])
    most = 1.0
    for chosen in map(list, combinations(range(len(base)), m)):
        room, growth = target - base[chosen].mean(), adding[chosen].mean() + fall
        if growth > 0.0:
            most = min(most, float(room / growth))
        elif room < 0.0:
            return 0.0
    return max(most, 0.0)


@pytest.mark.parametrize("mean", [0, 1])
def test_the_factor_of_a_tail_is_the_largest_within_its_bound(mean: int) -> None:
    inside = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        scenarios = int(rng.integers(1, 8))
        m = int(rng.choice([k for k in (1, 2, 4) if k <= scenarios]))
        base, adding = (rng.integers(low, 6, scenarios).astype(np.float64) for low in (-3, 0))
        target, fall = float(rng.integers(0, 8)), float(rng.choice([0.0, 0.25, 1.0]))
        both, spare = np.full(scenarios, np.nan), np.full(scenarios, np.nan)
        found = kernel._tail_factor(mean, m, target, fall, base, adding, both, spare)
        expected = largest_factor(base, adding, m, mean, target, fall)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
        inside += 0.0 < expected < 1.0
    assert inside > 50


@pytest.mark.parametrize("e", [0, 1])
def test_a_tail_gives_the_largest_factor_within_its_bound_or_bars_what_adds_to_a_breach(e: int) -> None:
    cut = capped = asked = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        status, found = _tails_as_by_hand(rng, int(rng.integers(1, 4)), e)
        asked += status != kernel.DONE
        cut, capped = cut + (found.code != 0), capped + (found.ceiling is not None)
    assert min(cut, capped, asked) > 10


def _tails_as_by_hand(rng: np.random.Generator, n: int, e: int) -> tuple[int, Found]:
    book = stated(rng, n, e)
    if e == 1:
        unpriced(book)
    found = Found(book, e)
    stored = rng.integers(-4, 5, (2, n, 12)).astype(np.float64) / 8.0
    book.market[kernel.M_KNOWN] = rng.choice([1.0, 7.0, 6.0], p=[0.5, 0.4, 0.1])
    sources = []
    for first, scenarios, fixed in ((0, 4, 0), (4, 5, 0), (2, 6, 1)):
        statistics = rng.choice([0.0, 0.125, 9.0], 2 * n, p=[0.2, 0.2, 0.6])
        sources.append((first, scenarios, fixed, statistics, book.put_market(statistics)))
    entries, own, tails = [], [], []
    for code in range(31, 31 + int(rng.integers(1, 5))):
        first, scenarios, fixed, statistics, place = sources[int(rng.integers(3))]
        m, mean, beyond = int(rng.choice([1, 2, 4])), int(rng.integers(2)), float(rng.choice([0.5, 1.0]))
        bound, scale = rng.choice([0.0625, 0.125, 0.25, 0.5]), rng.choice([1.0, 2.0])
        entries.append([code, mean, book.put([bound, scale])])
        own.append([place, fixed, first, scenarios, m, beyond])
        returns = stored[fixed][:, first : first + scenarios]
        limit = bound * book.state(e)[kernel.WIDER] / scale
        tails.append((code, mean, m, limit, beyond, statistics, returns, fixed))
    book.codes[[kernel.C_TAILS, kernel.C_TAILS_AT]] = len(entries), book.put_codes(entries)
    book.market[kernel.M_TAILS_AT] = book.put_market(own)
    given = n, e, book.work, book.market, book.numbers, book.codes, stored[0], stored[1], np.full((6, 12), np.nan)
    expected = _tails_by_hand(book, e, found, tails)
    assert interpreted(kernel.tails_factor)(*given) == expected
    if expected == kernel.DONE:
        found.check()
    return expected, found


def _tails_by_hand(book: Arrays, e: int, found: Found, tails: list[tuple[Any, ...]]) -> int:
    n, size = book.n, book.part(kernel.SIZE)
    stands = book.part(kernel.LOTS) * book.px if e == 0 else book.part(kernel.RANGE + 3)
    full, added = (book.outer(e) + book.added()).reshape(2, n).sum(axis=0), book.added()
    for code, mean, m, bound, beyond, statistics, returns, fixed in tails:
        if beyond * (statistics[:n] @ full) + statistics[n:] @ full <= bound * found.left:
            continue
        if not fixed and not int(book.market[kernel.M_KNOWN]) & 1:
            return kernel.NEED_RETURNS
        base, target = worst(returns, book.range(e)), bound * found.left + found.near
        if measured(worst(returns, book.range(e) + added), m, mean) <= target:
            continue
        adding, present = worst(returns, added), measured(worst(returns, np.concatenate((-stands, stands))), m, mean)
        if present <= bound * found.now + found.near:
            target, fall = bound * found.equity + found.near, bound * (found.equity - found.left)
            found.take(largest_factor(base, adding, m, mean, target, fall), code)
            continue
        present += found.near
        ceiling = np.full(n, np.inf)
        for k in np.flatnonzero(size):
            own = np.where(np.arange(2 * n) % n == k, added, 0.0)
            one = worst(returns, book.range(e) + own / size[k])
            alone = largest_factor(base, worst(returns, own), m, mean, present, 0.0)
            ceiling[k] = max(alone * size[k], 0.0) if measured(one, m, mean) <= present else 0.0
        if found.cap(np.where(np.floor(ceiling * (1.0 + 1e-12)) < size, ceiling, np.inf), code):
            found.ceiling = np.where(size > 0.0, ceiling, np.inf)
            return kernel.DONE
        found.take(largest_factor(base, adding, m, mean, present, 0.0), code)
    return kernel.DONE


def one_symbol(statistics: list[int], bounds: list[float]) -> tuple[Any, ...]:
    """Nothing is held, and 4 are bought of an equity of 16, with one tail by each of these statistics. It loses 2."""
    book = one_order(4.0)
    places = [book.put_market([0.25, 0.25]), book.put_market([0.25, 0.25])]
    own = [[places[k], 0.0, 0.0, 2.0, 1.0, 1.0] for k in statistics]
    tails = [[31 + t, t % 2, book.put([bound, 1.0])] for t, bound in enumerate(bounds)]
    book.codes[[kernel.C_TAILS, kernel.C_TAILS_AT]] = len(tails), book.put_codes(tails)
    book.market[kernel.M_TAILS_AT], book.market[kernel.M_KNOWN] = book.put_market(own), 1.0
    returns = np.array([[-0.5, 0.25]])
    return 1, 0, book.work, book.market, book.numbers, book.codes, returns, returns, np.empty((6, 2))


@pytest.mark.parametrize(
    ("statistics", "parts"),
    [([0, 0, 0], [0, 1, 2]), ([0, 1, 1], [0, 1, 2, 0, 1, 2]), ([0, 1, 0], [0, 1, 2, 0, 1, 2, 0, 1, 2])],
)
def test_losses_in_the_same_scenarios_are_computed_once(
    monkeypatch: pytest.MonkeyPatch, statistics: list[int], parts: list[int]
) -> None:
    computed, book_losses = [], kernel.book_losses

    def counted(n: int, e: int, part: int, *rest: Any) -> None:
        computed.append(part)
        book_losses(n, e, part, *rest)

    monkeypatch.setattr(kernel, "book_losses", counted)
    given = one_symbol(statistics, [0.0625, 0.03125, 0.015625])
    assert interpreted(kernel.tails_factor)(*given) == kernel.DONE
    assert given[2][kernel.FACTOR] == 0.125
    assert computed == parts


@pytest.mark.parametrize(("bound", "status"), [(0.125, kernel.DONE), (np.nextafter(0.125, 0.0), kernel.NEED_RETURNS)])
def test_returns_are_asked_for_where_the_reach_of_losses_exceeds_the_bound_by_a_bit(bound: float, status: int) -> None:
    """The reach is a quarter of 4 by deviations and as much by means."""
    given = one_symbol([0], [bound])
    given[3][kernel.M_KNOWN] = 0.0
    assert interpreted(kernel.tails_factor)(*given) == status


@pytest.mark.parametrize(("bound", "status"), [(0.125, kernel.DONE), (np.nextafter(0.125, 0.0), kernel.NEED_MATRICES)])
def test_a_matrix_is_asked_for_where_the_sum_of_deviations_exceeds_the_bound_by_a_bit(
    bound: float, status: int
) -> None:
    """The sum is a half of 4."""
    n, e, work, market, numbers, codes, *_ = one_symbol([0], [bound])
    codes[[kernel.C_FORMS, kernel.C_FORMS_AT]] = 1, len(codes)
    codes, numbers = np.concatenate((codes, [41, 0, len(numbers)])), np.concatenate((numbers, [bound, 9.0]))
    market[kernel.M_KNOWN], market[kernel.M_FORMS_AT] = 0.0, len(market) + 1
    market = np.concatenate((market, [0.5, len(market), 0.0]))
    assert interpreted(kernel.forms_factor)(n, e, work, market, numbers, codes, np.eye(1), np.empty((6, 1))) == status


# ---- quadratic forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("e", [0, 1])
def test_a_form_gives_the_largest_factor_within_its_bound_or_bars_what_adds_to_a_breach(e: int) -> None:
    cut = capped = asked = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        status, found = _forms_as_by_hand(rng, int(rng.integers(1, 4)), e)
        asked += status != kernel.DONE
        cut, capped = cut + (found.code != 0), capped + (found.ceiling is not None)
    assert min(cut, capped, asked) > 10


def _forms_as_by_hand(rng: np.random.Generator, n: int, e: int) -> tuple[int, Found]:
    """Each form is either the sum of squares, or a matrix with deviations that its shortcut reads."""
    book = stated(rng, n, e)
    if e == 1:
        unpriced(book)
    found = Found(book, e)
    book.market[kernel.M_KNOWN] = rng.choice([2.0, 7.0, 5.0], p=[0.5, 0.4, 0.1])
    factors = rng.integers(-2, 3, (2, 3, n)) * (rng.random((2, 3, n)) < 0.8) * 0.25
    # rounding may leave a form negative
    matrices = np.concatenate([each.T @ each - rng.choice([0.0, 0.0, 0.25]) for each in factors])
    entries, own, forms = [], [], []
    for code in range(41, 41 + int(rng.integers(1, 4))):
        bounds, which = rng.choice([0.0, 0.125, 0.25, 0.5], 2), int(rng.integers(-1, 2))
        deviations = rng.choice([0.0, 0.25, 1.0, 9.0], n)
        entries.append([code, 0, book.put(bounds)])
        own.append([0, -1] if which < 0 else [book.put_market(deviations), which * n])
        matrix = np.eye(n) if which < 0 else matrices[which * n :][:n]
        forms.append((code, bounds[e], matrix, None if which < 0 else deviations))
    book.codes[[kernel.C_FORMS, kernel.C_FORMS_AT]] = len(entries), book.put_codes(entries)
    book.market[kernel.M_FORMS_AT] = book.put_market(own)
    expected = _forms_by_hand(book, e, found, forms)
    given = n, e, book.work, book.market, book.numbers, book.codes, matrices, np.full((6, n + 1), np.nan)
    assert interpreted(kernel.forms_factor)(*given) == expected
    if expected == kernel.DONE:
        found.check()
    return expected, found


def _forms_by_hand(book: Arrays, e: int, found: Found, forms: list[tuple[Any, ...]]) -> int:
    n, added = book.n, book.added()
    stands = book.part(kernel.LOTS) * book.px if e == 0 else book.part(kernel.RANGE + 3)
    outer, wide = book.outer(e), book.range(e)
    # the smallest exposure on a side whatever fills; an order on the other side may take it to nothing
    against = np.roll(added, n) > 0.0
    inner = np.where(against, 0.0, np.maximum(-np.roll(wide, n), 0.0))
    for code, bound, matrix, deviations in forms:
        allowed = bound * found.left + found.near
        if deviations is not None:
            if deviations @ (outer + added).reshape(2, n).sum(axis=0) <= allowed:
                continue
            if not int(book.market[kernel.M_KNOWN]) & 2:
                return kernel.NEED_MATRICES
        like, unlike = matrix.clip(0.0), (-matrix).clip(0.0)
        most, least = np.block([[like, unlike], [unlike, like]]), np.block([[unlike, like], [like, unlike]])
        kept = np.zeros(2 * n) if deviations is None else inner
        base = outer @ most @ outer - kept @ least @ kept
        cross, square = added @ most @ outer, added @ most @ added
        if allowed >= 0.0 and base + 2.0 * cross + square <= allowed**2:
            continue
        if np.sqrt(max(stands @ matrix @ stands, 0.0)) - bound * found.now > found.near:
            if found.cap(np.where(matrix.diagonal() > 0.0, 0.0, np.inf), code):
                return kernel.DONE
            continue
        target, fall = bound * found.equity + found.near, bound * (found.equity - found.left)
        found.take(_largest_root(base, cross, square, target, fall), code)
    return kernel.DONE


def _largest_root(base: float, cross: float, square: float, target: float, fall: float) -> float:
    """The largest f with base + 2 f cross + f^2 square <= (target - f fall)^2, halved between 0 and 1."""

    def complies(f: float) -> bool:
        return target - f * fall >= 0.0 and base + 2.0 * f * cross + f * f * square <= (target - f * fall) ** 2

    low, high = 0.0, 1.0
    if not complies(low):
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if complies(middle) else (low, middle)
    return high
