"""The ledger of looks at a market: `looks.jsonl` in the state folder, append-only, each line bound to the one before.

Each backtest, sweep, study and evaluation is a look, and each new configuration is a trial. The deflated Sharpe ratio
of a result counts the trials of its own market (`alike`). A changed, shortened or deleted ledger makes their number
unknown.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.feeds.source import some
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.config import digest
from quantd.models.history.fingerprints import Fingerprint, share_series
from quantd.regular_file import open_regular, write_whole
from quantd.research.runs.total_returns import fingerprints_of
from quantd.trading.display_text import session_date
from quantd.trading.ports import leaves
from quantd.trading.sessions import interval_text

NAME: Final = "looks.jsonl"
HEAD: Final = "looks.head"

SAMPLING: Final = {"1d": "daily", "1h": "hourly", "1m": "by the minute"}

Kind = Literal["backtest", "sweep", "study", "evaluate", "walk"]


class MarketIdentity(Struct, frozen=True):
    """Symbols of a market, the interval of its bars ("1d"), and the fingerprint of each symbol with returns."""

    symbols: tuple[str, ...]
    interval: str
    series: dict[str, Fingerprint]


class Look(Struct, frozen=True, omit_defaults=True):
    """One look: a configuration on one market between two dates.

    `digest` identifies configuration, bars and policies, `market` the bars between these dates. `sharpe` is annual,
    based on `periods` samples a year. `models` are the trained policies by their digests, each with the trials behind
    it: seeds, checkpoints, test looks. `family` is a group that the user named. `values` are the swept or studied
    values by name. The ledger has the `identity` of a market once. Looks of earlier versions have none.
    """

    kind: Kind
    name: str
    digest: str
    market: str
    first: str
    last: str
    sharpe: float
    periods: float
    models: dict[str, int] = {}
    family: str = ""
    values: dict[str, str] = {}
    identity: MarketIdentity | None = None

    @property
    def years(self) -> range:
        """The calendar years from the first to the last sample."""
        return range(int(self.first[:4]), int(self.last[:4]) + 1)

    @property
    def market_text(self) -> str:
        """Symbols, years and sampling: "SPY, QQQ 2004 to 2021, daily"."""
        if self.identity is None:
            return ""
        years, interval = self.years, self.identity.interval
        span = f"{years[0]} to {years[-1]}" if len(years) > 1 else f"{years[0]}"
        return f"{some(self.identity.symbols)} {span}, {SAMPLING.get(interval, f'bars of {interval}')}"


def alike(own: Look, other: Look) -> bool:
    """Return whether `other` is a trial of the market of `own`.

    Both have bars of the same interval, at least one calendar year in common, and a symbol in common: by name, or by
    equal returns (`share_series`). A look without a recorded market counts for every market, because nothing shows that
    it is unlike.
    """
    one, two = own.identity, other.identity
    if one is None or two is None:
        return True
    if one.interval != two.interval or max(own.years[0], other.years[0]) > min(own.years[-1], other.years[-1]):
        return False
    if not set(one.symbols).isdisjoint(two.symbols):
        return True
    return share_series(one.series.values(), two.series.values())


class Line(Struct, frozen=True, omit_defaults=True):
    """One line of the ledger: `link` is the hash of the line before and of this one's content.

    `lost` is the number of earlier lines that were missing when the line was written.
    """

    n: int
    ts: int
    look: Look
    link: str
    lost: int = 0


class Head(Struct, frozen=True):
    """The newest line, stored beside the ledger and in the user's own state folder."""

    n: int
    link: str


LOST: Final = (
    "It stays unknown in this state folder. A whole copy of looks.jsonl in another folder is believed, and --state "
    "names that folder. An empty folder begins a new ledger, which counts its own looks only: say so beside its "
    "results."
)
"""The remedy for a ledger that was changed, shortened or deleted (docs/decisions/015)."""

UNWRITABLE: Final = "Make the state folder writable, or name another one with --state."


class Known(Struct, frozen=True):
    """The known looks, each configuration once with its newest ratio.

    `fault` is why their number is unknown, and `remedy` what a user can do about it. `families` are the families of
    each configuration, by its digest. `market` names the market to which `like` has limited the looks.
    """

    looks: tuple[Look, ...] = ()
    fault: str = ""
    remedy: str = ""
    families: dict[str, frozenset[str]] = {}
    market: str = ""

    def like(self, own: Look) -> "Known":
        """Return the trials that the result `own` is deflated by: those `alike`, and those of its family."""
        same: dict[tuple[str, str, str], bool] = {}
        found = []
        for look in self.looks:
            key = look.market, look.first[:4], look.last[:4]  # such looks are compared once
            if key not in same:
                same[key] = alike(own, look)
            if same[key] or (own.family and own.family in self.families.get(look.digest, ())):
                found.append(look)
        family = f", and of family {own.family}" if own.family else ""
        return replace(self, looks=tuple(found), market=own.market_text + family)

    @property
    def trials(self) -> int | None:
        """The number of trials: the looks, and those behind each trained policy; None when it is unknown."""
        return None if self.fault else len(self.looks) + self.behind_models

    @property
    def behind_models(self) -> int:
        """The trials behind the trained policies, beside the looks at them."""
        models = {name: count for look in self.looks for name, count in look.models.items()}
        return sum(count - 1 for count in models.values())

    @property
    def counted(self) -> str:
        """The number of trials and their market: "3 trials known of SPY, QQQ 2004 to 2021, daily"."""
        if self.trials is None:
            return "trials unknown"
        return counted(self.trials, self.market)

    @property
    def unplaced(self) -> str:
        """A sentence about the looks without a recorded market; empty for none."""
        count = sum(look.identity is None for look in self.looks)
        return f"{count:,} of them {'has' if count == 1 else 'have'} {UNPLACED}" if count and not self.fault else ""

    @property
    def text(self) -> str:
        """The number of trials, or why it is unknown with the remedy, as sentences."""
        if not self.fault:
            return " ".join(filter(None, (f"{self.counted}.", self.unplaced)))
        return f"The number of trials is unknown: {self.fault}. {self.remedy}".rstrip()

    def ratios(self, periods: float) -> list[float]:
        """Return the annual ratios of the looks per sample of `periods` a year, ascending."""
        return sorted(look.sharpe / periods**0.5 for look in self.looks)


UNPLACED: Final = "no recorded market (an earlier version noted them): such looks count for every market."


def counted(trials: int, market: str) -> str:
    """Return "3 trials known of SPY, QQQ 2004 to 2021, daily"."""
    return f"{trials:,} trial{'' if trials == 1 else 's'} known" + (f" of {market}" if market else "")


def look_of(
    assembly: Assembly, stamps: Sequence[int], sharpe: float, periods: float, kind: Kind = "backtest", family: str = "",
    values: Mapping[str, str] | None = None,
) -> Look:  # fmt: skip
    """Return the look of a finished run with samples at `stamps` (ns UTC)."""
    first, last = (session_date(stamps[k]).isoformat() for k in (0, -1))
    models: dict[str, int] = {}
    for policy in assembly.policies:
        for leaf in leaves(policy):
            models |= getattr(leaf, "candidates", {})
    name = assembly.config.quantd.name
    return Look(
        kind, name, trial_digest(assembly), assembly.market, first, last, sharpe, periods, models,
        family, dict(values or {}), identity_of(assembly),
    )  # fmt: skip


def identity_of(assembly: Assembly) -> MarketIdentity:
    """Return the identity of a recorded market."""
    interval = interval_text(assembly.interval_ns)
    return MarketIdentity(assembly.universe.symbols, interval, fingerprints_of(assembly.feed))


def trial_digest(assembly: Assembly) -> str:
    """Return the hex BLAKE2b of configuration, bars and policies (a file's text, an artifact)."""
    found = blake2b(digest_size=16)
    for part in (
        digest(assembly.config),
        assembly.market,
        *(policy_identity(leaf) for policy in assembly.policies for leaf in leaves(policy)),
    ):
        found.update(len(part).to_bytes(4, "big") + part.encode())
    return found.hexdigest()


def policy_identity(policy: object) -> str:
    """Return what identifies a policy beside its configuration: the digest of its file or artifact; empty for none."""
    path, own = getattr(policy, "path", None), str(getattr(policy, "digest", ""))
    if not own and isinstance(path, Path) and path.is_file():
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return own  # the configuration identifies a registered policy


def read_looks(folder: Path) -> Known:
    """Read the ledger of a state folder and check every link. Raises OSError."""
    lines, fault, _ = _checked(folder)
    return _known([line.look for line in lines], fault)


def note_looks(folder: Path, looks: Sequence[Look]) -> Known:
    """Append looks that are not recorded with the same ratio, and return all known ones. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    looks = [msgspec.convert(msgspec.to_builtins(look), Look) for look in looks]  # a whole ratio is a float, as read
    with _locked(folder / NAME) as file:
        lines, fault, whole = _checked(folder)
        new = _unrecorded([line.look for line in lines], looks)
        if new:
            head = _newest_head(folder)
            last = lines[-1] if lines else None
            n, link = (last.n, last.link) if last is not None else (0, "")
            lost = 0
            if fault and head is not None and not (last is not None and last.lost):
                lost, n, link = max(head.n - n, 1), max(head.n, n), head.link
            rows = []
            for look in new:
                n, link = n + 1, _link(link, n + 1, look)
                rows.append(Line(n, time.time_ns(), look, link, lost))
                lost = 0
            os.ftruncate(file, whole)  # the rest of a line that was not written completely
            os.lseek(file, 0, os.SEEK_END)
            os.write(file, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
            _write_head(folder, Head(n, link))
            lines = [*lines, *rows]
    return _known([line.look for line in lines], fault)


def _unrecorded(recorded: Sequence[Look], looks: Sequence[Look]) -> list[Look]:
    """Return the looks that the ledger lacks. The identity of a market is on the first look only."""
    known = {look.digest: replace(look, identity=None) for look in recorded}
    have = {look.market for look in recorded if look.identity is not None}
    identities = {look.market: look.identity for look in looks if look.identity is not None}
    new = []
    for look in looks:
        plain = replace(look, identity=None)
        if known.get(look.digest) == plain and (look.market in have or look.market not in identities):
            continue
        new.append(plain if look.market in have else replace(look, identity=identities.get(look.market)))
        have.add(look.market)
    return new


def try_note_looks(folder: Path, looks: Sequence[Look]) -> Known:
    """Call `note_looks`. Where the ledger cannot be written, the number of trials is unknown."""
    try:
        return note_looks(folder, looks)
    except OSError as why:
        return Known(fault=f"{why.filename}: {why.strerror}", remedy=UNWRITABLE)


def _known(looks: Iterable[Look], fault: str) -> Known:
    newest: dict[str, Look] = {}
    families: dict[str, frozenset[str]] = {}
    identities: dict[str, MarketIdentity] = {}
    for look in looks:
        newest[look.digest] = look
        if look.family:
            families[look.digest] = families.get(look.digest, frozenset()) | {look.family}
        if look.identity is not None:
            identities[look.market] = look.identity
    found = tuple(replace(look, identity=identities.get(look.market)) for look in newest.values())
    return Known(found, fault, LOST if fault else "", families)


def _link(before: str, n: int, look: Look) -> str:
    return blake2b(f"{before}|{n}|".encode() + msgspec.json.encode(look), digest_size=16).hexdigest()


def _checked(folder: Path) -> tuple[list[Line], str, int]:
    """Return the ledger's lines, why their number is not believed, and the bytes of its complete lines."""
    path = folder / NAME
    data = path.read_bytes() if path.exists() else b""
    whole = data.rfind(b"\n") + 1
    lines: list[Line] = []
    fault = before = ""
    for number, text in enumerate(data[:whole].splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError:
            return lines, f"{path}:{number} is not a look: the ledger was changed", whole
        if line.lost and not fault:
            fault = f"{path}:{number}: {line.lost:,} earlier looks are missing"
        elif not line.lost and line.link != _link(before, line.n, line.look):
            fault = fault or f"{path}:{number}: the ledger was changed here or before"
        before = line.link
        lines.append(line)
    head = _newest_head(folder)
    if head is not None and not fault and not any(line.n == head.n and line.link == head.link for line in lines[-1:]):
        shorter = not lines or lines[-1].n < head.n
        if shorter:
            fault = f"{path} was deleted or shortened: it had {head.n:,} looks"
    return lines, fault, whole


def _newest_head(folder: Path) -> Head | None:
    """Return the head with the most looks."""
    found = []
    for path in (folder / HEAD, _outside(folder)):
        with suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(path.read_bytes(), type=Head))
    return max(found, key=lambda head: head.n, default=None)


def _write_head(folder: Path, head: Head) -> None:
    """Write the head beside the ledger, and outside it where the user has a writable home."""
    data = msgspec.json.encode(head)
    write_whole(folder / HEAD, data, durable=False)
    outside = _outside(folder)
    with suppress(OSError):
        outside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(outside, data, durable=False)


def _outside(folder: Path) -> Path:
    """Return the user's own copy of the head of a folder's ledger."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "quantd" / "looks" / f"{blake2b(str(folder.resolve()).encode(), digest_size=16).hexdigest()}.json"


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file for appending, alone among processes."""
    file = open_regular(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)
