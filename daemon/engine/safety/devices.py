"""Signatures of devices: the approval of a proposal, or of a change of who may approve.

What can go wrong: whoever runs commands as the user of the daemon has every token, and approves what a program of his
proposes. So a private key is elsewhere, and the engine verifies its signature. The signed text names what was seen (a
plan, or limits), the instant at which it began to wait, and an end: no signature is valid for another proposal, for
another plan of it, for another run, or later. The journal has the signature in the event and the keys in `Reloaded`, so
that a replay verifies each approval again.
"""

from typing import Final

import msgspec

from quantd.daemon.engine.state.settings import Approvals
from quantd.trading.display_text import instant_text
from quantd.trading.events import DeviceSignature

LONGEST_NS: Final = 15 * 60 * 10**9
"""Longest time, in ns, for which a signature is valid."""

CONTEXT: Final = "quantd approval 1"
"""First field of each signed text, so that no signature for another purpose is an approval."""

DEVICES: Final = "approvals."
"""Beginning of the names of devices among looser limits."""


def of_proposal(agent: str, id: str, since: int, plan: str) -> tuple[str, ...]:
    """What a signature for a proposal covers, beside its end: since when (ns UTC) it waits, and its plan."""
    return "proposal", agent, id, str(since), plan


def of_limits(digest: str, since: int) -> tuple[str, ...]:
    """What a signature for looser limits covers, beside its end: their digest, and since when (ns UTC) they wait."""
    return "limits", digest, str(since)


def signed_text(fields: tuple[str, ...], expires: int) -> bytes:
    """The bytes that a device signs: a JSON list of texts; `expires` is in ns UTC."""
    return msgspec.json.encode([CONTEXT, *fields, str(expires)])


def is_approval(name: str) -> bool:
    """Whether the dotted name of a looser limit is about who approves: a device, or an agent's `approval`."""
    return name.startswith(DEVICES) or name.endswith(".approval")


def signature_fault(
    approvals: Approvals | None, signed: DeviceSignature | None, fields: tuple[str, ...], now: int
) -> str:
    """Why a signature does not approve what `fields` name at the instant `now`; empty where it does."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    devices = {} if approvals is None else approvals.devices
    if signed is None:
        return "only the signature of a device approves it, and no token"
    if signed.key not in devices.values():
        return (
            f"the key {signed.key[:64]!r} is of no device in force; those in force are {', '.join(devices) or 'none'}"
        )
    if signed.expires <= now:
        return f"the signature ended at {instant_text(signed.expires)}, and it is {instant_text(now)}; sign again"
    if signed.expires > now + LONGEST_NS:
        text = f"the signature would be valid for more than 15 minutes from {instant_text(now)}"
        return f"{text}; set the clock of the device, and sign again"
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed.key))
        public.verify(bytes.fromhex(signed.signature), signed_text(fields, signed.expires))
    except (InvalidSignature, ValueError):
        return "the signature is not of what waits now; look at it, and sign again"
    return ""
