"""The first screen of a run that has traded, and the figures on it."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import traded


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Halfway]:
    async with traded(tmp_path_factory.mktemp("cockpit")) as traded_world:
        yield traded_world


def number(text: str) -> Decimal:
    """The figure of a cell."""
    return Decimal(text.replace(",", "").replace("−", "-").replace("+", "").replace("%", "").strip())


async def figure(page: Page, name: str) -> list[str]:
    """The value of a tile and the line below it."""
    tile = page.locator(".figure").filter(has=page.get_by_role("heading", name=name))
    await expect(tile.locator("p").first).not_to_have_text("–")  # the figure has come
    await expect(tile.locator("p").nth(1)).not_to_be_empty()
    return [await tile.locator("p").nth(k).inner_text() for k in (0, 1)]


async def read(page: Page) -> None:
    await expect(page.locator("#main")).to_have_attribute("aria-busy", "false")


def cents(value: Any) -> Decimal:
    return Decimal(value).quantize(Decimal("0.01"))
