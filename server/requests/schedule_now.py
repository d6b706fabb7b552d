"""Runs a schedule now, at an operator's request."""

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.jobs.job_lanes import JobLanes
from quantd.daemon.jobs.job_log import AlreadyRunning
from quantd.daemon.jobs.job_table import BY_NAME
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import HALT
from quantd.server.requests.control import NotDone, check_ready, one_line
from quantd.trading.orders import ScheduleRun


async def run_now(service: Service, lanes: JobLanes, name: str, reason: str, sender: str) -> JobRun:
    """Queue a run of a schedule and return it.

    A job that runs in the event loop becomes an event of the journal, with its sender. The agents of the schedule
    decide after the market events that are queued already. Any other job is started by the runner of its lane (a queue
    of jobs that run one after another), outside the event loop.

    Raises NotDone without a reason, and for a schedule that is unknown or not enabled. It also raises NotDone for a job
    that may not be run by hand or is running, and for a rebalance while trading is halted.
    """
    check_ready(service)
    reason_line = one_line(reason)
    if not reason_line:
        raise NotDone("reason", 'the run by hand has no reason for the journal; add --reason "…"')
    schedule = next((candidate for candidate in lanes.parts.schedules if candidate.name == name), None)
    if schedule is None:
        if any(candidate.name == name for candidate in service.config.schedules):
            raise NotDone("conflict", f"schedule {name!r} is not enabled; write enabled = true and start again")
        names = ", ".join(candidate.name for candidate in lanes.parts.schedules) or "none"
        raise NotDone("schedule", f"there is no schedule {name!r}; the schedules are {names}")
    record, state = BY_NAME[schedule.do], service.shell.state
    if not record.by_hand:
        raise NotDone("conflict", f"{record.name} cannot be run by hand; only its schedule starts it")
    if schedule.do == "rebalance" and (state.switch.state == HALT or state.flattening):
        raise NotDone("conflict", "trading is halted; resume it first (`quantd resume`)")
    try:
        run = lanes.log.begin(schedule.do, (name,), due_ts=service.shell.ts, who=sender, reason=reason_line)
    except AlreadyRunning as why:
        raise NotDone("conflict", f"{why}; `quantd schedule list --jobs 20` shows it") from None
    await lanes.log.flush()
    if record.where != "loop":
        lanes.runners[record.lane].request(run)
        return run
    asked_agents = lanes.parts.asked_by(schedule) if schedule.do == "rebalance" else ()
    event = ScheduleRun(state.now, run.id, name, schedule.do, reason_line, sender, asked_agents)
    await service.inbox.put([[event]])  # one instant with one event
    return run
