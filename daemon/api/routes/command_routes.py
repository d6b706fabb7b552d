"""POST /api/v1/commands: an operator's halt, reduce, resume or flatten.

The answer follows the commit of the command to the journal. Halt and reduce also act while the store takes no writes.
"""

import asyncio
from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.daemon.api.problems import Refused
from quantd.daemon.commands.control import AgentName, Because, Command, NotDone, operator
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import SWITCH
from quantd.risk.switch import HALT, REDUCE
from quantd.trading.effects import Effect
from quantd.trading.events import Event

WAIT_S: Final = 10.0


class HaltNow(Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="halt"):
    """Stop all trading of the house or of one agent."""

    reason: str = ""
    agent: AgentName = ""


class Reduce(HaltNow, frozen=True, tag="reduce"):
    """Permit only orders that reduce positions."""


class Resume(Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="resume"):
    """Permit trading again."""

    reason: Because
    agent: AgentName = ""


class Flatten(Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="flatten"):
    """Close all positions of all agents."""

    reason: str = ""
    agent: Annotated[str, Meta(extra_json_schema={"maxLength": 0})] = ""


Order = HaltNow | Reduce | Resume | Flatten
"""Body of the request: one struct for each command."""


NAMES: Final[dict[type, Command]] = {HaltNow: "halt", Reduce: "reduce", Resume: "resume", Flatten: "flatten"}

IN_FORCE: Final = {"halt": HALT, "reduce": REDUCE}
"""Command -> lowest state of the switch at which the command is in force, committed or not."""

STATUS: Final = {
    "agent": 404, "command": 422, "reason": 422, "not_ready": 503, "halt_file": 409, "down": 409, "symbol": 404,
    "amount": 422, "conflict": 409, "venue": 409, "agrees": 409, "busy": 429, "artifact": 404, "unfit": 422,
    "incident": 404, "cleared": 409, "schedule": 404,
}  # fmt: skip
"""Fault of a refused command -> HTTP status of the answer."""


class Done(Struct, frozen=True):
    """The answer to a command that is in force, with the present state of the switch.

    `unrecorded` is the reason why the command is not in the journal yet; empty when it is. `replayed` is true where an
    earlier request with the same idempotency key was carried out, and this one was not.
    """

    command: str
    agent: str
    switch: str
    reason: str
    flattening: bool
    unrecorded: str = ""
    replayed: bool = False


def refused(why: NotDone | InboxFull) -> Refused:
    """The error response to a command that cannot be carried out."""
    fault = why.fault if isinstance(why, NotDone) else "busy"
    return Refused(STATUS[fault], fault, str(why), {"Retry-After": "1"} if fault in ("not_ready", "busy") else {})


async def command(service: Service, order: Order, sender: str) -> Done:
    """Carries out an authorised command. Raises Refused, NotDone and InboxFull."""
    name = NAMES[type(order)]
    done = service.inbox.command(operator(service, name, order.reason, sender, order.agent))
    state = service.shell.state
    unrecorded = ""
    try:
        async with asyncio.timeout(WAIT_S):
            await asyncio.shield(done)
    except TimeoutError:
        if state.switch_of(order.agent).state < IN_FORCE.get(name, HALT + 1):
            text = f"the command was not committed within {WAIT_S:g} s and is still queued; check `quantd status`"
            raise Refused(504, "late", text) from None
        unrecorded = f"the store did not commit within {WAIT_S:g} s"
    switch = state.switch_of(order.agent)
    return Done(
        name,
        order.agent,
        SWITCH[switch.state],
        switch.reason,
        state.flattening,
        service.store_error or unrecorded,
    )


def replayed(service: Service, order: Order) -> Done:
    """The answer to a command that was carried out before: the switch as it is now."""
    state = service.shell.state
    switch = state.switch_of(order.agent)
    text = SWITCH[switch.state]
    return Done(NAMES[type(order)], order.agent, text, switch.reason, state.flattening, service.store_error, True)


async def committed(service: Service, *events: Event) -> list[Effect]:
    """The effects of events that are stepped one after the other, once they are durable. Raises Refused, InboxFull."""
    done = asyncio.gather(*map(service.inbox.command, events))
    try:
        async with asyncio.timeout(WAIT_S):
            return [effect for effects in await asyncio.shield(done) for effect in effects]
    except TimeoutError:
        raise Refused(
            504, "late", f"not committed within {WAIT_S:g} s and still queued; check `quantd status`"
        ) from None
