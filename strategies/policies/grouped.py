"""Allocation on two levels: first the weights of groups of instruments, then the weights of each group's members."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from quantd.strategies.allocators.hierarchy import Level, correlated, two_levels
from quantd.strategies.allocators.mean_variance import inverse_volatility, scaled, within
from quantd.strategies.allocators.risk_parity import risk_parity
from quantd.strategies.policies.allocator import RISK_ONLY_FALLBACKS, Allocator, BoundedParams, Case
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats

Method = Literal["inverse_volatility", "risk_parity"]

LEVELS: Final[dict[Method, Level]] = {"inverse_volatility": inverse_volatility, "risk_parity": risk_parity}


class GroupedParams(BoundedParams, frozen=True, kw_only=True):
    """Parameters of an allocation on two levels: first to groups of instruments, then to the members of each group.

    `by` says what the groups are: clusters with correlations of at least `threshold`, sectors, or [[universe.groups]].
    `between` allocates to the groups, by the covariance of their returns, and `inside` to the members of each group.
    """

    by: Literal["correlation", "sector", "groups"] = "correlation"
    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.7
    between: Method = "risk_parity"
    inside: Method = "inverse_volatility"


def groups_of(case: Case[GroupedParams]) -> list[list[int]]:
    """Return the instruments' indices by group. An instrument that no group names is a group of its own.

    The groups are clusters of correlated instruments, sectors, or the groups of [[universe.groups]], as the parameter
    `by` says. Of several groups that name an instrument, the first one counts.
    """
    by, universe = case.params.by, case.universe
    if by == "correlation":
        return correlated(scaled(case.cov)[0], case.params.threshold)
    names = {instrument.symbol: instrument.sector for instrument in universe.instruments} if by == "sector" else {}
    if by == "groups":
        names = {symbol: name for name, members in reversed(universe.groups) for symbol in members}
    groups: dict[tuple[str, str], list[int]] = {}
    for column, symbol in enumerate(case.symbols):
        name = names.get(symbol, "")
        # an instrument without a group is a group of its own, by its symbol
        groups.setdefault((name, "" if name else symbol), []).append(column)
    return list(groups.values())


def _weights(case: Case[GroupedParams]) -> Floats:
    params = case.params
    weights = two_levels(case.cov, groups_of(case), LEVELS[params.between], LEVELS[params.inside])
    return within(weights, case.box)


RECORDS: Final = (
    record("grouped", GroupedParams, lambda p: Allocator("grouped allocation", p, _weights, RISK_ONLY_FALLBACKS)),
)
