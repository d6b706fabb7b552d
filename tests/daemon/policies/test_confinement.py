"""What a policy file cannot do in its process, each tried for real; a skipped test names what the kernel lacks."""

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantd.daemon.policies.isolation.worker import Apart, Worker
from quantd.daemon.policies.loading import answer
from quantd.models.isolation.confinement import _ABSENT, _DENIED, MEMORY_BYTES, missing, seccomp_program
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from tests.support.policies import market, view_of

CONFINES = pytest.mark.skipif(bool(missing()), reason=f"this machine lacks {', '.join(missing())}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration's folder as `quantd init` and `quantd run` leave it."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "token").write_text("secret token")
    (tmp_path / "factors.csv").write_text("1,2\n")
    (tmp_path / "private.key").write_text("secret key")
    (tmp_path / ".env").write_text("SECRET=1")
    (tmp_path / "B.PEM").write_text("secret key")
    (tmp_path / "secrets.env").write_text("SECRET=1")
    (tmp_path / "bars" / "daily").mkdir(parents=True)
    (tmp_path / "bars" / "daily" / "spy.csv").write_text("1,2\n")
    (tmp_path / "sub" / "Secrets").mkdir(parents=True)
    for name in ("c.key", ".env", "Secrets/of.csv", "plain.csv"):
        (tmp_path / "sub" / name).write_text("1,2\n")
    (tmp_path / "away").symlink_to("/etc/passwd")
    (tmp_path / "sub" / "away").symlink_to("/etc")
    (tmp_path / "innocent.csv").symlink_to(tmp_path / ".env")
    return tmp_path


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        worker.close()


def ask(folder: Path, body: str, workers: list[Worker], limit_s: float = 30.0) -> Decided:
    lines = "\n    ".join(body.splitlines())
    (folder / "value.py").write_text(
        f"import ctypes, os, signal, socket, subprocess, sys\nimport numpy as np\nLOOKBACK = 5\ndef act(view):\n    "
        f"{lines}\n"
        "    return [0.1] * len(view.prices)\n"
    )
    workers.append(Apart(folder / "state").file(folder / "value.py", "act", {}))
    workers[-1].limit_s = limit_s
    return answer(workers[-1], Ask(0, 0, view_of(market(1, 3, 40), 5), {}))


FORBIDDEN = {
    "the token is read": "open({folder!r} + '/state/token').read()",
    "the state folder is listed": "os.listdir({folder!r} + '/state')",
    "the state folder is read by a way round": "open({folder!r} + '/../' + os.path.basename({folder!r}) + "
    "'/state/token')",
    "the state folder is read through /proc": "open('/proc/self/root' + {folder!r} + '/state/token')",
    "a key beside it is read": "open({folder!r} + '/private.key')",
    "a hidden file beside it is read": "open({folder!r} + '/.env')",
    "a key beside it with a name in capitals is read": "open({folder!r} + '/B.PEM')",
    "secrets beside it are read": "open({folder!r} + '/secrets.env')",
    "a key in a subfolder is read": "open({folder!r} + '/sub/c.key')",
    "a hidden file in a subfolder is read": "open({folder!r} + '/sub/.env')",
    "a folder of secrets in a subfolder is read": "open({folder!r} + '/sub/Secrets/of.csv')",
    "a file is read by a link beside it": "open({folder!r} + '/away')",
    "a folder is read by a link in a subfolder": "open({folder!r} + '/sub/away/passwd')",
    "a hidden file is read by a link of another name": "open({folder!r} + '/innocent.csv')",
    "the environment of the daemon is read": "open(f'/proc/{{os.getppid()}}/environ', 'rb').read()",
    "the memory of the daemon is written": "open(f'/proc/{{os.getppid()}}/mem', 'r+b')",
    "a password file is read": "open('/etc/passwd').read()",
    "a file is written beside it": "open({folder!r} + '/new', 'w')",
    "a file is written in /tmp": "open('/tmp/quantd-new', 'w')",
    "a file beside it is changed": "open({folder!r} + '/factors.csv', 'r+')",
    "a file beside it is removed": "os.unlink({folder!r} + '/factors.csv')",
    "a file beside it is cut": "os.truncate({folder!r} + '/factors.csv', 0)",
    "the rights of the state folder are changed": "os.chmod({folder!r} + '/state', 0)",
    "the time of a file is changed": "os.utime({folder!r} + '/factors.csv')",
    "a file is cut by opening it": "os.open({folder!r} + '/factors.csv', os.O_RDONLY | os.O_TRUNC)",
    "whoever opens a file is held up": "__import__('fcntl').fcntl(os.open(__file__, 0), 1024, 1)",
    "a folder is watched by signals": "__import__('fcntl').fcntl(os.open({folder!r} + '/bars', 0), 1026, 2)",
    "a folder is watched": "libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.inotify_add_watch(libc.inotify_init(), {folder!r}.encode() + b'/state', 0xfff) < 0: "
    "raise OSError(ctypes.get_errno(), 'refused')",
    "a file system is watched": "libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.fanotify_init(0x200, 0) < 0: raise OSError(ctypes.get_errno(), 'refused')",
    "the attributes of a file are changed": "__import__('fcntl').ioctl(os.open(__file__, 0), 0x40086602, b'\\xc0' * 8)",
    "a file is locked": "__import__('fcntl').flock(os.open(__file__, 0), 2)",
    "a link to the token is made": "os.link({folder!r} + '/state/token', {folder!r} + '/mine')",
    "a network socket is opened": "socket.create_connection(('127.0.0.1', {port}))",
    "a local socket is opened": "socket.socket(socket.AF_UNIX)",
    "a program is started": "subprocess.run(['/bin/true'])",
    "this program becomes another": "os.execv('/bin/true', ['true'])",
    "a process is forked": "os.fork()",
    "the daemon is stopped": "os.kill(os.getppid(), signal.SIGSTOP)",
    "all processes are killed": "os.kill(-1, signal.SIGKILL)",
    "it stops itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "the kernel is made to signal the daemon": "__import__('fcntl').fcntl(0, 8, os.getppid())",
    "the limits of the daemon are changed": "__import__('resource').prlimit(os.getppid(), 7, (0, 0))",
    "its own memory limit is raised": "__import__('resource').setrlimit(9, (-1, -1))",
    "the priority of the daemon is changed": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "the processors of the daemon are changed": "os.sched_setaffinity(os.getppid(), [0])",
    "it outlives the daemon": "if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0): raise PermissionError('refused')",
    "another process is traced": "if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0): raise "
    "PermissionError('refused')",
}


@pytest.mark.quick_cases(2)
@CONFINES
@pytest.mark.parametrize("what", FORBIDDEN)
def test_it_is_refused_that(what: str, folder: Path, workers: list[Worker]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        body = FORBIDDEN[what].format(folder=str(folder), port=listener.getsockname()[1])
        said = ask(folder, body, workers).failed
    assert said.startswith(("PermissionError", "ValueError: not allowed to raise maximum limit")), said
    assert workers[-1].missing == []
    assert (folder / "factors.csv").read_text() == "1,2\n"
    assert (folder / "state").stat().st_mode & 0o700 == 0o700


ALLOWED = {
    "a file in a folder beside it is read": "assert open({folder!r} + '/bars/daily/spy.csv').read() == '1,2\\n'",
    "a file beside a key is read": "assert open({folder!r} + '/sub/plain.csv').read() == '1,2\\n'",
    "a folder without keys is listed": "assert os.listdir({folder!r} + '/bars') == ['daily']",
    "a file beside it is read": "assert open({folder!r} + '/factors.csv').read() == '1,2\\n'",
    "itself is read": "open(__file__).read()",
    "installed packages are imported": "import pandas, polars, scipy.optimize, sklearn.linear_model, onnxruntime",
    "threads are started": "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
    "linear algebra runs": "np.linalg.svd(np.random.default_rng(1).normal(size=(200, 200)))",
    "some memory is used": "np.ones(50_000_000).sum()",
    "the time zone is known": "import zoneinfo, datetime\ndatetime.datetime.now(zoneinfo.ZoneInfo('America/New_York'))",
}


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("what", ALLOWED)
def test_it_goes_on_that(what: str, folder: Path, workers: list[Worker]) -> None:
    assert ask(folder, ALLOWED[what].format(folder=str(folder)), workers).failed == ""


def test_no_secret_is_in_its_environment(folder: Path, workers: list[Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTD_MQTT_PASSWORD", "hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    said = ask(folder, "raise ValueError(sorted(os.environ), os.getcwd(), '' in sys.path)", workers).failed
    assert "QUANTD" not in said
    assert "CREDENTIALS" not in said
    assert "'/', False" in said


@pytest.mark.long
def test_more_memory_than_its_limit_is_refused(folder: Path, workers: list[Worker]) -> None:
    said = ask(folder, "kept = [np.ones(50_000_000) for _ in range(6)]", workers).failed
    assert said.startswith("MemoryError")
    assert MEMORY_BYTES < 6 * 400_000_000


def test_a_module_of_the_working_folder_is_not_run(
    folder: Path, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pickle", "numpy", "msgspec", "daemon", "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'owned')!r}, 'w')\nraise SystemExit(7)\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert ask(folder, "import pickle", workers).failed == ""
    assert not (folder / "owned").exists()


OLDER = """
import os, sys
from quantd.models.isolation import confinement
confinement._landlock_version = lambda: int(sys.argv[1])
assert confinement.confine([sys.argv[2]], os.getppid()) == []
for cut in (lambda: os.truncate(sys.argv[2], 0), lambda: os.open(sys.argv[2], os.O_RDONLY | os.O_TRUNC)):
    try:
        cut()
    except PermissionError:
        print("refused")
"""


@CONFINES
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_file_cannot_be_cut_where_landlock_does_not_cover_it(tmp_path: Path, version: int) -> None:
    (tmp_path / "store").write_text("journal")
    words = [sys.executable, "-c", OLDER, str(version), str(tmp_path / "store")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "refused\nrefused\n", done.stderr
    assert (tmp_path / "store").read_text() == "journal"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_is_well_formed(machine: str) -> None:
    program = seccomp_program(machine)
    lines = list(struct.iter_unpack("HBBI", program))
    assert lines[-1] == (0x06, 0, 0, 0x7FFF0000)
    for number, (code, yes, no, _) in enumerate(lines[:-1]):
        if code not in (0x06, 0x20):  # a jump stays inside
            assert number + 1 + max(yes, no) < len(lines)


@pytest.mark.parametrize(("column", "header"), [(0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
                                                (1, "/usr/include/asm-generic/unistd.h")])  # fmt: skip
def test_the_numbers_of_system_calls_are_the_kernels(column: int, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed")
    words = [line.split() for line in Path(header).read_text().splitlines() if line.startswith("#define __NR")]
    numbers = {w[1].removeprefix("__NR3264_").removeprefix("__NR_"): int(w[2]) for w in words if w[2].isdigit()}
    refused = {**_DENIED, **_ABSENT}
    checked = {name: numbers[name] for name in refused if name in numbers}
    assert {name: refused[name][column] for name in checked} == checked
    assert len(checked) > 60


def test_a_signal_to_the_daemons_group_does_not_reach_it(folder: Path, workers: list[Worker]) -> None:
    assert ask(folder, "pass", workers).failed == ""
    process = workers[-1]._child.process
    assert process is not None
    assert os.getpgid(process.pid) != os.getpgid(0)
    assert os.getsid(process.pid) == process.pid
    os.kill(process.pid, signal.SIGCONT)
