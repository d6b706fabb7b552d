"""POST /api/v1/orders, /orders/settle, /cash, /halts, /reconcile and /limits/approve: an operator's manual actions.

What can go wrong: an order differs from its preview. So the order may name the digest of its preview in `as_planned`,
and the preview is then computed again. If the plan has changed, the order is refused, and the answer says what would
pass now. The gate, the risk checks of every order, decides once more when the engine handles the order.

A withdrawal sends no order, so its limits are measured on a copy of the state before it is booked. Each answer has the
result of its action, and is sent after the commit to the journal.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import wraps
from hashlib import blake2b
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from quantd.daemon.engine import step
from quantd.daemon.engine.safety.pending_limits import digest_of, unsigned_change
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.service import Service
from quantd.server.api.commits import committed
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Obeys, Post
from quantd.server.api.run_reader import RunReader, StateCopies
from quantd.server.requests.cancels import (
    CancelOne,
    CancelPreview,
    cancel_requested,
    cancelled_held,
    cancelled_order,
    found_order,
    held_order,
    withdrawn,
)
from quantd.server.requests.control import Because, NotDone, after_the_end, check_ready, market_now, one_line
from quantd.server.requests.manual import (
    Cash,
    Halt,
    OrderByHand,
    Settle,
    became_of_flow,
    became_of_halt,
    became_of_order,
    compared,
    correction,
    flow,
    halted,
    how_of,
    manual_order,
)
from quantd.server.requests.manual_answers import (
    CancelledOrder,
    Compared,
    Ordered,
    Paid,
    Previewed,
    SettledOrder,
    Stopped,
)
from quantd.server.requests.order_outcomes import (
    SettleOrder,
    became_of_settlement,
    found_unanswered,
    order_settled,
)
from quantd.server.requests.tokens import stored
from quantd.server.requests.transfer_limits import withdrawal_fault
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect
from quantd.trading.events import Approved, DeviceSignature
from quantd.trading.orders import OrderState

COMPARE_S: Final = 30.0
"""Seconds after which a reconciliation times out. A difference is read again for 12 s before it counts."""

QUERY_S: Final = 8.0
"""Seconds after which the venue's answer to the query of one order is no longer awaited."""

PLAN_BYTES: Final = 16
"""Length of the digest that names a previewed order, in bytes."""

NOT_SECOND: Final = (
    "looser limits need the approval of a second person: send a token of scope admin that was made before they were "
    "requested, which was at"
)
"""Beginning of a message; the instant since which the limits wait follows."""


class ByHand:
    """What the manual actions of one running service need."""

    def __init__(self, run: RunReader) -> None:
        self.service, self.folder, self.copies = run.service, run.folder, StateCopies(run.service)


class Approve(Struct, frozen=True, forbid_unknown_fields=True):
    """Approves the looser limits that wait. `signed` is the signature of a device, for who approves."""

    reason: Because
    signed: DeviceSignature | None = None


class Loosened(Struct, frozen=True):
    """The limits that are looser from now on, and since when they waited."""

    looser: list[str]
    waited_since: str


async def order(by_hand: ByHand, asked: OrderByHand, sender: str) -> Ordered:
    """Submit a manual order through the gate. Raises Refused if it would now differ from its preview."""
    if asked.as_planned:
        preview_now = await preview(by_hand, asked, sender)
        if preview_now.plan != asked.as_planned:
            what = f"{preview_now.would.allowed} of {preview_now.would.asked} {preview_now.would.symbol} would pass now"
            raise Refused(409, "conflict", f"the order would now differ from its preview: {what}; preview it again")
    service = by_hand.service
    wish, run = manual_order(service, asked, sender), service.run
    commit = await committed(service, lambda state, effects: became_of_order(state, effects, wish, run), wish)
    return _answer(service, commit.answer)


def _answer(service: Service, ordered: Ordered) -> Ordered:
    return replace(ordered, text=after_the_end(service, ordered.text)) if ordered.order or ordered.waits else ordered


def _plan_digest(asked: OrderByHand, would: Ordered) -> str:
    """The digest of a requested order, without its reason, and of `would`, what would pass the risk limits."""
    order = replace(asked, reason="", as_planned="")
    return blake2b(msgspec.json.encode([order, would]), digest_size=PLAN_BYTES).hexdigest()


async def preview(by_hand: ByHand, asked: OrderByHand, sender: str) -> Previewed:
    """The gate's verdict on a manual order, on a copy of the state. Raises Refused, NotDone."""
    wish, run = manual_order(by_hand.service, asked, sender), by_hand.service.run

    def work(copy: State) -> Ordered:
        copy.now = max(copy.now, wish.ts)
        effects = step(copy, wish)
        return _answer(by_hand.service, became_of_order(copy, effects, wish, run))

    would = await by_hand.copies.result(work)
    return Previewed(_plan_digest(asked, would), would)


async def preview_cancel(service: Service, asked: CancelPreview, sender: str) -> CancelledOrder:
    """The open order that a cancel would end; nothing is sent. Raises NotDone."""
    check_ready(service)
    state = service.shell.state
    if (held := held_order(state, asked.order)) is not None:
        return cancelled_held(state, asked.order, held, "held")
    return cancelled_order(state, asked.order, *found_order(state, service.run, asked.order))


async def cancel(service: Service, asked: CancelOne, sender: str) -> CancelledOrder:
    """Cancel one open order. Raises NotDone, and Refused if the order has ended meanwhile."""
    if (held := held_order(service.shell.state, asked.order)) is not None:
        check_ready(service)
        ended = cancelled_held(service.shell.state, asked.order, held, "cancelled")
        return (await committed(service, lambda *_: ended, withdrawn(service, held, asked, sender))).answer
    event = cancel_requested(service, asked, sender)
    as_open = await preview_cancel(service, CancelPreview(asked.order), sender)

    def became(state: State, _: Sequence[Effect]) -> CancelledOrder:
        open_basket = state.working.get((event.sample, event.n))
        state_now = OrderState.CANCELLED if open_basket is None else OrderState(open_basket.state[event.row])
        return replace(as_open, state=state_now.name.lower())

    return (await committed(service, became, event)).answer


async def cash(by_hand: ByHand, asked: Cash, sender: str) -> Paid:
    """Book a deposit or a withdrawal. Raises Refused for a withdrawal that would break a limit."""
    service = by_hand.service
    moved = flow(service, asked, sender)
    checked = moved.amount_micro < 0 and not asked.beyond_limits
    if checked and (why := await by_hand.copies.result(lambda copy: withdrawal_fault(copy, moved))):
        remedy = "sell first, withdraw less, or send beyond_limits (`quantd cash remove --beyond-limits`)"
        raise Refused(409, "conflict", f"the withdrawal would break a limit of {why}; {remedy}")
    commit = await committed(service, lambda state, _: became_of_flow(state, moved), moved)
    return commit.answer


async def halt(service: Service, asked: Halt, sender: str) -> Stopped:
    """Halts or resumes trading of one symbol."""
    event = halted(service, asked, sender)
    commit = await committed(service, lambda state, _: became_of_halt(state, asked.symbol), event)
    return commit.answer


async def reconcile(service: Service, asked: Settle, sender: str) -> Compared:
    """Compare the books with the venue's account now; with `how`, also book the differences.

    Raises Refused if there is no venue account, or the venue gives no answer within COMPARE_S.
    """
    if service.compare is None:
        text = "there is no venue account to reconcile with: the broker is simulated, or not connected yet"
        raise Refused(409, "venue", text)
    reason = how_of(service, asked.how, asked.reason)
    try:
        async with asyncio.timeout(COMPARE_S):
            account = await service.compare()
    except TimeoutError:
        account = None
    if account is None:
        why = service.compare_failure or "no answer of the venue, or orders in flight"
        # the account is known to fail: to try again would not help
        if "account" in service.shell.state.down:
            raise Refused(409, "venue", f"not reconciled: {why}")
        raise Refused(504, "late", f"not reconciled within {COMPARE_S:g} s: {why}; try again")
    differences = compared(service.shell.state, account, asked.how)
    if not asked.how:
        return differences
    event = correction(service, account, asked.how, reason, sender)
    commit = await committed(service, lambda state, _: int(state.switch.state), event)
    return replace(differences, switch=commit.answer)


async def settle(service: Service, asked: SettleOrder, sender: str) -> SettledOrder:
    """Settle an order as the operator says, after the venue did not answer a query about it.

    Raises NotDone, and Refused if the broker is simulated.
    """
    if service.query is None:
        raise Refused(409, "venue", "the broker is simulated and answers each order itself: there is nothing to settle")
    try:
        order_settled(service, asked, sender)  # a faulty request is refused before the venue is asked
    except NotDone as refused:
        known = None
        if refused.fault == "order":
            known = await asyncio.to_thread(service.store.order_state, service.run, asked.order)
        if known is None:
            raise
        text = f"{asked.order} is {OrderState(known).name.lower()}: only an order without the venue's answer is settled"
        raise NotDone("conflict", text) from None
    work, row = found_unanswered(service.shell.state, asked.order)
    with suppress(TimeoutError):
        async with asyncio.timeout(QUERY_S):
            await service.query(work.basket.sample, work.basket.n, row)
    event = order_settled(service, asked, sender)  # built again after the wait: the venue may have answered meanwhile
    commit = await committed(service, lambda state, _: became_of_settlement(state, event, asked.order), event)
    return commit.answer


async def approve(by_hand: ByHand, asked: Approve, sender: str) -> Loosened:
    """Apply the looser limits that wait for approval. Raises Refused, NotDone and InboxFull.

    The sender needs a named token that was made before the limits began to wait: a second person. A change of who
    approves needs the signature of a device.
    """
    service = by_hand.service
    check_ready(service)
    reason = one_line(asked.reason)
    if not reason:
        raise NotDone("reason", "the approval has no reason for the journal; send one")
    state = service.shell.state
    waiting = state.loosening
    if waiting is None:
        raise Refused(409, "conflict", "no looser limits wait for approval; `quantd status` shows limits that wait")
    if why := unsigned_change(state, waiting, asked.signed, market_now(service)):
        raise Refused(403, "device", f"{why}; sign on the machine of the key: quantd device confirm --key FILE")
    tokens = await asyncio.to_thread(stored, by_hand.folder)
    token = next((candidate for candidate in tokens if sender == f"api:{candidate.name}:{candidate.id}"), None)
    since = waiting.asked_ns or waiting.since  # the clock of tokens; the market's may be years back
    if asked.signed is None and (token is None or token.created_ns >= since):
        # the owner's token is none: who can read its file can also change the configuration, and is one person
        raise Refused(403, "second", f"{NOT_SECOND} {instant_text(since)}")
    # by the name: a rotated token has two ids for a while
    if asked.signed is None and sender.rpartition(":")[0] in {who.rpartition(":")[0] for who in waiting.who}:
        text = "the token that asked for the looser limits does not approve them: a second person does, with another"
        raise Refused(403, "second", text)
    approved = Approved(market_now(service), reason, sender, digest_of(waiting), asked.signed)
    loosened = Loosened(list(waiting.looser), instant_text(waiting.since))
    return (await committed(service, lambda *_: loosened, approved)).answer


SETTLED_AS: Final[Any] = Annotated[
    SettleOrder,
    Meta(
        extra_json_schema={
            "oneOf": [
                {"required": ["filled"], "properties": {"filled": {"minLength": 1}, "never_sent": {"const": False}}},
                {"required": ["never_sent"], "properties": {"filled": {"maxLength": 0}, "never_sent": {"const": True}}},
            ]
        }
    ),
]
"""Body of a settlement, for the OpenAPI document: either `filled` or `never_sent`. The handler checks it itself."""


def _of_service(handler: Obeys) -> Obeys:
    """A handler that needs the service alone."""
    return wraps(handler)(lambda by_hand, *asked: handler(by_hand.service, *asked))


ROUTES: Final = RouteGroup(
    "manual",
    110,
    lambda context: ByHand(context.run),
    routes=(
        Post(
            "/api/v1/orders", order, "A manual order through the gate.",
            '{"side": "buy", "qty": "10", "symbol": "SPY", "reason": ".."}', call="order",
            form={
                "about": "Submit a manual order through the gate; quantities and prices are decimal text.",
                "without": ("as_planned",),
            },
        ),
        Post(
            "/api/v1/orders/preview", preview, "What a manual order would become; nothing is sent.",
            '{"side": "buy", "qty": "10", "symbol": "SPY", "reason": ".."}', call="preview_order",
            form={"without": ("stop", "target", "as_planned"), "keyed": False},
        ),
        Post(
            "/api/v1/orders/cancel", _of_service(cancel), "Cancel one open order.", '{"order": "q-..", "reason": ".."}',
            call="cancel_order", form={"about": "Cancel what is left of one open order, by its id."},
        ),
        Post(
            "/api/v1/orders/cancel/preview", _of_service(preview_cancel), "What a cancel would end; nothing is sent.",
            '{"order": "q-.."}', call="preview_cancel", form={"keyed": False},
        ),
        Post(
            "/api/v1/orders/settle", _of_service(settle), "Settle an order that the venue does not confirm.",
            '{"order": "q-..", "filled": "0.25@90000", "never_sent": false, "reason": ".."}', "admin", body=SETTLED_AS,
            call="settle_order",
            form={
                "about":
                "Settle an order that the venue does not confirm: `filled` as QUANTITY@PRICE, or `never_sent`.",
            },
        ),
        Post(
            "/api/v1/cash", cash, "A deposit or a withdrawal.", '{"do": "add", "amount": "1000.00", "reason": ".."}',
            "admin", call="cash",
            form={
                "about": "Book a deposit or a withdrawal. "
                "One that breaks a limit is refused unless it may go `beyond_limits`.",
            },
        ),
        Post(
            "/api/v1/halts", _of_service(halt), "Halt or resume trading of one symbol.",
            '{"do": "halt", "symbol": "SPY", "reason": ".."}', call="halt_symbol",
            again=lambda by_hand, asked: became_of_halt(by_hand.service.shell.state, asked.symbol, replayed=True),
            form={
                "about":
                'Halt or resume trading of one symbol. With `jump` ("real" or "2:1"), end its hold after a price jump.',
            },
        ),
        Post(
            "/api/v1/reconcile", _of_service(reconcile), "Compare the books with the venue.",
            '{"how": "", "reason": ".."}', "admin", call="reconcile",
            form={
                "about": "Compare the books with the venue's account; with `how`, also book the differences.",
                "places": ("how", "reason"),
            },
        ),
        Post(
            "/api/v1/limits/approve", approve, "Apply looser limits that wait.", '{"reason": ".."}', "admin",
            call="approve_limits",
        ),
    ),
)  # fmt: skip
"""Cash and corrections need admin: they change the account against which limits are measured."""
