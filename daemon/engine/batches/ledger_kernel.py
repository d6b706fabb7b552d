"""The accounts as an array, and the kernels of batches that post fills to them, value and share them.

All accounts are one int64 array: the house, the agents' books in order, the unallocated book. An account of N columns
has the cells of a snapshot: signed lots by column, their cost, then cash, commissions, flows, income, realised profit,
the residue in whole micro, and its remainder in atto.
"""

from typing import Final

from quantd.trading.execution import ANY_BUY, ANY_SALE, MOST
from quantd.trading.instruments import ATTO_PER_MICRO
from quantd.trading.integers import portion, ratio
from quantd.trading.number_types import Ints, ReadInts

CASH: Final = 0

FEES: Final = 1

REALISED: Final = 4

RESIDUE: Final = 5

SINGLE: Final = 7
"""Places of amounts after the two columns, and their number."""

_LARGEST: Final = float(MOST)


def trade(accounts: Ints, start: int, size: int, column: int, change: int, amount: int) -> None:
    """Book a trade (signed lots, cash change in micro) of the account that begins at `start`, of `size` columns.

    A reduction removes its part of the average cost, floored to a micro, and realises the difference. A trade through
    zero closes with its part of the amount, floored, and opens with the remainder.
    """
    at: int = start + column
    held: int = accounts[at]
    after: int = held + change
    cost: int = accounts[at + size]
    realised: int = 0
    if held == 0 or change == 0 or (held > 0) == (change > 0):
        cost -= amount
    elif after != 0 and (after > 0) == (held > 0):
        part: int = portion(cost, change, held)
        cost += part
        realised = amount + part
    else:
        closing: int = portion(amount, held, -change)
        realised = closing - cost
        cost = closing - amount
    accounts[at], accounts[at + size] = after, cost
    accounts[start + 2 * size + CASH] += amount
    accounts[start + 2 * size + REALISED] += realised


def pay(account: Ints, amounts: int, fee_micro: int) -> None:
    """Book a commission; `amounts` is the place of the account's first amount."""
    account[amounts + CASH] -= fee_micro
    account[amounts + FEES] += fee_micro


def post(
    accounts: Ints,
    units: Ints,
    fills: Ints,
    rows: int,
    only: int,
    scratch: Ints,
    room: float,
) -> float:
    """Post fills to the house and to the books. Returns the turnover, an upper bound of what any amount grew by; -1.0,
    without any change, where that is not below `room`.

    `units` are the numerators, then the denominators of lots x price_nano in micro, by column. `fills` are columns of
    `rows` integers: the symbols' columns, signed lots, prices, fees. All rows belong to the book `only`, or, where it
    is -1, a column of numbers of pairs follows, then each row's pairs (book, signed lots). An amount is rounded
    half-even to a micro for the house. Each part is rounded to the nearest micro, and the row's last takes the
    remainder. A fee is shared in proportion, rounded down; the row's last book takes the remainder. `scratch` has twice
    the cells of `fills`.
    """
    size: int = len(units) // 2
    pairs: int = 5 * rows
    turnover: float = 0.0
    residue: int = 0
    fees: int = 0
    at: int = 0
    for k in range(rows):
        column: int = fills[k]
        change: int = fills[rows + k]
        price: int = fills[2 * rows + k]
        fee: int = fills[3 * rows + k]
        numerator: int = units[column]
        denominator: int = units[size + column]
        paid: bool = (change > 0) == (price > 0)
        amount: int
        rest: int
        amount, rest = ratio(abs(change), abs(price), numerator, denominator)
        if rest:
            if 2 * rest > denominator or (2 * rest == denominator and amount & 1):
                amount += 1
                rest -= denominator
            rest *= ATTO_PER_MICRO // denominator
            residue += -rest if paid else rest
        turnover += amount + abs(float(change)) + abs(float(fee))
        if turnover >= room:
            return -1.0
        fees += fee
        left: int
        left = scratch[k] = -amount if paid else amount
        if only >= 0:
            continue
        whole_fee: int = fee
        half: int = denominator // 2
        last: int = at + 2 * fills[4 * rows + k] - 2
        while at <= last:
            part: int = fills[pairs + at + 1]
            own: int = left
            charged: int = fee
            if at < last:
                own, rest = ratio(abs(part), abs(price), numerator, denominator)
                if (part > 0) == (price > 0):
                    own = -own - (1 if rest > half else 0)
                elif half + rest >= denominator:
                    own += 1
                charged = portion(whole_fee, part, change) if whole_fee else 0
            turnover += abs(float(own)) + abs(float(charged)) + abs(float(part))
            if turnover >= room:
                return -1.0
            left -= own
            fee -= charged
            scratch[rows + 2 * at], scratch[rows + 2 * at + 1] = column, part
            scratch[rows + 2 * at + 2], scratch[rows + 2 * at + 3] = own, charged
            at += 2
    width: int = 2 * size + SINGLE
    amounts: int = 2 * size
    if residue:
        residue += accounts[amounts + RESIDUE + 1]
        accounts[amounts + RESIDUE] += residue // ATTO_PER_MICRO
        accounts[amounts + RESIDUE + 1] = residue % ATTO_PER_MICRO
    if only >= 0:
        start: int = (only + 1) * width
        for k in range(rows):
            trade(accounts, start, size, fills[k], fills[rows + k], scratch[k])
        pay(accounts, start + amounts, fees)
    for k in range(rows):
        trade(accounts, 0, size, fills[k], fills[rows + k], scratch[k])
    pay(accounts, amounts, fees)
    for k in range(0, at, 2):
        start, own = (fills[pairs + k] + 1) * width, rows + 2 * k
        trade(accounts, start, size, scratch[own], scratch[own + 1], scratch[own + 2])
        pay(accounts, start + amounts, scratch[own + 3])
    return turnover


def equity(accounts: Ints, units: Ints, price_nano: ReadInts, out: Ints) -> bool:
    """Write the equity of every account in micro, at marks in nano by column: cash plus exact value, rounded half-even.
    The last book takes the remainder, so that the books add up to the house. The residue is not counted.

    False, with any `out`, where an amount, or the value of an account's positions without sign, is beyond MOST.
    """
    size: int = len(units) // 2
    width: int = 2 * size + SINGLE
    left: int = 0
    for k in range(len(out) - 1):
        start: int = k * width
        micro: int = 0
        atto: int = 0
        gross: float = 0.0
        for column in range(size):
            lots: int = accounts[start + column]
            if lots == 0:
                continue
            price: int = price_nano[column]
            denominator: int = units[size + column]
            value: int
            rest: int
            try:
                value, rest = ratio(abs(lots), abs(price), units[column], denominator)
            except OverflowError:
                return False
            gross += value
            if gross >= _LARGEST:
                return False
            rest *= ATTO_PER_MICRO // denominator
            if (lots > 0) == (price > 0):
                micro += value
                atto += rest
            else:
                micro -= value
                atto -= rest
        micro += accounts[start + 2 * size + CASH] + atto // ATTO_PER_MICRO
        atto = 2 * (atto % ATTO_PER_MICRO)
        if atto > ATTO_PER_MICRO or (atto == ATTO_PER_MICRO and micro & 1):
            micro += 1
        if abs(float(micro)) >= _LARGEST or abs(float(left) - float(micro)) >= _LARGEST:
            return False
        out[k] = micro
        left = micro if k == 0 else left - micro
    out[len(out) - 1] = left
    return True


def share_lots(lots: int, weights: Ints, parts: Ints) -> None:
    """Split unsigned `lots` in proportion to unsigned `weights`, which do not add up to 0; writes `parts`.

    Leftover lots go to the largest fractions, ties in order. The fractions replace the weights.
    """
    whole: int = 0
    over: int = lots
    weight: int
    for weight in weights:
        whole += weight
    for k in range(len(weights)):
        parts[k], weights[k] = ratio(lots, weights[k], 1, whole)
        over -= parts[k]
    for _ in range(over):
        first: int = 0
        for k in range(1, len(weights)):
            if weights[k] > weights[first]:
                first = k
        parts[first] += 1
        weights[first] = -1


def cross_lots(wanted: Ints, weights: Ints, surviving: Ints) -> int:
    """Cross the lots that agents want in one symbol; writes those that survive, and returns their sum.

    Survivors are all on one side. They share the net lots in proportion to the wanted lots of that side. `weights` is
    scratch.
    """
    bought: int = 0
    sold: int = 0
    for k in range(len(wanted)):
        surviving[k] = wanted[k]
        if wanted[k] > 0:
            bought += wanted[k]
        else:
            sold -= wanted[k]
    if bought > 0 and sold > 0:
        side: int = 1 if bought >= sold else -1
        for k in range(len(wanted)):
            weights[k] = max(side * wanted[k], 0)
        net: int = side * (bought - sold)
        share_lots(net, weights, surviving)
        for k in range(len(wanted)):
            surviving[k] = surviving[k] * side
    return bought - sold


def collar_price(buys: bool, mark: int, up: int, down: int, one: int, tick: int) -> int:
    """The limit price of a marketable order, nano-currency: `mark` x `up` / `one` ticks rounded down for a purchase,
    x `down` / `one` rounded up for a sale. `down` is 0 without a collar: then any price does."""
    if down == 0:
        return ANY_BUY if buys else ANY_SALE
    ticks: int
    rest: int
    ticks, rest = ratio(mark, up if buys else down, 1, one)
    if rest > 0 and not buys:
        ticks += 1
    return ticks * tick
