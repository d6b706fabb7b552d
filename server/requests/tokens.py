"""Named API tokens with scopes, in the file `tokens.json` of a state folder.

What can go wrong: somebody signs in with a copy of the file, or one of two simultaneous changes is lost. So the file
has salted hashes and no secrets, and every change locks the folder and replaces the file atomically. A running daemon
reads the file again when it changes (`quantd.server.api.access.keyring`).

Rejected: a slow hash (scrypt, Argon2). It protects passwords that people choose, and would cost time on each request. A
secret here is 32 random bytes and cannot be guessed, so one fast keyed hash is enough.
"""

import fcntl
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from quantd.adapters.json_text import decoded
from quantd.daemon.access.api_token import ANY
from quantd.regular_file import NotRead, read_regular, write_whole
from quantd.trading.exit_codes import CONFIG, TRY_LATER, USAGE, ExplainedError

Scope = Literal["read", "metrics", "propose", "trade", "admin"]

INCLUDED: Final[dict[Scope, frozenset[Scope]]] = {
    "metrics": frozenset({"metrics"}),
    "read": frozenset({"read", "metrics"}),
    "propose": frozenset({"propose", "read", "metrics"}),
    "trade": frozenset({"trade", "propose", "read", "metrics"}),
    "admin": frozenset({"admin", "trade", "propose", "read", "metrics"}),
}
"""Scope of a token -> scopes that it grants."""

FILE: Final = "tokens.json"
OWNER: Final = "owner"
"""Name of the local owner's token. Its secret is in the file `token` of the state folder, for commands on
this machine."""

OWNER_ID: Final = "local"
"""Id of the owner's token. It is no part of the secret, which a person may have chosen and which may be short."""

ID_CHARS: Final = 8
"""Number of first characters of a secret that are its token's id; the other characters have 208 random bits."""

MOST: Final = 100
"""Most named tokens."""

MOST_BYTES: Final = 256 * 1024
"""Largest file of tokens that is read, in bytes."""

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
SALT, DIGEST = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
USED_S: Final = 3_600
"""Seconds between two records of a token's last use, so that the file is seldom written."""


class TokenRefused(ExplainedError):
    """A change of the tokens that is refused; the text has the remedy."""

    exit_code = USAGE


class TokensUnreadable(ExplainedError):
    """The file of tokens cannot be trusted or read; the text has the remedy."""

    exit_code = CONFIG


class TokensUnwritable(ExplainedError):
    """The file of tokens cannot be written now and is unchanged; the text has the remedy."""

    exit_code = TRY_LATER


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """The record of one secret. After a rotation a name has two records until the old secret expires.

    `salt` and `digest` are hexadecimal. Times are ns UTC; `expires_ns` 0 means never, `used_ns` 0 means not used yet.
    `agent` is the outside agent for which a token of scope propose is valid. `key` is the public key of the device that
    signs in without a secret, hexadecimal; empty for none.
    """

    name: str
    id: str
    scope: Scope
    salt: str
    digest: str
    created_ns: int
    expires_ns: int = 0
    used_ns: int = 0
    agent: str = ""
    key: str = ""

    def __repr__(self) -> str:
        """Name and id only: salt and digest must not get into a log."""
        return f"Token({self.name}:{self.id})"

    def grants(self, scope: Scope) -> bool:
        """Whether the token's scope includes `scope`."""
        return scope in INCLUDED[self.scope]

    def expired(self, now_ns: int) -> bool:
        """Whether the token has expired at an instant in ns UTC; a token without an end never expires."""
        return 0 < self.expires_ns <= now_ns

    def matches(self, secret: bytes) -> bool:
        """Whether this is the token's secret; the comparison takes the same time whichever characters are wrong."""
        return hmac.compare_digest(_digest(secret, self.salt), self.digest)


def token_for(
    name: str, scope: Scope, secret: str, now_ns: int, expires_ns: int = 0, agent: str = "", key: str = ""
) -> Token:
    """The record of a secret; the arguments are its fields."""
    salt = secrets.token_hex(16)
    token_id = OWNER_ID if name == OWNER else secret[:ID_CHARS]
    return Token(name, token_id, scope, salt, _digest(secret.encode(), salt), now_ns, expires_ns, agent=agent, key=key)


def _valid(token: Token) -> bool:
    """Whether name, salt, digest and key of a stored token have the expected form."""
    forms = (NAME, token.name), (SALT, token.salt), (DIGEST, token.digest), (DIGEST, token.key or token.digest)
    return all(form.fullmatch(text) for form, text in forms)


def check_name(name: str) -> None:
    """Raises TokenRefused for a text that is not a name of a token."""
    if NAME.fullmatch(name) is None:
        form = "a lower-case letter, then lower-case letters, digits, _ or -, at most 32"
        raise TokenRefused(f"{name!r:.80} is not a name of a token; write {form}")


def _digest(secret: bytes, salt: str) -> str:
    return blake2b(secret, key=bytes.fromhex(salt), digest_size=32).hexdigest()


def stored(folder: Path) -> tuple[Token, ...]:
    """Return the tokens of a state folder; none without a file.

    Raises TokensUnreadable for a file that is damaged, that belongs to another user, or that other users may read or
    write.
    """
    path = folder / FILE
    try:
        data, status = read_regular(path, MOST_BYTES, links=False)
    except FileNotFoundError:
        return ()
    except NotRead as why:
        raise TokensUnreadable(f"{path} {why}; restore it, or remove it to revoke all its tokens") from None
    if status.st_uid not in (0, os.geteuid()):
        raise TokensUnreadable(f"{path} is not a file of this user; remove it, and create its tokens again")
    if stat.S_IMODE(status.st_mode) & ANY:
        raise TokensUnreadable(f"other users may read or write {path}: chmod 600 {path}, and check its tokens")
    try:
        tokens: tuple[Token, ...] = decoded(data, tuple[Token, ...])
        if len(tokens) > MOST or not all(_valid(token) for token in tokens):
            raise ValueError
    except (ValueError, RecursionError, msgspec.DecodeError):
        text = f"{path} is damaged; restore it, or remove it and create its tokens again"
        raise TokensUnreadable(text) from None
    return tokens


def created(
    folder: Path, name: str, scope: Scope, expires_ns: int = 0, agent: str = "", key: str = ""
) -> tuple[Token, str]:
    """Return (new token, its secret). The secret is stored nowhere. `key` is the public key of a device.

    Raises TokenRefused for a name that is in use or malformed, for an `agent` without the scope propose, and for the
    scope propose without an agent. Raises TokensUnreadable or TokensUnwritable for the file of tokens.
    """
    check_name(name)
    if name == OWNER:
        raise TokenRefused(f"{OWNER} is the token of this state folder; choose another name, or rotate it")
    if (scope == "propose") != bool(agent):
        text = (
            "--agent and --scope propose were not used together; write both, --scope propose --agent NAME, or neither"
        )
        raise TokenRefused(text)
    now_ns, secret = time.time_ns(), secrets.token_urlsafe(32)
    token = token_for(name, scope, secret, now_ns, expires_ns, agent, key)
    with _locked_tokens(folder) as (tokens, write):
        valid = _unexpired(tokens, now_ns)
        if any(valid_token.name == name for valid_token in valid):
            raise TokenRefused(f"there is a token {name} already; choose another name, or rotate or revoke it")
        if len(valid) >= MOST:
            raise TokenRefused(f"there are {MOST} tokens, the most that are possible; revoke one")
        write([*valid, token])
    return token, secret


def rotated(
    folder: Path, name: str, overlap_ns: int = 0, owner_file: str = "token", expires_ns: int = 0
) -> tuple[Token, str]:
    """Make a new secret for the token `name`; return (token, new secret). The old secret remains valid for
    `overlap_ns`.

    Without `expires_ns` the new secret expires when the old one would. The owner's new secret is written to the file
    `owner_file`, which stores no expiry. Raises TokenRefused if no token has the name, and for an expiry
    of the owner's token; TokensUnreadable or TokensUnwritable for the file of tokens.
    """
    now_ns, secret = time.time_ns(), secrets.token_urlsafe(32)
    with _locked_tokens(folder) as (tokens, write):
        valid = _unexpired(tokens, now_ns)
        if name == OWNER:
            if expires_ns:
                raise TokenRefused("the owner's token has no end of validity; rotate it without --expires")
            path = folder / owner_file
            old_tokens = [owner] if (owner := owner_of(path)) is not None else []
        else:
            old_tokens = [valid_token for valid_token in valid if valid_token.name == name]
            if not old_tokens:
                raise TokenRefused(f"there is no token {name!r:.80}; `quantd token list` shows the names")
        newest = old_tokens[-1] if old_tokens else token_for(name, "admin", secret, now_ns)
        remaining = [valid_token for valid_token in valid if valid_token.name != name]
        if overlap_ns and old_tokens:
            overlap_end_ns = now_ns + overlap_ns
            remaining.append(
                msgspec.structs.replace(newest, expires_ns=min(overlap_end_ns, newest.expires_ns or overlap_end_ns))
            )
        token = token_for(name, newest.scope, secret, now_ns, expires_ns or newest.expires_ns, newest.agent, newest.key)
        if name == OWNER:
            # the old secret first: without its record it would be void as soon as the file is replaced
            write(remaining)
            _replace(path, f"{secret}\n".encode())
        else:
            write([*remaining, token])
    return token, secret


def revoked(folder: Path, name: str) -> int:
    """Remove the tokens of a name, and return their number.

    Raises TokenRefused if no token has the name, and TokensUnreadable or TokensUnwritable for the file of tokens.
    """
    with _locked_tokens(folder) as (tokens, write):
        remaining = [token for token in tokens if token.name != name]
        if len(remaining) == len(tokens):
            remedy = "; `quantd token create owner --rotate` makes the old secret invalid" if name == OWNER else ""
            raise TokenRefused(f"there is no token {name!r:.80} in {folder / FILE}{remedy}")
        write(remaining)
    return len(tokens) - len(remaining)


def note_used(folder: Path, used_ns: dict[str, int]) -> None:
    """Record last uses (token id -> ns UTC) in the file. Raises TokenRefused, TokensUnreadable and TokensUnwritable."""
    with _locked_tokens(folder) as (tokens, write):
        changed = [
            msgspec.structs.replace(token, used_ns=max(token.used_ns, used_ns.get(token.id, 0))) for token in tokens
        ]
        if changed != list(tokens):
            write(changed)


def owner_of(path: Path) -> Token | None:
    """The owner's token, computed from the file that has its secret; None without a secret."""
    try:
        data, status = read_regular(path, MOST_BYTES)
    except (OSError, NotRead):
        return None
    secret = data.decode(errors="surrogateescape").strip()
    secret_bytes = secret.encode("utf-8", "surrogateescape")
    # not random but the same at each start: stored sessions name the token by its digest
    salt = blake2b(secret_bytes, digest_size=16, person=b"quantd owner").hexdigest()
    digest = _digest(secret_bytes, salt)
    return Token(OWNER, OWNER_ID, "admin", salt, digest, status.st_mtime_ns) if secret else None


def _unexpired(tokens: Iterable[Token], now_ns: int) -> list[Token]:
    return [token for token in tokens if not token.expired(now_ns)]


@contextmanager
def _locked_tokens(folder: Path) -> Iterator[tuple[tuple[Token, ...], Callable[[Sequence[Token]], None]]]:
    """Yield (stored tokens, function that replaces them) under an exclusive lock on the folder.

    Raises TokenRefused, TokensUnreadable and TokensUnwritable.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as why:
        text = f"{folder}: {(why.strerror or 'cannot be read').lower()}; `quantd run` makes the state folder"
        raise TokenRefused(text) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield stored(folder), lambda tokens: _replace(folder / FILE, msgspec.json.encode(tokens) + b"\n")
    finally:
        os.close(handle)


def _replace(path: Path, data: bytes) -> None:
    """Replace a file atomically, with mode 0600. Raises TokensUnwritable; the old file is then unchanged."""
    try:
        write_whole(path, data, 0o600)
    except OSError as why:
        text = f"{path}: {(why.strerror or str(why)).lower()}; it is unchanged. Free space or mend its rights"
        raise TokensUnwritable(text) from None
