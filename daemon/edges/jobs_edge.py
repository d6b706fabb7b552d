"""The jobs of schedules: a runner for each lane (in which jobs run one at a time), and the log of runs."""

from typing import Final

from quantd.daemon.assembly.job_records import JobContext
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge, Until
from quantd.daemon.jobs.job_lanes import JobLanes, works_of


def opened(context: EdgeContext) -> OpenEdge:
    """Open the edge, a service: the runner of each lane, in which jobs run one at a time, and the log of their runs."""
    service, parts = context.service, context.parts
    venue = None if context.outside is None else context.outside.venue
    works = works_of(JobContext(service, parts, context.folder, context.store, context.sets, venue))
    lanes = context.jobs = JobLanes(service, parts, works)
    runners = [EdgeTask(name, runner.run, Until.OVER) for name, runner in lanes.runners.items()]
    return OpenEdge((*runners, EdgeTask("runs of jobs", lanes.log.run, Until.OVER)))


JOBS: Final = Edge("jobs", 20, opened)
