"""A run on a market that goes on, with a venue across a network: nothing doubled, nothing assumed, books equal to the
venue's."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.store.handle import Store
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.engine.planning.buying_power import cut_by_venue
from quantd.daemon.live import order_sender
from quantd.daemon.live.session import withheld
from quantd.daemon.recovery.stored_run import recover
from quantd.daemon.runtime.inbox import Inbox
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import HALT
from quantd.server.requests.manual import Halt, JumpName, compared, halted
from quantd.trading.codec import decode
from quantd.trading.effects import Planned, Publish
from quantd.trading.events import Action, Condition, Halted, Limited, NotFound, Operator, Unknown
from quantd.trading.instruments import MICRO
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import ENDED, Cause, OrderBasket, OrderState, Reports
from quantd.trading.ports import BrokerNews, Until, VenueAccount, VenueFlow
from quantd.trading.sessions import DAY_NS
from tests.support.live_runs import (
    NOW,
    QUIET_S,
    RUN,
    Left,
    _quick,
    heard,
    parts,
    read_entries,
    require_equal,
    slices,
    stretch,
    venue_of,
)
from tests.support.remote_venue import Faults, Remote, Script, Venue

__all__ = ["_quick"]

MINUTE = 60_000_000_000
VALUES = ("ts_open", "ts_event", "key", "open", "high", "low", "close", "volume")


@pytest.mark.long
async def test_a_quiet_run_buys_and_its_books_are_the_venues(tmp_path: Path) -> None:
    of = parts()
    venue = venue_of(of)
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(12), venue, NOW), Remote(venue))
    require_equal(run, venue)
    assert any(venue.has.lots)
    assert run.service.shell.state.switch.state == 0
    assert run.service.shell.tally.samples == 13, "the warm-up is not traded, the close of this instant is"


class Fills(Remote):
    """A venue that fills what rests there while it is asked for its account: before that is read, or after."""

    def __init__(self, venue: Venue, asked: str, opens: MarketSlice) -> None:
        super().__init__(venue)
        self._asked, self._opens = asked, opens
        self.service: Service | None = None

    async def _fill(self, asked: str) -> None:
        if self.service is None or asked != self._asked:
            return
        service, self.service = self.service, None
        before = service.shell.tally.fills
        self.venue.on_slice(self._opens)
        async with asyncio.timeout(QUIET_S):
            while service.shell.tally.fills == before:
                await service.changed(0.01)

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        await self._fill("flows")
        return await super().flows(since)

    async def account(self) -> VenueAccount:
        account = await super().account()
        await self._fill("account")
        return account


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("asked", ["flows", "account"])
async def test_an_operators_comparison_is_made_again_after_a_fill_meanwhile(tmp_path: Path, asked: str) -> None:
    of = parts(policy="inverse_volatility")
    *given, opens = slices(4)
    compares: list[bool] = []

    for turn in range(20):  # an order of the first close may come after the next open: then nothing rests at the end
        venue = venue_of(of)
        remote = Fills(venue, asked, opens)

        async def last(service: Service, remote: Fills = remote) -> None:
            assert service.compare is not None
            if not any(OrderState.WORKING in work.state for work in service.shell.state.at_venue().values()):
                return
            before, remote.service = service.shell.tally.fills, service
            account = await service.compare()
            assert account is not None
            assert service.shell.tally.fills > before
            compares.append(compared(service.shell.state, account).agrees)

        feed = Script(of.universe, DAY_NS, given, venue, NOW)
        run = await stretch(tmp_path / str(turn), of, feed, remote, last=last)
        require_equal(run, venue)
        if compares:
            break
    assert compares == [True]


class Stingy(Remote):
    """A venue that lets little be bought, and says so whenever it is asked."""

    asked = 0

    async def account(self) -> VenueAccount:
        self.asked += 1
        return msgspec.structs.replace(await super().account(), buying_power_micro=10_000 * MICRO, unlent=(2,), ours=())


@pytest.mark.long
async def test_what_the_venue_lets_be_bought_binds_and_it_is_asked_anew_when_that_cut_something(tmp_path: Path) -> None:
    of = parts()
    venue = venue_of(of)
    remote = Stingy(venue)
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(12), venue, NOW), remote)
    require_equal(run, venue)
    state = run.service.shell.state
    plans = [e for _, data in read_entries(tmp_path) for e in decode(data).effects if isinstance(e, Planned)]
    assert any(cut_by_venue([plan]) for plan in plans)
    spent = [
        sum(lots * worst / 1e9 * 1.0001 for lots, worst in zip(b.lots, b.worst_nano, strict=True) if lots > 0)
        for b in venue.baskets.values()
    ]
    assert 9_700 < max(spent) <= 10_000
    assert sum(spent) > 30_000, "it is asked again, and then goes on"
    assert remote.asked > 4
    assert (state.venue.buying_power_micro, state.venue.unlent) == (10_000 * MICRO, (2,))


class Taped(Script):
    """A feed that hears of a halt between two bars."""

    def tell_halts(self, receiver: Callable[[Halted | Limited], None]) -> None:
        receiver(Halted(NOW, 1, True, "Trading Halt", announced=True))


@pytest.mark.long
async def test_a_halt_that_the_feed_hears_of_is_in_the_state_before_the_next_bar(tmp_path: Path) -> None:
    of = parts()
    venue = venue_of(of)
    await stretch(tmp_path, of, Taped(of.universe, DAY_NS, slices(6), venue, NOW), Remote(venue), until=82)
    events = [decode(data).event for _, data in read_entries(tmp_path)]
    assert [e.detail for e in events if isinstance(e, Halted)] == ["Trading Halt"]


class Suspicious(Script):
    """A feed that leaves out bars 83 and 84 of S1 because of their price, and can be told that the price is real.

    `answer` is called between the two bars.
    """

    accepted = -1
    answer: Callable[[Service], Awaitable[None]] | None = None

    def accept_price(self, column: int) -> None:
        self.accepted = column

    async def items(self, after: int) -> AsyncIterator[Action | MarketSlice | Until]:
        async for item in super().items(after):
            if not isinstance(item, MarketSlice) or item.row not in (83, 84):
                yield item
                continue
            service, outside = self.quiet.args  # type: ignore[union-attr]
            if item.row == 84 and self.answer is not None:
                await self.answer(service)
            if self.accepted == 1:
                yield item
                continue
            outside._aside(BadBar(item.key, item.ts_event, "S1", "spike", 100.0, 101.0, 9.5, 100.5, 1e6), None)
            yield without(item, 1)


def without(item: MarketSlice, column: int) -> MarketSlice:
    """The slice of a feed that has no bar of a column."""
    values = {name: np.array(getattr(item.block, name)[item.row : item.row + 1]) for name in VALUES}
    fresh = np.arange(item.block.close.shape[1])[None, :] != column
    return MarketSlice(Block(**values, fresh=fresh), 0)


@pytest.mark.long
async def test_a_suspicious_price_pauses_its_symbol_until_the_next_good_bar(tmp_path: Path) -> None:
    of = parts()
    venue = venue_of(of)
    feed = Suspicious(of.universe, DAY_NS, slices(12), venue, NOW)
    await stretch(tmp_path, of, feed, Remote(venue))
    steps = [decode(data) for _, data in read_entries(tmp_path)]
    alerts = [e for step in steps for e in step.effects if isinstance(e, Publish) and e.kind == "halted"]
    assert [(alert.level, alert.symbol) for alert in alerts] == [("WARNING", "S1"), ("INFO", "S1")]
    for words in ("low 9.5", "`quantd resume --symbol S1 --reason TEXT`", "`quantd resume --symbol S1 --jump real"):
        assert words in alerts[0].text
    begun, over = alerts[0].ts, alerts[1].ts
    sent = [(b.sample, b.sym) for step in steps for b in step.effects if isinstance(b, OrderBasket)]
    assert any(begun < ts < over and sym for ts, sym in sent), "the other symbols go on"
    assert not any(begun < ts < over and 1 in sym for ts, sym in sent)
    assert any(ts >= over and 1 in sym for ts, sym in sent)


@pytest.mark.long
@pytest.mark.parametrize("jump", ["", "real"])
async def test_the_two_commands_of_a_suspicious_price_settle_it(
    tmp_path: Path, jump: JumpName, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a command has the time of the clock, and these bars are of days around NOW
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    of = parts()
    venue = venue_of(of)
    feed = Suspicious(of.universe, DAY_NS, slices(12), venue, NOW)

    async def answer(service: Service) -> None:
        assert 1 in service.shell.state.restrictions.halted
        await service.inbox.command(halted(service, Halt("resume", "S1", "seen on the tape", jump), "ann"))
        assert (1 in service.shell.state.restrictions.halted) == (jump == "real"), (
            "a real price is known with the next bar"
        )

    feed.answer = answer
    run = await stretch(tmp_path, of, feed, Remote(venue))
    assert feed.accepted == (1 if jump else -1)
    assert run.service.shell.state.restrictions.halted == {}
    events = [decode(data).event for _, data in read_entries(tmp_path)]
    details = [event.detail for event in events if isinstance(event, Halted)]
    assert len(details) == (2 if jump else 3)
    assert any("seen on the tape" in detail for detail in details)


async def test_a_run_on_paper_with_live_bars_is_folded_to_the_same_account(tmp_path: Path) -> None:
    of = parts("paper")
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(12), None, NOW), None)
    digest = run.service.shell.digest.hexdigest()
    with Store.open(tmp_path) as store:
        shell, journal = recover(of, store, RUN, tmp_path)
    assert journal.seq == run.service.journal.seq
    assert shell.digest.hexdigest() == digest
    assert shell.state.ledger.house.lots == run.service.shell.state.ledger.house.lots
    assert any(shell.state.ledger.house.lots)


@pytest.mark.requirement("R-170")
@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
async def test_lost_doubled_and_late_answers_leave_the_books_equal(tmp_path: Path, seed: int) -> None:
    of = parts(policy="inverse_volatility")
    venue = venue_of(of)
    faults = Faults(lost_submit=0.3, never_came=0.2, lost_query=0.3, doubled=0.3, dropped_news=0.2, delay_s=0.002)
    feed = Script(of.universe, DAY_NS, slices(25, seed), venue, NOW)
    run = await stretch(tmp_path, of, feed, Remote(venue, faults, seed))
    require_equal(run, venue)
    for work in run.service.shell.state.working.values():
        assert OrderState.UNKNOWN not in work.state


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
async def test_crashes_at_any_moment_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    of = parts(policy="inverse_volatility")
    venue = venue_of(of)
    faults = Faults(lost_submit=0.2, never_came=0.1, lost_query=0.2, doubled=0.2, delay_s=0.003)
    market = slices(30, seed)
    seen = NOW
    for part in range(4):
        feed = Script(of.universe, DAY_NS, market, venue, seen)
        last = part == 3
        run = await stretch(
            tmp_path, of, feed, Remote(venue, faults, 10 * seed + part),
            until=None if last else 80 * (part == 0) + 5 + seed,
            brutal=not last,
        )  # fmt: skip
        seen = feed._from_ts
    require_equal(run, venue)
    assert run.service.shell.tally.samples == 31


@pytest.mark.long
async def test_a_crash_in_the_warm_up_of_a_first_start_goes_on_with_the_warm_up(tmp_path: Path) -> None:
    of = parts()
    venue, market = venue_of(of), slices(8)
    await stretch(
        tmp_path, of, Script(of.universe, DAY_NS, market, venue, NOW, slow=True), Remote(venue), until=20, brutal=True
    )
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, market, venue, NOW), Remote(venue))
    assert not run.fresh
    assert run.service.shell.tally.samples == 9, "only what came since the first start is valued"
    require_equal(run, venue)


@pytest.mark.long
async def test_a_halt_stops_trading_at_the_venue(tmp_path: Path) -> None:
    of = parts()
    venue = venue_of(of)
    remote = Remote(venue)
    feed = Script(of.universe, DAY_NS, slices(6), venue, NOW)
    halt = Operator(0, "halt", "test", "test")
    run = await stretch(tmp_path, of, feed, remote, commands=[(73, halt)])
    assert run.service.shell.state.switch.state == 2
    open_rows = [s for w in run.service.shell.state.working.values() for s in w.state if s not in ENDED]
    assert not open_rows
    require_equal(run, venue)


async def test_an_order_that_was_halted_after_its_commit_does_not_leave() -> None:
    of = parts()
    venue, inbox = venue_of(of), Inbox()
    basket = OrderBasket(NOW, 1, NOW, [0], [5], [10**11], [NOW + DAY_NS])
    sender = order_sender.Sender(Remote(venue), inbox, lambda: NOW, lambda basket: "halted before it was sent")
    task = asyncio.create_task(sender.run())
    sender.put([basket])
    news = await heard(inbox, 2)
    await sender.ask(NOW, 1, [0])  # by whoever saw it open before
    (asked,) = await heard(inbox, 1)
    task.cancel()
    assert isinstance(asked, NotFound), "a venue that never had it says so, and nobody asks for ever"
    ended = next(notice for notice in news if isinstance(notice, Reports))
    assert ended.cause == [Cause.REJECTED]
    assert "halted" in ended.reason
    assert venue.baskets == {}


async def test_what_a_person_flattens_leaves_under_a_halt_and_nothing_else_does() -> None:
    state = parts().shell().state
    state.ledger.house.held[0] = 10
    sale, purchase = (OrderBasket(NOW, 1, NOW, [0], [lots], [10**11], [0]) for lots in (-10, 3))
    assert withheld(state, purchase) == withheld(state, sale) == ""
    state.switch.state = HALT
    assert withheld(state, sale)
    assert withheld(state, purchase)
    state.flattening = True
    assert withheld(state, sale) == ""
    assert withheld(state, purchase)


async def test_an_adapter_that_raises_is_a_broker_down_and_an_outcome_nobody_knows() -> None:
    class Broken(Remote):
        async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
            raise ZeroDivisionError("a bug")

    inbox = Inbox()
    sender = order_sender.Sender(Broken(venue_of(parts())), inbox, lambda: NOW, lambda basket: "")
    task = asyncio.create_task(sender.run())
    sender.put([OrderBasket(NOW, 1, NOW, [0], [5], [10**11], [0])])
    news = await heard(inbox, 3)
    task.cancel()
    assert any(isinstance(notice, Unknown) and notice.row == [0] for notice in news)
    assert any(
        isinstance(notice, Condition) and not notice.up and "ZeroDivisionError" in notice.detail for notice in news
    )


async def adopted(folder: Path, of: Parts, adopt: str, cash_micro: int = 100_000_000_000) -> tuple[Left, Venue]:
    """A first start at a venue that holds positions before; the run goes on over a kill."""
    venue = venue_of(of)
    venue.has.lots[:], venue.has.cash_micro = [40, 0, 25], cash_micro
    script = Script(of.universe, DAY_NS, slices(4), venue, NOW)
    return await stretch(folder, of, script, Remote(venue), adopt=adopt), venue


@pytest.mark.long
async def test_a_first_start_with_adopt_takes_the_positions_at_their_prices_and_says_so(tmp_path: Path) -> None:
    of = parts()
    run, venue = await adopted(tmp_path, of, "mix")
    require_equal(run, venue)
    state = run.service.shell.state
    texts = [alert.text for alert in run.service.recent if alert.kind == "reconciliation"]
    assert texts == ["taken into the book of mix: 40 S0 more; 25 S2 more (--adopt mix: found at the first start)"]
    # neither profit nor loss: a flow of their value at the prices of that moment
    value = state.ledger.books[0].flows_micro / 1e6 - 90_000.0
    closes = slices(4)[0].block.close
    assert np.isclose(40 * closes[:, 0] + 25 * closes[:, 2], value, atol=1e-5).any()
    assert state.switch.state == 0
    # the next start goes on without the option, and with it names the command that fits
    again = Script(of.universe, DAY_NS, slices(6), venue, NOW)
    require_equal(await stretch(tmp_path, of, again, Remote(venue)), venue)
    with pytest.raises(VenueError, match=r"for the first start of a run.*`quantd reconcile --adopt mix --reason R`"):
        await stretch(tmp_path, of, again, Remote(venue), adopt="mix")


@pytest.mark.parametrize(
    ("adopt", "cash", "words"),
    [
        ("", 100_000, "holds 40 S0, 25 S2 and 100000.00 USD in cash.*or start with --adopt mix, which gives them to"),
        ("", 4_000, r'Write \[broker\] cash = "4000.00"\. Sell the positions, or start with --adopt mix'),
        ("mix", 4_000, r'\[broker\] cash is 100000.00.*Write \[broker\] cash = "4000.00"\.$'),
    ],
)
async def test_a_first_start_that_finds_positions_or_other_cash_names_the_way_out(
    tmp_path: Path, adopt: str, cash: int, words: str
) -> None:
    with pytest.raises(VenueError, match=words):
        await adopted(tmp_path, parts(), adopt, cash * 1_000_000)
