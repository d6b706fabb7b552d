"""An execution that a venue never lists: after a bounded time the order's own quantity and average price are booked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from quantd.trading.orders import OrderState
from tests.proofs.conformance.rig import Rig, Row
from tests.proofs.conformance.rigs.alpaca import AlpacaRig
from tests.proofs.conformance.rigs.ccxt import CcxtRig
from tests.proofs.conformance.scene import Scene


@contextmanager
def hidden(rig: Rig, number: int) -> Iterator[None]:
    """The newest executions are not listed."""
    if isinstance(rig, AlpacaRig):
        rig.server.book.hidden, rig.server.silent = number, True
    else:
        rig.venue.trades_lag, rig.venue.silent = number, True  # type: ignore[attr-defined]
    yield
    if isinstance(rig, AlpacaRig):
        rig.server.book.hidden = 0
    else:
        rig.venue.trades_lag = 0  # type: ignore[attr-defined]


RIGS = [
    pytest.param(AlpacaRig, id="alpaca"),
    pytest.param(CcxtRig, id="kraken", marks=pytest.mark.skipif(find_spec("ccxt") is None, reason="no ccxt")),
]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("make_rig", RIGS)
@pytest.mark.parametrize("parts", [[(10, 0)], [(4, 1), (6, -1)], [(3, 1), (3, 0), (4, -1)], [(9, 1), (1, 0)], [(7, 0)]])
async def test_an_order_of_which_executions_are_never_listed_is_booked_by_its_own_record(
    make_rig: Callable[[], Rig], parts: list[tuple[int, int]]
) -> None:
    rig = make_rig()
    await rig.start()
    scene = Scene(rig)
    try:
        await rig.listened()
        column = rig.column("plain")
        tick = rig.universe.instruments[column].tick_nano
        with hidden(rig, len(parts)):
            basket = await scene.rest(Row(column, 10))
            for lots, ticks in parts:
                await rig.fill(basket, 0, lots, rig.price_nano(column) + ticks * tick)
            if sum(lots for lots, _ in parts) < 10:
                await rig.end(basket, 0, "cancelled")
            await scene.query(basket)
            assert scene.books.truth().lots[column] == 0, "the list may be late"
            await rig.settle()
            await rig.settle()
            await rig.settle()
            await scene.query(basket)
            ended = OrderState.FILLED if sum(lots for lots, _ in parts) == 10 else OrderState.CANCELLED
            await scene.state(basket, ended)
            assert scene.books.truth().lots == rig.truth().lots
            assert abs(scene.books.truth().cash_micro - rig.truth().cash_micro) <= 1
        await scene.query(basket)  # the list has them now
        assert scene.books.truth().lots == rig.truth().lots
        scene.compare = False  # the venue rounds an average price
        await scene.finish()
    finally:
        await scene.close()
        await rig.stop()
