"""Compares each day of a run with a backtest of the same bars, and with the interpreted engine, beside trading."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import msgspec

from quantd.adapters.store.job_runs import JobRun
from quantd.daemon.jobs.tasks.command_process import output_of
from quantd.daemon.runtime.service import Service
from quantd.research.studies.parity import Parity
from quantd.trading.display_text import session_date


class ComparisonFailed(RuntimeError):
    """The process of a comparison ended without a result."""


class Folded(msgspec.Struct):
    """The part of the answer of `quantd replay --json` that is read here."""

    same: bool
    compared: int
    difference: str


def _before(day: str) -> str:
    """The date before: a session may begin in the evening."""
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


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
        folded = await self._folded(day)
        found = await self._compared(day)
        if found.same:
            return f"{day}: {found.decisions} decisions, all as in a backtest; {folded}"
        named = {cause for row in found.worst for cause in row.causes}
        causes = ", ".join(f"{cause} {money}" for cause, money in found.money.items() if cause in named)
        text = (
            f"parity of {day}: {found.different} of {found.decisions} decisions differ from a backtest of the same "
            f"bars, worth {found.total} ({causes}); quantd study parity {found.run} --day {day}"
        )
        self.service.alert(text)
        return f"{text}; {folded}"

    async def _folded(self, day: str) -> str:
        """Replay the day with the interpreted engine, from the newest snapshot before it; an alert names the first step
        that differs. Returns the result. Raises ComparisonFailed."""
        words = ["replay", self.service.run, "--uncompiled", "--from", _before(day), "--json", *self._places()]
        _, out, error = await output_of(words, {"QUANTD_UNCOMPILED": "1"})
        try:
            found = msgspec.json.decode(out, type=Folded)
        except msgspec.DecodeError:
            raise ComparisonFailed(error) from None
        if found.same:
            return f"{found.compared} steps as in the interpreted engine"
        text = f"the interpreted engine: {found.difference}"
        self.service.alert(f"parity of {day}: {text}; quantd replay {self.service.run} --uncompiled")
        return text

    def _places(self) -> list[str]:
        """The options that name configuration and store."""
        words = ["--config", str(self._config_file()), "--state", str(self.folder)]
        if isinstance(self.store, str):
            words += ["--set", f"store.url={self.service.config.store.url}"]
        return words

    def _config_file(self) -> Path:
        return Path(self.service.config.source.file).resolve()

    async def _compared(self, day: str) -> Parity:
        """Run `quantd study parity` for one day. Raises ComparisonFailed."""
        words = ["study", "parity", self.service.run, "--day", day, "--json", *self._places()]
        _, out, error = await output_of(words)
        try:
            return msgspec.json.decode(out, type=Parity)
        except msgspec.DecodeError:
            raise ComparisonFailed(error) from None
