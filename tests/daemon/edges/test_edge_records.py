"""Edges are found by their records, and a run opens, begins, stops and closes them in their order."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge, edges
from quantd.trading.exit_codes import CONFIG as WRONG_CONFIG
from quantd.trading.exit_codes import ExplainedError
from tests.support.command_line import CONFIG, answer, quantd, write

Log = list[tuple[str, str]]


class Refused(ExplainedError):
    exit_code = WRONG_CONFIG


def logged(record: Edge, log: Log) -> Edge:
    """An edge that notes its stages, and does at each what the record does."""

    def opened(context: EdgeContext) -> OpenEdge | None:
        log.append(("open", record.name))
        edge = record.open(context)
        if edge is None:
            return None

        async def start() -> None:
            log.append(("start", record.name))
            await edge.start()

        def begin(tasks: asyncio.TaskGroup) -> None:
            log.append(("begin", record.name))
            edge.begin(tasks)

        async def stopping() -> None:
            log.append(("stopping", record.name))
            await edge.stopping()

        def last() -> None:
            log.append(("last", record.name))
            edge.last()

        async def close() -> None:
            log.append(("close", record.name))
            await edge.close()

        def noted(task: EdgeTask) -> EdgeTask:
            async def run() -> None:
                log.append((f"task {task.until.name}", record.name))
                try:
                    await task.run()
                finally:
                    log.append((f"ended {task.until.name}", record.name))

            return replace(task, run=run)

        return OpenEdge(list(map(noted, edge.tasks)), start, begin, stopping, last, close)

    return Edge(record.name, record.order, opened)


def run_with(monkeypatch: pytest.MonkeyPatch, records: Mapping[str, Edge], log: Log) -> None:
    """Let a run in this process have these edges."""
    monkeypatch.setattr("quantd.daemon.app.edges", lambda: {name: logged(one, log) for name, one in records.items()})


def names(log: Log, *stages: str) -> list[str]:
    return [name for stage, name in log if stage in stages]


@pytest.mark.long
def test_a_run_opens_begins_stops_and_closes_its_edges_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: Log = []
    run_with(monkeypatch, edges(), log)
    write(tmp_path, CONFIG)
    assert answer(quantd(tmp_path, "run", "--json"))["positions"]
    stages = [stage for stage, _ in log]
    order = names(log, "start")
    assert order == [name for name in edges() if name in order]
    assert names(log, "open") == list(edges())
    rising = [("open", min), ("start", min), ("start", max), ("begin", min), ("begin", max), ("stopping", min)]
    places = [end(i for i, stage in enumerate(stages) if stage == name) for name, end in rising]
    assert places == sorted(places)
    assert stages.index("start") < min(i for i, stage in enumerate(stages) if stage.startswith("task"))
    assert names(log, "begin") == names(log, "close") == order
    assert names(log, "stopping") == order[::-1]
    begun = names(log, "task STOP")
    assert begun.index("halt file") < begun.index("market"), "an existing file applies to the first bar"
    ends = [i for i, stage in enumerate(stages) if stage == "ended OVER"]
    assert stages.index("last") < min(ends), "bus and jobs end after the last message"
    assert max(ends) < stages.index("close")


@pytest.mark.parametrize("stage", ["open", "start"])
def test_an_edge_that_does_not_open_ends_the_start_and_closes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def refuse(context: EdgeContext) -> OpenEdge:
        async def start() -> None:
            raise Refused("the door is locked; open it")

        if stage == "open":
            raise Refused("the door is locked; open it")
        return OpenEdge(start=start)

    log: Log = []
    door = Edge("door", 45, refuse)
    present = sorted([*edges().values(), door], key=lambda record: record.order)
    run_with(monkeypatch, {record.name: record for record in present}, log)
    write(tmp_path, CONFIG)
    done = quantd(tmp_path, "run")
    assert (done.returncode, "the door is locked; open it" in done.stderr) == (WRONG_CONFIG, True)
    closed = names(log, "close")
    assert closed[:4] == ["bus", "jobs", "api", "deliveries"]
    assert not [stage for stage, _ in log if stage.startswith("task")], "nothing was stepped"
