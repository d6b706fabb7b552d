"""Validates the load of an artifact for an agent, before it becomes an event.

What can go wrong: an artifact that cannot decide replaces one that can. So the artifact is first loaded in a thread and
asked once on a copy of the present state. Only then does it become part of an event.

Order: a load requires that the agent's own policy decides for its book. This is checked before the load and again after
it. A promotion (a challenger's policy replaces the agent's) may have happened meanwhile, and the load would then change
the policy of another agent.
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
    """Load an artifact by its `path`, as in `policy` of [[agents]], by a `version`, or by both.

    A version without a path is another version of the present artifact.
    """

    reason: Because
    path: ArtifactName = ""
    version: ArtifactName = ""


class LoadShadow(LoadModel, frozen=True, forbid_unknown_fields=True):
    """Load an artifact into a shadow that challenges an agent; `shadow` names one of several such shadows."""

    shadow: AgentName = ""


class Reasoned(Struct, frozen=True, forbid_unknown_fields=True):
    """A reason for the journal."""

    reason: Because


def seat_of(state: State, agent: str) -> int:
    """The policy index of an agent or of a shadow (an agent simulated beside the account). Shadows follow the agents.

    Raises NotDone if, since a promotion, the policy of another agent or shadow decides for this agent.
    """
    policy_index, count = state.rules.names().index(agent), len(state.agents)
    deciding = state.seats[policy_index] if policy_index < count else state.shadows[policy_index - count].seats[0]
    if deciding != policy_index:
        deciding_name = state.rules.names()[deciding]
        raise NotDone(
            "conflict", f"the policy of {deciding_name} decides for {agent} since a promotion; demote it first"
        )
    return policy_index


async def model_loaded(
    service: Service, asked: LoadModel, who: str, agent: str
) -> tuple[ModelLoaded] | tuple[ModelLoaded, Condition]:
    """Return the event of a load after every check, and an alert if the model was trained on these recorded bars.

    The loaded policy is stored for the moment when the engine processes the event. Raises NotDone for an unknown agent,
    an agent that holds portfolios, an outside agent (one that decides by proposals) and a missing reason. It also
    raises NotDone for an artifact that is missing, in use already, unfit, or that fails on the present state.
    """
    check_agent(service, agent)
    check_ready(service)
    if agent in service.config.places:
        raise NotDone(
            "conflict",
            f"{agent} is reserved for a portfolio, whose targets decide, and loads no artifact: name another agent",
        )
    reason = one_line(asked.reason)
    if not reason:
        raise NotDone("reason", "the load has no reason for the journal; send one")
    if not (asked.path or asked.version):
        raise NotDone("unfit", 'name an artifact (path = "models/mine"), or a version of the present one')
    state, config, seats = service.shell.state, service.config, service.shell.seats
    if state.rules.outside_seat(agent) is not None:
        raise NotDone("conflict", f"{agent} is an outside agent: it decides by proposals, and no artifact is asked")
    policy_index = seat_of(state, agent)
    agent_table = config.seats[policy_index]
    present_path = state.loaded[agent].path if agent in state.loaded else agent_table.policy
    try:
        path = await asyncio.to_thread(named, config, asked.path, asked.version, present_path)
        policy = await asyncio.to_thread(seats.prepared, policy_index, path)
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
        if failed := await asyncio.to_thread(_trial_failure, rules, frozen, policy_index, policy):
            raise NotDone("unfit", f"{path}: it fails on the present state: {failed}")
    seat_of(state, agent)  # checked again after the load: a promotion may have come meanwhile
    seats.take(policy_index, path, policy)
    loaded = ModelLoaded(
        state.now, agent, path, digest, configured_as(agent_table), reason, who, version_of(config, path)
    )
    alert = _in_sample_alert(state, agent, policy)
    return (loaded,) if alert is None else (loaded, alert)


def challenger_of(service: Service, agent: str, named: str = "") -> str:
    """Return the name of the shadow that challenges an agent: the one `named`, the only one, or the only idle one.

    A shadow is an agent simulated beside the account. A shadow is idle while it has the policy "hold" and no artifact
    was loaded into it. Raises NotDone if `agent` is a shadow, if the choice is not clear, and for a shadow that is
    paused or halted.
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
    candidates = [named] if named else names if len(names) == 1 else idle
    if len(candidates) != 1:
        raise NotDone(
            "conflict", f"{agent} has several challengers; name one as shadow: {', '.join(candidates or names)}"
        )
    shadow_agent = state.shadows[state.rules.names().index(candidates[0]) - len(state.agents)].agents[0]
    if shadow_agent.suspended or shadow_agent.switch.state != RUN:
        raise NotDone(
            "conflict", f"shadow {candidates[0]} is paused or halted: POST /api/v1/models/{candidates[0]}/resume first"
        )
    return candidates[0]


def _in_sample_alert(state: State, agent: str, policy: Policy) -> Condition | None:
    """The alert that an agent trades on recorded bars on which its model was trained; None for other bars."""
    until = max(getattr(leaf, "trained_until_ns", 0) for leaf in leaves(policy))
    if until <= state.now:
        return None
    text = f"agent {agent} trades bars of its policy's training window, which ends {instant_text(until)[:10]}"
    return Condition(state.now, "bars", False, text)


def view_of(rules: Rules, frozen: bytes, policy_index: int) -> Ask:
    """The input (an Ask) for a decision of one policy; `frozen` is the state, written by `freeze`."""
    state = thaw(rules, frozen)
    house, book_index = (
        (state, policy_index)
        if policy_index < len(state.agents)
        else (state.shadows[policy_index - len(state.agents)], 0)
    )
    house.revalue()
    return ask_agents(house, [book_index], house.now)[0]  # type: ignore[return-value]  # of asks only


def _trial_failure(rules: Rules, frozen: bytes, policy_index: int, policy: Policy) -> str:
    """The failure of a policy that is asked once on a copy of the state, with empty memory; "" if it answers."""
    ask = view_of(rules, frozen, policy_index)
    return answer(policy, Ask(ask.round, ask.agent, ask.view, {}, ask.policy)).failed
