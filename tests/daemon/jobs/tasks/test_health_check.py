"""The scheduled health check is the doctor's: it passes, or fails with the text of each failed check."""

from pathlib import Path

import pytest

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.daemon.jobs.tasks.health_check import HealthCheck, Unhealthy
from tests.support.command_line import CONFIG, write
from tests.support.service_kit import Kit, world


@pytest.mark.long
@pytest.mark.requirement("R-175")
async def test_a_good_configuration_passes_and_a_broken_one_is_named(tmp_path: Path) -> None:
    kit = Kit(tmp_path / "store", world())
    kit.service.config = load(write(tmp_path), known_names())
    check = HealthCheck(kit.service, tmp_path / "state")
    assert "checks passed" in await check.work(JobRun(1, "health_check"))
    (tmp_path / "config.toml").write_text(CONFIG.replace('policy = "momentum"', 'policy = "momentun"'))
    with pytest.raises(Unhealthy, match=r"1 of \d+ checks failed: config: .*Did you mean momentum"):
        await check.work(JobRun(2, "health_check"))
    kit.store.close()
