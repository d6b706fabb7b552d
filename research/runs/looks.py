"""The ledger of looks at a market: `looks.jsonl` in the state folder, append-only.

Each backtest, sweep, study and evaluation is a look, and each look at a new configuration is a trial. The deflated
Sharpe ratio of a result counts the trials of its own market (quantd.research.runs.trials).

What can go wrong: whoever deletes a look has a better result. So a changed, shortened or deleted ledger makes the
number of trials unknown. The *head*, the size and hash of the ledger, is stored beside it, and is never written again
after such a change: the number stays unknown. A faulty look is withdrawn by a further line, and its own line stays
(docs/decisions/015 and 020). A look whose agent knows the future also stays: a further line marks it, and every later
result of the same run has the mark.

Order of operations: the ledger is checked under its lock, because another process may append between a check and a
lock. Lines are written before the head, because a ledger that is longer than its head is accepted. In the other order,
a kill between the two writes would leave a ledger that seems shortened.
"""

import dataclasses
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.config import digest
from quantd.daemon.config.trading_keys import changed_keys
from quantd.regular_file import open_regular, write_whole
from quantd.research.runs.total_returns import fingerprints_of
from quantd.research.runs.trials import Entry, Foreknowledge, Kind, Known, Look, MarketIdentity, Reason, Withdrawal
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.ports import leaves
from quantd.trading.sessions import interval_text

NAME: Final = "looks.jsonl"
HEAD: Final = "looks.head"


class Line(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the ledger of looks: a look (an evaluation), a withdrawal of a look, or a verdict on a look.

    `ts` is the time of the line, ns UTC. Raises ValueError for a line with none or several of look, withdrawal and
    verdict on knowledge of the future.
    """

    ts: int
    look: Look | None = None
    withdrawal: Withdrawal | None = None
    foreknowledge: Foreknowledge | None = None

    def __post_init__(self) -> None:
        if sum(entry is not None for entry in (self.look, self.withdrawal, self.foreknowledge)) != 1:
            raise ValueError(
                "a line of the ledger must be one of look, withdrawal and verdict on knowledge of the future"
            )

    @property
    def entry(self) -> Entry:
        """The content of the line: a look (an evaluation), the withdrawal of a look, or a verdict on a look."""
        entry = self.look or self.withdrawal or self.foreknowledge
        assert entry is not None
        return entry


class Head(Struct, frozen=True):
    """The number of lines of the ledger of looks (evaluations), its size in bytes, and the hex BLAKE2b of these bytes.

    The head is stored beside the ledger.
    """

    lines: int
    size: int
    hash: str


LOST: Final = (
    "Put a complete copy of looks.jsonl back, or into another folder that --state names. An empty folder begins a new "
    "ledger, which counts its own looks only: say so beside its results."
)
"""The remedy for a ledger that was changed, shortened or deleted (docs/decisions/015)."""

UNWRITABLE: Final = "Make the state folder writable, or name another one with --state."


def look_of(
    assembly: Assembly, stamps: Sequence[int], sharpe: float, periods: float, kind: Kind = "backtest", family: str = "",
    values: Mapping[str, str] | None = None,
) -> Look:  # fmt: skip
    """Return a finished run with samples at `stamps` (ns UTC) as a look, an entry for the ledger of looks."""
    first, last = (session_date(stamps[k]).isoformat() for k in (0, -1))
    models: dict[str, int] = {}
    for policy in assembly.policies:
        for leaf in leaves(policy):
            models |= getattr(leaf, "candidates", {})
    name = assembly.config.quantd.name
    # `values`, such as those of a sweep, tell the look apart; without them, the keys that are not at their default do
    keys = {} if values else changed_keys(assembly.config)
    return Look(
        kind, name, trial_digest(assembly), assembly.market, first, last, sharpe, periods, models,
        family, dict(values or {}), identity_of(assembly), keys,
    )  # fmt: skip


def identity_of(assembly: Assembly) -> MarketIdentity:
    """Return the identity of a recorded market: its symbols, bar interval and fingerprints of returns."""
    interval = interval_text(assembly.interval_ns)
    return MarketIdentity(assembly.universe.symbols, interval, fingerprints_of(assembly.feed))


def trial_digest(assembly: Assembly) -> str:
    """Return the hex BLAKE2b of configuration, bars and policies (a file's text, an artifact)."""
    hasher = blake2b(digest_size=16)
    for part in (
        digest(assembly.config),
        assembly.market,
        *(policy_identity(leaf) for policy in assembly.policies for leaf in leaves(policy)),
    ):
        hasher.update(len(part).to_bytes(4, "big") + part.encode())
    return hasher.hexdigest()


def policy_identity(policy: object) -> str:
    """Return the digest of a policy's file or artifact; empty for a policy that has neither."""
    path, policy_digest = getattr(policy, "path", None), str(getattr(policy, "digest", ""))
    if not policy_digest and isinstance(path, Path) and path.is_file():
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return policy_digest  # a registered policy has no file to hash: name and parameters identify it


def read_looks(folder: Path) -> Known:
    """Read the ledger of looks (evaluations) in a state folder and check every link (hash).

    Raises OSError where the file cannot be read.
    """
    return _read_and_check(folder)[0]


def note_looks(folder: Path, looks: Sequence[Look], knows: str = "") -> Known:
    """Append looks (evaluations) to the ledger, except those recorded already with the same ratio, and return the whole
    ledger.

    `knows` is the verdict that an agent of these looks knows the future, which marks them; empty for none. Raises
    OSError where the ledger cannot be written.
    """
    # as read from the file, where a whole ratio is a float too
    looks = [msgspec.convert(msgspec.to_builtins(look), Look) for look in looks]
    marks = [Foreknowledge(look.digest, look.sharpe, knows) for look in looks] if knows else []

    def entries(ledger: Known) -> list[Entry]:
        marked = ledger.foreknowledge
        new_marks = [mark for mark in marks if marked.get((mark.digest, mark.sharpe)) != knows]
        return [*_unrecorded(ledger.chain, looks), *new_marks]

    return _append(folder, entries)


def try_note_looks(folder: Path, looks: Sequence[Look], knows: str = "") -> Known:
    """Call `note_looks`. Where the ledger cannot be written, the number of trials is unknown."""
    try:
        return note_looks(folder, looks, knows)
    except OSError as error:
        return Known(fault=f"{error.filename}: {error.strerror}", remedy=UNWRITABLE)


class NotWithdrawn(ExplainedError, ValueError):
    """A look that cannot be withdrawn; the text has the remedy."""


def withdraw(folder: Path, name: str, reason: Reason, words: str) -> tuple[Known, Look]:
    """Append to the ledger the withdrawal of the look (evaluation) whose digest begins with `name`.

    `reason` is the kind of its fault, and `words` describe the fault. Returns (all known trials, the look).

    Raises NotWithdrawn where no digest or several begin with `name`, where the look is withdrawn already, or where the
    ledger was changed; OSError where the ledger cannot be written.
    """
    how_to_list = "quantd report --looks lists the looks with their ids"
    chosen: list[Look] = []  # filled by `entries`, which `_append` calls under its lock

    def entries(ledger: Known) -> list[Withdrawal]:
        """Return the withdrawal for the ledger as it is now, and add the withdrawn look (evaluation) to the outer list
        `chosen`.
        """
        if ledger.fault:
            raise NotWithdrawn(ledger.text)
        looks = [look for look in ledger.looks if look.digest.startswith(name)] if name else []
        if len(looks) != 1:
            problem = f"{len(looks)} looks have an id that begins with" if looks else "no look has the id"
            raise NotWithdrawn(f"{folder / NAME}: {problem} {name!r}; {how_to_list}")
        if looks[0].digest in ledger.withdrawals:
            reason_text = ledger.withdrawals[looks[0].digest].text
            raise NotWithdrawn(f"{folder / NAME}: the look {name} is withdrawn already ({reason_text})")
        chosen.append(looks[0])
        return [Withdrawal(looks[0].digest, reason, words)]

    if not (folder / NAME).exists():
        raise NotWithdrawn(
            f"{folder / NAME}: there is no ledger, so no look has the id {name!r}; --state names the folder"
        )
    trials = _append(folder, entries)
    return trials, chosen[0]


def _append(folder: Path, entries: Callable[[Known], Sequence[Entry]]) -> Known:
    """Append the lines that `entries` returns for the ledger of looks (evaluations) as it is now, under a lock against
    other processes.

    Raises OSError where the ledger cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / NAME) as file:
        ledger, data = _read_and_check(folder)
        if not (new_entries := entries(ledger)):
            return ledger
        new_data = b"".join(msgspec.json.encode(_line_of(entry)) + b"\n" for entry in new_entries)
        os.ftruncate(file, len(data))  # the rest of a line that was not written completely
        os.lseek(file, 0, os.SEEK_END)
        os.write(file, new_data)
        ledger = dataclasses.replace(ledger, chain=(*ledger.chain, *new_entries))
        if not ledger.fault:
            data += new_data
            head = Head(len(ledger.chain), len(data), _hash_of(data))
            write_whole(folder / HEAD, msgspec.json.encode(head), durable=False)
    return ledger


def _line_of(entry: Entry) -> Line:
    if isinstance(entry, Look):
        return Line(ts=time.time_ns(), look=entry)
    if isinstance(entry, Withdrawal):
        return Line(ts=time.time_ns(), withdrawal=entry)
    return Line(ts=time.time_ns(), foreknowledge=entry)


def _unrecorded(recorded: Sequence[Entry], looks: Sequence[Look]) -> list[Look]:
    """Return the looks (evaluations) that the ledger lacks. Only the first look of a market has the market's identity.

    A withdrawn look that runs again with the same ratio is not recorded again, so it stays withdrawn.
    """
    earlier = [entry for entry in recorded if isinstance(entry, Look)]
    recorded_looks = {look.digest: replace(look, identity=None) for look in earlier}
    identified = {look.market for look in earlier if look.identity is not None}
    identities = {look.market: look.identity for look in looks if look.identity is not None}
    unrecorded = []
    for look in looks:
        plain_look = replace(look, identity=None)
        # recorded with the same ratio, and its market needs no identity from this look
        if recorded_looks.get(look.digest) == plain_look and (
            look.market in identified or look.market not in identities
        ):
            continue
        unrecorded.append(
            plain_look if look.market in identified else replace(look, identity=identities.get(look.market))
        )
        identified.add(look.market)
    return unrecorded


def _read_and_check(folder: Path) -> tuple[Known, bytes]:
    """Return the ledger of looks (evaluations) and the bytes of its complete lines, after a check against its head."""
    path = folder / NAME
    data = path.read_bytes() if path.exists() else b""
    data = data[: data.rfind(b"\n") + 1]
    chain: list[Entry] = []
    head, fault = None, ""
    with suppress(OSError, msgspec.DecodeError):
        head = msgspec.json.decode((folder / HEAD).read_bytes(), type=Head)
    if head is not None and len(data) < head.size:
        fault = f"{path} was deleted or shortened: it had {head.lines:,} looks"
    elif head is not None and _hash_of(data[: head.size]) != head.hash:
        # a head behind the last line is no fault: a process ended between the lines and the head
        fault = f"{path} was changed in one of its first {head.lines:,} lines"
    for line_number, encoded in enumerate(data.splitlines(), 1):
        try:
            chain.append(msgspec.json.decode(encoded, type=Line).entry)
        except msgspec.DecodeError:  # a ValidationError too
            fault = f"{path}:{line_number} is not a look: the ledger was changed"
            break
    return Known(tuple(chain), fault, LOST if fault else ""), data


def _hash_of(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file under a lock against other processes, and yield its descriptor."""
    file = open_regular(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)
