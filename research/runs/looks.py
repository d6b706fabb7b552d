"""The ledger of looks at a market: `looks.jsonl` in the state folder, append-only, each line with the last one's hash.

Each backtest, sweep, study and evaluation is a look, and each look at a new configuration is a trial. The deflated
Sharpe ratio of a result counts the trials of its own market (quantd.research.runs.trials).

What can go wrong: whoever deletes a look has a better result. So a changed, shortened or deleted ledger makes the
number of trials unknown, and the next line records how many were lost. The *head*, the number and link of the newest
line, is stored beside the ledger and in the user's own state folder. A faulty look is withdrawn by a further line, and
stays in the chain (docs/decisions/015 and 020). A look whose agent knows the future also stays: a further line marks
it, and every later result of the same run has the mark.

Order of operations: the ledger is checked under its lock, because another process may append between a check and a
lock. Lines are written before the head, because a ledger that is longer than its head is accepted. In the other order,
a kill between the two writes would leave a ledger that seems shortened.

Rejected: to guess the lost lines from the head. The hurdle (the ratio expected from luck) would then use a number of
looks whose ratios are unknown.
"""

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

    `link` is the hash of the previous line's link and of this line's content. `lost` is the number of earlier lines
    that were missing when the line was written. Raises ValueError for a line with none or several of look, withdrawal
    and verdict on knowledge of the future.
    """

    n: int
    ts: int
    look: Look | None = None
    withdrawal: Withdrawal | None = None
    foreknowledge: Foreknowledge | None = None
    link: str
    lost: int = 0

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
    """Number and link (hash) of the newest line of the ledger of looks (evaluations).

    The head is stored beside the ledger and in the user's own state folder.
    """

    n: int
    link: str


LOST: Final = (
    "It stays unknown in this state folder. Put a complete copy of looks.jsonl into another folder and name it with "
    "--state. An empty folder begins a new ledger, which counts its own looks only: say so beside its results."
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
    lines, fault, _ = _read_and_check(folder)
    return _ledger_of(lines, fault)


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
        lines, fault, complete_bytes = _read_and_check(folder)
        new_entries = entries(_ledger_of(lines, fault))
        if new_entries:
            newest_head = _newest_head(folder)
            last = lines[-1] if lines else None
            n, link = (last.n, last.link) if last is not None else (0, "")
            lost = 0
            # after lost lines, numbers and links continue from the head; the first new line records how many were lost,
            # unless the last line has recorded it already
            if fault and newest_head is not None and not (last is not None and last.lost):
                lost, n, link = max(newest_head.n - n, 1), max(newest_head.n, n), newest_head.link
            new_lines = []
            for entry in new_entries:
                n, link = n + 1, _link_after(link, n + 1, entry)
                new_lines.append(_line_of(n, entry, link, lost))
                lost = 0
            os.ftruncate(file, complete_bytes)  # the rest of a line that was not written completely
            os.lseek(file, 0, os.SEEK_END)
            os.write(file, b"".join(msgspec.json.encode(row) + b"\n" for row in new_lines))
            # the head after the lines: a head with a higher number than the last line shows that lines were deleted
            _write_head(folder, Head(n, link))
            lines = [*lines, *new_lines]
    return _ledger_of(lines, fault)


def _line_of(n: int, entry: Entry, link: str, lost: int) -> Line:
    if isinstance(entry, Look):
        return Line(n=n, ts=time.time_ns(), look=entry, link=link, lost=lost)
    if isinstance(entry, Withdrawal):
        return Line(n=n, ts=time.time_ns(), withdrawal=entry, link=link, lost=lost)
    return Line(n=n, ts=time.time_ns(), foreknowledge=entry, link=link, lost=lost)


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


def _ledger_of(lines: Sequence[Line], fault: str) -> Known:
    return Known(tuple(line.entry for line in lines), fault, LOST if fault else "")


def _link_after(previous_link: str, n: int, entry: Entry) -> str:
    """Return the link of line `n`: the hash of `previous_link` and of the line's content."""
    return blake2b(f"{previous_link}|{n}|".encode() + msgspec.json.encode(entry), digest_size=16).hexdigest()


def _read_and_check(folder: Path) -> tuple[list[Line], str, int]:
    """Return (lines, fault, bytes of the complete lines) of the ledger.

    `fault` says why lines are missing; it is empty if none is.
    """
    path = folder / NAME
    data = path.read_bytes() if path.exists() else b""
    complete_bytes = data.rfind(b"\n") + 1
    lines: list[Line] = []
    fault = previous_link = ""
    for line_number, encoded in enumerate(data[:complete_bytes].splitlines(), 1):
        try:
            line = msgspec.json.decode(encoded, type=Line)
        except msgspec.DecodeError:  # a ValidationError too
            return lines, f"{path}:{line_number} is not a look: the ledger was changed", complete_bytes
        if line.lost and not fault:
            fault = f"{path}:{line_number}: {line.lost:,} earlier looks are missing"
        elif not line.lost and line.link != _link_after(previous_link, line.n, line.entry):
            fault = fault or f"{path}:{line_number}: the ledger was changed here or before"
        previous_link = line.link
        lines.append(line)
    head = _newest_head(folder)
    if head is not None and not fault and not any(line.n == head.n and line.link == head.link for line in lines[-1:]):
        # a head behind the last line is no fault: a process ended between the lines and the head
        shorter = not lines or lines[-1].n < head.n
        if shorter:
            fault = f"{path} was deleted or shortened: it had {head.n:,} looks"
    return lines, fault, complete_bytes


def _newest_head(folder: Path) -> Head | None:
    """Return the newer of two heads, beside the ledger and in the user's home; None if both are missing."""
    heads = []
    for path in (folder / HEAD, _home_copy(folder)):
        with suppress(OSError, msgspec.DecodeError):
            heads.append(msgspec.json.decode(path.read_bytes(), type=Head))
    return max(heads, key=lambda head: head.n, default=None)


def _write_head(folder: Path, head: Head) -> None:
    """Write the head (number and link of the newest line) into `looks.head` beside the ledger.

    A copy is written into the user's home if that is writable.
    """
    data = msgspec.json.encode(head)
    write_whole(folder / HEAD, data, durable=False)
    home_copy = _home_copy(folder)
    with suppress(OSError):
        home_copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(home_copy, data, durable=False)


def _home_copy(folder: Path) -> Path:
    """Return the path in the user's home of the copy of a ledger's head (number and link of its newest line)."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "quantd" / "looks" / f"{blake2b(str(folder.resolve()).encode(), digest_size=16).hexdigest()}.json"


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file under a lock against other processes, and yield its descriptor."""
    file = open_regular(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)
