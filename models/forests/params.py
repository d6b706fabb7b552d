"""Name and parameters of the policy, apart from its code: a configuration is checked without a model runtime."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

NAME: Final = "learned_allocation"


class AllocationParams(Struct, frozen=True):
    """`risk`, `correlation` and `allocation` are folders of forests, "" for the plain estimate (no tilt for the last).

    `max_tilt`: the fraction by which a score may raise or lower a weight before all are scaled to `invested`.
    """

    risk: str = "models/shipped/forest_risk"
    correlation: str = "models/shipped/forest_correlation"
    allocation: str = "models/shipped/forest_allocation"
    method: Literal["risk_parity", "inverse_volatility"] = "risk_parity"
    max_tilt: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.3
    invested: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
