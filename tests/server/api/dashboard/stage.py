"""A daemon and a page of it, whose requests meet faults."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from playwright.async_api import BrowserContext, Locator, Page, Route, expect

from quantd.research.jobs.research_jobs import REFERENCE
from quantd.research.jobs.research_orders import KINDS
from quantd.server.api.server import Api
from quantd.trading.codec import decode
from tests.server.api.dashboard.controls import SENDER, Control
from tests.support.api_world import RUN, World
from tests.support.browser import LinkRoute, intercept, pass_all


class Stage:
    """A daemon, and a page of it."""

    def __init__(self, world: World, page: Page, secret: str) -> None:
        self.world = world
        self.page = page
        self.secret = secret
        self.answers = asyncio.Event()
        """Whether the daemon's answers about acts reach the page."""
        self.research_before = 0

    @property
    def context(self) -> BrowserContext:
        return self.page.context

    @property
    def said(self) -> Locator:
        return self.page.locator(".said")

    @property
    def fault(self) -> Locator:
        """What the form, or the strip over the screens, says of an act that is not done."""
        return self.page.locator("dialog[open] [role=alert], main .card [role=alert]")

    def entries(self, after: int) -> int:
        """The number of the sender's entries of the journal after one, and of its acts about research since the cell
        began, which are in the log of jobs."""
        events = [decode(data).event for _, data in self.world.store.entries(RUN, after + 1)]
        senders = [str(getattr(event, "who", "") or getattr(event, "key", "")) for event in events]
        journalled = sum(sender.startswith(f"api:{SENDER}") for sender in senders)
        return journalled + self.research() - self.research_before

    def research(self) -> int:
        """The number of the sender's acts about research."""
        runs = [run for run in self.world.lanes.log.runs() if run.job in (*KINDS, REFERENCE)]
        return sum(run.who.startswith(f"api:{SENDER}") + (f"cancelled by api:{SENDER}" in run.result) for run in runs)

    async def restart(self) -> None:
        """Another API on the same port and state folder."""
        world = self.world
        await world.api.stop()
        world.api = Api(world.service, world.assembly, world.config, world.folder, None, "", world.lanes)
        await world.api.start()

    async def silence(self) -> None:
        """The daemon's answers about acts are lost too, until `answers` is set.

        A question by the link stays without an answer. Its end would be the end of the link, and so of the act that
        is under way there.
        """
        self.answers.clear()

        async def asked(route: Route | LinkRoute) -> None:
            if self.answers.is_set():
                await route.continue_()
            elif not isinstance(route, LinkRoute):
                await route.abort()

        await intercept(self.page, re.compile("/api/v1/acts/"), asked)

    async def intercept(self, control: Control, answer: Callable[[Route], Awaitable[None]]) -> None:
        """The next act of the control meets a fault, by the link and by HTTP; a preview does not."""
        form = re.compile(control.route.replace("*", "[^/]+") + "$")
        faulty: list[str] = []

        async def posted(route: Route) -> None:
            key = route.request.headers.get("idempotency-key", "")
            if route.request.method != "POST" or faulty not in ([], [key]):
                await route.continue_()
            else:
                faulty[:] = [key]
                await answer(route)

        await intercept(self.page, form, posted)

    async def clear(self) -> None:
        """No fault, no dialog and no act that waits."""
        self.answers.set()
        await pass_all(self.page)
        await self.page.keyboard.press("Escape")
        await expect(self.page.get_by_role("dialog")).to_have_count(0)
        await self.page.wait_for_function("() => (localStorage.getItem('quantd.acts') || '[]') === '[]'")
