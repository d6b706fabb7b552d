"""`quantd init --policy NAME.py --watch`: tests a policy at each save of its file."""

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from quantd.daemon.cli.output import say

LOOK_S: Final = 0.05
"""Time between two looks at the file; it has rested when two of them see the same."""

LONG_S: Final = 20.0
"""Time after which a test is said to go on."""

Stamp = tuple[int, int, int]


class Tester:
    """Tests a policy in a process of its own, which a new save or an exit of the policy replaces."""

    def __init__(self, config: Path, policy: Path) -> None:
        self._files = config.resolve(), policy.resolve()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._since: float | None = None
        self._reads = False

    def test(self) -> None:
        """Begin a test. One that has read the file is ended, because that is not the newest any more."""
        self.lines()
        if self._since is not None:
            if not self._reads:
                return
            self.close()
        if self._process is None or self._connection is None:
            from quantd.research.cli.setup import policy_check

            spawn = multiprocessing.get_context("spawn")
            self._connection, theirs = spawn.Pipe()
            self._process = spawn.Process(target=policy_check.serve, args=(theirs, *self._files), daemon=True)
            self._process.start()
            theirs.close()
        self._connection.send(True)
        self._since, self._reads = time.monotonic(), False

    def lines(self) -> list[str]:
        """Return the lines that have arrived."""
        if self._connection is None or self._process is None:
            return []
        out = []
        try:
            while self._connection.poll():
                line = self._connection.recv()
                if line is True:
                    self._reads = True
                elif line:
                    out.append(line)
                else:
                    self._since = None
        except (EOFError, OSError):
            self._process.join(5.0)
            code = self._process.exitcode
            out.append(f"{self._files[1].name}: it ended its process (exit code {code}); correct it, and save it")
            self.close()
        if self._since is not None and time.monotonic() - self._since > LONG_S:
            self._since = time.monotonic()
            out.append(f"{self._files[1].name}: the test goes on; a save ends it, and begins a new one")
        return out

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = self._since = None


def stamp(file: Path) -> Stamp | None:
    """Return what changes with a save, None while there is no file: an editor may replace it."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def watched(folder: Path, policy: Path) -> int:
    """Test a policy now and at each save of it or of the configuration, which has the market, until Ctrl-C."""
    config = folder / "config.toml"
    tester = Tester(config, policy)
    say(f"watching {policy}: each save reruns backtest, verdict and look-ahead; Ctrl-C ends it")
    tested: tuple[Stamp | None, Stamp | None] = None, None
    before = tested
    try:
        while True:
            now = stamp(policy), stamp(config)
            if None not in now and now == before and now != tested:
                if now[1] != tested[1]:
                    tester.close()  # another market
                tested = now
                say(f"{time.strftime('%H:%M:%S')} {policy.name}")
                tester.test()
            before = now
            for line in tester.lines():
                say(f"  {line}")
            sys.stdout.flush()
            time.sleep(LOOK_S)
    finally:
        tester.close()
