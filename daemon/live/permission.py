"""The conditions of a start in mode live, one of them a recent result of `quantd doctor --live`.

The result is stored in the state folder with a digest of its content. It is valid for one configuration and one version
of the program, for 24 hours.

What can go wrong: a passed result of another configuration or of older code, or an edited result, permits real orders.
So each of these is a reason against the start, with its text. A failed result replaces a passed one, and a result with
a date in the future is refused.
"""

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
from quantd.regular_file import write_whole

FILE: Final = "doctor-live.json"
LASTS_S: Final = 24 * 3600.0
"""Seconds for which a passed `quantd doctor --live` is valid."""

AHEAD_S: Final = 60.0
"""A result dated further in the future than this comes from another clock and is refused."""


class Finding(Struct, frozen=True):
    """The result of `quantd doctor --live` for the configuration with digest `config` and for `version`.

    `at_s` is Unix time. `content` is hex BLAKE2b over the other fields.
    """

    ok: bool
    config: str
    version: str
    at_s: float
    failed: tuple[str, ...]
    content: str = ""

    def signed(self) -> "Finding":
        return msgspec.structs.replace(self, content=self._content())

    def whole(self) -> bool:
        """Whether the finding's content is unchanged since it was written, by its digest."""
        return self.content == self._content()

    def _content(self) -> str:
        bare = msgspec.structs.replace(self, content="")
        return blake2b(msgspec.json.encode(bare), digest_size=32).hexdigest()


def keep(folder: Path, config: Config, failed: tuple[str, ...], now: Callable[[], float] = time.time) -> None:
    """Writes the result of `quantd doctor --live`; a failed result replaces a passed one."""
    folder.mkdir(parents=True, exist_ok=True)
    finding = Finding(not failed, digest(config), code_version(), now(), failed).signed()
    write_whole(folder / FILE, msgspec.json.encode(finding) + b"\n", 0o600)


def doubt(folder: Path, config: Config, now: Callable[[], float] = time.time) -> str:
    """The reason why the doctor's result in this folder does not permit a live start; empty when it does.

    The result is the file that `quantd doctor --live` wrote. It must be of this configuration and version, unchanged
    since, not older than LASTS_S, and at most AHEAD_S in the future.
    """
    try:
        finding = msgspec.json.decode((folder / FILE).read_bytes(), type=Finding)
    except FileNotFoundError:
        return f"there is no result in {folder}"
    except (OSError, msgspec.DecodeError):
        return f"{folder / FILE} cannot be read"
    age_s = now() - finding.at_s
    if not finding.whole():
        return f"{folder / FILE} was changed after it was written"
    if finding.config != digest(config):
        return "the last run checked another configuration"
    if finding.version != code_version():
        return f"the last run was by quantd {finding.version}, this is {code_version()}"
    if not -AHEAD_S <= age_s < LASTS_S:
        return f"the last run is {age_s / 3600:.0f} hours old" if age_s > 0 else "the last run has a date in the future"
    return "" if finding.ok else f"the last run failed: {', '.join(finding.failed)}"


def refusal(config: Config, folder: Path, confirmed: bool, now: Callable[[], float] = time.time) -> str:
    """The text that refuses a live start: each condition, and the remedy for each condition that is not met.

    Empty when all conditions are met or the mode is not live. `confirmed` is True with --live on the command line.
    """
    if config.quantd.mode != "live":
        return ""
    doctor_doubt = doubt(folder, config, now)
    venue_kinds = [f'"{kind}"' for kind, venue in venues().items() if venue.broker]
    passed = "a passed `quantd doctor --live` of this configuration within 24 hours"
    kinds = f"write [broker] kind = {' or '.join(venue_kinds)}"
    needs = (
        (config.quantd.live, "live = true in [quantd]", "write it into the configuration"),
        (confirmed, "--live on this command line", "quantd run --live"),
        (config.broker.kind != "paper", "a broker that trades at a venue", kinds),
        (not doctor_doubt, passed, f"{doctor_doubt}; run `quantd doctor --live`"),
    )
    unmet = [need for need in needs if not need[0]]
    if not unmet:
        return ""
    met_lines = [f"  yes  {condition}" for ok, condition, _ in needs if ok]
    lines = [f"  no   {condition}: {remedy}" for _, condition, remedy in unmet]
    return "\n".join(['[quantd] mode = "live" trades real money. A live start needs four things:', *met_lines, *lines])
