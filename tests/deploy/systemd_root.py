"""Installs quantd as a service on a machine of its own with systemd, and tries the unit there.

    python -m tests.deploy.systemd_root --folder build/systemd [--keep]

For use by hand, on Debian, as root: `make test-systemd`. debootstrap makes the root of the machine, without a compiler,
and `scripts/install-system` installs quantd in it. systemd-nspawn boots it with a network of its own, which has the
loopback address only. Then the service starts, reloads, is killed, hangs, stops, and gets a wrong configuration. The
machine is a container: its systemd is PID 1 of a namespace, and the kernel is that of this machine.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from tests.deploy.container_root import (
    AUTHORITIES,
    DEFAULT_PATH,
    descendants,
    megabytes,
    mirror,
    package_sources,
    put,
    remove,
    said,
)
from tests.support.checkout import ROOT

SUITE: Final = "bookworm"
PACKAGES: Final = "systemd,dbus,procps,python3,python3-venv,ca-certificates"
PROGRAMS: Final = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
"""Program -> the package of Debian that has it."""

UNIT: Final = "quantd@paper"
STATE: Final = "/var/lib/quantd/paper"
CONFIG: Final = "etc/quantd/paper.toml"
SECRET: Final = "quantd.paper.webhook_key"


def lack(user: int, where: Callable[[str], str | None] = shutil.which) -> str | None:
    """One line that names what this machine lacks for the trial, with the remedy. None where it lacks nothing."""
    missing = [name for name in PROGRAMS if where(name) is None]
    if missing:
        packages = " ".join(dict.fromkeys(PROGRAMS[name] for name in missing))
        return f"make test-systemd needs {', '.join(missing)}; on Debian: apt-get install {packages}"
    return None if user == 0 else "make test-systemd boots a machine, which needs root: sudo make test-systemd"


def fail(text: str) -> NoReturn:
    sys.exit(f"quantd: {text}")


def base_root(folder: Path) -> Path:
    """The root of Debian with systemd and Python, made once."""
    root, mark = folder / "base", folder / "base.made"
    if not (mark.exists() and mark.read_text() == PACKAGES):
        remove(root)
        start_s = time.monotonic()
        # a mount namespace of its own: debootstrap's mounts end with it
        command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"]
        command += [f"--include={PACKAGES}", SUITE, str(root), mirror()]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            fail(f"debootstrap ended with {process.returncode}: {process.stdout[-800:]}{process.stderr[-800:]}")
        mark.write_text(PACKAGES)
        said(f"debian:{SUITE} with systemd: {megabytes(root)} MB, {time.monotonic() - start_s:.0f} s")
    return root


def installed_root(folder: Path) -> Path:
    """A copy of the base, in which `scripts/install-system` has installed this checkout's tracked files."""
    base, root = base_root(folder), folder / "root"
    remove(root)
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    tracked_files = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    for name in filter(None, tracked_files.stdout.split("\0")):
        if os.path.lexists(ROOT / name):
            put(ROOT / name, root / "srv" / "quantd" / name)
    variables, places = package_sources()
    command = ["systemd-nspawn", "-q", "-D", str(root), "--register=no", "--keep-unit", "--as-pid2"]
    command += [f"--bind-ro={place}" for place in places]
    if AUTHORITIES.exists():
        command += [f"--bind-ro={AUTHORITIES}:/run/authorities.crt"]
        variables["PIP_CERT"] = "/run/authorities.crt"
    command += [f"--setenv={name}={value}" for name, value in variables.items()]
    command += ["--setenv=PY=/usr/bin/python3", "--chdir=/srv/quantd", "scripts/install-system"]
    start_s = time.monotonic()
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if process.returncode:
        fail(f"scripts/install-system ended with {process.returncode}: {process.stdout[-2000:]}")
    said(f"scripts/install-system: {megabytes(root / 'opt' / 'quantd')} MB, {time.monotonic() - start_s:.0f} s")
    said("\n".join(line for line in process.stdout.splitlines() if line.startswith("quantd: ")))
    for name in ("credstore", "systemd/system/quantd@.service.d"):
        (root / "etc" / name).mkdir(parents=True, exist_ok=True)
    (root / "etc" / "credstore" / SECRET).write_text("0123456789abcdef" * 4)
    (root / "etc" / "credstore" / SECRET).chmod(0o600)
    drop_in = root / "etc" / "systemd" / "system" / "quantd@.service.d" / "pace.conf"
    drop_in.write_text("[Service]\nEnvironment=QUANTD_FEED__PACE=2/s\n")
    return root


class Machine:
    """A machine that systemd-nspawn has booted. Commands run in its namespaces, as root or as the service's user."""

    def __init__(self, nspawn: "subprocess.Popen[bytes]", log: Path) -> None:
        self.nspawn, self.log = nspawn, log

    @property
    def pid(self) -> int:
        """PID 1 of the machine, as this machine numbers it; 0 before it is there."""
        return next((pid for pid in descendants(self.nspawn.pid) if "systemd" in name_of(pid)), 0)

    def answer(self, *words: str, user: str = "", within_s: float = 120) -> "subprocess.CompletedProcess[str]":
        command = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        command += ["env", "-i", f"PATH={DEFAULT_PATH}", "HOME=/root", "SYSTEMD_COLORS=0"]
        command += ["OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1"]
        if user:
            command += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return subprocess.run([*command, *words], capture_output=True, text=True, timeout=within_s, check=False)

    def systemctl(self, *words: str) -> str:
        """Standard output of systemctl. Ends the program where it fails."""
        process = self.answer("systemctl", *words)
        if process.returncode:
            fail(
                f"systemctl {' '.join(words)} ended with {process.returncode}: {process.stderr}\n{self.lines()[-6000:]}"
            )
        return process.stdout

    def unit(self, name: str) -> str:
        """A property of the unit."""
        return self.answer("systemctl", "show", UNIT, "--property", name, "--value").stdout.strip()

    def quantd(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command of the installed quantd, as the service's user, with the service's configuration and state."""
        command = ["/opt/quantd/.venv/bin/quantd", *words, "--config", f"/{CONFIG}", "--state", STATE]
        return self.answer(*command, user="quantd")

    def status(self) -> dict[str, Any]:
        process = self.quantd("status", "--json")
        return dict(json.loads(process.stdout)) if process.returncode == 0 else {}

    def fills(self) -> int:
        process = self.quantd("report", "--export", "fills")
        return max(0, process.stdout.count("\n") - 1) if process.returncode == 0 else 0

    def until(self, what: str, true: Callable[[], bool], within_s: float) -> float:
        """Seconds until something is true. Ends the program where that takes longer."""
        start_s = time.monotonic()
        while not true():
            if time.monotonic() - start_s > within_s or self.nspawn.poll() is not None:
                lines = self.lines()[-6000:] if self.pid else ""
                fail(f"no {what} after {time.monotonic() - start_s:.0f} s\n{lines}{self.log.read_text()[-1500:]}")
            time.sleep(0.2)
        return round(time.monotonic() - start_s, 1)

    def filled(self, more_than: int) -> bool:
        return self.fills() > more_than

    def lines(self) -> str:
        """What the journal of systemd has of the unit."""
        return self.answer("journalctl", "-u", UNIT, "--no-pager").stdout

    def signal(self, number: int) -> None:
        """Sends the service's main process a signal."""
        self.answer("kill", f"-{int(number)}", self.unit("MainPID"))

    def restarted(self, times: int) -> bool:
        return (self.unit("NRestarts"), self.unit("ActiveState")) == (str(times), "active")


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


@contextmanager
def booted(root: Path, log: Path) -> Iterator[Machine]:
    """Boots a root, and shuts the machine down at the end, whatever happens."""
    command = ["systemd-nspawn", "-q", "-D", str(root), "--boot", "--register=no", "--keep-unit", "--private-network"]
    command += [f"--machine=quantd-{os.getpid()}", "--kill-signal=SIGRTMIN+3", "--console=read-only"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield Machine(process, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # nspawn asks systemd to shut down
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def right(true: bool, what: str) -> None:
    """Ends the program where a check fails."""
    if not true:
        fail(what)


def trial(machine: Machine, root: Path) -> dict[str, Any]:
    """Start, reload, kill, hang, stop and a wrong configuration. Ends the program where one of them fails."""
    figures: dict[str, Any] = {}
    figures["booted_s"] = machine.until(
        "machine that runs",
        lambda: (
            bool(machine.pid)
            and machine.answer("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
        ),
        60,
    )
    figures["systemd"] = machine.systemctl("--version").split()[1]
    start_s = time.monotonic()
    machine.systemctl("enable", "--now", UNIT)
    figures["ready_s"] = round(time.monotonic() - start_s, 1)
    right(machine.restarted(0), f"the service is {machine.unit('ActiveState')} after its start")
    machine.until("status text", lambda: machine.unit("StatusText").startswith("RUN"), 30)
    figures["status_text"] = machine.unit("StatusText")
    figures["security"] = (
        machine.answer("systemd-analyze", "security", "--no-pager", UNIT).stdout.split(": ")[-1].strip()
    )
    secret = machine.answer(
        "stat", "-c", "%U %a", f"/proc/{machine.unit('MainPID')}/root" + f"/run/credentials/{UNIT}.service/webhook_key"
    )
    figures["credential"] = secret.stdout.strip()
    figures["state"] = machine.answer("stat", "-c", "%U %a", STATE).stdout.strip()
    right(figures["state"] == "quantd 700", f"the state folder is {figures['state']}")
    machine.until("fills", lambda: machine.fills() > 0, 60)
    figures["run"] = run = machine.status()["run"]

    process = machine.unit("MainPID")
    text = (root / CONFIG).read_text()
    (root / CONFIG).write_text(text.replace("per_minute = 60", "per_minute = 50", 1))
    machine.systemctl("reload", UNIT)
    machine.until(
        "reload", lambda: "alerts.per_minute" in machine.answer("journalctl", "-u", UNIT, "--no-pager").stdout, 30
    )
    right(machine.unit("MainPID") == process, "the reload started another process")

    for times, (name, number) in enumerate((("kill", signal.SIGKILL), ("hang", signal.SIGSTOP)), 1):
        fills = machine.fills()
        machine.signal(number)
        figures[f"{name}_ready_again_s"] = machine.until(
            f"restart after {name}", lambda t=times: machine.restarted(t), 90
        )
        right(machine.status().get("run") == run, f"another run after {name}")
        machine.until(f"fills after {name}", partial(machine.filled, fills), 90)
    right("Watchdog timeout" in machine.lines(), "the watchdog did not end the process that hung")

    start_s = time.monotonic()
    machine.systemctl("stop", UNIT)
    figures["stop_s"] = round(time.monotonic() - start_s, 1)
    figures["result"] = f"{machine.unit('Result')}, exit code {machine.unit('ExecMainStatus')}"
    right(figures["result"] == "success, exit code 0", f"the stop ended with {figures['result']}")
    return figures | after(machine, root)


def after(machine: Machine, root: Path) -> dict[str, Any]:
    """The store of the stopped service, and a start with a configuration that is wrong."""
    figures: dict[str, Any] = {}
    checked = machine.quantd("doctor", "--store", "--json")
    store = [check for check in json.loads(checked.stdout)["checks"] if check["name"] == "store"]
    figures["store"] = [check["text"] for check in store]
    right(bool(store) and all(check["ok"] for check in store), f"the store is wrong: {figures['store']}")
    replayed = machine.quantd("replay")
    right(replayed.returncode == 0, f"the replay ended with {replayed.returncode}: {replayed.stderr[-800:]}")
    figures["replay"] = replayed.stdout.strip().splitlines()[-1]

    text = (root / CONFIG).read_text()
    (root / CONFIG).write_text(text.replace("[broker]", "[broker]\nno_such_key = 1", 1))
    start = machine.answer("systemctl", "start", UNIT)
    right(start.returncode != 0, "the service started with a configuration that is wrong")
    time.sleep(6)  # RestartSec=5: by now a service that starts again has done so
    figures["wrong_configuration"] = f"{machine.unit('ActiveState')}, exit code {machine.unit('ExecMainStatus')}"
    right(figures["wrong_configuration"] == "failed, exit code 78", figures["wrong_configuration"])
    (root / CONFIG).write_text(text)
    machine.systemctl("start", UNIT)
    right(machine.restarted(0), "the service does not start after the configuration was mended")
    machine.systemctl("stop", UNIT)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "systemd", help="where the roots are made")
    parser.add_argument("--keep", action="store_true", help="leave the roots for the next time")
    options = parser.parse_args(arguments)
    if missing := lack(os.getuid()):
        fail(missing)
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    start_s = time.monotonic()
    root = installed_root(folder)
    with booted(root, folder / "console.log") as machine:
        figures = trial(machine, root)
    said(json.dumps(figures | {"all_s": round(time.monotonic() - start_s)}, indent=1))
    if not options.keep:
        for path in folder.iterdir():
            remove(path) if path.is_dir() else path.unlink()
    said("all is well")


if __name__ == "__main__":
    main()
