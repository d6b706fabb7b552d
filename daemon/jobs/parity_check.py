"""Compares each day of a run with a backtest of the same bars, in a process beside trading."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from quantd.adapters.store.job_runs import JobRun
from quantd.daemon.jobs.tasks.command_process import output_of
from quantd.daemon.runtime.service import Service
from quantd.research.studies.parity import Parity
from quantd.trading.display_text import session_date


class ComparisonFailed(RuntimeError):
    """The process of a comparison ended without a result."""


@dataclass(frozen=True, slots=True)
class ParityCheck:
    """The comparisons of one service. `folder` is its state folder, `store` the folder again or a URL."""

    service: Service
    folder: Path
    store: str | Path

    async def work(self, run: JobRun) -> str:
        """Compare the day of the newest sample, and raise an alert where decisions differ; returns the result."""
        sample = self.service.shell.state.sample
        if not sample:
            return "nothing was sampled yet"
        day = session_date(sample - 1).isoformat()
        found = await self._compared(day)
        if found.same:
            return f"{day}: {found.decisions} decisions, all as in a backtest"
        named = {cause for row in found.worst for cause in row.causes}
        causes = ", ".join(f"{cause} {money}" for cause, money in found.money.items() if cause in named)
        text = (
            f"parity of {day}: {found.different} of {found.decisions} decisions differ from a backtest of the same "
            f"bars, worth {found.total} ({causes}); quantd study parity {found.run} --day {day}"
        )
        self.service.alert(text)
        return text

    def _config_file(self) -> Path:
        return Path(self.service.config.source.file).resolve()

    async def _compared(self, day: str) -> Parity:
        """Run `quantd study parity` for one day. Raises ComparisonFailed."""
        config = self.service.config
        words = ["study", "parity", self.service.run, "--day", day, "--json"]
        words += ["--config", str(self._config_file()), "--state", str(self.folder)]
        if isinstance(self.store, str):
            words += ["--set", f"store.url={config.store.url}"]
        _, out, error = await output_of(words)
        try:
            return msgspec.json.decode(out, type=Parity)
        except msgspec.DecodeError:
            raise ComparisonFailed(error) from None
