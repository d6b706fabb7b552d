"""The loop around the shell: commits before anything leaves, commands first, a store that fails, a clean end."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from quantd.adapters.sinks.sink import SinkError
from quantd.adapters.store.handle import Store
from quantd.adapters.store.upkeep.verify import verify
from quantd.daemon.monitoring.watchdog import halt_file, watch_halt_file
from quantd.daemon.runtime import service as service_module
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.journal import Journal, ReplayDifference, fold
from quantd.daemon.runtime.service import StoreGaveUp, reason_of
from quantd.daemon.runtime.timeline import instants
from quantd.daemon.views.run_summary import summary
from quantd.risk.limits.catalogue import Limits
from quantd.risk.switch import HALT
from quantd.server.requests.control import NotDone, operator
from quantd.trading.codec import decode, encode
from quantd.trading.events import Condition, Operator, Stopping
from tests.support.engine import START, Kept, World
from tests.support.mqtt import until
from tests.support.service_kit import FullFor, Kit, Slow, backtest, world


def starts_halted(kit: Kit, folder: Path, of: World) -> None:
    """The store of the run is sound, and its next start is halted."""
    kit.store.close()
    assert verify(folder) == []
    again = Kit(folder, of)
    assert again.shell.state.switch.state == HALT
    again.store.close()


@pytest.mark.requirement("R-171")
async def test_a_paper_run_has_the_digest_of_a_backtest_and_its_journal_folds_again(tmp_path: Path) -> None:
    of = world()
    kit = Kit(tmp_path, of)
    await kit.run()
    digest = summary(kit.shell, "x", "paper", 1.0).digest
    assert digest == backtest(of)
    kit.store.close()
    assert verify(tmp_path) == []
    again = Kit(tmp_path, of)
    assert summary(again.shell, "x", "paper", 1.0).digest == digest
    again.store.close()


@pytest.mark.requirement("R-005", "R-008", "R-268", "F-41")
async def test_a_run_that_stopped_anywhere_continues_to_the_same_digest(tmp_path: Path) -> None:
    of = world()
    expected = backtest(of)
    for stop_after in (3, 20, 21, 40):
        kit = Kit(tmp_path, of)
        await kit.take(of, stop_after)
        kit.store.close()
    kit = Kit(tmp_path, of)
    await kit.run()
    assert summary(kit.shell, "x", "paper", 1.0).digest == expected
    kit.store.close()


async def test_a_command_is_done_once_it_is_committed_and_goes_before_waiting_bars(tmp_path: Path) -> None:
    of = world()
    kit = Kit(tmp_path, of)
    todo = list(instants(of.items()))
    for k in range(0, 16, 4):
        await kit.service.inbox.put(todo[k : k + 4])
    done = kit.service.inbox.command(Operator(START, "halt", "test", "me"))
    task = asyncio.create_task(kit.service.step_forever())
    await asyncio.wait_for(done, 60)
    assert kit.shell.state.switch.state == HALT
    recorded = [decode(data).event for _, data in kit.store.entries("run00001")]
    assert any(isinstance(e, Operator) for e in recorded)
    kit.service.inbox.command(Stopping(START, False, "test"))
    await asyncio.wait_for(task, 60)
    kit.store.close()


@pytest.mark.parametrize("put", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/nowhere")])
async def test_the_halt_file_stops_trading_and_a_restart_is_still_halted(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    of = world()
    kit = Kit(tmp_path, of)
    put(tmp_path / "HALT")
    watching = asyncio.create_task(watch_halt_file(kit.service))
    task = asyncio.create_task(kit.service.step_forever())
    await kit.service.inbox.put(list(instants(of.items()))[:4])
    await until(lambda: kit.shell.state.switch.state == HALT and not len(kit.service.inbox))
    watching.cancel()
    assert kit.shell.tally.orders == 0  # it was there before the first bar
    kit.service.inbox.command(Stopping(START, False, "test"))
    await asyncio.wait_for(task, 60)
    starts_halted(kit, tmp_path, of)


@pytest.mark.long
async def test_a_halt_does_not_wait_for_a_slow_disk_and_is_durable_with_the_next_batch(tmp_path: Path) -> None:
    of = world()
    slow = Slow(Store.open(tmp_path))
    kit = Kit(tmp_path, of, slow)  # type: ignore[arg-type]
    stepping = asyncio.create_task(kit.service.step_forever())
    await kit.service.inbox.put(list(instants(of.items()))[:4])
    await slow.writing.wait()
    done = kit.service.inbox.command(Operator(START, "halt", "test", "me"))
    await asyncio.sleep(0.05)
    assert kit.shell.state.switch.state == HALT
    assert not done.done()
    assert kit.store.last_seq("run00001") == 0  # the batch before it is still on its way
    await asyncio.wait_for(done, 60)
    recorded = [decode(data).event for _, data in kit.store.entries("run00001")]
    assert [e.command for e in recorded if isinstance(e, Operator)] == ["halt"]
    kit.service.inbox.command(Stopping(START, False, "test"))
    await asyncio.wait_for(stepping, 60)
    starts_halted(kit, tmp_path, of)


@pytest.mark.long
async def test_a_full_disk_halts_trading_loses_nothing_and_says_so(tmp_path: Path) -> None:
    of = world()
    kit = Kit(tmp_path, of, FullFor(Store.open(tmp_path), 2))  # type: ignore[arg-type]
    await kit.run()
    assert kit.shell.state.switch.state == HALT
    assert [json.loads(m.payload)["kind"] for m in kit.urgent] == ["store", "switch"]
    assert kit.shell.state.switch.reason == "store"
    starts_halted(kit, tmp_path, of)


@pytest.mark.long
async def test_while_the_disk_is_full_the_switch_the_alert_and_a_halt_need_no_store(tmp_path: Path) -> None:
    of = world()
    full = FullFor(Store.open(tmp_path), 1_000_000)
    kit = Kit(tmp_path, of, full)  # type: ignore[arg-type]
    stepping = asyncio.create_task(kit.service.step_forever())
    await kit.service.inbox.put(list(instants(of.items()))[:4])
    await until(lambda: kit.service.store_error)
    assert kit.service.status == "store failing"
    assert "the disk is full: no space left" in kit.service.store_error
    assert (kit.shell.state.switch.state, kit.shell.state.switch.reason) == (HALT, "store")
    assert {m.topic.rsplit("/", 1)[1] for m in kit.urgent} == {"store", "switch"}
    assert [json.loads(m.payload)["switch"] for m in kit.sent if m.retain] == ["HALT"]
    done = kit.service.inbox.command(operator(kit.service, "halt", "by hand", "me"))
    await asyncio.wait_for(done, 60)  # answered long before there is room
    for command in ("resume", "flatten"):
        with pytest.raises(NotDone, match=r"still failing|needs the store"):
            operator(kit.service, command, "again", "me")  # type: ignore[arg-type]
    urgent = [m.id for m in kit.urgent]
    kit.sent.clear()
    full.left = 0
    await until(lambda: not kit.service.store_error and kit.store.last_seq("run00001") == kit.service.journal.seq)
    assert kit.service.status == "running"
    switches = [json.loads(m.payload)["switch"] for m in kit.sent if m.topic.endswith("/risk")]
    assert switches[:2] == ["RUN", "HALT"], "the batch that waited does not have the last word"
    kit.service.inbox.command(Stopping(START, False, "test"))
    await asyncio.wait_for(stepping, 60)
    recorded = [decode(data).event for _, data in kit.store.entries("run00001")]
    said = [(e.up if isinstance(e, Condition) else e.command) for e in recorded if isinstance(e, Condition | Operator)]
    assert said == [False, "halt", True]
    waiting = [f"{key[0]}-{key[1]}-{key[2]}" for key in (m.key for m in kit.store.pending())]
    assert set(urgent) <= set(waiting), "published early with the ids that the store gives them"
    starts_halted(kit, tmp_path, of)


@pytest.mark.long
async def test_a_halt_that_the_store_never_took_holds_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "FULL_S", 1.0)
    of = world()
    kit = Kit(tmp_path, of, FullFor(Store.open(tmp_path), 1_000_000))  # type: ignore[arg-type]
    await kit.service.inbox.put(list(instants(of.items()))[:2])
    stepping = asyncio.create_task(kit.service.step_forever())
    await asyncio.wait_for(kit.service.inbox.command(Operator(START, "halt", "test", "me")), 60)
    with pytest.raises(StoreGaveUp, match=r"a halt is not recorded, so .*HALT was made"):
        await asyncio.wait_for(stepping, 60)
    assert halt_file(kit.service)
    kit.store.close()


@pytest.mark.long
@pytest.mark.parametrize("harm", ["deleted", "replaced", "log", "table", "trigger"])
async def test_a_store_that_is_harmed_while_it_is_open_halts_and_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr(service_module, "FULL_S", 1.0)
    of = world()
    kit = Kit(tmp_path, of, Store.open(tmp_path, account="paper", lease_s=0.9))
    stepping = asyncio.create_task(kit.service.step_forever())
    await kit.service.inbox.put(list(instants(of.items()))[:4])
    await asyncio.sleep(0.5)
    assert not kit.service.store_error
    file = tmp_path / "quantd.db"
    if harm == "deleted":
        file.unlink()
    elif harm == "replaced":
        shutil.copyfile(file, tmp_path / "copy")
        (tmp_path / "copy").replace(file)
    elif harm == "log":
        (tmp_path / "quantd.db-wal").unlink()
    else:
        sql = "DROP TABLE bookings" if harm == "table" else "CREATE TRIGGER t AFTER INSERT ON fills BEGIN SELECT 1; END"
        with sqlite3.connect(file, timeout=5) as elsewhere:
            elsewhere.execute(sql)
    # nothing is traded meanwhile: the idle daemon finds it
    with pytest.raises(StoreGaveUp, match="while quantd runs"):
        await asyncio.wait_for(stepping, 60)
    assert kit.shell.state.switch.reason == "store"
    assert any("/alerts/CRITICAL/" in m.topic and b"restore a backup" in m.payload.lower() for m in kit.urgent)
    kit.store.close()


@pytest.mark.long
async def test_a_store_that_stays_full_ends_the_daemon_without_acting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "FULL_S", 0.6)
    of = world()
    kit = Kit(tmp_path, of, FullFor(Store.open(tmp_path), 1_000))  # type: ignore[arg-type]
    await kit.service.inbox.put(list(instants(of.items()))[:2])
    with pytest.raises(StoreGaveUp):
        await asyncio.wait_for(kit.service.step_forever(), 60)
    assert {m.topic for m in kit.sent} == {"quantd/paper/risk"}, "the switch, and nothing of the batch"
    assert kit.queued == []
    kit.store.close()


async def test_a_daemon_that_lost_its_lease_with_nothing_to_commit_leaves_too(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world(), Store.open(tmp_path, account="alpaca:PA123", lease_s=0.3))
    stepping = asyncio.create_task(kit.service.step_forever())
    await asyncio.sleep(0.2)
    assert not stepping.done()
    with sqlite3.connect(tmp_path / "quantd.db") as elsewhere:
        elsewhere.execute("UPDATE lease SET token = token + 1, holder = 'two'")
    with pytest.raises(StoreGaveUp, match=r"two on .* with token 2"):
        await asyncio.wait_for(stepping, 60)
    kit.store.close()


def test_another_policy_makes_a_replay_differ_only_where_it_was_asked(tmp_path: Path) -> None:
    of = world(20)
    log = Kept()
    shell, entries = of.fresh(log), log.entries
    for item in of.items():
        shell.take(item)
    # recorded answers are used, whatever the policy would say now
    other = World(of.bars, [lambda v: [0.1, 0.1]], house=of.rules.house, agent=Limits())
    journal = Journal(iter(entries))
    again = other.fresh(journal)
    fold(again, journal, instants(other.items()))
    assert journal.compared == len(entries)
    assert again.digest.hexdigest() == shell.digest.hexdigest()


def test_a_changed_byte_in_the_record_is_a_difference_that_is_named() -> None:
    of = world(20)
    log = Kept()
    shell, entries = of.fresh(log), log.entries
    for item in of.items():
        shell.take(item)
    at = next(k for k, e in enumerate(entries) if any(type(f).__name__ == "Filled" for f in decode(e).effects))
    entry = decode(entries[at])
    filled = next(f for f in entry.effects if type(f).__name__ == "Filled")
    filled.lots[0] += 1  # type: ignore[union-attr]
    entries[at] = encode(entry.event, entry.effects)  # type: ignore[arg-type]
    again = of.fresh(Journal(iter(entries)))
    with pytest.raises(ReplayDifference, match=r"Filled.*lots"):
        fold(again, again.log, instants(of.items()))  # type: ignore[arg-type]


def test_alerts_beyond_their_rate_are_held_back_but_critical_ones_never() -> None:
    now = [0.0]
    passes = AlertFilter(("INFO", "WARNING", "CRITICAL"), 2, "", "UTC", now=lambda: now[0])
    assert [passes.passes("WARNING", "var") for _ in range(4)] == [True, True, False, False]
    assert passes.passes("WARNING", "other")
    assert all(passes.passes("CRITICAL", "var") for _ in range(5))
    now[0] = 61.0
    assert passes.passes("WARNING", "var")
    assert passes.held_back == 2


def test_quiet_hours_hold_back_information_only() -> None:
    passes = AlertFilter(("INFO", "WARNING", "CRITICAL"), 99, "22:00-07:00", "UTC", now=lambda: 23 * 3600.0)
    assert not passes.passes("INFO", "x")
    assert passes.passes("WARNING", "x")
    awake = AlertFilter(("INFO", "WARNING", "CRITICAL"), 99, "22:00-07:00", "UTC", now=lambda: 12 * 3600.0)
    assert awake.passes("INFO", "x")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SinkError("the receiver\nanswers 503"), "the receiver answers 503"),
        (SinkError(""), "SinkError: "),
        (ValueError("2 is\tno price"), "ValueError: 2 is no price"),
    ],
)
def test_a_reason_has_the_type_of_an_error_that_quantd_did_not_write(error: Exception, text: str) -> None:
    assert reason_of(error) == text
