"""The runners of all jobs beside trading, one for each lane, and the log of their runs."""

from collections.abc import Mapping
from pathlib import Path

from quantd.daemon.assembly.parts import Parts
from quantd.daemon.jobs.job_log import JobLog, newest_due
from quantd.daemon.jobs.job_table import JOBS, LANES
from quantd.daemon.jobs.maintenance import Upkeep
from quantd.daemon.jobs.risk_reports import Reporter
from quantd.daemon.jobs.runner import Jobs, Work
from quantd.daemon.jobs.tasks.data_refresh import DataRefresh
from quantd.daemon.jobs.tasks.health_check import HealthCheck
from quantd.daemon.jobs.tasks.statement_job import StatementJob
from quantd.daemon.runtime.service import Service
from quantd.research.jobs.parity_check import ParityCheck
from quantd.trading.ports import Broker
from quantd.training.jobs.retrainer import Retraining


def works_of(
    service: Service,
    parts: Parts,
    folder: Path,
    where: str | Path,
    sets: tuple[str, ...] = (),
    venue: Broker | None = None,
) -> dict[str, Work]:
    """The work of each job beside trading.

    `where` is the state folder or a URL, `sets` are overrides of keys, `venue` is a real one.
    """
    reporter = Reporter(service, folder, where, parts.market, parts.slices)
    upkeep = Upkeep(service, service.store, folder, where)
    return {
        "daily_report": reporter.work,
        "risk_report": reporter.work,
        "backup": upkeep.work,
        "compact": upkeep.work,
        "parity": ParityCheck(service, folder, where).work,
        "retrain": Retraining(service, parts, service.config).work,
        "data_refresh": DataRefresh(service).work,
        "health_check": HealthCheck(service, folder, sets).work,
        "statement": StatementJob(service, folder, venue, parts.sessions[parts.universe.calendar]).work,
    }


class JobLanes:
    """The jobs of one service."""

    def __init__(self, service: Service, parts: Parts, works: Mapping[str, Work]) -> None:
        self.parts = parts
        self.log = JobLog(service, newest_due(parts.schedules, parts.sessions))
        self.runners = {
            lane: Jobs(service, {each.name: works[each.name] for each in JOBS if each.lane == lane}, self.log)
            for lane in LANES
        }
