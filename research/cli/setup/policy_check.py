"""A policy file, tested once: its backtest beside equal weight, the verdict, and the study of look-ahead.

The market stays loaded between two tests. An endless loop or an exit in the file would end `quantd init --watch`, which
tests at each save. So the tests run in a second process (`serve`), and the command only reads the lines that this
process sends. The policy file is executed with the rights of the user, as by `quantd backtest` and `quantd study
lookahead`.
"""

import secrets
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.assembly.first_session import longest_history
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import explained
from quantd.daemon.policies.loading import fit, load
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.research.runs.backtest import after_history, drive
from quantd.research.runs.benchmark_runs import benchmark_history
from quantd.research.runs.comparison import alone, equal_weight_of, recorded
from quantd.research.runs.failures import DecisionFailed
from quantd.research.runs.run_record import Record
from quantd.research.studies.lookahead import forget_modules, lines, lookahead
from quantd.research.verdict import headline, judge
from quantd.trading.orders import base36

CUTS: Final = 10
"""Number of earlier ends of the market at which one test calls the policy; `quantd study lookahead` has 40."""


class Bench:
    """A configuration with its market, on which one policy file is tested again and again."""

    def __init__(self, config: Path, policy: Path) -> None:
        """Raises ConfigError for mistakes of the configuration."""
        self._config = read(config)
        self._policy = policy.resolve()
        self._name = f"{self._policy}:act"
        self._state = self._config.state_folder(None)
        self._markets: dict[int, Assembly] = {}
        """Samples of history -> the assembly that was loaded with them."""
        self._equal_weight: tuple[Replay, Record] | None = None
        """The record of equal weight, with the feed that it was run over."""
        self._market(benchmark_history(self._config))  # loaded before any test

    def _market(self, history: int) -> Assembly:
        """Return the configuration with its market (loaded once) and `history` samples before its start."""
        if history not in self._markets:
            self._markets[history] = assemble(self._config, cache=self._state / "cache", history=history)
        return self._markets[history]

    def lines(self) -> Iterator[str]:
        """Test the policy file in its present state: yield the verdict, then the lines of the look-ahead study.

        Raises DecisionFailed, and whatever the file raises when it is loaded.
        """
        forget_modules(self._policy.parent)

        def assembled(history: int) -> Assembly:
            # loaded again at each call: variables of its module that an earlier run changed would change the result
            policy = load(self._name, {}, self._config.source.folder, unused=self._config.feed.unused_series)
            fit(policy, self._config.instruments())
            needed = max(history, longest_history([policy], self._config.instruments()))
            # one agent with this policy replaces the agents of the configuration
            return alone(self._market(needed), self._name, policy)

        # the market that `__init__` has loaded, unless the policy needs a longer history
        assembly = after_history(assembled, benchmark_history(self._config))
        record = Record(assembly.universe)
        shell = _run(assembly, record)
        record.end(shell.state)
        # another LOOKBACK may need another feed, over which equal weight has other figures
        if self._equal_weight is None or self._equal_weight[0] is not assembly.feed:
            self._equal_weight = assembly.feed, recorded(equal_weight_of(assembly), _run)
        verdict = judge(assembly, record, self._state, self._equal_weight[1])
        if verdict.performance is not None:
            yield f"{verdict.performance.total_return:+.2%} over {verdict.performance.samples:,} samples. " + headline(
                verdict
            )
        else:
            yield headline(verdict)
        yield from lines(lookahead(self._config, self._name, cuts=CUTS, cache=self._state / "cache"))


def _run(assembly: Assembly, log: Log) -> Shell:
    """Run the market, and return the run's shell (engine, venue, policies). A failed decision raises DecisionFailed."""
    return drive(assembly, assembly.config, base36(secrets.randbits(64), 8), log, None, lambda share: None, stop=True)[
        0
    ]


def serve(connection: Connection, config: Path, policy: Path) -> None:
    """Test the policy at each message that arrives, until `connection` is closed. Runs in a process of its own.

    For each test, the function sends True when the market is loaded and the file is about to be read, then each line,
    then an empty line.
    """
    bench: Bench | None = None
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        try:
            if bench is None:
                bench = Bench(config, policy)
            began = time.monotonic()
            connection.send(True)
            for line in bench.lines():
                connection.send(line)
            connection.send(f"{time.monotonic() - began:.1f} s")
        except KeyboardInterrupt:
            return
        except DecisionFailed as why:
            connection.send(f"the policy fails on {why.reason}")
        except BaseException as error:  # a policy file may raise anything, and the watch goes on
            connection.send(explained(error)[0])  # the message, without the exit code
        connection.send("")
