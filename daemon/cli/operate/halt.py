"""`quantd halt`: trading stops; positions stay."""

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
    """Stop all trading and cancel every open order; positions stay. `resume` re-arms."""
    switch("halt", config, state, sets, reason=reason, agent=agent, symbol=symbol, mqtt=mqtt, as_json=as_json)


COMMAND: Final = Command(halt, "Operate", order=10)
