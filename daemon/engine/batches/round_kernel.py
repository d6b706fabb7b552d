"""The plan of a round: weights to lots, the limits of each agent, crossing, the limits of the house, and orders.

A plan is made whole or not at all. Where anything happens that the kernel does not know, `plan` makes it.
"""

from math import sqrt
from typing import Any

from quantd.daemon.engine.batches.columns import Bars, Encoded, Rings, Sets
from quantd.daemon.engine.batches.layout import (
    A_ANSWERED,
    A_ASKED_AT,
    A_EQUITY,
    A_FOLLOW,
    A_PART,
    A_SETS,
    A_STATISTICS,
    A_SURVIVING,
    A_TIMES,
    A_TOTAL,
    A_WANTED,
    A_ZERO,
    AFTER,
    AGENTS,
    CLIPPED,
    CROSSES,
    DEVIATION,
    DEVIATION_AND_MEAN,
    F_AGENTS,
    F_ANSWERS,
    F_CHANGE,
    F_FEES,
    F_HELD,
    F_PASSED,
    F_PASSES,
    F_PX,
    F_SUMS,
    F_VOLUME,
    FIRST,
    FOLLOW_UPS,
    HASHED,
    LATENCY,
    LEVELS,
    LONE,
    PLANNED,
    REFUSED,
    ROW,
    SENT_TS,
    SET,
    SIZE,
    STATISTIC,
    TAIL_OF,
)  # fmt: skip
from quantd.daemon.engine.batches.newest_returns import bounds_of
from quantd.daemon.engine.batches.orders_kernel import cross_prices, net_lots, order_prices, put_orders, send_orders
from quantd.daemon.engine.batches.rows_kernel import TIMES, watched_book
from quantd.daemon.engine.planning.lots import Targets
from quantd.risk.pretrade.gate_bounds import Bounds, Cap
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.scenes import READY, TOO_FEW, Losses, Scene, Spread
from quantd.risk.pretrade.standing import Basket
from quantd.trading.history.rings import Ring, RunningSums
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.number_types import Codes, Floats, Ints, ReadFloats, ReadInts


def write_bounds(out: Floats, found: ReadFloats) -> None:
    """Copy bounds of float64[N]."""
    for k in range(len(out)):
        out[k] = found[k]


def renew_scene(ints: Ints, floats: Floats, number: int, px: int, ring: Ring, sets: Sets) -> None:
    """Bring the scene of a set of limits to the newest row."""
    n: int = ints[SIZE]
    count: int = ring.count - 1
    own: int = ints[A_SETS] + ints[AGENTS] + 1 + number * SET
    statistics: int = ints[own]
    scene: Scene = sets.scenes[number]
    losses: Losses
    spread: Spread
    known: Any
    sums: RunningSums
    for k in range(n):
        scene.px[k] = floats[px + k]
        scene.volume[k] = floats[ints[F_VOLUME] + k]
    scene.rows, scene.has_links = READY, False
    for each in range(ints[own + 1]):
        at: int = statistics + each * STATISTIC
        kind: int = ints[at]
        rows: int = min(count, ints[at + 2])
        if rows < ints[at + 4]:
            scene.rows = TOO_FEW
            return
        if kind == TAIL_OF:
            losses = scene.losses[ints[at + 1]]
            m: int = ints[ints[A_STATISTICS] + ints[at + 3] + rows]
            losses.size, losses.worst, losses.known = rows, m, False
            losses.beyond = sqrt(float(rows - m) / float(m)) + 0.5
        elif kind == DEVIATION_AND_MEAN:
            losses = scene.losses[ints[at + 1]]
            sums = ring.sums(ints[at + 2])
            known = sums if sums.complete else bounds_of(ring, rows)
            write_bounds(losses.deviation, known.deviation().data)
            write_bounds(losses.mean, known.mean_size().data)
        elif kind == DEVIATION:
            spread = scene.spreads[ints[at + 1]]
            spread.known = False
            sums = ring.sums(ints[at + 2])
            known = sums if sums.complete else bounds_of(ring, rows)
            write_bounds(spread.deviation, known.deviation().data)


def pass_gate(
    ints: Ints,
    floats: Floats,
    ledger: Postings,
    book: int,
    equity: float,
    asked: int,
    out: int,
    sets: Sets,
    reason: Codes,
) -> None:
    """Write what the limits of a book let pass of the lots at `asked`. No order is open."""
    n: int = ints[SIZE]
    number: int = ints[ints[A_SETS] + book]
    held: int = ints[F_HELD] + book * n
    for k in range(n):
        reason[k] = 0
    gate: Gate = sets.gates[number]
    bounds: Bounds = sets.bounds[number]
    scene: Scene = sets.scenes[number]
    caps: list[Cap] = sets.caps[number]
    basket: Basket = gate.basket
    sets.loops.begin(basket, floats[asked : asked + n], floats[held : held + n], reason)
    own: Book = watched_book(ledger, book)
    basket.cash = float(own.cash_micro) / 1e6
    basket.equity = equity
    basket.up_cash = basket.open_loss = basket.open_gain = basket.traded = 0.0
    basket.derived = True
    gate.judge(bounds, scene, caps, True)
    sets.loops.finish(basket, floats[out : out + n], reason)


def count_cuts(ints: Ints, requested: Floats, passed: Floats) -> None:
    """Count the rows that limits rejected or cut."""
    for k in range(len(passed)):
        if requested[k] != passed[k]:
            if passed[k] == 0.0:
                ints[REFUSED] += 1
            else:
                ints[CLIPPED] += 1


def level_holds(
    ints: Ints,
    floats: Floats,
    book: int,
    lots: int,
    equity: float,
    ring: Ring,
    sets: Sets,
) -> bool:
    """Whether no level of a book rises when the lots at `lots` fill at the closes."""
    n: int = ints[SIZE]
    held: int = ints[F_HELD] + book * n
    px: int = ints[F_PX]
    sums: int = ints[F_SUMS]
    traded: float = 0.0
    for k in range(n):
        change: float = floats[lots + k]
        floats[sums + k] = floats[held + k] + change
        traded += abs(change) * floats[px + k]
    left: float = equity - traded * floats[ints[F_FEES] + book]
    if not left > 0.0:
        return True
    return sets.watched.keep(book, floats[sums : sums + n], floats[px : px + n], left, ring, True)


def follows(ints: Ints, floats: Floats, agent: int, sets: Sets) -> int:
    """1 where a decision was cut for lack of the proceeds of its own sales, or of others'."""
    n: int = ints[SIZE]
    change: int = ints[F_CHANGE]
    passes: int = ints[F_PASSES]
    held: int = ints[F_HELD] + (agent + 1) * n
    sales: bool = False
    change, passes = change + agent * n, passes + agent * n
    for k in range(n):
        if floats[change + k] * floats[held + k] < 0.0:
            sales = True
    if not sales:
        return 0
    passed: int = ints[F_PASSED]
    total: int = ints[A_TOTAL]
    first: Codes = sets.first
    house: Codes = sets.house
    freed: Codes = sets.freed
    for k in range(n):
        if freed[first[agent * n + k]] > 0 and floats[passes + k] != floats[change + k]:
            return 1
        cut: bool = freed[house[k]] > 0 and floats[passed + k] != float(ints[total + k])
        if cut and ints[ints[A_SURVIVING] + agent * n + k] != 0:
            return 1
    return 0


def change_agent(ints: Ints, floats: Floats, targets: Targets, agent: int, ts: int, age: int, micro: int) -> int:
    """Write the lots that an agent requests: 1 where it requests any, 0 for none, -1 where `plan` must decide."""
    n: int = ints[SIZE]
    terms: int = ints[F_AGENTS] + 4 * agent
    most_age: int = int(floats[terms + 3])
    if age > most_age:
        return -1
    equity: float = float(micro) / 1e6
    answers: int = ints[F_ANSWERS] + agent * n
    held: int = ints[F_HELD] + (agent + 1) * n
    change: int = ints[F_CHANGE] + agent * n
    for k in range(n):
        if not -1e300 < floats[answers + k] < 1e300:
            return -1
    px: int = ints[F_PX]
    zero: int = ints[A_ZERO]
    weights: ReadFloats = floats[answers : answers + n]
    scale: float = targets.factor(weights, floats[terms], floats[terms + 1])
    targets.change_to(
        weights, floats[held : held + n], floats[px : px + n], ints[zero : zero + n], most_age, scale * equity,
        floats[terms + 2] * equity,
    )  # fmt: skip
    for k in range(n):
        floats[change + k] = targets.change[k]
    if targets.changed == 0:
        return 0
    asked: int = ints[A_ASKED_AT]
    if ints[asked + agent] > 0 and ts - ints[asked + agent] < ints[asked + ints[AGENTS] + agent]:
        return -1
    return 1


def same_book(ints: Ints, floats: Floats, ledger: Postings, at: int) -> bool:
    """Whether the only agent in the plan is the house: its limits, positions, cash and equity."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    alone: int = -1
    set_of: int = ints[A_SETS]
    for agent in range(agents):
        if ints[ints[A_PART] + agent] > 0:
            if alone >= 0:
                return False
            alone = agent
    held: int = ints[F_HELD]
    own: Book = ledger.books[alone]
    same: bool = ints[set_of] == ints[set_of + alone + 1] and own.cash_micro == ledger.house.cash_micro
    same = same and ints[at] == ints[at + alone + 1]
    for k in range(n):
        same = same and floats[held + k] == floats[held + (alone + 1) * n + k]
    return same


def make_plan(
    ints: Ints,
    floats: Floats,
    ledger: Postings,
    bars: Bars,
    rings: Rings,
    sets: Sets,
    encoded: Encoded,
) -> bool:
    """Plan the answers to the last row; False, without any change, where `plan` must do it."""
    row: int = ints[ROW] - 1
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    times: int = ints[A_TIMES] + TIMES * row
    at: int = ints[A_EQUITY] + row * (agents + 5)
    cells: int = n * (ints[FIRST] + row)
    ts: int = ints[times + 2]
    age: int = ts - ints[times + 1]
    px: int = ints[F_PX]
    part: int = ints[A_PART]
    wanted: int = ints[A_WANTED]
    passes: int = ints[F_PASSES]
    change: int = ints[F_CHANGE]
    set_of: int = ints[A_SETS]
    passed: int = ints[F_PASSED]
    total: int = ints[A_TOTAL]
    if age < 0:
        return False
    close_nano: ReadInts = bars.close_nano
    house: Codes = sets.house
    lowest: int = close_nano[cells]
    for k in range(n):
        lowest = min(lowest, close_nano[cells + k])
    if not float(lowest) * floats[2] >= floats[3]:
        return False
    asked: bool = False
    renewed: int = -1
    for agent in range(agents):
        ints[part + agent] = 0
        for k in range(n):
            ints[wanted + agent * n + k] = 0
            floats[passes + agent * n + k] = 0.0
        if ints[ints[A_ANSWERED] + agent] == 0:
            continue
        asks: int = change_agent(ints, floats, sets.targets, agent, ts, age, ints[at + agent + 1])
        if asks < 0:
            return False
        if asks == 0:
            continue
        if ints[set_of + agent + 1] != renewed:
            renewed = ints[set_of + agent + 1]
            renew_scene(ints, floats, renewed, px, rings.by_date, sets)
        pass_gate(
            ints, floats, ledger, agent + 1, float(ints[at + agent + 1]) / 1e6, change + agent * n,
            passes + agent * n, sets, sets.first[agent * n : agent * n + n],
        )  # fmt: skip
        for k in range(n):
            ints[wanted + agent * n + k] = int(floats[passes + agent * n + k])
        ints[part + agent], asked = 1, True
    if not asked:
        return True
    net_lots(ints)
    for k in range(n):
        floats[passed + k] = float(ints[total + k])
        house[k] = 0
    if not same_book(ints, floats, ledger, at):
        some: bool = False
        for k in range(n):
            some = some or ints[total + k] != 0
        if some:
            if ints[set_of] != renewed:
                renew_scene(ints, floats, ints[set_of], px, rings.by_date, sets)
            requested: int = ints[F_ANSWERS] + agents * n
            for k in range(n):
                floats[requested + k] = float(ints[total + k])
            pass_gate(ints, floats, ledger, 0, float(ints[at]) / 1e6, requested, passed, sets, sets.house)
    if not order_prices(ints, floats, close_nano, cells, sets):
        return False
    if not level_holds(ints, floats, 0, passed, float(ints[at]) / 1e6, rings.by_date, sets):
        ints[LEVELS] = 1
    for agent in range(agents):
        watched: bool = ints[part + agent] > 0 and ints[LONE] == 0
        if watched and not level_holds(
            ints, floats, agent + 1, passes + agent * n, float(ints[at + agent + 1]) / 1e6, rings.by_date, sets
        ):
            ints[LEVELS] = 1
    return commit(ints, floats, bars, cells, ts, sets, encoded)


def commit(ints: Ints, floats: Floats, bars: Bars, cells: int, ts: int, sets: Sets, encoded: Encoded) -> bool:
    """Send the orders of a plan and record its crosses; False, without any change, where a price is beyond 62 bits.

    `A_FOLLOW` is 0 before.
    """
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    part: int = ints[A_PART]
    passed: int = ints[F_PASSED]
    total: int = ints[A_TOTAL]
    if agents > 1 and not cross_prices(ints, sets.house, floats, bars.close_nano, cells, sets):
        ints[CROSSES] = 0
        return False
    send_orders(ints, floats, sets.house)
    change: int = ints[F_CHANGE]
    passes: int = ints[F_PASSES]
    follow: int = ints[A_FOLLOW]
    again: bool = ints[FOLLOW_UPS] > 0
    requested: int = ints[F_ANSWERS] + agents * n
    for k in range(n):
        floats[requested + k] = float(ints[total + k])
    count_cuts(ints, floats[requested : requested + n], floats[passed : passed + n])
    for agent in range(agents):
        if ints[part + agent] > 0:
            own: int = change + agent * n
            passing: int = passes + agent * n
            count_cuts(ints, floats[own : own + n], floats[passing : passing + n])
            ints[ints[A_ASKED_AT] + agent] = ts
            if again:
                ints[follow + agent] = follows(ints, floats, agent, sets)
    ints[PLANNED], ints[SENT_TS] = 1, ts
    ints[AFTER] = ts + ints[LATENCY]
    if ints[HASHED] > 0:
        put_orders(ints, ts, encoded)
    return True
