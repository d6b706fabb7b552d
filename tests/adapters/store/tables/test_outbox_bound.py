"""The bound of the outbox: what goes first, what never goes, and that nothing is counted twice."""

import json

from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.store.tables.outbox_bound import LEVELS, Message, admit
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading.effects import Publish
from quantd.trading.events import SliceRef
from tests.support.store import START, UNIVERSE, batch

RUN = "7f3k2m1a"


def message(k: int, level: str, kind: str) -> Message:
    return Message((RUN, k, 0), k, level, kind, f"{kind} {k}")


messages = st.lists(st.tuples(st.sampled_from(LEVELS), st.sampled_from(["feed", "store", "lag"])), max_size=40)


@given(waiting=messages, arrived=messages, capacity=st.integers(1, 12))
def test_a_full_outbox_keeps_every_critical_and_the_newest_of_the_rest(waiting, arrived, capacity):
    old = [message(k, *m) for k, m in enumerate(waiting[:capacity])]
    new = [message(100 + k, *m) for k, m in enumerate(arrived)]
    change = admit(old, new, capacity)
    gone = set(change.leave)
    after = [m for m in old if m.key not in gone] + change.enter
    assert len({m.key for m in after}) == len(after)
    kinds = {m.kind for m in after if m.level == "CRITICAL"}
    assert len(after) <= capacity + len(kinds)
    said = [m for m in old + new if m.level == "CRITICAL"]
    kept = [m for m in after if m.level == "CRITICAL"]
    for kind in ("feed", "store", "lag"):
        assert sum(1 + m.merged for m in kept if m.kind == kind) == sum(1 for m in said if m.kind == kind)
    lost = [m for m in old + new if m.level != "CRITICAL" and m.key not in {x.key for x in after}]
    assert change.dropped == len(lost)
    if len(old) + len(new) <= capacity:
        assert not lost
        assert change.enter == new
    if any(m.level == "WARNING" for m in lost):
        # no INFO outlives a WARNING that was waiting when it came
        first = min(m.key for m in lost if m.level == "WARNING")
        assert all(m.key > first for m in after if m.level == "INFO")
    for level in ("INFO", "WARNING"):
        order = [m.key for m in old + new if m.level == level]
        kept_keys = [m.key for m in after if m.level == level]
        assert kept_keys == [key for key in order if key in kept_keys]


def test_messages_wait_until_acknowledged_over_restarts_and_an_acknowledgement_of_a_merged_one_is_void(desk):
    with desk.open(capacity=3) as store:
        fold = store.begin(RUN, UNIVERSE)
        day = [(SliceRef(k), [Publish(START + k, "CRITICAL", "feed", f"{k}")]) for k in range(3)]
        store.commit(batch(fold, 1, day))
    with desk.open(capacity=3) as store:
        fold = store.begin(RUN, UNIVERSE)
        sending = store.pending()
        assert [m.key[1] for m in sending] == [1, 2, 3]
        store.commit(batch(fold, 4, [(SliceRef(3), [Publish(START + 3, "CRITICAL", "feed", "3")])]))
        assert store.acknowledge([m.key for m in sending]) == 2
        (survivor,) = store.pending()
        assert (survivor.key, survivor.merged) == ((RUN, 4, 0), 1)
        assert json.loads(survivor.body)["text"] == "3"
        assert store.acknowledge([survivor.key]) == 1
        assert store.pending() == []
        assert verify(store.where, store.folder) == []


def test_the_queue_of_a_sink_has_its_own_bound_and_its_own_acknowledgements(desk):
    with desk.open(capacity=3) as store:
        fold = store.begin(RUN, UNIVERSE)
        day = [(SliceRef(k), [Publish(START + k, "WARNING", "note", f"{k}")]) for k in range(1, 6)]
        for first, sinks in (
            (1, ()),
            (2, ("webhook",)),
            (3, ("webhook", "other")),
            (4, ("webhook",)),
            (5, ("webhook",)),
        ):
            entry_batch = batch(fold, first, day[first - 1 : first], durable=True)
            entry_batch.sinks = dict.fromkeys(sinks, lambda row: True)
            store.commit(entry_batch)
        assert [m.key[1] for m in store.pending()] == [3, 4, 5]
        assert [m.key[1] for m in store.pending(sink="webhook")] == [3, 4, 5]
        assert [m.key[1] for m in store.pending(sink="other")] == [3]
        assert (store.dropped(), store.dropped("webhook"), store.dropped("other")) == (2, 1, 0)
        assert store.acknowledge([(RUN, 3, 0), (RUN, 4, 0)], "webhook") == 2
        assert (store.waiting(), store.waiting("webhook"), store.waiting("other")) == (3, 1, 1)
        assert verify(store.where, store.folder) == []
    with desk.open(capacity=3) as store:
        assert [m.key[1] for m in store.pending(sink="webhook")] == [5]
        assert store.acknowledge([(RUN, 5, 0)], "webhook") == 1
        assert (store.waiting(), store.waiting("webhook"), store.waiting("other")) == (3, 0, 1)
