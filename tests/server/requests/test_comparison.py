"""What a running loop says of its account when it is asked, and what a daemon that leads no more does not send."""

import asyncio
from pathlib import Path

import pytest

from quantd.adapters.store.handle import Store
from quantd.daemon.live import order_sender
from quantd.daemon.runtime.inbox import Inbox
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import REDUCE
from quantd.risk.switch import RUN as RUNNING
from quantd.server.requests.manual import compared, correction
from quantd.server.requests.manual_answers import Compared
from quantd.trading.codec import decode
from quantd.trading.effects import Cancel
from quantd.trading.events import CancelReported, Correction, Reconciled
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import VenueAccount
from quantd.trading.sessions import DAY_NS
from tests.support.live_runs import NOW, RUN, _quick, heard, parts, slices, stretch, venue_of
from tests.support.remote_venue import Remote, Script

__all__ = ["_quick"]


@pytest.mark.long
@pytest.mark.requirement("R-170")
async def test_a_running_loop_compares_its_account_when_asked(tmp_path: Path) -> None:
    of = parts()
    venue = venue_of(of)
    remote, (given, coming) = Remote(venue), (slices(10)[:84], slices(10)[84:])

    async def looked(service: Service) -> Compared | None:
        assert service.compare is not None
        account = await service.compare()
        return None if account is None else compared(service.shell.state, account)

    async def looks(service: Service) -> None:
        state = service.shell.state
        # what the last close decided is on its way, or waits there for its price: the venue's market goes on
        for later in coming:
            venue.on_slice(later)
            await service.changed(1.0)
            if (first := await looked(service)) is not None:
                break
        assert first is not None
        assert first.agrees
        assert state.switch.state == RUNNING

        venue.has.lots[1] += 3  # somebody trades by hand at the venue
        venue.has.cash_micro -= 5_000_000
        comparison = await looked(service)
        assert comparison is not None
        assert not comparison.agrees
        assert comparison.lots == {"S1": "3"}
        assert comparison.cash == "-5.00"
        assert state.switch.state == REDUCE, "nobody adds risk to an account that is not as we know it"

        account = await service.compare()  # type: ignore[misc]
        await service.inbox.command(correction(service, account, "fence", "by hand, at the venue"))
        assert (await looked(service)).agrees  # type: ignore[union-attr]
        assert state.switch.state == REDUCE, "a person re-arms"

        kept = remote.account

        async def filled() -> VenueAccount:
            service.shell.tally.fills += 1  # a fill came in between
            return await kept()

        remote.account = filled  # type: ignore[method-assign]
        assert await looked(service) is None
        remote.account = gone  # type: ignore[method-assign]
        assert await looked(service) is None, "a venue that does not answer is not one that agrees"
        remote.account = kept  # type: ignore[method-assign]
        assert (await looked(service)).agrees  # type: ignore[union-attr]

    async def gone() -> VenueAccount:
        raise ConnectionError("no answer")

    feed = Script(of.universe, DAY_NS, given, venue, NOW)
    stopped_run = await stretch(tmp_path, of, feed, remote, last=looks)
    assert stopped_run.service.shell.state.switch.state == REDUCE
    with Store.open(tmp_path) as store:
        events = [decode(data).event for _, data in store.entries(RUN, 1)]
    assert [e.reason for e in events if isinstance(e, Correction)] == ["by hand, at the venue"]
    assert sum(isinstance(e, Reconciled) for e in events) >= 4, "each comparison is in the journal"


async def test_a_cancel_of_a_daemon_that_no_longer_leads_does_not_leave() -> None:
    of = parts()
    venue, inbox = venue_of(of), Inbox()
    basket = OrderBasket(NOW, 1, NOW, [0], [5], [10**11], [NOW + DAY_NS])
    said: list[str] = []
    sender = order_sender.Sender(Remote(venue), inbox, lambda: NOW, lambda basket: "".join(said))
    task = asyncio.create_task(sender.run())
    sender.put([basket])
    await heard(inbox, 2)
    said.append("this daemon no longer holds the lease on its account")
    sender.put([Cancel(NOW, 1, 0, NOW)])
    (report,) = await heard(inbox, 1)
    task.cancel()
    assert isinstance(report, CancelReported)
    assert "no longer holds the lease" in report.reason
    assert venue.paper.query(NOW, 1, [0]), "it is open there still"
