"""The standard descriptors of a command: they are always open, and a fault of them does not make the command fail.

A supervisor may close descriptors 0 to 2. The next file, perhaps the store, would then get one of these numbers, and a
line that a library writes to descriptor 2 would damage it. So a closed descriptor is opened on /dev/null at the start.

A log partition may be full, a terminal closed, or the reader of a pipe gone. A daemon that trades must not end for such
a fault, and a halt that was carried out is no failure. So the work of a command decides its exit code, not its output.
Lines that cannot be written are lost. Later lines are tried again, because a full partition may get space.

A command that only prints is different: an export to a full disk must not look complete. It ends with the exit code of
a failure, and at once if the reader of its output has gone.

Rejected: redirecting a broken descriptor of a command that acts to /dev/null. The log would be lost for the rest of the
run.
"""

import errno
import io
import os
import sys
from typing import Final, TextIO

STANDARD: Final = (0, 1, 2)

GONE: Final = frozenset({errno.EPIPE, errno.EIO})
"""Error numbers that mean that the reader of a pipe has gone, or the terminal is closed."""


class Outlet(io.FileIO):
    """A descriptor for output that loses what it cannot write.

    With `strict` it raises BrokenPipeError if its reader has gone, but only once: the interpreter flushes the remaining
    output at its end, and would print a second exception there.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.strict = self.gone = False
        self.lost = ""
        """Why output was lost for the first time; empty without a loss."""

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        """Write the data, or lose them; return the number of bytes written or lost.

        Raises BrokenPipeError once if the outlet is `strict` and the reader has gone.
        """
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError as error:
            if self.strict and error.errno in GONE and not self.gone:
                self.gone = True
                raise BrokenPipeError(error.errno, error.strerror) from None
            self.lost = self.lost or (error.strerror or str(error))
            return size
        if written is None:  # the descriptor does not block, and its buffer is full
            self.lost = self.lost or os.strerror(errno.EAGAIN)
            return size
        return written


_outlets: dict[int, Outlet] = {}
"""Descriptor -> its outlet, for standard output (1) and standard error (2)."""


def open_standard() -> None:
    """Open each standard descriptor that is closed, and replace this process's standard output and error by Outlets.

    A stream that a test or an embedding program has replaced is left alone.
    """
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout = _with_outlet(1, sys.stdout, sys.__stdout__)
    sys.stderr = _with_outlet(2, sys.stderr, sys.__stderr__)


def _with_outlet(descriptor: int, stream: TextIO | None, original: TextIO | None) -> TextIO:
    """Return a text stream on an outlet of the descriptor; `stream` itself if a test or program has replaced
    `original`."""
    if stream is not original:
        assert stream is not None
        return stream
    outlet = _outlets[descriptor] = Outlet(descriptor)
    encoding = "utf-8" if stream is None else stream.encoding
    errors = "backslashreplace" if stream is None else stream.errors
    line_buffering = descriptor == 2 or (stream is not None and stream.isatty())
    return io.TextIOWrapper(io.BufferedWriter(outlet), encoding, errors, line_buffering=line_buffering)


def reads_only() -> None:
    """Declare that the command only prints: the command then ends as soon as the reader of its output has gone."""
    for outlet in _outlets.values():
        outlet.strict = True


def lost() -> str:
    """Return why standard output was lost; empty without a loss."""
    return _outlets[1].lost if 1 in _outlets else ""


def incomplete() -> bool:
    """Whether a command that only prints has lost a part of its output."""
    return 1 in _outlets and _outlets[1].strict and bool(_outlets[1].lost)
