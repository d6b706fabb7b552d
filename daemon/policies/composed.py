"""An agent's complete policy: the configured policy inside the agent's sizing and rebalancing rules.

The order is fixed: sizing applies to the policy's weights, and rebalancing applies to the sized weights.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from quantd.daemon.config import Agent, Config
from quantd.daemon.config.agent_tables import RebalanceTable, Sizing
from quantd.daemon.policies.loading import Apart, Inner, PolicyError, fit, load
from quantd.models.artifacts.signature import KeyFault, artifacts_in, signature_fault
from quantd.strategies.policies.members import stateless
from quantd.strategies.policies.membership import MembersOfDay, MembersOnly
from quantd.strategies.policies.rebalancing import CostAware, Rebalanced, RebalanceRules
from quantd.strategies.policies.sizing import RegimeExposure, Sized, SizingRules
from quantd.strategies.regimes import RegimeParams
from quantd.trading.instruments import MICRO, Membership, Universe
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves

Factor = Callable[[Floats], float]
"""Returns the factor by which limits scale float64[N] weights."""


def policy_of(
    config: Config,
    universe: Universe,
    agent: Agent,
    factor: Factor,
    isolation: Apart | None = None,
    members: Membership | None = None,
) -> Policy:
    """An agent's policy for `universe`; with `members` it sees only the symbols that belong to the universe on the day.

    `factor` returns the factor by which the agent's limits scale weights. `isolation` makes the parts that run in
    separate processes. Raises PolicyError with file and line of the configuration.
    """
    if isolation is not None and agent.reads:
        isolation = isolation.reading([config.at(name) for name in agent.reads])
    try:
        policy = load(agent.policy, agent.params, config.source.folder, isolation, config.feed.unused_series)
        fit(policy, universe)
    except PolicyError as error:
        raise PolicyError(f"{_location_prefix(config, agent)}{error}") from error
    if fault := distrusted(policy, [config.at(name) for name in config.models.trusted_keys]):
        raise PolicyError(f"{_location_prefix(config, agent)}{fault}")
    return with_rules(config, agent, policy, factor, members)


def with_rules(
    config: Config, agent: Agent, policy: Policy, factor: Factor, members: Membership | None = None
) -> Policy:
    """`policy` inside the sizing and rebalancing rules of `agent`; with `members` it sees only the symbols that belong
    to the universe on the day.

    The innermost policy decides the weights, sizing scales them, and rebalancing decides whether to trade to them.
    `factor` returns the factor by which the agent's limits scale weights.
    """
    sizing = sizing_of(agent.sizing)
    rebalance = rebalance_of(agent.rebalance, cost_bp(config))
    if members is not None:
        policy = MembersOfDay(Inner(policy), members)
    if sizing is not None:
        policy = Sized(Inner(policy), sizing)
    if rebalance is not None:
        policy = Rebalanced(Inner(policy), rebalance, factor, stateless(policy))
    # outermost again: sizing and rebalancing may give a weight to a symbol that is no member today
    if members is not None and (sizing is not None or rebalance is not None):
        policy = MembersOnly(Inner(policy), members)
    return policy


def left_out(agents: Sequence[Agent], policies: Sequence[Policy]) -> list[tuple[str, tuple[str, ...]]]:
    """(agent, features that its policy leaves out), for each agent whose policy leaves features out.

    A feature is left out if it is computed from a series with `use = false` in [feed] series.
    """
    features = [
        (agent.name, tuple(name for leaf in leaves(policy) for name in getattr(leaf, "left_out", ())))
        for agent, policy in zip(agents, policies, strict=True)
    ]
    return [(agent, names) for agent, names in features if names]


def distrusted(policy: Policy, trusted: Sequence[Path]) -> str:
    """The reason why an artifact of a policy lacks a signature by a key in `trusted`; empty when all are signed."""
    if not trusted:
        return ""
    for leaf in leaves(policy):
        for folder, digest in artifacts_in(leaf):
            try:
                fault = signature_fault(folder, digest, trusted)
            except KeyFault as error:
                return f"[models] trusted_keys: {error}"
            if fault:
                return fault
    return ""


def _location_prefix(config: Config, agent: Agent) -> str:
    """File, line and agent of a policy, as the start of a message; without a line if the configuration has no file."""
    names = [listed.name for listed in config.document.agents]
    path = ("agents", names.index(agent.name), "policy") if agent.name in names else ("manual",)
    file, line = config.source.place(path)
    where = f"{file}:{line}: " if line else f"{file}: " if file else ""
    return f'{where}[[agents]] "{agent.name}": '


def cost_bp(config: Config) -> float:
    """Cost of trading at the simulated venue in basis points: commission, half the spread, slippage."""
    broker = config.broker
    return broker.commission_bp + broker.spread_bp / 2.0 + broker.slippage_bp


def sizing_of(table: Sizing) -> SizingRules | None:
    """The rules of an agent's `sizing` table; None where the table sets no key.

    A regime is a state of the market, such as high volatility, with an exposure for it.
    """
    if not table.model_fields_set:
        return None
    regime = None
    if (regime_table := table.regime) is not None:
        exposures = regime_table.model_dump(exclude={"model", "of"})
        regime = RegimeExposure(regime=RegimeParams(model=regime_table.model, of=regime_table.of), **exposures)
    return SizingRules(
        **table.model_dump(exclude={"regime", "risk_budget"}),
        regime=regime,
        risk_budget=tuple((budget.symbol, budget.volatility) for budget in table.risk_budget),
    )


def rebalance_of(table: RebalanceTable, broker_bp: float) -> RebalanceRules | None:
    """The rules of an agent's `rebalance` table; None where the table sets no key.

    `broker_bp` is the default trading cost in basis points. Amounts become units of the currency.
    """
    if not table.model_fields_set:
        return None
    cost_table = table.cost_aware
    return RebalanceRules(
        **table.model_dump(exclude={"min_notional_micro", "cost_aware"}, exclude_none=True),
        min_notional=(table.min_notional_micro or 0) / MICRO,
        cost_aware=None
        if cost_table is None
        else CostAware(
            cost_bp=broker_bp if cost_table.cost_bp is None else cost_table.cost_bp,
            fixed=(cost_table.fixed_micro or 0) / MICRO,
            risk_aversion=cost_table.risk_aversion,
            horizon=cost_table.horizon,
        ),
    )
