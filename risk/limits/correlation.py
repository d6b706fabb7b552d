"""The limit on pairs of correlated instruments; `quantd.risk.pairs` enforces it."""

from typing import Final

from quantd.risk.limits.bounds import each_field
from quantd.risk.limits.record import Limit, Pairs, Refusal
from quantd.risk.limits.settings import Correlation, Limits


def _pair(limits: Limits, about: str) -> str:
    strict = ", not together at all" if limits.correlation is not None and limits.correlation.strict else ", joint"
    return f"correlation {about}{strict}" if about else "correlation, heaviest pair joint"


LIMITS: Final = (
    Limit(
        "correlation",
        230,
        _pair,
        refusals=(
            Refusal(13, "CORRELATION", "too much would be held in two instruments that move together", sales_free=True),
        ),
        kinds=(Pairs(10),),
        example="correlation = { threshold = 0.7, joint_weight = 0.5 }",
        on_breach=True,
        tighter=each_field,
        profiles={
            "conservative": Correlation(joint_weight=0.2),
            "balanced": Correlation(joint_weight=0.5),
            "aggressive": Correlation(joint_weight=0.7),
        },
        about=(
            "joint weight of two correlated instruments that weigh at least `min_weight` each: `{ threshold, "
            "joint_weight, min_weight, lookback, strict }`; `strict` refuses the second"
        ),
    ),
)
