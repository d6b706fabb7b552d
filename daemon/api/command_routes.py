"""POST /api/v1/commands: an operator's halt, reduce, resume or flatten.

The answer follows the commit of the command to the journal. Halt and reduce also act while the store takes no writes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from quantd.daemon.api.guard import Refused, who
from quantd.daemon.commands.control import Command, NotDone, operator
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import SWITCH
from quantd.risk.switch import HALT, REDUCE

WAIT_S: Final = 10.0

IN_FORCE: Final = {"halt": HALT, "reduce": REDUCE}
"""Command -> lowest state of the switch at which the command is in force, committed or not."""

STATUS: Final = {
    "agent": 404, "command": 422, "reason": 422, "not_ready": 503, "halt_file": 409, "down": 409, "symbol": 404,
    "amount": 422, "venue": 409, "agrees": 409, "busy": 429,
}  # fmt: skip
"""Fault of a refused command -> HTTP status of the answer."""


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of the request. `agent` is empty for the house."""

    command: Command
    reason: str = ""
    agent: str = ""


class Done(Struct, frozen=True):
    """The answer to a command that is in force, with the present state of the switch.

    `unrecorded` is the reason why the command is not in the journal yet; empty when it is.
    """

    command: str
    agent: str
    switch: str
    reason: str
    flattening: bool
    unrecorded: str = ""


Handler = Callable[[web.Request, Service], Awaitable[Struct]]
"""Carries out an authorised command and returns its answer. Raises Refused, NotDone and InboxFull."""

Body = TypeVar("Body", bound=Struct)


async def body(request: web.Request, kind: type[Body], example: str) -> Body:
    """The decoded body of a request. Raises Refused."""
    if request.content_type != "application/json":
        raise Refused(415, "content_type", "the body is not application/json; send it as application/json")
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as why:
        text = str(why).replace("`", "")
        raise Refused(422, "command", f"{text}; send {example}") from None


def refused(why: NotDone | InboxFull) -> Refused:
    """The error response to a command that cannot be carried out."""
    fault = why.fault if isinstance(why, NotDone) else "busy"
    return Refused(STATUS[fault], fault, str(why), {"Retry-After": "1"} if fault in ("not_ready", "busy") else {})


async def command(request: web.Request, service: Service) -> Done:
    """Carries out an authorised command. Raises Refused, NotDone and InboxFull."""
    order = await body(request, Order, '{"command": "halt", "reason": "..", "agent": ""}')
    done = service.inbox.command(operator(service, order.command, order.reason, who(request), order.agent))
    state = service.shell.state
    unrecorded = ""
    try:
        async with asyncio.timeout(WAIT_S):
            await asyncio.shield(done)
    except TimeoutError:
        if state.switch_of(order.agent).state < IN_FORCE.get(order.command, HALT + 1):
            text = f"the command was not committed within {WAIT_S:g} s and is still queued; check `quantd status`"
            raise Refused(504, "late", text) from None
        unrecorded = f"the store did not commit within {WAIT_S:g} s"
    switch = state.switch_of(order.agent)
    return Done(
        order.command,
        order.agent,
        SWITCH[switch.state],
        switch.reason,
        state.flattening,
        service.store_error or unrecorded,
    )
