"""System calls of a hostile policy file inside the process of a running daemon: each call, with plausible arguments.

`python -m tests.attacks.call_fuzz` writes the list of what remains possible into docs/operate/security.md. After a run
the daemon must have traded on, its journal must verify, no file outside the policy's reach may have been opened, and no
process may be left.
"""

import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading.display_text import session_date
from tests.support.calendar_files import with_calendar
from tests.support.checkout import ROOT
from tests.support.isolated_policies import CONFIG, ENV

LAST: Final = date(2019, 3, 29)
"""The last session of CONFIG, on which the policy trades long after its last call."""

PAGE: Final = ROOT / "docs" / "operate" / "security.md"

NUMBERS: Final = {
    name: int(number)
    for name, _, number in (
        entry.partition(":") for entry in (Path(__file__).parent / "system_calls.txt").read_text().split()
    )
}
"""System calls of x86_64 up to Linux 6.17."""

REMAINS: Final = {
    "manage its own memory": "brk get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create memfd_secret "
    "mincore mlock mlock2 mlockall mmap mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free "
    "pkey_mprotect remap_file_pages set_mempolicy set_mempolicy_home_node shmdt cachestat",
    "start threads, wait and be woken": "clone clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_pwait "
    "epoll_pwait2 epoll_wait eventfd eventfd2 futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list "
    "nanosleep pause poll ppoll pselect6 restart_syscall rseq sched_yield select set_robust_list set_tid_address "
    "wait4 waitid get_thread_area set_thread_area arch_prctl",
    "set timers for itself, and handle its own signals": "alarm getitimer rt_sigaction rt_sigpending rt_sigprocmask "
    "rt_sigsuspend rt_sigtimedwait setitimer sigaltstack signalfd signalfd4 timer_create timer_delete "
    "timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime",
    "open files that it may read, and read them": "open openat read pread64 readv preadv preadv2 readahead lseek "
    "getdents getdents64 fadvise64 sendfile copy_file_range splice tee vmsplice",
    "use its own descriptors and pipes": "close close_range dup dup2 dup3 fcntl ioctl pipe pipe2 write "
    "writev pwrite64 pwritev pwritev2 fsync fdatasync sync_file_range ftruncate fallocate "
    "inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_submit",
    "send to a socket, if it had one": "accept accept4 getpeername getsockname getsockopt recvfrom recvmmsg recvmsg "
    "sendmmsg sendmsg sendto setsockopt shutdown mq_getsetattr mq_notify mq_timedreceive mq_timedsend",
    "see whether any path exists, with size, times, extended attributes and the target of a link": "access faccessat "
    "faccessat2 stat lstat fstat newfstatat statx statfs fstatfs ustat readlink readlinkat getxattr lgetxattr "
    "fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat file_getattr name_to_handle_at chdir fchdir "
    "getcwd statmount listmount sysfs umask",
    "see facts of the machine and of processes": "adjtimex clock_adjtime clock_getres clock_gettime getcpu "
    "getpgid getpgrp getpid getppid getpriority getrandom getrlimit getrusage getsid gettid gettimeofday ioprio_get "
    "prlimit64 sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
    "sched_getscheduler sched_rr_get_interval sysinfo time times uname getegid geteuid getgid getgroups getresgid "
    "getresuid getuid capget lsm_get_self_attr lsm_list_modules",
    "give up rights, and lower its own limits": "capset landlock_add_rule landlock_create_ruleset "
    "landlock_restrict_self prctl seccomp setfsgid setfsuid setgid setgroups setpgid setregid setresgid setresuid "
    "setreuid setrlimit setsid setuid lsm_set_self_attr",
    "end its own process": "exit exit_group rt_sigreturn",
}
"""What a policy file can still do -> the system calls that are not refused."""

ENDING: Final = ("exit_group", "rt_sigreturn", "exit")
"""Calls that end the process or the thread: each is made last, in a sample of its own."""

# what an argument names: descriptors, addresses, paths and processes of the policy (`values` in POLICY); else a number
ARGUMENTS: Final = {
    "accept": "own,buffer,buffer", "arch_prctl": "4099,buffer", "brk": "0",
    "chdir": "folder", "clone": "65536,0,0,0,0", "close_range": "1000,1001,0",
    "creat": "new,384 factors,384", "dup2": "own,60", "dup3": "own,60,0", "epoll_create": "1",
    "epoll_wait": "own,buffer,1,10", "exit": "0", "exit_group": "0",
    "fcntl": "own,1,0 own,3,0", "flock": "own,2", "ftruncate": "own,0 out,0",
    "futex": "buffer,1,1,0,0,0", "getrandom": "buffer,16,0",
    "inotify_add_watch": "watch,state,4095 watch,folder,4095", "ioctl": "out,21531,buffer",
    "kill": "parent,0 parent,19 -1,9 pid,19",
    "link": "factors,new token,new", "linkat": "cwd,token,cwd,new,0", "lseek": "own,0,0", "madvise": "page,4096,4",
    "memfd_create": "word,0", "mincore": "page,4096,buffer", "mknod": "new,33188,0", "mkdir": "new,448",
    "mlock": "page,4096", "mmap": "0,4096,3,34,-1,0 0,4096,1,2,own,0", "mprotect": "page,4096,1",
    "mremap": "page,4096,4096,0,0", "mseal": "page,4096,0", "munmap": "page,4096", "nanosleep": "buffer,0",
    "open": "own_path,0 factors,2 token,0 passwd,0 key,0 away,0 memory,2",
    "openat": "cwd,own_path,0 cwd,factors,1 cwd,token,0 cwd,passwd,0 cwd,state,65536 cwd,away,0 "
    "cwd,new,65 cwd,key,0 cwd,environment,0 dir,token,0 cwd,victim,0",
    "openat2": "cwd,token,buffer,24", "open_by_handle_at": "dir,buffer,0", "personality": "-1",
    "pidfd_open": "parent,0", "pipe": "buffer", "pipe2": "buffer,0", "poll": "buffer,0,1",
    "prctl": "3,0,0,0,0", "prlimit64": "0,7,0,buffer",
    "process_vm_readv": "parent,buffer,1,buffer,1,0", "ptrace": "16,parent,0,0 0,0,0,0", "read": "own,buffer,64",
    "readlink": "token,buffer,64 away,buffer,64", "rename": "factors,new", "renameat": "cwd,factors,cwd,new",
    "renameat2": "cwd,factors,cwd,new,0", "rmdir": "state", "rseq": "buffer,32,0,0", "rt_sigaction": "10,0,buffer,8",
    "rt_sigprocmask": "0,0,buffer,8", "rt_sigqueueinfo": "parent,10,buffer", "rt_sigreturn": "",
    "sched_setaffinity": "parent,8,buffer 0,8,buffer", "select": "0,0,0,0,buffer",
    "set_robust_list": "buffer,24", "set_tid_address": "buffer", "setitimer": "0,buffer,0", "setpgid": "0,parent",
    "setpriority": "0,parent,19", "setrlimit": "4,buffer", "settimeofday": "buffer,0", "sigaltstack": "0,buffer",
    "stat": "token,buffer passwd,buffer", "symlink": "token,new", "symlinkat": "token,cwd,new",
    "tgkill": "parent,parent,19", "tkill": "parent,19", "truncate": "factors,0 token,0 victim,0",
    "unlinkat": "cwd,factors,0", "utimensat": "cwd,factors,0,0 cwd,victim,0,0",
    "chmod": "state,0 victim,0", "fchmod": "own,0", "fchmodat": "cwd,victim,0", "chown": "victim,1,1",
    "write": "out,buffer,1 own,buffer,1", "clock_nanosleep": "1,0,buffer,0", "wait4": "-1,0,1,0",
    "waitid": "0,0,0,5,0", "pause": "0", "rt_sigsuspend": "buffer,8", "rt_sigtimedwait": "buffer,0,buffer,8",
    "epoll_pwait": "own,buffer,1,10,0,8", "ppoll": "buffer,0,buffer,0,8", "pselect6": "0,0,0,0,buffer,0",
    "uname": "buffer", "sysinfo": "buffer", "times": "buffer", "time": "0", "setuid": "uid",
    "setgid": "gid", "setreuid": "-1,-1", "setregid": "-1,-1",
    "setresuid": "-1,-1,-1",
    "setresgid": "-1,-1,-1", "setfsuid": "uid", "setfsgid": "gid", "alarm": "0",
    "landlock_restrict_self": "-1,0", "pkey_mprotect": "page,4096,3,-1", "remap_file_pages": "page,4096,0,0,0",
    "mbind": "page,4096,0,0,0,0", "msync": "page,4096,1", "shmctl": "0,0,0", "map_shadow_stack": "0,4096,0",
    "access": "token,0 passwd,0", "faccessat": "cwd,token,0", "faccessat2": "cwd,token,0,0", "fchdir": "dir",
    "close": "1000", "statfs": "folder,buffer", "statx": "cwd,token,0,4095,buffer", "getdents64": "dir,buffer,4096",
    "getdents": "dir,buffer,4096", "getxattr": "token,word,buffer,64", "listxattr": "token,buffer,64",
    "llistxattr": "token,buffer,64", "lgetxattr": "token,word,buffer,64", "capget": "record,record",
    "adjtimex": "buffer", "clock_adjtime": "0,buffer", "getitimer": "0,buffer", "getrusage": "0,buffer",
    "getresuid": "buffer,buffer,buffer", "getresgid": "buffer,buffer,buffer", "getgroups": "0,buffer",
    "ioprio_get": "1,0 1,parent", "sched_getaffinity": "0,128,buffer parent,128,buffer", "signalfd4": "-1,buffer,8,0",
    "signalfd": "-1,buffer,8", "timer_create": "0,0,buffer", "timerfd_create": "1,0", "sendfile": "out,own,0,8",
    "copy_file_range": "own,0,out,0,8,0", "newfstatat": "cwd,token,buffer,0", "sysfs": "3", "pkey_alloc": "0,0",
    "landlock_create_ruleset": "0,0,1", "seccomp": "2,0,buffer", "name_to_handle_at": "cwd,token,buffer,buffer,0",
    "readlinkat": "cwd,away,buffer,64", "mkdirat": "cwd,new,448", "mknodat": "cwd,new,33188,0", "unlink": "factors",
    "epoll_create1": "0", "setsid": "", "getpgid": "parent", "getsid": "parent", "getpriority": "0,parent",
    "execve": "program,0,0", "execveat": "cwd,program,0,0,0",
}  # fmt: skip
"""Call -> its cases. A call that is not named gets those of ANY."""

COMMANDS: Final = {
    "fcntl:lease": "own,1024,0 own,1024,1", "fcntl:notify": "dir,1026,2", "fcntl:owner": "own,8,parent own,10,9",
    "fcntl:size": "out,1031,4096", "ioctl:flags": "own,1074292226,buffer", "ioctl:attributes": "own,1075599392,buffer",
    "ioctl:verity": "own,1082156677,buffer", "ioctl:owner": "out,35073,buffer", "prctl:outlive": "1,0,0,0,0",
    "prlimit64:others": "parent,7,0,buffer parent,7,buffer,0", "open:cut": "factors,512",
    "openat:cut": "cwd,factors,512", "clone:process": "0,0,0,0,0 17,0,0,0,0",
}  # fmt: skip
"""Commands of calls that remain -> their cases, each of which must be refused."""

ANY: Final = "0,0,0,0,0,0 own,buffer,64,0,0,0 token,buffer,64,0,0,0 cwd,factors,buffer,64,0,0 parent,0,0,0,0,0"

POLICY: Final = """
import ctypes, errno, os, threading, time
LOOKBACK = 1
GIVEN = __GIVEN__
call = ctypes.CDLL(None, use_errno=True).syscall
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}
threading.stack_size(256 << 10)
libc_mmap = ctypes.CDLL(None).mmap
libc_mmap.restype = ctypes.c_void_p
libc_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]

def values(kept):
    here = {"cwd": -100, "parent": os.getppid(), "pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
    here |= {name: kept[name] for name in ("own", "dir", "watch")}
    here["in"], here["out"] = kept["pipe"]
    here["buffer"] = ctypes.addressof(kept["buffer"])
    here["page"] = libc_mmap(None, 4096, 3, 34, -1, 0)
    here["record"] = ctypes.addressof(kept["record"])
    return {**here, **{name: ctypes.addressof(text) for name, text in kept["paths"].items()}}

def opened():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            place = os.readlink(f"/proc/self/fd/{name}")
            flags = int(open(f"/proc/self/fdinfo/{name}").read().split("flags:")[1].split()[0], 8)
        except OSError:
            continue
        memory = place.startswith(("/memfd:", "/secretmem", "/proc/"))
        if place.startswith("/") and not memory and not flags & os.O_PATH:
            found[place] = int(name)
    return found

def attempt(number, given):
    done = []
    def run():
        ctypes.set_errno(0)
        result = call(*(ctypes.c_long(each) for each in (number, *given)))
        done.append(ctypes.get_errno() if result < 0 else 0)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(0.05)
    return thread, done

KEPT = {}
def prepare():
    if not KEPT:
        KEPT["watch"] = ctypes.CDLL(None).inotify_init()
        KEPT["record"] = ctypes.create_string_buffer(64)
        KEPT.update(own=os.open(__file__, 0), dir=os.open(GIVEN["inner"], 0), pipe=os.pipe())
        KEPT["paths"] = {name: ctypes.create_string_buffer(8192) for name in GIVEN["paths"]}
    KEPT["buffer"] = ctypes.create_string_buffer(8192)
    KEPT.setdefault("buffers", []).append(KEPT["buffer"])  # a call that blocks may write into it later
    return KEPT

def cases(name, here):
    for case in GIVEN["arguments"].get(name, GIVEN["any"]).split(" "):
        yield [here[each] if each in here else int(each) for each in case.split(",") if each]

def act(view, memory):
    first = int(memory.get("first", view.sample))
    step, calls = int(view.sample) - first, GIVEN["steps"]
    if 0 <= step < len(calls):
        kept = prepare()
        told, tried = [], {}
        for name, number in calls[step]:
            tried[name] = []
            for case in cases(name, values(kept)):
                for each, text in GIVEN["paths"].items():
                    kept["paths"][each].value = text.encode()  # an earlier call may have written into it
                tried[name].append(attempt(number, case))
        until = time.monotonic() + 0.5
        for name, results in tried.items():
            for thread, _ in results:
                thread.join(max(0.0, until - time.monotonic()))
            answers = {done[0] if done else -1 for _, done in results}
            told.append(name + ("" if answers & {0, -1} else "?" if answers - REFUSED else "!"))
        known = {kept[name] for name in ("own", "dir", "watch")}
        print(f"fuzzed({' '.join(told)}) opened({' '.join(sorted(opened()))})")
        for place, descriptor in opened().items():
            if descriptor > 4 and descriptor not in known and place != "/dev/null":
                os.close(descriptor)
    return [0.1 + 0.02 * (view.sample % 3)] * len(view.prices), {"first": first}
"""


@dataclass(slots=True)
class Outcome:
    """Names of calls: `allowed` did something or blocked, `refused` were refused in each case, `vain` are the others.

    `opened` are paths of files that the process had open.
    """

    allowed: set[str] = field(default_factory=set)
    vain: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


RUN: Final = """
import ctypes, os, subprocess, sys
from pathlib import Path
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans of the daemon become children of this process
done = subprocess.run([Path(sys.executable).parent / "quantd", "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
sys.stdout.buffer.write(done.stdout)
stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
print("\\nleft", sum(int(fields[1]) == os.getpid() for fields in stats), "status", done.returncode)
"""


def fuzzed(folder: Path, per_sample: int = 24) -> Outcome:
    """A whole run of a daemon whose policy makes every call, `per_sample` of them in a sample."""
    policy_folder = folder / "own"
    (policy_folder / "inner").mkdir(parents=True)
    for name in ("factors.csv", "inner/bars.csv", "private.key"):
        (policy_folder / name).write_text("1,2\n")
    victim = folder / "victim"
    victim.write_text("untouched")
    (policy_folder / "away").symlink_to(victim)
    state = policy_folder / "state"
    paths = {
        "own_path": policy_folder / "mine.py", "factors": policy_folder / "factors.csv",
        "key": policy_folder / "private.key", "away": policy_folder / "away", "state": state, "token": state / "token",
        "folder": policy_folder, "new": policy_folder / "new", "victim": victim,
        "passwd": "/etc/passwd", "program": "/bin/true", "environment": "/proc/1/environ", "memory": "/proc/1/mem",
        "word": "word",
    }  # fmt: skip
    ordinary = [(name, number) for name, number in NUMBERS.items() if name not in ENDING]
    ordinary += [(name, NUMBERS[name.partition(":")[0]]) for name in COMMANDS]
    steps = [ordinary[k : k + per_sample] for k in range(0, len(ordinary), per_sample)]
    for name in ENDING:
        steps += [[(name, NUMBERS[name])], []]
    given = {
        "inner": str(policy_folder / "inner"), "paths": {name: str(path) for name, path in paths.items()},
        "arguments": ARGUMENTS | COMMANDS, "any": ANY, "steps": steps,
    }  # fmt: skip
    (policy_folder / "mine.py").write_text(POLICY.replace("__GIVEN__", repr(given)))
    text = CONFIG.format(pace="fast", at_end="stop", policy="mine.py:act", params="{}")
    with_calendar(policy_folder)
    (policy_folder / "config.toml").write_text(text.replace("[api]", "max_failures = 1000\n[api]"))
    words = [sys.executable, "-c", RUN]
    done = subprocess.run(words, cwd=policy_folder, env=ENV, capture_output=True, text=True, timeout=600, check=False)
    return _judged(done.stdout, policy_folder, victim, folder)


def _judged(output: str, policy_folder: Path, victim: Path, folder: Path) -> Outcome:
    outcome = Outcome()
    for line in re.findall(r"fuzzed\(([^)]*)\)", output):
        for name in line.split():
            kind = outcome.refused if name.endswith("!") else outcome.vain if name.endswith("?") else outcome.allowed
            kind.add(name.rstrip("!?"))
    for line in re.findall(r"opened\(([^)]*)\)", output):
        outcome.opened |= set(line.split())
    outcome.faults += [
        path for path in sorted(outcome.opened) if not path.startswith((str(policy_folder), "/dev/null"))
    ]
    outcome.faults += [path for path in sorted(outcome.opened) if path.endswith((".key", "token"))]
    if "left 0 status 0" not in output:
        outcome.faults.append(f"the run ended otherwise: {output[-2_000:]}")
    if f'reads = ["{folder}"]' not in output:
        outcome.faults.append("the start does not name the link that leaves the folder")
    if victim.read_text() != "untouched" or victim.stat().st_mode & 0o777 != 0o644:
        outcome.faults.append("a file outside the folder was changed")
    if (policy_folder / "new").exists() or (policy_folder / "factors.csv").read_text() != "1,2\n":
        outcome.faults.append("the policy's folder was changed")
    outcome.faults += verify(policy_folder / "state", policy_folder / "state")
    newest = Reader.open(policy_folder / "state").order_page(1, ()).rows[0]
    if session_date(newest.ts) != LAST:
        outcome.faults.append(f"the newest order is of {session_date(newest.ts)}")
    return outcome


def page() -> str:
    """The list of docs/operate/security.md, from REMAINS."""
    return "".join(f"- {what} ({len(names.split())} calls)\n" for what, names in REMAINS.items())


BEGINS, ENDS = "<!-- made by tests/attacks/call_fuzz.py -->\n", "<!-- end -->\n"

FITS: Final = platform.machine() == "x86_64"

if __name__ == "__main__":
    before, _, tail = PAGE.read_text().partition(BEGINS)
    PAGE.write_text(f"{before}{BEGINS}{page()}{ENDS}{tail.partition(ENDS)[2]}")
