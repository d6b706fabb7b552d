"""An engine of daily backtests by the rules of docs/research/python.md, and by nothing else: it imports no quantd.

It was written from the page and the bars alone, without a look at the product or its figures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Answer = NDArray[np.float64] | None

NANO: Final = 10**9
MICRO: Final = 10**6
COIN_LOTS: Final = 10**8
"""Lots of one coin; a share is one lot."""

START_CASH: Final = 100_000 * MICRO
FEE: Final = 0.0001
"""The commission rate `f` of decisions; fills use the exact 1 / 10,000."""

BUY_NUMERATOR: Final = 10_002
SELL_NUMERATOR: Final = 9_998
BASIS: Final = 10_000
BORROW_PER_MILLE: Final = 5
YEAR_DAYS: Final = 365
LEVERAGE: Final = 2.25
OWED: Final = 1.25
BAND: Final = 0.005
FOLLOW_UPS: Final = 3
EPSILON: Final = 1e-12


@dataclass(frozen=True)
class Bar:
    """One bar of one symbol; prices in nano, the volume in lots."""

    open: int
    close: int
    volume: int


@dataclass(frozen=True)
class Order:
    """One change of a position: `lots` above 0 buys, below 0 sells; `value` is that of one lot at the last close."""

    column: int
    lots: int
    value: float
    adding: bool


@dataclass
class Account:
    """The cash in micro, the lots and the last closes in nano (0 before the first bar), by column."""

    cash: int
    lots: list[int]
    closes: list[int]
    closed: list[date | None]
    units: list[int]

    def equity(self) -> int:
        """Return cash plus the sum of all positions, rounded once."""
        rows = zip(self.lots, self.closes, self.units, strict=True)
        total = sum(lots * close * (COIN_LOTS // unit) for lots, close, unit in rows)
        return self.cash + half_even(total, COIN_LOTS * (NANO // MICRO))

    def fill(self, order: Order, bar: Bar) -> None:
        """Fill an order at the open with costs, up to a tenth of the volume."""
        size = min(abs(order.lots), bar.volume // 10)
        buys = order.lots > 0
        numerator = BUY_NUMERATOR if buys else SELL_NUMERATOR
        price = -(-bar.open * numerator // BASIS) if buys else bar.open * numerator // BASIS
        scale = self.units[order.column] * (NANO // MICRO)
        amount = half_even(size * price, scale)
        self.cash -= (amount if buys else -amount) + half_even(size * price, scale * BASIS)
        self.lots[order.column] += size if buys else -size

    def pay_borrow(self, days: int) -> None:
        """Pay the fee of each short position for the days since the session before."""
        for lots, close, unit in zip(self.lots, self.closes, self.units, strict=True):
            if lots < 0:
                scale = unit * (NANO // MICRO) * 1_000 * YEAR_DAYS
                self.cash -= half_even(-lots * close * BORROW_PER_MILLE * days, scale)


def half_even(numerator: int, denominator: int) -> int:
    """Return the quotient rounded to an integer, ties to the even one; the denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    return quotient + (2 * remainder > denominator or (2 * remainder == denominator and quotient % 2 == 1))


def nano(price: float) -> int:
    """Return a price of the frame as its shortest decimal, in nano, half-even beyond nine digits."""
    return int((Decimal(str(price)) * NANO).to_integral_value(ROUND_HALF_EVEN))


def accepted(rows: Iterable[Sequence[Any]]) -> list[tuple[date, Bar, Decimal]]:
    """Return the bars of one symbol, in order of their dates, that pass the checks which the page states exactly.

    The jump of a price is not stated exactly and not checked. Rows are (date, open, high, low, close, volume); the
    bars "before" one are those that passed. The volume is returned in whole shares or coins.
    """
    kept: list[tuple[date, Bar, Decimal]] = []
    past: list[tuple[float, ...]] = []
    for day, *numbers in rows:
        if any(x is None or not math.isfinite(x) or x < 0 for x in numbers) or min(numbers[:4]) == 0:
            continue
        opened, high, low, close, volume = five = tuple(numbers)
        if high < max(opened, close) or low > min(opened, close) or (kept and kept[-1][0] == day):
            continue
        if len(past) >= 3 and all(five == before for before in past[-3:]):
            continue
        if len(past) >= 20 and volume > 100 * max(before[4] for before in past[-63:]):
            continue
        past.append(five)
        kept.append((day, Bar(nano(opened), nano(close), 0), Decimal(str(volume))))
    return kept


def load(bars: pl.DataFrame) -> tuple[list[date], list[int], dict[date, dict[int, Bar]]]:
    """Return the sessions, the lots of one unit by column, and the bars by date and column."""
    frame = bars.with_columns(pl.col("ts").cast(pl.Date)).sort("symbol", "ts", maintain_order=True)
    days: list[date] = frame["ts"].unique().sort().to_list()
    always = any(day.weekday() >= 5 for day in days)
    if always:
        days = [days[0] + timedelta(days=k) for k in range((days[-1] - days[0]).days + 1)]
    names = sorted(frame["symbol"].unique().to_list())
    units = [COIN_LOTS if always or name.endswith("-USD") else 1 for name in names]
    by_day: dict[date, dict[int, Bar]] = {day: {} for day in days}
    for column, name in enumerate(names):
        rows = frame.filter(pl.col("symbol") == name).select("ts", "open", "high", "low", "close", "volume")
        for day, bar, volume in accepted(rows.iter_rows()):
            by_day[day][column] = Bar(bar.open, bar.close, int(volume * units[column]))
    return days, units, by_day


def wanted(account: Account, weights: NDArray[np.float64], day: date) -> tuple[list[Order], bool]:
    """Return the orders from the positions towards the weights, before the rules of cash, and whether a rest waits."""
    if weights.shape != (len(account.lots),):
        raise ValueError(f"{day}: the answer has shape {weights.shape}, the frame {len(account.lots)} symbols")
    equity = account.equity() / MICRO
    total, most = float(weights.sum()), 1 / (1 + FEE)
    scaled = (most / total if total > most else 1.0) * equity * (1 + EPSILON)
    orders, small, waits = [], [], 0.0
    for column, weight in enumerate(weights):
        closed = account.closed[column]
        if closed is None:
            continue
        value = account.closes[column] / NANO / account.units[column]
        target = math.trunc(float(weight) * scaled / value)
        held = account.lots[column]
        if (day - closed).days > 1:
            missing = abs(target - held) * value
            waits += missing if missing >= BAND * equity else 0.0
            continue
        if held * target < 0:
            waits += abs(target) * value
            target = 0
        change = target - held
        if change != 0:
            is_small = target != 0 and abs(change) * value < BAND * equity
            (small if is_small else orders).append(Order(column, change, value, abs(target) > abs(held)))
    asked = orders + together(small, BAND * equity)
    orders = at_once(asked, account.cash / MICRO, equity)
    waits += worth(asked) - worth(orders)
    return orders, waits >= BAND * equity


def together(small: list[Order], band: float) -> list[Order]:
    """Return the small changes that are made because those of one kind exceed the others by the band."""
    excess = sum(abs(order.lots) * order.value * (1 if order.adding else -1) for order in small)
    made: list[Order] = []
    while abs(excess) >= band:
        left = [order for order in small if order.adding == (excess > 0) and order not in made]
        largest = max(left, key=lambda order: abs(order.lots) * order.value)
        made.append(largest)
        excess -= abs(largest.lots) * largest.value * (1 if excess > 0 else -1)
    return made


def at_once(orders: list[Order], cash: float, equity: float) -> list[Order]:
    """Return the changes with as much of the adding ones as cash may owe at once."""
    bought = worth(order for order in orders if order.adding and order.lots > 0)
    adds, reduces = (worth(order for order in orders if order.adding is adding) for adding in (True, False))
    if bought == 0:
        return orders
    room = cash + OWED * (equity - FEE * reduces)
    factor = room / (bought * (1 + FEE) + OWED * FEE * adds)
    if factor >= 1:
        return orders
    adding = shrunk([order for order in orders if order.adding], max(factor, 0.0))
    return [order for order in orders if not order.adding] + adding


def worth(orders: Iterable[Order]) -> float:
    """Return the value of orders at the last closes, without sign."""
    return sum(abs(order.lots) * order.value for order in orders)


def shrunk(orders: Iterable[Order], factor: float) -> list[Order]:
    """Return each order cut to the whole lots of the factor."""
    cut = []
    for order in orders:
        size = math.floor(abs(order.lots) * factor)
        cut.append(Order(order.column, size if order.lots > 0 else -size, order.value, order.adding))
    return cut


def affordable(orders: Sequence[Order], cash: float, equity: float) -> list[Order]:
    """Return the orders that the rules of cash let pass; cash and equity in the currency."""
    reducing = [order for order in orders if not order.adding]
    if equity <= 0:
        return reducing
    buys = [order for order in orders if order.adding and order.lots > 0]
    shorts = [order for order in orders if order.adding and order.lots < 0]
    covers = worth(order for order in reducing if order.lots > 0)
    sales = worth(order for order in reducing if order.lots < 0)
    slack = EPSILON * equity
    paid, raised, owing = 1 + FEE, 1 - FEE, 1 + LEVERAGE * FEE
    after = cash - covers * paid + sales * raised
    right = cash + OWED * equity - covers * owing
    bought, sold = worth(buys), worth(shorts)
    first_fails = bought * paid > after + sold * raised + slack
    second_fails = bought * owing > right + slack
    if (first_fails and after < -slack) or (second_fails and right < -slack):
        return reducing + shorts
    if first_fails or second_fails:
        factors = []
        if first_fails:
            factors.append((after + slack) / (bought * paid - sold * raised))
        if second_fails:
            factors.append((right + slack) / (bought * owing))
        buys, shorts = shrunk(buys, min(factors)), shrunk(shorts, min(factors))
        bought, room = worth(buys) * paid, after + worth(shorts) * raised + slack
        if bought > room:
            buys = shrunk(buys, room / bought)
    return reducing + buys + shorts


def equity_of(bars: pl.DataFrame, answers: Mapping[date, Answer]) -> tuple[list[date], list[int]]:
    """Return the sessions and the equity at each close, in micro-currency (integers).

    `bars` has ts, symbol, open, high, low, close, volume. `answers` are float64[N] by session, columns in order of the
    names; None, or no answer, sends no order.
    """
    days, units, by_day = load(bars)
    width = len(units)
    account = Account(START_CASH, [0] * width, [0] * width, [None] * width, units)
    curve: list[int] = []
    orders: list[Order] = []
    decided: Answer = None
    rest, used = False, 0
    for index, day in enumerate(days):
        present = by_day[day]
        for order in orders:
            if order.column in present:
                account.fill(order, present[order.column])
        for column, bar in present.items():
            account.closes[column], account.closed[column] = bar.close, day
        if index:
            account.pay_borrow((day - days[index - 1]).days)
        equity = account.equity()
        curve.append(equity)
        answer = answers.get(day)
        orders = []
        if answer is not None:
            decided, used = answer, 0
        elif rest and used < FOLLOW_UPS:
            used += 1
        else:
            rest = False
            continue
        assert decided is not None
        asked, rest = wanted(account, decided, day)
        orders = affordable(asked, account.cash / MICRO, equity / MICRO)
        # what sales of the same plan may pay follows too
        cut = sum(abs(order.lots) for order in orders) < sum(abs(order.lots) for order in asked)
        rest = rest or (cut and any(not order.adding for order in orders))
    return days, curve
