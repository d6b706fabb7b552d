"""The test whether an outside agent knows the future: its gains under true symbol names against those under others.

What can go wrong: an agent that sees a name and a date may remember what happened to the name after the date. Only a
larger gain under the true names is evidence, so the p-value is one-sided. The agent may remember an open, the next
close or a later close, so each has a measure (`answer_gains`). One of several measures is easily large by chance, so
the p-value is corrected for their number. Fewer than FEWEST paired answers give no verdict.

The p-values come from random changes of the gains' signs. All measures share the changes (`sign_changes`; Romano &
Wolf 2005).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.outside.answer_gains import NEXT_CLOSE, Gains, SampleReturns, gains_of
from quantd.research.significance.sign_changes import sign_changes
from quantd.trading.market import Floats

FEWEST: Final = 40
"""Smallest number of paired answers (answers in both runs) for a verdict, and for a measure."""

LEVEL: Final = 0.01
"""An agent with a smaller corrected p-value is said to know the future."""

ROUNDING: Final = 1e-12
"""A difference of weights, or a sum of absolute gains, up to this size counts as 0."""

NO_OPENS: Final = "opens were not recorded: each open is the close of its bar"
"""Note in a verdict without the measures that need opens."""


class Measure(Struct, frozen=True):
    """One measure of foresight: the mean gain under true names less the gain under other names, over `pairs` answers.

    `p` is the p-value of this measure alone, `corrected` the p-value after correction for the number of measures.
    """

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
    """The verdict whether one outside agent knows the future.

    `pairs` counts the answers at times that both runs answered, under true and under other symbol names. `gain` is the
    mean gain of an answer up to the next question, under true names less under other names. `different` counts the
    pairs whose weights differ. `p` is the smallest corrected p-value; for fewer than FEWEST pairs `p` is None and
    `gain` 0. `opens` is True where the market has open prices; without them, the measures that need them are missing.
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
        """The measure of foresight with the smallest corrected p-value; None without measures."""
        return min(self.measures, key=lambda measure: (measure.corrected, measure.p), default=None)

    def lines(self) -> list[str]:
        """The figures of each measure, one line each, to print below the verdict."""
        return [f"{self.agent}: {measure.text}" for measure in self.measures]


def foresight(
    agent: str, named: Mapping[int, Floats], renamed: Mapping[int, Floats], returns: SampleReturns
) -> Foresight:
    """Return the verdict from an agent's answers under true symbol names (`named`) and under other names (`renamed`).

    Both map a time (ns UTC) to weights float64[N]. There is no verdict for fewer than FEWEST pairs of answers. Else the
    measure of gains with the smallest corrected p-value decides.
    """
    gains = gains_of(named, renamed, returns)
    opens = returns.opens is not None  # whether the bars have opens
    pairs = next((gain.answers for gain in gains if gain.measure == NEXT_CLOSE), 0)
    paired_times = sorted(named.keys() & renamed.keys())[:pairs]
    different = sum(bool((np.abs(named[time] - renamed[time]) > ROUNDING).any()) for time in paired_times)
    if pairs < FEWEST:
        text = f"{agent}: no verdict, {pairs} paired answers are fewer than {FEWEST}; choose a longer period"
        # a gain of 0, and no p-value
        return Foresight(agent, pairs, different, 0.0, None, knows=False, text=text, opens=opens)
    measures = _tested_measures([gain for gain in gains if gain.answers >= FEWEST])
    best = min(measures, key=lambda measure: (measure.corrected, measure.p))
    knows = best.corrected < LEVEL
    measure_count = f"{len(measures)} measures"
    figures = (
        f"{best.gain * 1e4:+.2f} bp an answer by the true names {best.measure}, p = {best.corrected:.2g} corrected for "
        f"{measure_count}, {best.pairs:,} answers"
    )
    opens_note = "" if opens else f"; {NO_OPENS}"
    verdict = (
        "gains from names and dates, as if it knew the future" if knows else "no evidence that it knows the future"
    )
    text = f"{agent}: {verdict} ({figures}{opens_note})"
    next_gain = next(measure.gain for measure in measures if measure.measure == NEXT_CLOSE)
    return Foresight(agent, pairs, different, next_gain, best.corrected, knows, text, measures, opens)


def _tested_measures(gains: list[Gains]) -> tuple[Measure, ...]:
    """Return the measures with p-values from random changes of sign, which all measures share."""
    columns = np.array([gain.by_sample for gain in gains]).T
    columns = np.where(np.abs(columns).sum(axis=0) > ROUNDING, columns, 0.0)
    tested = sign_changes(columns)
    return tuple(
        Measure(gain.measure, gain.answers, round(float(columns[:, k].sum()) / gain.answers, 12), p, corrected)
        for k, (gain, p, corrected) in enumerate(zip(gains, tested.p, tested.adjusted, strict=True))
    )
