"""POST /api/v1/commands: a person's halt, reduce, resume or flatten, answered once it is in the journal."""

import asyncio
from typing import Final, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from daemon.api.guard import Refused
from daemon.inbox import InboxFull
from daemon.overview import READY, SWITCH
from daemon.service import Service
from trading.events import Operator

WAIT_S: Final = 10.0


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """The body. `agent` is empty for the house."""

    command: Literal["halt", "reduce", "resume", "flatten"]
    reason: str = ""
    agent: str = ""


class Done(Struct, frozen=True):
    """The answer: the command is durable, and this is the switch now."""

    command: str
    agent: str
    switch: str
    reason: str
    flattening: bool


_decode = msgspec.json.Decoder(Order).decode


async def command(request: web.Request, service: Service) -> web.Response:
    """Carry out an authorised command. Raises Refused."""
    if request.content_type != "application/json":
        raise Refused(415, "content_type", "send the command as application/json")
    try:
        order = _decode(await request.read())
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as why:
        text = str(why).replace("`", "")
        raise Refused(422, "command", f'{text}; send {{"command": "halt", "reason": "..", "agent": ""}}') from None
    state = service.shell.state
    names = [agent.name for agent in state.rules.agents]
    if order.agent and order.agent not in names:
        raise Refused(404, "agent", f"there is no agent {order.agent!r}; there are: {', '.join(names)}")
    if order.agent and order.command == "flatten":
        raise Refused(422, "command", "flatten is for the whole house; halt or reduce one agent instead")
    if service.status not in READY:
        raise Refused(503, "not_ready", f"the daemon is {service.status}; try again", {"Retry-After": "1"})
    event = Operator(max(state.now, service.shell.ts), order.command, _one_line(order.reason), "api", order.agent)
    try:
        done = service.inbox.command(event)
    except InboxFull as why:
        raise Refused(429, "busy", str(why), {"Retry-After": "1"}) from None
    try:
        async with asyncio.timeout(WAIT_S):
            await asyncio.shield(done)
    except TimeoutError:
        raise Refused(504, "late", "the command waits, but is not in the journal yet; look at the status") from None
    switch = state.agents[names.index(order.agent)].switch if order.agent else state.switch
    answer = Done(order.command, order.agent, SWITCH[switch.state], switch.reason, state.flattening)
    return web.json_response(body=msgspec.json.encode(answer))


def _one_line(text: str) -> str:
    """A reason as the journal and the log keep it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500] or "no reason given"
