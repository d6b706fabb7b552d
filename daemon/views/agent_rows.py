"""Comparison of the agents: capital shares now and as a target, correlation of returns, shadows."""

from collections.abc import Iterator, Sequence
from math import isfinite

from quantd.daemon.engine.state import State
from quantd.daemon.engine.valuation import realised_by_date
from quantd.models.forests.allocation import LearnedAllocation, Standing
from quantd.strategies.policies.members import leaves_with_memory
from quantd.trading.ports import Policy
from quantd.trading.statistics import mean_correlation


def capital_shares(state: State) -> dict[int, tuple[float, float]]:
    """Agent by number -> (share now, target share) of the agents' capital; empty without reallocation."""
    rules = state.rules.capital
    if rules is None:
        return {}
    books = {k: max(state.books_micro[k], 0) for k in rules.agents}
    pool = sum(books.values())
    if pool <= 0:
        return {}
    return {k: (own / pool, (own - state.owed[k]) / pool) for k, own in books.items()}


def diversity(state: State) -> float | None:
    """Mean absolute correlation of the agents' time-weighted returns, over at most a year of samples.

    0 is uncorrelated, 1 fully correlated. None with fewer than two agents whose equity changed, or too few samples.
    """
    series = [realised_by_date(state, k).returns() for k in range(len(state.agents))]
    found = mean_correlation([each for each in series if len(each) >= 20 and bool(each.any())], absolute=True)
    return found if isfinite(found) else None


def shadow_equities(state: State) -> dict[str, int]:
    """Shadow by name -> marked value of its book, micro-currency."""
    found = {}
    for shadow in state.shadows:
        shadow.revalue()
        found[shadow.rules.agents[0].name] = shadow.equity_micro
    return found


def shadow_lots(state: State, column: int) -> dict[str, int]:
    """Shadow by name -> its lots of a column, for shadows that hold any."""
    held = {shadow.rules.agents[0].name: shadow.ledger.house.lots[column] for shadow in state.shadows}
    return {name: lots for name, lots in held.items() if lots}


def helper_models(policies: Sequence[Policy], state: State) -> Iterator[tuple[str, str, Standing]]:
    """(agent, model, accuracy) of all agents and shadows; a model of a composite member is named by path: `1/risk`."""
    for house in (state, *state.shadows):
        # a promoted policy kept its memory
        for rules, seat, agent in zip(house.rules.agents, house.seats, house.agents, strict=True):
            for path, leaf, memory in leaves_with_memory(policies[seat], agent.memory):
                if isinstance(leaf, LearnedAllocation):
                    for each in leaf.standing(memory, state.universe):
                        yield rules.name, f"{path}/{each.predicts}" if path else each.predicts, each
