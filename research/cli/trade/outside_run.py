"""The outside agents of a backtest: their configuration, the run that asks them, and the printed lines about them.

With --rename the market is run twice: under the true names of symbols and dates, and under other names.
"""

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
    """The options of a backtest about outside agents (programs that decide), and the answers after `drive`.

    `most` is the largest number of questions (None: any), `rename` asks for the second run under other names. `found`
    has the counts of questions and the verdicts on the agents; it is None before `drive`, and without outside agents.
    """

    most: int | None
    rename: bool
    found: "Questioned | None" = None

    def configured(
        self, file: Path, sets: list[str] | None, start: date | None, end: date | None
    ) -> tuple["Config", tuple[str, ...]]:
        """Return (the configuration in which outside agents are asked, its overrides KEY=VALUE).

        Raises Failure for --rename or --most-questions without an outside agent.
        """
        from quantd.daemon.cli.configuration import read
        from quantd.daemon.config.overrides import between
        from quantd.research.outside.outside_agents import NO_OUTSIDE_AGENT, overrides

        settings = between(sets, start, end)
        configuration = read(file, settings)
        if asking_settings := overrides(configuration):  # empty without an outside agent
            settings = (*settings, *asking_settings)
            return read(file, settings), settings
        if self.rename or self.most is not None:
            raise Failure(f"--rename and --most-questions {NO_OUTSIDE_AGENT}", USAGE)
        return configuration, settings

    def drive(
        self, assembly: "Assembly", run: str, record: "Record", saved: "BacktestJournal | None", folder: Path
    ) -> tuple["Shell", float]:
        """Run the market. With outside agents and `rename`, run the market again under other symbols and dates.

        Returns (shell with engine and venue, duration in seconds) of the first run, whose steps go to `record` and
        `saved`; the second run is not recorded.
        """
        from quantd.research.runs.backtest import drive
        from quantd.strategies.policies.holding import OutsidePolicy
        from quantd.trading.ports import leaves

        def run_true_names() -> "tuple[Shell, float]":
            with progress("backtest") as advance:
                return drive(assembly, assembly.config, run, record, saved, advance)

        # an `OutsidePolicy` is a policy that puts its question to an outside agent
        if not any(isinstance(leaf, OutsidePolicy) for policy in assembly.policies for leaf in leaves(policy)):
            return run_true_names()
        from quantd.research.outside.asking import asked_run

        def run_other_names() -> None:
            with progress("other names") as advance:
                drive(assembly, assembly.config, run, None, None, advance)  # no record and no journal

        result, self.found = asked_run(
            assembly, folder, self.most, run_true_names, run_other_names if self.rename else None, record
        )
        return result

    def body(self) -> dict[str, Any]:
        """Return the first part of the JSON document, about outside agents; empty without outside agents."""
        if self.found is None or not self.found.counts:
            return {}
        return {
            "foresight": msgspec.to_builtins(self.found.verdicts),
            "outside": msgspec.to_builtins(self.found.counts),
        }

    def first_lines(self) -> list[str]:
        """The verdicts on the outside agents, which are printed before every other line."""
        return [] if self.found is None else self.found.first_lines

    @property
    def foreknowledge(self) -> str:
        """The verdicts on outside agents that know the future, as a clause; empty if no agent does."""
        return "" if self.found is None else self.found.foreknowledge

    def lines(self) -> list[str]:
        """Return the lines about outside agents that are printed below the result; none without an outside agent."""
        return [] if self.found is None else self.found.lines()

    @property
    def named(self) -> bool:
        """True if the second run, under other names, showed that an agent knows the future."""
        return self.found is not None and self.found.knows
