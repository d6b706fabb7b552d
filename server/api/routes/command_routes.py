"""POST /api/v1/commands: an operator's halt, reduce, resume or flatten.

The answer follows the commit of the command to the journal. Halt and reduce also act while the store takes no writes.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from quantd.daemon.engine.state import State
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import SWITCH
from quantd.server.api.access.guard import DOOR_BYTES
from quantd.server.api.client_calls import change
from quantd.server.api.commits import committed
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Post
from quantd.server.requests.control import AgentName, Because, Command, operator, seat_of
from quantd.trading.effects import Effect


class HaltNow(Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="halt"):
    """Stop all trading of the house or of one agent."""

    reason: str = ""
    agent: AgentName = ""


class Reduce(HaltNow, frozen=True, tag="reduce"):
    """Permit only orders that reduce positions."""


class HaltAtDoor(Struct, frozen=True, forbid_unknown_fields=True):
    """Stop all trading of the house or of one agent; `command` may be left out."""

    command: Literal["halt"] = "halt"
    reason: str = ""
    agent: AgentName = ""


class ReduceAtDoor(Struct, frozen=True, forbid_unknown_fields=True):
    """Permit only orders that reduce positions; `command` may be left out."""

    command: Literal["reduce"] = "reduce"
    reason: str = ""
    agent: AgentName = ""


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

AT_DOORS: Final = {"/halt": HaltAtDoor, "/reduce": ReduceAtDoor}
"""Path of a door for halts -> body of the request."""


NAMES: Final[dict[type, Command]] = {
    HaltNow: "halt", Reduce: "reduce", Resume: "resume", Flatten: "flatten", HaltAtDoor: "halt", ReduceAtDoor: "reduce",
}  # fmt: skip


class Done(Struct, frozen=True):
    """The answer to a command that is in force, with the state of the switch immediately after it.

    `unrecorded` is the reason why the command is not in the journal yet; empty when it is. `replayed` is true if an
    earlier request with the same idempotency key was carried out, so that this one was not.
    """

    command: str
    agent: str
    switch: str
    reason: str
    flattening: bool
    unrecorded: str = ""
    replayed: bool = False


async def command(service: Service, order: Order | HaltAtDoor | ReduceAtDoor, sender: str) -> Done:
    """Carries out an authorised command. Raises Refused, NotDone and InboxFull."""
    name, agent = NAMES[type(order)], seat_of(service.shell.state, order.agent)

    def outcome(state: State, effects: Sequence[Effect]) -> Done:
        switch = state.switch_of(agent)
        return Done(name, order.agent, SWITCH[switch.state], switch.reason, state.flattening)

    commit = await committed(service, outcome, operator(service, name, order.reason, sender, agent))
    return replace(commit.answer, unrecorded=commit.unrecorded)


def replayed(service: Service, order: Order | HaltAtDoor | ReduceAtDoor) -> Done:
    """The answer to a command whose idempotency key was used already: only the present state of the switch is read."""
    state = service.shell.state
    switch = state.switch_of(seat_of(state, order.agent))
    text = SWITCH[switch.state]
    return Done(NAMES[type(order)], order.agent, text, switch.reason, state.flattening, service.store_error, True)


ROUTES: Final = RouteGroup(
    "commands",
    105,
    lambda context: context.run.service,
    routes=(
        Post(
            "/api/v1/commands", command, "Halt, reduce, resume or flatten.", '{"command": "halt", "reason": ".."}',
            body=Order, rate=False, again=replayed,
        ),
        *(
            Post(
                path, command, "As /api/v1/commands, at the doors for halts too.", '{"reason": ".."}', body=body,
                rate=False, body_bytes=DOOR_BYTES, again=replayed,
            )
            for path, body in AT_DOORS.items()
        ),
    ),
    calls=(
        change(
            "halt", "/commands", HaltNow, Done, "Stop all trading of the house or of one agent.", places=("reason",)
        ),
        change("reduce", "/commands", Reduce, Done, "Permit only orders that reduce positions.", places=("reason",)),
        change("resume", "/commands", Resume, Done, "Permit trading again."),
        change(
            "flatten", "/commands", Flatten, Done, "Close all positions of all agents.",
            places=("reason",), without=("agent",),
        ),
    ),
)  # fmt: skip
