"""POST /api/v1/orders, /cash, /halts and /reconcile: an operator's manual actions.

The answer has the result of the action and follows its commit to the journal.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from quantd.daemon.api.command_routes import WAIT_S, Handler, body
from quantd.daemon.api.guard import Refused, who
from quantd.daemon.commands.manual import (
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
    wished,
)
from quantd.daemon.runtime.service import Service
from quantd.trading.effects import Effect
from quantd.trading.events import Event

COMPARE_S: Final = 12.0
"""Seconds after which a reconciliation with the venue times out."""


async def order(request: web.Request, service: Service) -> Struct:
    """Submits a manual order through the gate."""
    asked = await body(request, OrderByHand, '{"side": "buy", "qty": "10", "symbol": "SPY", "reason": ".."}')
    wish = wished(service, asked, who(request))
    return became_of_order(service, wish, await _done(service, wish))


async def cash(request: web.Request, service: Service) -> Struct:
    """Books a deposit or a withdrawal."""
    asked = await body(request, Cash, '{"do": "add", "amount": "1000.00", "reason": ".."}')
    moved = flow(service, asked, who(request))
    return became_of_flow(service, moved, await _done(service, moved))


async def halt(request: web.Request, service: Service) -> Struct:
    """Halts or resumes trading of one symbol."""
    asked = await body(request, Halt, '{"do": "halt", "symbol": "SPY", "reason": ".."}')
    event = halted(service, asked, who(request))
    await _done(service, event)
    return became_of_halt(service, event)


async def reconcile(request: web.Request, service: Service) -> Struct:
    """Compares the books with the venue's account now; with `how`, also books the differences."""
    asked = await body(request, Settle, '{"how": "", "reason": ".."}')
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
    await _done(service, correction(service, account, asked.how, said, who(request)))
    return msgspec.structs.replace(before, switch=int(service.shell.state.switch.state))


ROUTES: Final[dict[str, Handler]] = {
    "/api/v1/orders": order,
    "/api/v1/cash": cash,
    "/api/v1/halts": halt,
    "/api/v1/reconcile": reconcile,
}
"""Path -> handler of each POST; the guard has its scope."""


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
