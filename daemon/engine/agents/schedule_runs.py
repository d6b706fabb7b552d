"""Handler of a schedule that an operator runs now."""

from collections.abc import Sequence

from quantd.daemon.engine.rounds import ask_agents
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.switch import flatten
from quantd.daemon.engine.samples import AT_SAMPLES
from quantd.daemon.engine.state import State
from quantd.risk.switch import HALT
from quantd.trading.effects import Effect, Snapshot
from quantd.trading.orders import ScheduleRun


def on_schedule_run(state: State, run: ScheduleRun) -> Sequence[Effect]:
    """Do the job of a schedule, and ask the agents that are due, on the last sample and the newest marks."""
    because = f"{run.who}: {run.reason}"
    effects: list[Effect] = []
    if run.job:  # a shadow has no job
        effects.append(alert(state, "INFO", "operator", f"schedule {run.schedule} runs by hand ({because})"))
    if run.job in AT_SAMPLES:
        state.later.add(run.job)
    silent = state.rules.outside
    due = [number for number in run.due if not state.agents[number].suspended and state.seats[number] not in silent]
    # while everything is being sold, a policy's targets would cancel the sales
    if due and state.switch.state != HALT and not state.flattening and state.sample:
        state.revalue()
        effects.extend(ask_agents(state, due, state.now))
    if run.job == "snapshot":
        effects.append(Snapshot(state.now))
    if run.job == "flatten":
        effects.extend(flatten(state, because))
    return effects
