"""From the lots that pass to orders: crossing, worst prices, and the agents' parts of each order."""

from quantd.daemon.engine.batches.columns import Encoded, Sets
from quantd.daemon.engine.batches.digest_kernel import put_order
from quantd.daemon.engine.batches.layout import (
    A_CROSS_WORST,
    A_CROSSED,
    A_ENDS,
    A_GIVEN,
    A_NAMES,
    A_ORDERS,
    A_OWN,
    A_PAIRS,
    A_PART,
    A_PARTS,
    A_RANK,
    A_REASONS,
    A_SETS,
    A_SURVIVING,
    A_TOTAL,
    A_WANTED,
    A_WORST,
    AGENTS,
    CROSSES,
    F_HELD,
    F_PASSED,
    ORDERS,
    SENT,
    SENT_N,
    SENT_SAMPLE,
    SIZE,
    USED,
)  # fmt: skip
from quantd.risk.limits.collars import Collar, Collars
from quantd.trading.ledger.shares import cross_lots, share_lots
from quantd.trading.number_types import Bytes, Codes, Floats, Ints, ReadInts


def net_lots(ints: Ints) -> None:
    """Cross the wanted lots of the agents."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    wanted: int = ints[A_WANTED]
    surviving: int = ints[A_SURVIVING]
    total: int = ints[A_TOTAL]
    own: int = ints[A_OWN]
    weights: int = ints[A_GIVEN]
    parts: int = ints[A_PARTS]
    for k in range(n):
        for agent in range(agents):
            ints[own + agent] = ints[wanted + agent * n + k]
        ints[total + k] = cross_lots(
            ints[own : own + agents], ints[weights : weights + agents], ints[parts : parts + agents]
        )
        for agent in range(agents):
            ints[surviving + agent * n + k] = ints[parts + agent]


def worst_price(collars: Collars, k: int, lots: float, held: float, close_nano: int) -> int:
    """The limit price in nano of an order; -1 beyond 62 bits."""
    collar: Collar = collars.reducing if held * lots < 0.0 else collars.adding
    try:
        return collar.price(k, lots > 0.0, close_nano)
    except OverflowError:
        return -1


def set_at(ints: Ints, book: int) -> int:
    """The number of the limits of a book."""
    return ints[ints[A_SETS] + book]


def order_prices(ints: Ints, floats: Floats, close_nano: ReadInts, cells: int, sets: Sets) -> bool:
    """Write the worst prices of the house's lots, narrowed to those of each agent; False without a price."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    worst: int = ints[A_WORST]
    passed: int = ints[F_PASSED]
    held: int = ints[F_HELD]
    house: Collars = sets.collars[set_at(ints, 0)]
    for k in range(n):
        lots: float = floats[passed + k]
        ints[worst + k] = 0
        if lots != 0.0:
            ints[worst + k] = worst_price(house, k, lots, floats[held + k], close_nano[cells + k])
            if ints[worst + k] <= 0:
                return False
    for agent in range(agents):
        if ints[ints[A_PART] + agent] == 0:
            continue
        own: Collars = sets.collars[set_at(ints, agent + 1)]
        mine: int = ints[A_SURVIVING] + agent * n
        narrower: bool = not own.equals(house)
        if not narrower:
            for k in range(n):
                reduces: bool = floats[passed + k] * floats[held + k] < 0.0 and ints[mine + k] != 0
                narrower = narrower or (reduces and ints[mine + k] * floats[held + (agent + 1) * n + k] >= 0.0)
        if not narrower:
            continue
        for k in range(n):
            lots = float(ints[mine + k])
            if lots == 0.0 or ints[worst + k] == 0:
                continue
            price: int = worst_price(own, k, lots, floats[held + (agent + 1) * n + k], close_nano[cells + k])
            if price <= 0:
                return False
            if price < ints[worst + k] if lots > 0.0 else price > ints[worst + k]:
                ints[worst + k] = price
    return True


def cross_prices(ints: Ints, reason: Codes, floats: Floats, close_nano: ReadInts, cells: int, sets: Sets) -> bool:
    """Record the lots that cross at the next open, except in symbols that the house refused; False without a price."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    crossed: int = ints[A_CROSSED]
    worst: int = ints[A_CROSS_WORST]
    collars: Collars = sets.collars[set_at(ints, 0)]
    narrowest: Collar = collars.adding
    for agent in range(agents):
        if ints[ints[A_PART] + agent] > 0:
            collars = sets.collars[set_at(ints, agent + 1)]
            if collars.adding.narrower(narrowest):
                narrowest = collars.adding
    found: int = 0
    for k in range(n):
        any_lots: bool = False
        for agent in range(agents):
            lots: int = ints[ints[A_WANTED] + agent * n + k] - ints[ints[A_SURVIVING] + agent * n + k]
            ints[crossed + agent * n + k] = lots
            any_lots = any_lots or lots != 0
        if not any_lots:
            continue
        if reason[k] != 0 and floats[ints[F_PASSED] + k] == 0.0:
            for agent in range(agents):
                ints[crossed + agent * n + k] = 0
            continue
        try:
            ints[worst + k] = narrowest.price(k, True, close_nano[cells + k])
            ints[worst + n + k] = narrowest.price(k, False, close_nano[cells + k])
        except OverflowError:
            return False
        if ints[worst + k] <= 0 or ints[worst + n + k] <= 0:
            return False
        found += 1
    ints[CROSSES] = found
    return True


def part_of(ints: Ints, k: int, size: int, pairs: int) -> int:
    """Write the agents' parts of an order of `size` lots; returns the place behind them."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    surviving: int = ints[A_SURVIVING] + k
    weights: int = ints[A_GIVEN]
    parts: int = ints[A_PARTS]
    for agent in range(agents):
        own: int = ints[surviving + agent * n]
        ints[weights + agent] = own if own > 0 else -own
    share_lots(size, ints[weights : weights + agents], ints[parts : parts + agents])
    for agent in range(agents):
        if ints[parts + agent] > 0:
            ints[pairs], ints[pairs + 1] = agent, ints[parts + agent]
            pairs += 2
    return pairs


def send_orders(ints: Ints, floats: Floats, reason: Codes) -> None:
    """Record the orders of the house's lots with the agents' parts."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    passed: int = ints[F_PASSED]
    rows: int = 0
    orders: int = ints[A_ORDERS]
    pairs: int = ints[A_PAIRS]
    worst: int = ints[A_WORST]
    ends: int = ints[A_ENDS]
    for k in range(n):
        if floats[passed + k] != 0.0:
            rows += 1
    at: int = pairs + n
    row: int = 0
    for k in range(n):
        lots: int = int(floats[passed + k])
        if lots == 0:
            continue
        ints[orders + row], ints[orders + rows + row], ints[orders + 2 * rows + row] = k, lots, ints[worst + k]
        ints[orders + 3 * rows + row] = ints[ends + k]
        ints[ints[A_REASONS] + row] = reason[k]
        if agents > 1:
            after: int = part_of(ints, k, abs(lots), at)
            ints[pairs + row] = (after - at) // 2
            at = after
        row += 1
    ints[ORDERS], ints[SENT] = rows, ints[SENT] + rows


def put_orders(ints: Ints, ts: int, encoded: Encoded) -> None:
    """Write the rows of the digest of the working orders."""
    n: int = ints[SIZE]
    rows: int = ints[ORDERS]
    orders: int = ints[A_ORDERS]
    rank: int = ints[A_RANK]
    row_of: int = ints[A_WORST] + n
    name: int = ints[A_NAMES]
    used: int = ints[USED]
    buffer: Bytes = encoded.buffer
    names: Bytes = encoded.names
    for k in range(n):
        ints[row_of + k] = -1
    for row in range(rows):
        ints[row_of + ints[orders + row]] = row
    for k in range(n):
        column: int = ints[rank + k]
        row = ints[row_of + column]
        if row >= 0:
            used = put_order(
                buffer, used, names, ints[name + column], ints[name + column + 1], 2, ts,
                ints[SENT_SAMPLE], ints[SENT_N], ints[orders + rows + row], ints[orders + 2 * rows + row],
                0,
            )  # fmt: skip
    ints[USED] = used
