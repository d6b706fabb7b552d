"""Limits that keep cash, buying power and equity above their floors."""

import numpy as np

from quantd.risk.limits.catalogue import Limits, Reason
from quantd.risk.limits.kinds import Row
from quantd.trading.instruments import Universe


def cash_rows(limits: Limits, universe: Universe) -> list[Row]:
    """On the way: buys at worst prices with fees, sales not counted, within cash + max_cash_debit x equity.
    After all fills, at reference prices and with the sales: within cash. The reserve stays in both."""
    size, fee = universe.size, limits.fee_bp * 1e-4
    held = np.zeros(4 * size + 2)
    held[-2] = 1.0
    load = np.zeros(2 * size)
    paid = (1.0 + limits.collar) * (1.0 + fee)
    # the debit is a share of equity, which falls by what a buy pays above the mark; sales would raise cash by more
    load[size:] = paid + limits.max_cash_debit * (paid - 1.0)
    settled = np.full(2 * size, fee - 1.0)
    settled[size:] = 1.0 + fee
    return [Row("cash", Reason.CASH, held, load, 0.0, settled, 0.0)]


def buying_power_rows(limits: Limits, universe: Universe) -> list[Row]:
    """What adds risk, bought or sold short, at worst prices with fees, within what the venue says may still be bought: that
    has the open orders in it, and nothing held uses it. Absolute, on the way as at the end."""
    if limits.buying_power is None:
        return []
    paid = (1.0 + limits.collar) * (1.0 + limits.fee_bp * 1e-4)
    held, load, bound = np.zeros(4 * universe.size + 2), np.full(2 * universe.size, paid), limits.buying_power.limit
    return [Row("buying_power", Reason.BUYING_POWER, held, load, bound, load, bound)]


def equity_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Equity at worst prices stays positive, limits or none."""
    none = np.zeros(2 * universe.size)
    return [Row("equity", Reason.EQUITY, np.zeros(4 * universe.size + 2), none, 1.0, none, 1.0)]
