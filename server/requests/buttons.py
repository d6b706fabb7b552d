"""Buttons under the messages of a sink: what each means, its code, and the act that a press becomes.

What can go wrong: a stolen or forwarded message, or the company that carries it, presses. So a button only takes risk
away: acknowledge, halt, reduce, pause an agent, decline a proposal. It has a random code of 128 bits, of which the
daemon keeps the digest; it lasts LASTS_S and counts once. The journal has who pressed. What adds risk is done on the
page or in the shell.

Rejected: codes that outlive a restart. A message of before says that its buttons are over.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

import structlog
from msgspec import Struct

from quantd.adapters.bus.payloads import Alert
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import SWITCH, account_line
from quantd.risk.switch import HALT, REDUCE
from quantd.server.requests.acknowledgement import acknowledgement
from quantd.server.requests.control import Command, NotDone, operator
from quantd.server.requests.proposals import waiting_proposal
from quantd.trading.events import Acknowledged, Operator, ProposalReviewed

log = structlog.get_logger("quantd.chat")

LASTS_S: Final = 600.0
"""Seconds for which a button can be pressed."""

COMMIT_S: Final = 10.0
"""Seconds to wait for the commit of an act."""

CODES: Final = 1_000
"""Most codes in memory; the oldest go first."""

REASON: Final = "by a button or a command in the chat"
"""The reason in the journal where the person gave none."""

OVER: Final = "This button is over: it lasts ten minutes and counts once."

VERBS: Final[Mapping[str, Command]] = {"halt": "halt", "reduce": "reduce", "resume": "resume"}
"""The acts that move a switch. No button under an alert resumes."""

Event = Operator | Acknowledged | ProposalReviewed


class Meant(Struct, frozen=True):
    """What a button does: `verb` on the `subject` (an incident, an agent, or agent and proposal) until `until`."""

    verb: str
    subject: tuple[str, ...]
    until: float


class Buttons:
    """The buttons of one sink, and the acts of those who press them."""

    def __init__(self, service: Service, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._now = now
        self._codes: dict[bytes, Meant] = {}
        """Digest of a code -> what it means, the oldest first."""

    def under(self, alert: Alert, most: int = 5) -> list[tuple[str, str]]:
        """Return label and new code of each button under the message of an alert, at most `most`; an alert that is over
        has none. The last one, which takes most risk away, is never left out.
        """
        if alert.state == "cleared" or alert.kind == "rehearsal":
            return []
        meant: list[tuple[str, str, tuple[str, ...]]] = []
        if alert.state in ("raised", "reminded"):
            meant.append(("Acknowledge", "acknowledge", (alert.incident,)))
        if alert.kind == "proposal":
            meant += [
                (f"Decline {proposal.id[:20]}", "decline", (alert.agent, proposal.id))
                for proposal in self._service.shell.state.reviews
                if proposal.agent == alert.agent
            ][-1:]
        if alert.agent and alert.agent in self._service.shell.state.rules.names():
            meant.append((f"Pause {alert.agent}", "halt", (alert.agent,)))
        if alert.level != "INFO":
            meant += [("Reduce only", "reduce", ("",)), ("Halt all", "halt", ("",))]
        if len(meant) > most:
            meant = [*meant[: most - 1], meant[-1]]
        return [(label, self._code(verb, subject)) for label, verb, subject in meant]

    def _code(self, verb: str, subject: tuple[str, ...]) -> str:
        """Return a new code, and keep its digest."""
        code = secrets.token_urlsafe(16)
        self._codes[_digest(code)] = Meant(verb, subject, self._now() + LASTS_S)
        while len(self._codes) > CODES:
            del self._codes[next(iter(self._codes))]
        return code

    async def pressed(self, code: str, who: str) -> str:
        """Carry out what the button with this code means, once; returns the answer, OVER for no such button."""
        meant = self._codes.pop(_digest(code), None)
        if meant is None or self._now() > meant.until:
            return OVER
        return await self.act(meant.verb, meant.subject, who)

    async def act(self, verb: str, subject: tuple[str, ...], who: str, reason: str = REASON) -> str:
        """Carry out an act of a person, which waits for its commit; returns what became of it."""
        try:
            event = self._event(verb, subject, who, reason)
            before = self._service.shell.state.switch_of(subject[0]).state if verb in ("halt", "reduce") else None
            command = self._service.inbox.commands([event], lambda state, _: SWITCH[state.switch.state])[0]
            async with asyncio.timeout(COMMIT_S):
                commit = await asyncio.shield(command.done)
        except (NotDone, InboxFull) as why:
            return f"Not done: {why}"
        except TimeoutError:
            return f"Not committed within {COMMIT_S:g} s, and still queued: /status shows what became of it"
        if commit.refused is not None:
            return f"Not done: {commit.refused.text}"
        log.warning("buttons.taken", verb=verb, subject=subject, who=who)
        about = f" {subject[-1]}" if subject[-1] else ""
        standing = account_line(self._service) + (", switch RUN" if commit.answer == "RUN" else "")
        if before == HALT or (before == REDUCE and verb == "reduce"):
            there = "" if before == REDUCE or verb == "halt" else ", which is stricter"
            return f"Nothing changed: {subject[0] or 'the switch'} was at {SWITCH[before]} already{there}. {standing}"
        return f"Done by {who}: {verb}{about}. {standing}"

    def _event(self, verb: str, subject: tuple[str, ...], who: str, reason: str) -> Event:
        """The event of an act. Raises NotDone."""
        service = self._service
        if verb == "acknowledge":
            return acknowledgement(service, subject[0], reason, who)
        if verb == "decline":
            agent, id = subject
            now = max(service.shell.state.now, service.shell.ts)
            waiting_proposal(service.shell.state, agent, id)
            return ProposalReviewed(now, agent, id, False, reason, who)
        return operator(service, VERBS[verb], reason, who, subject[0])


def _digest(code: str) -> bytes:
    return blake2b(code.encode("utf-8", "replace"), digest_size=16).digest()
