"""Reads, writes, replaces, moves and removes regular files and folders of this user, never through a link.

Every change of modes, every replacement and every removal in quantd is here. A path may name a device, a pipe, a file
of another user, or a link to one. A descriptor that opens nothing shows what it names. The change is made on that
descriptor, or on a name within an open folder, so what is put there in between is not changed in its place.

The last name of a path is never followed. The folders above it may be links: an operator chooses where a folder lies.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from threading import get_native_id
from typing import BinaryIO, Final, NamedTuple

MIB: Final = 1 << 20

_PATH: Final = getattr(os, "O_PATH", 0)
"""Opens nothing: a descriptor that names an inode. 0 where the system has no such flag (macOS)."""

_QUIET: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MADE: Final = os.O_CREAT | os.O_EXCL | os.O_TRUNC
_WRITES: Final = os.O_WRONLY | os.O_RDWR


Kind = Callable[[int], bool]
"""A question to a mode: `stat.S_ISREG`."""


class NotRead(Exception):
    """The file is not read; the text is a predicate: "is not a regular file"."""


class Refused(OSError):
    """A path was not changed, because it is no regular file or folder of this user. The text has the remedy."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


class Content(NamedTuple):
    """The content of a file, and its status when it was read."""

    data: bytes
    status: os.stat_result


def read_regular(path: Path, most_bytes: int = MIB, *, links: bool = True) -> Content:
    """A regular file of at most `most_bytes`. Raises FileNotFoundError without one, and NotRead.

    No pipe, device or lease of another process can block it. A link is followed where `links` is true.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise
    except BlockingIOError:
        raise NotRead("is leased by another process for writing") from None
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise _unreadable(error) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise NotRead("is not a regular file")
        data = bytearray()
        while len(data) <= most_bytes and (part := os.read(handle, most_bytes + 1 - len(data))):
            data += part
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        os.close(handle)
    if len(data) > most_bytes:
        raise NotRead(f"has more than {most_bytes:,} bytes")
    return Content(bytes(data), status)


def check_file(path: Path) -> os.stat_result | None:
    """The status of the regular file that `path` names, None without one. Raises Refused for anything else.

    For a file that a library opens by its name, immediately before it does.
    """
    status = _status(path)
    if status is not None:
        _refuse_other(path, status, stat.S_ISREG)
        _refuse_names(path, status)
    return status


def check_folder(path: Path, *, links: bool = False) -> os.stat_result | None:
    """The status of the folder that `path` names, None without one. Raises Refused for anything else.

    A link to a folder is one where `links` is true.
    """
    status = _status(path)
    if status is not None and links and stat.S_ISLNK(status.st_mode):
        with suppress(OSError):
            status = os.stat(path)
    if status is not None:
        _refuse_other(path, status, stat.S_ISDIR)
    return status


def open_regular(path: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of the regular file that `path` names. Raises Refused and OSError.

    O_CREAT makes the file, and O_TRUNC empties it once it is known to be one. Nothing else is opened: no device, no
    pipe, no link. A file with several names (hard links) is not opened for writing.
    """
    if flags & os.O_CREAT:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW | _QUIET, mode)
    with _pinned(path, stat.S_ISREG) as (pin, status):
        if flags & _WRITES:
            _refuse_names(path, status)
        handle = _reopened(path, pin, status, flags & ~_MADE)
    if flags & os.O_TRUNC:
        os.ftruncate(handle, 0)
    return handle


def restrict(path: Path, bits: int) -> None:
    """Removes mode bits of a regular file or a folder of this user. Raises Refused and OSError.

    A file with several names (hard links) is refused: another one may be a file of the system.
    """
    with _pinned(path, lambda mode: stat.S_ISREG(mode) or stat.S_ISDIR(mode)) as (pin, status):
        if status.st_uid != os.geteuid():
            raise Refused(errno.EPERM, "belongs to another user; change its mode as its owner", os.fspath(path))
        if stat.S_ISREG(status.st_mode):
            _refuse_names(path, status)
        mode = stat.S_IMODE(status.st_mode) & ~bits
        if not _PATH:
            os.fchmod(pin, mode)
        elif os.path.lexists(entry := f"/proc/self/fd/{pin}"):
            os.chmod(entry, mode)  # fchmod refuses a descriptor that opened nothing
        else:
            handle = _reopened(path, pin, status, os.O_RDONLY)
            try:
                os.fchmod(handle, mode)
            finally:
                os.close(handle)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Removes the name of a regular file of ours. Raises FileNotFoundError, Refused and OSError."""
    try:
        with _holder(path) as (folder, name):
            _refuse_foreign(path, os.stat(name, dir_fd=folder, follow_symlinks=False), folder, stat.S_ISREG)
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        if not missing_ok:
            raise


def remove_folder(path: Path, *, ignore_errors: bool = False) -> None:
    """Removes a folder of ours with its content; a link within it is removed, and not what it names.

    Raises FileNotFoundError, Refused, also for a mounted file system within it, and OSError, unless `ignore_errors`.
    """
    try:
        with _holder(path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            _refuse_foreign(path, status, folder, stat.S_ISDIR)
            _empty(path, folder, name, status.st_dev)
            os.rmdir(name, dir_fd=folder)
    except OSError:
        if not ignore_errors:
            raise


def move(source: Path, target: Path) -> Path:
    """Gives a regular file or a folder of ours another name on its file system; returns `target`.

    A file replaces a regular file of ours, a folder an empty one. Raises FileNotFoundError, Refused and OSError.
    """
    with _holder(source) as (here, name), _holder(target) as (there, new):
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
        kind = stat.S_ISDIR if stat.S_ISDIR(status.st_mode) else stat.S_ISREG
        _refuse_foreign(source, status, here, kind)
        _kind_at(target, there, new, kind)
        os.rename(name, new, src_dir_fd=here, dst_dir_fd=there)
    return target


def create_empty(path: Path) -> None:
    """Make an empty file `path`, and change nothing where the name exists. Raises OSError where that fails."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | _MADE | os.O_NOFOLLOW | _QUIET, 0o600))


def new_file(path: Path) -> BinaryIO:
    """A new file, open for writing; a regular file of ours that has the name is removed first.

    Raises Refused and OSError.
    """
    remove(path, missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | _MADE | os.O_NOFOLLOW | _QUIET, 0o666), "wb")


@contextmanager
def replacing(path: Path, mode: int = 0o666, *, durable: bool = True, keep_mode: bool = False) -> Iterator[BinaryIO]:
    """A file that gets the name `path` in one step when the block ends without an exception.

    No reader sees a part of it. `mode` is before umask, and with `keep_mode` that of the replaced file. A `durable`
    file survives a loss of power. Raises Refused, before anything is written, unless `path` is free or names a regular
    file of ours.
    """
    with _holder(path) as (folder, name):
        part = f".{name}.{_place()}-{os.getpid()}-{get_native_id()}.partial"
        before = _kind_at(path, folder, name, stat.S_ISREG)
        with suppress(FileNotFoundError):  # of a process of the same number here that was killed
            os.unlink(part, dir_fd=folder)
        handle = os.open(part, os.O_WRONLY | _MADE | os.O_NOFOLLOW | _QUIET, mode, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                if keep_mode and before is not None:
                    os.fchmod(handle, stat.S_IMODE(before.st_mode) & 0o777)
                yield file
                file.flush()
                if durable:
                    os.fsync(handle)
            _kind_at(path, folder, name, stat.S_ISREG)
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            raise
        if durable:
            os.fsync(folder)


@cache
def _place() -> str:
    """The host and its space of process numbers, as 8 digits: containers that share a folder have equal numbers."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:  # elsewhere than on Linux
        numbers = ""
    return blake2b(f"{os.uname().nodename} {numbers}".encode(), digest_size=4).hexdigest()


def write_whole(path: Path, data: bytes, mode: int = 0o666, *, durable: bool = True, keep_mode: bool = False) -> None:
    """Writes a file in one step, as `replacing`."""
    with replacing(path, mode, durable=durable, keep_mode=keep_mode) as file:
        file.write(data)


@contextmanager
def _holder(path: Path) -> Iterator[tuple[int, str]]:
    """The open folder that has the last name of `path`, and this name."""
    name = path.name
    if name in ("", ".."):
        raise Refused(errno.EINVAL, "has no name of its own; write the path with its last name", os.fspath(path))
    folder = os.open(path.parent, _FOLDER)
    try:
        yield folder, name
    except OSError as error:
        if not isinstance(error, Refused) and error.filename in (None, name):
            error.filename = os.fspath(path)
        raise
    finally:
        os.close(folder)


@contextmanager
def _pinned(path: Path, wanted: Kind) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor that holds the inode of `path`, and its status. Raises Refused for another kind."""
    if not _PATH:
        _refuse_other(path, os.lstat(path), wanted)
    pin = os.open(path, (_PATH or _QUIET) | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(pin)
        _refuse_other(path, status, wanted)
        yield pin, status
    finally:
        os.close(pin)


def _reopened(path: Path, pin: int, status: os.stat_result, flags: int) -> int:
    """Another descriptor of the inode that `pin` holds: by /proc, else by its name. Raises Refused and OSError."""
    if _PATH and os.path.lexists(entry := f"/proc/self/fd/{pin}"):
        try:
            return os.open(entry, flags | _QUIET)
        except OSError as error:
            error.filename = os.fspath(path)
            raise
    handle = os.open(path, flags | os.O_NOFOLLOW | _QUIET)
    if not os.path.samestat(os.fstat(handle), status):
        os.close(handle)
        raise Refused(errno.EAGAIN, "was replaced while it was opened; try again", os.fspath(path))
    return handle


def _empty(path: Path, holder: int, name: str, device: int) -> None:
    """Removes the content of the folder `name` in an open folder. `path` is for the message."""
    folder = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=holder)
    try:
        if os.fstat(folder).st_dev != device:
            raise Refused(errno.EXDEV, "has another file system within it; unmount it first", os.fspath(path))
        with os.scandir(folder) as entries:
            content = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_folder in content:
            with suppress(FileNotFoundError):
                if is_folder:
                    _empty(path, folder, inner, device)
                    os.rmdir(inner, dir_fd=folder)
                else:
                    os.unlink(inner, dir_fd=folder)
    finally:
        os.close(folder)


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise Refused(errno.EINVAL, "has a zero byte; write another name", repr(os.fspath(path))) from None


def _kind_at(path: Path, folder: int, name: str, wanted: Kind) -> os.stat_result | None:
    """Return the status of a file or a folder of this user that would be replaced; None without one.

    Raises Refused for a file of another kind or user.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _refuse_foreign(path, status, folder, wanted)
    return status


def _refuse_foreign(path: Path, status: os.stat_result, folder: int, wanted: Kind) -> None:
    """Raises Refused for another kind, and for a file of a user who is neither this one nor the folder's owner."""
    _refuse_other(path, status, wanted)
    if status.st_uid != os.geteuid() and status.st_uid != os.fstat(folder).st_uid:
        text = "belongs to another user; remove it as its owner, or name another place"
        raise Refused(errno.EPERM, text, os.fspath(path))


def _refuse_other(path: Path, status: os.stat_result, wanted: Kind) -> None:
    if wanted(status.st_mode):
        return
    name = "a folder" if wanted is stat.S_ISDIR else "a regular file"
    if stat.S_ISLNK(status.st_mode):
        target = ""
        with suppress(OSError):  # it was replaced meanwhile
            target = f" to {os.readlink(path)}"
        text = f"is a link{target}, which is not followed; remove the link, or name {name}"
        raise Refused(errno.ELOOP, text, os.fspath(path))
    raise Refused(errno.EINVAL, f"is {kind_of(status.st_mode)}, not {name}; name another place", os.fspath(path))


def _refuse_names(path: Path, status: os.stat_result) -> None:
    if status.st_nlink > 1:
        text = f"has {status.st_nlink} names (hard links), and another one may be a file of the system"
        raise Refused(errno.EMLINK, f"{text}; copy it, remove this name, and rename the copy", os.fspath(path))


def kind_of(mode: int) -> str:
    """Return what a mode names: "a regular file", "a folder", "a link", "a pipe", "a socket" or "a device"."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return "a regular file" if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "a device")


def _unreadable(error: OSError | ValueError) -> NotRead:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return NotRead(f"cannot be read ({why.lower()})")
