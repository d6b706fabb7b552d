"""One session of B accounts of N assets, as the event core keeps them: orders of a close fill at the next open, with costs.

Holdings are money at the last close, not units, so a session is its prices *relative* to the close before: any session can
follow any other, which resampling needs. Whole lots are counted at the close that the orders were sized on.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from quantd.models.market.arrays import Array, added, trunc
from quantd.trading.execution import RATE_ONE, YEAR_DAYS, Costs

DUST: Final = 1e-9
"""A trade of less than this part of equity is rounding, no order: it pays no least commission."""


class Session(NamedTuple):
    """What happened from a close to the next, each float[B, N] relative to that first close, on its shares."""

    gap: Array
    """The open, with the split undone."""
    total: Array
    """The close, with the split undone."""
    dividend: Array | None
    """Cash; None when nobody pays any."""
    days: Array | None = None
    """float[B] calendar days; read where borrowing costs."""
    earned: Array | None = None
    """float[B] what cash of the first close earns to the next, as a fraction; None when it earns nothing."""


class Shares(NamedTuple):
    """What whole lots need to know, float[B, N] each: the close that orders are sized on, and new shares for an old one."""

    close: Array
    split: Array


class Traded(NamedTuple):
    """The account at the next close and what led there."""

    value: Array
    """float[B, N] money in each asset; negative where short."""
    cash: Array
    """float[B]."""
    equity: Array
    """float[B]."""
    traded: Array
    """float[B, N] unsigned value bought or sold, at the open."""
    turnover: Array
    """float[B], the sum of `traded` over the equity that it was decided on."""
    cost: Array
    """float[B] money paid for spread, slippage and commission."""


class Rates(Struct, frozen=True):
    """The parts of `Costs` that this account knows, as fractions; ValueError for those that it does not."""

    fill: float
    commission: float
    least: float
    """Money an order."""
    borrow_day: float

    @classmethod
    def of(cls, costs: Costs) -> "Rates":
        for name in ("impact", "participation", "slippage_noise", "latency_ns"):
            if getattr(costs, name):
                raise ValueError(f"costs: {name} = {getattr(costs, name)}: the simulator has none; set it to 0")
        return cls(
            costs.fixed_rate / RATE_ONE,
            costs.commission_rate / RATE_ONE,
            costs.commission_min_micro / 1e6,
            costs.borrow_bp_annual / 10_000 / YEAR_DAYS,
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
    """Moves accounts to `weights` float[B, N] (fractions of `equity` at the close) and on to the next close.

    With `shares`, targets are whole lots of `lot` units, one size or float[N], floored towards zero; a fraction that a
    split leaves is paid out at the close.
    """
    wanted, owned, idle = weights * equity[:, None], value, cash
    if shares is not None:
        value, cash, wanted = _whole(value, cash, wanted, shares, lot)
    order = (wanted - value) * session.gap
    traded = abs(order)
    bought, moved = added(order), added(traded)
    # a buy fills at open x (1 + rate), a sell at open x (1 - rate); commission is on the filled notional
    cost = moved * rates.fill
    if rates.least:
        fees = (traded + order * rates.fill) * rates.commission
        orders = traded > abs(equity)[:, None] * DUST
        cost = cost + added(fees.clip(min=rates.least) * orders)
    elif rates.commission:
        cost = cost + moved * rates.commission + bought * (rates.fill * rates.commission)
    cash = cash - bought - cost
    if session.dividend is not None:
        cash = cash + added(owned * session.dividend)
    if session.earned is not None:
        cash = cash + idle * session.earned
    held = wanted * session.total
    if rates.borrow_day and session.days is not None:
        cash = cash + added(held.clip(max=0.0)) * session.days * rates.borrow_day
    return Traded(held, cash, cash + added(held), traded, moved / equity, cost)


def _whole(value: Array, cash: Array, wanted: Array, shares: Shares, lot: Array | float) -> tuple[Array, Array, Array]:
    """(value, cash, wanted) in whole lots, before and after the session's split.

    As the event core plans: a target that is a whole number but for the last bits of a division is that number, and what
    would cross zero ends there. Orders are lots of the old shares; both they and what is held are scaled by the split and floored towards zero.
    """
    price = shares.close * lot
    held = (value / price).round()  # whole already, but for what the money's float lost
    target = trunc(wanted / price * (1.0 + 1e-12))
    target = target * (target * held >= 0.0)
    after = trunc(held * shares.split)
    ordered = trunc((target - held) * shares.split)
    price = price / shares.split
    kept = after * price
    return kept, cash + (value - kept).sum(-1), (after + ordered) * price
