"""/api/v1/jobs and /api/v1/schedules/{name}/run: the jobs of schedules, their runs, and a run by hand."""

from collections.abc import Sequence
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.jobs.job_lanes import JobLanes
from quantd.daemon.jobs.job_table import JOBS, JobRunLine, line_of
from quantd.daemon.runtime.schedule import next_instants
from quantd.daemon.runtime.service import Service
from quantd.server.api.access.guard import TOKEN, sender_of
from quantd.server.api.documents import PLAIN, Query, Rows
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteGroup, RunsOfJobs
from quantd.server.api.route_records import Post, Read
from quantd.server.api.run_reader import RunReader
from quantd.server.requests.control import Because
from quantd.server.requests.schedule_now import run_now
from quantd.trading.display_text import instant_text

PLAIN_NAME: Final = r"^[a-z_]{0,32}(?!\n)$"


class NewestJobs(Query, frozen=True):
    """The newest runs of jobs that contain a text."""

    limit: Rows = 100
    job: Annotated[str, Meta(pattern=PLAIN_NAME, description="Only runs of this job.")] | None = None
    search: Annotated[str, Meta(pattern=PLAIN, description="Only runs that contain this text, in any case.")] = ""


class JobLine(Struct, frozen=True):
    """One job: its record, its schedules, its last run, and the next instant at which a schedule starts it."""

    name: str
    text: str
    where: str
    timeout_s: float
    attempts: int
    by_hand: bool
    schedules: list[str]
    last: JobRunLine | None
    next: str | None


class JobsNow(Struct, frozen=True):
    """Every job, the newest runs, and the number of all runs that match the query."""

    run: str
    jobs: list[JobLine]
    runs: list[JobRunLine]
    total: int


class RunSchedule(Struct, frozen=True, forbid_unknown_fields=True):
    """Run a schedule now."""

    reason: Because


def contains(run: JobRun, text: str) -> bool:
    """Whether a text of a job run contains `text`, in any case; a space matches an underscore of the job's name."""
    texts = run.job, run.job.replace("_", " "), *run.schedules, run.state, run.result, run.who, run.reason
    return any(text.lower() in field_text.lower() for field_text in texts)


def lines_of_jobs(service: Service, parts: Parts, runs: Sequence[JobRun]) -> list[JobLine]:
    """Every job with its last run and the next instant at which a schedule starts it.

    `runs` has the newest run first.
    """
    lines = []
    for job in JOBS:
        job_schedules = [schedule for schedule in parts.schedules if schedule.do == job.name]
        next_runs = next_instants(job_schedules, parts.sessions, service.shell.ts, 1) if job_schedules else []
        last_run = next((run for run in runs if run.job == job.name), None)
        lines.append(
            JobLine(
                job.name, job.text, job.place, job.timeout_s, job.attempts, job.by_hand,
                [schedule.name for schedule in job_schedules], None if last_run is None else line_of(last_run),
                instant_text(next_runs[0][0]) if next_runs else None,
            )
        )  # fmt: skip
    return lines


class JobRoutes:
    """The handlers of jobs; a read-only instance has no lanes, and runs none."""

    def __init__(self, run: RunReader, runs: RunsOfJobs, lanes: JobLanes | None) -> None:
        self._service, self._parts, self._runs, self._lanes = run.service, run.parts, runs, lanes

    async def jobs(self, request: web.Request, query: NewestJobs) -> JobsNow:
        """The lines of all jobs, the newest runs that match the query, and the number of all that match."""
        all_runs = self._runs.runs()
        runs = [run for run in all_runs if query.job in (None, run.job) and contains(run, query.search)]
        lines, jobs = [line_of(run) for run in runs[: query.limit]], lines_of_jobs(self._service, self._parts, all_runs)
        names = [job.name for job in jobs]
        if query.job and not runs and query.job not in names:  # an empty list would say that it never ran
            raise Refused(404, "job", f"there is no job {query.job[:40]!r}; the jobs are {', '.join(names)}")
        return JobsNow(self._service.run, jobs, lines, len(runs))

    async def job(self, request: web.Request, query: Query) -> JobRunLine:
        id = request.match_info["id"]
        run = self._runs.get(int(id)) if id.isdecimal() and len(id) < 19 else None  # 18 digits fit the store's 64 bits
        token = request.get(TOKEN)
        # an outside agent reads the jobs that it started
        if run is None or (token is not None and token.agent and run.who != sender_of(token)):
            raise Refused(404, "not_found", f"there is no job run {id!r}; /api/v1/jobs lists the newest ones")
        return line_of(run)

    async def run(self, asked: RunSchedule, sender: str, name: str) -> JobRunLine:
        """Queues a run of a schedule. Raises NotDone."""
        assert self._lanes is not None
        return line_of(await run_now(self._service, self._lanes, name, asked.reason, sender))


ROUTES: Final = RouteGroup(
    "jobs",
    140,
    lambda context: None if context.job_runs is None else JobRoutes(context.run, context.job_runs, context.lanes),
    routes=(
        Read(
            "/api/v1/jobs", JobRoutes.jobs, "Jobs of schedules and their runs.", call="jobs",
            form={"defaults": {"job": ""}},
        ),
        Read("/api/v1/jobs/{id}", JobRoutes.job, "One run of a job.", call="job"),
        Post(
            "/api/v1/schedules/{name}/run", JobRoutes.run, "Run a schedule now.", '{"reason": ".."}', jobs=True,
            call="run_schedule", form={"about": "Run a schedule now; `job` polls the run."},
        ),
    ),
)  # fmt: skip
