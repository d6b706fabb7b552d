"""Writes the agent that trades a trained policy into an existing configuration file, or makes its lines for one."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.setup.config_lines import below, require_valid
from quantd.daemon.config.edits import EditError, appended, assignment, edited
from quantd.regular_file import write_whole
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG

AGENT: Final = "learned"
"""Name of the agent; one of this name in the configuration gets the policy."""

LEAST_SHARE: Final = Decimal("0.01")
"""Smallest share of the account's capital that a new agent can get."""


class Place(NamedTuple):
    """The agent's table in a configuration file: `number` is its index in the list `agents`.

    `capital` is None for an agent that exists. A new agent is appended, and gets the unallocated share of the capital.
    """

    config: Path
    number: int
    capital: Decimal | None


def place_in(config: Path) -> Place:
    """Return where the agent is in the configuration, or will be appended.

    A new agent gets the capital that no agent has; for an agent that exists, `capital` is None. Raises ConfigError for
    a faulty configuration. Raises Failure for a missing file and where the agents have the whole capital. A command
    calls the function before the training, so that these failures come at once.
    """
    if not config.is_file():
        fault = f"{config}: there is no such file; `quantd data import FILE --into {config}` writes one for your bars"
        raise Failure(fault, CONFIG)
    read(config)
    document = tomllib.loads(config.read_text(encoding="utf-8"))
    agents: list[Mapping[str, Any]] = document.get("agents", [])
    index = next((index for index, agent in enumerate(agents) if agent.get("name") == AGENT), None)
    if index is not None:
        return Place(config, index, None)
    shares = [str(agent["capital"]) for agent in agents if not agent.get("shadow", False)]
    unallocated = 1 - sum(map(Decimal, shares), Decimal(str(document.get("manual", {}).get("capital", 0))))
    if unallocated < LEAST_SHARE:
        remedy = f'lower the capital of an agent, or give the agent to replace the name "{AGENT}"'
        raise Failure(f"{config}: its agents have the whole capital; {remedy}", CHECK_FAILED)
    return Place(config, len(agents), unallocated)


def lines(policy: str, capital: str) -> str:
    """Return the [[agents]] table of an agent as lines of config.toml."""
    values = (assignment("name", AGENT), assignment("policy", policy), f"capital = {capital}", 'profile = "balanced"')
    return "\n".join(("[[agents]]", *values))


def write(place: Place, artifact: Path) -> str:
    """Write the agent with its policy into the configuration. Returns a sentence about the change.

    Raises Failure for a key that cannot be edited in place, and for a configuration that would be invalid.
    """
    config, policy = place.config, below(artifact, place.config.parent)
    document = config.read_text(encoding="utf-8")
    if place.capital is None:
        agent_keys = ("agents", place.number)
        try:
            changed = edited(document, {(*agent_keys, "policy"): policy, (*agent_keys, "params"): None})
        except EditError as error:
            reason = f"its key {error} is written in a form that is not changed in place"
            raise Failure(f'{config} is unchanged: {reason}; write policy = "{policy}" there', CONFIG) from None
    else:
        table = {"name": AGENT, "policy": policy, "capital": float(place.capital), "profile": "balanced"}
        changed = appended(document, "agents", table)
    require_valid(changed, config)
    write_whole(config, changed.encode(), keep_mode=True)
    return f'{config}: the policy of agent "{AGENT}" is {policy}'
