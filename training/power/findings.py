"""The findings of a power study: one line of JSON for each fitted seed, appended to a file; and the verdict on a cell
(plan, signal and cost).

What can go wrong. A study may be killed within a fit: so an unfinished fit leaves no line and is made again, and of a
repeated seed the last line counts. A few seeds would pass for a verdict: so fewer than SEEDS seeds have no verdict. The
share of an attainable gain has no meaning where nothing is attainable: so the share exists only where the reference
rule was above equal weight.
"""

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from quantd.trading.exit_codes import ExplainedError

SEEDS: Final = 10
"""Minimum number of seeds for a verdict."""

LARGEST: Final = 64 << 20
"""Maximum size of a file of findings, in bytes."""


NOT_SHOWN: Final = "no rule that was tried"
"""The verdict on a signal with which no reference rule was above equal weight."""

Line = TypeVar("Line", bound=Struct)


class FindingsError(ExplainedError, ValueError):
    """A file of findings that is too large, or has a line which is no finding; the message names the line."""


class Finding(Struct, frozen=True, forbid_unknown_fields=True):
    """The result of one seed of one cell of a power study, on the test part.

    Growths are log growths a year, after costs. `cell` is the digest of plan, planted signal, cost, data and learner.
    `low` and `high` are the 95 % interval of `growth` less `equal_weight`, and None where the policy is equal weight.
    `attainable` is True where the reference rule, which knows the signal, has its whole interval above equal weight.
    """

    cell: str
    plan: str
    learner: str
    plant: str
    shape: str
    ic: float
    cost_bp: float
    seed: int
    growth: float
    equal_weight: float
    reference: float
    attainable: bool
    low: float | None
    high: float | None
    turnover_annual: float
    cpu_s: float
    commit: str

    @property
    def share(self) -> float | None:
        """The gain of the learner over equal weight as a share of the gain of the reference rule, which knows the
        signal; None where nothing is attainable.
        """
        return (self.growth - self.equal_weight) / (self.reference - self.equal_weight) if self.attainable else None

    @property
    def above(self) -> bool:
        """True when the whole 95 % interval of the learner is above equal weight."""
        return self.low is not None and self.low > 0.0

    @property
    def below(self) -> bool:
        """True when the whole 95 % interval of the learner is below equal weight."""
        return self.high is not None and self.high < 0.0


def read_lines(path: Path, kind: type[Line]) -> list[Line]:
    """Return the lines of JSON of a file as `kind`, in order; empty where there is no file. Raises FindingsError."""
    if not path.is_file():
        return []
    if path.stat().st_size > LARGEST:
        raise FindingsError(f"{path}: more than {LARGEST >> 20} MB; begin another file")
    lines = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            lines.append(msgspec.json.decode(line, type=kind))
        except msgspec.MsgspecError as error:
            raise FindingsError(f"{path}:{number}: {error}") from None
    return lines


def read_findings(path: Path) -> list[Finding]:
    """Return the findings of a file; of a seed that occurs more than once, only the last one. Raises FindingsError.

    The list is empty where there is no file.
    """
    return list({(finding.cell, finding.seed): finding for finding in read_lines(path, Finding)}.values())


def append(path: Path, line: Struct) -> None:
    """Append a finding, or another line of JSON, to the file, which is created where it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def verdict(findings: Iterable[Finding]) -> str:
    """Return the verdict of the seeds of one cell, in words; "no verdict" for fewer than SEEDS.

    A cell is one plan, planted signal, cost, data and learner. "Above" and "below" say where a seed's 95 % interval is
    from equal weight. "Share" is the learner's gain as a share of the gain of the reference rule, which knows the
    signal.
    """
    by_seed = list(findings)
    count = len(by_seed)
    if count < SEEDS:
        return f"no verdict ({count} of {SEEDS} seeds)"
    if by_seed[0].ic == 0.0:  # no signal: a learner should be neither above nor below equal weight
        equal = sum(not finding.above and not finding.below for finding in by_seed)
        return f"not distinguishable in {equal} of {count}, below in {sum(finding.below for finding in by_seed)}"
    shares = [finding.share for finding in by_seed if finding.share is not None]
    if not shares:
        return NOT_SHOWN
    above = f"above in {sum(finding.above for finding in by_seed)} of {count}"
    return f"{above}, share {median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
