"""Changes on the page: a limit is tightened, loosened after its delay, and the file and the run agree."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from quantd.daemon.recovery.replay import save_config
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.support.api_world import RATES, World, standing_at_the_end
from tests.support.browser import opened, sideways, violations
from tests.support.command_line import CONFIG

TEXT = CONFIG.replace("max_drawdown = 0.25", "max_drawdown = 0.25   # mine")
DRAWDOWN = "[risk] max_drawdown"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("changes")
    async with standing_at_the_end(folder, TEXT + RATES) as standing_world:
        save_config(standing_world.folder, standing_world.config, folder / "config.toml", (), {})
        yield standing_world


@pytest.mark.long
@pytest.mark.requirement("R-210")
@in_module_loop
async def test_a_limit_is_changed_on_the_page_and_the_file_keeps_its_comments(world: World, browser: Browser) -> None:
    file = world.folder.parent / "config.toml"
    rules = world.service.shell.state.rules
    async with opened(browser, world.api.url, 390, world.token, color_scheme="dark") as page:
        await show(page, "system")
        table = page.get_by_role("region", name="Settings that may change", exact=True)
        await page.get_by_label("Search settings that may change").fill("max_drawdown")
        row = table.get_by_role("row").filter(has_text=DRAWDOWN)
        await expect(row).to_contain_text("0.25")
        await expect(row).to_contain_text("config.toml:")
        for value, text in (("0.2", "at once"), ("abc", "is not a number"), ("0.3", "a second person")):
            await row.get_by_role("button", name=f"Change {DRAWDOWN}").click()
            dialog = page.get_by_role("dialog", name=DRAWDOWN)
            await dialog.get_by_label("New value").fill(value)
            await dialog.get_by_label("Reason").fill("a test")
            write = dialog.get_by_role("button", name="Write it into the file")
            await expect(write).to_have_count(0)
            await dialog.get_by_role("button", name="Look").click()
            await expect(dialog).to_contain_text(text)
            assert await violations(page) == []
            assert await sideways(page) == 0
            if value == "abc":
                await expect(write).to_have_count(0)
                await dialog.get_by_role("button", name="Cancel").click()
                continue
            await write.click()
            await expect(dialog).to_have_count(0)
            await expect(row).to_contain_text(value)
        assert "max_drawdown = 0.3    # mine" in file.read_text()
        assert world.service.shell.state.rules.house.max_drawdown == 0.2 < rules.house.max_drawdown
        assert world.service.differs == []
        await show(page, "risk")
        await expect(page.locator("#main")).to_contain_text("Looser limits wait")
        # the file is edited by hand meanwhile: nothing is changed, and the page has the line
        file.write_text(file.read_text().replace("max_position_weight = 0.25", "max_position_weight = 0.2"))
        await show(page, "system")
        await page.get_by_label("Search settings that may change").fill("max_drawdown")
        await row.get_by_role("button", name=f"Change {DRAWDOWN}").click()
        dialog = page.get_by_role("dialog", name=DRAWDOWN)
        await dialog.get_by_label("New value").fill("0.1")
        await dialog.get_by_label("Reason").fill("a test")
        await dialog.get_by_role("button", name="Look").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("the file differs from the run")
        await expect(dialog.get_by_role("alert")).to_contain_text("max_position_weight")
