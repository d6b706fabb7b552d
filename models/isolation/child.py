"""A process without rights, in which a policy file or a trained graph runs, and the two pipes to it.

The process is an isolated interpreter that gives up its rights before it imports anything else
(`quantd.models.isolation.confinement`). Each message begins with its length. Each wait ends at `until`, at a
withdrawal, or when the process ends; the text of `Broken` says which. A message is bytes: the caller decodes and checks
it, and never unpickles it.
"""

import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct as Layout
from typing import Final

HOME: Final = Path(__file__).parents[2]
"""The installed package; in a checkout it holds one link for each top-level folder."""

BUILDINGS: Final = (
    "adapters", "daemon", "models", "research", "risk", "server", "strategies", "trading", "training",
)  # fmt: skip

PACKAGES: Final = (HOME, *(HOME / name for name in BUILDINGS))
"""The folders that a process may read to import quantd."""

ENVIRONMENT: Final = frozenset(
    {"LD_LIBRARY_PATH", "TZ", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS",
     "NUMEXPR_NUM_THREADS", "POLARS_SKIP_CPU_CHECK"}
)  # fmt: skip
"""Environment variables of a process: library paths, and settings that affect rounding."""

# imports quantd from the folder of this process without adding the folder's parent to the import path, where
# another module could shadow one of the standard library
_BOOT: Final = """import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("quantd", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
sys.modules["quantd"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["quantd"])
from quantd.models.isolation.confinement import enter
missing = enter()
from quantd.{program} import main
main(missing)
"""

PIPE_BYTES: Final = 1 << 20

MESSAGE_BYTES: Final = 4 << 20
"""Maximum size of a message from the process of a policy."""

LENGTH: Final = Layout("<Q")
"""The format of the length that precedes each message."""

LOOK_S: Final = 0.1
"""Seconds between two checks whether an awaited answer was withdrawn."""


class Broken(Exception):
    """A process ended, is late, or sent an invalid message."""


class Late(Broken):
    """A message from a policy's process did not arrive in time; the next call may wait for it."""


class Child:
    """One running process of the module `program` of quantd.

    The process may read `paths`. `until` (time.monotonic) ends every wait; `withdrawn` ends the present wait. The
    module's `main` gets the names of the rights that the process could not give up.
    """

    def __init__(self, program: str, paths: Sequence[str], until: float) -> None:
        """`program` is a module of quantd, `paths` what it may read, `until` the `time.monotonic` deadline."""
        self.until = until
        self.withdrawn = False
        self._received = bytearray()
        """Bytes that the process has sent and no call has read."""
        self.process: Final = subprocess.Popen(
            [sys.executable, "-I", "-P", "-c", _BOOT.format(program=program), str(HOME)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/", start_new_session=True,
            env={name: value for name, value in os.environ.items() if name in ENVIRONMENT},
        )  # fmt: skip
        self._end: Final = weakref.finalize(self, _end, self.process)
        assert self.process.stdin is not None
        assert self.process.stdout is not None  # both are pipes
        self._to, self._from = self.process.stdin.fileno(), self.process.stdout.fileno()
        for pipe in (self._to, self._from):
            os.set_blocking(pipe, False)
            if sys.platform == "linux":
                import fcntl

                # a larger pipe needs fewer writes for a long history; its size counts against a limit of the user
                with suppress(OSError):
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with suppress(OSError, Broken):  # the process ended; the next read reports it
            self.send(json.dumps({"paths": list(paths), "parent": os.getpid()}).encode())

    @property
    def alive(self) -> bool:
        """Whether the policy's process runs."""
        return self.process.poll() is None

    def send(self, data: bytes) -> None:
        """Send one message to the policy's process. Raises Broken and OSError."""
        unsent = memoryview(LENGTH.pack(len(data)) + data)
        while unsent:
            if not select.select([], [self._to], [], max(0.0, self.until - time.monotonic()))[1]:
                raise Broken("its process does not read its question")
            unsent = unsent[os.write(self._to, unsent[:PIPE_BYTES]) :]

    def receive(self, late: str, most: int = MESSAGE_BYTES) -> bytes:
        """The next message. Raises Broken (no message can come), and Late with the text `late` after the deadline.

        A message is its size, then so many bytes, `most` at most. Bytes that arrived before Late are not lost: the next
        call continues with them.
        """
        self._read_until_size(LENGTH.size, late)
        size = int(LENGTH.unpack_from(self._received)[0])
        if size > most:
            raise Broken(f"its process sends a message of {size} bytes, more than {most}")
        end = LENGTH.size + size
        self._read_until_size(end, late)
        message = bytes(self._received[LENGTH.size : end])
        del self._received[:end]
        return message

    def _read_until_size(self, size: int, late: str) -> None:
        """Read until `size` bytes have arrived in all. Raises Broken, and Late with the text `late`.

        The wait is in pieces of LOOK_S, so that a withdrawal of the question ends it.
        """
        while len(self._received) < size:
            remaining_s = self.until - time.monotonic()
            if not select.select([self._from], [], [], min(max(0.0, remaining_s), LOOK_S))[0]:
                if remaining_s <= 0.0 or self.withdrawn:
                    raise Late(late)
                continue
            part = os.read(self._from, size - len(self._received))
            if not part:
                raise Broken(f"its process ended{self._status()}")
            self._received += part

    def _status(self) -> str:
        """The exit status of the process, if it is known within a short time."""
        try:
            code = self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return ""
        return f" (signal {-code})" if code < 0 else f" (exit status {code})"

    def withdraw(self) -> None:
        """End the process; a thread that waits for it continues at once."""
        self.withdrawn = True
        self.process.kill()

    def close(self) -> None:
        """Kill the policy's process and close the pipes to it."""
        self._end()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
