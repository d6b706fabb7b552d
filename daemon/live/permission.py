"""What a live start needs beside its configuration, and the doctor's finding that is one part of it.

The finding lies in the state folder with a digest over its content: it is of one configuration and one version of the program,
and young enough.
"""

import os
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.daemon.assembly.brokers import venues
from quantd.daemon.config import Config, digest
from quantd.daemon.runtime.version import code_version

FILE: Final = "doctor-live.json"
LASTS_S: Final = 24 * 3600.0
"""How long a green `quantd doctor --live` is believed."""

AHEAD_S: Final = 60.0
"""A finding from further in the future than this is of another clock, and is not believed."""


class Finding(Struct, frozen=True):
    """What `quantd doctor --live` found: of the configuration with digest `config` and of `version`, at `at_s` (Unix time).
    `content` is hex BLAKE2b over the rest."""

    ok: bool
    config: str
    version: str
    at_s: float
    failed: tuple[str, ...]
    content: str = ""

    def signed(self) -> "Finding":
        return msgspec.structs.replace(self, content=self._content())

    def whole(self) -> bool:
        """Whether nobody changed it since it was written."""
        return self.content == self._content()

    def _content(self) -> str:
        bare = msgspec.structs.replace(self, content="")
        return blake2b(msgspec.json.encode(bare), digest_size=32).hexdigest()


def keep(folder: Path, config: Config, failed: tuple[str, ...], now: Callable[[], float] = time.time) -> None:
    """Write what the doctor found; a red finding takes the place of a green one."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Finding(not failed, digest(config), code_version(), now(), failed).signed()
    aside = folder / f"{FILE}.new"
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(found) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / FILE)


def doubt(folder: Path, config: Config, now: Callable[[], float] = time.time) -> str:
    """Why the doctor's finding in this folder does not permit a live start; empty when it does."""
    try:
        found = msgspec.json.decode((folder / FILE).read_bytes(), type=Finding)
    except FileNotFoundError:
        return f"there is none in {folder}"
    except (OSError, msgspec.DecodeError):
        return f"{folder / FILE} cannot be read"
    age_s = now() - found.at_s
    if not found.whole():
        return f"{folder / FILE} was changed after it was written"
    if found.config != digest(config):
        return "it was of another configuration"
    if found.version != code_version():
        return f"it was of quantd {found.version}, this is {code_version()}"
    if not -AHEAD_S <= age_s < LASTS_S:
        return f"it is {age_s / 3600:.0f} hours old" if age_s > 0 else "it is from the future"
    return "" if found.ok else f"it was not green: {', '.join(found.failed)}"


def refusal(config: Config, folder: Path, asked: bool, now: Callable[[], float] = time.time) -> str:
    """Why this live start is refused, with what each missing thing takes; empty when nothing is missing, or the mode is not
    live. `asked` says whether --live stands on the command line."""
    if config.quantd.mode != "live":
        return ""
    why = doubt(folder, config, now)
    real = [f'"{kind}"' for kind, venue in venues().items() if venue.broker]
    needs = (
        (config.quantd.live, "live = true in [quantd]", "write it into the configuration"),
        (asked, "--live on this command line", "quantd run --live"),
        (
            config.broker.kind != "paper",
            "a broker that is a venue",
            f"write [broker] kind = {' or '.join(real)}",
        ),
        (
            not why,
            "a green `quantd doctor --live` of this configuration, younger than 24 hours",
            f"{why}; run quantd doctor --live",
        ),
    )
    missing = [need for need in needs if not need[0]]
    if not missing:
        return ""
    there = [f"  yes  {what}" for ok, what, _ in needs if ok]
    lines = [f"  no   {what}: {remedy}" for _, what, remedy in missing]
    return "\n".join(['mode = "live" in [quantd] trades real money, and something is missing:', *there, *lines])
