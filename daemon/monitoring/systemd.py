"""The interface to systemd: readiness, status, watchdog, secrets. Without systemd the calls do nothing."""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

STATUS_CHARS: Final = 200
SECRET_BYTES: Final = 64 * 1024
SEND_S: Final = 0.2
"""Seconds to wait for a full notification queue; the sending loop also trades, so this is short."""
_SECRET_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class SecretUnreadable(Exception):
    """A secret exists but cannot be read; the message names its place, never its text."""


def supervised() -> bool:
    """Whether systemd listens for notifications."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def ready(status: str = "") -> None:
    """Notifies that start-up is complete: recovered, reconciled, trading. Dependent units start now (Type=notify)."""
    if status:
        tell_status(status)
    _notify("READY=1")


def tell_status(text: str) -> None:
    """Sets the status line of `systemctl status`."""
    # a newline would begin another assignment, so that MAINPID= in a venue's message would take effect
    printable = "".join(c if c.isprintable() else " " for c in text)
    _notify(f"STATUS={' '.join(printable.split())[:STATUS_CHARS]}")


def reloading() -> None:
    """Notifies that the configuration is being reloaded; `ready` follows."""
    _notify("RELOADING=1")


def stopping(status: str = "") -> None:
    """Notifies that the stop has begun."""
    if status:
        tell_status(status)
    _notify("STOPPING=1")


def alive() -> None:
    """Feeds the watchdog. Only the trading loop calls it: the call proves that this loop runs."""
    _notify("WATCHDOG=1")


def watchdog_usec() -> int:
    """Microseconds within which `alive` must be called, 0 without a watchdog. Call it at half of that interval."""
    try:
        usec, pid = int(os.environ.get("WATCHDOG_USEC", "0")), int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return 0
    return usec if usec > 0 and pid == os.getpid() else 0


def secret(name: str) -> str | None:
    """A secret by name ("mqtt_password"): the file of that name in $CREDENTIALS_DIRECTORY, else QUANTD_MQTT_PASSWORD.

    None when neither exists. One newline at the end is removed. Raises SecretUnreadable when it exists and is unusable.
    """
    if not _SECRET_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a secret: lower-case letters, digits and _")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (path := Path(folder) / name).exists():
        try:
            with path.open("rb") as file:
                data = file.read(SECRET_BYTES + 1)
            text = data.decode()
        except (OSError, UnicodeDecodeError) as why:
            raise SecretUnreadable(
                f"credential {path}: {type(why).__name__}; see LoadCredential= of the unit."
            ) from None
        if len(data) > SECRET_BYTES:
            raise SecretUnreadable(
                f"credential {path} is larger than {SECRET_BYTES} bytes; check that it is the right file."
            )
    else:
        text = os.environ.get(f"QUANTD_{name.upper()}", "")
    text = text.removesuffix("\n").removesuffix("\r")
    if "\x00" in text:
        raise SecretUnreadable(f"secret {name} has a zero byte; it must be text.")
    return text or None


def _notify(assignment: str) -> None:
    """Sends one assignment of sd_notify(3): a datagram to $NOTIFY_SOCKET, where "@" begins an abstract address."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.settimeout(SEND_S)
        sender.sendto(assignment.encode(), "\0" + address[1:] if address.startswith("@") else address)
