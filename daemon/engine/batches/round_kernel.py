"""The plan of a round: weights to lots, the limits of each agent, crossing, the limits of the house, and orders.

A plan is made whole or not at all. Where anything happens that the kernel does not know, `plan` makes it.
"""

from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.digest_kernel import put_order
from quantd.daemon.engine.batches.rows_kernel import TIMES, book_holds
from quantd.daemon.engine.planning.kernel import STACK, change_of
from quantd.risk.pretrade.kernel import ASKED, BASE, DONE, DOWN, HEAD, LOTS, M_KNOWN, M_ROWS, M_TAILS_AT, TAIL, UP, judge
from quantd.trading.execution import ratio
from quantd.trading.jit import inner
from quantd.trading.kernel import CASH, SINGLE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.int8]

LARGEST: Final = 4e18


@inner
def deviations(
    ints: Ints, floats: Floats, start: int, rows: int, returns: Floats, first: int, mean: bool
) -> None:
    """Write the sample deviation of the newest returns of each symbol, and with `mean` the size of their mean."""
    n, sums = ints[place.SIZE], ints[place.F_SUMS]
    for k in range(2 * n):
        floats[sums + k] = 0.0
    for row in range(rows):
        at = (first + row) * n
        for k in range(n):
            value = returns[at + k]
            floats[sums + k] += value
            floats[sums + n + k] += value * value
    for k in range(n):
        total = floats[sums + k]
        squares = floats[sums + n + k] - total * total / rows
        squares = squares if squares > 0.0 else 0.0
        floats[start + k] = sqrt(squares / (rows - 1 if rows > 1 else 1))
        if mean:
            floats[start + n + k] = abs(total) * ((1.0 + 1e-9) / rows)


@inner
def renew_table(ints: Ints, floats: Floats, number: int, px: int, returns: Floats) -> None:
    """Bring the table of a set of limits to the newest row."""
    n, end, count = ints[place.SIZE], ints[place.END], ints[place.COUNT] - 1
    own = ints[place.A_SETS] + ints[place.AGENTS] + 1 + number * place.SET
    table, statistics = ints[own + 4], ints[own + 8]
    for k in range(n):
        floats[table + HEAD + k] = floats[px + k]
    floats[table + M_ROWS], floats[table + M_KNOWN] = 1.0, 1.0
    for each in range(ints[own + 9]):
        at = statistics + each * place.STATISTIC
        lookback = ints[at + 2]
        rows = lookback if count > lookback else count
        if rows < ints[at + 4]:
            floats[table + M_ROWS] = -1.0
            return
        if ints[at] == place.TAIL_OF:
            entry = table + int(floats[table + M_TAILS_AT]) + ints[at + 1] * TAIL
            m = ints[ints[place.A_STATISTICS] + ints[at + 3] + rows]
            floats[entry + 2], floats[entry + 3], floats[entry + 4] = float(end - rows), float(rows), float(m)
            floats[entry + 5] = sqrt((rows - m) / m) + 0.5
        else:
            mean = ints[at] == place.DEVIATION_AND_MEAN
            deviations(ints, floats, table + ints[at + 1], rows, returns, end - rows, mean)


@inner
def pass_gate(
    ints: Ints,
    floats: Floats,
    accounts: Ints,
    book: int,
    equity: float,
    asked: int,
    out: int,
    columns: Floats,
    fixed: Floats,
    matrices: Floats,
    rows: Floats,
    reason: Codes,
) -> bool:
    """Write what the limits of a book let pass of the lots at `asked`; False where the gate needs more arrays."""
    n = ints[place.SIZE]
    sets = ints[place.A_SETS]
    own = sets + ints[place.AGENTS] + 1 + ints[sets + book] * place.SET
    codes, numbers, table, work = ints[own], ints[own + 2], ints[own + 4], ints[place.F_WORK]
    held, length = ints[place.F_HELD] + book * n, ints[own + 6]
    for k in range(n):
        floats[work + BASE + ASKED * n + k] = floats[asked + k]
        floats[work + BASE + LOTS * n + k] = floats[held + k]
        floats[work + BASE + UP * n + k] = floats[work + BASE + DOWN * n + k] = 0.0
        reason[k] = 0
    rooms = ints[own + 7]
    for k in range(length - rooms):
        floats[work + rooms + k] = floats[table - 1 - k]
    cash = accounts[book * (2 * n + SINGLE) + 2 * n + CASH]
    return (
        judge(
            floats[work : work + length], floats[table : table + ints[own + 5]],
            floats[numbers : numbers + ints[own + 3]], ints[codes : codes + ints[own + 1]], columns, fixed, matrices,
            floats[work : work + 1], rows, floats[out : out + n], reason, 1, cash / 1e6, equity, 0.0, 0.0, 1, 0.0, 0.0,
        )
        == DONE
    )  # fmt: skip


@inner
def net_lots(ints: Ints) -> bool:
    """Cross the wanted lots of the agents in the plan; False where a product is beyond 64 bits.

    `quantd.trading.books.net` defines the result.
    """
    n, agents = ints[place.SIZE], ints[place.AGENTS]
    wanted, surviving, total = ints[place.A_WANTED], ints[place.A_SURVIVING], ints[place.A_TOTAL]
    for k in range(n):
        bought = sold = 0
        for agent in range(agents):
            lots = ints[wanted + agent * n + k]
            if lots > 0:
                bought += lots
            else:
                sold -= lots
            ints[surviving + agent * n + k] = lots
        ints[total + k] = bought - sold
        if bought == 0 or sold == 0:
            continue
        buys = bought >= sold
        whole, left = (bought, bought - sold) if buys else (sold, sold - bought)
        if float(whole) * float(left) >= LARGEST:
            return False
        over = left
        for agent in range(agents):
            lots = ints[wanted + agent * n + k]
            side = lots if buys else -lots
            part = side * left // whole if side > 0 else 0
            ints[surviving + agent * n + k] = part
            over -= part
        spread(ints, wanted, surviving, k, buys, left, whole, over)
        if not buys:
            for agent in range(agents):
                ints[surviving + agent * n + k] = -ints[surviving + agent * n + k]
    return True


@inner
def spread(ints: Ints, wanted: int, surviving: int, k: int, buys: bool, left: int, whole: int, over: int) -> None:
    """Give `over` lots to the agents in the plan with the largest remainders of side x left / whole; ties to the
    first."""
    n, agents, part = ints[place.SIZE], ints[place.AGENTS], ints[place.A_PART]
    given = ints[place.A_GIVEN]
    for agent in range(agents):
        ints[given + agent] = 0
    while over > 0:
        best, most = -1, -1
        for agent in range(agents):
            if ints[given + agent] > 0 or ints[part + agent] == 0:
                continue
            lots = ints[wanted + agent * n + k]
            side = lots if buys else -lots
            rest = side * left % whole if side > 0 else 0
            if rest > most:
                best, most = agent, rest
        if best < 0:
            return
        ints[given + best] = 1
        ints[surviving + best * n + k] += 1
        over -= 1


@inner
def worst_price(ints: Ints, collars: int, k: int, lots: float, held: float, close_nano: int) -> int:
    """The limit price in nano of an order, as `quantd.risk.pretrade.baskets.worst_nano` defines it; -1 beyond 62
    bits."""
    n = ints[place.SIZE]
    at = collars + (3 * n if held * lots < 0.0 else 0)
    up, down, one = ints[at + k], ints[at + n + k], ints[at + 2 * n + k]
    if lots > 0.0:
        ticks, rest = ratio(close_nano, up, 1, one)
    else:
        ticks, rest = ratio(close_nano, down, 1, one)
        ticks += 1 if rest else 0
    tick = ints[ints[place.A_TICKS] + k]
    return ticks * tick if float(ticks) * float(tick) < LARGEST else -1


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
                lots = floats[passed + k]
                if lots * floats[held + k] < 0.0 and ints[mine + k] != 0:
                    if ints[mine + k] * floats[held + (agent + 1) * n + k] >= 0.0:
                        narrower = True
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
    """Write the agents' parts of an order of `size` lots; returns the place behind them, -1 beyond 64 bits.

    `quantd.trading.books.share` defines the result.
    """
    n, agents, surviving = ints[place.SIZE], ints[place.AGENTS], ints[place.A_SURVIVING] + k
    parts, given, whole, over = ints[place.A_PARTS], ints[place.A_GIVEN], 0, size
    for agent in range(agents):
        whole += abs(ints[surviving + agent * n])
    if float(whole) * float(size) >= LARGEST:
        return -1
    for agent in range(agents):
        own = abs(ints[surviving + agent * n])
        ints[parts + agent] = own if whole == size else own * size // whole
        ints[given + agent] = 0
        over -= ints[parts + agent]
    while over > 0:
        best, most = -1, -1
        for agent in range(agents):
            own = abs(ints[surviving + agent * n])
            if own > 0 and ints[given + agent] == 0 and own * size % whole > most:
                best, most = agent, own * size % whole
        if best < 0:
            return -1
        ints[given + best] = 1
        ints[parts + best] += 1
        over -= 1
    for agent in range(agents):
        if ints[parts + agent] > 0:
            ints[pairs], ints[pairs + 1] = agent, ints[parts + agent]
            pairs += 2
    return pairs


@inner
def send_orders(ints: Ints, floats: Floats, reason: Codes) -> bool:
    """Record the orders of the house's lots with the agents' parts; False where a product is beyond 64 bits."""
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
            if after < 0:
                return False
            ints[pairs + row] = (after - at) // 2
            at = after
        row += 1
    ints[place.ORDERS] = ints[place.SENT] = rows
    return True


@inner
def put_orders(ints: Ints, ts: int, buffer: Any, names: Any) -> None:
    """Write the rows of the digest of the working orders."""
    n, rows, orders = ints[place.SIZE], ints[place.ORDERS], ints[place.A_ORDERS]
    rank, row_of, name, used = ints[place.A_RANK], ints[place.A_WORST] + n, ints[place.A_NAMES], ints[place.USED]
    for k in range(n):
        ints[row_of + k] = -1
    for row in range(rows):
        ints[row_of + ints[orders + row]] = row
    for k in range(n):
        column = ints[rank + k]
        row = ints[row_of + column]
        if row >= 0:
            used = put_order(
                buffer, used, names, ints[name + column], ints[name + column + 1], 2, ts, ints[place.SENT_SAMPLE],
                ints[place.SENT_N], ints[orders + rows + row], ints[orders + 2 * rows + row], 0,
            )  # fmt: skip
    ints[place.USED] = used


@inner
def count_cuts(ints: Ints, requested: Floats, passed: Floats) -> None:
    """Count the rows that limits rejected or cut."""
    for k in range(len(passed)):
        if requested[k] != passed[k]:
            if passed[k] == 0.0:
                ints[place.REFUSED] += 1
            else:
                ints[place.CLIPPED] += 1


@inner
def level_holds(
    ints: Ints, floats: Floats, book: int, lots: int, equity: float, cells: int, close: Floats, columns: Floats,
    losses: Floats,
) -> bool:
    """Whether no level of a book rises when the lots at `lots` fill at the closes."""  # fmt: skip
    n, held, sums = ints[place.SIZE], ints[place.F_HELD] + book * ints[place.SIZE], ints[place.F_SUMS]
    traded = 0.0
    for k in range(n):
        change = floats[lots + k]
        floats[sums + k] = floats[held + k] + change
        traded += abs(change) * floats[ints[place.F_PX] + k]
    left = equity - traded * floats[ints[place.F_FEES] + book]
    if not left > 0.0:
        return True
    return book_holds(
        ints, floats, book, close, cells, left, ints[place.COUNT] - 1, ints[place.END], columns, losses, True
    )


@inner
def follows(ints: Ints, floats: Floats, agent: int, first: Codes, house: Codes, freed: Codes) -> int:
    """1 where a decision was cut for lack of the proceeds of its own sales, or of others'."""
    n, change, passes = ints[place.SIZE], ints[place.F_CHANGE], ints[place.F_PASSES]
    held, sales = ints[place.F_HELD] + (agent + 1) * n, False
    change, passes = change + agent * n, passes + agent * n
    for k in range(n):
        if floats[change + k] * floats[held + k] < 0.0:
            sales = True
    if not sales:
        return 0
    passed, total = ints[place.F_PASSED], ints[place.A_TOTAL]
    for k in range(n):
        if freed[first[agent * n + k]] > 0 and floats[passes + k] != floats[change + k]:
            return 1
        cut = freed[house[k]] > 0 and floats[passed + k] != float(ints[total + k])
        if cut and ints[ints[place.A_SURVIVING] + agent * n + k] != 0:
            return 1
    return 0


@inner
def change_agent(ints: Ints, floats: Floats, agent: int, ts: int, age: int, micro: int) -> int:
    """Write the lots that an agent requests: 1 where it requests any, 0 for none, -1 where `plan` must decide."""
    n, terms, target = ints[place.SIZE], ints[place.F_AGENTS] + 5 * agent, ints[place.F_TARGET]
    most_age = int(floats[terms + 3])
    if age > most_age:
        return -1
    equity = float(micro) / 1e6
    floats[target], floats[target + 1], floats[target + 2] = equity, floats[terms], floats[terms + 1]
    floats[target + 3], floats[target + 4] = floats[terms + 2] * equity, 0.0
    answers, held, change = (
        ints[place.F_ANSWERS] + agent * n, ints[place.F_HELD] + (agent + 1) * n, ints[place.F_CHANGE] + agent * n
    )  # fmt: skip
    for k in range(n):
        if not floats[answers + k] - floats[answers + k] == 0.0:
            return -1
    px, zero, stack = ints[place.F_PX], ints[place.A_ZERO], ints[place.F_STACK]
    change_of(
        floats[answers : answers + n], floats[held : held + n], floats[px : px + n], ints[zero : zero + n], most_age,
        floats[target : target + 5], floats[change : change + n], floats[stack : stack + STACK],
    )  # fmt: skip
    if not floats[target + 4] > 0.0:
        return 0
    asked = ints[place.A_ASKED_AT]
    if ints[asked + agent] > 0 and ts - ints[asked + agent] < ints[asked + ints[place.AGENTS] + agent]:
        return -1
    return 1


@inner
def same_book(ints: Ints, floats: Floats, accounts: Ints, at: int) -> bool:
    """Whether the only agent in the plan is the house: its limits, positions, cash and equity."""
    n, agents, alone, sets = ints[place.SIZE], ints[place.AGENTS], -1, ints[place.A_SETS]
    for agent in range(agents):
        if ints[ints[place.A_PART] + agent] > 0:
            if alone >= 0:
                return False
            alone = agent
    width, held = 2 * n + SINGLE, ints[place.F_HELD]
    own = (alone + 1) * width + 2 * n + CASH
    if ints[sets] != ints[sets + alone + 1] or accounts[own] != accounts[2 * n + CASH] or ints[at] != ints[at + alone + 1]:
        return False
    for k in range(n):
        if floats[held + k] != floats[held + (alone + 1) * n + k]:
            return False
    return True


@inner
def make_plan(
    ints: Ints,
    floats: Floats,
    accounts: Ints,
    close_nano: Ints,
    close: Floats,
    date_returns: Floats,
    columns: Floats,
    fixed: Floats,
    matrices: Floats,
    rows: Floats,
    losses: Floats,
    first: Codes,
    house: Codes,
    freed: Codes,
    buffer: Any,
    names: Any,
) -> bool:
    """Plan the answers to the last row; False, without any change, where `plan` must do it.

    `first` int8[A, N] and `house` int8[N] get the reasons of the cuts; `freed` by reason is 1 where sales may permit
    what it cut.
    """
    row, n, agents = ints[place.ROW] - 1, ints[place.SIZE], ints[place.AGENTS]
    times, at = ints[place.A_TIMES] + TIMES * row, ints[place.A_EQUITY] + row * (agents + 5)
    cells, ts = n * (ints[place.FIRST] + row), ints[times + 2]
    age, px, part = ts - ints[times + 1], ints[place.F_PX], ints[place.A_PART]
    wanted, passes, change, sets = (
        ints[place.A_WANTED], ints[place.F_PASSES], ints[place.F_CHANGE], ints[place.A_SETS]
    )  # fmt: skip
    follow, passed, total = ints[place.A_FOLLOW], ints[place.F_PASSED], ints[place.A_TOTAL]
    if age < 0:
        return False
    lowest = close_nano[cells]
    for k in range(n):
        lowest = close_nano[cells + k] if close_nano[cells + k] < lowest else lowest
    if not float(lowest) * floats[2] >= floats[3]:
        return False
    count, renewed = 0, -1
    for agent in range(agents):
        ints[part + agent] = 0
        for k in range(n):
            ints[wanted + agent * n + k] = 0
            floats[passes + agent * n + k] = 0.0
        if ints[ints[place.A_ANSWERED] + agent] == 0:
            continue
        asks = change_agent(ints, floats, agent, ts, age, ints[at + agent + 1])
        if asks < 0:
            return False
        if asks == 0:
            continue
        if ints[sets + agent + 1] != renewed:
            renewed = ints[sets + agent + 1]
            renew_table(ints, floats, renewed, px, date_returns)
        if not pass_gate(
            ints, floats, accounts, agent + 1, ints[at + agent + 1] / 1e6, change + agent * n, passes + agent * n,
            columns, fixed, matrices, rows, first[agent * n : agent * n + n],
        ):  # fmt: skip
            return False
        for k in range(n):
            ints[wanted + agent * n + k] = int(floats[passes + agent * n + k])
        ints[part + agent] = 1
        count += 1
    if count == 0:
        return True
    if not net_lots(ints):
        return False
    for k in range(n):
        floats[passed + k] = float(ints[total + k])
        house[k] = 0
    if not same_book(ints, floats, accounts, at):
        some = False
        for k in range(n):
            some = some or ints[total + k] != 0
        if some:
            if ints[sets] != renewed:
                renew_table(ints, floats, ints[sets], px, date_returns)
            requested = ints[place.F_ANSWERS] + agents * n
            for k in range(n):
                floats[requested + k] = float(ints[total + k])
            if not pass_gate(
                ints, floats, accounts, 0, ints[at] / 1e6, requested, passed, columns, fixed, matrices, rows, house
            ):
                return False
    if not order_prices(ints, floats, close_nano, cells):
        return False
    if not level_holds(ints, floats, 0, passed, ints[at] / 1e6, cells, close, columns, losses):
        return False
    for agent in range(agents):
        if ints[part + agent] > 0 and ints[place.LONE] == 0:
            if not level_holds(
                ints, floats, agent + 1, passes + agent * n, ints[at + agent + 1] / 1e6, cells, close, columns, losses
            ):
                return False
    return commit(ints, floats, close_nano, cells, ts, first, house, freed, buffer, names)


@inner
def commit(
    ints: Ints,
    floats: Floats,
    close_nano: Ints,
    cells: int,
    ts: int,
    first: Codes,
    house: Codes,
    freed: Codes,
    buffer: Any,
    names: Any,
) -> bool:
    """Send the orders of a plan and record its crosses; False, without any change, beyond 64 bits."""
    n, agents, part, passed, total = (
        ints[place.SIZE], ints[place.AGENTS], ints[place.A_PART], ints[place.F_PASSED], ints[place.A_TOTAL]
    )  # fmt: skip
    if agents > 1 and not cross_prices(ints, house, floats, close_nano, cells):
        ints[place.CROSSES] = 0
        return False
    if not send_orders(ints, floats, house):
        ints[place.CROSSES] = ints[place.ORDERS] = ints[place.SENT] = 0
        return False
    change, passes, follow, again = (
        ints[place.F_CHANGE], ints[place.F_PASSES], ints[place.A_FOLLOW], ints[place.FOLLOW_UPS] > 0
    )  # fmt: skip
    requested = ints[place.F_ANSWERS] + agents * n
    for k in range(n):
        floats[requested + k] = float(ints[total + k])
    count_cuts(ints, floats[requested : requested + n], floats[passed : passed + n])
    for agent in range(agents):
        ints[follow + agent] = 0
        if ints[part + agent] > 0:
            count_cuts(ints, floats[change + agent * n : change + agent * n + n], floats[passes + agent * n : passes + agent * n + n])
            ints[ints[place.A_ASKED_AT] + agent] = ts
            if again:
                ints[follow + agent] = follows(ints, floats, agent, first, house, freed)
    ints[place.PLANNED], ints[place.SENT_TS] = 1, ts
    ints[place.AFTER] = ts + ints[place.LATENCY]
    put_orders(ints, ts, buffer, names)
    return True
