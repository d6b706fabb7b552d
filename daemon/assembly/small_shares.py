"""Finds agents for which an equal share of all symbols is below `min_trade`: a policy that diversifies never trades."""

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
