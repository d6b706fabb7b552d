"""Counts backtests as trials for the deflated Sharpe ratio: `trials.jsonl` in the state folder, append-only."""

from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.config import digest
from quantd.trading.ports import leaves

NAME: Final = "trials.jsonl"


class Trial(Struct, frozen=True):
    """One configuration on one market. `sharpe` is annual, based on `periods` samples a year."""

    digest: str
    sharpe: float
    periods: float

    @property
    def sharpe_sample(self) -> float:
        return self.sharpe / self.periods**0.5


class TrialsDamaged(ValueError):
    """An invalid line of the file; the message names the line and the remedy."""


def trial_digest(assembly: Assembly) -> str:
    """Return the hex BLAKE2b of configuration, bars and policies (a file's text, an artifact)."""
    found = blake2b(digest_size=16)
    for part in (
        digest(assembly.config),
        assembly.feed.digest,
        *(_identity(leaf) for policy in assembly.policies for leaf in leaves(policy)),
    ):
        found.update(len(part).to_bytes(4, "big") + part.encode())
    return found.hexdigest()


def _identity(policy: object) -> str:
    path, own = getattr(policy, "path", None), str(getattr(policy, "digest", ""))
    if not own and isinstance(path, Path) and path.is_file():
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return own  # the configuration identifies a registered policy


def read_trials(folder: Path) -> list[Trial]:
    """Read the known trials, each digest once with its newest ratio. Raises TrialsDamaged."""
    path = folder / NAME
    if not path.exists():
        return []
    known: dict[str, Trial] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            trial = msgspec.json.decode(line, type=Trial)
        except msgspec.DecodeError as why:
            raise TrialsDamaged(f"{path}:{number} is no trial ({why}); delete that line") from None
        known[trial.digest] = trial
    return list(known.values())


def note_trial(folder: Path, trial: Trial) -> list[Trial]:
    """Append `trial` unless it exists, and return all known trials, this one included. Raises TrialsDamaged or
    OSError."""
    known = read_trials(folder)
    if trial in known:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("ab") as file:
        file.write((b"\n" if torn else b"") + msgspec.json.encode(trial) + b"\n")
    return [*(each for each in known if each.digest != trial.digest), trial]
