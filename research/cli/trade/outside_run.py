"""The outside agents of a backtest: their configuration, their run under true and under other names, and its lines."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import progress
from quantd.trading.exit_codes import USAGE

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.config import Config
    from quantd.daemon.runtime.loop import Shell
    from quantd.research.outside.asking import Questioned
    from quantd.research.runs.backtest import BacktestJournal
    from quantd.research.runs.run_record import Record


@dataclass(slots=True)
class Questions:
    """The options of a backtest about outside agents, and the results of their use."""

    most: int | None
    rename: bool
    found: "Questioned | None" = None

    def configured(
        self, file: Path, sets: list[str] | None, start: date | None, end: date | None
    ) -> tuple["Config", tuple[str, ...]]:
        """The configuration in which outside agents are asked, and its overrides. Raises Failure without an agent."""
        from quantd.daemon.cli.configuration import read
        from quantd.daemon.config.overrides import between
        from quantd.research.outside.outside_agents import NO_OUTSIDE_AGENT, overrides

        given = between(sets, start, end)
        configuration = read(file, given)
        if more := overrides(configuration):
            given = (*given, *more)
            return read(file, given), given
        if self.rename or self.most is not None:
            raise Failure(f"--rename and --most-questions {NO_OUTSIDE_AGENT}", USAGE)
        return configuration, given

    def drive(
        self,
        assembly: "Assembly",
        run: str,
        record: "Record",
        saved: "BacktestJournal | None",
        folder: Path,
        *,
        shown: bool,
    ) -> tuple["Shell", float]:
        """Run the market. With outside agents and `rename`, run it once more under other names of the symbols.

        Returns (shell, seconds) of the first run.
        """
        from quantd.research.runs.backtest import drive
        from quantd.strategies.policies.holding import Asked
        from quantd.trading.ports import leaves

        def first() -> "tuple[Shell, float]":
            with progress("backtest", shown=shown) as bar:
                return drive(assembly, assembly.config, run, record, saved, bar)

        if not any(isinstance(leaf, Asked) for policy in assembly.policies for leaf in leaves(policy)):
            return first()
        from quantd.research.outside.asking import asked_run

        def again() -> None:
            with progress("other names", shown=shown) as bar:
                drive(assembly, assembly.config, run, None, None, bar)

        done, self.found = asked_run(assembly, folder, self.most, first, again if self.rename else None, record)
        return done

    def body(self) -> dict[str, Any]:
        """Return the first part of the JSON document, about outside agents; empty without such an agent."""
        if self.found is None or not self.found.counts:
            return {}
        return {
            "foresight": msgspec.to_builtins(self.found.verdicts),
            "outside": msgspec.to_builtins(self.found.counts),
        }

    def first_lines(self) -> list[str]:
        """The verdicts on the agents, before every other line."""
        return [] if self.found is None else self.found.first_lines

    @property
    def foreknowledge(self) -> str:
        """The verdicts on the agents that are named; else empty."""
        return "" if self.found is None else self.found.foreknowledge

    def lines(self) -> list[str]:
        """The lines about outside agents after the result; none without such an agent."""
        return [] if self.found is None else self.found.lines()

    @property
    def named(self) -> bool:
        """Whether an agent is named as one that knows the future."""
        return self.found is not None and self.found.knows
