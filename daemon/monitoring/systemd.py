"""What systemd and the daemon tell each other: readiness, status, watchdog, secrets. Silent where there is no systemd."""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

STATUS_CHARS: Final = 200
SECRET_BYTES: Final = 64 * 1024
SEND_S: Final = 0.2
"""How long a notification waits for a full queue: the loop that sends it trades."""
_SECRET_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class SecretUnreadable(Exception):
    """A secret is there and cannot be read; the message names its place, never its text."""


def supervised() -> bool:
    """Whether somebody listens for notifications."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def ready(status: str = "") -> None:
    """Start-up is over: recovered, reconciled, trading. With Type=notify units that wait for us start now."""
    if status:
        tell_status(status)
    _notify("READY=1")


def tell_status(text: str) -> None:
    """The line `systemctl status` shows."""
    # a newline would begin another assignment: MAINPID= in a venue's message must stay text
    printable = "".join(c if c.isprintable() else " " for c in text)
    _notify(f"STATUS={' '.join(printable.split())[:STATUS_CHARS]}")


def reloading() -> None:
    """The configuration is being read again; followed by `ready`."""
    _notify("RELOADING=1")


def stopping(status: str = "") -> None:
    """The stop has begun."""
    if status:
        tell_status(status)
    _notify("STOPPING=1")


def alive() -> None:
    """Feeds the watchdog. To be called by the loop that trades and by nothing else: it proves that this loop goes round."""
    _notify("WATCHDOG=1")


def watchdog_usec() -> int:
    """Microseconds within which `alive` must be called, 0 when nobody asked. Call it at half of that at the latest."""
    try:
        usec, pid = int(os.environ.get("WATCHDOG_USEC", "0")), int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return 0
    return usec if usec > 0 and pid == os.getpid() else 0


def secret(name: str) -> str | None:
    """A secret by name ("mqtt_password"): the file of that name in $CREDENTIALS_DIRECTORY, else QUANTD_MQTT_PASSWORD,
    else None. One newline at its end is not part of it. SecretUnreadable when it is there and no use."""
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
            raise SecretUnreadable(f"credential {path} is larger than {SECRET_BYTES} bytes; is it the right file?")
    else:
        text = os.environ.get(f"QUANTD_{name.upper()}", "")
    text = text.removesuffix("\n").removesuffix("\r")
    if "\x00" in text:
        raise SecretUnreadable(f"secret {name} holds a zero byte; it must be text.")
    return text or None


def _notify(assignment: str) -> None:
    """Send one assignment of the sd_notify(3) protocol: a datagram to $NOTIFY_SOCKET, "@" for an abstract address."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.settimeout(SEND_S)
        sender.sendto(assignment.encode(), "\0" + address[1:] if address.startswith("@") else address)
