"""One alert that a receiver refuses never holds up its queue, and a receiver that refuses all loses none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from quantd.adapters.sinks.sink import SinkError
from quantd.daemon.jobs import alert_delivery
from quantd.daemon.jobs.alert_refusals import ALERTS, TRIES, Refusals, is_refusal
from tests.daemon.jobs.alert_desk import Desk, desk, webhook_of
from tests.support.mqtt import until
from tests.support.sink_servers import Receiver


def raised(d: Desk, *words: str) -> None:
    """Raise alerts; their commits are not awaited, because reports may follow meanwhile."""
    for text in words:
        d.service.alert(text)


def texts(receiver: Receiver) -> list[str]:
    return [alert.text for alert in receiver.taken]


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("status", [400, 403, 413, 422, 500])
@pytest.mark.parametrize("group_s", [0.0, 0.05])
async def test_a_refused_alert_is_set_aside_with_one_alert_and_the_others_are_delivered(
    tmp_path: Path, status: int, group_s: float
) -> None:
    receiver = Receiver()
    receiver.rejects = {"poison": status}
    await receiver.start()
    async with desk(tmp_path, webhook_of(receiver), group_s=group_s) as d:
        with capture_logs() as lines:
            raised(d, "first", "poison", "second", "third")
            await until(lambda: len(d.texts()) == 5 and not d.kit.store.waiting("webhook"))
        report = d.texts()[-1]
        taken = "; ".join(texts(receiver))
        assert [name in taken for name in ("first", "second", "third", report)] == [True] * 4, taken
        assert "poison" not in taken
        assert report == (
            f"the sink webhook does not take the WARNING alert {d.ids()[1]} of kind upkeep (the receiver "
            f"answers {status}); it is set aside, and other alerts are delivered. Read it with `quantd alerts`"
        )
        assert [line["id"] for line in lines if line["event"] == "alerts.set_aside"] == [d.ids()[1]]
        await until(lambda: not d.counts.error and d.counts.depth == 0)
    await receiver.stop()


async def test_a_new_alert_does_not_wait_for_the_pause_of_a_refused_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    receiver.rejects = {"poison": 413}
    await receiver.start()
    async with desk(tmp_path, webhook_of(receiver)) as d:
        raised(d, "poison")
        await until(lambda: d.counts.failures > TRIES)
        monkeypatch.setattr(alert_delivery, "FIRST_S", 3_600.0)
        monkeypatch.setattr(alert_delivery, "LONGEST_S", 3_600.0)
        d.service.alert("new")
        await until(lambda: "new" in texts(receiver))
        assert texts(receiver)[0] == "new"
    await receiver.stop()


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_a_receiver_that_refuses_everything_for_a_while_loses_nothing(tmp_path: Path, status: int) -> None:
    receiver = Receiver()
    receiver.rejects = {"": status}
    await receiver.start()
    async with desk(tmp_path, webhook_of(receiver)) as d:
        raised(d, "one", "two", "three")
        await until(lambda: d.counts.failures > 3 * TRIES)
        receiver.rejects = {}
        await until(lambda: len(receiver.taken) == 3 and not d.kit.store.waiting("webhook"))
        assert sorted(texts(receiver)) == sorted(d.texts()) == ["one", "three", "two"]
    await receiver.stop()


@given(st.data())
def test_only_an_alert_that_is_refused_between_deliveries_of_others_is_set_aside(data: st.DataObject) -> None:
    refusals, aside, taken = Refusals(), set[str](), 0
    marks: dict[str, list[int]] = {}
    for _ in range(data.draw(st.integers(0, 60))):
        id = data.draw(st.sampled_from("abc"))
        if id in aside:
            continue
        if data.draw(st.booleans()):
            refusals.taken([id])
            taken += 1
            marks.pop(id, None)
            assert not refusals.has(id)
        else:
            earlier = marks.setdefault(id, [])
            decisive = refusals.refused([id])
            assert decisive == (len(earlier) >= TRIES and earlier[-1] < taken)
            earlier.append(taken)
            assert decisive or refusals.deferred(id) == (len(earlier) >= TRIES)
            if decisive:
                aside.add(id)
                marks.pop(id)


def test_refused_alerts_are_bounded_and_their_turns_rotate() -> None:
    refusals = Refusals()
    for _ in range(TRIES):
        refusals.refused(["a", "b"])
    assert refusals.in_turn(["b", "a"]) == ["a", "b"]
    refusals.refused(["a"])
    assert refusals.in_turn(["b", "a"]) == ["b", "a"]
    for n in range(ALERTS):
        refusals.refused([f"other {n}"])
    assert len(refusals) == ALERTS
    assert not refusals.has("a")


def test_what_is_not_about_the_alert_is_no_refusal() -> None:
    assert [is_refusal(why) for why in (SinkError("x"), TimeoutError(), ConnectionResetError())] == [False] * 3
    assert [is_refusal(why) for why in (SinkError("x", refused=True), UnicodeError())] == [True] * 2
