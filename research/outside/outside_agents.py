"""The outside agents of a configuration, and the configuration in which a backtest asks them.

Every backtest imports this module. The modules that ask agents are imported only for a configuration with outside
agents.
"""

from typing import Final

from quantd.daemon.config import Config
from quantd.daemon.config.agent_tables import EXTERNAL
from quantd.strategies.policies.holding import ASKED

NO_OUTSIDE_AGENT: Final = (
    "are for outside agents, and no agent with a command or an address is configured; "
    'write policy = "external" and params = { command = ["python3", "agent.py"] }'
)
"""End of the message for options about outside agents where no such agent is configured; the options come first."""


def asked_agents(config: Config) -> tuple[str, ...]:
    """Return the names of the outside agents that a backtest can ask: agents with a command or an address."""
    return tuple(
        agent.name
        for agent in config.document.agents
        if agent.policy == EXTERNAL and (agent.params.get("command") or agent.params.get("address"))
    )


def overrides(config: Config) -> tuple[str, ...]:
    """Return the overrides KEY=VALUE that make a backtest of this configuration ask its outside agents."""
    return tuple(f"agents.{name}.policy={ASKED}" for name in asked_agents(config))


def asking(config: Config) -> Config:
    """Return the configuration with `overrides` applied, so that a backtest asks its outside agents."""
    names = asked_agents(config)
    if not names:
        return config
    agents = tuple(
        agent.model_copy(update={"policy": ASKED}) if agent.name in names else agent for agent in config.document.agents
    )
    return Config(config.document.model_copy(update={"agents": agents}), config.source)
