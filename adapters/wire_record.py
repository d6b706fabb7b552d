"""A venue's answers as files, without secrets and without what names an account: golden files for tests of decoders.

A file has the method and path of a request, the names in its query, the status, and the body of the answer. Headers,
values of a query and the body of the request are never kept, nor is an answer that is not JSON.

What can go wrong: an account number is in a field of another name, or within a text. So each value of a field that
names an account, and each secret, is replaced in every text of every answer, also of earlier ones: files are written at
the end. A replacement has the form of what it replaces, so that decoders still read it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from quantd.regular_file import write_whole

MOST: Final = 1_000
"""Maximum number of recorded requests."""

SHORTEST: Final = 4
"""A shorter value of an account is replaced in its own field alone: it would be part of other texts."""

_WORDS: Final = """
    account accountid accountnumber accountalias acctnumber accountno uid userid user username memberid submemberid
    subuid masteruid parentuid inviterid referralid owner ownerid email phone firstname lastname fullname apikey
    apikeyid keyid key secret passphrase password signature sign token accesstoken listenkey ip ips iplist iprestrict
    ipwhitelist note label nickname alias address addresstag tag memo iban iiban bankaccount
"""
_OWNERS: Final = frozenset(_WORDS.split())
"""Names of fields whose value leads to an account, a key or a person, in lower case without "_" and "-"."""
_BESIDE: Final = frozenset(("id", "txid"))
"""Names of fields that do so in an object that has one of the others: at an order they name the order."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OPAQUE: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=-]{32,}")
"""A text that may be a key, a token or a signature. A UUID, which an order's id may be, is none."""
_SIGNED: Final = re.compile(r"((?:signature|sign|api_?key|token)=)[^\s&;\"']+", re.IGNORECASE)
_NUMBER: Final = "\0number "
"""Marks a number between reading and writing, so that none of its digits changes."""


class WireRecord:
    """The answers of one venue. `secrets` are never in a file."""

    def __init__(self, venue: str, secrets: Iterable[str]) -> None:
        self.venue, self.missed = venue, 0
        self._rows: list[tuple[str, str, int, Any]] = []
        self._hidden: set[str] = set()
        for text in secrets:
            self.hide(text)

    def hide(self, text: str) -> None:
        """Replace a text in every answer."""
        if len(text) >= SHORTEST:
            self._hidden |= {text, quote(text, safe=""), quote_plus(text)}

    def add(self, method: str, url: str, status: int, body: str | bytes) -> None:
        """Note an answer. `url` may have a host and a query; of the query only the names are noted."""
        if len(self._rows) >= MOST:
            self.missed += 1
            return
        parts = urlsplit(url)
        names = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
        path = "/".join("*" if _UUID.fullmatch(part) else part for part in unquote(parts.path).split("/"))
        try:
            value = json.loads(body, parse_float=_marked, parse_int=_marked)
        except ValueError:
            value = None
        self._rows.append((method, path + ("?" + "&".join(names) if names else ""), status, self._named(value)))

    def sent(self, kind: str) -> None:
        """Note a message to a gateway, by the number of its kind. Messages that come then are its answer."""
        if len(self._rows) >= MOST:
            self.missed += 1
        else:
            self._rows.append(("SEND", kind, 0, []))

    def heard(self, fields: Sequence[str]) -> None:
        """Note a message of a gateway."""
        if self._rows and not self.missed:
            self._rows[-1][3].append(list(fields))

    def write(self, folder: Path) -> int:
        """Write one file for each request, and return their number."""
        for number, (method, path, status, body) in enumerate(self._rows, 1):
            value = {
                "venue": self.venue, "method": method, "path": self._scrubbed(path), "status": status,
                "body": self._clean(body),
            }  # fmt: skip
            text = re.sub(r'"\\u0000number ([^"]*)"', r"\1", json.dumps(value, indent=1))
            slug = re.sub(r"[^A-Za-z0-9]+", "-", value["path"].partition("?")[0]).strip("-")[-60:]
            write_whole(folder / f"{number:04d}-{method}-{slug}.json", text.encode() + b"\n", 0o600)
        return len(self._rows)

    def _named(self, value: Any) -> Any:
        """Replace the values of fields that name an account, and remember them."""
        if isinstance(value, list):
            return [self._named(item) for item in value]
        if not isinstance(value, dict):
            return value
        owners = {name for name in value if _plain(name) in _OWNERS}
        owners |= {name for name in value if owners and _plain(name) in _BESIDE}
        return {name: self._replaced(item) if name in owners else self._named(item) for name, item in value.items()}

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._replaced(item) for item in value]
        if isinstance(value, dict):
            return {name: self._replaced(item) for name, item in value.items()}
        if not isinstance(value, str):
            return value
        if value.startswith(_NUMBER):
            self.hide(value.removeprefix(_NUMBER))
            return _NUMBER + blank(value.removeprefix(_NUMBER))
        self.hide(value)
        return blank(value)

    def _clean(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._clean(item) for item in value]
        if isinstance(value, dict):
            return {self._scrubbed(name): self._clean(item) for name, item in value.items()}
        if not isinstance(value, str):
            return value
        if value.startswith(_NUMBER):
            return _NUMBER + self._scrubbed(value.removeprefix(_NUMBER))
        return self._scrubbed(value)

    def _scrubbed(self, text: str) -> str:
        for hidden in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(hidden, blank(hidden))
        text = _SIGNED.sub(r"\1***", text)
        return blank(text) if _OPAQUE.fullmatch(text) and not _UUID.fullmatch(text) else text


def blank(text: str) -> str:
    """A text of the same form: each letter is an a or A, each digit a 1."""
    return re.sub(r"\d", "1", re.sub("[A-Z]", "A", re.sub("[a-z]", "a", text)))


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _marked(digits: str) -> str:
    return _NUMBER + digits


RECORD: Final[ContextVar[WireRecord | None]] = ContextVar("wire record", default=None)
"""The record to which connections that are opened in this context add their answers."""
