"""The common factor of linear limits and of groups in the gate's kernel, beside matrix products of exact numbers."""

from itertools import product

import numpy as np
import pytest
from quantd.trading.jit import interpreted

from quantd.daemon.engine.batches import gate_kernel as kernel
from tests.daemon.engine.batches.gate_arrays import Arrays, Floats, Found, stated, unpriced

SEEDS = range(400)
EQUITY_CODE, CASH_CODE = 3, 4
KINDS = (kernel.BY_SIDE, kernel.NET, kernel.TRADED, kernel.CASH, kernel.NOTHING)


@pytest.mark.parametrize("value", [np.nan, -1.0, 0.0, 0.25, 0.5, 0.75])
def test_the_least_factor_counts_and_the_first_of_equal_ones(value: float) -> None:
    book = Arrays(1)
    book.work[[kernel.FACTOR, kernel.FACTOR_CODE]] = 0.5, 1.0
    kernel.take(value, 2, book.work)
    least = 0.0 if not value > 0.0 else min(value, 0.5)
    assert book.work[[kernel.FACTOR, kernel.FACTOR_CODE]].tolist() == [least, 2.0 if least < 0.5 else 1.0]


@pytest.mark.parametrize("e", [0, 1])
@pytest.mark.parametrize("by_symbol", [False, True])
def test_a_linear_limit_gives_the_largest_factor_within_it_or_bars_what_adds_to_a_breach(
    e: int, by_symbol: bool
) -> None:
    cut = capped = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        found = _rows_as_by_products(rng, int(rng.integers(1, 4)), e, by_symbol)
        cut, capped = cut + (found.code != 0), capped + (found.ceiling is not None)
    assert min(cut, capped) > 50


def _rows_as_by_products(rng: np.random.Generator, n: int, e: int, by_symbol: bool) -> Found:
    book = stated(rng, n, e)
    if e == 1:
        unpriced(book)
    found = Found(book, e)
    buys = (book.part(kernel.ASKED) > 0.0).astype(int)
    own = np.arange(n) + n * buys
    book.codes[kernel.C_EQUITY] = EQUITY_CODE
    entries, rows = [], []
    for code in rng.permutation([EQUITY_CODE, 11, 12])[: int(rng.integers(1, 4))].tolist():
        kind = int(rng.choice(KINDS)) if code != EQUITY_CODE else kernel.NOTHING
        bound = rng.choice([0.0, 0.25, 0.5, 1.0], 2) * (1.0 if code != EQUITY_CODE else 4.0)
        loads = rng.choice([0.0, 0.5, 1.0, 1.0, 2.0], (2, 2 * n if by_symbol else 2))
        entries.append([code, kind, int(by_symbol), book.put([*bound, *loads.ravel()])])
        rows.append((code, kind, bound[e], loads if by_symbol else loads.repeat(n, axis=1)))
    book.codes[[kernel.C_ROWS, kernel.C_ROWS_AT]] = len(entries), book.put_codes(entries)
    stands = book.part(kernel.LOTS) * book.px if e == 0 else book.part(kernel.RANGE + 3)
    present = np.concatenate((-stands, stands)).clip(0.0)
    for code, kind, bound, loads in rows:
        most = {
            kernel.BY_SIDE: loads[0] @ book.outer(e), kernel.NET: loads[0] @ book.range(e),
            kernel.TRADED: found.state[kernel.TURNOVER], kernel.CASH: found.state[kernel.CASH_USED],
            kernel.NOTHING: 0.0,
        }[kind]  # fmt: skip
        growth = float(loads[e] @ book.added())
        if most + growth <= bound * found.left + found.near:
            continue
        if kind == kernel.BY_SIDE:
            breached = loads[0] @ present > bound * found.now + found.near
        else:
            breached = most > bound * found.state[kernel.BEFORE] + found.near
        if not breached:
            growth += bound * (found.equity - found.left)
            found.take((bound * found.equity + found.near - most) / growth if growth > 0.0 else np.inf, code)
        elif found.cap(np.where((loads[e][own] > 0.0) | (code == EQUITY_CODE), 0.0, np.inf), code):
            break
    status = interpreted(kernel.rows_factor)(
        n, e, book.work, book.market, book.numbers, book.codes, book.links, book.out
    )
    assert status == kernel.DONE
    found.check()
    return found


@pytest.mark.parametrize("e", [0, 1])
def test_names_ask_for_the_equity_at_which_the_largest_that_may_comply_weighs_its_bound(e: int) -> None:
    asked = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        book = stated(rng, n, e)
        book.work[kernel.HEAVY] = heavy = float(rng.random() < 0.8)
        weights = book.numbers[[kernel.N_WEIGHTS, kernel.N_WEIGHTS + 1]] = rng.choice([-1.0, 0.0, 0.125, 0.25, 0.5], 2)
        book.numbers[kernel.N_THRESHOLD] = 0.0625
        book.outer(e)[:] = rng.integers(0, 9, 2 * n)
        present = book.part(kernel.LOTS) * book.px if e == 0 else book.part(kernel.RANGE + 3)
        sides, need = np.concatenate((-present, present)), 0.0
        for weight in weights * book.state(e)[kernel.WIDER]:
            may = sides <= weight * book.state(e)[kernel.NOW] + book.work[kernel.TOLERANCE]
            if heavy and weight > 0.0 and may.any():
                need = max(need, book.outer(e)[may].max() / weight)
        given = n, e, book.work, book.market, book.numbers, book.codes, book.links, book.out
        assert interpreted(kernel.names_equity)(*given) == need
        asked += need > 0.0
    assert asked > 100


@pytest.mark.parametrize("e", [0, 1])
def test_pairs_ask_for_equity_beside_weights_or_for_links_that_are_not_known(e: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 4))
        book = stated(rng, n, e)
        book.work[[kernel.HEAVY, kernel.PAIRED]] = 1.0, 1.0
        book.numbers[[kernel.N_WEIGHTS, kernel.N_WEIGHTS + 1]] = rng.choice([-1.0, 0.25, 0.5], 2)
        book.numbers[[kernel.N_LEAST, kernel.N_JOINT]] = 0.0625, 0.25
        links = np.zeros((n, n))
        for a, b in product(range(n), repeat=2):
            if a < b:
                links[a, b] = links[b, a] = rng.choice([0.0, 2.0, 3.0], p=[0.3, 0.65, 0.05])
        book.links = links.ravel()
        given = n, e, book.work, book.market, book.numbers, book.codes, book.links, book.out
        pairs = interpreted(kernel.pair_equity)(n, e, *given[2:5], *given[6:])
        book.work[kernel.PAIRED] = 0.0
        alone = interpreted(kernel.names_equity)(*given)
        book.work[kernel.PAIRED] = 1.0
        both = interpreted(kernel.names_equity)(*given)
        assert both == (-1.0 if pairs < 0.0 else max(alone, pairs))
        book.codes[kernel.C_EQUITY] = EQUITY_CODE
        numbers = book.put([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
        row = book.put_codes([EQUITY_CODE, kernel.NOTHING, 0, numbers])
        book.codes[[kernel.C_ROWS, kernel.C_ROWS_AT]] = 1, row
        found = Found(book, e)
        status = interpreted(kernel.rows_factor)(
            n, e, book.work, book.market, book.numbers, book.codes, book.links, book.out
        )
        assert status == (kernel.NEED_LINKS if both < 0.0 else kernel.DONE)
        growth = found.equity - found.left
        if both > found.left + found.near and growth > 0.0:
            found.take((found.equity + found.near - both) / growth, EQUITY_CODE)
        found.check()


@pytest.mark.parametrize("e", [0, 1])
def test_a_group_gives_the_largest_factor_within_its_bound_or_bars_its_orders_if_it_is_beyond(e: int) -> None:
    cut = capped = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        found = _families_as_by_products(rng, int(rng.integers(1, 5)), e)
        cut, capped = cut + (found.code != 0), capped + (found.ceiling is not None)
    assert min(cut, capped) > 50


def _families_as_by_products(rng: np.random.Generator, n: int, e: int) -> Found:
    book = stated(rng, n, e)
    found, families = Found(book, e), []
    for code in range(21, 21 + int(rng.integers(1, 4))):
        groups = int(rng.integers(1, n + 1))
        labels, bounds = rng.integers(0, groups + 1, n), rng.choice([0.0, 0.25, 0.5, 1.0], 2)
        families.append((code, groups, labels, bounds[e], book.put_codes(labels), book.put(bounds)))
    entries = [
        [code, groups, max(np.count_nonzero(labels == g) for g in range(1, groups + 1)), *places]
        for code, groups, labels, _, *places in families
    ]
    book.codes[[kernel.C_FAMILIES, kernel.C_FAMILIES_AT]] = len(entries), book.put_codes(entries)
    stands = np.abs(book.part(kernel.LOTS) * book.px if e == 0 else book.part(kernel.RANGE + 3))
    groups_of = (
        (code, bound, labels == g) for code, groups, labels, bound, *_ in families for g in range(1, groups + 1)
    )
    for code, bound, inside in groups_of:
        used, growth = (float(sides.reshape(2, n)[:, inside].sum()) for sides in (book.outer(e), book.added()))
        if used + growth <= bound * found.left + found.near:
            continue
        if stands[inside].sum() > bound * found.now + found.near:
            if found.cap(np.where(inside, 0.0, np.inf), code):
                break
            continue
        growth += bound * (found.equity - found.left)
        found.take((bound * found.equity + found.near - used) / growth if growth > 0.0 else np.inf, code)
    interpreted(kernel.families_factor)(n, e, book.work, book.market, book.numbers, book.codes)
    found.check()
    return found


def settled(rng: np.random.Generator, n: int) -> tuple[Arrays, Floats]:
    """The state after all fills, with a row of cash, and its coefficients short and long."""
    book = stated(rng, n, 1)
    book.codes[[kernel.C_STATES, kernel.C_CASH]] = 2, CASH_CODE
    loads = rng.choice([-0.5, 0.0, 0.5, 1.0], 2)
    row = [CASH_CODE, kernel.CASH, 0, book.put([0.0, 0.0, 9.0, 9.0, *loads])]
    other = [1, kernel.NET, 0, book.put(np.full(6, 9.0))]
    book.codes[[kernel.C_ROWS_AT, kernel.C_CASH_ROW]] = book.put_codes([other, row]), 1
    return book, loads


def test_buys_share_the_cash_that_is_left_after_short_sales_were_cut() -> None:
    cut = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        book, (short, long) = settled(rng, n)
        added = book.added()
        spent, brought = long * added[n:].sum(), -short * added[:n].sum()
        room = max(brought - book.state(1)[kernel.CASH_USED] + book.work[kernel.TOLERANCE], 0.0)
        share = room / spent if spent > room else 1.0
        buys = (book.part(kernel.ASKED) > 0.0) & (book.part(kernel.SIZE) > 0.0)
        lots = np.where(buys, np.floor(book.part(kernel.SIZE) * share * (1.0 + 1e-12)), book.part(kernel.SIZE))
        reason = np.where(buys & (share < 1.0), CASH_CODE, 0)
        interpreted(kernel.settled_cash)(n, book.work, book.market, book.numbers, book.codes, book.reason)
        assert book.part(kernel.SIZE).tolist() == lots.tolist()
        assert book.reason.tolist() == reason.tolist()
        cut += bool(reason.any())
    assert cut > 50


def two_buys() -> Arrays:
    """Six and two lots of 1 are bought of an equity of 16, beside 2 in each symbol."""
    book = Arrays(2)
    book.px[:], book.part(kernel.SIZE)[:], book.part(kernel.ASKED)[:] = 1.0, [6.0, 2.0], [6.0, 2.0]
    book.stand(0, np.zeros(2))
    book.range(0)[:] = book.outer(0)[:] = 0.0, 0.0, 2.0, 2.0
    for place in (kernel.EQUITY, kernel.NOW, kernel.BEFORE):
        book.state(0)[place] = 16.0
    book.state(0)[[kernel.SLIP, kernel.WIDER, kernel.SHORT, kernel.LONG]] = 0.0, 1.0, 0.0, 4.0
    book.work[[kernel.FRESH, kernel.TOLERANCE, kernel.HEAVY, kernel.PAIRED]] = -1.0, 0.0, 0.0, 0.0
    book.codes[[kernel.C_STATES, kernel.C_EQUITY]] = 1, EQUITY_CODE
    return book


def factored(book: Arrays) -> int:
    none = np.empty((1, 1))
    given = 2, book.work, book.market, book.numbers, book.codes, none, none, none, book.links, none
    return int(interpreted(kernel.factor)(*given, book.reason, book.out))


def test_orders_of_a_basket_keep_the_same_share_in_whole_lots() -> None:
    for bound, factor in ((1.0, 1.0), (0.5, 0.5), (0.625, 0.75)):
        book = two_buys()
        row = [11, kernel.BY_SIDE, 0, book.put([bound, bound, 1.0, 1.0, 1.0, 1.0])]
        book.codes[[kernel.C_ROWS, kernel.C_ROWS_AT]] = 1, book.put_codes(row)
        assert factored(book) == kernel.DONE
        assert book.part(kernel.SIZE).tolist() == [np.floor(6.0 * factor), np.floor(2.0 * factor)]
        assert book.reason.tolist() == ([11, 11] if factor < 1.0 else [0, 0])
        # the reach is computed again only for other lots
        assert book.work[kernel.FRESH] == (-1.0 if factor < 1.0 else 0.0)


def test_a_basket_asks_for_links_that_its_equity_depends_on() -> None:
    book = two_buys()
    book.work[kernel.PAIRED], book.links[:] = 1.0, 3.0
    book.numbers[[kernel.N_LEAST, kernel.N_JOINT]] = 0.0, 0.25
    row = [EQUITY_CODE, kernel.NOTHING, 0, book.put([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])]
    book.codes[[kernel.C_ROWS, kernel.C_ROWS_AT]] = 1, book.put_codes(row)
    assert factored(book) == kernel.NEED_LINKS
    assert book.out.tolist() == [1.0, 1.0]


def test_no_limit_is_evaluated_where_no_order_adds() -> None:
    book = two_buys()
    book.part(kernel.SIZE)[:] = 0.0
    assert factored(book) == kernel.DONE
    assert np.isnan(book.work[kernel.FACTOR])
    assert book.work[kernel.FRESH] == -1.0
