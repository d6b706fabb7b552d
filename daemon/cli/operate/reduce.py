"""Let only orders pass that reduce positions."""

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
    switch("reduce", config, state, sets, reason=reason, agent=agent, mqtt=mqtt, as_json=as_json)


COMMAND: Final = Command("Operate", 20, reduce)
