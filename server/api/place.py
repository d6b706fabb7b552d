"""Where the trading daemon of a state folder listens: its file `api.json`."""

import ssl
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.regular_file import NotRead, read_regular
from quantd.trading.display_text import endpoint_text

FILE: Final = "api.json"

SOCKET: Final = "switch.sock"
"""Unix socket in the state folder, for halts of the user of the daemon."""


class ApiPlace(Struct, frozen=True):
    """The content of `api.json` in a state folder: the address of the API, and the process id of the daemon."""

    host: str
    port: int
    pid: int
    tls: bool = False
    token: str = "token"
    halt_port: int = 0

    @property
    def url(self) -> str:
        """The address of the dashboard, with a slash at its end."""
        return f"http{'s' if self.tls else ''}://{endpoint_text(self.host, self.port)}/"


def place_in(folder: Path) -> ApiPlace | None:
    """The content of the folder's `api.json`; None without a readable file. Its daemon may have been killed since."""
    try:
        return msgspec.json.decode(read_regular(folder / FILE).data, type=ApiPlace)
    except (OSError, NotRead, msgspec.DecodeError):
        return None


def trusting() -> ssl.SSLContext:
    """TLS settings that accept any certificate.

    Accepting any certificate is safe for an address from `api.json`: the daemon wrote it into a state folder of the
    same user.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
