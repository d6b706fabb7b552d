"""From the lots that pass to orders: crossing, worst prices, and the agents' parts of each order."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.digest_kernel import put_order
from quantd.daemon.engine.batches.ledger_kernel import collar_price, cross_lots, share_lots
from quantd.trading.jit import inner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.int8]

LARGEST: Final = 4e18
"""A product whose estimate in float64 is below this fits 63 bits."""


@inner
def net_lots(ints: Ints) -> None:
    """Cross the wanted lots of the agents."""
    n, agents = ints[place.SIZE], ints[place.AGENTS]
    wanted, surviving, total = ints[place.A_WANTED], ints[place.A_SURVIVING], ints[place.A_TOTAL]
    own, weights, parts = ints[place.A_OWN], ints[place.A_GIVEN], ints[place.A_PARTS]
    for k in range(n):
        for agent in range(agents):
            ints[own + agent] = ints[wanted + agent * n + k]
        ints[total + k] = cross_lots(
            ints[own : own + agents], ints[weights : weights + agents], ints[parts : parts + agents]
        )
        for agent in range(agents):
            ints[surviving + agent * n + k] = ints[parts + agent]


@inner
def worst_price(ints: Ints, collars: int, k: int, lots: float, held: float, close_nano: int) -> int:
    """The limit price in nano of an order; -1 beyond 62 bits."""
    n = ints[place.SIZE]
    at = collars + (3 * n if held * lots < 0.0 else 0)
    up, down, one, tick = ints[at + k], ints[at + n + k], ints[at + 2 * n + k], ints[ints[place.A_TICKS] + k]
    if float(close_nano) * float(up) * float(tick) >= LARGEST * float(one):
        return -1
    return collar_price(lots > 0.0, close_nano, up, down, one, tick)


@inner
def set_at(ints: Ints, book: int) -> int:
    """The number of the limits of a book."""
    return ints[ints[place.A_SETS] + book]


@inner
def order_prices(ints: Ints, floats: Floats, close_nano: Ints, cells: int) -> bool:
    """Write the worst prices of the house's lots, narrowed to those of each agent; False without a price."""
    n, agents, worst, collars = ints[place.SIZE], ints[place.AGENTS], ints[place.A_WORST], ints[place.A_COLLARS]
    passed, held, house = ints[place.F_PASSED], ints[place.F_HELD], set_at(ints, 0)
    for k in range(n):
        lots = floats[passed + k]
        ints[worst + k] = 0
        if lots != 0.0:
            ints[worst + k] = worst_price(
                ints, collars + house * 6 * n, k, lots, floats[held + k], close_nano[cells + k]
            )
            if ints[worst + k] <= 0:
                return False
    for agent in range(agents):
        if ints[ints[place.A_PART] + agent] == 0:
            continue
        own, mine = set_at(ints, agent + 1), ints[place.A_SURVIVING] + agent * n
        same = True
        for k in range(6 * n):
            if ints[collars + own * 6 * n + k] != ints[collars + house * 6 * n + k]:
                same = False
                break
        narrower = not same
        if same:
            for k in range(n):
                reduces = floats[passed + k] * floats[held + k] < 0.0 and ints[mine + k] != 0
                narrower = narrower or (reduces and ints[mine + k] * floats[held + (agent + 1) * n + k] >= 0.0)
        if not narrower:
            continue
        for k in range(n):
            lots = float(ints[mine + k])
            if lots == 0.0 or ints[worst + k] == 0:
                continue
            price = worst_price(
                ints, collars + own * 6 * n, k, lots, floats[held + (agent + 1) * n + k], close_nano[cells + k]
            )
            if price <= 0:
                return False
            if price < ints[worst + k] if lots > 0.0 else price > ints[worst + k]:
                ints[worst + k] = price
    return True


@inner
def cross_prices(ints: Ints, reason: Codes, floats: Floats, close_nano: Ints, cells: int) -> bool:
    """Record the lots that cross at the next open, except in symbols that the house refused; False without a price."""
    n, agents, crossed = ints[place.SIZE], ints[place.AGENTS], ints[place.A_CROSSED]
    worst, collars = ints[place.A_CROSS_WORST], ints[place.A_COLLARS]
    narrowest = -1
    for agent in range(-1, agents):
        if agent >= 0 and ints[ints[place.A_PART] + agent] == 0:
            continue
        own = set_at(ints, agent + 1)
        if narrowest < 0 or wider(ints, narrowest, own):
            narrowest = own
    found = 0
    for k in range(n):
        any_lots = False
        for agent in range(agents):
            lots = ints[ints[place.A_WANTED] + agent * n + k] - ints[ints[place.A_SURVIVING] + agent * n + k]
            ints[crossed + agent * n + k] = lots
            any_lots = any_lots or lots != 0
        if not any_lots:
            continue
        if reason[k] != 0 and floats[ints[place.F_PASSED] + k] == 0.0:
            for agent in range(agents):
                ints[crossed + agent * n + k] = 0
            continue
        at = collars + narrowest * 6 * n
        ints[worst + k] = worst_price(ints, at, k, 1.0, 0.0, close_nano[cells + k])
        ints[worst + n + k] = worst_price(ints, at, k, -1.0, 0.0, close_nano[cells + k])
        if ints[worst + k] <= 0 or ints[worst + n + k] <= 0:
            return False
        found += 1
    ints[place.CROSSES] = found
    return True


@inner
def wider(ints: Ints, one: int, other: int) -> bool:
    """Whether the collar of adding orders of one set of limits is wider than that of another."""
    n, collars = ints[place.SIZE], ints[place.A_COLLARS]
    a, b = collars + one * 6 * n, collars + other * 6 * n
    return ints[a] * float(ints[b + 2 * n]) > ints[b] * float(ints[a + 2 * n])


@inner
def part_of(ints: Ints, k: int, size: int, pairs: int) -> int:
    """Write the agents' parts of an order of `size` lots; returns the place behind them."""
    n, agents, surviving = ints[place.SIZE], ints[place.AGENTS], ints[place.A_SURVIVING] + k
    weights, parts = ints[place.A_GIVEN], ints[place.A_PARTS]
    for agent in range(agents):
        ints[weights + agent] = abs(ints[surviving + agent * n])
    share_lots(size, ints[weights : weights + agents], ints[parts : parts + agents])
    for agent in range(agents):
        if ints[parts + agent] > 0:
            ints[pairs], ints[pairs + 1] = agent, ints[parts + agent]
            pairs += 2
    return pairs


@inner
def send_orders(ints: Ints, floats: Floats, reason: Codes) -> None:
    """Record the orders of the house's lots with the agents' parts."""
    n, agents, passed, rows = ints[place.SIZE], ints[place.AGENTS], ints[place.F_PASSED], 0
    orders, pairs, worst, ends = (
        ints[place.A_ORDERS], ints[place.A_PAIRS], ints[place.A_WORST], ints[place.A_ENDS]
    )  # fmt: skip
    for k in range(n):
        if floats[passed + k] != 0.0:
            rows += 1
    at, row = pairs + n, 0
    for k in range(n):
        lots = int(floats[passed + k])
        if lots == 0:
            continue
        ints[orders + row], ints[orders + rows + row], ints[orders + 2 * rows + row] = k, lots, ints[worst + k]
        ints[orders + 3 * rows + row] = ints[ends + k]
        ints[ints[place.A_REASONS] + row] = reason[k]
        if agents > 1:
            after = part_of(ints, k, abs(lots), at)
            ints[pairs + row] = (after - at) // 2
            at = after
        row += 1
    ints[place.ORDERS] = ints[place.SENT] = rows


@inner
def put_orders(ints: Ints, ts: int, encoded: place.Encoded) -> None:
    """Write the rows of the digest of the working orders."""
    n, rows, orders = ints[place.SIZE], ints[place.ORDERS], ints[place.A_ORDERS]
    rank, row_of, name, used = ints[place.A_RANK], ints[place.A_WORST] + n, ints[place.A_NAMES], ints[place.USED]
    buffer, names = encoded.buffer, encoded.names
    for k in range(n):
        ints[row_of + k] = -1
    for row in range(rows):
        ints[row_of + ints[orders + row]] = row
    for k in range(n):
        column = ints[rank + k]
        row = ints[row_of + column]
        if row >= 0:
            used = put_order(
                buffer, used, names, ints[name + column], ints[name + column + 1], 2, ts,
                ints[place.SENT_SAMPLE], ints[place.SENT_N], ints[orders + rows + row], ints[orders + 2 * rows + row],
                0,
            )  # fmt: skip
    ints[place.USED] = used
