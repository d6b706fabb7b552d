"""The transition table and the ids of orders."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.trading.orders import (
    ENDED,
    TRANSITIONS,
    Cause,
    IllegalTransition,
    OrderState,
    base36,
    decision_id,
    money_text,
    order_id,
    price_text,
    quantity_text,
    transition,
)


def test_the_table_has_a_row_for_every_state_and_a_column_for_every_cause() -> None:
    assert len(TRANSITIONS) == len(OrderState)
    assert all(len(row) == len(Cause) for row in TRANSITIONS)


@pytest.mark.requirement("R-169")
def test_an_ended_order_never_changes_again() -> None:
    for state, cause in product(ENDED, Cause):
        assert transition(state, cause) == state


def test_a_timeout_is_neither_filled_nor_rejected() -> None:
    for state in set(OrderState) - ENDED:
        assert transition(state, Cause.TIMED_OUT) == OrderState.UNKNOWN


def test_only_an_unknown_order_can_turn_out_never_to_have_been_sent() -> None:
    assert transition(OrderState.UNKNOWN, Cause.NOT_FOUND) == OrderState.EXPIRED
    for state in set(OrderState) - ENDED - {OrderState.UNKNOWN}:
        with pytest.raises(IllegalTransition):
            transition(state, Cause.NOT_FOUND)


def test_a_partly_filled_order_cannot_be_rejected() -> None:
    with pytest.raises(IllegalTransition, match="PARTIAL cannot change by REJECTED"):
        transition(OrderState.PARTIAL, Cause.REJECTED)


@pytest.mark.requirement("R-169")
def test_ids_depend_on_decision_and_number_and_nothing_else() -> None:
    first = order_id("7f3k2m1a", 1_580_000_000, "SPY", 1)
    assert first == order_id("7f3k2m1a", 1_580_000_000, "SPY", 1)
    assert first.startswith("q-7f3k2m1a-")
    assert first.endswith("-1")
    ids = {order_id("7f3k2m1a", 1_580_000_000, s, n) for s, n in (("SPY", 2), ("QQQ", 1))}
    assert first not in ids
    assert len(decision_id(1, "house", "SPY")) == 12


@given(st.integers(-(10**15), 10**15))
def test_exact_text_of_money_reads_back_to_the_unit(micro: int) -> None:
    units, part = money_text(micro).split(".")
    assert int(units + part.ljust(6, "0")) == micro or (units == "-0" and int("-" + part.ljust(6, "0")) == micro)


def test_quantities_and_prices_print_as_people_write_them() -> None:
    assert quantity_text(31, 10**9) == "31"
    assert quantity_text(-25, 10**7) == "-0.25"
    assert price_text(198_120_000_000) == "198.12"
    assert money_text(100_000_000_000) == "100000.00"


@given(st.integers(0, 2**96), st.integers(1, 14))
def test_digits_are_those_of_numpy(number: int, width: int) -> None:
    assert base36(number, width) == np.base_repr(number, 36).lower()[-width:].rjust(width, "0")
