"""General constraints of an allocating policy, solved by skfolio in a worker process.

If no portfolio meets all constraints, the policy holds with a warning.
"""

from typing import Annotated

from msgspec import Meta, Struct

from quantd.extras import remedy
from quantd.strategies.allocators.constrained import Limits, Objective, available, constrained
from quantd.strategies.policies.allocator import BoundedParams, Case
from quantd.strategies.policies.params import ParamsError, Share, nearest
from quantd.trading.market import Floats


class Constraints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upper bounds on an allocation; weights are fractions of the book.

    `groups` maps names of `[[universe.groups]]` to the maximum sum of the group's weights, and `max_sector` is the
    maximum sum of the weights of each sector. `max_turnover` bounds sum(|new - held|) at one decision; the investment
    of free cash does not count. `max_cvar` bounds the mean loss per sample in the worst fraction 1 - `cvar_confidence`
    of the samples.
    """

    groups: dict[str, Share] = {}
    max_sector: Share = 1.0
    max_turnover: Annotated[float, Meta(ge=0.0, le=2.0)] = 2.0
    max_cvar: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    cvar_confidence: Annotated[float, Meta(ge=0.5, lt=1.0)] = 0.95


class ConstrainedParams(BoundedParams, frozen=True, kw_only=True):
    """Parameters that may have `constraints`: the policy then runs in a worker process and needs skfolio.

    The extra `allocate` installs skfolio. Raises ValueError for `constraints` where skfolio is not installed.
    """

    constraints: Constraints | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constraints is not None and not available():
            raise ValueError(f"constraints are solved by skfolio, which is not installed: {remedy('allocate')}")


def limits_of(case: Case[ConstrainedParams], cost: float, confidence: float | None) -> Limits:
    """Return the constraints of the parameters by instrument index, as fractions of the invested amount.

    `cost` is the cost of trading per sample, as a fraction of the value traded. `confidence` replaces the parameter
    `cvar_confidence`; with None the parameter counts. Raises ParamsError for a group that [[universe.groups]] does not
    have.
    """
    constraints = case.params.constraints
    assert constraints is not None  # callers have checked it
    invested = case.params.invested
    column_of = {symbol: index for index, symbol in enumerate(case.symbols)}
    members = dict(case.universe.groups)
    groups = []
    for name, cap in constraints.groups.items():
        if name not in members:
            raise ParamsError(
                f"constraints: there is no group {name!r} in [[universe.groups]]; {nearest(name, members)}"
            )
        groups.append((tuple(column_of[symbol] for symbol in members[name] if symbol in column_of), cap))
    if constraints.max_sector < 1.0:
        sectors = {instrument.symbol: instrument.sector for instrument in case.universe.instruments}
        for sector in sorted({sectors[symbol] for symbol in case.symbols} - {""}):
            groups.append(
                (
                    tuple(index for symbol, index in column_of.items() if sectors[symbol] == sector),
                    constraints.max_sector,
                )
            )
    # `Limits` has fractions of the invested amount, the parameters fractions of the book. The investment of free cash
    # is a change of weights too: without it on top, max_turnover would keep a book in cash.
    return Limits(
        groups=tuple((columns, cap / invested) for columns, cap in groups if columns),
        turnover=constraints.max_turnover / invested + max(0.0, 1.0 - float(case.held.sum())),
        cost=cost,
        cvar=constraints.max_cvar / invested if constraints.max_cvar < 1.0 else float("inf"),
        confidence=constraints.cvar_confidence if confidence is None else confidence,
    )


def solved(
    objective: Objective,
    case: Case[ConstrainedParams],
    mean: Floats,
    *,
    cost: float = 0.0,
    confidence: float | None = None,
    risk_aversion: float = 1.0,
) -> Floats:
    """Return the weights float64[n] of an objective under the constraints of the case.

    `mean` float64[n] is the expected return per sample. `cost` is the cost of trading per sample, as a fraction of the
    value traded. `confidence` replaces the parameter `cvar_confidence` (None: the parameter counts). `risk_aversion`
    counts only for the objective "utility". Raises Infeasible where no weights meet the constraints.
    """
    limits = limits_of(case, cost, confidence)
    return constrained(
        objective, case.returns, case.cov, mean, case.held, limits, case.box, risk_aversion=risk_aversion
    )
