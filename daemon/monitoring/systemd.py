"""The interface to systemd: readiness, status, watchdog. Without systemd the calls do nothing."""

import os
import socket
from contextlib import suppress
from typing import Final

STATUS_CHARS: Final = 200
"""Maximum length of the status line."""

SEND_S: Final = 0.2
"""Seconds to wait for a full notification queue; the sending loop also trades, so this is short."""


def ready(status: str) -> None:
    """Notifies that the daemon has recovered and reconciled, and trades: dependent units start (Type=notify)."""
    tell_status(status)
    _notify("READY=1")


def tell_status(text: str) -> None:
    """Sets the status line of `systemctl status`."""
    # a newline would begin another assignment, so that MAINPID= in a venue's message would take effect
    printable = "".join(c if c.isprintable() else " " for c in text)
    _notify(f"STATUS={' '.join(printable.split())[:STATUS_CHARS]}")


def stopping() -> None:
    _notify("STOPPING=1")


def alive() -> None:
    """Tells systemd's watchdog that the trading loop runs. Call it only while the loop makes progress."""
    _notify("WATCHDOG=1")


def watchdog_usec() -> int:
    """Microseconds within which `alive` must be called, 0 without a watchdog. Call it at half of that interval."""
    try:
        usec, pid = int(os.environ.get("WATCHDOG_USEC", "0")), int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return 0
    return usec if usec > 0 and pid == os.getpid() else 0


def _notify(assignment: str) -> None:
    """Sends one assignment of sd_notify(3): a datagram to $NOTIFY_SOCKET, where "@" begins an abstract address."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.settimeout(SEND_S)
        sender.sendto(assignment.encode(), "\0" + address[1:] if address.startswith("@") else address)
