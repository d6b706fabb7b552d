"""The approval of looser limits over the API: by a second person only."""

import asyncio
import time

from quantd.daemon.engine.state import Loosening
from quantd.daemon.engine.state.snapshot import in_force
from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created
from quantd.trading.codec import decode
from quantd.trading.events import Approved
from tests.support.api_world import RUN, standing_at_the_end
from tests.support.command_line import CONFIG


async def test_only_an_admin_token_from_before_approves(tmp_path):
    async with standing_at_the_end(tmp_path, CONFIG) as world:
        secrets = {"owner": world.token}
        secrets["second"] = created(world.folder, "second", "admin")[1]
        secrets["trade"] = created(world.folder, "trade", "trade")[1]
        await asyncio.sleep(keyring.CHECK_S)
        headers = {"Authorization": f"Bearer {secrets['second']}"}
        async with world.session.post("/api/v1/limits/approve", json={"reason": "x"}, headers=headers) as response:
            assert response.status == 409
            assert "no looser limits wait" in (await response.json())["detail"]
        state = world.service.shell.state
        state.loosening = Loosening(time.time_ns(), 2**62, in_force(state.rules), ("risk.max_drawdown",))
        secrets["later"] = created(world.folder, "later", "admin")[1]
        await asyncio.sleep(keyring.CHECK_S)
        async with world.session.get("/api/v1/status") as response:
            assert (await response.json())["loosening"].startswith("risk.max_drawdown from ")
        for who, status, code in (
            ("owner", 403, "second"), ("later", 403, "second"), ("trade", 403, "scope"), ("second", 200, ""),
        ):  # fmt: skip
            headers = {"Authorization": f"Bearer {secrets[who]}"}
            body = {"reason": "agreed"}
            async with world.session.post("/api/v1/limits/approve", json=body, headers=headers) as response:
                answer = await response.json()
            assert (response.status, answer.get("code", "")) == (status, code), (who, answer)
            assert (state.loosening is None) == (status == 200)
        assert answer["looser"] == ["risk.max_drawdown"]
        events = [decode(blob).event for _, blob in world.store.entries(RUN, 1)]
        approved = [event for event in events if isinstance(event, Approved)]
        assert [(approval.reason, approval.who.split(":")[1]) for approval in approved] == [("agreed", "second")]
