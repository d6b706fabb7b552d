"""`quantd reduce`: only orders pass that make positions smaller."""

from typing import Final

from quantd.daemon.cli.command import CONFIG_FILE, Agent, Command, ConfigFile, Json, Mqtt, Reason, Sets, State
from quantd.daemon.cli.operate.switch import switch


def reduce(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    agent: Agent = "",
    mqtt: Mqtt = "",
    as_json: Json = False,
) -> None:
    """Let only orders pass that make positions smaller."""
    switch("reduce", config, state, sets, reason=reason, agent=agent, mqtt=mqtt, as_json=as_json)


COMMAND: Final = Command(reduce, "Operate", order=20)
