"""Validates the load of an artifact for an agent, before it becomes an event.

What can go wrong: an artifact that cannot decide takes the place of one that does. So it is loaded in a thread, and
asked once on a copy of the present state. Only after both it is taken for the event.

Order: whose policy decides for the agent is checked before the load and after it. A promotion may have been stepped
meanwhile, and the load would then be for the policy of another agent.
"""

import asyncio

from msgspec import Struct

from quantd.daemon.assembly.loaded_artifacts import NoArtifact, named, version_of
from quantd.daemon.engine.rounds import ask_agents
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.seats import artifacts_in, configured_as
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import RUN
from quantd.server.requests.control import AgentName, ArtifactName, Because, NotDone, check_agent, check_ready, one_line
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Ask
from quantd.trading.events import Condition
from quantd.trading.model_events import ModelLoaded
from quantd.trading.ports import Policy, leaves


class LoadModel(Struct, frozen=True, forbid_unknown_fields=True):
    """Load an artifact: its `path` as in `policy` of [[agents]], or a `version` beside the present one, or both."""

    reason: Because
    path: ArtifactName = ""
    version: ArtifactName = ""


class LoadShadow(LoadModel, frozen=True, forbid_unknown_fields=True):
    """Load an artifact into a shadow that challenges an agent. `shadow` chooses one of several."""

    shadow: AgentName = ""


class Reasoned(Struct, frozen=True, forbid_unknown_fields=True):
    """A reason for the journal."""

    reason: Because


def seat_of(state: State, agent: str) -> int:
    """The number of the policy of an agent. Raises NotDone where another one's policy decides for it."""
    policy_number, count = state.rules.names().index(agent), len(state.agents)
    now = state.seats[policy_number] if policy_number < count else state.shadows[policy_number - count].seats[0]
    if now != policy_number:
        other = state.rules.names()[now]
        raise NotDone("conflict", f"the policy of {other} decides for {agent} since a promotion; demote it first")
    return policy_number


async def model_loaded(
    service: Service, asked: LoadModel, who: str, agent: str
) -> tuple[ModelLoaded] | tuple[ModelLoaded, Condition]:
    """Return the event of a load after every check, with an alert where the model was trained on this recorded market.

    The policy is then prepared. Raises NotDone for an unknown agent, a place of a portfolio, an outside agent and a
    missing reason. The same holds for an artifact that is missing, in use, unfit, or fails on the present state.
    """
    check_agent(service, agent)
    check_ready(service)
    if agent in service.config.places:
        raise NotDone("conflict", f"{agent} is a place for a portfolio, whose targets decide")
    reason = one_line(asked.reason)
    if not reason:
        raise NotDone("reason", "a load needs a reason for the journal")
    if not (asked.path or asked.version):
        raise NotDone("unfit", 'name an artifact (path = "models/mine"), or a version of the present one')
    state, config, seats = service.shell.state, service.config, service.shell.seats
    if state.rules.outside_seat(agent) is not None:
        raise NotDone("conflict", f"{agent} is an outside agent: it decides by proposals, and no artifact is asked")
    policy_number = seat_of(state, agent)
    table = config.seats[policy_number]
    beside = state.loaded[agent].path if agent in state.loaded else table.policy
    try:
        path = await asyncio.to_thread(named, config, asked.path, asked.version, beside)
        policy = await asyncio.to_thread(seats.prepared, policy_number, path)
    except NoArtifact as error:
        raise NotDone("artifact", str(error)) from None
    except ValueError as error:
        raise NotDone("unfit", str(error)) from None
    digest = artifacts_in(policy)
    if state.artifacts.get(agent, "") == digest:
        raise NotDone("conflict", f"{agent} decides with {path} ({digest[:16]}) already")
    await service.settled()
    if state.sample:
        frozen, rules = freeze(state, ended=False), state.rules
        if failed := await asyncio.to_thread(_dry, rules, frozen, policy_number, policy):
            raise NotDone("unfit", f"{path}: it fails on the present state: {failed}")
    seat_of(state, agent)  # checked again after the load: a promotion may have come meanwhile
    seats.take(policy_number, path, policy)
    loaded = ModelLoaded(state.now, agent, path, digest, configured_as(table), reason, who, version_of(config, path))
    noted = _in_sample(state, agent, policy)
    return (loaded,) if noted is None else (loaded, noted)


def challenger_of(service: Service, agent: str, named: str = "") -> str:
    """Return the shadow that challenges an agent: the one `named`, the only one, or the only idle one.

    A shadow is idle while it has the policy "hold" and no artifact was loaded into it. Raises NotDone for a shadow as
    `agent`, without exactly one such challenger, and for one that is paused or halted.
    """
    check_agent(service, agent)
    state, seats = service.shell.state, service.config.seats
    if agent in (shadow.rules.agents[0].name for shadow in state.shadows):
        raise NotDone(
            "conflict", f"{agent} is a shadow itself; load the artifact into it: POST /api/v1/models/{agent}/load"
        )
    names = [table.name for table in seats if table.challenges == agent]
    if not names:
        raise NotDone(
            "conflict",
            f"no shadow challenges {agent}. Add a place to the configuration and start again; the run continues:\n"
            f'[[agents]]\nname = "{agent}-rival"\npolicy = "hold"\ncapital = 0.5\nshadow = true\n'
            f'challenges = "{agent}"',
        )
    if named and named not in names:
        raise NotDone("conflict", f"{named} does not challenge {agent}; its challengers are {', '.join(names)}")
    idle = [
        table.name
        for table in seats
        if table.name in names and table.policy == "hold" and table.name not in state.loaded
    ]
    free = [named] if named else names if len(names) == 1 else idle
    if len(free) != 1:
        raise NotDone("conflict", f"{agent} has several challengers; name one as shadow: {', '.join(free or names)}")
    shadow_agent = state.shadows[state.rules.names().index(free[0]) - len(state.agents)].agents[0]
    if shadow_agent.suspended or shadow_agent.switch.state != RUN:
        raise NotDone("conflict", f"shadow {free[0]} is paused or halted: POST /api/v1/models/{free[0]}/resume first")
    return free[0]


def _in_sample(state: State, agent: str, policy: Policy) -> Condition | None:
    """The alert about a recorded market that an agent's model was trained on; None without one."""
    until = max(getattr(leaf, "trained_until_ns", 0) for leaf in leaves(policy))
    if until <= state.now:
        return None
    text = f"agent {agent} trades bars of its policy's training window, which ends {instant_text(until)[:10]}"
    return Condition(state.now, "bars", False, text)


def view_of(rules: Rules, frozen: bytes, agent_number: int) -> Ask:
    """The question that an agent or a shadow would be asked in the state that `freeze` wrote."""
    state = thaw(rules, frozen)
    house, number = (
        (state, agent_number)
        if agent_number < len(state.agents)
        else (state.shadows[agent_number - len(state.agents)], 0)
    )
    house.revalue()
    return ask_agents(house, [number], house.now)[0]  # type: ignore[return-value]  # of asks only


def _dry(rules: Rules, frozen: bytes, agent_number: int, policy: Policy) -> str:
    """The failure of a policy on a copy of the state, without memory; empty when it answers."""
    ask = view_of(rules, frozen, agent_number)
    return answer(policy, Ask(ask.round, ask.agent, ask.view, {}, ask.policy)).failed
