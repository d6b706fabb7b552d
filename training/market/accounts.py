"""Simulates one session of B accounts of N assets, as the event core does: orders of a close fill at the next open.

Positions are stored as money at the last close, not as units, and session prices are *relative* to the previous close.
Any session can therefore follow any other, which resampling needs. Whole lots are computed at the close at which the
orders are sized. The event core is the engine of live trading and backtests.

What can go wrong. A lot would be lost to rounding: so a target within rounding error of a whole number is that number.
An order would cross zero, which the event core never permits: so such a target becomes zero.

What the order guarantees. Lots are sized at the close and then adjusted for a split, so that fills of the open are in
new shares. Dividends are paid on the shares of the previous close, and interest on the cash of that close.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from quantd.trading.execution import RATE_ONE, YEAR_DAYS, Costs
from quantd.training.market.arrays import Array, added, trunc
from quantd.training.market.terms import NOT_SIMULATED

DUST: Final = 1e-9
"""A trade below this fraction of equity is a rounding error, not an order; it pays no minimum commission."""


class Session(NamedTuple):
    """Price changes from one close to the next, each float[B, N] relative to the first close, per share held then.

    Axes: B accounts, N assets.
    """

    gap: Array
    """The open, in money per old share: undiminished by a split of this session."""
    total: Array
    """The close, in money per old share."""
    dividend: Array | None
    """The cash dividend per old share; None without dividends."""
    days: Array | None = None
    """float[B] calendar days; used for borrow fees."""
    earned: Array | None = None
    """float[B] interest on cash from close to close, as a fraction; None without interest."""
    idle: Array | None = None
    """1 for an asset that does not trade in this session; None for none."""


class Shares(NamedTuple):
    """Input for whole lots, float[B, N] each: the close that sizes orders, and new shares per old share.

    Axes: B accounts, N assets.
    """

    close: Array
    split: Array


class Traded(NamedTuple):
    """The account at the next close, and the trades of the session."""

    value: Array
    """float[B, N] money in each asset; negative if short."""
    cash: Array
    """float[B]."""
    equity: Array
    """float[B]."""
    traded: Array
    """float[B, N] unsigned traded value, at the open."""
    turnover: Array
    """float[B], the sum of `traded` over the equity at the decision."""
    cost: Array
    """float[B] money paid for spread, slippage and commission."""


def most_invested(costs: Costs) -> float:
    """Return the largest sum of target weights that leaves equity for the commission of `costs`, as a fraction."""
    return 1.0 / (1.0 + costs.commission_rate / RATE_ONE)


class Rates(Struct, frozen=True):
    """The trading costs that the simulated accounts support, as fractions. Raises ValueError for unsupported values."""

    fill: float
    """Spread and slippage."""
    commission: float
    least: float
    """Minimum commission: money per order."""
    borrow_day: float
    """Borrow fee of a short position for each calendar day."""
    most: float
    """The largest sum of weights: the rest of equity pays the commission, as in the event core (`room_of`)."""

    @classmethod
    def of(cls, costs: Costs) -> "Rates":
        """Return the rates of `costs`. Raises ValueError for a kind of cost that the simulator does not support."""
        for name in NOT_SIMULATED:
            if getattr(costs, name):
                raise ValueError(f"costs: {name} = {getattr(costs, name)}: the simulator lacks this cost; set it to 0")
        return cls(
            costs.fixed_rate / RATE_ONE,
            costs.commission_rate / RATE_ONE,
            costs.commission_min_micro / 1e6,
            costs.borrow_bp_annual / 10_000 / YEAR_DAYS,
            most_invested(costs),
        )


def trade(
    value: Array,
    cash: Array,
    equity: Array,
    weights: Array,
    session: Session,
    rates: Rates,
    shares: Shares | None = None,
    lot: Array | float = 1.0,
) -> Traded:
    """Rebalance accounts to `weights` float[B, N] (fractions of `equity` at the close), and advance to the next close.

    With `shares`, targets are whole lots, truncated towards zero; a lot has `lot` units, one size or float[N].
    Fractions of a lot after a split are paid out at the close. `value` float[B, N] is the money in each asset, `cash`
    float[B], both at the close. `session` has the prices of the next session relative to that close, and `rates` the
    costs as fractions. Axes: B accounts, N assets.
    """
    target_value, value_at_close, cash_at_close = weights * equity[:, None], value, cash
    if shares is not None:
        value, cash, target_value = _in_whole_lots(value, cash, target_value, shares, lot)
    # an asset that does not trade keeps its value
    if session.idle is not None:
        target_value = target_value + (value - target_value) * session.idle
    order = (target_value - value) * session.gap
    traded = abs(order)
    bought, traded_money = added(order), added(traded)
    # A buy fills at open x (1 + rate), a sell at open x (1 - rate); commission is on the filled notional.
    cost = traded_money * rates.fill
    if rates.least:
        fees = (traded + order * rates.fill) * rates.commission
        orders = traded > abs(equity)[:, None] * DUST
        cost = cost + added(fees.clip(min=rates.least) * orders)
    elif rates.commission:
        cost = cost + traded_money * rates.commission + bought * (rates.fill * rates.commission)
    cash = cash - bought - cost
    if session.dividend is not None:
        cash = cash + added(value_at_close * session.dividend)
    if session.earned is not None:
        cash = cash + cash_at_close * session.earned
    new_value = target_value * session.total
    if rates.borrow_day and session.days is not None:
        cash = cash + added(new_value.clip(max=0.0)) * session.days * rates.borrow_day
    return Traded(new_value, cash, cash + added(new_value), traded, traded_money / equity, cost)


def _in_whole_lots(
    value: Array, cash: Array, target_value: Array, shares: Shares, lot: Array | float
) -> tuple[Array, Array, Array]:
    """Return (value, cash, wanted) in whole lots after the session's split; `wanted` is the value after the orders.

    The rules are those of the order planning of the event core. A target within rounding error of a whole number is
    that number, and an order never crosses zero. Orders are in lots of old shares. The split scales both orders and
    positions, which are then truncated towards zero. The fractions of a lot that the truncation removes from positions
    are paid out as cash.
    """
    lot_price = shares.close * lot
    held_lots = (value / lot_price).round()  # whole already, apart from floating-point error
    target_lots = trunc(target_value / lot_price * (1.0 + 1e-12))
    target_lots = target_lots * (target_lots * held_lots >= 0.0)
    split_lots = trunc(held_lots * shares.split)
    ordered_lots = trunc((target_lots - held_lots) * shares.split)
    new_lot_price = lot_price / shares.split
    split_value = split_lots * new_lot_price
    return split_value, cash + (value - split_value).sum(-1), (split_lots + ordered_lots) * new_lot_price
