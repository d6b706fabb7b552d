"""Helper models inside agents' policies, wherever they are: how each does now."""

from collections.abc import Iterator, Sequence

from quantd.daemon.engine.state import State
from quantd.models.forests.allocation import LearnedAllocation, Standing
from quantd.strategies.policies.members import leaves_with_memory
from quantd.trading.ports import Policy


def helper_models(policies: Sequence[Policy], state: State) -> Iterator[tuple[str, str, Standing]]:
    """(agent, model, how it does) of all agents and shadows. A model is named by what it predicts, after the path of the
    members that lead to it: `1/risk`."""
    for house in (state, *state.shadows):
        # a policy that changed places took its memory along
        for rules, seat, agent in zip(house.rules.agents, house.seats, house.agents, strict=True):
            for path, leaf, memory in leaves_with_memory(policies[seat], agent.memory):
                if isinstance(leaf, LearnedAllocation):
                    for each in leaf.standing(memory, state.universe):
                        yield rules.name, f"{path}/{each.predicts}" if path else each.predicts, each
