"""Positions and open orders count as carried."""

import numpy as np

from quantd.risk.limits.case import Account


def test_what_is_held_or_open_on_either_side_is_carried_and_so_is_what_is_no_number() -> None:
    book = Account(
        lots=np.array([5.0, 0.0, 0.0, 0.0, np.nan]), cash=0.0, equity=1.0,
        up=np.array([0.0, 1.0, 0.0, 0.0, 0.0]), down=np.array([0.0, 0.0, 2.0, 0.0, 0.0]),
    )  # fmt: skip
    assert book.carried().tolist() == [True, True, True, False, True]
    assert Account(lots=np.array([0.0, -1.0]), cash=0.0, equity=1.0).carried().tolist() == [False, True]
