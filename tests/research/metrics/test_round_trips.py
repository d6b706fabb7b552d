"""Round trips against a queue of lots, splits and changes of side by hand, and orders that must not matter."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.research.metrics.round_trips import Fills, HitRate, RoundTrip, Split, hit_rates, round_trips
from tests.support.examples import examples

SAMPLES = np.arange(0, 1000, 10)
NAMES = ("AAA", "BBB", "CCC")


def fills(*rows: tuple[int, int, float, float, float]) -> Fills:
    ts, symbol, quantity, price, fee = zip(*rows, strict=True)
    return Fills(np.array(ts), np.array(symbol), np.array(quantity), np.array(price), np.array(fee))


def queue(rows: list[tuple[int, int, int, float, float]], unit: float) -> list[tuple[object, ...]]:
    """Match with one queue of lots per symbol, fill by fill. Quantities are whole multiples of the unit."""
    lots: dict[int, deque[list[float]]] = {}
    trips = []
    for ts, symbol, quantity, price, fee in sorted(rows, key=lambda row: row[0]):
        open_lots, remainder = lots.setdefault(symbol, deque()), quantity
        while remainder and open_lots and open_lots[0][1] * remainder < 0:
            lot = open_lots[0]
            size = min(abs(remainder), abs(lot[1]))
            sign = 1.0 if lot[1] > 0 else -1.0
            fees = lot[3] * size + fee / abs(quantity) * size
            profit = sign * size * unit * (price - lot[2]) - fees
            trips.append((NAMES[symbol], sign, size * unit, lot[0], ts, fees, profit))
            lot[1] -= sign * size
            remainder += sign * size
            if lot[1] == 0.0:
                open_lots.popleft()
        if remainder:
            open_lots.append([ts, remainder, price, fee / abs(quantity)])
    return sorted(trips, key=by_times)


def by_times(row: tuple[object, ...]) -> tuple[object, ...]:
    return row[0], row[3], row[4]


def as_rows(trips: tuple[RoundTrip, ...]) -> list[tuple[object, ...]]:
    sides = {"long": 1.0, "short": -1.0}
    rows = [(t.symbol, sides[t.side], t.quantity, t.entry_ts, t.exit_ts, t.fees, t.profit) for t in trips]
    return sorted(rows, key=by_times)


QUANTITY = st.integers(-8, 8).filter(bool)
ROWS = st.lists(
    st.tuples(st.integers(0, 999), st.integers(0, 2), QUANTITY, st.floats(1.0, 500.0), st.floats(0.0, 2.0)),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[0],
)


@given(rows=ROWS, unit=st.sampled_from([1.0, 0.125, 0.1, 0.003, 1e6]))
@settings(max_examples=examples(300), deadline=None)
def test_trips_are_those_of_a_queue_of_lots(rows: list[tuple[int, int, int, float, float]], unit: float) -> None:
    scaled = [(ts, symbol, count * unit, *terms) for ts, symbol, count, *terms in rows]
    trips, expected = as_rows(round_trips(fills(*scaled), NAMES, SAMPLES)), queue(rows, unit)
    assert [row[:2] + row[3:5] for row in trips] == [row[:2] + row[3:5] for row in expected]
    for trip, other in zip(trips, expected, strict=True):
        assert (trip[2], *trip[5:]) == pytest.approx((other[2], *other[5:]), rel=1e-9, abs=1e-9)


@given(rows=ROWS, seed=st.integers(0, 99))
@settings(max_examples=examples(100), deadline=None)
def test_neither_the_order_of_symbols_nor_of_rows_changes_trips(
    rows: list[tuple[int, int, float, float, float]], seed: int
) -> None:
    draw = np.random.default_rng(seed)
    to = draw.permutation(3)
    renamed = [(ts, int(to[symbol]), *terms) for ts, symbol, *terms in rows]
    shuffled = [renamed[i] for i in draw.permutation(len(rows))]
    names = tuple(NAMES[int(np.flatnonzero(to == k)[0])] for k in range(3))
    assert round_trips(fills(*shuffled), names, SAMPLES) == round_trips(fills(*rows), NAMES, SAMPLES)


def test_a_long_and_a_short_trip_by_hand() -> None:
    """Buys 10 at 100 and 10 at 110, sells 25 at 120 (5 short), buys 2 back at 90: 3 stay open."""
    rows = ((5, 0, 10.0, 100.0, 1.0), (15, 0, 10.0, 110.0, 2.0), (30, 0, -25.0, 120.0, 5.0), (47, 0, 2.0, 90.0, 0.4))
    assert round_trips(fills(*rows), NAMES, SAMPLES) == (
        RoundTrip("AAA", "long", 10.0, 5, 100.0, 30, 120.0, 3.0, 197.0, 2),
        RoundTrip("AAA", "long", 10.0, 15, 110.0, 30, 120.0, 4.0, 96.0, 1),
        RoundTrip("AAA", "short", 2.0, 30, 120.0, 47, 90.0, 0.8, 59.2, 2),
    )


def test_a_split_between_entry_and_exit_changes_the_entry_price() -> None:
    """10 at 100 become 20 at 50 at time 20. 8 are sold at 60 before 30; the rest after another split of 1 for 4."""
    rows = ((0, 1, 10.0, 100.0, 2.0), (25, 1, -8.0, 60.0, 0.0), (40, 1, -3.0, 200.0, 0.0))
    splits = (Split(20, 1, 2.0), Split(30, 1, 0.25), Split(20, 0, 7.0))
    first, second = round_trips(fills(*rows), NAMES, SAMPLES, splits)
    assert first == RoundTrip("BBB", "long", 8.0, 0, 50.0, 25, 60.0, 0.8, 79.2, 3)
    assert second == RoundTrip("BBB", "long", 3.0, 0, 200.0, 40, 200.0, pytest.approx(1.2), pytest.approx(-1.2), 4)


def test_a_fill_at_the_time_of_a_split_is_in_new_units() -> None:
    rows = ((20, 0, 10.0, 50.0, 0.0), (30, 0, -10.0, 60.0, 0.0))
    (trip,) = round_trips(fills(*rows), NAMES, SAMPLES, [Split(20, 0, 2.0)])
    assert (trip.quantity, trip.entry_price, trip.profit) == (10.0, 50.0, 100.0)


def test_fractions_that_sum_to_zero_leave_no_trip_after_many_fills() -> None:
    sizes = np.random.default_rng(7).integers(1, 1000, 3000) * 0.001
    both = np.column_stack((sizes, -sizes)).reshape(-1).tolist()
    rows = [(k, 0, size, 10.0, 0.0) for k, size in enumerate(both)]
    trips = round_trips(fills(*rows), NAMES, SAMPLES)
    assert [trip.quantity for trip in trips] == pytest.approx(sizes.tolist(), rel=1e-6)


def test_hit_rates_by_symbol() -> None:
    def trip(symbol: str, profit: float) -> RoundTrip:
        return RoundTrip(symbol, "long", 1.0, 0, 1.0, 1, 1.0, 0.0, profit, 1)

    trips = (trip("BBB", 5.0), trip("AAA", -1.0), trip("BBB", -2.0), trip("BBB", 1.0), trip("BBB", 0.0))
    assert hit_rates(trips) == (HitRate("AAA", 1, 0, 0.0, -1.0), HitRate("BBB", 4, 2, 0.5, 4.0))
    assert hit_rates(reversed(trips)) == hit_rates(trips)
    assert hit_rates(()) == ()
