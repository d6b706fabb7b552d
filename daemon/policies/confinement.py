"""Removes rights of a process that a policy file does not need: files, network, other processes, unbounded memory.

The process calls `confine` on itself before any other import, because Landlock applies only to threads that start
later. On Linux, Landlock and seccomp enforce it; elsewhere only POSIX limits apply.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

MEMORY_BYTES: Final = 1 << 30
"""Address space that a policy may use beyond that of its process before the file is loaded."""

OPEN_FILES: Final = 64

SYSTEM: Final = (
    "/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime",
    "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
"""System paths that libraries read; ONNX Runtime chooses its kernels by /proc/cpuinfo."""

PRIVATE: Final = frozenset({".key", ".pem"})
"""Suffixes of neighbouring files that a policy file may not read; dot files are excluded too."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

# Landlock: uapi/linux/landlock.h
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILES: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Version of the interface -> mask of the file accesses that it controls."""
_CREATE, _ADD, _RESTRICT = 444, 445, 446

# seccomp: uapi/linux/seccomp.h, filter.h and audit.h
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}
"""Machine -> (column of _DENIED, audit number, number of the seccomp call)."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD: Final = 0x10000

_NONE: Final = -1
_DENIED: Final[dict[str, tuple[int, int]]] = {
    # network
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    # other programs
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, _NONE), "vfork": (58, _NONE),
    # other processes: signals, memory, priorities
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272), "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239), "perf_event_open": (298, 241),
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    # attributes of the same user's files, which Landlock does not cover: owners, modes, times
    "chmod": (90, _NONE), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, _NONE),
    "fchown": (93, 55), "lchown": (94, _NONE), "fchownat": (260, 54), "utime": (132, _NONE), "utimes": (235, _NONE),
    "futimesat": (261, _NONE), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    # the kernel itself
    "bpf": (321, 280), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "mount": (165, 40), "umount2": (166, 39), "move_mount": (429, 429),
    "fsopen": (430, 430), "open_tree": (428, 428), "mount_setattr": (442, 442), "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "personality": (135, 92), "syslog": (103, 116), "open_by_handle_at": (304, 265),
}  # fmt: skip
"""System calls that fail with EPERM, with their numbers on x86_64 and aarch64."""

_CLONE, _CLONE3, _PRCTL, _FCNTL, _PRLIMIT = (56, 220), (435, 435), (157, 167), (72, 25), (302, 261)
_OWNERS: Final = (8, 10, 15)
"""fcntl commands that make the kernel signal another process: F_SETOWN, F_SETSIG, F_SETOWN_EX."""


def missing() -> list[str]:
    """Missing features for the confinement of a process on this system; empty when all exist."""
    if _LIBC is None:
        return [f"Landlock and seccomp ({sys.platform} has neither)"]
    lacking = [] if _landlock_version() > 0 else ["Landlock (Linux 5.13 and newer, enabled)"]
    if platform.machine() not in _ARCHITECTURES:
        lacking.append(f"a seccomp filter for {platform.machine()}")
    elif _LIBC.prctl(21, 0, 0, 0, 0) < 0:  # PR_GET_SECCOMP
        lacking.append("seccomp in this kernel")
    return lacking


def readable(file: Path, packages: Sequence[Path], hidden: Sequence[Path]) -> list[str]:
    """Paths that the policy of `file` may read: interpreter, packages, system libraries, and the file's neighbours.

    No path in `hidden` is among them.
    """
    sites = [each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")]
    installed = [Path(each) for each in {sys.prefix, sys.base_prefix, sys.exec_prefix, *sites}]
    beside = [each for each in file.parent.iterdir() if not _private(each)] if file.parent.is_dir() else []
    away = [each.resolve() for each in hidden]
    found = [*map(Path, SYSTEM), *installed, *packages, *beside]
    return sorted({str(path) for each in found for path in _without(each.resolve(), away)})


def _private(path: Path) -> bool:
    return path.name.startswith(".") or path.suffix in PRIVATE


def _without(path: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """`path`, or its entries without the hidden ones."""
    if any(path == each or path.is_relative_to(each) for each in hidden):
        return
    if not any(each.is_relative_to(path) for each in hidden):
        yield path
        return
    for each in path.iterdir():
        yield from _without(each.resolve(), hidden)


def confine(paths: Iterable[str], parent: int) -> list[str]:
    """Gives up all rights except reading `paths`; returns those it could not. The process ends with `parent`."""
    if _LIBC is None:
        return missing()
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before the signal was set
    with suppress(OSError):
        # when memory runs out, this process is killed before the daemon
        Path("/proc/self/oom_score_adj").write_text("1000")
    _LIBC.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return [*_landlock([*paths, f"/proc/{os.getpid()}"]), *_seccomp()]


def limit() -> None:
    """Limits memory, open files and written files of this process permanently."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # only Linux reports the size and enforces the limit
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _landlock_version() -> int:
    return int(_LIBC.syscall(_CREATE, None, 0, 1)) if _LIBC is not None else 0


def _landlock(paths: Iterable[str]) -> list[str]:
    assert _LIBC is not None
    version = _landlock_version()
    if version < 1:
        return ["files (no Landlock)"]
    handled = _FILES[max(each for each in _FILES if each <= version)]
    # files; TCP bind and connect from version 4; sockets and signals of others from version 6
    rules = struct.pack("QQQ", handled, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _LIBC.syscall(_CREATE, rules, len(rules), 0)
    for path in paths:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        access = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        _LIBC.syscall(_ADD, ruleset, 1, struct.pack("=Qi", access, place), 0)
        os.close(place)
    failed = ruleset < 0 or _LIBC.syscall(_RESTRICT, ruleset, 0)
    if ruleset >= 0:
        os.close(ruleset)
    return [f"files (Landlock: {os.strerror(ctypes.get_errno())})"] if failed else []


def _seccomp() -> list[str]:
    assert _LIBC is not None
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return [f"system calls (no seccomp filter for {platform.machine()})"]
    number, program = known[2], seccomp_program(platform.machine())
    code = ctypes.create_string_buffer(program)
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    if _LIBC.syscall(number, 1, 1, head):  # SECCOMP_SET_MODE_FILTER, for all threads
        return [f"system calls (seccomp: {os.strerror(ctypes.get_errno())})"]
    return []


def seccomp_program(machine: str) -> bytes:
    """The seccomp filter of system calls for `machine`, in the kernel's format."""
    column, audit, _ = _ARCHITECTURES[machine]
    eperm = (_RETURN, 0, 0, _ERROR | _EPERM)
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NR),
        (_AT_LEAST, 0, 1, 0x40000000), eperm,  # numbers of x32 are other calls
        (_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ERROR | _ENOSYS),  # the C library then calls clone
        # threads are allowed, processes are not
        (_EQUAL, 0, 4, _CLONE[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _CLONE_THREAD), eperm,
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 4, _PRCTL[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 0, 1, _PR_SET_PDEATHSIG), eperm,
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 4, _PRLIMIT[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 1, 0, 0), eperm,
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 2 + 2 * len(_OWNERS), _FCNTL[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT + 8),
        *(line for command in _OWNERS for line in ((_EQUAL, 0, 1, command), eperm)), (_RETURN, 0, 0, _ALLOW),
    ]  # fmt: skip
    for numbers in _DENIED.values():
        if numbers[column] != _NONE:
            code += [(_EQUAL, 0, 1, numbers[column]), eperm]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in code)


def enter() -> list[str]:
    """Confines this process with the settings on standard input; returns the rights it could not give up."""
    wanted = json.loads(frame(0))
    return confine(wanted["paths"], wanted["parent"])


def frame(source: int) -> bytes:
    """One message: its length in eight bytes, little-endian, then its bytes. Raises EOFError at the end."""
    (size,) = struct.unpack("<Q", _exactly(source, 8))
    return _exactly(source, size)


def _exactly(source: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(source, size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
