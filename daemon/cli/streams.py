"""The standard descriptors of a command: open from the start, and never the reason why its work is undone.

A supervisor may close descriptors 0 to 2. The next file, perhaps the store, would then get one of these numbers, and a
line that a library writes to descriptor 2 would damage it. A log partition may be full, a terminal closed, the reader
of a pipe gone. A daemon that trades must not end for any of these, and a halt that was carried out is no failure.

So what was done decides the exit code. Lines that cannot be written are lost, and later ones are tried again, because a
full partition may get space. A command whose work is its output is different: an export to a full disk must not look
complete. It ends with the exit code of a failure, and at once where its reader has gone.

Redirecting a broken descriptor to /dev/null was rejected for acts: the log would stay lost for the rest of the run.
"""

import errno
import io
import os
import sys
from typing import Final, TextIO

STANDARD: Final = (0, 1, 2)

GONE: Final = frozenset({errno.EPIPE, errno.EIO})
"""The reader of a pipe has left, or the terminal is closed."""


class Outlet(io.FileIO):
    """A descriptor for output. With `strict` it raises once where its reader has gone; else nothing.

    The interpreter flushes what is left at its end, and would print a second exception there.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.strict = self.gone = False
        self.lost = ""
        """Why output was lost, the first time; empty without a loss."""

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        """Write, or lose the data. Returns the number of bytes that are done with.

        Raises BrokenPipeError once if it is `strict` and the reader is gone.
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
        if written is None:  # a descriptor that does not block, and is full
            self.lost = self.lost or os.strerror(errno.EAGAIN)
            return size
        return written


_outlets: dict[int, Outlet] = {}


def open_standard() -> None:
    """Open each standard descriptor that is closed, and replace this process's standard output and error by Outlets.

    A stream that a test or an embedding program has replaced stays.
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
    sys.stdout = _protected(1, sys.stdout, sys.__stdout__)
    sys.stderr = _protected(2, sys.stderr, sys.__stderr__)


def _protected(descriptor: int, stream: TextIO | None, original: TextIO | None) -> TextIO:
    if stream is not original:  # replaced
        assert stream is not None
        return stream
    outlet = _outlets[descriptor] = Outlet(descriptor)
    encoding = "utf-8" if stream is None else stream.encoding
    errors = "backslashreplace" if stream is None else stream.errors
    lines = descriptor == 2 or (stream is not None and stream.isatty())
    return io.TextIOWrapper(io.BufferedWriter(outlet), encoding, errors, line_buffering=lines)


def reads_only() -> None:
    """The output of the command is its work: it ends where its reader has gone."""
    for outlet in _outlets.values():
        outlet.strict = True


def lost() -> str:
    """Why standard output was lost; empty without a loss."""
    return _outlets[1].lost if 1 in _outlets else ""


def incomplete() -> bool:
    """Whether a command whose work is its output has lost a part of it."""
    return 1 in _outlets and _outlets[1].strict and bool(_outlets[1].lost)
