"""GET and POST /api/v1/settings: the limits, shares, schedules and receivers that a request may change."""

import asyncio
from functools import partial
from typing import Final

from aiohttp import web
from msgspec import Struct

from quantd.server.api import setting_changes
from quantd.server.api.client_calls import change, read
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import Listed, RouteContext, RouteGroup
from quantd.server.api.route_records import Post, Read
from quantd.server.api.run_reader import RunReader
from quantd.server.api.setting_changes import Change, Changeable, ChangeAsked, PreviewAsked


class SettingList(Struct, frozen=True):
    """The keys of the configuration that a request may change, with their values."""

    run: str
    settings: list[Changeable]


async def _settings(run: RunReader, request: web.Request, query: Query) -> SettingList:
    return SettingList(run.service.run, await asyncio.to_thread(setting_changes.changeable, run.service.config))


def _opened(context: RouteContext) -> Listed:
    run = context.run
    bound = (run.service, run.parts, run.folder)
    example = '{"setting": "risk.max_drawdown", "value": "0.15", "reason": "..", "plan": ".."}'
    return Listed((
        Read("/api/v1/settings", partial(_settings, run), SettingList, "The settings that a request may change."),
        Post(
            "/api/v1/settings", partial(setting_changes.change, *bound), ChangeAsked, Change,
            "Change a limit, a share, a schedule or what receivers get, in the file and in the run.", example,
        ),
        Post(
            "/api/v1/settings/preview", partial(setting_changes.preview, *bound), PreviewAsked, Change,
            "What a change of a setting would become; nothing is written.",
            '{"setting": "risk.max_drawdown", "value": "0.15"}',
        ),
    ))  # fmt: skip


ROUTES: Final = RouteGroup(
    "settings",
    115,
    _opened,
    calls=(
        read("settings", "/settings", SettingList),
        change(
            "change_setting",
            "/settings",
            ChangeAsked,
            Change,
            "Change a limit, a share, a schedule or what receivers get, by the plan of a preview.",
        ),
        change(
            "preview_setting",
            "/settings/preview",
            PreviewAsked,
            Change,
            "What a change of a setting would become; nothing is written.",
            keyed=False,
        ),
    ),
)
