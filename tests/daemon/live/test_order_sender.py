"""An order whose query is not answered: the engine hears of it again when its clock passes, without a bar."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from quantd.daemon.engine.state.waits import UNANSWERED_NS
from quantd.daemon.live import order_sender
from quantd.daemon.runtime.inbox import Inbox
from quantd.trading.events import Unknown
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews
from quantd.trading.sessions import DAY_NS
from tests.support.live_runs import NOW, _quick, parts, venue_of
from tests.support.remote_venue import Remote

__all__ = ["_quick"]


class Silent(Remote):
    """A venue that answers no query. Time goes by while it is asked."""

    def __init__(self) -> None:
        super().__init__(venue_of(parts()))
        self.now, self.queries = NOW, 0

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        return [Unknown(basket.sample, basket.n, self.now, [0], "no answer")]

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        self.queries += 1
        self.now += UNANSWERED_NS // 4
        return [Unknown(sample, n, self.now, list(rows), "no answer")]


@pytest.mark.long
async def test_an_unanswered_order_is_told_again_at_its_clock_and_then_ever_less_often() -> None:
    remote, inbox = Silent(), Inbox()
    sender = order_sender.Sender(remote, inbox, lambda: remote.now, lambda basket: "")
    task = asyncio.create_task(sender.run())
    sender.put([OrderBasket(NOW, 1, NOW, [0], [5], [10**11], [NOW + DAY_NS])])
    delays: list[int] = []
    while remote.queries < 40:
        news = inbox.next_news()
        if isinstance(news, Unknown):
            delays.append(news.ts - NOW)
        await asyncio.sleep(0.001)
    task.cancel()
    assert delays[0] == 0, "its submission"
    assert UNANSWERED_NS <= delays[1] < 2 * UNANSWERED_NS
    assert 3 <= len(delays) <= 6, "not at each of 40 queries"
    assert all(later >= 2 * earlier for earlier, later in pairwise(delays[1:]))


async def test_a_query_of_an_order_is_no_order_on_its_way() -> None:
    remote, inbox = Silent(), Inbox()
    sender = order_sender.Sender(remote, inbox, lambda: remote.now, lambda basket: "")
    task = asyncio.create_task(sender.run())
    await asyncio.sleep(0)
    sender.put([OrderBasket(NOW, 1, NOW, [0], [5], [10**11], [NOW + DAY_NS])])
    assert sender.sending
    await sender.idle()
    await asyncio.sleep(0)
    sender.put([order_sender.Query(NOW, 1, [0])])
    assert (sender.busy, sender.sending) == (True, False)
    task.cancel()
