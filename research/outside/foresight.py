"""The test whether an outside agent knows the future: its gains under true names against those under other names.

What can go wrong: an agent remembers what happened to the names that it sees after a date that it sees. Only a gain
from the true names is evidence, so the p-value is one-sided. Fewer than FEWEST paired answers give no verdict.

The gain of an answer is its weights times the returns up to the next question, before costs and limits. The statistic
is the mean difference of the paired gains over its long-run standard error (quadratic spectral kernel, Andrews 1991).
The p-value is from the normal distribution.
"""

from collections.abc import Mapping
from math import erfc, sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.significance.long_run import long_run_error

FEWEST: Final = 40
"""Fewest paired answers of a verdict."""

LEVEL: Final = 0.01
"""Largest p-value at which an agent is named."""

ROUNDING: Final = 1e-12
"""Largest mean difference of gains that counts as none."""


class Foresight(Struct, frozen=True):
    """The verdict on one agent. `gain` is the mean difference of a gain; `p` is None below FEWEST pairs.

    `different` counts the answers with other weights under other names.
    """

    agent: str
    pairs: int
    different: int
    gain: float
    p: float | None
    knows: bool
    text: str


def foresight(agent: str, named: Mapping[int, float], renamed: Mapping[int, float]) -> Foresight:
    """Compare the gains by time of two runs."""
    both = sorted(named.keys() & renamed.keys())
    gaps = np.array([named[time] - renamed[time] for time in both], dtype=np.float64)
    different = int(np.count_nonzero(np.abs(gaps) > ROUNDING))
    if len(gaps) < FEWEST:
        text = f"{agent}: no verdict, {len(gaps)} paired answers are fewer than {FEWEST}; choose a longer period"
        return Foresight(agent, len(gaps), different, 0.0, None, knows=False, text=text)
    gain = float(gaps.mean())
    p = 1.0
    if gain > ROUNDING:
        error = long_run_error((gaps - gain)[:, None], np.ones(1), "quadratic_spectral", prewhiten=False).error
        p = 0.5 * erfc(gain / error / sqrt(2.0)) if error > 0.0 else 0.0
    knows = p < LEVEL
    figures = f"{gain * 1e4:+.2f} bp an answer by the true names, p = {p:.2g}, {len(gaps)} answers"
    said = "gains from names and dates, as if it knew the future" if knows else "no evidence that it knows the future"
    return Foresight(agent, len(gaps), different, gain, p, knows=knows, text=f"{agent}: {said} ({figures})")
