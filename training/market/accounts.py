"""One session of B accounts of N assets, equal to the event core: orders of a close fill at the next open, with costs.

Positions are stored as money at the last close, not as units, and session prices are *relative* to the previous close.
Any session can therefore follow any other, which resampling needs. Whole lots are computed at the close that sized the
orders.

What can go wrong. Whole lots are lost to rounding: a target within rounding error of a whole number is that number. An
order crosses zero, which the event core never permits. Joined seeds get other last digits than one alone, because a sum
rounds by the number of its rows. Each of `parts` is summed as if alone.

What the order guarantees. Lots are sized at the close and then split, so that fills of the open are in new shares.
Dividends are paid on the shares, and interest on the cash, of the close before.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from quantd.trading.execution import RATE_ONE, YEAR_DAYS, Costs
from quantd.training.market.arrays import Array, added, trunc
from quantd.training.market.terms import NOT_SIMULATED

DUST: Final = 1e-9
"""A trade below this fraction of equity is a rounding error, not an order; it pays no minimum commission."""


class Session(NamedTuple):
    """Price changes from one close to the next, each float[B, N] relative to the first close, per share held then."""

    gap: Array
    """The open, before the split."""
    total: Array
    """The close, before the split."""
    dividend: Array | None
    """Cash; None without dividends."""
    days: Array | None = None
    """float[B] calendar days; used for borrow fees."""
    earned: Array | None = None
    """float[B] interest on cash from close to close, as a fraction; None without interest."""
    idle: Array | None = None
    """1 for an asset that does not trade in this session; None for none."""


class Shares(NamedTuple):
    """Input for whole lots, float[B, N] each: the close that sizes orders, and new shares per old share."""

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


class Rates(Struct, frozen=True):
    """The cost parts that this account supports, as fractions. Raises ValueError for unsupported ones."""

    fill: float
    commission: float
    least: float
    """Money per order."""
    borrow_day: float

    @classmethod
    def of(cls, costs: Costs) -> "Rates":
        """Return the rates of `costs`. Raises ValueError for a cost that the simulator does not have."""
        for name in NOT_SIMULATED:
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
    parts: int = 1,
) -> Traded:
    """Rebalance accounts to `weights` float[B, N] (fractions of `equity` at the close), and advance to the next close.

    With `shares`, targets are whole lots of `lot` units, one size or float[N], truncated towards zero. Fractions after
    a split are paid out at the close. Each of `parts` equal parts of the accounts is computed as if alone.
    """
    wanted, owned, idle = weights * equity[:, None], value, cash
    if shares is not None:
        value, cash, wanted = _whole(value, cash, wanted, shares, lot)
    if session.idle is not None:
        wanted = wanted + (value - wanted) * session.idle
    order = (wanted - value) * session.gap
    traded = abs(order)
    bought, moved = added(order, parts), added(traded, parts)
    # A buy fills at open x (1 + rate), a sell at open x (1 - rate); commission is on the filled notional.
    cost = moved * rates.fill
    if rates.least:
        fees = (traded + order * rates.fill) * rates.commission
        orders = traded > abs(equity)[:, None] * DUST
        cost = cost + added(fees.clip(min=rates.least) * orders, parts)
    elif rates.commission:
        cost = cost + moved * rates.commission + bought * (rates.fill * rates.commission)
    cash = cash - bought - cost
    if session.dividend is not None:
        cash = cash + added(owned * session.dividend, parts)
    if session.earned is not None:
        cash = cash + idle * session.earned
    held = wanted * session.total
    if rates.borrow_day and session.days is not None:
        cash = cash + added(held.clip(max=0.0), parts) * session.days * rates.borrow_day
    return Traded(held, cash, cash + added(held, parts), traded, moved / equity, cost)


def _whole(value: Array, cash: Array, wanted: Array, shares: Shares, lot: Array | float) -> tuple[Array, Array, Array]:
    """Return (value, cash, wanted) in whole lots, before and after the session's split.

    It follows the planning of the event core. A target within rounding error of a whole number is that number, and an
    order never crosses zero. Orders are in lots of old shares. The split scales both orders and positions, which are
    then truncated towards zero.
    """
    price = shares.close * lot
    held = (value / price).round()  # whole already, apart from floating-point error
    target = trunc(wanted / price * (1.0 + 1e-12))
    target = target * (target * held >= 0.0)
    after = trunc(held * shares.split)
    ordered = trunc((target - held) * shares.split)
    price = price / shares.split
    after_split = after * price
    return after_split, cash + (value - after_split).sum(-1), (after + ordered) * price
