"""The findings of a power study: one line of JSON for each fitted seed, appended to a file; and the verdict of a cell.

What can go wrong: a study is killed within a fit, or a few seeds pass for a verdict. An unfinished fit leaves nothing
and is made again; of a repeated seed the last line counts. Fewer than SEEDS seeds have no verdict. A share exists only
where the reference rule was above equal weight.
"""

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from quantd.trading.exit_codes import ExplainedError

SEEDS: Final = 10
"""Fewest seeds of a verdict."""

LARGEST: Final = 64 << 20
"""Most bytes of a file of findings."""


Line = TypeVar("Line", bound=Struct)


class FindingsError(ExplainedError, ValueError):
    """A file that has a line which is no finding; the message names the line."""


class Finding(Struct, frozen=True, forbid_unknown_fields=True):
    """One seed of one cell on the test part. Growths are logarithmic, a year, after costs.

    `cell` is the digest of plan, plant, cost, data and learner. `low` and `high` are the 95 % interval of `growth` less
    `equal_weight`, and None where the policy is equal weight. `attainable` is whether the reference rule passed.
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
        """The share of (reference - equal weight) that the learner found; None where nothing is attainable."""
        return (self.growth - self.equal_weight) / (self.reference - self.equal_weight) if self.attainable else None

    @property
    def above(self) -> bool:
        """Whether it is above equal weight by the interval."""
        return self.low is not None and self.low > 0.0

    @property
    def below(self) -> bool:
        """Whether it is below equal weight by the interval."""
        return self.high is not None and self.high < 0.0


def read_lines(path: Path, kind: type[Line]) -> list[Line]:
    """Return the lines of JSON of a file as a `kind`, in order; none where there is no file. Raises FindingsError."""
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
    """Return the findings of a file, none where there is no file; of a repeated seed the last. Raises FindingsError."""
    return list({(finding.cell, finding.seed): finding for finding in read_lines(path, Finding)}.values())


def append(path: Path, line: Struct) -> None:
    """Append a finding, or another line of JSON, to the file, which is created where it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def verdict(findings: Iterable[Finding]) -> str:
    """Return the verdict of the seeds of one cell, in words; "no verdict" for fewer than SEEDS."""
    seeds = list(findings)
    count = len(seeds)
    if count < SEEDS:
        return f"no verdict ({count} of {SEEDS} seeds)"
    if seeds[0].ic == 0.0:
        same = sum(not seed.above and not seed.below for seed in seeds)
        return f"not distinguishable in {same} of {count}, below in {sum(seed.below for seed in seeds)}"
    shares = [seed.share for seed in seeds if seed.share is not None]
    if not shares:
        return "not attainable"
    text = f"above in {sum(seed.above for seed in seeds)} of {count}"
    return f"{text}, share {median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
