"""Validation of operator commands before they become events, the same for commands from the API and from the message
bus.
"""

import time
from decimal import Decimal
from typing import Annotated, Final, Literal

from msgspec import Meta

from quantd.daemon.config.agent_tables import PLACES, RESERVED, place_name
from quantd.daemon.engine.agents.portfolios import place_of
from quantd.daemon.engine.state import State
from quantd.daemon.monitoring.watchdog import halt_file
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import READY
from quantd.server.requests.manual_answers import ENDED_TEXT
from quantd.trading.events import Operator

ENDED: Final = "ended"
"""The status of a service after the last bar of a recorded market."""

REASON_CHARS: Final = 500
"""Longest reason in the journal, in characters."""

MOST: Final = 2**62
"""Largest amount that fits the journal's integers."""

Command = Literal["halt", "reduce", "resume", "flatten"]

Because = Annotated[
    str, Meta(description="For the journal; one line of it is kept.", extra_json_schema={"pattern": r"\S"})
]
"""A required reason. The pattern is for the OpenAPI document only; the handler checks it with a better message."""

AgentName = Annotated[
    str, Meta(min_length=1, description="An agent; the house or the unallocated book where it is left out.")
]
"""An empty name is refused: it would be taken for the whole account."""

ArtifactName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"^[^\u0000-\u001f]*(?!\n)$",
        description="A path as in `policy` of [[agents]].",
    ),
]
"""The length is limited because file systems refuse longer names, each at another length."""

Fault = Literal[
    "agent",
    "command",
    "reason",
    "not_ready",
    "halt_file",
    "down",
    "symbol",
    "order",
    "amount",
    "conflict",
    "venue",
    "agrees",
    "incident",
    "cleared",
    "schedule",
    "artifact",
    "unfit",
    "targets",
    "expires",
    "duplicate",
    "refused",
]


class NotDone(Exception):
    """A refused command: the text is for its sender, `fault` is a fixed word for programs, and `field` the field of the
    request at fault, if it is one."""

    def __init__(self, fault: Fault, text: str, field: str = "") -> None:
        super().__init__(text)
        self.fault = fault
        self.field = field


def operator(service: Service, command: Command, reason: str, who: str, agent: str = "") -> Operator:
    """Return the event of a command.

    Raises NotDone for an unknown agent, and for `flatten` of one agent. `resume` also raises NotDone without a reason,
    while the file HALT exists, and while a condition for trading fails. Without a working store only `halt` and
    `reduce` are accepted.
    """
    state = service.shell.state
    check_agent(service, agent)
    if agent and command == "flatten":
        raise NotDone("command", "flatten applies to all agents at once; for one agent use halt or reduce")
    reason_line = one_line(reason)
    if command == "resume":
        if not reason_line:
            raise NotDone("reason", 'resume has no reason for the journal; add --reason "…"')
        if not agent and halt_file(service):
            raise NotDone("halt_file", f"the file {service.halt_file} exists and halts trading; remove it, then resume")
        if not agent and state.down:
            raise NotDone(
                "down", f"not resumed: {', '.join(sorted(state.down))} still failing; `quantd alerts` shows the cause"
            )
    if service.store_error:
        if command not in ("halt", "reduce"):
            text = f"{command} needs the store, which takes no writes: {service.store_error}. Only halt and reduce work"
            raise NotDone("not_ready", text)
    else:
        check_ready(service)
    return Operator(max(state.now, service.shell.ts), command, reason_line or "no reason given", who, agent)


def names_in_use(state: State) -> list[str]:
    """The names of a state's agents. An agent reserved for a portfolio counts only while its portfolio is open."""
    names = state.rules.names()
    return [names[index] for index in state.in_use()]


def seat_of(state: State, name: str) -> str:
    """Return the agent in whose place the portfolio `name` is open; without such a portfolio the name itself."""
    place = place_of(state, name)
    return name if place is None else state.rules.agents[place].name


def check_agent(service: Service, agent: str, text_end: str = "") -> None:
    """Raises NotDone unless `agent` is an agent, a shadow (an agent simulated beside the account) or "".

    "" is the house, the whole account. `text_end` is appended to the text of the error.
    """
    state = service.shell.state
    names = [*names_in_use(state), *state.rules.names()[len(state.agents) :]]
    if agent and agent not in names:
        raise NotDone("agent", f"there is no agent {agent!r}; the agents are {', '.join(names)}{text_end}")


def check_portfolio_name(service: Service, name: str) -> None:
    """Raises NotDone for a portfolio's name that a book, agent or shadow already has.

    In a query of the API, `book=NAME` would then be ambiguous.
    """
    names = (*RESERVED, *service.shell.state.rules.names())
    if name in names or name in map(place_name, range(1, PLACES + 1)):
        text = f"a portfolio cannot have the name {name!r}; these names are taken: {', '.join(sorted(names))}, "
        raise NotDone("conflict", f"{text}and portfolio-1 to portfolio-{PLACES}; choose another")


def check_ready(service: Service) -> None:
    """Raises NotDone while the daemon's status does not permit commands, as during its start."""
    if service.status not in READY:
        raise NotDone("not_ready", f"the daemon is {service.status}; try again")


def after_the_end(service: Service, text: str) -> str:
    """The `text` of an answer to an order, and after the last bar of a recorded market that nothing fills it."""
    return "; ".join(filter(None, (text, ENDED_TEXT if service.status == ENDED else "")))


def check_priced(state: State) -> None:
    """Raises NotDone before the first close of the run."""
    if not state.sample:
        text = "no session has closed yet, so there is no price to trade at; try again after the first close"
        raise NotDone("not_ready", text)


def one_line(text: str) -> str:
    """A reason as one printable line of at most REASON_CHARS; a text without a printable character is escaped."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (line or ascii(text.strip())[1:-1])[:REASON_CHARS]


def market_now(service: Service) -> int:
    """The present instant in market time, in ns UTC, for a manual event.

    With a real-time feed, market time also advances between two bars.
    """
    state, offset_ns = service.shell.state, service.market_ahead_ns
    latest_ns = max(state.now, service.shell.ts)
    return latest_ns if offset_ns is None else max(latest_ns, offset_ns + time.monotonic_ns())


def journal_reason(text: str, what: str) -> str:
    """A reason as one line for the journal.

    Raises NotDone for an empty reason, and for a longer one than the journal takes; `what` names the request that
    needs it.
    """
    if len(text) > REASON_CHARS:
        raise NotDone("command", f"reason has {len(text):,} characters; send at most {REASON_CHARS}", "reason")
    reason = one_line(text)
    if not reason:
        raise NotDone("reason", f'{what} needs a reason for the journal: --reason "…"')
    return reason


def exact_amount(text: str, unit: int, what: str, example: str) -> int:
    """Return a positive decimal number as an exact integer of 1/`unit`. `what` and `example` are for messages.

    Raises NotDone for text that is no positive decimal number, and for a number that is too large or has too many
    decimal places.
    """
    number = Decimal(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else Decimal(0)
    if number <= 0:
        raise NotDone(
            "amount", f"{text!r} is not a valid {what}; write a decimal number above 0, for example {example}"
        )
    exact = number * unit
    if exact != int(exact) or exact >= MOST:
        raise NotDone("amount", f"{what} {text} is too large or has too many decimal places; correct it")
    return int(exact)
