"""Cuts of single orders in the gate's kernel, beside a search of all lots, in exact numbers."""

from itertools import product

import numpy as np
import pytest
from quantd.trading.jit import interpreted

from quantd.daemon.engine.batches import gate_kernel as kernel
from quantd.risk.limits.case import SLACK
from tests.daemon.engine.batches.gate_arrays import Arrays, Floats, drawn

SEEDS = range(200)
WEIGHT, HISTORY, CORRELATION = 7, 8, 9


def cut_to(book: Arrays, lots: Floats, code: int) -> Floats:
    """The reasons after some orders are cut to `lots` for one reason."""
    return np.where(lots < book.part(kernel.SIZE), code, book.reason)


@pytest.mark.parametrize("most", [np.nan, -1.0, 0.0, 0.9, 1.0, 2.0 - 1e-6, 2.0, 2.0 - SLACK / 4, 2.5, 3.0, np.inf])
def test_a_cap_leaves_the_whole_lots_within_it(most: float) -> None:
    for own in (0.0, 1.0, 2.0, 3.0):
        book = Arrays(1)
        book.part(kernel.SIZE)[:], book.work[kernel.FRESH] = own, 1.0
        interpreted(kernel.cap)(1, 0, most, 5, book.work, book.reason)
        lots = max([0.0, *(x for x in range(int(own) + 1) if x <= most * (1 + SLACK))])
        assert book.part(kernel.SIZE)[0] == lots
        assert book.reason[0] == (0 if own == 0.0 or own <= most else 5)
        assert book.work[kernel.FRESH] == (-1.0 if lots < own else 1.0)


def test_masks_and_rooms_cut_each_order_in_their_order_by_side() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        book = drawn(rng, n)
        book.work[kernel.FRESH] = 0.0
        lots, up, down = (rng.integers(low, 4, n) * 1.0 for low in (-3, 0, 0))
        book.part(kernel.LOTS)[:], book.part(kernel.UP)[:], book.part(kernel.DOWN)[:] = lots, up, down
        buys, size, reason = book.part(kernel.ASKED) > 0.0, book.part(kernel.SIZE).copy(), np.zeros(n)
        entries = []
        for code in range(20, 20 + int(rng.integers(1, 4))):
            mask = bool(rng.random() < 0.5)
            numbers = rng.choice([0.0, 0.0, 1.0, 3.0], 2 * n) if mask else rng.integers(-2, 9, 2 * n) * 0.5
            parts = rng.choice([0.0, 1.0, 2.0], 3)
            entries.append([kernel.MASK if mask else kernel.ROOM, code, *parts, book.put_market(numbers)])
            for k in range(n):
                own = numbers[n + k] if buys[k] else numbers[k]
                sign, (same, other) = (1.0, (up, down)) if buys[k] else (-1.0, (down, up))
                most = own - parts @ [sign * lots[k], same[k], other[k]]
                if mask:
                    most = 0.0 if own else np.inf
                if size[k] > max(most, 0.0):
                    size[k], reason[k] = np.floor(max(most, 0.0)), own if mask else code
        book.market[[kernel.M_STEPS, kernel.M_STEPS_AT]] = len(entries), book.put_market(entries)
        interpreted(kernel.caps)(n, book.work, book.market, book.numbers, book.codes, book.reason)
        assert book.part(kernel.SIZE).tolist() == size.tolist()
        assert book.reason.tolist() == reason.tolist()


def weighed(rng: np.random.Generator, n: int, states: int) -> Arrays:
    """A book with a limit of weights, of which some are beyond it."""
    book = drawn(rng, n)
    # what has no order needs no price
    book.px[book.part(kernel.SIZE) == 0.0] *= rng.choice([0.0, 1.0])
    book.codes[[kernel.C_STATES, kernel.C_WEIGHT]] = states, WEIGHT
    book.numbers[kernel.N_WEIGHT], book.work[kernel.TOLERANCE] = rng.choice([0.125, 0.25, 0.5]), rng.choice([0.0, 0.5])
    book.work[[kernel.FRESH, kernel.HEAVY]] = -1.0, 0.0
    for e in range(states):
        book.outer(e)[:] = rng.integers(0, 5, 2 * n)
        book.state(e)[[kernel.EQUITY, kernel.SLIP, kernel.WIDER]] = (
            float(rng.integers(8, 60)), rng.choice([0.0, 0.25]), rng.choice([1.0, 1.5]),
        )  # fmt: skip
    return book


def _most_of_weight(book: Arrays, states: int, k: int, others: bool) -> float:
    """By trial of each number of lots; with `others` at the equity that all other orders leave."""
    n, own = book.n, int(book.part(kernel.SIZE)[k])
    side = n + k if book.part(kernel.ASKED)[k] > 0.0 else k
    value = book.added()
    keeps = []
    for e in range(states):
        equity, slip, wider = book.state(e)[[kernel.EQUITY, kernel.SLIP, kernel.WIDER]]
        if others:
            equity -= slip * (value.sum() - value[side])
        bound = book.numbers[kernel.N_WEIGHT] * wider
        lots = np.arange(own + 1) * book.px[k]
        keeps.append(book.outer(e)[side] + lots <= bound * (equity - slip * lots) + book.work[kernel.TOLERANCE])
    return max([0.0, *np.flatnonzero(np.all(keeps, axis=0))])


@pytest.mark.parametrize("states", [1, 2])
def test_a_position_gets_the_most_lots_that_weigh_no_more_than_permitted(states: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        book = weighed(rng, n, states)
        lots = np.array([_most_of_weight(book, states, k, others=False) for k in range(n)])
        reason = cut_to(book, lots, WEIGHT)
        full = [book.outer(e) + book.added() for e in range(states)]
        heavy = False
        for e in range(states):
            equity, slip, wider = book.state(e)[[kernel.EQUITY, kernel.SLIP, kernel.WIDER]]
            left = equity - slip * book.added().sum()
            heavy |= bool(full[e].max() > book.numbers[kernel.N_WEIGHT] * wider * left + book.work[kernel.TOLERANCE])
        interpreted(kernel.weigh)(n, book.work, book.market, book.numbers, book.codes, book.reason)
        assert book.part(kernel.SIZE).tolist() == lots.tolist()
        assert book.reason.tolist() == reason.tolist()
        assert book.work[kernel.HEAVY] == heavy


@pytest.mark.parametrize("states", [1, 2])
def test_a_weight_is_checked_again_at_the_equity_that_all_orders_leave(states: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        book = weighed(rng, 1, states) if seed % 2 else weighed(rng, 3, states)
        # a cut is not seen by the order before it
        expected, reason = book.part(kernel.SIZE).copy(), np.zeros(book.n)
        trial = [_most_of_weight(book, states, k, others=True) for k in range(book.n)]
        for k, lots in enumerate(trial):
            if lots < expected[k]:
                expected[k], reason[k] = lots, WEIGHT
        interpreted(kernel.weigh_again)(book.n, book.work, book.market, book.numbers, book.codes, book.reason)
        assert book.part(kernel.SIZE).tolist() == expected.tolist()
        assert book.reason.tolist() == reason.tolist()


def test_a_count_keeps_the_largest_orders_beside_the_reductions() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n, counts = int(rng.integers(1, 8)), int(rng.integers(1, 4))
        book = drawn(rng, n, counts)
        names, rooms = rng.permutation(n), rng.choice([-1.0, 0.0, 1.0, 2.0, 3.0, 5.0, np.nan], counts)
        reductions = float(rng.integers(0, 3))
        book.work[kernel.BASE + kernel.ROOMS * n :], book.work[kernel.REDUCTIONS] = rooms, reductions
        book.work[kernel.FRESH] = 0.0
        book.codes[kernel.C_NAMES_AT] = book.put_codes(names)
        book.codes[[kernel.C_COUNTS, kernel.C_COUNTS_AT]] = counts, book.put_codes(np.arange(20, 20 + counts))
        size, reason = book.part(kernel.SIZE).copy(), np.zeros(n)
        value = (size * book.px).tolist()
        for c, room in enumerate(rooms):
            order = sorted(np.flatnonzero(size).tolist(), key=lambda k: (-value[k], names[k]))
            for k in order[0 if np.isnan(room) else int(max(room - reductions, 0.0)) :]:
                size[k], reason[k] = 0.0, 20 + c
        left = interpreted(kernel.count)(n, book.work, book.market, book.codes, book.reason)
        assert book.part(kernel.SIZE).tolist() == size.tolist()
        assert book.reason.tolist() == reason.tolist()
        assert left == np.count_nonzero(size)
        assert book.work[kernel.FRESH] == (-1.0 if reason.any() else 0.0)


def test_symbols_with_too_few_returns_are_refused_and_all_where_the_book_has_one() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        book = drawn(rng, n)
        book.codes[kernel.C_HISTORY], book.work[kernel.FRESH] = HISTORY, 0.0
        carried = rng.choice([0.0, 0.0, 0.0, 1.0, -1.0], (3, n))
        book.part(kernel.LOTS)[:], book.part(kernel.UP)[:], book.part(kernel.DOWN)[:] = carried
        rows, short = float(rng.choice([-1.0, 0.0, 1.0])), rng.random(n) < 0.4
        book.market[: kernel.HEAD] = 1.0
        known = bool(rng.random() < 0.8)
        book.market[[kernel.M_ROWS, kernel.M_SHORT_AT]] = rows, book.put_market(short * 1.0) if known else 0.0
        short &= known
        refused = short | (rows < 0.0) | bool((short & carried.any(axis=0)).any())
        lots = np.where(refused, 0.0, book.part(kernel.SIZE))
        reason = cut_to(book, lots, HISTORY)
        left = interpreted(kernel.history)(n, book.work, book.market, book.codes, book.reason)
        assert book.part(kernel.SIZE).tolist() == lots.tolist()
        assert book.reason.tolist() == reason.tolist()
        assert left == np.count_nonzero(lots)


def paired(rng: np.random.Generator, n: int, e: int) -> tuple[Arrays, Floats]:
    """A book with linked pairs, and the links: 1 moves alike, -1 against, 2 either way, 3 is not known."""
    book, names = drawn(rng, n), rng.permutation(n)
    unit = float(rng.choice([0.125, 1.0]))
    book.px[:] *= np.where(book.part(kernel.SIZE) > 0.0, unit, np.nan)
    book.outer(e)[:] = rng.integers(0, 5, 2 * n) * unit
    equity, slip = float(rng.choice([8, 16, 17, 24, 32, 40])) * unit, float(rng.choice([0.0, 0.25]))
    book.state(e)[[kernel.EQUITY, kernel.SLIP, kernel.WIDER]] = equity, slip, rng.choice([1.0, 1.0, 1.5])
    book.numbers[[kernel.N_LEAST, kernel.N_JOINT]] = rng.choice([0.0, 0.0625, 0.125]), rng.choice([0.25, 0.5])
    book.work[[kernel.TOLERANCE, kernel.FRESH, kernel.PAIRED]] = rng.choice([0.0, 0.5]) * unit, -1.0, 0.0
    book.codes[kernel.C_CORRELATION], book.codes[kernel.C_NAMES_AT] = CORRELATION, book.put_codes(names)
    links = np.zeros((n, n))
    for a, b in product(range(n), repeat=2):
        if a < b:
            links[a, b] = links[b, a] = rng.choice([0.0, 1.0, -1.0, 2.0, 3.0], p=[0.3, 0.35, 0.3, 0.03, 0.02])
    # a symbol makes no pair with itself
    np.fill_diagonal(links, 2.0)
    book.links = links.ravel()
    return book, links


@pytest.mark.parametrize("e", [0, 1])
@pytest.mark.parametrize("final", [0, 1])
def test_pairs_get_the_most_lots_in_the_order_of_their_values(e: int, final: int) -> None:
    cut = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        book, links = paired(rng, n, e)
        book.market[kernel.M_KNOWN] = rng.choice([7.0, 4.0, 3.0], p=[0.5, 0.35, 0.15])
        cut += _clipped_as_by_trial(book, links, e, final)
    assert cut > 100


def _clipped_as_by_trial(book: Arrays, links: Floats, e: int, final: int) -> bool:
    n, size, px = book.n, book.part(kernel.SIZE).copy(), book.px
    wider, slip, equity = book.state(e)[[kernel.WIDER, kernel.SLIP, kernel.EQUITY]]
    least, joint = book.numbers[[kernel.N_LEAST, kernel.N_JOINT]] * wider
    near, names = book.work[kernel.TOLERANCE], book.codes[book.codes[kernel.C_NAMES_AT] :]
    full, low = book.outer(e) + book.added(), equity - slip * book.added().sum()

    def linked(one: int, other: int) -> bool:
        link = links[one % n, other % n]
        return bool(link == 2.0 or link == (1.0 if one // n == other // n else -1.0))

    def complies(one: float, other: float, equity: float) -> bool:
        return min(one, other) <= least * equity + near or one + other <= joint * equity + near

    seen = [side for side in range(2 * n) if full[side] > least * low + near]
    asked, beyond, needed = sorted(full[seen])[-2:], False, False
    if len(seen) > 1 and sum(asked) > joint * low + near:
        pairs = [(a, b) for a, b in product(seen, seen) if a % n != b % n]
        needed = int(book.market[kernel.M_KNOWN]) < 4 or any(links[a % n, b % n] == 3.0 for a, b in pairs)
        beyond = any(linked(a, b) and not complies(full[a], full[b], low) for a, b in pairs)
    reason, held = np.zeros(n), book.outer(e).copy()
    equity = low if final else equity
    slip = 0.0 if final else slip
    if beyond and not needed:
        for k in sorted(np.flatnonzero(size).tolist(), key=lambda k: (-size[k] * px[k], names[k])):
            side = n + k if book.part(kernel.ASKED)[k] > 0.0 else k
            lots = max([0.0, *(
                x for x in range(int(size[k]) + 1)
                if all(complies(held[side] + x * px[k], held[b], equity - slip * x * px[k])
                       for b in range(2 * n) if linked(side, b) and b % n != k)
            )])  # fmt: skip
            reason[k] = CORRELATION if lots < size[k] else 0
            size[k] = lots
            held[side] += lots * px[k]
            equity -= slip * lots * px[k]
    status = interpreted(kernel.clip)(
        n, e, final, book.work, book.market, book.numbers, book.codes, book.links, book.reason, book.out
    )
    assert status == (kernel.NEED_LINKS if needed else kernel.DONE)
    if needed:
        assert book.out.tolist() == [float(k in {side % n for side in seen}) for k in range(n)]
    assert book.part(kernel.SIZE).tolist() == size.tolist()
    assert book.reason.tolist() == reason.tolist()
    assert book.work[kernel.PAIRED] == (beyond and not needed)
    assert book.work[kernel.FRESH] == (-1.0 if reason.any() else float(e))
    return bool(reason.any())
