"""The API tokens in force: their files are read again when they change, without a restart and in a separate thread.

What can go wrong: a slow disk, busy threads or a damaged file of tokens keep a person from halting. So the files are
read in a thread that nothing else uses. If reading them takes longer than WAIT_S, or `tokens.json` cannot be read, the
owner's token alone is accepted, and an alert names the cause.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from quantd.server.requests.tokens import (
    FILE,
    ID_CHARS,
    OWNER,
    USED_S,
    Token,
    TokenRefused,
    TokensUnreadable,
    TokensUnwritable,
    note_used,
    owner_of,
    stored,
)

CHECK_S: Final = 0.5
"""Shortest time between two looks at the files, in seconds; so a revoked token is refused within a second."""

WAIT_S: Final = 2.0
"""Seconds for a look at the files; a longer look leaves only the owner's token in force until it has ended."""

Stamp = tuple[int, int, int, int, int]
"""A file's inode, size, times of the last change of content and of status (ns), and mode."""

log = structlog.get_logger("quantd.api")


@dataclass(frozen=True, slots=True)
class Found:
    """The content of the two token files, with a stamp of each (size, times, mode), taken before the file was read.

    `why` is the reason why the named tokens are not in force; empty when they are in force.
    """

    owner: Token | None = None
    tokens: tuple[Token, ...] = ()
    owner_stamp: Stamp | None = None
    tokens_stamp: Stamp | None = None
    why: str = ""


class Keyring:
    """The API tokens in force: the named tokens of a state folder, and the token of its owner.

    The owner's secret is in a file of its own, from which the commands of this machine read it. The daemon holds only
    its hash, and a damaged `tokens.json` cannot lock the owner out.
    """

    def __init__(self, folder: Path, owner_file: str, alert: Callable[[str], None], *, notes: bool = True) -> None:
        """Read the token files. `alert` is called with the text of an alert while `tokens.json` is not in force.

        With `notes` the last use of each named token is recorded.
        """
        self._notes = notes
        self._folder = folder
        self._owner_path = folder / owner_file
        self._alert = alert
        self._alerted = ""
        self._thread = ThreadPoolExecutor(1, "keyring")  # busy threads of other work must not delay a halt
        self._looking: asyncio.Future[Found] | None = None  # the newest reading of the files, in the thread
        self._next_s = 0.0  # the next reading, by time.monotonic
        self._used_ns: dict[str, int] = {}
        self._noting: asyncio.Future[None] | None = None  # the newest record of a last use
        self._found = _look(folder, self._owner_path, Found())

    async def refresh(self) -> None:
        """Read changed token files, at most once in CHECK_S seconds; a request calls this before `find` and `valid`."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        if self._looking is None or self._looking.done():
            in_thread = asyncio.get_running_loop().run_in_executor
            self._looking = in_thread(self._thread, _look, self._folder, self._owner_path, self._found)
        try:
            async with asyncio.timeout(WAIT_S):
                self._found = await asyncio.shield(self._looking)
        except TimeoutError:
            self._found = Found(self._found.owner, why=f"{self._folder} did not answer within {WAIT_S:g} s")
        self._next_s = now_s + CHECK_S
        if self._found.why != self._alerted:
            self._alerted = self._found.why
            if self._found.why:
                log.error("api.tokens_refused", why=self._found.why, effect="only the owner's token is accepted")
                self._alert(f"only the owner's token of the API is accepted: {self._found.why}")

    @property
    def owner(self) -> Token | None:
        """The owner's token; None while its file is missing."""
        return self._found.owner

    @property
    def for_agents(self) -> bool:
        """Whether a token of an outside agent is in force."""
        now_ns = time.time_ns()
        return any(token.agent and not token.expired(now_ns) for token in self._found.tokens)

    def find(self, secret: bytes) -> Token | None:
        """The unexpired token with this secret; None without one."""
        now_ns = time.time_ns()
        id_text = secret[:ID_CHARS].decode("ascii", "replace")
        for token in self._found.tokens:
            # the id is the beginning of the secret: only the hash of a token with this id is computed
            if (token.name == OWNER or token.id == id_text) and token.matches(secret) and not token.expired(now_ns):
                self._note(token, now_ns)
                return token
        owner = self._found.owner
        return owner if owner is not None and owner.matches(secret) else None

    def valid(self, token: Token) -> bool:
        """Whether a token that was found earlier is still in force."""
        return self.of_digest(token.digest) is not None

    def of_digest(self, digest: str) -> Token | None:
        """The unexpired token whose secret has this digest; None without one."""
        content, now_ns = self._found, time.time_ns()
        tokens = (*content.tokens, *((content.owner,) if content.owner is not None else ()))
        return next((token for token in tokens if token.digest == digest and not token.expired(now_ns)), None)

    def of_device(self, key: str) -> Token | None:
        """The unexpired token of the device with this public key; None without one."""
        now_ns = time.time_ns()
        tokens = (token for token in self._found.tokens if token.key and token.key == key)
        return next((token for token in tokens if not token.expired(now_ns)), None)

    def _note(self, token: Token, now_ns: int) -> None:
        """Record the last use of a token in the file, in a thread, at most once in USED_S seconds."""
        if not self._notes:
            return
        last_ns = max(token.used_ns, self._used_ns.get(token.id, 0))
        # recorded a short time ago, or an earlier record is still being written
        if now_ns - last_ns < USED_S * 1_000_000_000 or (self._noting is not None and not self._noting.done()):
            return
        self._used_ns[token.id] = now_ns
        if len(self._used_ns) > len(self._found.tokens):
            # forget the tokens that were deleted since
            ids = {stored_token.id for stored_token in self._found.tokens}
            self._used_ns = {id: used_ns for id, used_ns in self._used_ns.items() if id in ids}
        self._noting = asyncio.get_running_loop().run_in_executor(None, _write_use, self._folder, {token.id: now_ns})


def _look(folder: Path, owner_path: Path, before: Found) -> Found:
    """The content of the token files now. An unchanged file is read again only if its last reading, in `before`,
    failed."""
    # stamps first, then the content: a file replaced during the reading has a newer stamp at the next look
    owner_stamp, tokens_stamp = _stamp(owner_path), _stamp(folder / FILE)
    same_owner = before.owner is not None and owner_stamp == before.owner_stamp
    owner = before.owner if same_owner else owner_of(owner_path)
    if not before.why and tokens_stamp == before.tokens_stamp:
        return Found(owner, before.tokens, owner_stamp, tokens_stamp)
    try:
        return Found(owner, stored(folder), owner_stamp, tokens_stamp)
    except TokensUnreadable as why:
        return Found(owner, (), owner_stamp, tokens_stamp, str(why))  # (): no named token is in force


def _write_use(folder: Path, used_ns: dict[str, int]) -> None:
    """Record the last uses (id of a token -> instant in ns UTC) in the file of tokens; a failure is only logged."""
    try:
        note_used(folder, used_ns)
    except (OSError, TokenRefused, TokensUnreadable, TokensUnwritable) as why:
        log.warning("api.token_use", why=f"the last use of a token is not recorded: {why}")


def _stamp(path: Path) -> Stamp | None:
    """A value that changes when a file is replaced or edited, or its permissions change; None without a file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode
