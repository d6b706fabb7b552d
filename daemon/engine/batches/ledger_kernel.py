"""Lots of agents: crossed and shared, and the limit price of an order."""

from quantd.trading.execution import ANY_BUY, ANY_SALE
from quantd.trading.integers import ratio
from quantd.trading.number_types import Ints


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
