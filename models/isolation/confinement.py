"""Removes rights of a process that a policy file does not need: files, network, other processes, unbounded memory.

The process calls `confine` on itself before any other import, because Landlock applies only to threads that start
later. On Linux, Landlock and seccomp enforce the removal; elsewhere only POSIX limits apply.

What can go wrong: a kernel, or a machine that is not in _ARCHITECTURES, cannot enforce a part of the removal. The
process then runs with the rights that it could not give up. They are returned as text, and the daemon reports them in
its log and in `quantd status`.
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
"""Maximum number of open files of the process."""

TIMERS: Final = 64
"""Queued signals and POSIX timers of the user, above which this process gets no further one."""

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
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
_CLONE_THREAD: Final = 0x10000
_PASSED, _REFUSED, _UNKNOWN = (
    (_RETURN, 0, 0, _ALLOW),
    (_RETURN, 0, 0, _ERROR | _EPERM),
    (_RETURN, 0, 0, _ERROR | _ENOSYS),
)

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
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semctl": (66, 191),
    "semop": (65, 193), "semtimedop": (220, 192), "msgget": (68, 186), "msgctl": (71, 187), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # watches and locks on files, which others could notice or wait for; a flush of all files delays others
    "inotify_init": (253, _NONE), "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27), "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "flock": (73, 32),
    "sync": (162, 81), "syncfs": (306, 267),
    # contents of the same user's files: Landlock before version 3 does not cover truncate
    "truncate": (76, 45),
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
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "mount_setattr": (442, 442), "pivot_root": (155, 41),
    "chroot": (161, 51), "io_setup": (206, 0), "modify_ldt": (154, _NONE), "iopl": (172, _NONE),
    "ioperm": (173, _NONE), "settimeofday": (164, 170), "clock_settime": (227, 112), "sethostname": (170, 161),
    "setdomainname": (171, 162), "vhangup": (153, 58), "kexec_file_load": (320, 294), "quotactl_fd": (443, 443),
    "unshare": (272, 97), "setns": (308, 268), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "personality": (135, 92), "syslog": (103, 116), "open_by_handle_at": (304, 265),
}  # fmt: skip
"""System calls that fail with EPERM, with their numbers on x86_64 and aarch64."""

_CLONE, _PRCTL, _FCNTL, _IOCTL, _PRLIMIT = (56, 220), (157, 167), (72, 25), (16, 29), (302, 261)
_OPEN, _OPENAT = (2, _NONE), (257, 56)
_ABSENT: Final = {"clone3": (435, 435), "openat2": (437, 437)}
"""System calls that fail as if they did not exist. Their arguments are in memory, which no filter can read, and
libraries then use the older calls."""

_FIRST_UNKNOWN: Final = 470
"""The number after the newest system call known to these lists, on all machines. From it on every call fails."""

_TRUNCATES: Final = 0o1000
"""O_TRUNC: Landlock before version 3 lets a process empty a file that it opens for reading."""

_FILE_COMMANDS: Final = (0, 1, 2, 3, 4, 5, 1030, 1032, 1034)
"""fcntl commands that are allowed: copies and flags of a descriptor, a look at locks, sizes of pipes, seals.

Others make the kernel signal a process (F_SETOWN), hold up whoever opens a file (F_SETLEASE) or locks it
(F_SETLK), or watch a folder (F_NOTIFY).
"""

_DEVICE_COMMANDS: Final = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""ioctl commands that are allowed: is it a terminal (TCGETS, TCGETS2), its size, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.

Others change attributes of files that are open for reading (FS_IOC_SETFLAGS).
"""

_Line = tuple[int, int, int, int]
"""One instruction of a filter: (operation, lines to skip if true, lines to skip if false, operand)."""


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


def confine(paths: Iterable[str], parent: int) -> list[str]:
    """Gives up all rights except reading `paths`, and makes this process end with process `parent`.

    Returns the rights that it could not give up.
    """
    if _LIBC is None:
        return missing()
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before the signal was set
    with suppress(OSError):
        # when memory runs out, this process is killed before the daemon
        Path("/proc/self/oom_score_adj").write_text("1000")
    # version 3 of the structure, for this process (0): 24 zero bytes are no capability in any set
    _LIBC.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return [*_landlock([*paths, f"/proc/{os.getpid()}"]), *_seccomp()]


def limit(more_bytes: int = 0) -> None:
    """Limits memory (to MEMORY_BYTES and `more_bytes`), open and written files of this process permanently."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (TIMERS, TIMERS))
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # only Linux reports the size and enforces the limit
    max_bytes = pages * resource.getpagesize() + MEMORY_BYTES + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))


def _landlock_version() -> int:
    return int(_LIBC.syscall(_CREATE, None, 0, 1)) if _LIBC is not None else 0


def _landlock(paths: Iterable[str]) -> list[str]:
    """Allow reading below `paths`; forbid any other use of files and, where the kernel can, TCP and signals.

    Returns what could not be forbidden.
    """
    assert _LIBC is not None
    version = _landlock_version()
    if version < 1:
        return ["files (no Landlock)"]
    handled = _FILES[max(supported for supported in _FILES if supported <= version)]
    # three masks of 8 bytes: files; TCP bind and connect (3) from version 4; abstract sockets of other processes and
    # signals to them (3) from version 6. An older kernel accepts only its own masks
    rules = struct.pack("QQQ", handled, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _LIBC.syscall(_CREATE, rules, len(rules), 0)
    for path in paths:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        access = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        # the third argument, 1, means a rule about a path
        _LIBC.syscall(_ADD, ruleset, 1, struct.pack("=Qi", access, descriptor), 0)
        os.close(descriptor)
    failed = ruleset < 0 or _LIBC.syscall(_RESTRICT, ruleset, 0)
    if ruleset >= 0:
        os.close(ruleset)
    return [f"files (Landlock: {os.strerror(ctypes.get_errno())})"] if failed else []


def _seccomp() -> list[str]:
    """Refuse, from now on, the system calls that the filter does not pass. Returns what could not be refused."""
    assert _LIBC is not None
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        return [f"system calls (no seccomp filter for {platform.machine()})"]
    seccomp_call, program = architecture[2], seccomp_program(platform.machine())
    code = ctypes.create_string_buffer(program)
    filter_header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    if _LIBC.syscall(seccomp_call, 1, 1, filter_header):  # SECCOMP_SET_MODE_FILTER, for all threads
        return [f"system calls (seccomp: {os.strerror(ctypes.get_errno())})"]
    return []


def seccomp_program(machine: str) -> bytes:
    """The seccomp filter of system calls for `machine`, in the kernel's format."""
    column, audit, _ = _ARCHITECTURES[machine]
    # a line is (operation, lines to skip if true, lines to skip if false, operand)
    code: list[_Line] = [
        (_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NR),
        (_AT_LEAST, 0, 1, 0x40000000), _REFUSED,  # refused first: the same number is another call in the x32 ABI
        (_AT_LEAST, 0, 1, _FIRST_UNKNOWN), _UNKNOWN,
        *(line for numbers in _ABSENT.values() for line in ((_EQUAL, 0, 1, numbers[column]), _UNKNOWN)),
        # threads are allowed, processes are not
        *_when(_CLONE[column], 0, ((_ANY_BIT, 1, 0, _CLONE_THREAD), _REFUSED, _PASSED)),
        *_when(_PRCTL[column], 0, _among((_PR_SET_PDEATHSIG,), _REFUSED, _PASSED)),
        *_when(_PRLIMIT[column], 0, _among((0,), _PASSED, _REFUSED)),
        *_when(_FCNTL[column], 1, _among(_FILE_COMMANDS, _PASSED, _REFUSED)),
        *_when(_IOCTL[column], 1, _among(_DEVICE_COMMANDS, _PASSED, _REFUSED)),
        *_when(_OPEN[column], 1, ((_ANY_BIT, 0, 1, _TRUNCATES), _REFUSED, _PASSED)),
        *_when(_OPENAT[column], 2, ((_ANY_BIT, 0, 1, _TRUNCATES), _REFUSED, _PASSED)),
    ]  # fmt: skip
    for numbers in _DENIED.values():
        if numbers[column] != _NONE:
            code += [(_EQUAL, 0, 1, numbers[column]), _REFUSED]
    code.append(_PASSED)
    return b"".join(struct.pack("HBBI", *line) for line in code)


def _when(number: int, argument: int, lines: Sequence[_Line]) -> Iterator[_Line]:
    """Filter lines for the system call `number`: they load the low 32 bits of its argument `argument`, then run
    `lines`.

    Other calls skip `lines`; every path through `lines` ends in a return.
    """
    if number != _NONE:
        yield from ((_EQUAL, 0, len(lines) + 1, number), (_LOAD, 0, 0, _ARGUMENTS + 8 * argument), *lines)


def _among(values: Sequence[int], then: _Line, otherwise: _Line) -> tuple[_Line, ...]:
    """Filter lines that end with `then` if the loaded word is one of `values`, and with `otherwise` if not."""
    # a match jumps over the remaining tests and `otherwise`
    tests = ((_EQUAL, len(values) - k, 0, value) for k, value in enumerate(values))
    return (*tests, otherwise, then)


def enter() -> list[str]:
    """Confine this process by the settings on standard input. Returns the rights that it could not give up."""
    settings = json.loads(frame(0))
    return confine(settings["paths"], settings["parent"])


def frame(source: int) -> bytes:
    """Read one message from the file descriptor `source`: its length in eight bytes, little-endian, then its bytes.

    Raises EOFError where the input ends before the message does.
    """
    (size,) = struct.unpack("<Q", _exactly(source, 8))
    return _exactly(source, size)


def send(target: int, data: bytes) -> None:
    """Write one message to the file descriptor `target`: its length in eight bytes, little-endian, then its bytes."""
    unsent = memoryview(struct.pack("<Q", len(data)) + data)
    while unsent:
        unsent = unsent[os.write(target, unsent) :]


def _exactly(source: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(source, size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
