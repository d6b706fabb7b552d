"""`quantd init --policy NAME.py --watch`: tests a policy at each save of its file.

The test runs in a second process (`policy_check.serve`): a policy that runs for ever, or that exits, cannot end the
watch.
"""

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from quantd.daemon.cli.output import say

POLL_S: Final = 0.05
"""Time between two looks at the file, in s. A save is complete when two looks see the same stamp."""

REMINDER_S: Final = 20.0
"""Time, in s, after which a line says that the test still runs."""

Stamp = tuple[int, int, int]
"""Inode, size in bytes and time of the last change (ns) of a file: a save changes at least one of them."""


class Tester:
    """Tests a policy in a second process, which keeps the market loaded from test to test.

    The process is replaced when the file is saved during a test, and when the policy has ended the process.
    """

    def __init__(self, config: Path, policy: Path) -> None:
        self._files = config.resolve(), policy.resolve()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._began_s: float | None = None
        """When the running test began, or its last reminder was printed (monotonic, in s); None without a test."""
        self._file_was_read = False
        """Whether the running test has read the file, so that a later save is not in it."""

    def test(self) -> None:
        """Begin a test of the policy file in its present state.

        A running test that has read the file is ended, because it tests an older version. A running test that has not
        read it yet will read the newest version, so it stays.
        """
        self.lines()  # receives whether the running test has read the file
        if self._began_s is not None:
            if not self._file_was_read:
                return
            self.close()
        if self._process is None or self._connection is None:
            from quantd.research.cli.setup import policy_check

            spawn = multiprocessing.get_context("spawn")
            self._connection, child_connection = spawn.Pipe()
            self._process = spawn.Process(target=policy_check.serve, args=(child_connection, *self._files), daemon=True)
            self._process.start()
            # open only in the child: its exit then raises EOFError in `lines`
            child_connection.close()
        self._connection.send(True)
        self._began_s, self._file_was_read = time.monotonic(), False

    def lines(self) -> list[str]:
        """Return the lines of the running test that have arrived since the last call.

        The process that tests the policy sends True when it is about to read the file, then lines, then an empty line
        at the end of the test.
        """
        if self._connection is None or self._process is None:
            return []
        arrived = []
        try:
            while self._connection.poll():
                message = self._connection.recv()
                if message is True:
                    self._file_was_read = True
                elif message:
                    arrived.append(message)
                else:
                    self._began_s = None
        except (EOFError, OSError):  # the process has closed its end of the pipe
            self._process.join(5.0)
            code = self._process.exitcode
            arrived.append(
                f"{self._files[1].name}: the policy ended its process (exit code {code}); correct the file, and save it"
            )
            self.close()
        if self._began_s is not None and time.monotonic() - self._began_s > REMINDER_S:
            self._began_s = time.monotonic()
            arrived.append(f"{self._files[1].name}: the test still runs; save the file to end it and begin a new test")
        return arrived

    def close(self) -> None:
        """End the second process at once, and with it a running test."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = self._began_s = None


def stamp(file: Path) -> Stamp | None:
    """Return (inode, size, time of change) of a file; None while it does not exist, as while an editor saves it."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def watched(folder: Path, policy: Path) -> int:
    """Test a policy now, and at each save of its file or of the folder's config.toml, until Ctrl-C."""
    config = folder / "config.toml"
    tester = Tester(config, policy)
    say(f"watching {policy}: each save reruns backtest, verdict and look-ahead; Ctrl-C ends it")
    tested_stamps: tuple[Stamp | None, Stamp | None] = None, None  # of the policy and of the configuration
    previous_stamps = tested_stamps
    try:
        while True:
            stamps = stamp(policy), stamp(config)
            # two equal looks: a file that is still being written is not tested
            if None not in stamps and stamps == previous_stamps and stamps != tested_stamps:
                if stamps[1] != tested_stamps[1]:
                    tester.close()  # the process has the market of the earlier configuration
                tested_stamps = stamps
                say(f"{time.strftime('%H:%M:%S')} {policy.name}")
                tester.test()
            previous_stamps = stamps
            for line in tester.lines():
                say(f"  {line}")
            sys.stdout.flush()
            time.sleep(POLL_S)
    finally:
        tester.close()
