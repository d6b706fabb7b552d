"""Programs without a token that take every connection and the whole rate of reads: a person halts all the same."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from quantd.server.api.routes import dashboard_routes
from quantd.server.requests.tokens import created
from tests.proofs.halt_flood import flooded, halt, rearm
from tests.proofs.kill_switch import Daemon, daemon
from tests.support.api_world import get, standing_at_the_end
from tests.support.mqtt import until


@pytest.fixture(scope="module")
def trading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("flooded"), 5.0, "2001-01-02") as target:
        yield target


@pytest.mark.requirement("R-235")
@pytest.mark.long
@pytest.mark.parametrize("kind", ["headers", "streams"])
@pytest.mark.parametrize("halts", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_flood_of_connections_without_a_token_keeps_nobody_from_halting(
    trading: Daemon, kind: str, halts: int
) -> None:
    with flooded(trading.port, kind):
        for _ in range(halts):
            assert halt(trading, "api")[2] == "api"  # one attempt: a refusal raises
            rearm(trading)
        assert halt(trading, "command")[2] in ("api", "file")
        rearm(trading)
    assert trading.late == 0


async def test_a_flood_of_reads_does_not_make_a_probe_take_the_daemon_for_dead(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world:
        probes, reads = [], []
        for _ in range(60):
            for path in ("/api/v1/status",) * 6:
                reads.append((await get(world, path))[0])
            probes.append((await get(world, "/health"))[0])
        assert 429 in reads
        assert set(probes) == {200}
        for _ in range(300):  # nor does a flood of probes
            probes.append((await get(world, "/health"))[0])
        assert set(probes) == {200}


@pytest.mark.long
async def test_streams_of_anybody_leave_two_for_tokens_of_scope_trade(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world, contextlib.AsyncExitStack() as stack:
        tokens = {name: created(world.folder, name, name)[1] for name in ("read", "trade")}
        await asyncio.sleep(0.6)

        async def opened(token: str = "") -> int:
            headers = {"Authorization": f"Bearer {tokens[token]}"} if token else {}
            response = await stack.enter_async_context(world.session.get("/api/v1/events", headers=headers))
            return response.status

        many = dashboard_routes.STREAMS - 2
        assert [await opened() for _ in range(many + 1)] == [200] * many + [503]
        assert await opened("read") == 503
        assert [await opened("trade") for _ in range(3)] == [200, 200, 503]


@pytest.mark.long
async def test_a_stream_whose_client_has_left_gives_its_place_back_without_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard_routes, "KEEPALIVE_S", 3_600.0)  # no write finds the closed connection
    async with standing_at_the_end(tmp_path) as world:
        with capture_logs() as lines:
            async with world.session.get("/api/v1/events") as stream:
                await stream.content.readline()
                assert world.api.context.streams == 1
                stream.close()
            await until(lambda: world.api.context.streams == 0, "the place is free")
        assert lines == []
