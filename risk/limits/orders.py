"""Limits on one order: notional, duplicates, share of volume, liquidity."""

from math import inf

import numpy as np

from quantd.risk.limits.case import SLACK, Case
from quantd.risk.limits.context import Floats
from quantd.risk.limits.kinds import refused


def order_notional(case: Case, lots: Floats) -> Floats | None:
    """An order's notional is what its worst price can make of it: a buy's is above the mark."""
    most = case.rules.limits.max_order_notional
    if most is None or float(np.maximum.reduce(case.sides(lots))) * (1.0 + case.rules.limits.collar) <= most:
        return None
    price = np.where(case.buys, case.ctx.px * (1.0 + case.rules.limits.collar), case.ctx.px)
    with np.errstate(divide="ignore", invalid="ignore"):
        return most * (1.0 + SLACK) / price


def duplicate(case: Case, lots: Floats) -> Floats | None:
    """The same lots of the same symbol that were asked within `duplicate_window`: a message that came twice."""
    repeated = case.account.repeated
    if repeated is None:
        return None
    # written so that what is not a number refuses
    return refused(~(np.where(case.buys, lots, -lots) != repeated) | np.isnan(repeated))


def volume_missing(case: Case, lots: Floats) -> Floats | None:
    limits = case.rules.limits
    if limits.max_share_of_volume is None and limits.liquidity is None:
        return None
    if case.ctx.volumes_known:
        return None
    return refused(~((case.ctx.volume_lots >= 0.0) & (case.ctx.volume_lots < inf)))


def share_of_volume(case: Case, lots: Floats) -> Floats | None:
    """Open orders of the symbol share the same volume."""
    share = case.rules.limits.max_share_of_volume
    if share is None:
        return None
    most = share * case.ctx.volume_lots
    account = case.account
    if account.up is not None:
        most = most - account.up
    if account.down is not None:
        most = most - account.down
    return most


def liquidity(case: Case, lots: Floats) -> Floats | None:
    """A position, with all that is open on its side, that can be sold within the days at the participation."""
    spec = case.rules.limits.liquidity
    if spec is None:
        return None
    account = case.account
    held = np.where(case.buys, account.lots, -account.lots)
    if account.up is not None:
        held = held + np.where(case.buys, account.up, 0.0)
    if account.down is not None:
        held = held + np.where(case.buys, 0.0, account.down)
    return spec.days * spec.participation * case.ctx.volume_lots - held
