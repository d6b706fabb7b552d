"""The commits of requests: a route queues events and gets their outcome, computed when the engine stepped them.

What can go wrong: other commands are stepped between a command and its answer. A rebalance at the same time as a
closing once failed with status 500 after its commit. So no route reads the store or the state for the result of its own
command. The engine's loop computes the answer immediately after it has stepped the event. A refused command has the
effect Refused.

Order: an answer follows the commit to the journal. A halt or reduce is the exception. Both are in force once they are
stepped, and are answered after WAIT_S seconds at most. After WAIT_S the sender of any other request gets a 504. The
request itself continues, so that a later question with its idempotency key gets the true answer. The answer to a
request that fails after its commit says that the request was carried out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from aiohttp import web
from msgspec.structs import replace

from quantd.daemon.runtime.inbox import Command, Committed, InboxFull, Outcome
from quantd.daemon.runtime.service import Service, is_stop
from quantd.models.artifacts.receipt import HEADER
from quantd.server.api.problems import INTERNAL, FieldFault, Refused, log_fault
from quantd.server.requests.control import NotDone
from quantd.trading.events import Event
from quantd.trading.model_events import Act

WAIT_S: Final = 10.0
"""Seconds after which a request is answered without its commit."""

STATUS: Final = {
    "agent": 404, "command": 422, "reason": 422, "not_ready": 503, "halt_file": 409, "down": 409, "symbol": 404,
    "order": 404, "amount": 422, "conflict": 409, "venue": 409, "agrees": 409, "busy": 429, "artifact": 404,
    "unfit": 422, "incident": 404, "cleared": 409, "schedule": 404, "refused": 409,
    "targets": 422, "expires": 422, "duplicate": 409,
}  # fmt: skip
"""Code of a refused command -> HTTP status of the answer."""

CARRIED_OUT: Final = "carried_out"
"""Code of an error about a request that was carried out: its answer failed, or is no longer in memory."""

T = TypeVar("T")


class Commits:
    """The commands that one HTTP request has queued for the engine."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.act: dict[str, Any] = {}
        """The fields of `Act` for the events of the request; empty without an idempotency key."""
        self.receipt: Callable[[], str] = str
        """Returns the receipt of what the request decides, for a header of its answer; empty text for none."""
        self.late = asyncio.Event()
        """Set when a commit takes longer than WAIT_S; the sender is then answered, and the request continues."""

    def headers(self) -> dict[str, str]:
        """The headers of the answer that say what was decided."""
        text = self.receipt()
        return {HEADER: text} if text else {}

    def queue(self, service: Service, events: Sequence[Event], outcome: Outcome[object] | None) -> list[Command]:
        """Queue all events, with the key of the request. Raises InboxFull, with none of them queued, if too many
        commands wait."""
        events = [replace(event, **self.act) if isinstance(event, Act) else event for event in events]
        commands = service.inbox.commands(events, outcome)
        self.commands += commands
        return commands

    async def settled(self, commands: Sequence[Command]) -> list[Committed[object]]:
        """Wait until commands are in the journal, and return their outcomes.

        If the store is slow, halts and reduces that the engine has handled are in force: they are answered after WAIT_S
        as not yet in the journal. The sender of any other command is told that the command still waits.
        """
        commits = asyncio.gather(*(command.done for command in commands))
        try:
            async with asyncio.timeout(WAIT_S):
                return await asyncio.shield(commits)
        except TimeoutError:
            if all(command.stepped is not None and is_stop(command) for command in commands):
                why = f"the store did not commit within {WAIT_S:g} s"
                return [replace(command.stepped, unrecorded=why) for command in commands if command.stepped]
            self.late.set()
            return await commits

    async def carried_out(self) -> list[Committed[object]]:
        """The outcomes of the request's commands that were not refused, once they are in the journal."""
        return [commit for commit in await self.settled(self.commands) if commit.refused is None]


_COMMITS: ContextVar[Commits | None] = ContextVar("commits", default=None)


def of_request() -> Commits:
    """The commits of the request that is being answered; empty outside a request."""
    return _COMMITS.get() or Commits()


async def committed(
    service: Service, outcome: Outcome[T], *events: Event, refused: str = "", partly: str = ""
) -> Committed[T]:
    """Queue `events`, which the engine handles in this order.

    Return the commit of the last event with the answer that `outcome` computed. Raises InboxFull, and Refused where the
    engine refuses an event. The text of Refused begins with `partly`, which says what was done already, if an earlier
    event was accepted. The text `refused` follows if the last event is refused.
    """
    request_commits = of_request()
    commits = await request_commits.settled(request_commits.queue(service, events, outcome))
    for index, commit in enumerate(commits):
        if (why := commit.refused) is not None:
            text = f"{partly if index else ''}{refused if commit is commits[-1] else ''}{why.text}"
            raise Refused(STATUS[why.code], why.code, text)
    if isinstance(commits[-1].answer, Exception):
        raise commits[-1].answer
    return cast("Committed[T]", commits[-1])


def refused(why: NotDone | InboxFull) -> Refused:
    """The error response to a command that cannot be carried out."""
    fault = why.fault if isinstance(why, NotDone) else "busy"
    field = why.field if isinstance(why, NotDone) else ""
    headers = {"Retry-After": "1"} if fault in ("not_ready", "busy") else {}
    return Refused(STATUS[fault], fault, str(why), headers, [FieldFault(field, str(why))] if field else [])


async def truthful(path: str, answer: Awaitable[T]) -> T:
    """The answer of the handler of `path`. An unexpected error becomes Refused 500, which says what was carried out."""
    try:
        return await answer
    except Refused:
        raise
    except (NotDone, InboxFull) as why:
        raise refused(why) from None
    except Exception as why:
        log_fault(path, why)
        commits = await of_request().carried_out()
        what = _carried_out_text(commits) if commits else "no command of the request was carried out"
        raise Refused(500, CARRIED_OUT if commits else "internal", f"{what}; {INTERNAL}") from None


def _carried_out_text(commits: Sequence[Committed[object]]) -> str:
    """The sentence that names the journal entries of a request that was carried out."""
    entries = " and ".join(
        f"{commit.seq} ({commit.address})" if commit.address else str(commit.seq) for commit in commits
    )
    return f"the request was carried out, as entry {entries} of the journal; do not send it again"


class OpenRequests:
    """Requests that run on after their senders got a 504, because their commit to the journal is late.

    The true answer is then that of the request's idempotency key.
    """

    def __init__(self) -> None:
        self._open: set[asyncio.Task[web.Response]] = set()

    async def answer(self, work: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """Return the answer of `work`.

        Raises Refused 504 if one of its commits takes longer than WAIT_S; `work` runs on.
        """
        commits = Commits()

        async def run() -> web.Response:
            _COMMITS.set(commits)
            try:
                response = await work()
            except Refused as why:
                why.headers |= commits.headers()
                raise
            response.headers.update(commits.headers())
            return response

        working = asyncio.create_task(run())
        self._open.add(working)
        working.add_done_callback(self._ended)
        late = asyncio.create_task(commits.late.wait())
        try:
            await asyncio.wait({working, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
        if working.done():
            return working.result()
        text = f"not committed within {WAIT_S:g} s and still queued; check `quantd status`"
        raise Refused(504, "late", text)

    async def end(self, within_s: float) -> None:
        """Wait at most `within_s` seconds for the requests that have no answer yet."""
        if self._open:
            await asyncio.wait(self._open, timeout=within_s)

    def _ended(self, task: asyncio.Task[web.Response]) -> None:
        self._open.discard(task)
        if not task.cancelled():
            task.exception()  # read it, or asyncio warns of an error that nobody retrieved: the sender may be gone
