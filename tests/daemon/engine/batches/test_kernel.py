"""The kernel on arrays of a real batch, of which one thing is changed."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.batch import Batch
from quantd.daemon.engine.batches.columns import Bars, Encoded, Rings, Sets
from quantd.daemon.engine.batches.kernel import DUE, ENDED, LEVELS_OF_ROW, OTHER_PLAN, OTHER_ROW, Kernel
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.monitor.ceilings import Bands
from quantd.trading.execution import MOST
from quantd.trading.fill_prices import Columns, LimitFills
from quantd.trading.history import Ring
from quantd.trading.instruments import NANO
from quantd.trading.ledger.book import Postings
from quantd.trading.ledger.books import cells_of, restore
from tests.daemon.engine.batches.test_batch import Steps
from tests.daemon.engine.batches.test_batch_worlds import SETS, Kind, world_of

KIND = Kind(3, (), agents=3, idle=0.7, short=0.2, days=40, sets=SETS[1:3])
INTS, FLOATS, ACCOUNTS, CLOSE_NANO, LOW, HIGH, KNOWN, BY_DATE, COUNTS = 0, 1, 2, 3, 6, 7, 9, 11, 13

Args = list[np.ndarray]
"""The arrays of a kernel: its own two, the cells of the ledger with its room, those of `Bars`, the newest prices and
returns of both rings, and their counts, with 1 behind them where every level of a position changes, else none does."""

SETS_OF: list[tuple[Sets, Encoded, Postings, LimitFills]] = []
"""What the captured kernels share; the ledger is that of the last."""


def copied(args: Args) -> Args:
    return [each.copy() for each in args]


def take(args: Args, rows: int | None = None) -> tuple[int, Args]:
    """The status of the kernel on copies of the arrays, with so many rows left; and the copies."""
    own = copied(args)
    if rows is not None:
        own[INTS][place.ROWS] = own[INTS][place.ROW] + rows
    data = [each.data for each in own]
    sets, encoded, like, fills = SETS_OF[0]
    ledger = Postings(list(zip(like.numerator, like.denominator, strict=True)), len(like.books))
    cells = own[ACCOUNTS][:-1].reshape(len(like.books) + 1, -1)
    for book, row in zip((ledger.house, *ledger.books), cells, strict=True):
        restore(book, row)
    ledger.room = int(own[ACCOUNTS][-1])
    size = int(own[INTS][place.SIZE])
    bars = Bars(data[3], data[4], own[4].reshape(-1, size).data, Columns(*data[5:9]))
    rings = Rings(
        *[restored(*own[at : at + 2], int(count)) for at, count in zip((KNOWN, BY_DATE), own[COUNTS], strict=False)]
    )
    bound = 1e-9 if own[COUNTS][2] else 1e9
    rules = rules_of(Limits(max_gross_exposure=bound), world_of(KIND, []).universe)
    bands = [Bands(rules, {}) for _ in range(len(like.books))]
    before = sets.watched.bands, sets.watched.rising
    sets.watched.bands = sets.watched.rising = bands
    status = Kernel(*data[:2], ledger, bars, rings, sets, encoded, fills).take()
    sets.watched.bands, sets.watched.rising = before
    own[ACCOUNTS][:] = account_cells(ledger)
    own[COUNTS][:2] = rings.known.count, rings.by_date.count
    return status, own


def restored(prices: np.ndarray, returns: np.ndarray, count: int) -> Ring:
    """A ring with saved rows."""
    made = Ring(prices.shape[1], len(prices))
    made.restore(prices, returns, count)
    return made


def newest(ring: Ring) -> list[np.ndarray]:
    """The prices and returns of the newest rows of a ring."""
    rows = slice(max(ring.end - ring.lookback, 0), ring.end)
    return [ring.prices[rows], ring.filled_returns[rows]]


def account_cells(ledger: Postings) -> np.ndarray:
    """The cells of all books, then the room."""
    return np.array([*np.concatenate([cells_of(book) for book in (ledger.house, *ledger.books)]), ledger.room])


def arrays_of(kernel: Kernel) -> Args:
    """Copies of the arrays of a kernel."""
    bars, rings = kernel.bars, kernel.rings
    columns = bars.columns
    whole = (
        kernel.ints, kernel.floats, account_cells(kernel.ledger), bars.close_nano, bars.close, columns.open_nano,
        columns.low, columns.high, columns.volume, *newest(rings.known), *newest(rings.by_date),
        [rings.known.count, rings.by_date.count, 0],
    )  # fmt: skip
    return [np.array(each) for each in whole]


@cache
def asked() -> list[Args]:
    """Arrays before plans."""
    calls: list[Args] = []
    run = Batch.take

    def capture(batch: Batch) -> int:
        if batch.waits:
            SETS_OF[:] = [(batch._kernel.sets, batch._kernel.encoded, batch._kernel.ledger, batch._kernel.fills)]
            calls.append(arrays_of(batch._kernel))
        return run(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "take", capture)
        made = world_of(KIND, [])
        shell = made.fresh(Steps(rows_only=True))
        shell.in_batches = True
        items = [each if not hasattr(each, "due") else each.__class__(**_due(each)) for each in made.items()]
        shell.take_all(items)
    return calls


def _due(tick: object) -> dict[str, object]:
    return {name: getattr(tick, name) for name in tick.__struct_fields__} | {"due": (0, 1, 2)}


@cache
def planned() -> list[Args]:
    """Arrays between a plan with orders and crosses and its row, which is taken."""
    found = []
    for args in asked():
        _, own = take(args, 0)
        if own[INTS][place.ORDERS] and own[INTS][place.CROSSES] and take(own, 1)[0] != OTHER_ROW:
            found.append(own)
    return found


def section(args: Args, name: int, size: int, array: int = INTS) -> list[float]:
    start = int(args[INTS][name])
    return args[array][start : start + size].tolist()


def books(args: Args) -> tuple[object, ...]:
    """What a row that is not taken leaves as it is."""
    n, agents = int(args[INTS][place.SIZE]), int(args[INTS][place.AGENTS])
    heads = (place.ROW, place.ORDERS, place.CROSSES, place.LAST_TS)
    return (
        args[ACCOUNTS][:-1].tolist(), args[COUNTS].tolist(), [int(args[INTS][name]) for name in heads],
        section(args, place.A_CROSSED, agents * n), section(args, place.F_HELD, (agents + 1) * n, FLOATS),
        section(args, place.A_MARKS, 6 * (agents + 1)), section(args, place.F_BASIS, 3 * (agents + 1), FLOATS),
    )  # fmt: skip


def missing_price(args: Args) -> None:
    args[BY_DATE][-1, 0] = 0.0


def open_before_the_last_sample(args: Args) -> None:
    ints = args[INTS]
    ints[place.LAST_TS] = ints[ints[place.A_TIMES] + 4 * ints[place.ROW]] + 1


def no_room(args: Args) -> None:
    """A deposit leaves room for 5 micro."""
    args[ACCOUNTS][2 * int(args[INTS][place.SIZE]) + 2], args[ACCOUNTS][-1] = MOST - 5, 0


def loss_outside_its_band(args: Args) -> None:
    args[FLOATS][args[INTS][place.F_BOUNDS]] = 5.0


def order_after_the_open(args: Args) -> None:
    args[INTS][place.AFTER] = 2**62


def cross_outside_its_prices(args: Args) -> None:
    ints = args[INTS]
    n = int(ints[place.SIZE])
    ints[ints[place.A_CROSS_WORST] :][: 2 * n] = 1


def level_that_nobody_checks(args: Args) -> None:
    ints = args[INTS]
    ints[place.CHECKED] = 0
    args[COUNTS][2] = 1


CHANGES = [
    missing_price, open_before_the_last_sample, no_room, loss_outside_its_band, order_after_the_open,
    cross_outside_its_prices, level_that_nobody_checks,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_the_kernel_does_not_know_changes_nothing(change: Callable[[Args], None]) -> None:
    assert planned()
    for args in planned():
        own = copied(args)
        change(own)
        before = books(own)
        status, after = take(own, 1)
        assert status == OTHER_ROW
        assert books(after) == before
        assert [after[INTS][name] for name in (place.USED, place.FILLED, place.SENT, place.PLANNED)] == [0] * 4


def test_a_row_that_opens_at_the_last_sample_is_taken() -> None:
    for args in planned():
        own = copied(args)
        open_before_the_last_sample(own)
        own[INTS][place.LAST_TS] -= 1
        assert take(own, 1)[0] in (DUE, LEVELS_OF_ROW)


def test_the_last_instant_of_a_row_is_that_of_its_tick_or_its_close() -> None:
    for args in planned():
        own = copied(args)
        times = own[INTS][own[INTS][place.A_TIMES] + 4 * own[INTS][place.ROW] :]
        for close, tick in ((0, 1), (1, 0), (7, 7)):
            times[1], times[2] = times[0] + close, times[0] + tick
            assert take(own, 1)[1][INTS][place.LAST_TS] == times[0] + max(close, tick)


def test_the_room_of_the_ledger_shrinks_by_more_than_what_fills_move() -> None:
    for args in planned():
        rows, orders = int(args[INTS][place.ORDERS]), int(args[INTS][place.A_ORDERS])
        _, after = take(args, 1)
        lots = args[INTS][orders + rows : orders + 2 * rows]
        used = int(args[ACCOUNTS][-1] - after[ACCOUNTS][-1])
        cash = 2 * int(args[INTS][place.SIZE])
        moved = abs(int(after[ACCOUNTS][cash] - args[ACCOUNTS][cash]))
        assert used > moved + np.abs(lots).sum()
        assert after[INTS][place.FILLED] == rows


def test_rows_are_taken_until_agents_are_due() -> None:
    for args in planned():
        own = copied(args)
        agents, due = int(own[INTS][place.AGENTS]), int(own[INTS][place.A_DUE])
        own[INTS][own[INTS][place.A_FOLLOW] :][:agents] = 0
        row = int(own[INTS][place.ROW])
        assert take(own, 0)[0] == ENDED
        own[INTS][due + row] = 0
        status, after = take(own, 1)
        assert (status, after[INTS][place.ROW]) == (ENDED, row + 1)
        own[INTS][due + row] = 1
        status, after = take(own, 1)
        assert (status, after[INTS][place.ROW]) == (DUE, row + 1)
        for agent in range(agents):
            follows = copied(own)
            follows[INTS][due + row] = 0
            follows[INTS][follows[INTS][place.A_FOLLOW] + agent] = 1
            assert take(follows, 1)[0] == DUE


def old_prices(args: Args) -> None:
    ints = args[INTS]
    ints[ints[place.A_TIMES] + 4 * (ints[place.ROW] - 1) + 1] += NANO * 10**9


def closes_below_their_ticks(args: Args) -> None:
    args[FLOATS][3] = 1e30


def close_after_the_sample(args: Args) -> None:
    ints = args[INTS]
    times = ints[ints[place.A_TIMES] + 4 * (ints[place.ROW] - 1) :]
    times[1] = times[2] + 1


def answer_that_is_not_finite(args: Args) -> None:
    ints = args[INTS]
    first = next(k for k in range(int(ints[place.AGENTS])) if ints[ints[place.A_ANSWERED] + k])
    args[FLOATS][ints[place.F_ANSWERS] + first * ints[place.SIZE]] = np.nan


@pytest.mark.parametrize(
    "change", [old_prices, close_after_the_sample, closes_below_their_ticks, answer_that_is_not_finite]
)
def test_a_plan_that_the_kernel_does_not_know_changes_nothing(change: Callable[[Args], None]) -> None:
    for args in asked():
        own = copied(args)
        change(own)
        before = books(own)
        status, after = take(own)
        assert status == OTHER_PLAN
        assert books(after) == before
        assert [after[INTS][name] for name in (place.USED, place.FILLED, place.SENT, place.PLANNED)] == [0] * 4


def test_a_plan_needs_a_collar_of_a_tick_at_least_of_every_close() -> None:
    for args in asked()[:5]:
        own = copied(args)
        n, row = int(own[INTS][place.SIZE]), int(own[INTS][place.FIRST] + own[INTS][place.ROW] - 1)
        closes, floats = own[CLOSE_NANO][n * row : n * row + n], own[FLOATS]
        for k in range(n):
            closes[:] = 80_000_000_000
            closes[k] = 40_000_000_000
            floats[2], floats[3] = 0.0625, 2.5e9
            assert take(own, 0)[0] != OTHER_PLAN
            floats[3] = 2.5e9 + 1.0
            assert take(own, 0)[0] == OTHER_PLAN


def test_an_order_that_ends_at_the_close_or_later_fills_at_its_limit_inside_the_bar() -> None:
    """The tick is later than the close."""
    for args in planned():
        for late, taken in ((5, True), (0, True), (-1, False)):
            own = copied(args)
            ints = own[INTS]
            rows, orders = int(ints[place.ORDERS]), int(ints[place.A_ORDERS])
            row = int(ints[place.FIRST] + ints[place.ROW])
            times = ints[ints[place.A_TIMES] + 4 * ints[place.ROW] :]
            times[2] = times[1] + 10
            for k in range(orders, orders + rows):
                low, high = own[LOW][row, ints[k]], own[HIGH][row, ints[k]]
                ints[k + 2 * rows] = round((low * 1.01 if ints[k + rows] > 0 else high * 0.99) * NANO)
                ints[k + 3 * rows] = times[1] + late
            assert (take(own, 1)[0] != OTHER_ROW) is taken
