"""Sell every position, then halt."""

from typing import Final

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Mqtt, Reason, Sets, State
from quantd.daemon.cli.operate.switch import switch


def flatten(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    mqtt: Mqtt = "",
    as_json: Json = False,
) -> None:
    switch("flatten", config, state, sets, reason=reason, mqtt=mqtt, as_json=as_json)


COMMAND: Final = Command("Operate", 40, flatten)
