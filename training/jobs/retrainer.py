"""Scheduled retraining of shadows' policies, one at a time, in a process of low priority that ends with the service.

The result of a training is an event of the journal. The policies that trade change only at the next start.

What can go wrong. A training would slow down trading: so it is a process of low priority with a time limit. The
training process would outlive the service: so its whole process group is killed. A failure of one agent would end the
training of the other agents: so the failure becomes an event of this agent. A promoted policy would trade a new version
without a comparison: so a promoted policy is not trained again.

Only shadows are trained, and a new version is used from the next start on.
"""

import asyncio
import os
import signal
import sys
import time
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import Agent, Config
from quantd.daemon.jobs.runner import Announced, Stopped
from quantd.daemon.policies.loading import artifact_folder
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.schedule import Schedule
from quantd.daemon.runtime.service import Service, reason_of
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.models.artifacts.versions import CURRENT, resolved
from quantd.trading.model_events import Retrained
from quantd.trading.sessions import Sessions
from quantd.training.jobs.retraining_worker import Order, failure

log = structlog.get_logger("quantd.retraining")

JOB: Final = "retrain"
MAX_LINE: Final = 1 << 16
"""Maximum size of an answer in bytes."""

NO_ARTIFACTS: Final[Mapping[str, str]] = {}

MODULE: Final = "quantd.training.jobs.retraining_worker"


class Retraining:
    """The retraining job of one service. `_left` are the agents that the present run of the job has not trained yet."""

    def __init__(self, service: Service, parts: Parts, config: Config) -> None:
        self._service = service
        self._parts = parts
        self._config = config
        self._run = 0
        self._left: list[Agent] = []

    async def work(self, run: JobRun) -> str:
        """Train the agents of a run of the job; a later attempt trains the agents that failed.

        Raises Announced, an error whose alert is raised already, when the training of any agent fails. Raises Stopped
        when the daemon ends.
        """
        # a new run begins with all its agents; a repeated one has those that failed
        if run.id != self._run:
            schedules = [
                schedule for schedule in self._parts.schedules if schedule.do == JOB and schedule.name in run.schedules
            ]
            self._run, self._left = run.id, to_train(self._config, schedules)
        ts = run.due_ts or self._service.shell.ts
        failed = []
        for agent in self._left:
            if not await self._train(agent, ts):
                failed.append(agent)
            if self._service.over:
                raise Stopped
        self._left = failed
        if failed:
            raise Announced(f"retraining of {', '.join(agent.name for agent in failed)} failed")
        return "trained"

    async def _train(self, agent: Agent, ts: int) -> bool:
        """Train an agent and journal an event about the result. Returns True when there is a new version."""
        began = time.monotonic()
        until: date | None = None
        answer: Retrained | None
        try:
            until = last_day(self._parts.sessions[self._parts.universe.calendar], ts)
            if champion := self._promoted(agent.name):
                raise ArtifactError(
                    f"its policy was promoted and decides for {champion}, which would trade a new version without a "
                    f"comparison; write a version of it as {champion}'s own policy first"
                )
            answer = await self._answer(order_of(self._config, agent, until, self._loaded()))
        except Exception as error:  # a failure must not affect other agents
            expected = isinstance(error, ArtifactError | OSError)
            why = str(error)[:400] if expected else reason_of(error)
            # time 0: `_journal` sets it
            answer = Retrained(0, agent.name, until=str(until or ""), failed=why)
        if answer is None:
            log.warning("retraining.ended", agent=agent.name, reason="the service stops")
            return False
        fields = {key: value for key, value in msgspec.structs.asdict(answer).items() if value}
        level = log.error if answer.failed else log.info
        level("retraining", seconds=round(time.monotonic() - began, 1), **fields)
        self._journal(answer)
        return not answer.failed

    def _promoted(self, name: str) -> str:
        """The name of the agent for whom the policy of the shadow `name` decides; empty where it decides for none."""
        state = self._service.shell.state
        policy_number = state.rules.seats.index(name)
        return next((r.name for r, s in zip(state.rules.agents, state.seats, strict=True) if s == policy_number), "")

    def _loaded(self) -> dict[str, str]:
        """Return agent's name -> path of the artifact that an operator loaded in place of the agent's configured
        policy.
        """
        return {name: artifact.path for name, artifact in self._service.shell.state.loaded.items()}

    async def _answer(self, order: Order) -> Retrained | None:
        """The answer of the process that carries out `order`; None when the service stopped first."""
        table = self._config.document.retrain
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE,
            start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, table.nice)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            reading = asyncio.create_task(process.stdout.readline())
            if not await self._in_time(reading, table.within_ns / 1e9):
                reading.cancel()
                if self._service.over:
                    return None
                return failure(
                    order, f"no result within {table.within_ns / 1e9:g} s ([retrain] within): it was stopped"
                )
            try:
                return msgspec.json.decode(reading.result(), type=Retrained)
            except (msgspec.MsgspecError, ValueError):
                code = await process.wait()
                status = f"signal {-code}" if code < 0 else f"exit code {code}"
                return failure(order, f"its process ended with {status} and no result; the log may have the reason")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _in_time(self, reading: "asyncio.Task[bytes]", limit_s: float) -> bool:
        """Wait for an answer. Returns False when the time limit passes or the service stops first."""
        deadline = time.monotonic() + limit_s
        while not reading.done() and not self._service.over and time.monotonic() < deadline:
            # wakes twice a second, to see whether the service stops
            changed = asyncio.create_task(self._service.changed(0.5))
            await asyncio.wait(
                {reading, changed}, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED
            )
            changed.cancel()
        return reading.done()

    def _journal(self, answer: Retrained) -> None:
        if self._service.over:
            return  # the journal is closed; the log has the result
        try:
            self._service.inbox.command(msgspec.structs.replace(answer, ts=self._service.shell.state.now))
        except InboxFull:
            log.error("retraining.unheard", agent=answer.agent)


def to_train(config: Config, schedules: list[Schedule]) -> list[Agent]:
    """The shadows that these schedules name; a schedule without agents names all shadows whose policy is a folder."""
    names = {name for schedule in schedules for name in schedule.agents}
    all_folders = any(not schedule.agents for schedule in schedules)
    return [a for a in config.shadows if a.name in names or (all_folders and "/" in a.policy and ".py" not in a.policy)]


def order_of(config: Config, agent: Agent, until: date, loaded: Mapping[str, str] = NO_ARTIFACTS) -> Order:
    """The order to retrain `agent`'s policy with data up to `until`.

    `loaded` maps the name of an agent to the path of an artifact that decides in place of its configured policy. The
    bars are the file of [retrain], or without one the file of a replayed feed. Data that end before the order's date
    `stale` are refused. The order's `takes` is True where artifacts need no signature.

    The new version is compared with the policy of the champion, the agent that `agent` challenges, if this policy is
    trained, else with the present version. Raises ArtifactError for a policy that is no folder of versions.
    """
    table, feed = config.document.retrain, config.feed
    folder = versions_of(config, agent)
    champion = next(
        (
            loaded.get(candidate.name, candidate.policy)
            for candidate in config.agents
            if candidate.name == agent.challenges
        ),
        "",
    )
    champion_folder = artifact_folder(champion, config.source.folder) if "/" in champion else None
    recorded = feed.kind == "replay" and not table.bars
    bars, actions = (feed.path, feed.actions) if recorded else (table.bars, table.actions)
    return Order(
        agent=agent.name,
        folder=str(folder.resolve()),
        bars=str(config.at(bars).resolve()),
        actions=str(config.at(actions).resolve()) if actions else "",
        until=str(until),
        stale=str(until - timedelta(microseconds=table.stale_ns // 1000)),
        against=str(champion_folder.resolve())
        if champion_folder is not None and (champion_folder / MANIFEST).is_file()
        else "",
        expanding=table.expanding,
        rule=table.model_dump(include={"measure", "confidence", "min_gain", "max_drawdown_ratio"}),
        takes=not config.models.trusted_keys,
    )


def versions_of(config: Config, agent: Agent) -> Path:
    """The folder of versions of `agent`'s policy. Raises ArtifactError without one."""
    folder = config.at(agent.policy)
    if resolved(folder) == folder:
        raise ArtifactError(
            f'[[agents]] "{agent.name}": policy = "{agent.policy}" is no folder of versions ({folder / CURRENT} is '
            f"missing); `quantd train ARTIFACT --retrain --out {agent.policy}` begins one"
        )
    return folder


def last_day(sessions: Sessions, ts: int) -> date:
    """The date of the last session that has closed at `ts`. Raises IndexError where no session has closed by then."""
    row = bisect_right(sessions.close_ns, ts) - 1
    if row < 0:
        raise IndexError(f"calendar {sessions.name} begins after the requested day")
    return datetime.fromtimestamp(sessions.day_ns[row] // 10**9, UTC).date()
