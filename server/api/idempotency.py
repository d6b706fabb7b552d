"""Idempotency keys of POST requests: a request that is sent again under its key gets its first answer.

What can go wrong: a request is carried out twice, or is reported as not done although it was carried out. So a key is
recorded before its request is carried out, and the answer is recorded before it is sent. A request that fails after its
commit also has an answer, which names its journal entry. If the daemon is killed between the two records, the result
cannot be known. The key is then refused for ever, so that no request is carried out twice.

A key that is absent from the file normally means that its request did nothing. There are two exceptions. The oldest
keys are dropped. And a halt is obeyed even when the disk is full; the answer of its key is then only in the memory of
this process. So a client that asks for a key sends the age of its request: an absent key that is older than the records
has the state "unknown".

A process that has recorded every key writes a mark file at its end, and the next process removes it at its start.
Without the mark, a halt of an earlier process may lack its record.

Rejected: a mark within the database. The mark must be removed even on a full disk, where a file can be removed but not
changed. Rejected: an absent key file as proof that there was no halt. On a full disk that file cannot be made.
"""

import asyncio
import contextlib
import math
import os
import re
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec
import structlog
from aiohttp import web

from quantd.regular_file import NotRead, open_regular, read_regular, remove, write_whole
from quantd.server.api.problems import MEDIA_TYPE, FieldFault, Problem, Refused, error

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
"""Header of an answer that is repeated for a key; its request was carried out earlier."""

PATTERN: Final = r"^[!-~]{1,64}$"
"""Pattern of a key: 1 to 64 visible ASCII characters."""

FILE: Final = "idempotency.db"

MOST: Final = 10_000
"""Most recorded keys of all tokens together; older keys are deleted."""

NOT_BEGUN: Final = frozenset({429, 503})
"""Statuses of requests that did nothing: their keys may be used again."""

HALT_S: Final = 1.0
"""Seconds that a slow disk may delay a halt that has a key."""

BEGUN: Final = 0
"""Status of a key whose request has no answer yet."""

UNWRITTEN: Final = 100
"""Most answers in memory that could not be written to the disk."""

CARRIED_OUT: Final = "carried_out"
"""Code of a failure after the commit: the request was carried out."""

UNRECORDED: Final = (
    "the daemon has no record of its key, but a halt is obeyed on a full disk too, and was sent before the oldest one "
    "whose record is sure to be here"
)
"""Why the result of a halt is unknown; the end of a sentence about its request."""

MARK: Final = "idempotency.mark"
"""File with the instant in ns UTC since which every key was recorded, 0 for always; absent after a kill or full disk.
"""

LATENCY_S: Final = 1.0
"""Seconds that a question about a key may take to arrive: the age in it was right when the question was sent."""

State = Literal["running", "done", "refused", "unknown"]

T = TypeVar("T")

log = structlog.get_logger("quantd.api")


class Answered(NamedTuple):
    """Status and body of a recorded answer."""

    status: int
    body: bytes


class KeyOutcome(NamedTuple):
    """What became of a request: its state, the HTTP status of its answer (0 without one), and the JSON body.

    `text` is a refusal's detail, or why the result is not known.
    """

    state: State
    status: int = 0
    text: str = ""
    body: bytes = b"null"


class Keys:
    """The idempotency keys of POST requests, in a file of the state folder that is made at its first use.

    Any number of requests may run at once.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is the state folder; the file of keys in it is opened, and if needed created, at the first key."""
        self._path, self._mark = folder / FILE, folder / MARK
        self._database: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "keys")  # busy threads of slow reads must not delay an act
        self._running: set[tuple[str, str]] = set()
        self._unwritten: OrderedDict[tuple[str, str], tuple[bytes, Answered]] = OrderedDict()
        """(Sender, key) -> (digest of the request, answer) of this process's requests that are not in the file."""
        self._began = time.monotonic()
        self._since = -math.inf
        """Instant of `time.monotonic` since which the key of every halt is known."""
        self._earlier = 0
        """Row number of the newest key of an earlier process."""
        self._marks = False
        """Whether this process removed the mark of the earlier one, and so writes a mark at its end."""

    async def once(
        self,
        request: web.Request,
        sender: str,
        content: bytes,
        act: Callable[[], Awaitable[web.Response]],
        again: Callable[[], bytes | None],
        must: bool,
    ) -> web.Response:
        """Return the answer of `act`, which runs once for each idempotency key of a sender; without a key it always
        runs.

        `again` returns the body of the answer to a key that was carried out earlier; None means the body of the first
        answer. `content` is the body of the request: a known key with another path or content is refused. With `must`
        the request is a halt, which is obeyed even if its key cannot be recorded, as on a full disk. Without `must`, a
        request whose key cannot be recorded is refused. Raises Refused.
        """
        if HEADER not in request.headers:
            return await act()
        sender_and_key = sender, _key_of(request)
        digest = blake2b(request.path.encode() + b"\n" + content, digest_size=32).digest()
        try:
            # None: the key is new, and is recorded by now
            first_answer = self._answer_in_memory(sender_and_key, digest) or await self._work_done(
                lambda: self._begin(sender_and_key, digest), must
            )
        except (sqlite3.Error, OSError) as why:
            if must:
                log.error("api.key_unrecorded", key=sender_and_key[1], error=str(why))
                answer = await _settled(act)
                self._hold_in_memory(sender_and_key, digest, answer)
                # a slow disk may record the key after all
                self._start_work(lambda: self._finish(sender_and_key, answer))
                return answer
            text = f"the key cannot be recorded in {self._path.name} of the state folder ({why}); nothing was done"
            raise Refused(503, "idempotency", text, {"Retry-After": "5"}) from None
        if first_answer is not None:
            success = first_answer.status < 400
            body_now = again() if success else None
            kind = "application/json" if success else MEDIA_TYPE
            return web.Response(
                body=body_now or first_answer.body,
                status=first_answer.status,
                content_type=kind,
                headers={REPLAYED: "true"},
            )
        try:
            answer = await _settled(act)
            try:
                await self._work_done(lambda: self._finish(sender_and_key, answer), must)
            except (sqlite3.Error, OSError) as why:
                log.error("api.key_unrecorded", key=sender_and_key[1], error=str(why))
                self._hold_in_memory(sender_and_key, digest, answer)
            return answer
        finally:
            self._running.discard(sender_and_key)

    async def start(self) -> None:
        """Remove the mark file, which says that the earlier process recorded every key.

        Without the mark, the key of a halt before this start may be missing. The mark has the instant in ns UTC from
        which the key of every halt is recorded. A mark of 0 says that no key of any halt is missing.
        """
        self._marks = True
        try:
            marked_ns = await asyncio.to_thread(self._unmarked)
        except (OSError, NotRead, ValueError) as why:
            log.error("api.mark_unreadable", file=str(self._mark), error=str(why))
            marked_ns = None
        if marked_ns is None:
            self._since = self._began
        elif marked_ns:
            self._since = self._began - (time.time_ns() - marked_ns) / 1e9

    async def became(self, sender: str, key: str, *, age_s: float = 0.0, halt: bool = False) -> KeyOutcome | None:
        """What became of the request with a sender's idempotency key; None if no request with the key had an effect.

        `age_s` is the time since the request was sent. `halt` is True for the route of halts, which are obeyed even if
        their key cannot be recorded. Raises Refused where the file cannot be read.
        """
        name = sender, key
        if name in self._unwritten:
            return _became(self._unwritten[name][1])
        try:
            became = await self._work_done(lambda: self._look(name) or self._forgotten(age_s), must=False)
        except (sqlite3.Error, OSError) as why:
            text = f"{self._path.name} of the state folder cannot be read ({why}); ask again"
            raise Refused(503, "idempotency", text, {"Retry-After": "1"}) from None
        # the key of a halt that was sent before `_since` may be missing
        if became is None and halt and time.monotonic() - age_s - LATENCY_S <= self._since:
            return KeyOutcome("unknown", text=UNRECORDED)
        return became

    async def close(self) -> None:
        """Close the file of keys after the work on it that has begun.

        A thread whose connection is closed while it uses it crashes the process. So the file stays open where a disk
        does not answer within HALT_S seconds; the process ends soon.

        Write the mark file unless the key of a halt of this process is missing in the file. The mark is the instant in
        ns UTC since which the key of every halt is known, 0 where all are known.
        """
        # `_since` is after the start of this process where the answer of a halt was dropped
        if self._marks and not self._unwritten and self._since <= self._began:
            ago_s = time.monotonic() - self._since
            since_ns = 0 if ago_s == math.inf else time.time_ns() - int(ago_s * 1e9)
            with contextlib.suppress(OSError):
                write_whole(self._mark, f"{since_ns}\n".encode(), 0o600)
        self._marks = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HALT_S), self._turn:
                if self._database is not None:
                    self._database.close()
                    self._database = None

    def _unmarked(self) -> int | None:
        """The instant in the mark file of the earlier process; None without a mark.

        Even an unreadable mark is removed.
        """
        try:
            marked_ns = int(read_regular(self._mark, links=False).data)
        except FileNotFoundError:
            return None
        finally:
            remove(self._mark, missing_ok=True)
            folder = os.open(self._mark.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # a loss of power must not bring the mark back
            finally:
                os.close(folder)
        return marked_ns

    def _hold_in_memory(self, name: tuple[str, str], digest: bytes, answer: web.Response) -> None:
        """Hold in memory the answer of a (sender, key) that could not be written to the file."""
        if answer.status in NOT_BEGUN:
            return
        self._unwritten[name] = digest, _recordable(answer)
        while len(self._unwritten) > UNWRITTEN:
            self._unwritten.popitem(last=False)
            # a dropped answer may be a halt's: earlier halts are unknown from here on
            self._since = time.monotonic()

    def _answer_in_memory(self, name: tuple[str, str], digest: bytes) -> Answered | None:
        """The answer of a (sender, key) in memory; None without one. Raises Refused if the key had another request."""
        if name not in self._unwritten:
            return None
        request, answer = self._unwritten[name]
        _check_same(request, digest)
        return answer

    def _forgotten(self, age_s: float) -> KeyOutcome | None:
        """Return "unknown" where an absent key, sent `age_s` seconds ago, may have been deleted; else None.

        The file has the newest MOST keys of all tokens; older keys are deleted.
        """
        if self._database is None:
            return None
        newest_row = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'keys'").fetchone()
        oldest = self._database.execute("SELECT ts FROM keys ORDER BY number LIMIT 1").fetchone()
        # no key was deleted yet, or the oldest kept key is older than the request: then the request left no key
        if newest_row is None or newest_row[0] <= MOST or oldest is None or time.time_ns() - age_s * 1e9 > oldest[0]:
            return None
        return KeyOutcome(
            "unknown",
            text=f"its request is older than the newest {MOST:,} keys of all tokens, and older keys are deleted",
        )

    def _look(self, name: tuple[str, str]) -> KeyOutcome | None:
        """What became of the request of a (sender, key), read from the file; None where the key is not in the file."""
        if self._database is None and not self._path.exists():  # a question makes no file
            return None
        query = "SELECT number, status, body FROM keys WHERE sender = ? AND name = ?"
        row = self._opened().execute(query, name).fetchone()
        if row is None:
            return None
        number, status, body = row
        if status != BEGUN:
            return _became(Answered(status, body))
        if name in self._running:
            return KeyOutcome("running")
        return KeyOutcome("unknown", text=self._lost(number))

    def _lost(self, number: int) -> str:
        """The reason why a request that began has no recorded answer; `number` is the row number of its key in the
        file.
        """
        if number > self._earlier:
            return f"the answer to the request with this key was sent, and could not be recorded in {FILE}"
        return "the daemon stopped while it carried out the request with this key, so its result is not known"

    async def _work_done(self, work: Callable[[], T], must: bool) -> T:
        """Wait for work on the file of keys, and return its result.

        With `must` (the request is a halt) it raises TimeoutError after HALT_S seconds; the work goes on.
        """
        working = self._start_work(work)
        async with asyncio.timeout(HALT_S if must else None):
            return await asyncio.shield(working)

    def _start_work(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Start work on the file of keys in a thread, after all earlier work; it is done even if nobody awaits the
        future.
        """

        async def in_turn() -> T:
            async with self._turn:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)

        working = asyncio.ensure_future(in_turn())
        # its error is retrieved here, as perhaps nobody awaits it
        working.add_done_callback(lambda done: done.cancelled() or done.exception())
        return working

    def _opened(self) -> sqlite3.Connection:
        """The open database of keys with its table; both are made at the first use."""
        if self._database is None:
            os.close(open_regular(self._path, os.O_RDWR | os.O_CREAT))
            database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA synchronous = EXTRA")  # a key that was recorded survives a loss of power
            database.execute(
                "CREATE TABLE IF NOT EXISTS keys (number INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT, name TEXT, "
                "ts INTEGER, request BLOB, status INTEGER, body BLOB, UNIQUE (sender, name))"
            )
            (self._earlier,) = database.execute("SELECT COALESCE(MAX(number), 0) FROM keys").fetchone()
            self._database = database
        return self._database

    def _begin(self, name: tuple[str, str], digest: bytes) -> Answered | None:
        """Record a new (sender, key) and return None, or return the answer of a known (sender, key).

        Raises Refused for a key that another request used, and while the answer to the first request is not known.
        """
        database = self._opened()
        stored_row = database.execute(
            "SELECT number, request, status, body FROM keys WHERE sender = ? AND name = ?", name
        ).fetchone()
        if stored_row is None:
            row = *name, time.time_ns(), digest, BEGUN, b""
            number = database.execute(
                "INSERT INTO keys (sender, name, ts, request, status, body) VALUES (?, ?, ?, ?, ?, ?)", row
            ).lastrowid
            database.execute("DELETE FROM keys WHERE number <= ?", ((number or 0) - MOST,))
            self._running.add(name)
            return None
        number, request, status, body = stored_row
        _check_same(request, digest)
        if status != BEGUN:
            return Answered(status, body)
        if name in self._running:
            text = "the request with this key is still carried out; ask again in a second"
            raise Refused(409, "idempotency", text, {"Retry-After": "1"})
        remedy = "It is not carried out again; see /api/v1/orders or /api/v1/status, then send a new key"
        text = f"{self._lost(number)}. {remedy}"
        raise Refused(409, "idempotency", text)

    def _finish(self, name: tuple[str, str], answer: web.Response) -> None:
        """Record the answer of a (sender, key); if the request did nothing, remove the key, so that it may be used
        again.
        """
        if answer.status in NOT_BEGUN:
            self._opened().execute("DELETE FROM keys WHERE sender = ? AND name = ?", name)
        else:
            values = *_recordable(answer), *name
            self._opened().execute("UPDATE keys SET status = ?, body = ? WHERE sender = ? AND name = ?", values)
        self._running.discard(name)


def _check_same(request: bytes, digest: bytes) -> None:
    """Raises Refused where an idempotency key was sent again with another path or body; both arguments are digests."""
    if request != digest:
        text = f"{HEADER}: this key was sent with another path or body; send a new key"
        raise Refused(422, "idempotency", text, errors=[FieldFault(HEADER, text)])


def _recordable(response: web.Response) -> Answered:
    """Status and body of a response, as they are recorded for its idempotency key."""
    assert isinstance(response.body, bytes)
    return Answered(response.status, response.body)


def _became(answer: Answered) -> KeyOutcome:
    """What became of a request, from its recorded answer; a request that failed after its commit counts as done."""
    if answer.status < 400:
        return KeyOutcome("done", answer.status, body=answer.body)
    problem = msgspec.json.decode(answer.body, type=Problem)
    state: State = "done" if problem.code == CARRIED_OUT else "refused"
    return KeyOutcome(state, answer.status, problem.detail)


async def _settled(act: Callable[[], Awaitable[web.Response]]) -> web.Response:
    """The response of `act`; a Refused becomes its error response, which is recorded like any other."""
    try:
        return await act()
    except Refused as why:
        return error(why.status, why.code, str(why), why.headers, why.errors)


def _key_of(request: web.Request) -> str:
    keys = request.headers.getall(HEADER)
    fault = key_fault(keys[0] if len(keys) == 1 else "")
    if fault is not None:
        raise fault
    return keys[0]


def key_fault(key: str) -> Refused | None:
    """The error response to a malformed idempotency key; None for a valid key."""
    if re.fullmatch(PATTERN, key):
        return None
    text = f"{HEADER} is not one valid key; send one key of 1 to 64 visible ASCII characters"
    return Refused(422, "idempotency", text, errors=[FieldFault(HEADER, text)])
