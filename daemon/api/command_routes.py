"""POST /api/v1/commands: an operator's halt, reduce, resume or flatten.

The answer follows the commit of the command to the journal. Halt and reduce also act while the store takes no writes.
"""

import asyncio
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from quantd.daemon.api.guard import Refused
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
    "amount": 422, "venue": 409, "agrees": 409,
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


_decode = msgspec.json.Decoder(Order).decode


async def command(request: web.Request, service: Service) -> web.Response:
    """Carries out an authorised command. Raises Refused."""
    if request.content_type != "application/json":
        raise Refused(415, "content_type", "the body is not application/json; send the command as application/json")
    try:
        order = _decode(await request.read())
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as why:
        text = str(why).replace("`", "")
        raise Refused(422, "command", f'{text}; send {{"command": "halt", "reason": "..", "agent": ""}}') from None
    try:
        done = service.inbox.command(operator(service, order.command, order.reason, "api", order.agent))
    except NotDone as why:
        later = {"Retry-After": "1"} if why.fault == "not_ready" else {}
        raise Refused(STATUS[why.fault], why.fault, str(why), later) from None
    except InboxFull as why:
        raise Refused(429, "busy", str(why), {"Retry-After": "1"}) from None
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
    answer = Done(
        order.command,
        order.agent,
        SWITCH[switch.state],
        switch.reason,
        state.flattening,
        service.store_error or unrecorded,
    )
    return web.json_response(body=msgspec.json.encode(answer))
