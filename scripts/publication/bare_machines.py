"""Installations on bare machines: each makes the default backtest, with its seconds, megabytes and digest.

    python -m scripts.publication.bare_machines [--python FILE ...] [--root FOLDER] [--folder FOLDER]

For use by hand, on Linux, as root: a minute of CPU time for each installation. Each is made in an empty folder, of a
wheel, or of a clone in a folder with a blank and brackets, where PATH has no C compiler, make or git. `--root` names
the root of another Debian, in which systemd-nspawn installs the wheel too.

What can go wrong: a wheel does not fit a Python, a fallback is missing, a path is not quoted, a start asks the network,
a read writes. A row that fails ends the program. One with another digest than the recorded one ends it after the table.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from scripts.publication.facts import ROOT
from scripts.publication.failure import fail

HIDDEN: Final = re.compile(r"(?:.*-)?(?:cc|c\+\+|gcc|g\+\+|clang|clang\+\+|c89|c99|make|gmake|git)(?:-[\d.]+)?")
"""Programs that a bare machine lacks."""

PLACE: Final = "my trading (1) [x]"
BACKTEST: Final = ("backtest", "--json", "--no-compare")


@dataclass(frozen=True, slots=True)
class Row:
    """One machine: its installation, and the default backtest on it. `seconds` are of the CPU, `wall_s` of a clock."""

    machine: str
    engine: str
    seconds: float
    wall_s: float
    megabytes: int
    backtest_s: float
    digest: str

    def line(self) -> str:
        install = f"{self.seconds:.0f}" if self.seconds else "as above"
        size = f"{self.megabytes:,}" if self.megabytes else "as above"
        return f"| {self.machine} | {self.engine} | {install} | {size} | {self.backtest_s:.1f} | `{self.digest[:8]}` |"


@dataclass(slots=True)
class Machine:
    """Runs commands with an environment, behind a command that limits them, and counts their CPU time."""

    environment: Mapping[str, str]
    prefix: Sequence[str] = ()
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def __call__(self, *words: str | Path, at: Path) -> str:
        """Standard output of a command. Ends the program where it fails."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [*self.prefix, *map(str, words)]
        done = subprocess.run(
            command, cwd=at, env=dict(self.environment), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.wall_s = time.monotonic() - began
        if done.returncode:
            fail(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout


def usual(folder: Path, path: str = "/usr/local/bin:/usr/bin:/bin") -> dict[str, str]:
    """An environment without what a developer has set, with the package sources of this machine."""
    sources = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    return sources | {"PATH": path, "HOME": str(home), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def path_without_tools(folder: Path) -> str:
    """A folder with links to every program of this machine but compilers, make and git."""
    folder.mkdir(parents=True)
    for place in ("/usr/local/bin", "/usr/bin", "/bin"):
        for program in Path(place).iterdir():
            link = folder / program.name
            if not HIDDEN.fullmatch(program.name) and not os.path.lexists(link):
                link.symlink_to(program)
    return str(folder)


def megabytes(folder: Path) -> int:
    """Size of an environment, in millions of bytes."""
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return round(size / 1e6)


def measured(name: str, machine: Machine, program: Sequence[str | Path], at: Path, install: Machine, venv: Path) -> Row:
    """The row of a machine on which quantd is installed in `venv`."""
    printed = machine(*program, "--version", at=at)
    engine = "uncompiled" if "uncompiled" in printed else "compiled"
    digest = str(json.loads(machine(*program, *BACKTEST, at=at))["digest"])
    size = megabytes(venv) if install.cpu_s else 0
    row = Row(name, engine, install.cpu_s, install.wall_s, size, machine.cpu_s, digest)
    print(row.line(), file=sys.stderr, flush=True)
    return row


def of_wheel(name: str, wheel: Path, python: Path, folder: Path, machine: Machine) -> Row:
    """A wheel in an empty folder."""
    empty = folder / "empty"
    empty.mkdir(parents=True)
    constraints = empty.with_name("constraints.txt")
    shutil.copy(ROOT / "constraints.txt", constraints)
    copy = Path(shutil.copy(wheel, folder))
    machine(python, "-m", "venv", folder / "venv", at=folder)
    machine(folder / "venv/bin/python", "-m", "pip", "install", "-q", "-c", constraints, copy, at=folder)
    install = Machine({}, cpu_s=machine.cpu_s, wall_s=machine.wall_s)
    program = folder / "venv/bin/quantd"
    machine(program, "init", at=empty)
    return measured(name, machine, [program], empty, install, folder / "venv")


def of_clone(python: Path, folder: Path) -> list[Row]:
    """A clone in a folder with a blank and brackets, without tools; then without a network, then read-only."""
    clone, empty = folder / PLACE / "quantd", folder / "empty"
    empty.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    environment = usual(folder, path_without_tools(folder / "bin")) | {"PY": str(python)}
    bare = Machine(environment)
    bare(clone / "scripts/make-env", "core", at=clone)
    install = Machine({}, cpu_s=bare.cpu_s, wall_s=bare.wall_s)
    program, venv = clone / ".venv/bin/quantd", clone / ".venv"
    present = Machine({})
    rows = [measured(f"a clone in `{PLACE}`, no compiler, no make, no git", bare, [program], clone, install, venv)]
    offline = Machine(environment, ["unshare", "-n"])
    rows.append(measured("the same, no network", offline, [program], clone, present, venv))
    shutil.rmtree(clone / "state", ignore_errors=True)
    # a mount, because root writes into whatever has no rights
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'
    elsewhere = environment | {"QUANTD_STATE": str(empty / "state")}
    read_only = Machine(elsewhere, ["unshare", "-m", "sh", "-c", mounted, str(clone)])
    rows.append(measured("the same, read-only, state folder elsewhere", read_only, [program], clone, present, venv))
    return rows


def of_root(root: Path, wheel: Path, folder: Path) -> Row:
    """A wheel in the root of another Debian."""
    folder.mkdir(parents=True)
    release = re.search(r'^PRETTY_NAME="(.*)"$', (root / "etc/os-release").read_text(), re.MULTILINE)
    environment = usual(folder)
    prefix = ["systemd-nspawn", "-q", "-D", str(root), "--register=no", "--keep-unit", "--pipe", "--as-pid2"]
    prefix += [f"--bind={folder}", f"--chdir={folder}/empty"]
    for place in ("/opt/pypi", "/opt/pypi-more", "/opt/wheels", "/etc/ssl/certs/ca-certificates.crt"):
        prefix += [f"--bind-ro={place}"] if Path(place).exists() else []
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    for name, text in re.findall(r"^global\.([\w-]+)='(.*)'$", listed.stdout, re.MULTILINE):
        if name != "constraint":
            environment["PIP_" + name.upper().replace("-", "_")] = text.replace("\\n", " ")
    prefix += [f"--setenv={name}={text}" for name, text in environment.items() if name != "PATH"]
    version = ["chroot", str(root), "/usr/bin/python3", "--version"]
    python = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    machine = Machine(os.environ, [*prefix, "--"])
    name = f"{release[1] if release else root.name}, {python}, the pure wheel"
    return of_wheel(name, wheel, Path("/usr/bin/python3"), folder, machine)


def table(rows: Sequence[Row]) -> str:
    """The rows as a table of docs/operate/install.md."""
    header = "| machine | engine | installation, s of CPU | MB | default backtest, s of CPU | digest |"
    return "\n".join([header, "|---|---|---|---|---|---|", *(row.line() for row in rows)])


def main() -> int:
    parser = argparse.ArgumentParser(description="Installations on bare machines, as a table.")
    parser.add_argument("--python", type=Path, action="append", default=[], help="an interpreter; repeatable")
    parser.add_argument("--compiled", type=Path, help="a wheel with the engine, for the first interpreter")
    parser.add_argument("--root", type=Path, action="append", default=[], help="the root of another Debian")
    parser.add_argument("--no-clone", action="store_true", help="leave the rows of the clone out")
    parser.add_argument("--no-wheel", action="store_true", help="leave the rows of wheels out")
    parser.add_argument("--folder", type=Path, help="where installations are left; default: removed at the end")
    options = parser.parse_args()
    if os.getuid() != 0:
        fail(
            "a network namespace and another user need root: sudo .venv/bin/python -m scripts.publication.bare_machines"
        )
    pythons = options.python or [Path(sys.executable).resolve()]
    wheels = [] if options.no_wheel else pythons
    with TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        environment = os.environ | {"QUANTD_PURE_WHEEL": "1", "PY": sys.executable}
        make = [ROOT / "scripts/make-wheel", folder / "wheel", "--no-build-isolation"]
        subprocess.run(make, env=environment, check=True)
        (pure,) = (folder / "wheel").glob("*-none-any.whl")
        rows = []
        for number, python in enumerate(wheels):
            machine = Machine(usual(folder / f"wheel-{number}"))
            version = machine(python, "--version", at=folder).strip()
            rows.append(of_wheel(f"{version}, the pure wheel", pure, python, folder / f"wheel-{number}", machine))
        if options.compiled:
            machine = Machine(usual(folder / "compiled"))
            version = machine(pythons[0], "--version", at=folder).strip()
            name = f"{version}, the compiled wheel"
            rows.append(of_wheel(name, options.compiled.resolve(), pythons[0], folder / "compiled", machine))
        rows += [] if options.no_clone else of_clone(pythons[0], folder / "clone")
        rows += [of_root(root.resolve(), pure, folder / f"root-{k}") for k, root in enumerate(options.root)]
    print(table(rows))
    recorded = json.loads((ROOT / "tests/golden/digests.json").read_text(encoding="utf-8"))
    wanted = recorded["backtest config.toml"]["digest"]
    differing = [row.machine for row in rows if row.digest != wanted]
    if differing:
        print(f"quantd: another digest than {wanted[:8]}: {'; '.join(differing)}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
