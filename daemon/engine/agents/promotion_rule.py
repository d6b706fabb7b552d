"""When a challenger takes its champion's place: the rule, and what it says of two books' returns. Pure.

The rule: over the last `samples` returns of both books, costs and all, the challenger's measure is better with
one-sided significance, by at least `min_gain` a year, with a drawdown of at most `max_drawdown_ratio` times the
champion's. A pairing is looked at `looks` times at most, each look at (1 - confidence) / looks (C. Bonferroni, 1936):
the chance that one that is no better is ever promoted is 1 - confidence at most, however its looks hang together. A
promotion begins a new pairing.
"""

from msgspec import Struct

from quantd.trading.bootstrap import Measure, paired_gain
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL, RiskFree, compounded, drawdowns, newest


class PromotionRules(Struct, frozen=True):
    """See the module; `seed` is of the run, `block` the samples that stay together (0: chosen from the returns; a week
    takes an equal one for a better one less often than said where samples are few)."""

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
        """What one look may take."""
        return (1.0 - self.confidence) / self.looks


class Pairing(Struct):
    """A champion and its challenger: looks used, and the number of the sample after which returns count."""

    looks: int = 0
    since: int = 0


class Outcome(Struct, frozen=True):
    """What a look said; `look` 0 is none. `why` names what was missing, or is empty."""

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
    known: int,
    key: str,
    risk_free_annual: RiskFree = RISK_FREE_ANNUAL,
) -> Outcome:
    """Hold two books' returns float64[T], newest last, against each other. `known` of them count; `key` names this
    look. A look is counted in `pairing`. A rate for each return is that of the newest."""
    n = min(rules.samples, known, len(champion), len(challenger))
    if n < rules.samples:
        return Outcome(False, f"{n} of {rules.samples} returns are known", n)
    if pairing.looks >= rules.looks:
        return Outcome(False, f"all {rules.looks} looks are used", n)
    pairing.looks += 1
    first, second = champion[-n:], challenger[-n:]
    gain = paired_gain(
        second,
        first,
        measure=rules.measure,
        periods=PERIODS_PER_YEAR,
        risk_free_annual=newest(risk_free_annual, n),
        key=f"{rules.seed}|{key}|{pairing.looks}".encode(),
        resamples=rules.resamples,
        block=rules.block,
    )
    fallen, allowed = _worst(second), rules.max_drawdown_ratio * _worst(first)
    why = ""
    if not gain.value > 0.0 or gain.value < rules.min_gain:
        why = f"its {rules.measure} is better by {gain.value:.2f} a year, and {rules.min_gain:g} is wanted"
    elif gain.p > rules.alpha:
        why = f"p = {gain.p:.4g} is above {rules.alpha:.4g}"
    elif fallen > max(allowed, 1e-9):
        why = f"its drawdown of {fallen:.1%} is above {allowed:.1%}"
    return Outcome(not why, why, n, pairing.looks, gain.value, gain.p)


def _worst(returns: Floats) -> float:
    return float(drawdowns(compounded(returns)).max())
