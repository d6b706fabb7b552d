"""Crosses in columns: records in the order in which they were made, also where a symbol has several."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.core.order_columns import Crosses
from quantd.daemon.engine.state.open_orders import Cross, OpenCrosses

AGENTS, SIZE = 4, 5


@st.composite
def cross(draw: st.DrawFn) -> Cross:
    """A cross of two to four agents, in any order."""
    agents = draw(st.lists(st.integers(0, AGENTS - 1), min_size=2, max_size=AGENTS, unique=True))
    lots = [draw(st.integers(1, 9)) for _ in agents[1:]]
    shares = list(zip(agents, [-sum(lots), *lots], strict=True))
    numbers = [draw(st.integers(0, 2**62)) for _ in range(5)]
    return Cross(numbers[0], numbers[1], draw(st.integers(0, SIZE - 1)), shares, *numbers[2:])


def opened(crosses: list[Cross]) -> OpenCrosses:
    columns = OpenCrosses(AGENTS, SIZE)
    for record in crosses:
        columns.add(msgspec.structs.replace(record))
    return columns


@given(st.lists(cross(), max_size=8), st.integers(0, SIZE - 1))
def test_they_are_a_list_of_records(crosses: list[Cross], symbol: int) -> None:
    columns = opened(crosses)
    assert list(columns) == crosses
    assert (len(columns), bool(columns)) == (len(crosses), bool(crosses))
    assert columns.count == sum(1 for parties in columns.parties if parties)
    encoded = msgspec.msgpack.encode(crosses)
    assert msgspec.msgpack.encode(list(columns)) == encoded
    again = OpenCrosses(AGENTS, SIZE)
    again.keep(msgspec.msgpack.decode(encoded, type=list[Cross]))
    assert list(again) == crosses
    columns.drop(symbol)
    assert list(columns) == [record for record in crosses if record.symbol != symbol]
    columns.clear()
    assert list(columns) == []
    assert not columns.further


@given(st.lists(cross(), max_size=8), st.data())
def test_the_columns_have_the_first_ones_as_far_as_they_can(crosses: list[Cross], data: st.DataObject) -> None:
    kept = [record for record in crosses if data.draw(st.booleans())]
    columns = opened(crosses)
    columns.keep([record for record in columns if record in kept])
    remaining = [record for record in crosses if record in kept]
    last, place = -1, 0
    for record in remaining:
        if record.symbol <= last or record.shares != sorted(record.shares):
            break
        last, place = record.symbol, place + 1
    assert columns.count == place
    assert columns.further == remaining[place:]


def test_shares_without_lots_are_kept_as_they_are() -> None:
    odd = [Cross(1, 2, 0, [], 9, 8, 7), Cross(1, 2, 1, [(0, 3), (1, 0), (2, -3)], 9, 8, 7)]
    assert list(opened(odd)) == odd
    assert opened(odd).count == 0


def test_those_of_a_plan_enter_with_their_decision() -> None:
    planned, waiting = Crosses(AGENTS, SIZE), OpenCrosses(AGENTS, SIZE)
    before = Cross(1, 2, 3, [(0, 7), (1, -7)], 30, 20, 0)
    waiting.add(before)
    waiting.clear()
    for symbol, shares in ((1, [(1, 4), (3, -4)]), (3, [(0, -2), (2, 1), (3, 1)])):
        for agent, lots in shares:
            planned.lots[agent, symbol] = lots
        planned.parties[symbol], planned.end[symbol] = len(shares), 50 + symbol
        planned.buy_worst[symbol], planned.sell_worst[symbol] = 30 + symbol, 20 + symbol
    planned.count = 2
    waiting.take(planned, 900, 901)
    assert list(waiting) == [
        Cross(900, 901, 1, [(1, 4), (3, -4)], 31, 21, 51),
        Cross(900, 901, 3, [(0, -2), (2, 1), (3, 1)], 33, 23, 53),
    ]
