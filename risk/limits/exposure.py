"""Limits on gross and net exposure, leverage, turnover and account size."""

import numpy as np

from quantd.risk.limits.catalogue import Limits, Reason
from quantd.risk.limits.kinds import Row, row_of
from quantd.trading.instruments import Universe


def gross_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Long sum and short sum, each at its own worst."""
    if limits.max_gross_exposure is None:
        return []
    load = np.ones(2 * universe.size)
    return [row_of(limits, "max_gross_exposure", Reason.GROSS, load, limits.max_gross_exposure)]


def account_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Gross exposure again, under what a live account may hold in all: absolute, so nothing on the way may exceed it."""
    return [
        row_of(limits, key, reason, np.ones(2 * universe.size), cap.limit)._replace(bound=cap.limit)
        for key, reason, cap in (
            ("max_account_notional", Reason.ACCOUNT_NOTIONAL, limits.max_account_notional),
            ("ramp", Reason.RAMP, limits.ramp),
        )
        if cap is not None
    ]


def net_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Net long with every buy and no sale filled, net short the other way round."""
    if limits.max_net_exposure is None:
        return []
    rows = []
    for side in (slice(universe.size, None), slice(0, universe.size)):
        load = np.zeros(2 * universe.size)
        load[side] = 1.0
        rows.append(row_of(limits, "max_net_exposure", Reason.NET, load, limits.max_net_exposure, net=True))
    return rows


def leverage_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Assets over equity, max(long, equity + short) / equity: long within leverage x equity, short within
    (leverage - 1) x equity."""
    if limits.max_leverage is None:
        return []
    n, leverage = universe.size, limits.max_leverage
    long, short = np.zeros(2 * n), np.zeros(2 * n)
    long[n:], short[:n] = 1.0, 1.0
    way = max(leverage * (1.0 + limits.in_flight) - 1.0, 0.0)
    borrowed = row_of(limits, "max_leverage", Reason.LEVERAGE, short, leverage)
    return [
        row_of(limits, "max_leverage", Reason.LEVERAGE, long, leverage),
        borrowed._replace(bound=way, settled_bound=max(leverage - 1.0, 0.0)),
    ]


def turnover_rows(limits: Limits, universe: Universe) -> list[Row]:
    """What this session has traded, may still trade from open orders, and this basket trades, reductions included."""
    if limits.max_turnover is None:
        return []
    load = np.ones(2 * universe.size)
    return [row_of(limits, "max_turnover", Reason.TURNOVER, load, limits.max_turnover, traded=True)]
