"""Comparison of the agents: capital shares, correlation of returns, shadows, and the models that decide for them."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from quantd.daemon.config.agent_tables import MANUAL
from quantd.daemon.engine.state import State
from quantd.daemon.views.struct_fields import struct_of
from quantd.models.artifacts.manifest import AgentManifest, ScorerManifest
from quantd.strategies.policies.members import leaves_with_memory
from quantd.trading.ports import Policy, leaves
from quantd.trading.statistics import mean_correlation

if TYPE_CHECKING:
    from quantd.models.forests.allocation import Standing


def capital_shares(state: State) -> dict[int, tuple[float, float]]:
    """Index of an agent -> (present share, target share) of the agents' capital; empty without reallocation."""
    rules = state.rules.capital
    if rules is None:
        return {}
    books = {k: max(state.books_micro[k], 0) for k in rules.agents}
    pool = sum(books.values())
    if pool <= 0:
        return {}
    # what an agent owes to other books still has to be moved
    return {k: (equity / pool, (equity - state.owed[k]) / pool) for k, equity in books.items()}


def book_equities(state: State) -> dict[str, int]:
    """Equity in micro-currency of each book by name: those of agents in use, and the unallocated book (what no agent
    has)."""
    vacant_names = {rules.name for k, rules in enumerate(state.rules.agents) if state.vacant(k)}
    equities = zip(state.ledger.names, state.books_micro, strict=True)
    return {name: equity for name, equity in equities if name not in vacant_names}


def diversity(state: State) -> float | None:
    """Mean absolute correlation of the agents' time-weighted returns, over at most a year of samples.

    0 is uncorrelated, 1 fully correlated. None with fewer than two agents that have 20 returns and a changed equity.
    """
    series = [state.watch.realised[k + 1].returns() for k in range(len(state.agents))]
    correlation = mean_correlation(
        [returns for returns in series if len(returns) >= 20 and bool(returns.any())], absolute=True
    )
    return correlation if isfinite(correlation) else None


def shadow_equities(state: State) -> dict[str, int]:
    """Name of a shadow (agent on paper) -> value of its book at present marks, in micro-currency."""
    equities = {}
    for shadow in state.shadows:
        shadow.revalue()
        equities[shadow.rules.agents[0].name] = shadow.equity_micro
    return equities


def shadow_lots(state: State, column: int) -> dict[str, int]:
    """Name of a shadow (agent on paper) -> its signed lots of the symbol with this index; only shadows that hold it."""
    held = {shadow.rules.agents[0].name: int(shadow.ledger.house.held[column]) for shadow in state.shadows}
    return {name: lots for name, lots in held.items() if lots}


def helper_models(policies: Sequence[Policy], state: State) -> Iterator[tuple[str, str, "Standing"]]:
    """(agent, model, accuracy) of each random forest of the policies `learned_allocation`, shadows included.

    A shadow is an agent on paper. A model inside a composite policy is named by the path of its member: `1/risk`.
    """
    from quantd.models.forests.allocation import LearnedAllocation  # the summary of a run needs no forests

    for house in (state, *state.shadows):
        # by seat: a promoted policy took its memory with it
        for rules, policy_index, agent in zip(house.rules.agents, house.seats, house.agents, strict=True):
            for path, leaf, memory in leaves_with_memory(policies[policy_index], agent.memory):
                if isinstance(leaf, LearnedAllocation):
                    for standing in leaf.standing(memory, state.universe):
                        yield rules.name, f"{path}/{standing.predicts}" if path else standing.predicts, standing


NO_SORTINO: Final = "the artifact was trained before records had it, or no return fell below the risk-free rate"
"""The reason why a record has no Sortino ratio."""


class Evaluation(Struct, frozen=True):
    """One artifact of an agent: its out-of-sample figures as `quantd models list` has them, after costs.

    `calmar` is the annual return divided by the maximum drawdown. Where `sortino` is null, `sortino_missing` has the
    reason. `iterations` is the training iteration of the chosen network, counted in `iterations_unit`.
    """

    agent: str
    model: str
    algorithm: str
    digest: str
    total_return: float
    annual_return: float
    volatility: float
    sharpe: float
    sortino: float | None
    sortino_missing: str
    max_drawdown: float
    calmar: float | None
    iterations: int
    iterations_unit: str
    seeds: int
    test_first: str
    test_last: str
    test_samples: int


def policies_in_force(policies: Sequence[Policy], state: State) -> Iterator[tuple[int, str, Policy]]:
    """(index, name, policy) of each agent that a policy decides for."""
    for index, (agent, policy_index) in enumerate(zip(state.rules.agents, state.seats, strict=True)):
        if agent.name != MANUAL and policy_index < len(policies):
            yield index, agent.name, policies[policy_index]


def models_ready(policies: Sequence[Policy], state: State) -> dict[str, bool]:
    """Agent -> whether its policy answers, that is, was not suspended for its failures."""
    return {name: not state.agents[index].suspended for index, name, _ in policies_in_force(policies, state)}


def evaluations(policies: Sequence[Policy], state: State) -> list[Evaluation]:
    """The evaluation record of each trained artifact of the agents; an ensemble has a record for each member."""
    records = []
    for _, name, policy in policies_in_force(policies, state):
        for leaf in leaves(policy):
            manifest = getattr(getattr(leaf, "artifact", None), "manifest", None)
            if isinstance(manifest, AgentManifest | ScorerManifest) and "test" in manifest.results:
                records.append(_evaluation(name, manifest))
    return records


def _evaluation(agent: str, manifest: AgentManifest | ScorerManifest) -> Evaluation:
    """The figures of an agent's model in the test part of its training."""
    test, window = manifest.results["test"].policy, manifest.training.windows["test"]
    return struct_of(
        Evaluation,
        test,
        agent=agent,
        model=manifest.name,
        algorithm=manifest.algorithm,
        digest=manifest.digest,
        volatility=test.volatility_annual,
        sortino_missing=NO_SORTINO if test.sortino is None else "",
        calmar=test.annual_return / test.max_drawdown if test.max_drawdown > 0.0 else None,
        iterations=manifest.training.chosen_iteration,
        iterations_unit="gradient steps" if isinstance(manifest, ScorerManifest) else "environment steps",
        seeds=len(manifest.training.seeds),
        test_first=window.first,
        test_last=window.last,
        test_samples=test.samples,
    )
