"""Shortcuts of the gate's kernel, by the path taken: what surely complies is not computed."""

from typing import Any

import numpy as np
import pytest
from quantd.trading.jit import interpreted

from quantd.daemon.engine.batches import gate_kernel as kernel
from tests.daemon.engine.batches.gate_arrays import one_order


@pytest.mark.parametrize(("bound", "summed"), [(0.5, False), (np.nextafter(0.5, 0.0), True)])
def test_no_group_is_added_up_where_both_sides_of_the_heaviest_in_every_place_comply(
    bound: float, summed: bool
) -> None:
    book = one_order(4.0)
    family = [21, 1, 1, book.put_codes([1]), book.put([bound, 9.0])]
    book.codes[[kernel.C_FAMILIES, kernel.C_FAMILIES_AT]] = 1, book.put_codes(family)
    interpreted(kernel.families_factor)(1, 0, book.work, book.market, book.numbers, book.codes)
    assert np.isfinite(book.part(kernel.HELD, 2)).all() == summed
    assert book.work[kernel.FACTOR] == 1.0


@pytest.mark.parametrize(("joint", "summed"), [(0.5, False), (np.nextafter(0.5, 0.0), True)])
def test_no_pair_is_looked_for_where_the_heaviest_twice_complies(joint: float, summed: bool) -> None:
    book = one_order(4.0)
    book.numbers[[kernel.N_LEAST, kernel.N_JOINT]] = 0.0, joint
    status = interpreted(kernel.clip)(
        1, 0, 1, book.work, book.market, book.numbers, book.codes, book.links, book.reason, book.out
    )
    assert status == kernel.DONE
    assert np.isfinite(book.part(kernel.SIDES, 2)).any() == summed


@pytest.mark.parametrize(("bound", "summed"), [(0.03125, False), (np.nextafter(0.03125, 0.0), True)])
def test_no_square_is_added_up_where_the_heaviest_times_the_sum_complies(bound: float, summed: bool) -> None:
    book = one_order(0.5)
    book.codes[[kernel.C_FORMS, kernel.C_FORMS_AT]] = 1, book.put_codes([41, 0, book.put([bound, 9.0])])
    book.market[kernel.M_FORMS_AT] = book.put_market([0.0, -1.0])
    none = np.empty((6, 1))
    interpreted(kernel.forms_factor)(1, 0, book.work, book.market, book.numbers, book.codes, none, none)
    assert np.isfinite(book.part(kernel.HELD, 2)).all() == summed


@pytest.mark.parametrize(("held", "side", "sided"), [(0.0, 1.0, 0), (0.0, -1.0, 1), (0.25, 1.0, 1)])
def test_products_of_shorts_are_made_only_where_something_is_or_may_be_short(
    monkeypatch: pytest.MonkeyPatch, held: float, side: float, sided: int
) -> None:
    seen, corners = [], kernel.corners

    def recorded(*given: Any) -> None:
        seen.append(given[-1])
        corners(*given)

    monkeypatch.setattr(kernel, "corners", recorded)
    book = one_order(4.0, side)
    book.state(0)[kernel.SHORT] = book.outer(0)[0] = held
    book.codes[[kernel.C_FORMS, kernel.C_FORMS_AT]] = 1, book.put_codes([41, 0, book.put([0.0625, 9.0])])
    book.market[[kernel.M_FORMS_AT, kernel.M_KNOWN]] = book.put_market([book.put_market([1.0]), 0.0]), 2.0
    interpreted(kernel.forms_factor)(
        1, 0, book.work, book.market, book.numbers, book.codes, np.eye(1), np.empty((6, 1))
    )
    assert seen == [sided]


@pytest.mark.parametrize("mean", [0, 1])
@pytest.mark.parametrize(("loss", "measured"), [(7.0, False), (7.5, True)])
def test_no_scenario_is_put_in_order_where_a_count_or_a_sum_beyond_an_edge_complies(
    monkeypatch: pytest.MonkeyPatch, mean: int, loss: float, measured: bool
) -> None:
    """Four scenarios of six lose as much, of which the worst two may lose 8 in the mean. Beyond three quarters of that
    they lose 1 each, and half of their sum is the last quarter. More than 8 in one of six is no value at risk."""
    calls, nth = [], kernel.nth

    def counted(*given: Any) -> float:
        calls.append(given)
        return nth(*given)

    monkeypatch.setattr(kernel, "nth", counted)
    book = one_order(1.0)
    book.codes[[kernel.C_TAILS, kernel.C_TAILS_AT]] = 1, book.put_codes([31, mean, book.put([0.5, 1.0])])
    own = [book.put_market([99.0, 99.0]), 0.0, 0.0, 6.0, 2.0, 1.0]
    book.market[[kernel.M_TAILS_AT, kernel.M_KNOWN]] = book.put_market(own), 1.0
    returns = np.array([[-loss, -loss, 0.0, 0.0, -loss, -loss if mean else -9.0]])
    given = 1, 0, book.work, book.market, book.numbers, book.codes, returns, returns, np.empty((6, 6))
    assert interpreted(kernel.tails_factor)(*given) == kernel.DONE
    assert book.work[kernel.FACTOR] == 1.0
    assert bool(calls) == (measured and mean == 1)
