"""Name and parameters of the policy `learned_allocation`, separate from its code, so that a configuration check
needs no model runtime."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

NAME: Final = "learned_allocation"


class AllocationParams(Struct, frozen=True):
    """Parameters of `learned_allocation`.

    `risk`, `correlation` and `allocation` are folders of forests, "" for the plain estimate; without `allocation` there
    is no tilt. `max_tilt` is the maximum fraction by which a predicted score (risk-adjusted return, relative to the
    other assets) changes a weight, before all weights are scaled to add up to `invested`.
    """

    risk: str = "models/shipped/forest_risk"
    correlation: str = "models/shipped/forest_correlation"
    allocation: str = "models/shipped/forest_allocation"
    method: Literal["risk_parity", "inverse_volatility"] = "risk_parity"
    max_tilt: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.3
    invested: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
