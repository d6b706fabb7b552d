"""Notes about shares of the capital: of agents that an override changes, and equal shares of symbols below `min_trade`.

With such an equal share a policy that diversifies never trades.
"""

from quantd.daemon.config import Config
from quantd.strategies.policies import PASSIVE


def small_shares(config: Config) -> list[str]:
    """Return a line for each agent whose equal share is below `min_trade`, with a key and value that permit a trade."""
    size = len(config.universe.symbols)
    # half of the equal share, rounded to one digit
    remedy_value = f"{float(f'{0.5 / size:.1g}'):g}"
    return [
        f"{agent.name}: changes below min_trade = {agent.min_trade:.2%} of its equity are not traded, and an equal "
        f"share of {size:,} symbols is {1 / size:.3%}; where it holds many of them, write min_trade = {remedy_value}"
        for agent in config.document.agents
        if agent.policy not in PASSIVE and agent.min_trade * size > 1
    ]


def overridden_shares(config: Config) -> list[str]:
    """Return a line for each agent that an override changes: its share of the capital, and who has the rest."""
    agents = [agent for agent in config.document.agents if not agent.shadow]
    changed = {path[1] for path in config.source.overrides if path[0] == "agents" and len(path) > 1}
    if ("agents",) in config.source.overrides:
        agent = agents[0]
        share = "all" if agent.capital == 1 else f"{agent.capital:.4g} of"
        replaced = f"without the agents of {config.source.file} and their schedules"
        return [f"{agent.policy} alone has {share} the capital, {replaced}"]
    lines = []
    for k, agent in enumerate(config.document.agents):
        others = ", ".join(f"{other.name} {other.capital:.4g}" for other in agents if other is not agent)
        if k not in changed or not others:
            continue
        share = "is a shadow, without capital" if agent.shadow else f"has {agent.capital:.4g} of the capital"
        command = f"`quantd backtest {agent.policy}`"
        lines.append(f"agent {agent.name} ({agent.policy}) {share}; the others have {others}: {command} tests it alone")
    return lines
