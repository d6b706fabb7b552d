"""The test whether an outside agent knows the future: its gains under true names against those under other names.

What can go wrong: an agent remembers what happened to the names that it sees after a date that it sees. Only a gain
from the true names is evidence, so the p-value is one-sided. What it remembers may be an open, the next close or a
later one, so each is measured (`answer_gains`), and the p-value is corrected for their number: of five measures one is
large by chance. Fewer than FEWEST paired answers give no verdict.

The p-values are those of random changes of sign, shared by the measures (`sign_changes`; Romano & Wolf 2005).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.outside.answer_gains import NEXT_CLOSE, Gains, SampleReturns, gains_of
from quantd.research.significance.sign_changes import sign_changes
from quantd.trading.market import Floats

FEWEST: Final = 40
"""Fewest paired answers of a verdict, and of a measure in it."""

LEVEL: Final = 0.01
"""Largest corrected p-value at which an agent is named."""

ROUNDING: Final = 1e-12
"""Largest difference of a weight, and largest sum of gains, that counts as none."""

NO_OPENS: Final = "opens were not recorded: each open is the close of its bar"
"""Of a verdict without the measures that need opens."""


class Measure(Struct, frozen=True):
    """One measure: the mean difference of a gain over `pairs` answers, its p-value alone and corrected."""

    measure: str
    pairs: int
    gain: float
    p: float
    corrected: float

    @property
    def text(self) -> str:
        """The figures: "to the next open +1.20 bp an answer, p = 0.31, corrected 0.62, 60 answers"."""
        return (
            f"{self.measure} {self.gain * 1e4:+.2f} bp an answer, p = {self.p:.2g}, corrected {self.corrected:.2g}, "
            f"{self.pairs:,} answers"
        )


class Foresight(Struct, frozen=True):
    """The verdict on one agent. `p` is the smallest corrected p-value; None below FEWEST pairs.

    `pairs` and the mean difference of a gain `gain` are those up to the next question. `different` counts the answers
    with other weights under other names. `opens` is whether the market has opens; without them their measures are
    missing.
    """

    agent: str
    pairs: int
    different: int
    gain: float
    p: float | None
    knows: bool
    text: str
    measures: tuple[Measure, ...] = ()
    opens: bool = True

    @property
    def best(self) -> Measure | None:
        """The measure with the smallest p-value."""
        return min(self.measures, key=lambda measure: (measure.corrected, measure.p), default=None)

    def lines(self) -> list[str]:
        """The figures of each measure, for below the verdict."""
        return [f"{self.agent}: {measure.text}" for measure in self.measures]


def foresight(
    agent: str, named: Mapping[int, Floats], renamed: Mapping[int, Floats], returns: SampleReturns
) -> Foresight:
    """Compare the answers of two runs, weights float64[N] by time (ns UTC)."""
    gains = gains_of(named, renamed, returns)
    opens = returns.opens is not None
    pairs = next((gain.answers for gain in gains if gain.measure == NEXT_CLOSE), 0)
    both = sorted(named.keys() & renamed.keys())[:pairs]
    different = sum(bool((np.abs(named[time] - renamed[time]) > ROUNDING).any()) for time in both)
    if pairs < FEWEST:
        text = f"{agent}: no verdict, {pairs} paired answers are fewer than {FEWEST}; choose a longer period"
        return Foresight(agent, pairs, different, 0.0, None, knows=False, text=text, opens=opens)
    measures = _measured([gain for gain in gains if gain.answers >= FEWEST])
    best = min(measures, key=lambda measure: (measure.corrected, measure.p))
    knows = best.corrected < LEVEL
    many = f"{len(measures)} measures"
    figures = (
        f"{best.gain * 1e4:+.2f} bp an answer by the true names {best.measure}, p = {best.corrected:.2g} corrected for "
        f"{many}, {best.pairs:,} answers"
    )
    lacking = "" if opens else f"; {NO_OPENS}"
    verdict = (
        "gains from names and dates, as if it knew the future" if knows else "no evidence that it knows the future"
    )
    text = f"{agent}: {verdict} ({figures}{lacking})"
    next_gain = next(measure.gain for measure in measures if measure.measure == NEXT_CLOSE)
    return Foresight(agent, pairs, different, next_gain, best.corrected, knows, text, measures, opens)


def _measured(gains: list[Gains]) -> tuple[Measure, ...]:
    columns = np.array([gain.by_sample for gain in gains]).T
    columns = np.where(np.abs(columns).sum(axis=0) > ROUNDING, columns, 0.0)
    tested = sign_changes(columns)
    return tuple(
        Measure(gain.measure, gain.answers, round(float(columns[:, k].sum()) / gain.answers, 12), p, corrected)
        for k, (gain, p, corrected) in enumerate(zip(gains, tested.p, tested.adjusted, strict=True))
    )
