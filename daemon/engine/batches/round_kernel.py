"""The plan of a round: weights to lots, the limits of each agent, crossing, the limits of the house, and orders.

A plan is made whole or not at all. Where anything happens that the kernel does not know, `plan` makes it.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.gate_kernel import (
    ASKED,
    BASE,
    DONE,
    HEAD,
    LOTS,
    M_KNOWN,
    M_ROWS,
    M_TAILS_AT,
    TAIL,
    judge,
)
from quantd.daemon.engine.batches.ledger_kernel import CASH, SINGLE
from quantd.daemon.engine.batches.orders_kernel import cross_prices, net_lots, order_prices, put_orders, send_orders
from quantd.daemon.engine.batches.rows_kernel import TIMES, book_holds, deviations
from quantd.daemon.engine.batches.targets_kernel import STACK, change_of
from quantd.trading.jit import inner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.int8]


@inner
def renew_table(ints: Ints, floats: Floats, number: int, px: int, returns: Floats) -> None:
    """Bring the table of a set of limits to the newest row."""
    n, end, count = ints[place.SIZE], ints[place.END], ints[place.COUNT] - 1
    own = ints[place.A_SETS] + ints[place.AGENTS] + 1 + number * place.SET
    table, statistics, row = ints[own + 4], ints[own + 8], ints[place.ROW]
    for k in range(n):
        floats[table + HEAD + k] = floats[px + k]
    floats[table + M_ROWS], floats[table + M_KNOWN] = 1.0, 1.0
    if ints[own + place.COVARIANCES_OF] == row:
        floats[table + M_KNOWN] += 2.0
    if ints[own + place.LINKS_OF] == row:
        floats[table + M_KNOWN] += 4.0
    for each in range(ints[own + 9]):
        at = statistics + each * place.STATISTIC
        if ints[at] == place.VOLUME:
            fraction = floats[ints[own + 2] + ints[at + 2]]
            for k in range(2 * n):
                floats[table + ints[at + 1] + k] = fraction * floats[ints[place.F_VOLUME] + k % n]
            continue
        rows = min(count, ints[at + 2])
        if rows < ints[at + 4]:
            floats[table + M_ROWS] = -1.0
            return
        if ints[at] == place.TAIL_OF:
            entry = table + int(floats[table + M_TAILS_AT]) + ints[at + 1] * TAIL
            m = ints[ints[place.A_STATISTICS] + ints[at + 3] + rows]
            floats[entry + 2], floats[entry + 3], floats[entry + 4] = float(end - rows), float(rows), float(m)
            floats[entry + 5] = sqrt((rows - m) / m) + 0.5
        elif ints[at] != place.HISTORY:
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
    rings: place.Rings,
    gate: place.Gate,
    reason: Codes,
) -> bool:
    """Write what the limits of a book let pass of the lots at `asked`; False where the gate needs more arrays, which
    are then named.

    No order is open, so that the open lots in `F_WORK` stay 0.
    """
    n = ints[place.SIZE]
    sets = ints[place.A_SETS]
    own = sets + ints[place.AGENTS] + 1 + ints[sets + book] * place.SET
    codes, numbers, table, work = ints[own], ints[own + 2], ints[own + 4], ints[place.F_WORK]
    held, length = ints[place.F_HELD] + book * n, ints[own + 6]
    for k in range(n):
        floats[work + BASE + ASKED * n + k] = floats[asked + k]
        floats[work + BASE + LOTS * n + k] = floats[held + k]
        reason[k] = 0
    rooms = ints[own + 7]
    for k in range(length - rooms):
        floats[work + rooms + k] = floats[table - 1 - k]
    cash = accounts[book * (2 * n + SINGLE) + 2 * n + CASH]
    links, many = ints[own + place.LINKS_AT], n * n
    if links == 0:
        links, many = work, 1
    status = judge(
        floats[work : work + length], floats[table : table + ints[own + 5]],
        floats[numbers : numbers + ints[own + 3]], ints[codes : codes + ints[own + 1]], rings.columns, gate.fixed,
        gate.matrices, floats[links : links + many], gate.rows, floats[out : out + n], reason, 1, cash / 1e6, equity,
        0.0, 0.0, 1, 0.0, 0.0,
    )  # fmt: skip
    ints[place.NEEDS], ints[place.NEEDS_SET], ints[place.NEEDS_AT] = status, ints[sets + book], out
    return status == DONE


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
    ints: Ints,
    floats: Floats,
    book: int,
    lots: int,
    equity: float,
    cells: int,
    bars: place.Bars,
    rings: place.Rings,
    gate: place.Gate,
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
    return book_holds(ints, floats, book, bars, cells, left, ints[place.COUNT] - 1, ints[place.END], rings, gate, True)


@inner
def follows(ints: Ints, floats: Floats, agent: int, gate: place.Gate) -> int:
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
    first, house, freed = gate.first, gate.house, gate.freed
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
    n, terms, target = ints[place.SIZE], ints[place.F_AGENTS] + 4 * agent, ints[place.F_TARGET]
    most_age = int(floats[terms + 3])
    if age > most_age:
        return -1
    equity = float(micro) / 1e6
    floats[target], floats[target + 1], floats[target + 2] = equity, floats[terms], floats[terms + 1]
    floats[target + 3] = floats[terms + 2] * equity
    answers, held, change = (
        ints[place.F_ANSWERS] + agent * n, ints[place.F_HELD] + (agent + 1) * n, ints[place.F_CHANGE] + agent * n
    )  # fmt: skip
    for k in range(n):
        if not -1e300 < floats[answers + k] < 1e300:
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
    same = ints[sets] == ints[sets + alone + 1] and accounts[own] == accounts[2 * n + CASH]
    same = same and ints[at] == ints[at + alone + 1]
    for k in range(n):
        same = same and floats[held + k] == floats[held + (alone + 1) * n + k]
    return same


@inner
def make_plan(
    ints: Ints,
    floats: Floats,
    accounts: Ints,
    bars: place.Bars,
    rings: place.Rings,
    gate: place.Gate,
    encoded: place.Encoded,
) -> bool:
    """Plan the answers to the last row; False, without any change, where `plan` must do it."""
    row, n, agents = ints[place.ROW] - 1, ints[place.SIZE], ints[place.AGENTS]
    times, at = ints[place.A_TIMES] + TIMES * row, ints[place.A_EQUITY] + row * (agents + 5)
    cells, ts = n * (ints[place.FIRST] + row), ints[times + 2]
    age, px, part = ts - ints[times + 1], ints[place.F_PX], ints[place.A_PART]
    wanted, passes, change, sets = (
        ints[place.A_WANTED], ints[place.F_PASSES], ints[place.F_CHANGE], ints[place.A_SETS]
    )  # fmt: skip
    passed, total = ints[place.F_PASSED], ints[place.A_TOTAL]
    if age < 0:
        return False
    close_nano, house = bars.close_nano, gate.house
    lowest = close_nano[cells]
    for k in range(n):
        lowest = min(lowest, close_nano[cells + k])
    if not float(lowest) * floats[2] >= floats[3]:
        return False
    asked, renewed = False, -1
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
            renew_table(ints, floats, renewed, px, rings.date_returns)
        if not pass_gate(
            ints, floats, accounts, agent + 1, ints[at + agent + 1] / 1e6, change + agent * n, passes + agent * n,
            rings, gate, gate.first[agent * n : agent * n + n],
        ):  # fmt: skip
            return False
        for k in range(n):
            ints[wanted + agent * n + k] = int(floats[passes + agent * n + k])
        ints[part + agent], asked = 1, True
    if not asked:
        return True
    net_lots(ints)
    for k in range(n):
        floats[passed + k] = float(ints[total + k])
        house[k] = 0
    if not same_book(ints, floats, accounts, at):
        some = False
        for k in range(n):
            some = some or ints[total + k] != 0
        if some:
            if ints[sets] != renewed:
                renew_table(ints, floats, ints[sets], px, rings.date_returns)
            requested = ints[place.F_ANSWERS] + agents * n
            for k in range(n):
                floats[requested + k] = float(ints[total + k])
            if not pass_gate(ints, floats, accounts, 0, ints[at] / 1e6, requested, passed, rings, gate, gate.house):
                return False
    if not order_prices(ints, floats, close_nano, cells):
        return False
    if not level_holds(ints, floats, 0, passed, ints[at] / 1e6, cells, bars, rings, gate):
        ints[place.LEVELS] = 1
    for agent in range(agents):
        watched = ints[part + agent] > 0 and ints[place.LONE] == 0
        if watched and not level_holds(
            ints, floats, agent + 1, passes + agent * n, ints[at + agent + 1] / 1e6, cells, bars, rings, gate
        ):
            ints[place.LEVELS] = 1
    return commit(ints, floats, bars, cells, ts, gate, encoded)


@inner
def commit(
    ints: Ints, floats: Floats, bars: place.Bars, cells: int, ts: int, gate: place.Gate, encoded: place.Encoded
) -> bool:
    """Send the orders of a plan and record its crosses; False, without any change, where a price is beyond 62 bits.

    `A_FOLLOW` is 0 before.
    """
    n, agents, part, passed, total = (
        ints[place.SIZE], ints[place.AGENTS], ints[place.A_PART], ints[place.F_PASSED], ints[place.A_TOTAL]
    )  # fmt: skip
    if agents > 1 and not cross_prices(ints, gate.house, floats, bars.close_nano, cells):
        ints[place.CROSSES] = 0
        return False
    send_orders(ints, floats, gate.house)
    change, passes, follow, again = (
        ints[place.F_CHANGE], ints[place.F_PASSES], ints[place.A_FOLLOW], ints[place.FOLLOW_UPS] > 0
    )  # fmt: skip
    requested = ints[place.F_ANSWERS] + agents * n
    for k in range(n):
        floats[requested + k] = float(ints[total + k])
    count_cuts(ints, floats[requested : requested + n], floats[passed : passed + n])
    for agent in range(agents):
        if ints[part + agent] > 0:
            own, passing = change + agent * n, passes + agent * n
            count_cuts(ints, floats[own : own + n], floats[passing : passing + n])
            ints[ints[place.A_ASKED_AT] + agent] = ts
            if again:
                ints[follow + agent] = follows(ints, floats, agent, gate)
    ints[place.PLANNED], ints[place.SENT_TS] = 1, ts
    ints[place.AFTER] = ts + ints[place.LATENCY]
    put_orders(ints, ts, encoded)
    return True
