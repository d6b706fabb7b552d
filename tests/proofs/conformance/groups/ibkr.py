"""What only Interactive Brokers does: its message codes, its lists of today, and executions apart from statuses."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from quantd.adapters.brokers.ibkr.wire import tick_nano
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.trading.events import Condition
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import ENDED, OrderBasket, OrderState
from tests.proofs.conformance.cases import case
from tests.proofs.conformance.groups.stream import heard_of
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.scene import Scene, opened
from tests.support.venues.ibkr import frame

PRICE = Decimal("400.00")


def venue(s: Scene) -> Any:
    """The gateway of the rig."""
    return s.rig.server  # type: ignore[attr-defined]


def order(s: Scene, basket: OrderBasket) -> Any:
    return venue(s).order(s.rig._id(basket, 0))  # type: ignore[attr-defined]


def silent_place(s: Scene, status: str) -> None:
    """Orders are taken, and their only status is this one."""

    def answer(placed: Any) -> list[tuple[object, ...]]:
        placed.status = status
        return [(3, placed.order_id, status, 0, placed.qty, 0, placed.perm_id, 0, 0, placed.client_id, "", 0)]

    venue(s).answer_place = answer


async def named(s: Scene, text: str) -> None:
    """Wait until an operator would read that text."""
    seen: list[str] = []
    for _ in range(200):
        seen += s.broker.set_aside()  # type: ignore[attr-defined]
        if any(text in line for line in seen):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{text!r} is not in {seen}")


@case("connection", "ibkr")
async def a_client_id_in_use_is_named_with_a_remedy(s: Scene) -> None:
    from quantd.adapters.brokers.ibkr.broker import Ibkr

    second = Ibkr(s.broker._settings, s.rig.universe, s.rig.run, s.rig.now)  # type: ignore[attr-defined]
    with pytest.raises(VenueError, match=r"client id.*326.*other daemon"):
        await second.open()
    await second.close()


@case("connection", "ibkr")
async def a_client_id_that_the_gateway_still_holds_is_waited_for_at_a_reconnection(s: Scene) -> None:
    session = venue(s).sessions[0]
    ghost = type(session)(session.writer, session.client_id)
    session.writer.transport.abort()
    venue(s).sessions[:] = [ghost]
    await s.until(lambda: s.books.conditions() == [False])
    await asyncio.sleep(0.3)
    assert s.books.conditions() == [False]
    venue(s).sessions.remove(ghost)
    await s.until(lambda: s.books.conditions() == [False, True])


@case("connection", "ibkr")
async def a_next_valid_id_that_jumps_is_used(s: Scene) -> None:
    await s.rest(Row(s.column("plain"), 10))
    for session in venue(s).sessions:
        venue(s)._send(session, frame(9, 1, 5000))
    await asyncio.sleep(0.05)
    basket = await s.rest(Row(s.column("other"), 10))
    assert order(s, basket).order_id >= 5000


@case("connection", "ibkr")
async def a_gateway_without_the_venue_is_away_until_it_has_it_again(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    for code in (1101, 1102):
        venue(s).announce(1100, "Connectivity between IB and TWS has been lost.")
        await s.until(lambda: s.books.conditions()[-1:] == [False])
        before = venue(s).requests["3"]
        unsent = s.decide(Row(s.column("other"), 10))
        sending = asyncio.create_task(s.broker.submit(unsent))
        await asyncio.sleep(0.2)
        assert venue(s).requests["3"] == before, "an order was sent into the void"
        venue(s).silent = True
        venue(s).fill(order(s, basket), Decimal(2), PRICE)
        venue(s).silent = False
        venue(s).announce(code, "Connectivity between IB and TWS has been restored")
        await s.until(lambda: s.books.conditions()[-1:] == [True])
        s.books.take(await sending)
        await s.filled(basket, 2 if code == 1101 else 4)  # what was missed is found


@case("connection", "ibkr")
async def notices_about_farms_of_market_data_are_noise(s: Scene) -> None:
    s.broker.set_aside()  # type: ignore[attr-defined]
    for code in (2103, 2104, 2105, 2106, 2107, 2108, 2119, 2158):
        venue(s).announce(code, "A farm connection is OK or not")
    await s.rest(Row(s.column("plain"), 10))
    assert s.books.conditions() == []
    assert list(s.broker.set_aside()) == []  # type: ignore[attr-defined]


@case("connection", "ibkr")
async def the_nightly_reset_loses_no_fill(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).announce(1100, "Connectivity between IB and TWS has been lost.")
    await s.rig.down()
    await s.until(lambda: s.books.conditions() == [False])
    venue(s).fill(order(s, basket), Decimal(10), PRICE)
    await asyncio.sleep(0.5)
    await s.rig.up()
    await s.until(lambda: s.books.conditions() == [False, True])
    await s.state(basket, OrderState.FILLED)


@case("connection", "ibkr")
async def a_gateway_that_waits_for_its_weekly_log_in_is_told_once(s: Scene) -> None:
    venue(s).accepting = False  # it listens, and closes what connects
    venue(s).cut()
    await s.until(lambda: s.books.conditions() == [False])
    await asyncio.sleep(1.0)
    assert s.books.conditions() == [False]
    venue(s).accepting = True
    await s.until(lambda: s.books.conditions() == [False, True])


@case("connection", "ibkr")
async def a_competing_session_of_market_data_touches_no_order(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).announce(10197, "No market data during competing live session")
    await named(s, "10197")
    assert s.books.conditions() == []
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(s.column("plain")))
    await s.state(basket, OrderState.FILLED)


@case("connection", "ibkr")
async def no_second_has_more_messages_than_the_gateway_takes(s: Scene) -> None:
    baskets = [s.decide(Row(s.column("plain"), 1)) for _ in range(120)]
    venue(s).most_in_a_second = 0
    for news in await asyncio.gather(*map(s.broker.submit, baskets)):
        s.books.take(news)
    assert len(venue(s).orders) == len({placed.ref for placed in venue(s).orders})
    assert 20 <= venue(s).most_in_a_second <= 50, venue(s).most_in_a_second


@case("connection", "ibkr")
async def an_account_with_money_is_refused_where_the_mode_is_paper(s: Scene) -> None:
    venue(s).accounts.append("U7654321")
    second = s.rig.adapter(key="U7654321")
    with pytest.raises(VenueError, match="U7654321 has money"):
        await second.open()
    await second.close()


@case("executions", "ibkr")
async def an_execution_before_its_status_is_booked(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).fill(order(s, basket), Decimal(10), PRICE, say_status=False)
    await s.state(basket, OrderState.FILLED)


@case("executions", "ibkr")
async def a_status_before_its_execution_is_no_fill_yet(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).fill(order(s, basket), Decimal(10), PRICE, status_first=True)
    await s.state(basket, OrderState.FILLED)
    assert len([report for report in s.books.reports() if any(report.lots)]) == 1


@case("executions", "ibkr")
async def a_filled_order_whose_execution_never_comes_is_unknown(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    s.compare = False
    executed = venue(s).fill(order(s, basket), Decimal(10), PRICE, say_execution=False)
    venue(s).executions.remove(executed)
    await asyncio.sleep(0.5)
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    assert s.books.filled(basket) == [0]
    venue(s).executions.append(executed)
    await s.query(basket)
    assert s.known(basket) == OrderState.FILLED


@case("executions", "ibkr")
async def a_filled_status_whose_execution_was_lost_is_found_by_the_adapter_itself(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).fill(order(s, basket), Decimal(10), PRICE, say_execution=False)
    await s.state(basket, OrderState.FILLED)


@case("executions", "ibkr")
async def a_lost_fill_without_any_word_is_found_within_a_beat(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).fill(order(s, basket), Decimal(10), PRICE, say_execution=False, say_status=False)
    await s.state(basket, OrderState.FILLED)


@case("executions", "ibkr")
async def a_connection_lost_between_status_and_execution_loses_no_fill(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).fill(order(s, basket), Decimal(10), PRICE, say_execution=False)
    venue(s).cut()
    await s.state(basket, OrderState.FILLED)


@case("executions", "ibkr")
async def a_late_commission_is_a_movement_of_cash(s: Scene) -> None:
    since = s.rig.now()
    venue(s).commission = None
    basket = await s.rest(Row(s.column("plain"), 10))
    executed = venue(s).fill(order(s, basket), Decimal(10), PRICE)
    await s.state(basket, OrderState.FILLED)
    await named(s, "reported no commission")
    assert list(await s.broker.flows(since)) == []
    venue(s).report_commission(executed, "1.25")
    venue(s).report_commission(executed, "0")  # twice: the first counts
    for _ in range(100):
        flows = await s.broker.flows(since)
        if flows:
            break
        await asyncio.sleep(0.01)
    assert [(flow.kind, flow.amount_micro, flow.symbol) for flow in flows] == [("fee", -1_250_000, "SPY")]
    s.books.flow(flows)
    assert s.books.truth() == s.rig.truth()


@case("executions", "ibkr")
async def a_commission_that_never_comes_holds_up_no_fill(s: Scene) -> None:
    venue(s).commission = None
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).fill(order(s, basket), Decimal(4), PRICE)
    venue(s).fill(order(s, basket), Decimal(6), PRICE)
    await s.query(basket)
    assert s.known(basket) == OrderState.FILLED


@case("executions", "ibkr")
async def a_commission_in_another_currency_is_named_and_not_booked(s: Scene) -> None:
    venue(s).commission = None
    basket = await s.rest(Row(s.column("plain"), 10))
    executed = venue(s).fill(order(s, basket), Decimal(10), PRICE)
    venue(s).report_commission(executed, "0.90", "EUR")
    await s.state(basket, OrderState.FILLED)
    await named(s, "0.9 EUR")


@case("executions", "ibkr")
async def a_list_of_executions_without_end_leaves_the_order_unknown(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).silent_lists.add("7")
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    venue(s).silent_lists.clear()
    await s.answer()
    await s.query(basket)
    assert s.known(basket) == OrderState.WORKING


@case("executions", "ibkr")
async def a_list_of_orders_without_end_is_never_an_absent_order(s: Scene) -> None:
    await s.rig.misbehave("time-out after", "submit")
    basket = await s.send(Row(s.column("plain"), 10))
    await s.rig.settle()
    for request in ("16", "99"):
        venue(s).silent_lists = {request}
        await s.query(basket)
        assert s.known(basket) == OrderState.UNKNOWN
    venue(s).silent_lists.clear()
    await s.query(basket)
    assert s.known(basket) == OrderState.WORKING


@case("executions", "ibkr")
async def an_unreadable_message_in_a_list_is_never_an_absent_order(s: Scene) -> None:
    gateway = venue(s)
    healthy = gateway._open_order, gateway._status
    gateway._open_order = gateway._status = lambda order: frame(5, "x")
    await s.rig.misbehave("time-out after", "submit")
    basket = await s.send(Row(s.column("plain"), 10))
    await s.rig.settle()
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    assert "could not be read" in s.books.unknown()[-1].reason
    gateway._open_order, gateway._status = healthy
    await s.query(basket)
    assert s.known(basket) == OrderState.WORKING


@case("executions", "ibkr")
async def the_late_end_of_a_list_is_not_the_end_of_the_next_one(s: Scene) -> None:
    gateway = venue(s)
    (slow,), whole = gateway.sessions, gateway._open_orders

    def late(session: Any, fields: list[str]) -> None:
        if session is slow:  # the end of the list that was given up, and then what was asked
            gateway._send(session, frame(53, 1))
            asyncio.get_running_loop().call_later(0.05, whole, session, fields)
        else:
            whole(session, fields)

    gateway.silent_lists = {"16"}
    await s.rig.misbehave("time-out after", "submit")
    basket = await s.send(Row(s.column("plain"), 10))
    await s.rig.settle()
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    gateway._open_orders, gateway.silent_lists = late, set()
    await s.query(basket)
    assert not s.books.not_found()
    await s.answer()
    assert s.known(basket) == OrderState.WORKING


@case("executions", "ibkr")
async def an_execution_of_before_a_restart_that_is_corrected_is_booked_back(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(s.column("plain")))
    await s.state(basket, OrderState.FILLED)
    later = await s.adapter()
    later.remember(basket)
    await s.listen_to(later)
    await asyncio.sleep(0.2)
    await s.rig.take_back(basket, 0, 9, s.rig.price_nano(s.column("plain")) - NANO)
    await s.until(lambda: s.books.truth() == s.rig.truth())
    await heard_of(s)


@case("orders", "ibkr")
async def an_unknown_order_of_an_earlier_day_stays_for_a_person(s: Scene) -> None:
    await s.rig.misbehave("time-out before", "submit")
    basket = await s.send(Row(s.column("plain"), 10, end=0))
    s.rig.offset_ns += 30 * 3600 * NANO  # type: ignore[attr-defined]
    venue(s).new_day()
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    assert "earlier day" in s.books.unknown()[-1].reason
    assert not s.books.not_found()
    s.books.take(await s.broker.submit(basket))
    assert s.rig.has(basket, 0) == [], "sent again although nobody knows of the first"


@case("orders", "ibkr")
async def an_order_that_filled_yesterday_unheard_is_not_sent_again(s: Scene) -> None:
    await s.rig.misbehave("answer lost", "submit")
    venue(s).accepting = False  # the connection that is lost with the answer is not replaced before the next day
    basket = await s.send(Row(s.column("plain"), 10, end=0))
    s.compare = False
    venue(s).fill(order(s, basket), Decimal(10), PRICE)
    s.rig.offset_ns += 30 * 3600 * NANO  # type: ignore[attr-defined]
    venue(s).new_day()
    venue(s).accepting = True
    later = await s.adapter()
    later.remember(basket)
    s.books.take(await later.submit(basket))
    await s.query(basket, later)
    assert s.known(basket) == OrderState.UNKNOWN
    assert len(s.rig.has(basket, 0)) == 1


@case("orders", "ibkr")
async def orders_behind_one_whose_connection_is_cut_are_each_resolved(s: Scene) -> None:
    await s.rig.misbehave("time-out before", "submit")
    await s.rig.misbehave("answer lost", "submit")
    basket = await s.send(Row(s.column("plain"), 10), Row(s.column("other"), 20), Row(s.column("fine"), 300))
    await s.answer()
    await s.rig.settle()
    await s.query(basket)
    orders = [len(s.rig.has(basket, row)) for row in range(3)]
    assert orders[:2] == [0, 1]
    assert s.books.states(basket) == [OrderState.WORKING if there else OrderState.EXPIRED for there in orders]


@case("orders", "ibkr")
async def two_permanent_ids_under_one_reference_are_told_and_not_booked(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    s.compare = False
    first = order(s, basket)
    second = venue(s).place("SPY", "10", "400", client_id=first.client_id, order_id=900, ref=first.ref)
    venue(s).fill(second, Decimal(10), PRICE)
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    assert str(second.perm_id) in s.books.unknown()[-1].reason
    assert s.books.filled(basket) == [0]
    venue(s).orders.remove(second)


@case("orders", "ibkr")
async def orders_of_another_client_and_by_hand_are_listed_apart(s: Scene) -> None:
    by_hand = venue(s).place("SPY", "5", "390")
    api = venue(s).place("SPY", "-3", "410", client_id=77, order_id=4, ref="theirs")
    account = await s.broker.account()
    assert sorted(o.venue_id for o in account.foreign) == sorted([str(by_hand.perm_id), str(api.perm_id)])
    assert [o.lots for o in account.foreign] == [5, -3]
    basket = await s.rest(Row(s.column("plain"), 10))
    assert len((await s.broker.account()).ours) == 1
    assert s.known(basket) == OrderState.WORKING


@case("orders", "ibkr")
async def pending_submit_for_ever_is_unknown_and_counts_until_it_ends(s: Scene) -> None:
    silent_place(s, "PendingSubmit")
    basket = await s.send(Row(s.column("plain"), 10))
    assert s.known(basket) == OrderState.UNKNOWN
    await s.rig.settle()
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    assert "PendingSubmit" in s.books.unknown()[-1].reason
    venue(s).end(order(s, basket))
    await s.query(basket)
    assert s.known(basket) == OrderState.CANCELLED


@case("orders", "ibkr")
async def inactive_without_a_reason_is_unknown_until_a_list_has_its_end(s: Scene) -> None:
    silent_place(s, "Inactive")
    basket = await s.send(Row(s.column("plain"), 10))
    assert s.known(basket) == OrderState.UNKNOWN
    await s.query(basket)
    assert "Inactive" in s.books.unknown()[-1].reason
    order(s, basket).status, order(s, basket).reason = "Rejected", "no permission"
    await s.query(basket)
    assert s.known(basket) == OrderState.REJECTED
    assert s.books.reports()[-1].reason == "no permission"


@case("orders", "ibkr")
async def inactive_before_its_rejection_is_a_rejection(s: Scene) -> None:
    def answer(placed: Any) -> list[tuple[object, ...]]:
        placed.status = "Rejected"
        status = (3, placed.order_id, "Inactive", 0, placed.qty, 0, placed.perm_id, 0, 0, placed.client_id, "", 0)
        return [status, (4, 2, placed.order_id, 201, "Order rejected - reason:No Trading Permission", "")]

    venue(s).answer_place = answer
    basket = await s.send(Row(s.column("plain"), 10))
    assert s.known(basket) == OrderState.REJECTED
    assert "No Trading Permission" in s.books.reports()[-1].reason


@case("orders", "ibkr")
async def a_warning_is_no_rejection(s: Scene) -> None:
    words = "Order Message: Warning: your order will not be placed at the exchange until 2026-11-30 09:30:00"

    def answer(placed: Any) -> list[tuple[object, ...]]:
        placed.status = "PreSubmitted"
        return [
            (4, 2, placed.order_id, 399, words, ""),
            (3, placed.order_id, "PreSubmitted", 0, placed.qty, 0, placed.perm_id, 0, 0, placed.client_id, "", 0),
        ]

    venue(s).answer_place = answer
    basket = await s.send(Row(s.column("plain"), 10))
    assert s.known(basket) == OrderState.WORKING
    await named(s, "399")


@case("orders", "ibkr")
async def a_price_off_the_tick_is_refused_with_its_code(s: Scene) -> None:
    venue(s).refuse["SPY"] = 110, "The price does not conform to the minimum price variation for this contract."
    basket = await s.send(Row(s.column("plain"), 10))
    assert s.known(basket) == OrderState.REJECTED
    assert "110" in s.books.reports()[-1].reason
    assert (tick_nano(NANO), tick_nano(NANO - 1)) == (NANO // 100, NANO // 10_000)


@case("orders", "ibkr")
async def an_undocumented_code_leaves_the_order_unknown_until_the_lists_lack_it(s: Scene) -> None:
    venue(s).refuse["SPY"] = 19999, "Something new."
    basket = await s.send(Row(s.column("plain"), 10))
    assert s.known(basket) == OrderState.UNKNOWN
    await s.rig.settle()
    await s.query(basket)
    assert s.known(basket) == OrderState.REJECTED
    assert "Something new. (code 19999)" in s.books.reports()[-1].reason


@case("orders", "ibkr")
async def fractions_that_the_venue_refuses_are_a_rejection(s: Scene) -> None:
    venue(s).listed["VTI"].size_increment = Decimal(1)
    basket = await s.send(Row(s.column("fine"), 1237))
    assert s.known(basket) == OrderState.REJECTED
    assert "10243" in s.books.reports()[-1].reason
    universe = Universe((s.rig.universe.instruments[s.column("fine")],))
    second = s.rig.adapter(universe=universe)
    with pytest.raises(VenueError, match="a lot of VTI"):
        await second.open()
    await second.close()


@case("orders", "ibkr")
async def an_order_of_another_client_id_is_not_cancelled_and_that_is_said(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    order(s, basket).client_id = 12
    later = await s.adapter()
    later.remember(basket)
    s.books.take(await later.cancel(basket.sample, basket.n, 0, s.rig.now()))
    (refusal,) = s.books.cancels_refused()
    assert "client 12 placed it" in refusal.reason
    assert s.rig.has(basket, 0)[0].open


@case("orders", "ibkr")
async def an_overnight_split_shows_in_the_lots_of_the_account(s: Scene) -> None:
    s.compare = False
    column = s.column("plain")
    await s.rig.hold(column, 30)
    assert (await s.broker.account()).lots[column] == 30
    venue(s).positions["SPY"] *= 4
    venue(s).listed["SPY"].price /= 4
    account = await s.broker.account()
    assert account.lots[column] == 120
    assert account.odd == ()


@case("orders", "ibkr")
async def a_symbol_that_means_another_contract_is_untradable(s: Scene) -> None:
    known = s.broker.identity.assets  # type: ignore[attr-defined]
    assert known["SPY"] == str(venue(s).listed["SPY"].con_id)
    venue(s).listed["SPY"].con_id = 999
    later = s.rig.adapter()
    later.identity = msgspec.structs.replace(later.identity, assets=known)  # type: ignore[attr-defined]
    await opened(later)
    s._more.append(later)
    assert "another contract" in later.untradable[s.column("plain")]  # type: ignore[attr-defined]


@case("money", "ibkr")
async def unsettled_cash_of_an_account_without_credit_is_not_spendable(s: Scene) -> None:
    venue(s).margin, venue(s).unsettled = Decimal(1), Decimal(250_000)
    account = await s.broker.account()
    assert account.cash_micro == 1_000_000_000_000
    assert account.settled_micro == account.spendable_micro == 750_000_000_000
    venue(s).margin = Decimal(4)
    account = await s.broker.account()
    assert account.settled_micro is None
    assert account.spendable_micro == 4_000_000_000_000


@case("money", "ibkr")
async def cash_in_another_currency_is_named_and_not_counted(s: Scene) -> None:
    venue(s).other_cash["EUR"] = Decimal("512.50")
    account = await s.broker.account()
    assert account.cash_micro == 1_000_000_000_000
    await named(s, "512.50 EUR")


@case("money", "ibkr")
async def an_account_of_another_base_currency_is_refused_with_both_names(s: Scene) -> None:
    venue(s).base = "EUR"
    second = s.rig.adapter(key=venue(s).account, universe=Universe(s.rig.universe.instruments[:1]))
    with pytest.raises(VenueError, match=r"account is in EUR.*USD"):
        await second.open()
    await second.close()


@case("money", "ibkr")
async def values_of_a_server_that_resets_are_not_read_as_an_account(s: Scene) -> None:
    venue(s).ready = False
    with pytest.raises(ConnectionError):
        await s.broker.account()
    venue(s).ready = True
    assert (await s.broker.account()).cash_micro == 1_000_000_000_000


@case("money", "ibkr")
async def executions_of_today_are_the_record_of_trades(s: Scene) -> None:
    since = s.rig.now() - NANO
    basket = await s.rest(Row(s.column("plain"), 10))
    venue(s).fill(order(s, basket), Decimal(10), PRICE)
    await s.state(basket, OrderState.FILLED)
    (trade,) = await s.broker.trades(since - NANO)  # type: ignore[attr-defined]
    assert (trade.symbol, trade.units_nano, trade.price_nano) == ("SPY", 10 * NANO, 400 * NANO)
    assert trade.fee_micro == 1_000_000
    assert all(state in ENDED for state in s.books.states(basket))
    assert not [message for message in s.books.news if isinstance(message, Condition)]
