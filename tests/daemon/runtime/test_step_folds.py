"""Each committed step is passed to all folds, in the order of their records and of the journal."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.step_folds import Add, StepFold, step_folds
from quantd.trading.codec import decode
from quantd.trading.effects import Effect, Valued
from quantd.trading.events import Event
from quantd.trading.market import MarketSlice
from tests.support.service_kit import Kit, world


async def test_a_new_fold_takes_each_step_of_the_journal_once_after_what_comes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, Event, Sequence[Effect]]] = []
    with_effects: list[int] = []

    def all_steps(service: Service) -> Add:
        def add(seq: int, event: Event, effects: Sequence[Effect]) -> None:
            taken.append((seq, event, effects))

        return add

    def those_with_effects(service: Service) -> Add:
        def add(seq: int, event: Event, effects: Sequence[Effect]) -> None:
            with_effects.append(seq)
            values = [effect for effect in effects if isinstance(effect, Valued)]
            assert service.histories.portfolio.newest(len(values)) == values, "histories come before it"

        return add

    added = StepFold("all", 15, all_steps), StepFold("effects", 45, those_with_effects, effects_only=True)
    records = sorted([*step_folds().values(), *added], key=lambda record: record.order)
    monkeypatch.setattr("quantd.daemon.runtime.step_folds.step_folds", lambda: {fold.name: fold for fold in records})
    kit = Kit(tmp_path, world())
    await kit.run()
    written = [(seq, decode(data)) for seq, data in kit.store.entries("run00001", 1)]
    kit.store.close()
    assert [seq for seq, _, _ in taken] == [seq for seq, _ in written] == list(range(1, len(written) + 1))
    assert [len(effects) for _, _, effects in taken] == [len(entry.effects) for _, entry in written]
    for (_, event, _), (_, entry) in zip(taken, written, strict=True):
        assert isinstance(event, MarketSlice) or event == entry.event
    assert with_effects == [seq for seq, entry in written if entry.effects]
    assert 0 < len(with_effects) < len(taken)


def test_the_projection_is_first_and_messages_follow_what_their_readers_look_up() -> None:
    order = list(step_folds())
    assert order[0] == "projection"
    assert order.index("histories") < order.index("causes") < order.index("messages")
