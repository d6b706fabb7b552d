"""What the bus gets of a batch: states composed once, and entries that give the same messages from any process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantd.adapters.bus.entry_messages import EntryComposer
from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.outbox import Lanes, StoredAlerts
from quantd.adapters.store.handle import Store, read_only
from quantd.daemon.runtime import service as service_module
from quantd.daemon.runtime.committed_folds import sent_by
from quantd.risk.limits.catalogue import Limits
from quantd.trading.codec import decode
from quantd.trading.effects import Crossed, Ended, Filled, Planned, Publish
from quantd.trading.execution import Costs
from quantd.trading.orders import OrderBasket
from quantd.trading.view import View
from tests.support.engine import World, block, walk
from tests.support.service_kit import Kit

RUN = "run00001"


def often_wrong(view: View) -> list[float]:
    """Weights that change each day; every seventh answer is an exception, which opens an incident."""
    if view.sample % 7 == 3:
        raise ValueError("on purpose")
    return [0.1 * (view.sample % 5), 0.4]


def thin(days: int = 60) -> World:
    """A world whose bars have too little volume for the orders: their rest expires at a close, in a later entry."""
    bars, costs = block(walk(days, 2, 11), volume=np.full((days, 2), 2_000.0)), Costs(participation=0.1)
    return World(bars, [often_wrong], house=Limits(max_drawdown=0.9), agent=Limits(), costs=costs, log=None)


def commit_often(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Commit after so many steps."""
    patch.setattr(service_module, "COMMIT_STEPS", steps)
    patch.setattr(service_module, "YIELD_S", 0.0)


def messages_of(entries: Sequence[tuple[int, bytes]], store: Any, of: World) -> list[Message]:
    """The messages of entries, composed by a process that has composed none before."""
    composer = Composer(RUN, "paper", of.universe, [agent.name for agent in of.rules.agents])
    entry_composer = EntryComposer(composer, sent_by(store, RUN))
    return [message for seq, data in entries for message in entry_composer.messages(seq, data)]


async def test_a_retained_message_is_that_of_the_newest_step_of_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, kits = thin(), []
    for steps in (1, 20):
        commit_often(monkeypatch, steps)
        kits.append(Kit(tmp_path / str(steps), of))
        await kits[-1].run()
        kits[-1].store.close()
    step_messages, many = ([message for message in kit.sent if message.topic.endswith("/portfolio")] for kit in kits)
    assert len(many) < len(step_messages) / 3
    assert set(many) <= set(step_messages), "a commit of many steps publishes what a commit of its newest one does"
    assert (many[-1], len(step_messages)) == (step_messages[-1], 60)
    for kit, states in zip(kits, (step_messages, many), strict=True):
        risk = [message for message in kit.sent if message.topic.endswith("/risk")]
        assert len(risk) == len(states), "a commit that moves neither account nor switch publishes no state"
        assert len(kit.sent) == len(risk) + len(states)


async def test_messages_sent_at_once_and_from_the_store_after_a_restart_have_the_same_bytes(tmp_path: Path) -> None:
    of = thin()
    kit = Kit(tmp_path, of)
    await kit.run()
    sent = messages_of([(entry.seq, entry.data) for entry in kit.queued], kit.store, of)
    kit.store.close()
    records = read_only(tmp_path)
    entries = list(records.entries(RUN))
    assert messages_of(entries, records, of) == sent, "a process that reads the whole journal"
    assert [m for entry in entries for m in messages_of([entry], records, of)] == sent, "one that reads a single entry"
    assert len({message.id for message in sent}) == len(sent)
    kinds = (Planned, OrderBasket, Filled, Crossed, Ended)
    effects = [(seq, k, type(e)) for seq, data in entries for k, e in enumerate(decode(data).effects)]
    assert [message.id for message in sent] == [f"{RUN}-{seq}-{k}" for seq, k, kind in effects if kind in kinds]
    assert b'"symbol":""' not in b"".join(message.payload for message in sent), "each end of an order names it"


@pytest.mark.long
async def test_each_process_of_a_run_names_the_orders_that_another_one_sent(tmp_path: Path) -> None:
    of = thin()
    sent: list[Message] = []
    has_more = True
    while has_more:
        kit = Kit(tmp_path, of)
        has_more = await kit.take(of, 5)
        sent += messages_of([(entry.seq, entry.data) for entry in kit.queued], kit.store, of)
        entries = list(kit.store.entries(RUN))
        composed = messages_of(entries, kit.store, of)
        kit.store.close()
    assert sent == composed, "as if one process had sent all"
    ends = [message for message in sent if b'"state":"expired"' in message.payload]
    assert len(ends) > 5
    assert b'"symbol":""' not in b"".join(message.payload for message in sent)


async def test_alerts_have_the_ids_and_the_order_of_the_journal_before_and_after_a_restart(tmp_path: Path) -> None:
    of = thin()
    kit = Kit(tmp_path, of)
    await kit.run()
    lanes = Lanes(StoredAlerts(kit.store, kit.composer), EntryComposer(kit.composer).messages)
    lanes.add(kit.queued)
    at_once = [message for message in lanes.pending(10_000) if "/alerts/" in message[1]]
    published = [
        f"{RUN}-{seq}-{k}"
        for seq, data in kit.store.entries(RUN)
        for k, effect in enumerate(decode(data).effects)
        if type(effect) is Publish
    ]
    kit.store.close()
    assert len(published) > 3
    with Store.open(tmp_path) as store:
        later = StoredAlerts(store, Composer(RUN, "paper", of.universe, ["a0"]))
        assert list(later.pending(10_000)) == at_once
    ids = [id for id, *_ in at_once]
    assert [id for id in ids if id in published] == published
    assert ids == sorted(ids, key=lambda id: [int(number) for number in id.split("-")[1:]])
