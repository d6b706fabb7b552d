"""Limits on one order: notional, duplicates, share of volume, liquidity."""

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from quantd.risk.limits.bounds import SHARE, Bounds, Span, each_field, higher
from quantd.risk.limits.case import Account
from quantd.risk.limits.context import Bools, Context, Floats
from quantd.risk.limits.kinds import OfNotional, OfVolume, Refused, refused
from quantd.risk.limits.record import Barred, Capped, Counts, Limit, Refusal
from quantd.risk.limits.settings import Limits

if TYPE_CHECKING:
    from quantd.risk.limits.ruleset import Rules


def _pace(limits: Limits) -> float | None:
    """Return the largest position as a multiple of the average volume: `days` x `participation` of the limit
    `liquidity`. Returns None where the limit is off.
    """
    spec = limits.liquidity
    return None if spec is None else spec.days * spec.participation


order_notional: Final = OfNotional(lambda limits: limits.max_order_notional)

share_of_volume: Final = OfVolume(lambda limits: limits.max_share_of_volume, open="both")
"""Order plus open orders, as a share of the average volume."""

liquidity: Final = OfVolume(_pace, held=True, open="side")
"""A position with its open orders on the same side, as a multiple of the average volume."""


def duplicate(rules: "Rules", account: Account, asked: Floats) -> Bools | None:
    """Refuse an order for the same lots of a symbol that were already requested within `duplicate_window`: probably
    a repeated message."""
    repeated = account.repeated
    if repeated is None:
        return None
    # the negation also refuses NaN
    return ~(np.trunc(asked) != repeated) | np.isnan(repeated)


def volume_missing(ctx: Context, rules: "Rules") -> Refused | None:
    """Refuse symbols without a finite average volume, if a limit by volume is on."""
    if ctx.volumes_known or not rules.limits.by_volume:
        return None
    return refused(~((ctx.volume_lots >= 0.0) & (ctx.volume_lots < inf)))


def _sessions(limits: Limits, about: str) -> str:
    """Return the label of the limit `liquidity`."""
    share = f" at {100 * limits.liquidity.participation:g} % of volume" if limits.liquidity is not None else ""
    return f"sessions to sell {about or 'a position'}{share}"


def _rate(limits: Limits, about: str) -> str:
    """Return the label of the limit `order_rate`."""
    if limits.order_rate is None:
        return "orders sent within a time"
    return f"orders sent within {limits.order_rate.per_ns / 1e9:g} s"


_VOLUME: Final = 29

LIMITS: Final = (
    Limit(
        "max_order_notional",
        130,
        "order value at its worst price",
        "money",
        (Refusal(4, "ORDER_NOTIONAL", "the order at its worst price would exceed max_order_notional"),),
        (Capped(110, order_notional),),
        example='max_order_notional = "25000.00"',
        about="order value at its worst price, without fees, money as text",
        formula="Bought `x × p × (1 + collar) ≤ limit`, sold `x × p ≤ limit`",
    ),
    Limit(
        "max_share_of_volume",
        140,
        "order, share of the average volume",
        refusals=(
            Refusal(
                20,
                "SHARE_OF_VOLUME",
                "the order would exceed max_share_of_volume of the average volume",
                time_frees=True,
            ),
            Refusal(_VOLUME, "VOLUME_MISSING", "no volume is known"),
        ),
        kinds=(Capped(120, volume_missing, _VOLUME), Capped(130, share_of_volume)),
        example="max_share_of_volume = 0.05",
        profiles={"conservative": 0.05, "balanced": 0.10, "aggressive": 0.20},
        bounds=SHARE,
        about=(
            "one order plus open orders, as a fraction of the average volume `V`, in lots, of `[risk] "
            "volume_lookback` sessions (20)"
        ),
        formula="`x + u + d ≤ limit × V`",
    ),
    Limit(
        "liquidity",
        150,
        _sessions,
        "sessions",
        (Refusal(30, "LIQUIDITY", "the position would take longer to unwind than liquidity.days"),),
        (Capped(140, liquidity),),
        example="liquidity = { days = 3 }",
        tighter=each_field,
        about=(
            "a position must be sellable within `days` at `participation` of the average volume: `{ days = 5, "
            "participation = 0.1 }`"
        ),
        formula="Bought `q + u + x ≤ days × participation × V`, sold `−q + d + x` likewise",
    ),
    Limit(
        "order_rate",
        170,
        _rate,
        "orders",
        (Refusal(31, "ORDER_RATE", "more orders than order_rate would have been sent", time_frees=True),),
        (Counts(20, lambda account: account.recent_orders, lambda rate: int(rate.orders)),),
        example='order_rate = { orders = 60, per = "1m" }',
        tighter=each_field,
        about='orders sent within a window; no order that adds risk exceeds it: `{ orders = 60, per = "1m" }`',
        formula="`sent within per + orders of the basket ≤ orders`",
    ),
    Limit(
        "max_open_orders",
        180,
        "open orders",
        "orders",
        (Refusal(21, "OPEN_ORDERS", "more than max_open_orders would be open", time_frees=True),),
        (Counts(10, lambda account: account.open_orders),),
        example="max_open_orders = 50",
        bounds=Bounds(1, 100_000),
        about="orders open at the same time; no order that adds risk exceeds it",
        formula="`open orders + orders of the basket ≤ limit`",
    ),
    Limit(
        "max_orders_per_day",
        190,
        "orders sent in this session",
        "orders",
        (
            Refusal(
                39,
                "ORDERS_PER_DAY",
                "more than max_orders_per_day would have been sent in this session",
                time_frees=True,
            ),
        ),
        (Counts(30, lambda account: account.session_orders),),
        section="live",
        about=(
            "orders sent in one session, across restarts; orders that reduce a position are counted, also in the "
            "same basket, and still pass"
        ),
        formula="`sent in the session + orders of the basket ≤ limit`",
    ),
    Limit(
        "duplicate_window_ns",
        440,
        "repeated order",
        "hours",
        (Refusal(32, "DUPLICATE", "the same order was requested within duplicate_window"),),
        (Barred(10, duplicate),),
        always=True,
        tighter=higher,
        bounds=Span("1ms", "1d"),
        about='refuses the same lots of the same symbol by the same agent within it (`"1s"`); always on',
    ),
)
