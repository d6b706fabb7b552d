"""Stop all trading and cancel every open order; positions stay. `resume` re-arms."""

from typing import Final

from quantd.daemon.cli.command import CONFIG_FILE, Agent, Command, ConfigFile, Json, Mqtt, Reason, Sets, State, Symbol
from quantd.daemon.cli.operate.switch import switch


def halt(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    agent: Agent = "",
    symbol: Symbol = "",
    mqtt: Mqtt = "",
    as_json: Json = False,
) -> None:
    switch("halt", config, state, sets, reason=reason, agent=agent, symbol=symbol, mqtt=mqtt, as_json=as_json)


COMMAND: Final = Command("Operate", 10, halt)
