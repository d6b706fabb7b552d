"""The outside agents of a backtest: their configuration, their run under true and under other names, and its lines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import progress
from quantd.trading.exit_codes import USAGE

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.config import Config
    from quantd.daemon.runtime.loop import Log, Shell
    from quantd.research.outside.asking import AskedAgent
    from quantd.research.outside.foresight import Foresight
    from quantd.research.runs.backtest import BacktestJournal

NOBODY: Final = (
    "--rename and --most-questions are for outside agents, and no agent with a command or an address is configured; "
    'write policy = "external" and params = { command = ["python3", "agent.py"] }'
)


@dataclass(slots=True)
class Questions:
    """The options of a backtest about outside agents, and what came of them."""

    most: int | None
    rename: bool
    counts: Sequence["AskedAgent"] = ()
    verdicts: Sequence["Foresight"] = field(default=())

    def configured(
        self, file: Path, sets: list[str] | None, start: date | None, end: date | None
    ) -> tuple["Config", tuple[str, ...]]:
        """The configuration in which outside agents are asked, and its overrides. Raises Failure without an agent."""
        from quantd.daemon.cli.configuration import between, read
        from quantd.research.outside.asking import overrides

        given = between(sets, start, end)
        found = read(file, given)
        if more := overrides(found):
            given = (*given, *more)
            return read(file, given), given
        if self.rename or self.most is not None:
            raise Failure(NOBODY, USAGE)
        return found, given

    def drive(
        self, assembly: "Assembly", run: str, log: "Log", saved: "BacktestJournal | None", folder: Path, *, shown: bool
    ) -> tuple["Shell", float]:
        """Run the market, and once more under other names if that is asked for; (shell, seconds) of the first run."""
        from quantd.research.outside.asking import asked_in
        from quantd.research.runs.backtest import drive

        with asked_in(assembly, folder, self.most) as askers:
            with progress("backtest", shown=shown) as bar:
                done = drive(assembly, assembly.config, run, log, saved, bar)
            if self.rename:
                askers.rename()
                with progress("other names", shown=shown) as bar:
                    drive(assembly, assembly.config, run, None, None, bar)
                self.verdicts = askers.verdicts()
            self.counts = askers.counts()
        return done

    def body(self) -> dict[str, Any]:
        """The part of the JSON document about outside agents; nothing without any."""
        if not self.counts:
            return {}
        return {"outside": msgspec.to_builtins(self.counts), "foresight": msgspec.to_builtins(self.verdicts)}

    def lines(self) -> list[str]:
        counts = [
            f"  {each.agent}: {each.asked:,} questions asked, {each.stored:,} answers from the store"
            for each in self.counts
        ]
        return counts + [f"  {each.text}" for each in self.verdicts]

    @property
    def named(self) -> bool:
        """Whether an agent is named as one that knows the future."""
        return any(each.knows for each in self.verdicts)
