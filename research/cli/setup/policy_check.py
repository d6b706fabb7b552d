"""A policy file, tested once: its backtest beside equal weight, the verdict, and the study of look-ahead.

The market stays loaded between two tests. The test runs in a process of its own, with the rights of its user, as
`quantd backtest` and `quantd study lookahead` execute a file: an endless loop or an exit there ends that process only.
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
"""Earlier ends of the market of one test; `quantd study lookahead` has 40."""


class Bench:
    """A configuration with its market, on which one policy file is tested again and again."""

    def __init__(self, config: Path, policy: Path) -> None:
        """Raises ConfigError for mistakes of the configuration."""
        self._config = read(config)
        self._policy = policy.resolve()
        self._name = f"{self._policy}:act"
        self._state = self._config.state_folder(None)
        self._markets: dict[int, Assembly] = {}
        self._beside: tuple[Replay, Record] | None = None
        self._market(benchmark_history(self._config))

    def _market(self, history: int) -> Assembly:
        """Return the assembly of the configuration with at least so much history, loaded once."""
        if history not in self._markets:
            self._markets[history] = assemble(self._config, cache=self._state / "cache", history=history)
        return self._markets[history]

    def lines(self) -> Iterator[str]:
        """Test the file as it is now: the verdict, then what the study of look-ahead finds. Raises what it raises."""
        forget_modules(self._policy.parent)

        def made(history: int) -> Assembly:
            # the file is loaded again: a state of its module must be that of a first run
            policy = load(self._name, {}, self._config.source.folder, unused=self._config.feed.unused_series)
            fit(policy, self._config.instruments())
            needed = max(history, longest_history([policy], self._config.instruments()))
            return alone(self._market(needed), self._name, policy)

        assembly = after_history(made, benchmark_history(self._config))
        record = Record(assembly.universe)
        shell = _run(assembly, record)
        record.revalue(shell.state)
        if self._beside is None or self._beside[0] is not assembly.feed:
            self._beside = assembly.feed, recorded(equal_weight_of(assembly), _run)
        verdict = judge(assembly, record, self._state, self._beside[1])
        if verdict.performance is not None:
            yield f"{verdict.performance.total_return:+.2%} over {verdict.performance.samples:,} samples. " + headline(
                verdict
            )
        else:
            yield headline(verdict)
        yield from lines(lookahead(self._config, self._name, cuts=CUTS, cache=self._state / "cache"))


def _run(assembly: Assembly, log: Log) -> Shell:
    return drive(assembly, assembly.config, base36(secrets.randbits(64), 8), log, None, lambda share: None, stop=True)[
        0
    ]


def serve(connection: Connection, config: Path, policy: Path) -> None:
    """Test the policy at each message, in a process of its own: send each line, then an empty one.

    True is sent when the market is loaded and the file is about to be read.
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
            connection.send(f"fails on {why.reason}")
        except BaseException as error:  # a policy file may raise anything, and the watch goes on
            connection.send(explained(error)[0])
        connection.send("")
