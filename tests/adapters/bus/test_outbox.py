"""Where messages wait: alerts first and in the store, the rest in memory that is bounded."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus.messages import Message
from quantd.adapters.bus.outbox import Lanes, QueuedEntry
from quantd.adapters.bus.publisher import Outgoing
from tests.adapters.bus.journal_entries import RUN
from tests.support.mqtt import MemoryOutbox


def compose(seq: int, data: bytes) -> list[Message]:
    """Two messages of an entry."""
    return [Message(f"{RUN}-{seq}-{k}", "quantd/paper/orders", data + b"-%d" % k, False) for k in range(2)]


def entry(seq: int, size: int = 10) -> QueuedEntry:
    return QueuedEntry(seq, b"%d" % seq * size, 2)


def message(k: int) -> Message:
    return Message(f"{RUN}-1-{k}", "quantd/paper/fills", b"%d" % k, False)


def test_durable_messages_go_first_and_each_lane_forgets_its_own() -> None:
    durable = MemoryOutbox()
    lanes = Lanes(durable, compose)
    for k in range(3):
        lanes.put(message(k))
    durable.put("alert", "t", b"x")
    assert [id for id, *_ in lanes.pending(3)] == ["alert", f"{RUN}-1-0", f"{RUN}-1-1"]
    assert lanes.depth() == 4
    lanes.acknowledge(["alert", f"{RUN}-1-0"])
    assert durable.depth() == 0
    assert [id for id, *_ in lanes.pending(9)] == [f"{RUN}-1-1", f"{RUN}-1-2"]


def test_a_message_that_gave_way_while_it_was_sent_is_not_looked_for_in_the_store() -> None:
    class Strict(MemoryOutbox):
        def acknowledge(self, ids: Sequence[str]) -> None:
            assert set(ids) <= self.messages.keys()
            super().acknowledge(ids)

    lanes = Lanes(Strict(), compose, capacity=1)
    lanes.put(message(0))
    sent = [id for id, *_ in lanes.pending(9)]
    lanes.put(message(1))
    lanes.acknowledge(sent)
    assert lanes.depth() == 1


@pytest.mark.requirement("R-181")
@given(st.integers(0, 40), st.integers(1, 10))
def test_memory_keeps_the_newest_and_counts_what_gave_way(count: int, capacity: int) -> None:
    lanes = Lanes(MemoryOutbox(), compose, capacity)
    for k in range(count):
        lanes.put(message(k))
    kept = [payload for _, _, payload, _ in lanes.pending(100)]
    assert kept == [b"%d" % k for k in range(max(0, count - capacity), count)]
    assert lanes.dropped() == max(0, count - capacity)


def test_memory_is_bounded_by_the_size_of_its_messages_too() -> None:
    lanes = Lanes(MemoryOutbox(), compose, capacity_bytes=1_000)
    for k in range(30):
        lanes.put(Message(f"{RUN}-1-{k}", "quantd/paper/orders", b"x" * 300, False))
    assert [id for id, *_ in lanes.pending(100)] == [f"{RUN}-1-{k}" for k in (27, 28, 29)]
    assert lanes.dropped() == 27
    lanes.put(Message(f"{RUN}-1-29", "quantd/paper/orders", b"y" * 400, False))
    assert lanes.depth() == 3
    lanes.acknowledge([f"{RUN}-1-27", f"{RUN}-1-28", f"{RUN}-1-29"])
    lanes.put(Message(f"{RUN}-2-0", "quantd/paper/orders", b"x" * 1_000, False))
    assert lanes.depth() == 1


class Stuck(MemoryOutbox):
    """A store on a full disk: it can be read, and forgets nothing."""

    full = True

    def acknowledge(self, ids: Sequence[str]) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().acknowledge(ids)


def test_memory_is_sent_while_the_store_forgets_nothing_and_what_arrived_is_sent_once() -> None:
    durable = Stuck()
    lanes = Lanes(durable, compose)
    for k in range(3):
        durable.put(f"alert-1-{k}", "t", b"x")
    sent: list[str] = []
    for _ in range(2):
        sent += (ids := [id for id, *_ in lanes.pending(2)])
        with pytest.raises(OSError, match="No space"):
            lanes.acknowledge(ids)
        lanes.put(message(7))
    assert sent == ["alert-1-0", "alert-1-1", "alert-1-2", f"{RUN}-1-7"]
    durable.full = False
    assert [id for id, *_ in lanes.pending(2)] == [f"{RUN}-1-7"]
    assert durable.depth() == 0


def test_memory_is_sent_while_the_store_cannot_be_read() -> None:
    class Gone(MemoryOutbox):
        def pending(self, limit: int) -> Sequence[Outgoing]:
            raise OSError(2, "No such file")

    lanes = Lanes(Gone(), compose)
    lanes.put(message(1))
    assert [id for id, *_ in lanes.pending(32)] == [f"{RUN}-1-1"]
    lanes.acknowledge([f"{RUN}-1-1"])
    with pytest.raises(OSError, match="No such file"):
        lanes.pending(32)


def test_an_entry_is_composed_when_it_is_sent_and_once_however_often_it_is_sent() -> None:
    composed: list[int] = []

    def counting(seq: int, data: bytes) -> list[Message]:
        composed.append(seq)
        return compose(seq, data)

    lanes = Lanes(MemoryOutbox(), counting)
    lanes.add([entry(seq) for seq in range(1, 101)])
    assert (composed, lanes.depth()) == ([], 200)
    tries = [[id for id, *_ in lanes.pending(3)] for _ in range(5)]
    assert tries == [[f"{RUN}-1-0", f"{RUN}-1-1", f"{RUN}-2-0"]] * 5
    assert (composed, lanes.depth()) == ([1, 2], 200)
    sent: list[str] = []
    while ids := [id for id, *_ in lanes.pending(32)]:
        sent += ids
        lanes.acknowledge(ids)
    assert sent == [f"{RUN}-{seq}-{k}" for seq in range(1, 101) for k in range(2)]
    assert composed == list(range(1, 101))
    assert lanes.depth() == 0


def test_an_entry_that_gives_way_is_never_composed_and_its_effects_are_counted() -> None:
    composed: list[int] = []
    lanes = Lanes(MemoryOutbox(), lambda seq, data: composed.append(seq) or compose(seq, data), capacity=10)
    lanes.add([entry(seq) for seq in range(1, 21)])
    assert (lanes.depth(), lanes.dropped()) == (10, 30)
    assert [id for id, *_ in lanes.pending(2)] == [f"{RUN}-16-0", f"{RUN}-16-1"]
    assert composed == [16]


def test_entries_are_bounded_by_their_size_too_and_give_way_before_an_alert() -> None:
    lanes = Lanes(MemoryOutbox(), compose, capacity_bytes=1_000)
    lanes.put(message(1))
    lanes.add([entry(seq, size=300) for seq in range(1, 8)])
    assert (lanes.depth(), lanes.dropped()) == (7, 8)
    assert [id for id, *_ in lanes.pending(9)][:3] == [f"{RUN}-1-1", f"{RUN}-5-0", f"{RUN}-5-1"]


def test_an_entry_that_cannot_be_composed_now_delays_no_message_and_is_sent_later() -> None:
    down = True

    def failing(seq: int, data: bytes) -> list[Message]:
        if down:
            raise OSError(5, "Input/output error")
        return compose(seq, data)

    durable = MemoryOutbox()
    lanes = Lanes(durable, failing)
    lanes.add([entry(seq) for seq in (1, 2, 3)])
    with pytest.raises(OSError, match="Input/output"):
        lanes.pending(9)
    durable.put("alert", "t", b"x")
    lanes.put(message(7))
    assert [id for id, *_ in lanes.pending(9)] == ["alert", f"{RUN}-1-7"]
    lanes.acknowledge(["alert", f"{RUN}-1-7"])
    down = False
    assert [id for id, *_ in lanes.pending(9)] == [f"{RUN}-{seq}-{k}" for seq in (1, 2, 3) for k in range(2)]
    assert (lanes.depth(), lanes.dropped()) == (6, 0)
