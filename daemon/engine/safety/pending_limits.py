"""Limits of a changed configuration. In mode live, looser ones wait for a delay or for a second person's approval. In
every mode a change of who approves waits for a delay, or for the signature of a device that approves now.

What can go wrong: one person loosens a limit, and orders use it before anybody else has seen it. So a tighter limit
applies at once, and a looser limit is announced with a CRITICAL alert, and waits.

A new start or reload with the same looser limits does not begin the delay again; other looser limits replace the
earlier ones. An approval names the digest of the limits, so that it is for the limits that the person has seen.
"""

from hashlib import blake2b

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.devices import is_approval, of_limits, signature_fault
from quantd.daemon.engine.state import Loosening, State
from quantd.daemon.engine.state.snapshot import with_limits
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect
from quantd.trading.events import DeviceSignature, Reloaded


def apply_limits(state: State, limits: bytes) -> None:
    """Apply `limits`, the encoded part of the rules that may change during a run, in the whole account and
    its shadows (agents on paper)."""
    state.govern(with_limits(state.rules, limits))
    for shadow, shadow_rules in zip(state.shadows, state.rules.shadows, strict=True):
        shadow.govern(shadow_rules)


def postpone(state: State, reloaded: Reloaded) -> list[Effect]:
    """Schedule the looser limits of a reloaded configuration, in place of earlier ones that still wait.

    Returns an alert if the limits that wait have changed.
    """
    before, state.loosening = state.loosening, None
    if before is not None and before.limits == reloaded.later:
        state.loosening = before  # the same looser limits: their delay goes on, and does not begin again
        return []
    if reloaded.later:
        # a further change, by another person, does not make the first one a second person for his own limit
        who, asked_ns = (reloaded.who,) if reloaded.who else (), reloaded.asked_ns
        if before is not None and not set(before.looser).isdisjoint(reloaded.looser):
            who, asked_ns = tuple(dict.fromkeys((*before.who, *who))), asked_ns or before.asked_ns
        state.loosening = Loosening(state.now, reloaded.due, reloaded.later, reloaded.looser, who, asked_ns)
        text = (
            f"{_names(state.loosening)} become looser at {instant_text(reloaded.due)}, or when "
            f"{'a device in force signs' if any(map(is_approval, reloaded.looser)) else 'a second person approves'}"
        )
        return [alert(state, "CRITICAL", "loosening", text)]
    if before is not None:
        return [
            alert(state, "INFO", "loosening", f"{_names(before)} stay as they are: the configuration changed again")
        ]
    return []


def apply_looser(state: State, waiting: Loosening, why: str) -> list[Effect]:
    """Apply the looser limits `waiting`, once they were approved or their delay is over; `why` says which, for the
    alert."""
    state.loosening = None
    apply_limits(state, waiting.limits)
    return [alert(state, "CRITICAL", "loosening", f"{_names(waiting)} are looser from now on: {why}")]


def waiting_text(state: State) -> str:
    """The looser limits that wait for their delay or approval, and until when, as text; empty if none waits."""
    waiting = state.loosening
    return f"{_names(waiting)} from {instant_text(waiting.due)}" if waiting is not None else ""


def digest_of(waiting: Loosening) -> str:
    """Hex BLAKE2b of the looser limits, which an approval names."""
    return blake2b(waiting.limits, digest_size=16).hexdigest()


def unsigned_change(state: State, waiting: Loosening, signed: DeviceSignature | None, now: int) -> str:
    """Why looser limits that change who approves lack the signature of a device; empty where they need none."""
    if not any(map(is_approval, waiting.looser)) and signed is None:
        return ""
    return signature_fault(state.rules.approvals, signed, of_limits(digest_of(waiting), waiting.since), now)


def _names(waiting: Loosening) -> str:
    return ", ".join(waiting.looser)
