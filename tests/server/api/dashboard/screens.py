"""The screens of the dashboard in a browser."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from quantd.trading.codec import decode
from quantd.trading.events import (
    Operator,
)
from tests.support.api_world import RATES, RUN, World, standing_at_the_end
from tests.support.browser import chromium, sideways, violations
from tests.support.command_line import ALERTING

SCREENS = (
    "now", "market", "orders", "order", "agents", "portfolios", "risk", "incidents", "research", "system", "daemons"
)  # fmt: skip

in_module_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as chromium_browser:
        yield chromium_browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A daemon that tests halt and resume; each of them leaves it in RUN."""
    text = ALERTING + RATES + "[portfolios]\nplaces = 1\n"
    async with standing_at_the_end(tmp_path_factory.mktemp("page"), text) as world:
        yield world


def commands(world: World) -> list[tuple[str, str, str]]:
    """Command, reason and sender of each journalled command, in their order."""
    events = [decode(data).event for _, data in world.store.entries(RUN, 1)]
    return [(event.command, event.reason, event.who) for event in events if isinstance(event, Operator)]


async def show(page: Page, screen: str) -> None:
    """The screen with the figures that it reads."""
    await page.evaluate("(name) => { location.hash = name; }", screen)
    await expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_have_attribute("href", f"#{screen}")
    await expect(page.locator("#main")).to_have_attribute("aria-busy", "false")


async def audit(page: Page, screen: str) -> None:
    """No fault of accessibility, no sideways scroll."""
    await show(page, screen)
    assert await violations(page) == [], screen
    assert await sideways(page) == 0, screen
