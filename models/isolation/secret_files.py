"""Recognises files and folders that no policy file may read, by name and content, wherever they lie.

A list of paths would protect the state folder of this daemon, but not the state folder of another instance beside it,
nor a token that a person has copied. So a folder is a state folder if it contains a name that a daemon writes there. A
small file is a secret if its name says so, or its content: a key in PEM, PKCS #12, PuTTY's or OpenSSH's form, one
random word, or an assignment to a name such as `api_key`. The content also reveals a hard link under another name. A
file above MOST_BYTES is data: no key is so long.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from quantd.regular_file import NotRead, read_regular
from quantd.state_folder import FILES

STATE_NAMES: Final = frozenset({"quantd.db", "journal.head", "tokens.json", "commands.taken"})
"""A folder with one of these names is a state folder, or a copy of one."""

ENDS: Final = (
    ".env", ".key", ".pem", ".token", ".p12", ".pfx", ".ppk", ".jks", ".keystore", ".kdbx", ".ovpn", ".p8", ".secret",
)  # fmt: skip
"""Ends of names that no policy file reads, in any case."""

STARTS: Final = (".", "secret", "credential", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519")
"""Starts of names that no policy file reads, in any case."""

NAMES: Final = frozenset({"token", "tokens.json", "htpasswd", "passwd", "shadow"})
"""Whole names that no policy file reads, in any case."""

MOST_BYTES: Final = 64 * 1024
"""Files above this size are not searched for secrets."""

_KEY: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|openssh-key-v1|PuTTY-User-Key-File-")
_PKCS12: Final = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"
"""The first bytes of a PKCS #7 object identifier, which every PKCS #12 file has near its start (RFC 7292)."""

_ASSIGNED: Final = re.compile(
    rb"(?i)(api[_-]?key|api[_-]?secret|client[_-]?secret|secret[_-]?access[_-]?key|secret[_-]?key|private[_-]?key"
    rb"|access[_-]?token|auth[_-]?token|refresh[_-]?token|bearer|passw(?:or)?d|token|secret)"
    rb"[\"']?\s{0,8}[:=]\s{0,8}[\"']?[^\s\"',;]{8,}"
)
_WORD: Final = re.compile(rb"[A-Za-z0-9_\-+/=.~:$]{20,4096}")
"""One word that is long enough to be a token."""
_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
"""The form of a token that quantd creates: 32 random bytes in URL-safe base64."""

_TOKEN_BYTES: Final = 1_024
"""Files above this size hold no token."""
_MIN_TOKEN_CHARS: Final = 4
"""Shortest token that is removed from texts; a shorter one would be found in many words."""

REMOVED: Final = "[removed: a token]"


def private(name: str) -> bool:
    """Whether a file or folder of this name is closed to policy files."""
    lower = name.lower()
    return lower in NAMES or lower.startswith(STARTS) or lower.endswith(ENDS)


def secret_in(path: Path) -> str:
    """Return the kind of secret in a file; empty for data, and for a file that cannot be read here."""
    try:
        content = read_regular(path, MOST_BYTES).data
    except (OSError, NotRead):
        return ""
    if _KEY.search(content):
        return "a private key"
    if content[:1] == b"\x30" and _PKCS12 in content[:64]:
        return "a key store"
    if _ASSIGNED.search(content):
        return "a password, a key or a token by name"
    if _looks_random(content.strip()):
        return "one word, as a token is"
    return ""


def _looks_random(word: bytes) -> bool:
    """Whether a word looks like a random token: long, with letters and digits."""
    if not _WORD.fullmatch(word):
        return False
    return any(c in b"0123456789" for c in word) and any(chr(c).isalpha() for c in word)


def state_folder_of(folder: Path) -> Path | None:
    """`folder` if it is a state folder, else the state folder above it; None if there is none."""
    for parent in (folder, *folder.parents):
        try:
            if any((parent / name).exists() for name in STATE_NAMES):
                return parent
        except OSError:
            continue
    return None


def scrubbed(text: str, state: Iterable[Path]) -> str:
    """A policy's text without the tokens in the folders `state`, and without words in the form of a token.

    The owner's token may be short, and its file may have any name. So each file in `state` that has only one word
    counts as a token.
    """
    for token in _tokens_in(state):
        text = text.replace(token, REMOVED)
    return _TOKEN.sub(_without_token, text)


def _tokens_in(state: Iterable[Path]) -> Iterator[str]:
    """Yield the words that may be tokens: the whole text of a small file in a state folder, if it is one word."""
    for folder in state:
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
        except OSError:
            continue
        for name in names:
            if name in FILES or name == "HALT":
                continue
            try:
                word = read_regular(folder / name, _TOKEN_BYTES).data.decode("utf-8", "replace").strip()
            except (OSError, NotRead):
                continue
            if len(word) >= _MIN_TOKEN_CHARS and not any(map(str.isspace, word)):
                yield word


def _without_token(word: re.Match[str]) -> str:
    """REMOVED for a word with upper case, lower case and digits, as a token has; else the word."""
    kinds = (str.isupper, str.islower, str.isdigit)
    return REMOVED if all(any(kind(c) for c in word[0]) for kind in kinds) else word[0]
