"""The job `health_check`: the checks of `quantd doctor` in a process, with an alert for those that fail."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.jobs.tasks.command_process import output_of
from quantd.daemon.runtime.service import Service


class Check(Struct, frozen=True):
    """A finding of `quantd doctor --json`; `ok` is None where the check was not made."""

    name: str
    ok: bool | None
    text: str


class Checked(Struct, frozen=True):
    """The part of the document of `quantd doctor --json` that is read here."""

    checks: list[Check]


class Unhealthy(Exception):
    """A check of `quantd doctor` has failed."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The checks of one service. `folder` is its state folder, `sets` are its overrides of the configuration."""

    service: Service
    folder: Path
    sets: tuple[str, ...] = ()

    def _config_file(self) -> str:
        return str(Path(self.service.config.source.file).resolve())

    async def work(self, run: JobRun) -> str:
        """Run the checks of `quantd doctor`. Raises Unhealthy with the failed checks."""
        command = ["doctor", "--json", "--config", self._config_file(), "--state", str(self.folder)]
        command += [word for setting in self.sets for word in ("--set", setting)]
        _, out, error = await output_of(command)
        try:
            checks = msgspec.json.decode(out, type=Checked).checks
        except msgspec.DecodeError:
            raise Unhealthy(f"the checks did not end: {error}") from None
        failed = [f"{check.name}: {check.text}" for check in checks if check.ok is False]
        if failed:
            raise Unhealthy(f"{len(failed)} of {len(checks)} checks failed: {'; '.join(failed)}")
        return f"{sum(check.ok is True for check in checks)} checks passed, {len(checks)} made"
