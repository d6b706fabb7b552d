"""Recorded fits of PPO by several libraries, one line of JSON for each, and their table.

What can go wrong: fits of another plan, market, number of steps or script are counted with those of this one. The cell
of a fit is the digest of all of them; of a side in a market the cell of the last line counts, and of a repeated seed
the last line.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from msgspec import Struct

from benchmarks.peers.ppo.cases import SCENES, SIDES
from quantd.training.power.findings import read_lines

AT_STEPS: Final = (25_000, 50_000, 100_000, 200_000, 300_000)
"""Env-steps of the columns of the table."""

AT_SECONDS: Final = (5, 10, 20, 40, 80)
"""CPU seconds of the columns of the table."""


class Point(Struct, frozen=True):
    """The policy of one moment of a training, on the test part."""

    steps: int
    """Env-steps so far, of all accounts together."""
    cpu_s: float
    """CPU seconds of training so far, without evaluations."""
    growth: float
    """Log growth a year, after costs."""


class PeerFit(Struct, frozen=True, forbid_unknown_fields=True):
    """One seed of one side in one market. `versions` are those of the libraries, and the digest of a script."""

    cell: str
    market: str
    side: str
    seed: int
    points: tuple[Point, ...]
    equal_weight: float
    reference: float
    cpu_s: float
    versions: dict[str, str]
    commit: str
    diverged: bool = False
    """Whether the training ended early with a number that is not finite; `points` are those before."""

    def share(self, growth: float) -> float:
        """Return the share of (reference - equal weight) that a growth is."""
        return (growth - self.equal_weight) / (self.reference - self.equal_weight)

    def after_steps(self, steps: int) -> float | None:
        """Return the growth of the first evaluation at or after a number of steps; None where there is none."""
        return next((point.growth for point in self.points if point.steps >= steps), None)

    def after_seconds(self, seconds: float) -> float | None:
        """Return the growth of the last evaluation within CPU seconds; None before the first.

        A training that ended earlier keeps its last growth.
        """
        within = [point.growth for point in self.points if point.cpu_s <= seconds]
        return within[-1] if within else None


def read_fits(path: Path) -> list[PeerFit]:
    """Return the fits of a file, none where there is no file; of a repeated seed the last. Raises FindingsError."""
    return list({(fit.cell, fit.seed): fit for fit in read_lines(path, PeerFit)}.values())


def newest(fits: Iterable[PeerFit]) -> list[PeerFit]:
    """Return the fits of the last cell of each side in each market."""
    recorded = list(fits)
    last = {(fit.market, fit.side): fit.cell for fit in recorded}
    return [fit for fit in recorded if last[fit.market, fit.side] == fit.cell]


def head() -> list[str]:
    """Return the names of the columns."""
    steps = [f"{steps // 1000}k steps" for steps in AT_STEPS]
    return ["PPO", *steps, *(f"{seconds} CPU s" for seconds in AT_SECONDS), "share at the end", "CPU s", "seeds"]


def rows(fits: Sequence[PeerFit]) -> list[list[str]]:
    """Return the table of all markets: medians of growth over the seeds, and the shares at the end.

    A market begins with its equal weight and its reference rule, which learn nothing.
    """
    table = []
    for market, scene in SCENES.items():
        here = [fit for fit in fits if fit.market == market]
        if here:
            blank = [""] * (len(head()) - len(AT_STEPS) - 1)
            for name, growth in (("equal weight", here[0].equal_weight), ("reference rule", here[0].reference)):
                table.append([f"{scene.text}: {name}", *[""] * (len(AT_STEPS) - 1), f"{growth:+.2f}", *blank])
        table += [_row(side, seeds) for side in SIDES if (seeds := [fit for fit in here if fit.side == side])]
    return table


def _row(side: str, seeds: Sequence[PeerFit]) -> list[str]:
    """Return the row of a side in a market."""
    growths = [
        *([fit.after_steps(steps) for fit in seeds] for steps in AT_STEPS),
        *([fit.after_seconds(seconds) for fit in seeds] for seconds in AT_SECONDS),
    ]
    shares = [fit.share(fit.points[-1].growth) for fit in seeds]
    share = f"{median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
    cpu = f"{median(fit.cpu_s for fit in seeds):.0f}"
    lost = sum(fit.diverged for fit in seeds)
    count = f"{len(seeds)}, {lost} diverged" if lost else f"{len(seeds)}"
    return [side, *(_median(growth) for growth in growths), share, cpu, count]


def _median(growths: Sequence[float | None]) -> str:
    """Return the median in text; nothing where a seed has no evaluation."""
    present = [growth for growth in growths if growth is not None]
    return f"{median(present):+.2f}" if len(present) == len(growths) else ""
