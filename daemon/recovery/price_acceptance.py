"""The acceptance of faulty prices that would stop a new run, for a run that began before the faults were found.

A run that continues after a restart has positions, so a check that is newer than the run must not stop it: that would
leave the positions without protection. The run goes on with the bars of its record, and a CRITICAL alert shows the
table of faults that would stop a new run. A person ends the alert with `quantd data check --accept`, which appends
who, when and why to a file of the state folder. An acceptance is valid for exactly the table that was shown: another
fault raises the alert again.
"""

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.regular_file import check_file
from quantd.trading.display_text import instant_text
from quantd.trading.events import Condition
from quantd.trading.exit_codes import CHECK_FAILED, ExplainedError

if TYPE_CHECKING:
    from quantd.daemon.runtime.service import Service

FILE: Final = "accepted-prices.jsonl"
"""Name of the file in the state folder, which has one acceptance on each line."""

JOB: Final = "prices"
"""The part of the alert's kind `job_prices` after "job_"."""

MOST_BYTES: Final = 10_000_000
"""Size of the largest file that is read."""


class Acceptance(msgspec.Struct, frozen=True):
    """A person's acceptance of the table of faults `table`, whose hash is `prices`; `at` is the time (UTC)."""

    prices: str
    at: str
    who: str
    reason: str
    table: str


class NotAccepted(ExplainedError):
    """The file of acceptances cannot be used; the text names it and the fault."""

    exit_code = CHECK_FAILED


def hash_of(table: str) -> str:
    return blake2b(table.encode(), digest_size=16).hexdigest()


def acceptance(folder: Path, table: str) -> Acceptance | None:
    """Return the newest acceptance of a table in a state folder; None if there is none.

    Raises NotAccepted for a file of more than MOST_BYTES bytes, and for a line that is no acceptance.
    """
    path, table_hash, newest = folder / FILE, hash_of(table), None
    if not path.is_file():
        return None
    if path.stat().st_size > MOST_BYTES:
        raise NotAccepted(f"{path} has more than {MOST_BYTES // 1_000_000} MB; move it away")
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entry = msgspec.json.decode(line, type=Acceptance)
        except msgspec.DecodeError:
            raise NotAccepted(f"{path}:{number} is no acceptance; remove the line, or move the file away") from None
        if entry.prices == table_hash:
            newest = entry
    return newest


def accept(folder: Path, table: str, who: str, reason: str, now: int) -> Acceptance:
    """Append an acceptance to the file of a state folder. Raises Refused where the file is no regular file, for example
    a link."""
    entry = Acceptance(hash_of(table), instant_text(now), who, reason, table)
    check_file(folder / FILE)
    with (folder / FILE).open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")
    return entry


def unaccepted(parts: Parts, folder: Path) -> str:
    """The table of faults of a recorded market, if nobody has accepted it; else empty.

    Where the file of acceptances cannot be read, the reason follows the table.
    """
    table = parts.unsound if isinstance(parts, Assembly) else ""
    try:
        return "" if not table or acceptance(folder, table) is not None else table
    except NotAccepted as error:
        return f"{table}\n{error}"


def alert_of(table: str, now: int) -> Condition:
    text = (
        "the prices of this run have faults that would stop a new run. This run goes on with the bars of its record. "
        "Correct the prices, or accept them: "
        f"`quantd data check --accept TEXT`\n{table.removesuffix('Nothing was run.').rstrip()}"
    )
    return Condition(now, "job", False, text, job=JOB, critical=True)


class PriceWatch:
    """Ends the alert of a running daemon when its prices are accepted."""

    def __init__(self, parts: Parts, folder: Path) -> None:
        self._folder = folder
        self._table = unaccepted(parts, folder)

    def look(self, service: "Service") -> None:
        """End the alert about faulty prices if a person has accepted the prices since the last call."""
        if not self._table or not (self._folder / FILE).is_file():
            return
        from quantd.daemon.runtime.inbox import InboxFull  # here: a backtest loads this module and has no service

        with suppress(NotAccepted, InboxFull):
            if (entry := acceptance(self._folder, self._table)) is not None:
                self._table = ""
                text = f"the prices of this run are accepted by {entry.who}: {entry.reason}"
                service.inbox.command(Condition(service.shell.unsettled.now, "job", True, text, job=JOB))
