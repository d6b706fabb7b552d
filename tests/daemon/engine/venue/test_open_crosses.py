"""Crosses in columns: records in the order in which they were made, also where a symbol has several."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

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
