"""GET and POST /api/v1/settings: the limits, shares, schedules and receivers that a request may change."""

import asyncio
from typing import Final

from aiohttp import web
from msgspec import Struct

from quantd.server.api import setting_changes
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Post, Read
from quantd.server.api.run_reader import RunReader
from quantd.server.api.setting_changes import Change, Changeable, ChangeAsked, PreviewAsked


class SettingList(Struct, frozen=True):
    """The keys of the configuration that a request may change, with their values."""

    run: str
    settings: list[Changeable]


class SettingRoutes:
    """The handlers of settings for one running service."""

    def __init__(self, run: RunReader) -> None:
        self._of = run.service, run.parts, run.folder

    async def settings(self, request: web.Request, query: Query) -> SettingList:
        service = self._of[0]
        return SettingList(service.run, await asyncio.to_thread(setting_changes.changeable, service.config))

    async def change(self, asked: ChangeAsked, sender: str) -> Change:
        return await setting_changes.change(*self._of, asked, sender)

    async def preview(self, asked: PreviewAsked, sender: str) -> Change:
        return await setting_changes.preview(*self._of, asked, sender)


ROUTES: Final = RouteGroup(
    "settings",
    115,
    lambda context: SettingRoutes(context.run),
    routes=(
        Read("/api/v1/settings", SettingRoutes.settings, "The settings that a request may change.", call="settings"),
        Post(
            "/api/v1/settings", SettingRoutes.change,
            "Change a limit, a share, a schedule or what receivers get, in the file and in the run.",
            '{"setting": "risk.max_drawdown", "value": "0.15", "reason": "..", "plan": ".."}', call="change_setting",
        ),
        Post(
            "/api/v1/settings/preview", SettingRoutes.preview,
            "What a change of a setting would become; nothing is written.",
            '{"setting": "risk.max_drawdown", "value": "0.15"}', call="preview_setting", form={"keyed": False},
        ),
    ),
)  # fmt: skip
