"""A command of a job runs in a process of the lowest priority, which ends with the call."""

import asyncio
import os

import pytest

from quantd.daemon.jobs.tasks.command_process import LOWEST, output_of


async def test_a_command_has_the_lowest_priority_and_ends_with_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[asyncio.subprocess.Process] = []
    begin = asyncio.create_subprocess_exec

    async def noted(*command: str, **given: object) -> asyncio.subprocess.Process:
        begun.append(await begin(*command, **given))  # type: ignore[arg-type]
        return begun[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    call = asyncio.create_task(output_of(["--version"]))
    async with asyncio.timeout(60):
        while not begun or os.getpriority(os.PRIO_PROCESS, begun[0].pid) != LOWEST:
            assert not call.done()
            await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert begun[0].returncode == -9
