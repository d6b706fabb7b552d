"""A signed receipt of a decision, which is checked without the daemon: a JWS in compact form (RFC 7515, RFC 8037).

What can go wrong: the operator of a daemon, or who has broken into it, writes another past. A receipt that an agent
holds names the decision and the end of the journal's hash chain after it, so that the journal cannot be changed up to
there without a contradiction. It does not help against a daemon that lies when it decides.

The key is in the receipt. Who checks one compares it with the key that the daemon's `quantd device list` prints.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from quantd.trading.exit_codes import ExplainedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE: Final = "receipts.pem"
"""The private key in the state folder."""

HEADER: Final = "Quantd-Receipt"
"""The header of an answer that has the receipt."""

TYPE: Final = "quantd-receipt"
MOST_CHARS: Final = 64 * 1024


class ReceiptFault(ExplainedError):
    """A text that is no valid receipt; the message has the reason."""


class SymbolDecided(Struct, frozen=True):
    """What was decided about one symbol: `passed` of `asked` signed units, and the reason."""

    symbol: str
    outcome: str
    asked: str
    passed: str
    text: str


class FilledSoFar(Struct, frozen=True):
    """The signed units of a symbol that the orders of the decision have filled, and their value in money."""

    symbol: str
    qty: str
    value: str


class Receipt(Struct, frozen=True, kw_only=True):
    """A decision on a proposal, or on an order of a program, in entry `entry` of the run's journal.

    `plan` is the digest of targets and orders; empty where nothing was planned. `row` and `head` are the number and the
    hash of the row that has the entry, the newest of the journal when the receipt was signed.
    """

    run: str
    agent: str
    id: str
    time: str
    plan: str
    outcome: str
    text: str
    symbols: list[SymbolDecided]
    fills: list[FilledSoFar]
    entry: int
    row: int = 0
    head: str = ""


class _Key(Struct, frozen=True):
    kty: str
    crv: str
    x: str


class _Header(Struct, frozen=True):
    alg: str
    typ: str
    jwk: _Key


def sealed(receipt: Receipt, key: "Ed25519PrivateKey") -> str:
    """A receipt as text, signed with a key."""
    header = _Header("EdDSA", TYPE, _Key("OKP", "Ed25519", _text(key.public_key().public_bytes_raw())))
    signed = f"{_text(msgspec.json.encode(header))}.{_text(msgspec.json.encode(receipt))}"
    return f"{signed}.{_text(key.sign(signed.encode()))}"


def unsealed(text: str) -> tuple[Receipt, str]:
    """(A receipt, the public key that signed it, in hexadecimal). Raises ReceiptFault."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signed, _, signature = text.strip().rpartition(".")
    head, _, body = signed.partition(".")
    try:
        header = msgspec.json.decode(_bytes(head), type=_Header)
        if (header.alg, header.typ, header.jwk.kty, header.jwk.crv) != ("EdDSA", TYPE, "OKP", "Ed25519"):
            raise ReceiptFault("this is no receipt of quantd, but another signed text")
        public = _bytes(header.jwk.x)
        key, seal = Ed25519PublicKey.from_public_bytes(public), _bytes(signature)
    except (ValueError, msgspec.MsgspecError):
        raise ReceiptFault(
            "this is no receipt: a receipt is three parts with points between them, on one line"
        ) from None
    try:
        key.verify(seal, signed.encode())
        return msgspec.json.decode(_bytes(body), type=Receipt), public.hex()
    except InvalidSignature:
        raise ReceiptFault("the signature does not fit: the receipt was changed after it was signed") from None
    except (ValueError, msgspec.MsgspecError) as why:
        raise ReceiptFault(f"the receipt is signed, and of another version of quantd: {why}") from None


def public_key(folder: Path) -> str:
    """The public key of the receipts of a state folder in hexadecimal; empty before the first receipt.

    Raises KeyFault.
    """
    from quantd.models.artifacts.signature import private_key

    path = folder / KEY_FILE
    return private_key(path).public_key().public_bytes_raw().hex() if path.exists() else ""


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """The bytes of a text in base64url; one that encodes no bytes exactly is a ValueError."""
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _text(data) != text:
        raise ValueError(text[:40])
    return data
