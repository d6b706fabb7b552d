"""Protective levels and realised measures of the kernels of a batch are those of the engine."""

from itertools import product
from math import inf

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.rows_kernel import guarded, realise
from quantd.risk.limits.catalogue import Limits, Protective
from quantd.risk.monitor.realised import KEPT, LEAST, Realised
from quantd.risk.protective import guards, levels, touched
from tests.daemon.engine.batches.parts import books_with
from tests.daemon.engine.batches.test_round_kernel import Cells, N

UNIT = [1.0, 0.1, 2.5]
off = st.none() | st.sampled_from([0.05, 0.1, 0.5])


@given(
    st.lists(st.tuples(off, off), min_size=1, max_size=3),
    st.lists(st.integers(-2, 2), min_size=9, max_size=9),
    st.lists(st.sampled_from([0.4, 0.9, 0.95, 0.96, 1.0, 1.04, 1.05, 1.06, 1.1, 1.5, 1.7]), min_size=N, max_size=N),
)
def test_a_row_is_guarded_unless_a_close_is_at_a_protective_level_or_beyond(settings, parts, moved):
    """Each position was entered at 10; a close is so many times that. Closes within rounding of a level touch it."""
    agents = len(settings)
    on = guards([Protective(stop_loss=stop, take_profit=target) for stop, target in settings], always=True)
    assert on is not None
    lots = np.array(parts[: agents * N], dtype=np.float64).reshape(agents, N)
    cost = lots * UNIT * 10.0 * 1e6
    close = 10.0 * np.array(moved)
    now = levels(on, lots, cost, np.array(UNIT), np.full(lots.shape, np.nan))
    cells = Cells(agents)
    cells.number(place.F_LOT_SIZE, UNIT)
    cells.number(place.F_GUARDS, np.where(np.isnan(found := np.hstack([on.stop, on.target])), inf, found))
    house = np.full((1, N), 77)
    ledger = books_with(np.vstack([house, lots]), np.vstack([house, cost]))
    closes = np.array([1.0] * N + close.tolist())
    assert guarded(cells.ints.data, cells.floats.data, ledger, N, closes.data) is not touched(now, close)


@given(st.integers(1, 400), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_realised_measures_are_those_of_the_monitor(before, rows, seed):
    rng, book, books = np.random.default_rng(seed), 1, 2
    equity = np.round(1e12 * np.cumprod(1.0 + rng.normal(0.0002, 0.01, before + rows + 1))).astype(np.int64)
    engine = Realised()
    for value in equity[:before].tolist():
        engine.add(value, 10**12)
    cells = Cells(books - 1)
    cells.ints, cells.floats = np.resize(cells.ints, 20_000), np.resize(cells.floats, 20_000)
    own = np.full((books, KEPT + place.LONGEST), 9.0)
    known = engine.returns()
    own[book, KEPT - len(known) : KEPT] = known
    cells.add(place.A_REALISED, [999, len(known)])
    cells.number(place.F_REALISED, own)
    deposit = 10**11
    basis = engine.basis(10**12 + deposit)
    cells.number(place.F_BASIS, [7.0] * 3 + list(basis))
    bands = cells.number(place.F_BANDS, [[9.0] * 4, [0.0] * 4])
    limits = Limits(max_realised_volatility=0.2, min_sharpe=0.5)
    for row in range(rows + 1):
        value = int(equity[before + row]) + deposit
        engine.add(value, 10**12 + deposit)
        expected = engine.values(limits)
        assert bool(expected) == (len(engine.returns()) >= LEAST)
        measures = [expected.get(key, (0.0, 0.0))[0] for key in ("max_realised_volatility", "min_sharpe")]
        for edges in product((-1e-6, 1e-6), (1e-6, -1e-6), (-1e-6, 1e-6), (1e-6, -1e-6)):
            own_bands = np.repeat(measures, 2) + np.array(edges) * np.array([1.0, 1.0, 100.0, 100.0])
            cells.floats[bands + 4 : bands + 8] = own_bands
            inside = all(low < each < high for each, (low, high) in zip(measures, own_bands.reshape(2, 2), strict=True))
            assert realise(cells.ints.data, cells.floats.data, row, book, value) is (inside or not expected)
        cells.floats[cells.ints[place.F_BASIS] + 3 * book :][:3] = 1.0, value, 0.0
