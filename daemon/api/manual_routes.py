"""POST /api/v1/orders, /cash, /halts and /reconcile: an operator's manual actions.

The answer has the result of the action and follows its commit to the journal.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from quantd.daemon.api.command_routes import WAIT_S, Done, Order, command
from quantd.daemon.api.problems import Refused
from quantd.daemon.api.routes import Post
from quantd.daemon.commands.manual import (
    Cash,
    Compared,
    Halt,
    OrderByHand,
    Ordered,
    Paid,
    Settle,
    Stopped,
    became_of_flow,
    became_of_halt,
    became_of_order,
    compared,
    correction,
    flow,
    halted,
    how_of,
    wished,
)
from quantd.daemon.runtime.service import Service
from quantd.trading.effects import Effect
from quantd.trading.events import Event

COMPARE_S: Final = 12.0
"""Seconds after which a reconciliation with the venue times out."""


async def order(service: Service, asked: OrderByHand, sender: str) -> Ordered:
    """Submits a manual order through the gate."""
    wish = wished(service, asked, sender)
    return became_of_order(service, wish, await _done(service, wish))


async def cash(service: Service, asked: Cash, sender: str) -> Paid:
    """Books a deposit or a withdrawal."""
    moved = flow(service, asked, sender)
    return became_of_flow(service, moved, await _done(service, moved))


async def halt(service: Service, asked: Halt, sender: str) -> Stopped:
    """Halts or resumes trading of one symbol."""
    event = halted(service, asked, sender)
    await _done(service, event)
    return became_of_halt(service, event)


async def reconcile(service: Service, asked: Settle, sender: str) -> Compared:
    """Compares the books with the venue's account now; with `how`, also books the differences."""
    if service.compare is None:
        text = "there is no venue account to reconcile with: the broker is simulated, or not connected yet"
        raise Refused(409, "venue", text)
    said = how_of(service, asked.how, asked.reason)
    try:
        async with asyncio.timeout(COMPARE_S):
            account = await service.compare()
    except TimeoutError:
        account = None
    if account is None:
        text = f"not reconciled within {COMPARE_S:g} s: no answer of the venue, or orders in flight; try again"
        raise Refused(504, "late", text)
    before = compared(service.shell.state, account, asked.how)
    if not asked.how:
        return before
    await _done(service, correction(service, account, asked.how, said, sender))
    return msgspec.structs.replace(before, switch=int(service.shell.state.switch.state))


def posts(service: Service) -> tuple[Post, ...]:
    """All POSTs: commands to the switch, and manual actions.

    Cash and corrections need admin: they change the account that limits are measured against.
    """
    return (
        Post(
            "/api/v1/commands", partial(command, service), Order, Done, "Halt, reduce, resume or flatten.",
            '{"command": "halt", "reason": "..", "agent": ""}',
        ),
        Post(
            "/api/v1/orders", partial(order, service), OrderByHand, Ordered, "A manual order through the gate.",
            '{"side": "buy", "qty": "10", "symbol": "SPY", "reason": ".."}',
        ),
        Post(
            "/api/v1/cash", partial(cash, service), Cash, Paid, "A deposit or a withdrawal.",
            '{"do": "add", "amount": "1000.00", "reason": ".."}', "admin",
        ),
        Post(
            "/api/v1/halts", partial(halt, service), Halt, Stopped, "Halt or resume trading of one symbol.",
            '{"do": "halt", "symbol": "SPY", "reason": ".."}',
        ),
        Post(
            "/api/v1/reconcile", partial(reconcile, service), Settle, Compared, "Compare the books with the venue.",
            '{"how": "", "reason": ".."}', "admin",
        ),
    )  # fmt: skip


async def _done(service: Service, event: Event) -> Sequence[Effect]:
    """The effects of an event, once the event is durable. Raises Refused and InboxFull."""
    done = service.inbox.command(event)
    try:
        async with asyncio.timeout(WAIT_S):
            return await asyncio.shield(done)
    except TimeoutError:
        raise Refused(
            504, "late", f"not committed within {WAIT_S:g} s and still queued; check `quantd status`"
        ) from None
