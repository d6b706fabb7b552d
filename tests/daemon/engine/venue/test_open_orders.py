"""A basket at the venue: what of it may still fill, and for whom."""

import pytest

from quantd.daemon.engine.venue.open_orders import Working
from quantd.trading.orders import OrderBasket, OrderState


@pytest.mark.parametrize("lots", [1, 2, 3])
def test_what_may_still_fill_has_the_sign_of_its_order(lots: int) -> None:
    basket = OrderBasket(1, 1, 5, [0, 1, 2], [lots, -lots, lots], [10**9] * 3, [0] * 3, {})
    work = Working.sent(basket, [[(0, lots)], [(1, lots)], [(0, lots)]])
    work.state[2] = int(OrderState.FILLED)
    assert list(work.open_shares()) == [(0, 0, lots), (1, 1, -lots)]
