"""The scheduled health check is the doctor's: it passes, or fails with the text of each failed check."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.daemon.jobs.tasks import command_process, health_check
from quantd.daemon.jobs.tasks.command_process import reason_of
from quantd.daemon.jobs.tasks.health_check import HealthCheck, Unhealthy
from tests.support.command_line import CONFIG, quantd, write
from tests.support.service_kit import Kit, world


@pytest.mark.long
@pytest.mark.requirement("R-175")
async def test_a_good_configuration_passes_and_a_broken_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_this_process(words: Sequence[str]) -> tuple[int, bytes, str]:
        done = await asyncio.to_thread(quantd, tmp_path, *words)
        return done.returncode, done.stdout.encode(), reason_of(done.stderr)

    # a process of the lowest priority takes minutes on a busy machine; test_command_process.py is about that
    monkeypatch.setattr(command_process, "LOWEST", 0)
    kit = Kit(tmp_path / "store", world())
    kit.service.config = load(write(tmp_path), known_names())
    check = HealthCheck(kit.service, tmp_path / "state")
    assert "checks passed" in await check.work(JobRun(1, "health_check"))
    monkeypatch.setattr(health_check, "output_of", in_this_process)  # one process has shown what a process does
    (tmp_path / "config.toml").write_text(CONFIG.replace('policy = "momentum"', 'policy = "momentun"'))
    with pytest.raises(Unhealthy, match=r"1 of \d+ checks failed: config: .*Did you mean momentum"):
        await check.work(JobRun(2, "health_check"))
    kit.store.close()
