"""Carries a question to an outside agent: a line to a process, or a request to an address."""

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
"""Most bytes of the standard error of an agent in a message."""

GRACE_S: Final = 1.0
"""Seconds that a process has to end after its input is closed."""


class NoAnswer(Exception):
    """No answer arrived: late, too long, or the agent is gone. The text is for the user."""


class Transport(Protocol):
    """A way to an agent."""

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        """Return the answer to a question as bytes.

        Raises NoAnswer where none comes within `timeout_s` seconds, for one that is too long, and for a lost agent.
        """
        ...

    def close(self) -> None:
        """End the process or the connection of the agent."""
        ...


class CommandProcess:
    """A process that reads questions as lines and writes an answer as a line. It starts at the first question.

    It has a session of its own, so that its end takes its children along.
    """

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self._command, self._folder = command, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._said = b""

    def _started(self) -> subprocess.Popen[bytes]:
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
        """Write the question as a line, and return the next line of the process. Raises NoAnswer for a late answer, one
        above MOST_BYTES, an ended process, and a second line to the question before."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if self._rest:
            raise NoAnswer(f"it wrote more than one line to a question; the second begins {self._rest[:60]!r}")
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
                            unsent = unsent[:0]
                        if not unsent:
                            pipes.unregister(process.stdin)
                        continue
                    read = os.read(key.fd, 65_536)
                    if key.fileobj is process.stderr:
                        self._said = (self._said + read)[-LAST_WORDS:]
                        if not read:
                            pipes.unregister(process.stderr)
                        continue
                    if not read:
                        raise NoAnswer(self._ended(process))
                    self._rest += read
                    line, newline, remainder = self._rest.partition(b"\n")
                    if len(line) > MOST_BYTES:
                        raise NoAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
                    if newline:
                        self._rest = remainder
                        return line

    def _ended(self, process: subprocess.Popen[bytes]) -> str:
        try:
            code = process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return "it closed its output without an answer"
        assert process.stderr is not None
        with suppress(BlockingIOError):
            self._said = (self._said + (os.read(process.stderr.fileno(), 65_536) or b""))[-LAST_WORDS:]
        said = self._said.decode(errors="replace").strip().splitlines()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return f"the process ended with {how}" + (f": {said[-1]}" if said else "")

    def close(self) -> None:
        """End the process and its children. The next question starts another one."""
        process, self._process, self._rest = self._process, None, b""
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
            os.killpg(process.pid, signal.SIGKILL)  # children too, of a process that has ended as well
        process.wait()
        process.stdout.close()
        process.stderr.close()


class HttpAddress:
    """An address that answers each POST of a question. It follows no redirection."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._secure = parts.netloc, parts.scheme == "https"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        """Post the question as JSON and return the body of the answer. `timeout_s` bounds the whole request. Raises
        NoAnswer also for a status other than 200 and a body above MOST_BYTES."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection, late = kind(self._host, timeout=timeout_s), threading.Event()

        def end() -> None:
            late.set()
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

        # a socket's time-out begins again with each byte; this one does not
        timer = threading.Timer(timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", self._path, question, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise NoAnswer(f"no answer within {timeout_s:g} s") from None
            raise NoAnswer(f"{type(error).__name__}: {error}") from None
        finally:
            timer.cancel()
            connection.close()
        if late.is_set():
            raise NoAnswer(f"no answer within {timeout_s:g} s")
        if response.status != http.client.OK:
            raise NoAnswer(f"status {response.status} in place of 200")
        if len(body) > MOST_BYTES:
            raise NoAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
        return body

    def close(self) -> None:
        """An address has nothing open between questions."""
