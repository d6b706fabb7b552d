"""Limits on what may be traded at all: prices, short positions, blocked symbols, missing data."""

from quantd.risk.limits.case import Case
from quantd.risk.limits.context import Floats
from quantd.risk.limits.kinds import refused


def price_missing(case: Case, lots: Floats) -> Floats | None:
    return None if case.ctx.all_priced else refused(~case.ctx.priced)


def price_age(case: Case, lots: Floats) -> Floats | None:
    """A price from the future is as bad as an old one."""
    ctx, most = case.ctx, case.rules.limits.max_price_age_ns
    if ctx.youngest_ns >= 0 and ctx.oldest_ns <= most:
        return None
    return refused(~((ctx.age_ns >= 0) & (ctx.age_ns <= most)))


def worst_price(case: Case, lots: Floats) -> Floats | None:
    bad = case.ctx.off_grid(case.rules.limits.collar, case.rules.ticks, case.rules.widest_tick)
    return None if bad is None else refused(bad)


def restricted(case: Case, lots: Floats) -> Floats | None:
    return None if case.rules.restricted is None else refused(case.rules.restricted)


def short(case: Case, lots: Floats) -> Floats | None:
    if case.rules.limits.allow_short or not ((lots > 0.0) > case.buys).nonzero()[0].size:
        return None
    return refused(~case.buys)


def no_borrow(case: Case, lots: Floats) -> Floats | None:
    """What the venue does not lend may be sold as far as it is held, and no further."""
    unlent = case.rules.no_borrow
    return None if unlent is None else refused(unlent & ~case.buys)


def blocked(case: Case, lots: Floats) -> Floats | None:
    """What a protective exit closed is not entered again before its cooldown is over."""
    return None if case.account.blocked is None else refused(case.account.blocked)


def sector_missing(case: Case, lots: Floats) -> Floats | None:
    return None if case.rules.no_sector is None else refused(case.rules.no_sector)


def shock_missing(case: Case, lots: Floats) -> Floats | None:
    """A book that holds what no scenario knows is unknown whole."""
    unknown, account = case.rules.no_shock, case.account
    if unknown is None:
        return None
    carried = account.lots != 0.0
    for side in (account.up, account.down):
        if side is not None:
            carried = carried | (side != 0.0)
    return refused(unknown | bool((carried & unknown).any()))
