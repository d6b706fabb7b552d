"""Executes the snippets of a page in an empty home, in their order: commands in one shell, Python in one interpreter.

The folder of a page has links to the files of the checkout, and a state folder of its own. The daemon and the broker
listen at free ports; the ports of the documents, 8000 and 1883, are replaced by them.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from quantd.regular_file import remove_folder
from scripts.site.pages import ROOT
from scripts.site.snippets.extraction import Snippet
from scripts.site.snippets.scenes import Scene, entry, reason, scene_of

LONGEST_S: Final = 400.0
PROBLEM: Final = 22
"""The expected code of a request that the API refuses: that of `curl --fail`."""
_FRAMES: Final = str.maketrans(dict.fromkeys("│╭╮╰╯─", " "))
RUNS: Final = ("command", "python", "file")
OPENED: Final = (
    "models", "data", "examples", "deploy", "deploy/container", "deploy/prometheus", "models/shipped",
)  # fmt: skip
"""Folders that a snippet may write into: folders of their own, with links to the files."""

SERVERS: Final = (
    f"{{ (cd {ROOT} && exec setsid python -m scripts.site.snippets.servers $OLDPWD/servers.env) >servers.log 2>&1 & }}"
    "; for n in $(seq 150); do [ -f servers.env ] && break; sleep 0.1; done; . ./servers.env"
)
"""A command that starts the servers of venues and phones, and sets their variables."""

_PYTHON: Final = """
import sys, traceback

space = {"__name__": "snippet"}
for line in sys.stdin:
    text, out, code = line.strip().split("|")
    with open(out, "w") as file:
        sys.stdout = sys.stderr = file
        try:
            exec(compile(open(text).read(), text, "exec"), space)
            done = 0
        except BaseException:
            traceback.print_exc()
            done = 1
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    with open(code + ".new", "w") as file:
        file.write(str(done))
    import os
    os.rename(code + ".new", code)
"""


class Outcome(NamedTuple):
    """How a snippet ended: `code` None for one that did not end in time. `fault` is empty where it is as expected."""

    snippet: Snippet
    ran: str
    code: int | None
    seconds: float
    fault: str


def run_page(page: str, page_snippets: list[Snippet]) -> list[Outcome]:
    """The outcomes of the snippets of a page, without those that are not run or only shown."""
    scene = scene_of(page)
    runnable = [
        snippet
        for snippet in page_snippets
        if (snippet.kind in RUNS or entry(scene.files, snippet)) and not reason(snippet)
    ]
    if not runnable:
        return []
    folder = Path(tempfile.mkdtemp(prefix="quantd-docs-"))
    stage = _Stage(folder, scene)
    try:
        if fault := stage.prepare():
            return [Outcome(snippet, "", None, 0.0, fault) for snippet in runnable]
        return [stage.run(snippet) for snippet in runnable]
    finally:
        stage.close()
        remove_folder(folder, ignore_errors=True)


class _Stage:
    """The folder, the shell and the interpreter of one page."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        self._home, self._work, self._logs = folder / "home", folder / "work", folder / "logs"
        for path in (self._home, self._work, self._logs):
            path.mkdir()
        self._scene = scene
        self._count = 0
        self._api, self._bus, self._extra = _free_port(), _free_port(), _free_port()
        _link(self._work)
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        self._variables = kept | {
            "HOME": str(self._home),
            "PATH": f"{ROOT / '.venv/bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "QUANTD_API__PORT": str(self._api),
            "QUANTD_BUS__PORT": str(self._bus),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        self._shell = self._started(["bash", "--norc"])
        self._python: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    def _started(self, words: list[str]) -> "subprocess.Popen[bytes]":
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            words, cwd=self._work, env=self._variables, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet,
            start_new_session=True,
        )  # fmt: skip

    def prepare(self) -> str:
        """Run `before` and start the daemon. Returns what failed, or nothing."""
        for command in self._scene.before:
            code, log = self._in_shell(self._with_ports(command), LONGEST_S)
            if code != 0:
                return f"`{command}` ended with {code}: {_tail(log)}"
        if not self._scene.daemon:
            return ""
        log = self._logs / "daemon"
        with log.open("wb") as out:
            self._daemon = subprocess.Popen(
                ["bash", "-c", f"exec {self._with_ports(self._scene.daemon)}"], cwd=self._work, env=self._variables,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end and self._daemon.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._api), timeout=1):
                time.sleep(3)  # the first samples
                return ""
            time.sleep(0.2)
        return f"`{self._scene.daemon}` did not start: {_tail(log)}"

    def run(self, snippet: Snippet) -> Outcome:
        """Execute one snippet."""
        began = time.monotonic()
        if name := entry(self._scene.files, snippet) or (
            snippet.kind == "file" and snippet.text.split()[1].rstrip(":")
        ):
            (self._work / name).parent.mkdir(parents=True, exist_ok=True)
            (self._work / name).write_text(snippet.text + "\n", encoding="utf-8")
            words = f"quantd config check -c {name}" if name.endswith(".toml") else f"python -m py_compile {name}"
            code, log = self._in_shell(words, LONGEST_S)
        elif snippet.kind == "python":
            words = entry(self._scene.short, snippet) or snippet.text
            code, log = self._in_python(self._with_ports(words))
        else:
            words = self._with_ports(entry(self._scene.short, snippet) or snippet.text)
            until = [seconds for key, seconds in self._scene.until.items() if snippet.text.startswith(key)]
            code, log = self._in_shell(words, until[0] if until else LONGEST_S, interrupt=bool(until))
        expected = next((c for key, c in self._scene.codes.items() if snippet.text.startswith(key)), 0)
        fault = (
            ""
            if code == expected or (expected == PROBLEM and code == 0)
            else f"ended with {code}, expected {expected}: {_tail(log)}"
        )
        text = log.read_text(errors="replace")
        if "Traceback (most recent call last)" in text and not fault and snippet.kind == "command":
            fault = f"a traceback: {text[text.index('Traceback (most') :][-900:]}"
        if "urn:quantd:problem" in text and not fault and expected != PROBLEM:
            fault = f"the API refused it: {text[:300]}"
        if self._scene.compared and not fault:
            plain = " ".join(text.translate(_FRAMES).split())
            missing = [line for line in snippet.output if " ".join(line.split()) not in plain]
            fault = f"does not print {missing[0]!r}: {plain[-400:]}" if missing else ""
        return Outcome(snippet, words, code, time.monotonic() - began, fault)

    def _with_ports(self, text: str) -> str:
        for old, new in {
            **self._scene.replaced, "127.0.0.1:8000": f"127.0.0.1:{self._api}",
            "127.0.0.1:8100": f"127.0.0.1:{self._extra}", "@BUS@": str(self._bus), "@API@": str(self._api),
            "@EXTRA@": str(self._extra), "@SERVERS@": SERVERS,
        }.items():  # fmt: skip
            text = text.replace(old, new)
        return text

    def _in_shell(self, command: str, longest_s: float, *, interrupt: bool = False) -> tuple[int | None, Path]:
        self._count += 1
        log, code = self._logs / f"{self._count}", self._logs / f"{self._count}.code"
        assert self._shell.stdin
        line = f"{{ {command}\n}} >{log} 2>&1 </dev/null; echo $? >{code}.new; mv {code}.new {code}\n"
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()
        if self._waited(code, longest_s):
            return int(code.read_text()), log
        _end_children(self._shell.pid, signal.SIGINT, session=self._shell.pid)
        if not self._waited(code, 20):
            _end_children(self._shell.pid, signal.SIGKILL)
            self._waited(code, 5)
        return (0 if interrupt and code.exists() else None), log

    def _in_python(self, text: str) -> tuple[int | None, Path]:
        if self._python is None:
            self._python = self._started([str(ROOT / ".venv/bin/python"), "-c", _PYTHON])
            if self._scene.python:
                self._in_python(self._scene.python)
        self._count += 1
        log, code, source = (self._logs / f"{self._count}{suffix}" for suffix in ("", ".code", ".py"))
        source.write_text(text, encoding="utf-8")
        assert self._python.stdin
        self._python.stdin.write(f"{source}|{log}|{code}\n".encode())
        self._python.stdin.flush()
        ended = self._waited(code, LONGEST_S)
        if not log.exists():
            log.write_text("")
        return (int(code.read_text()) if ended else None), log

    @staticmethod
    def _waited(code: Path, longest_s: float) -> bool:
        end = time.monotonic() + longest_s
        while time.monotonic() < end:
            if code.exists():
                return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        """End every process of the page."""
        for process in (self._daemon, self._python, self._shell):
            if process is not None:
                _end_children(process.pid, signal.SIGTERM)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def _link(work: Path) -> None:
    """Links to the files of the checkout; a copy of what a snippet may change."""
    for name in ("config.toml", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, work / name)
    skipped = {"config.toml", "pyproject.toml", "constraints.txt", "state", "build", "docs", *OPENED}
    skipped |= {path.name for path in ROOT.glob(".*")}
    for path in ROOT.iterdir():
        if path.name not in skipped:
            (work / path.name).symlink_to(path)
    (work / ".venv").mkdir()  # a folder of its own: make finds its stamps new, and never changes the checkout's
    for name in ("bin", "lib", "pyvenv.cfg"):
        (work / ".venv" / name).symlink_to(ROOT / ".venv" / name)
    for name in (".core", ".full"):
        (work / ".venv" / name).touch()
    for folder in OPENED:
        (work / folder).mkdir(exist_ok=True)
        for path in (ROOT / folder).iterdir():
            target = work / folder / path.name
            if f"{folder}/{path.name}" not in OPENED and not target.exists() and path.name != "state":
                target.symlink_to(path)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _end_children(parent: int, number: signal.Signals, *, session: int = 0) -> None:
    """Send a signal to every process below a parent, the last ones first; with `session` to those of a session."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,sess="], capture_output=True, text=True, check=True).stdout
    below: dict[int, list[int]] = {}
    outside = set()
    for line in listed.splitlines():
        pid, above, process_session = map(int, line.split())
        below.setdefault(above, []).append(pid)
        if session and process_session != session:
            outside.add(pid)
    descendants, at = below.get(parent, []), 0
    while at < len(descendants):
        descendants = [*descendants, *below.get(descendants[at], [])]
        at += 1
    for pid in (descendant for descendant in reversed(descendants) if descendant not in outside):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " / ".join(lines[-4:])[-600:]
