"""The API tokens in force: read again when their files change, without a restart."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import structlog

from quantd.daemon.commands.tokens import (
    FILE,
    ID_CHARS,
    OWNER,
    USED_S,
    Token,
    TokenRefused,
    TokensUnreadable,
    note_used,
    owner_of,
    stored,
)

CHECK_S: Final = 0.5
"""Shortest time between two looks at the files, so a revoked token is refused within a second."""

READ_S: Final = 1.0
"""Longest time that a request waits for changed files to be read."""

Stamp = tuple[int, int, int, int, int]

log = structlog.get_logger("quantd.api")


class Keyring:
    """The named tokens of a state folder and the owner's token.

    The owner's secret is in a file of its own, from which the commands of this machine read it. The daemon holds only
    its hash, and a damaged `tokens.json` cannot lock the owner out.
    """

    def __init__(self, folder: Path, owner_file: str) -> None:
        self._folder = folder
        self._owner_path = folder / owner_file
        self._stamps: tuple[Stamp | None, Stamp | None] | None = None
        self._next_s = 0.0
        self._owner: Token | None = None
        self._tokens: tuple[Token, ...] = ()
        self._used_ns: dict[str, int] = {}
        self._noting: asyncio.Future[None] | None = None
        self._reading: asyncio.Future[None] | None = None
        self._read(self._stamps_now())

    async def refresh(self) -> None:
        """Reads the files again if they changed, in a thread. The event loop reads no file, so nothing can hold it."""
        if self._reading is None and (now := time.monotonic()) >= self._next_s:
            self._next_s = now + CHECK_S
            if (stamps := self._stamps_now()) != self._stamps:
                self._reading = asyncio.get_running_loop().run_in_executor(None, self._read, stamps)
        if self._reading is not None:
            # a file that cannot be read in time leaves the earlier tokens in force
            await asyncio.wait({self._reading}, timeout=READ_S)
            if self._reading is not None and self._reading.done():
                self._reading = None

    def find(self, secret: bytes) -> Token | None:
        """The unexpired token with this secret, as of the last `refresh`."""
        now = time.time_ns()
        first = secret[:ID_CHARS].decode("ascii", "replace")
        for each in self._tokens:
            if (each.name == OWNER or each.id == first) and each.matches(secret) and not each.expired(now):
                self._note(each, now)
                return each
        owner = self._owner
        return owner if owner is not None and owner.matches(secret) else None

    def valid(self, token: Token) -> bool:
        """Whether a token that was found earlier is still in force, as of the last `refresh`."""
        known = {each.digest for each in (*self._tokens, *((self._owner,) if self._owner is not None else ()))}
        return token.digest in known and not token.expired(time.time_ns())

    def _stamps_now(self) -> tuple[Stamp | None, Stamp | None]:
        return _stamp(self._owner_path), _stamp(self._folder / FILE)

    def _read(self, stamps: tuple[Stamp | None, Stamp | None]) -> None:
        before, self._stamps = self._stamps, stamps
        if before is None or before[0] != stamps[0]:
            self._owner = owner_of(self._owner_path)
        if before is not None and before[1] == stamps[1]:
            return
        try:
            self._tokens = stored(self._folder)
        except TokensUnreadable as why:
            self._tokens = ()
            log.error("api.tokens_refused", why=str(why), effect="only the owner's token is accepted")

    def _note(self, token: Token, now_ns: int) -> None:
        """Records the use of a token in the file, in a thread, at most once in USED_S."""
        last = max(token.used_ns, self._used_ns.get(token.id, 0))
        if now_ns - last < USED_S * 1_000_000_000 or (self._noting is not None and not self._noting.done()):
            return
        self._used_ns[token.id] = now_ns
        if len(self._used_ns) > len(self._tokens):
            known = {each.id for each in self._tokens}
            self._used_ns = {name: used for name, used in self._used_ns.items() if name in known}
        self._noting = asyncio.get_running_loop().run_in_executor(None, _noted, self._folder, {token.id: now_ns})


def _noted(folder: Path, used_ns: dict[str, int]) -> None:
    try:
        note_used(folder, used_ns)
    except (OSError, TokenRefused, TokensUnreadable) as why:
        log.warning("api.token_use", why=f"the last use of a token is not recorded: {why}")


def _stamp(path: Path) -> Stamp | None:
    """What changes when a file is replaced, edited, or its rights change; None without a file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode
