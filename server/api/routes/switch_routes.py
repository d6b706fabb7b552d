"""GET /api/v1/switches: each switch, with the equity marks that a resume would reset to the present equity."""

from typing import Final

from aiohttp import web
from msgspec import Struct

from quantd.daemon.engine.state import HOUSE
from quantd.daemon.runtime.switch_causes import SwitchCause
from quantd.daemon.views.overview import SWITCH
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read
from quantd.server.api.run_reader import RunReader
from quantd.trading.orders import money_text


class SwitchNow(Struct, frozen=True):
    """One switch; an empty `agent` is the house. Amounts of money are text.

    `cause` is what moved a switch that is not RUN, and who, if it was a person.

    A resume sets the marks `high_water`, `day_open` and `week_open`, from which losses are measured, to `equity`.
    """

    agent: str
    switch: str
    reason: str
    cause: SwitchCause | None
    equity: str
    high_water: str
    day_open: str
    week_open: str


class Switches(Struct, frozen=True):
    """The switch of the house, then those of the trading agents."""

    run: str
    switches: list[SwitchNow]


class SwitchRoutes:
    """The handler of GET /api/v1/switches, which shows whether the account and each agent may trade."""

    def __init__(self, run: RunReader) -> None:
        self._run = run

    async def switches(self, request: web.Request, query: Query) -> Switches:
        """The switch of the house (empty name) and of each agent, with the equities from which losses are measured."""
        state = self._run.service.shell.state
        state.revalue()
        agents = [(state.rules.agents[k].name, state.agents[k].switch, state.equity_of(k)) for k in state.in_use()]
        rows = [
            SwitchNow(
                name,
                SWITCH[switch.state],
                switch.reason,
                self._run.service.histories.causes.of(name),
                *map(money_text, (equity, switch.high_water, switch.day_open, switch.week_open)),
            )
            for name, switch, equity in (("", state.switch, state.equity_of(HOUSE)), *agents)
        ]
        return Switches(self._run.service.run, rows)


ROUTES: Final = RouteGroup(
    "switches",
    30,
    lambda context: SwitchRoutes(context.run),
    routes=tuple(
        Read(path, SwitchRoutes.switches, "The marks that a resume resets, and what moved each switch.", call=call)
        for path, call in (("/api/v1/switches", "switches"), ("/switch", ""))
    ),
)  # fmt: skip
"""The doors for halts have the path /switch too."""
