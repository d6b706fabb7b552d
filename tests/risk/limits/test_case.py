"""A basket under way: what is made of the same lots is made once, and what may still fill counts as carried."""

import numpy as np

from quantd.risk.limits.case import Account, Case, Extent
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.ruleset import rules_of
from tests.support.risk_books import make_context


def case_of() -> tuple[Case, Extent]:
    ctx = make_context(np.array([10.0, 20.0]), np.zeros((80, 2)), ["A", "B"])
    extent = Extent(np.array([-5.0, 1.0, 5.0, 3.0]), 1e3, 1e3, np.array([0.5, 0.25]), 0.0, 0.0, False)
    account = Account(lots=np.zeros(2), cash=1e3, equity=1e3)
    return Case(ctx, account, rules_of(Limits(), ctx.universe), np.array([True, False]), [extent]), extent


def test_what_a_basket_can_reach_is_made_once_for_the_same_lots_and_again_for_others() -> None:
    case, extent = case_of()
    lots = np.array([2.0, 3.0])
    full, heaviest, slip = extent.reach(case, lots)
    assert full.tolist() == [0.0, 61.0, 25.0, 3.0]
    assert (heaviest, slip) == (61.0, 1.75)
    assert extent.reach(case, lots) is extent.reach(case, lots)
    assert extent.reach(case, lots)[0] is full
    other = np.array([1.0, 0.0])
    assert extent.reach(case, other)[0].tolist() == [0.0, 1.0, 15.0, 3.0]
    assert extent.reach(case, other)[1:] == (15.0, 0.5)


def test_the_sides_of_a_basket_are_made_once_for_the_same_lots_and_again_for_others() -> None:
    case, _ = case_of()
    lots = np.array([2.0, 3.0])
    assert case.sides(lots).tolist() == [0.0, 60.0, 20.0, 0.0]
    assert case.sides(lots) is case.sides(lots)
    assert case.sides(np.array([0.0, 1.0])).tolist() == [0.0, 20.0, 0.0, 0.0]
    assert case.side(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [3.0, 2.0]


def test_nothing_is_weighed_again_in_a_case_of_which_no_limit_has_asked_for_it() -> None:
    case, _ = case_of()
    assert case.weights_keep
    assert case.pairs is None


def test_what_is_held_or_open_on_either_side_is_carried_and_so_is_what_is_no_number() -> None:
    book = Account(
        lots=np.array([5.0, 0.0, 0.0, 0.0, np.nan]), cash=0.0, equity=1.0,
        up=np.array([0.0, 1.0, 0.0, 0.0, 0.0]), down=np.array([0.0, 0.0, 2.0, 0.0, 0.0]),
    )  # fmt: skip
    assert book.carried().tolist() == [True, True, True, False, True]
    assert Account(lots=np.array([0.0, -1.0]), cash=0.0, equity=1.0).carried().tolist() == [False, True]
