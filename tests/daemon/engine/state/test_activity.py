"""Limits that count over time: what a session traded, how many orders went out, what was asked a moment ago."""

import msgspec
import numpy as np
import pytest

from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.engine.state.activity import Activity, FrozenActivity, FrozenBookActivity
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits, Rate, Reason
from quantd.risk.switch import HALT, RUN
from quantd.trading.effects import Planned, Valued
from quantd.trading.number_types import read_floats
from quantd.trading.sessions import DAY_NS
from tests.support.engine import CASH, START, World, block, sessions, walk

DAYS = 60
HOUR = DAY_NS // 24


def reasons(world: World) -> set[int]:
    codes: set[int] = set()
    for planned in world.of(Planned):
        for part in planned.agents:
            codes |= set(np.frombuffer(part.reason, dtype=np.int8).tolist())
    return codes - {0}


def rotating(view: object) -> np.ndarray:
    """All in one symbol, another one each day."""
    weights = np.zeros(4)
    weights[(view.time // DAY_NS) % 4] = 0.9
    return weights


def test_a_session_trades_no_more_than_its_turnover() -> None:
    free = World(block(walk(DAYS, 4, 1)), [rotating], house=Limits(max_cash_debit=1.0, in_flight=1.0)).run()
    bound = Limits(max_turnover=0.5, max_cash_debit=1.0, in_flight=0.0)
    world = World(block(walk(DAYS, 4, 1)), [rotating], house=bound).run()

    def daily(of: World) -> list[float]:
        equity = {v.ts: v.equity_micro / 1e6 for v in of.of(Valued)}
        return [
            max(
                abs(sum(a * b for a, b in zip(np.abs(f.lots), np.array(f.price_nano) / 1e9, strict=True)))
                / max((e for ts, e in equity.items() if ts < f.ts), default=CASH)
                for f in fills
            )
            for fills in _by_day(of)
        ]

    assert max(daily(free)) > 1.2
    bought = [_bought(f) / CASH for fills in _by_day(world) for f in fills]
    assert max(bought) < 0.5 * 1.3
    assert Reason.TURNOVER in reasons(world)


def _by_day(world: World) -> list[list[object]]:
    days: dict[int, list[object]] = {}
    for effect in world.effects:
        if type(effect).__name__ == "Filled":
            days.setdefault(effect.ts // DAY_NS, []).append(effect)
    return list(days.values())


def _bought(fill: object) -> float:
    return sum(n * p / 1e9 for n, p in zip(fill.lots, fill.price_nano, strict=True) if n > 0)


def test_fills_of_one_session_count_until_it_closes_and_belong_to_the_next_after() -> None:
    activity, days = Activity(3, 1), sessions(10)
    morning, close = START + 10 * HOUR, START + 16 * HOUR
    activity.roll(morning, days)
    activity.fill([0], [2_000_000_000], [[(0, 30), (1, -10)]], np.array([1.0]))
    activity.roll(close - 1, days)
    assert [b.traded for b in activity.books] == [60.0, 20.0, 80.0]
    activity.cross(1_000_000_000, [(0, 5), (1, -5)], 2.0)
    assert [b.traded for b in activity.books] == [70.0, 30.0, 80.0]
    # what is decided at the close trades in the next session
    activity.roll(close, days)
    assert [b.traded for b in activity.books] == [0.0, 0.0, 0.0]


def test_an_order_rate_looks_back_over_its_window() -> None:
    activity, limits = Activity(2, 1), Limits(order_rate=Rate(10, 100))
    activity.send(0, 1_000, 3, limits)
    activity.send(0, 1_060, 4, limits)
    assert [activity.recent(0, ts, limits) for ts in (1_060, 1_099, 1_100, 1_159, 1_160)] == [7, 7, 4, 4, 0]
    assert activity.recent(HOUSE, 1_060, limits) == 0
    assert activity.recent(0, 1_060, Limits()) == 0
    activity.send(0, 5_000, 1, limits)
    assert activity.books[0].sent == [(5_000, 1)]  # what no window sees is forgotten


def test_orders_of_a_session_are_counted_where_their_number_is_limited() -> None:
    activity = Activity(2, 1)
    activity.send(0, 1_000, 3, Limits())
    activity.send(1, 1_000, 3, Limits(max_orders_per_day=5))
    assert [book.orders for book in activity.books] == [0, 3]


def test_no_more_orders_go_out_than_the_rate_allows() -> None:
    def all_of_them(view: object) -> np.ndarray:
        return np.full(4, 0.1 + 0.1 * ((view.time // DAY_NS) % 2))

    limits = Limits(order_rate=Rate(6, 3 * DAY_NS))
    world = World(block(walk(DAYS, 4, 2)), [all_of_them], house=limits).run()
    assert Reason.ORDER_RATE in reasons(world)
    adding: list[int] = []
    for planned in world.of(Planned):
        lots = np.frombuffer(planned.allowed, dtype="<i8")
        sent = [planned.ts] * int((lots > 0).sum())
        assert not sent or len([ts for ts in adding if ts > planned.ts - 3 * DAY_NS]) + len(sent) <= 6
        adding += sent


@pytest.mark.parametrize(
    ("wait", "stopped", "again"),
    [(0, "", False), (10**9 - 1, "", False), (10**9, "", True), (0, "account", True), (0, "symbol", True)],
)
def test_the_same_intent_within_a_moment_is_refused_unless_a_halt_refused_it(
    wait: int, stopped: str, again: bool
) -> None:
    world = World(block(walk(8, 2, 3)), [lambda view: np.zeros(2)])
    world.run()
    state = world.shell.state
    weights = np.array([0.2, 0.0]).tobytes()
    state.switch.state = HALT if stopped == "account" else RUN
    state.restrictions.halted |= {0: (0, "by hand")} if stopped == "symbol" else {}
    first = plan(state, {0: weights}, watch=watch_plan, sample=state.sample)
    assert any(type(e).__name__ == "OrderBasket" for e in first) is not bool(stopped)
    state.switch.state = RUN
    state.restrictions.halted.clear()
    state.working.clear()  # as if the venue had refused it
    state.now += wait
    planned = next(
        e for e in plan(state, {0: weights}, watch=watch_plan, sample=state.sample) if isinstance(e, Planned)
    )
    assert bool(planned.n) is again
    assert np.frombuffer(planned.agents[0].reason, dtype=np.int8)[0] == (0 if again else Reason.DUPLICATE)


def request(activity: Activity, now: int, lots: list[float], limits: Limits, reason: int = 0, book: int = 0) -> None:
    """A request of a book, of which all passes, or nothing for a `reason`."""
    asked, codes = read_floats(np.array(lots)), np.full(len(lots), reason, dtype=np.int8)
    passed = read_floats(np.zeros(len(lots))) if reason else asked
    activity.books[book].request.add(now, asked, limits.duplicate_window_ns, passed, codes.data)


@pytest.mark.parametrize(
    ("reason", "counts"),
    [(Reason.SWITCH, False), (Reason.HALTED, False), (Reason.PRICE_JUMP, False), (Reason.POSITION_WEIGHT, True)],
)
def test_lots_that_a_halt_refuses_are_no_request(reason: Reason, counts: bool) -> None:
    activity, limits = Activity(1, 2), Limits(duplicate_window_ns=100)
    request(activity, 1_000, [5.0, 0.0], limits, reason)
    assert (list(activity.books[0].request.lots) == [5.0, 0.0]) is counts


def test_the_last_request_is_kept_with_those_within_the_window_and_read_as_a_copy() -> None:
    activity, limits = Activity(2, 3), Limits(duplicate_window_ns=100)
    assert activity.repeated(0, 1_000, limits) is None
    request(activity, 1_000, [5.0, 0.0, -2.0], limits)
    first = activity.repeated(0, 1_099, limits)
    request(activity, 1_099, [0.0, 7.0, 4.0], limits)
    assert first is not None
    assert (first.tolist(), first.flags.writeable) == ([5.0, 0.0, -2.0], False)
    assert list(activity.books[0].request.lots) == [5.0, 7.0, 4.0]
    assert activity.repeated(1, 1_099, limits) is None
    request(activity, 1_199, [0.0, 1.0, 0.0], limits)  # the window is over
    assert list(activity.books[0].request.lots) == [0.0, 1.0, 0.0]


def test_the_frozen_form_has_the_fields_of_former_snapshots_in_their_order() -> None:
    activity, limits = Activity(2, 2), Limits(order_rate=Rate(10, 100), max_orders_per_day=5)
    activity.session_end, activity.books[0].traded = 9_000, 2.5
    request(activity, 1_000, [5.0, -2.0], limits)
    activity.send(0, 1_000, 3, limits)
    data = msgspec.msgpack.encode(activity.freeze())
    asked = np.array([5.0, -2.0]).tobytes()
    assert data == msgspec.msgpack.encode(
        {
            "books": [
                {"traded": 2.5, "sent": [(1_000, 3)], "asked_at": 1_000, "asked": asked, "orders": 3},
                {"traded": 0.0, "sent": [], "asked_at": 0, "asked": b"", "orders": 0},
            ],
            "session_end": 9_000,
        }
    )
    again = Activity(2, 2)
    request(again, 5, [1.0, 1.0], limits, book=1)
    again.thaw(msgspec.msgpack.decode(data, type=FrozenActivity))
    assert msgspec.msgpack.encode(again.freeze()) == data
    again.books[0].forget()
    assert again.books[0].freeze() == FrozenBookActivity()


def test_what_was_done_lately_survives_a_snapshot() -> None:
    limits = Limits(max_turnover=0.5, order_rate=Rate(50, 7 * DAY_NS), max_share_of_volume=0.1)
    world = World(block(walk(DAYS, 4, 1)), [rotating], house=limits).run()
    state = world.shell.state
    again = thaw(world.rules, freeze(state))
    assert again.activity.freeze() == state.activity.freeze()
    assert any(book.sent for book in state.activity.books)
    assert np.array_equal(again.average_volume(), state.average_volume())
    assert freeze(again) == freeze(state)


def test_the_average_volume_leaves_out_what_is_unknown() -> None:
    volume = np.full((30, 3), np.nan)
    volume[:, 0] = np.arange(30)
    volume[1::2, 2] = 50.0
    state = World(block(walk(30, 3, 4), volume=volume), [lambda view: np.zeros(3)]).run().shell.state
    volumes = state.average_volume()
    assert volumes[0] == np.arange(10, 30).mean()
    assert np.isnan(volumes[1])
    assert volumes[2] == 50.0
