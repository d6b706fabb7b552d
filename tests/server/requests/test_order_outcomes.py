"""An operator's word on an order without an answer: what it needs, and what is refused, at a running loop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from quantd.adapters.store.handle import Store
from quantd.daemon.engine.state.open_orders import EndedBaskets
from quantd.daemon.engine.state.waits import UNANSWERED_NS
from quantd.daemon.engine.venue.unanswered import order_name
from quantd.daemon.live import order_sender
from quantd.daemon.runtime.inbox import Inbox
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import REDUCE
from quantd.risk.switch import RUN as RUNNING
from quantd.server.api.problems import Refused
from quantd.server.api.routes.manual_routes import cancel, preview_cancel, reconcile, settle
from quantd.server.requests.cancels import CancelOne, CancelPreview
from quantd.server.requests.control import NotDone
from quantd.server.requests.manual import Settle, compared, correction
from quantd.server.requests.manual_answers import Compared, SettledOrder
from quantd.server.requests.order_outcomes import SettleOrder
from quantd.trading.codec import decode
from quantd.trading.effects import Cancel
from quantd.trading.events import CancelReported, Correction, OrderSettled, Reconciled, Unknown
from quantd.trading.orders import OrderBasket, OrderState
from quantd.trading.ports import BrokerNews, VenueAccount
from quantd.trading.sessions import DAY_NS
from tests.support.live_runs import NOW, RUN, _quick, heard, parts, slices, stretch, venue_of
from tests.support.orders_by_hand import by_hand
from tests.support.remote_venue import Remote, Script, Venue

__all__ = ["_quick"]


class Mute(Remote):
    """A venue that answers nothing about orders until a test lets it."""

    mute = True
    queries = 0

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        news = await super().submit(basket, rows)
        return [Unknown(basket.sample, basket.n, NOW, list(range(len(basket.sym))), "no answer")] if self.mute else news

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        return [Unknown(sample, n, NOW, [row], "no answer")] if self.mute else await super().cancel(sample, n, row, ts)

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        self.queries += 1
        return [Unknown(sample, n, NOW, list(rows), "no answer")] if self.mute else await super().query(sample, n, rows)


class Person:
    """An operator beside a loop with orders of unknown state."""

    def __init__(self, service: Service, remote: Mute, venue: Venue, key: tuple[int, int]) -> None:
        self.service, self.remote, self.venue, self.key = service, remote, venue, key
        self.work = service.shell.state.working[key]
        self.name = order_name(service.shell.state, self.key, self.work.basket.sym[0])

    def late(self) -> None:
        """The clocks of all orders have passed."""
        for clock in self.service.shell.state.venue.waits.unanswered:
            clock.since -= UNANSWERED_NS

    async def settles(self, filled: str = "", *, never_sent: bool = False, reason: str = "seen there") -> SettledOrder:
        return await settle(self.service, SettleOrder(self.name, reason, filled, never_sent), "api:owner:1")


async def beside(folder: Path, work: Callable[[Person], Awaitable[None]]) -> None:
    """A run, an order by hand whose answer does not come, and a person who works beside it."""
    of = parts()
    venue = venue_of(of)
    remote = Mute(venue)
    remote.mute = False
    *given, opens, coming = slices(4)

    async def last(service: Service) -> None:
        assert service.compare is not None
        while await service.compare() is None:
            await service.changed(0.05)
        if service.shell.state.working:  # what the policy ordered takes all cash until the next bar fills it
            venue.on_slice(opens)
            while service.shell.state.working:
                await service.compare()
                await service.changed(0.05)
        remote.mute = True
        before, lots = set(service.shell.state.working), -10 if service.shell.state.ledger.house.lots[0] else 10
        await service.inbox.command(by_hand(service.shell.state.now, "mix", 0, lots, "by hand", "me"))
        async with asyncio.timeout(60):
            while not service.shell.state.venue.waits.unanswered:
                await service.changed(0.02)
        (key,) = set(service.shell.state.working) - before
        await work(Person(service, remote, venue, key))
        remote.mute = False
        assert await service.compare() is not None, "it is open there after all, and is cancelled"
        await service.changed(0.2)
        venue.on_slice(coming)  # what the venue does with it, it does with the next bar
        async with asyncio.timeout(60):
            state = service.shell.state
            while (
                state.venue.waits.settled or state.venue.waits.unanswered or state.ledger.house.lots != venue.has.lots
            ):
                await service.compare()
                await service.changed(0.02)

    feed = Script(of.universe, DAY_NS, given, venue, NOW)
    stopped_run = await stretch(folder, of, feed, remote, last=last)
    assert stopped_run.service.shell.state.ledger.house.lots == venue.has.lots
    assert stopped_run.service.shell.state.ledger.house.cash_micro == venue.has.cash_micro


@pytest.mark.long
async def test_an_order_is_settled_after_its_clock_a_reason_and_a_query_without_an_answer(tmp_path: Path) -> None:
    async def work(person: Person) -> None:
        with pytest.raises(NotDone, match=r"not waited for its time.*try again in \d+ s"):
            await person.settles(never_sent=True)
        person.late()
        with pytest.raises(NotDone, match="needs a reason"):
            await person.settles(never_sent=True, reason=" ")
        for filled, words in (
            ("10", "QUANTITY@PRICE"),
            ("ten@100", "not a valid quantity"),
            ("0@100", "not a valid quantity"),
            ("10@-5", "not a valid price"),
            ("10@0", "not a valid price"),
            ("0.5@100", "is not whole lots"),
            ("11@100", "at most"),
        ):
            with pytest.raises(NotDone, match=words):
                await person.settles(filled)
        with pytest.raises(NotDone, match="write --filled"):
            await person.settles()
        with pytest.raises(NotDone, match="write --filled"):
            await person.settles("10@100", never_sent=True)
        with pytest.raises(NotDone, match="no order has the id"):
            await settle(person.service, SettleOrder("q-none", "x", never_sent=True), "api:owner:1")
        before = person.remote.queries
        done = await person.settles(never_sent=True)
        assert person.remote.queries > before, "the venue is asked once more"
        assert (done.state, done.filled, done.order) == ("expired", "0", person.name)
        state = person.service.shell.state
        ended, state.ended = state.ended, EndedBaskets(1, 1)  # as after a while
        with pytest.raises(NotDone, match=f"{person.name} is expired: only an order without the venue's answer"):
            await person.settles(never_sent=True)
        state.ended = ended
        assert person.key not in person.service.shell.state.working

    await beside(tmp_path, work)
    with Store.open(tmp_path) as store:
        events = [decode(data).event for _, data in store.entries(RUN, 1)]
    (event,) = [entry for entry in events if isinstance(entry, OrderSettled)]
    assert (event.cum, event.reason, event.who) == (0, "seen there", "api:owner:1")


@pytest.mark.long
async def test_an_answer_to_the_last_query_is_what_counts(tmp_path: Path) -> None:
    async def work(person: Person) -> None:
        person.late()
        person.remote.mute = False
        with pytest.raises(NotDone, match="the venue has answered"):
            await person.settles(never_sent=True)
        assert list(person.work.state) == [OrderState.WORKING]

    await beside(tmp_path, work)


@pytest.mark.long
async def test_the_answer_to_a_cancel_says_that_the_venue_does_not_confirm_the_order(tmp_path: Path) -> None:
    async def work(person: Person) -> None:
        would = await preview_cancel(person.service, CancelPreview(person.name), "me")
        assert "has not confirmed this order" in would.text
        assert f"quantd settle {person.name}" in would.text
        done = await cancel(person.service, CancelOne(person.name, "stuck"), "me")
        assert done.state == "cancelling"
        assert "may be filled already" in done.text

    await beside(tmp_path, work)


@pytest.mark.long
async def test_a_comparison_goes_on_beside_it_and_names_it(tmp_path: Path) -> None:
    async def work(person: Person) -> None:
        person.late()
        person.venue.has.lots[1] -= 2  # somebody sells another symbol by hand
        comparison = await reconcile(person.service, Settle(), "me")
        assert (comparison.agrees, comparison.lots, comparison.waits) == (False, {"S1": "-2"}, [person.name])
        adopted = await reconcile(person.service, Settle("mix", "sold by hand"), "me")
        assert adopted.how == "mix"
        assert person.service.shell.state.ledger.house.lots[1] == person.venue.has.lots[1]
        with pytest.raises(NotDone, match=f"may come from {person.name}"):
            await reconcile(person.service, Settle("mix", "again"), "me")

    await beside(tmp_path, work)


async def test_a_simulated_broker_has_nothing_to_settle(tmp_path: Path) -> None:
    async def work(person: Person) -> None:
        person.late()
        person.service.query = None
        with pytest.raises(Refused, match="simulated"):
            await person.settles(never_sent=True)

    await beside(tmp_path, work)


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
        assert comparison.differences == ["3 S1 more", "5.00 USD less"]
        assert state.switch.state == REDUCE, "nobody adds risk to an account that is not as we know it"

        account = await service.compare()  # type: ignore[misc]
        await service.inbox.command(correction(service, account, "fence", "by hand, at the venue"))
        assert (await looked(service)).agrees  # type: ignore[union-attr]
        assert state.switch.state == REDUCE, "a person re-arms"
        with pytest.raises(NotDone, match="no difference to fence"):
            correction(service, await service.compare(), "fence", "again")  # type: ignore[misc]

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
