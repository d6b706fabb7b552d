"""The test by which a challenger replaces its champion, a pure function of two books' returns.

Over the last `samples` returns after costs, the challenger's measure must be better with one-sided significance, and by
at least `min_gain` a year. Its drawdown may be at most `max_drawdown_ratio` times the champion's. A pairing has at most
`looks` tests, each at level (1 - confidence) / looks (Bonferroni, 1936). The probability that a challenger that is no
better is ever promoted is thus at most 1 - confidence. A promotion begins a new pairing.
"""

import numpy as np
from msgspec import Struct

from quantd.trading.bootstrap import Measure, paired_gain
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL, RiskFree, compounded, drawdowns, newest


class PromotionRules(Struct, frozen=True):
    """Parameters of the test of a challenger.

    `seed` is the seed of the run. `block` is the block length of the bootstrap in samples (0: derived from the
    returns). With few samples, blocks of a week keep the test at its significance level.
    """

    samples: int = 126
    confidence: float = 0.95
    measure: Measure = "sharpe"
    min_gain: float = 0.0
    max_drawdown_ratio: float = 1.5
    looks: int = 8
    block: int = 5
    resamples: int = 4_000
    seed: int = 0

    @property
    def alpha(self) -> float:
        """Significance level of one test."""
        return (1.0 - self.confidence) / self.looks


class Pairing(Struct):
    """A champion and its challenger: the number of tests made, and the number of the sample after which returns count.

    `waits` has a flag for the champion and one for the challenger. A flag is True while the book still has positions of
    an earlier model or policy: no return counts until the present model or policy has decided.
    """

    looks: int = 0
    since: int = 0
    waits: tuple[bool, bool] = (False, False)

    def begin(self, sample: int, champion: bool, challenger: bool) -> None:
        """Begin a new pairing of champion and challenger after the sample with this number.

        `champion` and `challenger` are True for a policy that must decide first, because its model or policy is new.
        """
        self.looks, self.since = 0, sample
        self.waits = self.waits[0] or champion, self.waits[1] or challenger

    def known(self, sample: int) -> int:
        """The number of returns of the pairing that count at a sample."""
        return 0 if any(self.waits) else max(sample - self.since, 0)


class Outcome(Struct, frozen=True):
    """The result of comparing a challenger with its champion. `look` is the number of the test, 0 where no test took
    place. `why` names the condition that failed, and is empty after a promotion."""

    promoted: bool
    why: str
    samples: int
    look: int = 0
    gain: float = 0.0
    p: float = 1.0


def looked(
    rules: PromotionRules,
    pairing: Pairing,
    champion: Floats,
    challenger: Floats,
    comparable_samples: int,
    key: str,
    risk_free_annual: RiskFree = RISK_FREE_ANNUAL,
) -> Outcome:
    """Compare two books' returns float64[T], newest last, and add one to the tests of `pairing`.

    Only the last `comparable_samples` returns are compared; `key` seeds the bootstrap. `risk_free_annual` is a rate, or
    one per return.
    """
    count = min(rules.samples, comparable_samples, len(champion), len(challenger))
    if count < rules.samples:
        return Outcome(False, f"{count} of {rules.samples} returns are known", count)
    if pairing.looks >= rules.looks:
        return Outcome(False, f"all {rules.looks} looks are used", count)
    champion_returns, challenger_returns = champion[-count:], challenger[-count:]
    if not np.ptp(challenger_returns) > 0.0:
        return Outcome(False, "the challenger's book has one constant return: it has not traded", count)
    pairing.looks += 1
    gain = paired_gain(
        challenger_returns,
        champion_returns,
        measure=rules.measure,
        risk_free_annual=newest(risk_free_annual, count),
        key=f"{rules.seed}|{key}|{pairing.looks}".encode(),
        resamples=rules.resamples,
        block=rules.block,
    )
    drawdown, allowed_drawdown = (
        _largest_drawdown(challenger_returns),
        rules.max_drawdown_ratio * _largest_drawdown(champion_returns),
    )
    why = ""
    if not gain.value > 0.0 or gain.value < rules.min_gain:
        why = f"its {rules.measure} is better by {gain.value:.2f} a year, and {rules.min_gain:g} is wanted"
    elif gain.p > rules.alpha:
        why = f"p = {gain.p:.4g} is above {rules.alpha:.4g}"
    elif drawdown > max(allowed_drawdown, 1e-9):
        why = f"its drawdown of {drawdown:.1%} is above {allowed_drawdown:.1%}"
    return Outcome(not why, why, count, pairing.looks, gain.value, gain.p)


def _largest_drawdown(returns: Floats) -> float:
    """The largest drawdown of a book with these returns, as a fraction."""
    return float(drawdowns(compounded(returns)).max())
