"""General constraints of an allocating policy, from the configuration: solved by skfolio, in a worker process.

A constraint is never given up: where no portfolio meets them all the book is held, and it is said.
"""

from typing import Annotated

from msgspec import Meta, Struct

from quantd.strategies.allocators.constraints import Limits, Objective, available, constrained
from quantd.strategies.policies.allocator import BoundedParams, Case, Share
from quantd.strategies.policies.params import ParamsError, nearest
from quantd.trading.market import Floats


class Constraints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`groups`: name of one of `[[universe.groups]]` -> the most it may weigh in sum; `max_sector`: the same for every
    sector that instruments name; `max_turnover`: of sum(|new - held|) at one decision, where buying what cash is left
    does not count; `max_cvar`: of the mean loss a sample in the worst `cvar_confidence`. Weights are fractions of the
    book.
    """

    groups: dict[str, Share] = {}
    max_sector: Share = 1.0
    max_turnover: Annotated[float, Meta(ge=0.0, le=2.0)] = 2.0
    max_cvar: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    cvar_confidence: Annotated[float, Meta(ge=0.5, lt=1.0)] = 0.95


class ConstrainedParams(BoundedParams, frozen=True, kw_only=True):
    """With `constraints` the policy runs in a worker process and needs skfolio (the extra `allocate`)."""

    constraints: Constraints | None = None


def require_solver(name: str, params: ConstrainedParams) -> None:
    """Raises ParamsError where there are constraints and nothing to solve them with."""
    if params.constraints is not None and not available():
        raise ParamsError(
            f"{name}: constraints are solved by skfolio, which is not installed; pip install 'quantd[allocate]'"
        )


def limits_of(case: Case[ConstrainedParams], cost: float, confidence: float | None) -> Limits:
    """The constraints in columns of those who take part; `confidence` is that of an objective "cvar"."""
    found = case.params.constraints
    assert found is not None  # only then is this asked
    invested = case.params.invested
    column = {symbol: k for k, symbol in enumerate(case.symbols)}
    known = dict(case.universe.groups)
    groups = []
    for name, cap in found.groups.items():
        if name not in known:
            raise ParamsError(f"constraints: there is no group {name!r} in [[universe.groups]]; {nearest(name, known)}")
        groups.append((tuple(column[s] for s in known[name] if s in column), cap))
    if found.max_sector < 1.0:
        sectors = {i.symbol: i.sector for i in case.universe.instruments}
        for sector in sorted({sectors[s] for s in case.symbols} - {""}):
            groups.append((tuple(k for s, k in column.items() if sectors[s] == sector), found.max_sector))
    return Limits(
        groups=tuple((columns, 0.0, cap / invested) for columns, cap in groups if columns),
        turnover=found.max_turnover / invested + max(0.0, 1.0 - float(case.held.sum())),
        cost=cost,
        cvar=found.max_cvar / invested if found.max_cvar < 1.0 else float("inf"),
        confidence=found.cvar_confidence if confidence is None else confidence,
    )


def solved(
    objective: Objective,
    case: Case[ConstrainedParams],
    mean: Floats,
    *,
    cost: float = 0.0,
    confidence: float | None = None,
    risk_free: float = 0.0,
    risk_aversion: float = 1.0,
) -> Floats:
    """Weights float64[n] of a form under the constraints of its case. Raises Infeasible."""
    limits = limits_of(case, cost, confidence)
    return constrained(
        objective,
        case.returns,
        case.cov,
        mean,
        case.held,
        limits,
        case.box,
        risk_free=risk_free,
        risk_aversion=risk_aversion,
    )
