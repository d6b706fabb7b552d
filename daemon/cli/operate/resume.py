"""`quantd resume`: trading goes on."""

from typing import Final

from quantd.daemon.cli.command import CONFIG_FILE, Agent, Command, ConfigFile, Json, Mqtt, Reason, Sets, State, Symbol
from quantd.daemon.cli.operate.switch import switch


def resume(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    agent: Agent = "",
    symbol: Symbol = "",
    mqtt: Mqtt = "",
    as_json: Json = False,
) -> None:
    """Back to RUN; needs --reason, and every mark becomes the equity now."""
    switch("resume", config, state, sets, reason=reason, agent=agent, symbol=symbol, mqtt=mqtt, as_json=as_json)


COMMAND: Final = Command(resume, "Operate", order=30)
