"""Carries out the steps of the Dockerfile without Docker, and runs the daemon in the result as the container would.

    python -m tests.deploy.container_root --folder build/container [--target trade] [--keep]

For use by hand, on Debian, as root: `make test-container`. debootstrap makes the base image. bubblewrap carries out
each RUN, and runs the daemon: as its user, with a read-only root, in mount and process namespaces of its own. No mount
is made outside of these, so none is left when the script ends, however it ends. A finished stage is not made again
while its steps and its context are the same.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.deploy.dockerfile import Settings, Stage, Step, context, filled, needed, settings_of, stages
from tests.support.checkout import ROOT

DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"
DEBIAN = re.compile(r"debian:(\w+)-slim")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def said(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def mirror() -> str:
    """The mirror of this machine's own packages."""
    for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        if path.exists() and (
            match := re.search(r"^(?:URIs:|deb(?: \[.*?\])?) +(\S+)", path.read_text(), re.MULTILINE)
        ):
            return match[1]
    return "http://deb.debian.org/debian"


def package_sources() -> tuple[dict[str, str], list[Path]]:
    """What pip is configured with on this machine: variables for the steps, and folders that they name."""
    process = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    variables = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    for name, value in re.findall(r"^\w+\.([\w-]+)='(.*)'$", process.stdout, re.MULTILINE):
        if name in ("index-url", "extra-index-url", "find-links", "default-timeout", "trusted-host"):
            variables["PIP_" + name.upper().replace("-", "_")] = value.replace("\\n", " ").strip()
    places = {Path(path) for value in variables.values() for path in re.findall(r"(?:^|file://|\s)(/[\w./-]+)", value)}
    tops = [Path("/", *place.parts[1:3]) for place in sorted(places)]
    return variables, [place for place in dict.fromkeys(tops) if place.is_dir()]


class Builder:
    """Makes the roots of stages in a folder."""

    def __init__(self, folder: Path, bwrap: str, build_arguments: Mapping[str, str]) -> None:
        self.folder, self.bwrap = folder, bwrap
        self.stages = stages(DOCKERFILE.read_text(encoding="utf-8"), build_arguments)
        self.files = sorted(context(ROOT))
        digest = hashlib.sha256()
        for name in self.files:
            path = ROOT / name
            digest.update(f"{name}\n".encode())
            digest.update(os.readlink(path).encode() if path.is_symlink() else path.read_bytes())
        self.context = digest.hexdigest()
        self.variables, self.places = package_sources()

    def root_of(self, name: str) -> Path:
        return self.folder / re.sub(r"\W", "-", name)

    def image(self, name: str) -> Path:
        """The root of a base image, from debootstrap."""
        match = DEBIAN.fullmatch(name)
        if match is None:
            sys.exit(
                f"FROM {name}: this script can make debian:SUITE-slim only; give --build-arg BASE=debian:SUITE-slim"
            )
        root = self.root_of(name)
        if not (root / "etc" / "debian_version").exists():
            start_s = time.monotonic()
            # a mount namespace of its own: debootstrap's mounts end with it
            command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase", match[1]]
            process = subprocess.run([*command, str(root), mirror()], capture_output=True, text=True, check=False)
            if process.returncode:
                sys.exit(f"debootstrap ended with {process.returncode}: {process.stdout[-800:]}{process.stderr[-800:]}")
            said(f"FROM {name}: {megabytes(root)} MB in {time.monotonic() - start_s:.0f} s")
        return root

    def make(self, target: str) -> Path:
        """The root of a stage, after those that it needs."""
        for stage in needed(self.stages, target):
            self._stage(stage)
        return self.root_of(target)

    def _stage(self, stage: Stage) -> None:
        parent = self.root_of(stage.parent) if stage.parent in self.stages else self.image(stage.parent)
        root, mark = self.root_of(stage.name), self.root_of(stage.name).with_suffix(".made")
        before = self.root_of(stage.parent).with_suffix(".made")
        texts = [before.read_text() if before.exists() else stage.parent, *(f"{s.name} {s.text}" for s in stage.steps)]
        texts += [self.context] if any(s.name == "COPY" for s in stage.steps) else []
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        if mark.exists() and mark.read_text() == digest and root.exists():
            said(f"{stage.name}: as before")
            return
        mark.unlink(missing_ok=True)
        remove(root)
        subprocess.run(["cp", "-a", "--reflink=auto", str(parent), str(root)], check=True)
        settings = settings_of(self.stages, stage.parent) if stage.parent in self.stages else Settings()
        settings.env.setdefault("PATH", DEFAULT_PATH)
        for step in stage.steps:
            start_s = time.monotonic()
            if step.name == "COPY":
                self._copy(step, root, settings)
            elif step.name == "RUN":
                self._run(step, root, settings)
            elif not settings.apply(step):
                sys.exit(f"{DOCKERFILE}:{step.line}: {step.name} is not carried out by this script")
            if step.name in ("RUN", "COPY"):
                said(f"{stage.name}: line {step.line} {step.name}, {time.monotonic() - start_s:.0f} s")
        mark.write_text(digest)
        said(f"{stage.name}: {megabytes(root)} MB")

    def _run(self, step: Step, root: Path, settings: Settings) -> None:
        environment = {"HOME": "/root", **self.variables, **settings.args, **settings.env}
        command = [self.bwrap, "--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run"]
        command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--cap-add", "ALL"]
        fresh = [place for place in self.places if not (root / place.relative_to("/")).exists()]
        for place in self.places:
            command += ["--ro-bind", str(place), str(place)]
        if AUTHORITIES.exists():
            command += ["--ro-bind", str(AUTHORITIES), "/run/authorities.crt"]
            environment |= {"PIP_CERT": "/run/authorities.crt"}
        command += ["--clearenv"]
        for name, value in environment.items():
            command += ["--setenv", name, value]
        (root / settings.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
        command += ["--chdir", settings.workdir, *settings.shell, step.text]
        process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        for place in fresh:
            (root / place.relative_to("/")).rmdir()
        if process.returncode:
            sys.exit(f"{DOCKERFILE}:{step.line}: RUN ended with {process.returncode}:\n{process.stdout[-3000:]}")

    def _copy(self, step: Step, root: Path, settings: Settings) -> None:
        words = shlex.split(filled(step.text, settings.env | settings.args))
        target = words[-1]
        place = root / os.path.join(settings.workdir, target).lstrip("/")
        if words[0].startswith("--from="):
            source = self.root_of(words[0].removeprefix("--from=")) / words[1].lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", "--reflink=auto", "-T", str(source), str(place)], check=True)
            return
        for source in words[:-1]:
            if source == ".":
                for name in self.files:
                    put(ROOT / name, place / name)
            elif Path(source) in self.files:
                put(ROOT / source, place / Path(source).name if target.endswith("/") else place)
            else:
                sys.exit(f"{DOCKERFILE}:{step.line}: {source} is not in the context")


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def remove(root: Path) -> None:
    """Deletes a root. Refuses one in which something is mounted."""
    if not root.exists():
        return
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    if inside := [place for place in mounted if place == str(root) or place.startswith(f"{root}/")]:
        sys.exit(f"{inside[0]} is mounted; unmount it first: umount {inside[0]}")
    subprocess.run(["rm", "-rf", "--one-file-system", str(root)], check=True)


def megabytes(root: Path) -> int:
    process = subprocess.run(
        ["du", "-sx", "--block-size=1000000", str(root)], capture_output=True, text=True, check=True
    )
    return int(process.stdout.split()[0])


class Container:
    """The image as a container: its user, a read-only root, and one writable folder that outlives it."""

    def __init__(self, root: Path, settings: Settings, state: Path, bwrap: str) -> None:
        self.root, self.settings, self.state, self.bwrap = root, settings, state, bwrap
        user, _, group = settings.user.partition(":")
        self.user, self.group = int(user), int(group or user)

    def command(self, *words: str, extra: Mapping[str, str] = {}) -> list[str]:
        user = ["setpriv", f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups"]
        user += ["--no-new-privs", "--bounding-set=-all"]
        command = [*user, self.bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        command += ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        command += ["--tmpfs", "/run", "--bind", str(self.state), self.settings.workdir, "--die-with-parent"]
        command += ["--clearenv", "--chdir", self.settings.workdir]
        for name, value in {"HOME": self.settings.workdir, **self.settings.env, **extra}.items():
            command += ["--setenv", name, value]
        return [*command, *words]

    def answer(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False)

    def start(self, log: Path, **extra: str) -> "subprocess.Popen[bytes]":
        words = [*self.settings.entrypoint, *self.settings.cmd]
        return subprocess.Popen(self.command(*words, extra=extra), stdout=log.open("ab"), stderr=subprocess.STDOUT)


def descendants(pid: int) -> Iterator[int]:
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            yield child
            yield from descendants(child)


def daemon_of(pid: int) -> int:
    """The process of quantd below the sandbox: the child of tini."""
    for child in descendants(pid):
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"python" in words[0] and any(word.endswith(b"/quantd") for word in words[:4]):
            return child
    return 0


def fills(container: Container) -> int:
    process = container.answer("quantd", "report", "--export", "fills")
    return max(0, process.stdout.count("\n") - 1) if process.returncode == 0 else 0


def until(what: str, process: "subprocess.Popen[bytes]", log: Path, true: Any, within_s: float = 60.0) -> float:
    start_s = time.monotonic()
    while not true():
        if process.poll() is not None or time.monotonic() - start_s > within_s:
            sys.exit(f"no {what} after {time.monotonic() - start_s:.0f} s: {log.read_text()[-2000:]}")
        time.sleep(0.2)
    return time.monotonic() - start_s


def trial(container: Container, log: Path) -> dict[str, Any]:
    """First fill, health, a kill and a restart. Exits with the reason where one of them fails."""
    health = container.settings.health_command
    root = container.answer("sh", "-c", "touch /opt/quantd/x; id -u; touch /var/lib/quantd/y && rm /var/lib/quantd/y")
    if "Read-only" not in root.stderr or root.stdout.split() != [str(container.user)] or root.returncode:
        sys.exit(f"the root is writable, or the user is not {container.user}: {root.stdout}{root.stderr}")
    if container.answer(*health).returncode != 1:
        sys.exit("the health check passes without a daemon")
    free = {"QUANTD_API__PORT": "0", "QUANTD_BUS__PORT": "0", "QUANTD_FEED__PACE": "2/s"}
    report: dict[str, Any] = {}
    first = container.start(log, **free)
    report["healthy_s"] = round(until("health", first, log, lambda: container.answer(*health).returncode == 0), 1)
    report["first_fill_s"] = round(report["healthy_s"] + until("fill", first, log, lambda: fills(container) > 0), 1)
    status = json.loads(container.answer("quantd", "status", "--json").stdout)
    os.kill(daemon_of(first.pid), signal.SIGKILL)
    report["exit_after_kill"], report["fills_at_kill"] = first.wait(timeout=20), fills(container)
    if container.answer(*health).returncode != 1:
        sys.exit("the health check passes after the daemon was killed")
    second = container.start(log, **free)
    report["healthy_again_s"] = round(
        until("health", second, log, lambda: container.answer(*health).returncode == 0), 1
    )
    until("more fills", second, log, lambda: fills(container) > report["fills_at_kill"])
    second_status = json.loads(container.answer("quantd", "status", "--json").stdout)
    report["same_run"] = second_status["run"] == status["run"]
    memory = Path(f"/proc/{daemon_of(second.pid)}/smaps_rollup").read_text()
    report["pss_mib"] = int(re.findall(r"^Pss: +(\d+)", memory, re.MULTILINE)[0]) // 1024
    os.kill(daemon_of(second.pid), getattr(signal, container.settings.stop_signal))
    report["exit_after_stop"] = second.wait(timeout=40)
    checked = container.answer("quantd", "doctor", "--store", "--json")
    store = [check for check in json.loads(checked.stdout)["checks"] if check["name"] == "store"]
    report["store"] = [check["text"] for check in store]
    replayed = container.answer("quantd", "replay")
    report["replay"] = replayed.returncode
    right = (report["same_run"], report["exit_after_stop"], all(check["ok"] for check in store), replayed.returncode)
    if right != (True, 0, True, 0) or not store:
        sys.exit(
            f"{json.dumps(report, indent=1)}\n{checked.stdout[-800:]}{replayed.stdout[-800:]}{replayed.stderr[-800:]}"
        )
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "container", help="where the roots are made")
    parser.add_argument("--target", default="trade", help="the stage of the Dockerfile")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bwrap", default=shutil.which("bwrap"), help="the program bubblewrap")
    parser.add_argument("--keep", action="store_true", help="leave the roots for the next time")
    options = parser.parse_args(arguments)
    for program in ("debootstrap", "setpriv", "unshare"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed; on Debian: apt-get install debootstrap bubblewrap util-linux")
    if not options.bwrap or os.getuid():
        sys.exit("needs root and bubblewrap (apt-get install bubblewrap)")
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    builder = Builder(folder, options.bwrap, dict(argument.split("=", 1) for argument in options.build_arg))
    root, settings = builder.make(options.target), settings_of(builder.stages, options.target)
    if settings.health_command:
        state, log = folder / "state", folder / "log"
        remove(state)
        log.unlink(missing_ok=True)
        state.mkdir(mode=0o700)
        container = Container(root, settings, state, options.bwrap)
        os.chown(state, container.user, container.group)
        said(json.dumps(trial(container, log), indent=1))
    if not options.keep:
        for path in folder.iterdir():
            remove(path) if path.is_dir() else path.unlink()
    said("all is well")


if __name__ == "__main__":
    main()
