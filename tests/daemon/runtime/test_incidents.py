"""Incidents of a running service: the table is a fold of the journal, after a restart and after kill -9 too."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from quantd.adapters.sinks.sink import Counts, Selection
from quantd.adapters.store.handle import read_only
from quantd.adapters.store.incidents.incident_fold import Incident, Incidents
from quantd.adapters.store.upkeep.verify import verify
from quantd.daemon.jobs.reminders import Reminders
from quantd.server.requests.acknowledgement import acknowledgement
from quantd.trading.codec import decode
from quantd.trading.events import Condition, Event, Operator, Stopping
from tests.support.service_kit import CONFIG, Kit, world

RUN = "run00001"
HOUR_NS = 3_600 * 10**9


def replayed(folder: Path) -> list[Incident]:
    """The incidents of the journal, folded again from its first entry."""
    fold = Incidents()
    for seq, data in read_only(folder, folder).entries(RUN):
        entry = decode(data)
        fold.add(entry.event, entry.effects, ["a0"].__getitem__, lambda k, seq=seq: f"{RUN}-{seq}-{k}")
    return sorted(fold.all(), key=lambda incident: incident.key)


def stored(folder: Path) -> list[Incident]:
    return sorted(read_only(folder, folder).incidents(RUN).all(), key=lambda incident: incident.key)


async def obeyed(kit: Kit, *events: Event) -> None:
    """Step and commit events, and go on."""
    stepping = asyncio.create_task(kit.service.step_forever())
    for event in events:
        await kit.service.inbox.command(event)
    kit.service.inbox.command(Stopping(kit.service.shell.state.now, False, "test"))
    await stepping


def down(kit: Kit, what: str, up: bool = False) -> Condition:
    return Condition(kit.service.shell.state.now, what, up, "of the test")  # type: ignore[arg-type]


def states(incidents: Sequence[Incident]) -> dict[str, str]:
    return {incident.kind: incident.state for incident in incidents}


async def test_the_table_is_the_journal_folded_again_over_restarts_and_acknowledgements(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    await obeyed(kit, down(kit, "feed"), down(kit, "clock"), Operator(0, "halt", "test", "me"))
    assert states(stored(tmp_path)) == {"clock": "raised", "feed": "raised", "switch": "raised"}
    kit.store.close()
    kit = Kit(tmp_path, world())
    assert (
        sorted(kit.service.incidents.all(), key=lambda incident: incident.key) == stored(tmp_path) == replayed(tmp_path)
    )
    feed = next(incident for incident in kit.service.incidents.active() if incident.kind == "feed")
    stepping = asyncio.create_task(kit.service.step_forever())
    await asyncio.sleep(0)
    await kit.service.inbox.command(acknowledgement(kit.service, feed.id, "the vendor knows", "ann"))
    await kit.service.inbox.command(down(kit, "clock", up=True))
    kit.service.inbox.command(Stopping(kit.service.shell.state.now, False, "test"))
    await stepping
    kit.store.close()
    assert states(stored(tmp_path)) == {"clock": "cleared", "feed": "acknowledged", "switch": "raised"}
    assert stored(tmp_path) == replayed(tmp_path)
    assert verify(tmp_path) == []
    with closing(sqlite3.connect(tmp_path / "quantd.db")) as db:
        db.execute("UPDATE incidents SET who = 'eve' WHERE who = 'ann'")
        db.commit()
    assert [finding for finding in verify(tmp_path) if finding.startswith("incidents")] != []


def test_after_kill_9_the_table_is_that_of_the_committed_journal(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        try:
            asyncio.run(_killed(tmp_path))
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert stored(tmp_path) == replayed(tmp_path)
    assert states(stored(tmp_path))["feed"] == "raised"
    assert states(stored(tmp_path))["clock"] == "cleared"
    assert "lag" not in states(stored(tmp_path)), "its step was not committed"
    kit = Kit(tmp_path, world())
    assert sorted(kit.service.incidents.all(), key=lambda incident: incident.key) == replayed(tmp_path)
    kit.store.close()
    assert verify(tmp_path) == []


async def _killed(folder: Path) -> None:
    kit = Kit(folder, world())
    asyncio.create_task(kit.service.step_forever())  # noqa: RUF006 - it ends with the process
    for event in (down(kit, "feed"), down(kit, "clock"), down(kit, "clock", up=True)):
        await kit.service.inbox.command(event)
    kit.service.shell.run(down(kit, "lag"))
    os.kill(os.getpid(), signal.SIGKILL)


async def test_an_unacknowledged_incident_is_reminded_of_and_escalated_to_the_next_sink(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    service = kit.service
    alerts = CONFIG.alerts.model_copy(update={"escalate": ("ntfy", "telegram"), "escalate_after_ns": 600 * 10**9})
    service.config = replace(CONFIG, document=CONFIG.document.model_copy(update={"alerts": alerts}))
    for kind in ("ntfy", "telegram"):
        service.sinks[kind] = Counts(selection=Selection(), kind=kind, later=kind == "telegram")
    begin = service.shell.state.now
    clock = [begin]
    reminders = Reminders(service, lambda: clock[0])
    stepping = asyncio.create_task(service.step_forever())
    await service.inbox.command(down(kit, "feed"))
    queue = {kind: [m.body for m in kit.store.pending(100, kind)] for kind in ("ntfy", "telegram")}
    assert (len(queue["ntfy"]), len(queue["telegram"])) == (2, 0), "feed and switch; the second sink comes later"
    for at, expected in ((599, (2, 0)), (601, (2, 2)), (3_599, (2, 2)), (3_601, (4, 4)), (3_700, (4, 4))):
        clock[0] = begin + at * 10**9
        reminders.once()
        reminders.once()
        await service.drained()
        await asyncio.sleep(0.05)
        depths = tuple(len(kit.store.pending(100, kind)) for kind in ("ntfy", "telegram"))
        assert depths == expected, at
    feed = next(incident for incident in service.incidents.active() if incident.kind == "feed")
    await service.inbox.command(acknowledgement(service, feed.id, "seen", "ann"))
    clock[0] = begin + 40 * HOUR_NS
    reminders.once()
    await service.drained()
    assert feed.id not in {m.body for m in kit.store.pending(100, "ntfy")[4:]}
    await service.inbox.command(down(kit, "feed", up=True))
    bodies = [m.body for m in kit.store.pending(100, "telegram")]
    assert '"state":"cleared"' in bodies[-1], "who was told of the start is told of the end"
    service.inbox.command(Stopping(service.shell.state.now, False, "test"))
    await stepping
    kit.store.close()
    assert stored(tmp_path) == replayed(tmp_path)
    assert verify(tmp_path) == []
