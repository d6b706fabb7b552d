"""Carries questions to an outside agent: as lines to a process, or as requests to an address."""

import http.client
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from quantd.research.outside.questions import MOST_BYTES

LAST_WORDS: Final = 400
"""Largest number of bytes of an agent's standard error in a message."""

GRACE_S: Final = 1.0
"""Seconds that a process has to end after its input is closed, before it is killed."""


class NoAnswer(Exception):
    """No answer of an outside agent arrived in time, it was too long, or the agent ended. The text is for the user."""


class Transport(Protocol):
    """A connection to an outside agent: a process, or a web address."""

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        """Return the answer to a question as bytes.

        Raises NoAnswer for an answer later than `timeout_s` seconds, an answer that is too long, and an agent that
        ended.
        """
        ...

    def close(self) -> None:
        """End the process or the connection of the agent."""
        ...


class CommandProcess:
    """A process that reads questions as lines and writes an answer as a line. The process starts at the first question.

    The process runs in an operating-system session of its own, so that `close` can also kill its child processes.
    """

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self._command, self._folder = command, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._stderr_tail = b""

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the agent's process, started if it does not run yet. Raises NoAnswer where it cannot start."""
        if self._process is None:
            try:
                self._process = subprocess.Popen(
                    self._command, cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise NoAnswer(f"the command {self._command[0]!r} does not start: {error.strerror}") from None
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
        return self._process

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        """Write the question as a line, and return the next line of the process.

        Raises NoAnswer for a late answer, an answer above MOST_BYTES, an ended process, and where the process wrote a
        second line in answer to the previous question.
        """
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if self._unread:
            raise NoAnswer(f"it wrote more than one line to a question; the second begins {self._unread[:60]!r}")
        unsent, deadline = memoryview(question + b"\n"), time.monotonic() + timeout_s
        with selectors.DefaultSelector() as pipes:
            pipes.register(process.stdin, selectors.EVENT_WRITE)
            pipes.register(process.stdout, selectors.EVENT_READ)
            pipes.register(process.stderr, selectors.EVENT_READ)
            while True:
                ready = pipes.select(max(0.0, deadline - time.monotonic()))
                if not ready or time.monotonic() > deadline:
                    raise NoAnswer(f"no answer within {timeout_s:g} s")
                for key, _ in ready:
                    if key.fileobj is process.stdin:
                        try:
                            unsent = unsent[os.write(key.fd, unsent) :]
                        except BrokenPipeError:
                            unsent = unsent[:0]  # the process ended or closed its input; it may still have answered
                        if not unsent:
                            pipes.unregister(process.stdin)
                        continue
                    read = os.read(key.fd, 65_536)
                    if key.fileobj is process.stderr:
                        self._stderr_tail = (self._stderr_tail + read)[-LAST_WORDS:]
                        if not read:
                            pipes.unregister(process.stderr)
                        continue
                    if not read:
                        raise NoAnswer(self._end_text(process))
                    self._unread += read
                    line, newline, remainder = self._unread.partition(b"\n")
                    if len(line) > MOST_BYTES:
                        raise NoAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
                    if newline:
                        self._unread = remainder
                        return line

    def _end_text(self, process: subprocess.Popen[bytes]) -> str:
        """Return how the process ended after it closed its output, as text, with its last line of standard error."""
        try:
            code = process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return "it closed its output without an answer"
        assert process.stderr is not None
        with suppress(BlockingIOError):
            self._stderr_tail = (self._stderr_tail + (os.read(process.stderr.fileno(), 65_536) or b""))[-LAST_WORDS:]
        error_lines = self._stderr_tail.decode(errors="replace").strip().splitlines()
        end = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return f"the process ended with {end}" + (f": {error_lines[-1]}" if error_lines else "")

    def close(self) -> None:
        """End the agent's process and its children. The next question starts a new process."""
        process, self._process, self._unread = self._process, None, b""
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its children may run on after it has ended
        process.wait()
        process.stdout.close()
        process.stderr.close()


class HttpAddress:
    """An address to which each question is posted. Redirections are not followed."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._secure = parts.netloc, parts.scheme == "https"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        """Post the question as JSON and return the body of the answer. `timeout_s` bounds the whole request.

        Raises NoAnswer for a late answer, a status other than 200 and a body above MOST_BYTES.
        """
        connection_type = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection, timed_out = connection_type(self._host, timeout=timeout_s), threading.Event()

        def cut_off() -> None:
            timed_out.set()
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

        # the timeout of a socket begins again with each byte, so a timer ends a slow answer
        timer = threading.Timer(timeout_s, cut_off)
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", self._path, question, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if timed_out.is_set() or isinstance(error, TimeoutError):
                raise NoAnswer(f"no answer within {timeout_s:g} s") from None
            raise NoAnswer(f"{type(error).__name__}: {error}") from None
        finally:
            timer.cancel()
            connection.close()
        if timed_out.is_set():
            raise NoAnswer(f"no answer within {timeout_s:g} s")
        if response.status != http.client.OK:
            raise NoAnswer(f"status {response.status} in place of 200")
        if len(body) > MOST_BYTES:
            raise NoAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
        return body

    def close(self) -> None:
        """Do nothing: no connection stays open between questions."""
