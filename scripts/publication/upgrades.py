"""Upgrades of runs that earlier versions began: stopped or killed in the middle, and continued by the present code.

    python -m scripts.publication.upgrades [NAME=COMMIT ...] [--ended stopped|killed] [--folder FOLDER] [--json FILE]

For use by hand: a minute for each version. The source of a commit is taken from git, and runs with the packages of the
present environment, uncompiled. The configuration is that version's own, with an artifact of that version, a policy
file as its `init` writes it, and a policy of an installed package. What can go wrong: a configuration that is refused,
an artifact whose probes differ, a token that is not accepted, a fold that leads elsewhere. Each ends the program.

The digest of the continued run must be that of an unbroken backtest by the present code; whether it is that of the
earlier version too is a column of the table. A run in which an agent held because a stop withdrew its question, or
because its policy was late, is not that of a backtest, with or without an upgrade. An alert of the run says so, and the
row is tried again in another folder.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from scripts.publication.facts import ROOT
from scripts.publication.failure import fail

VERSIONS: Final = {"0.1.0": "f4dad46e", "0.2.0": "fda151da", "0.2.0, later": "16991315"}
"""The name of a version -> its commit. The first two were never tagged."""

PACKAGE: Final = '''"""Lowest volatility: the whole book in the one instrument that moved least."""

from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from quantd.strategies.policies.params import Lookback
from quantd.strategies.policies.record import record
from quantd.trading.view import HOLD


class QuietestParams(Struct, frozen=True):
    """Volatility over `lookback` samples."""

    lookback: Lookback = 60


@dataclass(frozen=True, slots=True)
class Quietest:
    params: QuietestParams

    @property
    def lookback(self):
        return self.params.lookback

    def act(self, view, memory):
        deviations = view.deviation(self.lookback)
        if not np.isfinite(deviations).any():
            return HOLD, memory
        weights = np.zeros(len(deviations))
        weights[np.where(np.isfinite(deviations), deviations, np.inf).argmin()] = 1.0
        return weights, memory


RECORD = record("quietest", QuietestParams, Quietest)
'''
"""A policy of an installed package, as docs/develop/extending.md of version 0.1 describes it."""

AGENTS: Final = """
[[agents]]
name = "file"
policy = "value.py:act"
capital = 0.1
profile = "balanced"

[[agents]]
name = "package"
policy = "quietest"
capital = 0.1
profile = "balanced"
"""
EDITS: Final = (
    ('policy = "models/shipped/scorer"', 'policy = "models/mine"'),
    ("capital = 0.4", "capital = 0.3"),
    ("port = 1883", "port = 0"),
    ("port = 8000", "port = 0"),
    ("open_reads = true", "open_reads = false"),
    ('agents = ["parity", "trend"]', 'agents = ["parity", "trend", "file", "package"]'),
)
"""Changes of the configuration that a version's own `init` writes."""

DISTURBED: Final = ("the question was withdrawn", "no answer", "was not ready within")
"""Parts of alerts about an agent that held for the time of day, which a backtest does not repeat."""

TRIES: Final = 5

ENDS: Final = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL}


class DisturbedRunError(Exception):
    """An agent of the run held because of the time of day; the message is the alert."""


@dataclass(frozen=True, slots=True)
class Version:
    """A source of quantd, and the environment in which its commands run."""

    name: str
    source: Path
    python: Path

    def command(self, *words: str) -> list[str]:
        return [str(self.python), "-P", "-m", "quantd.daemon.cli", *words]

    def environment(self) -> dict[str, str]:
        usual = {name: text for name, text in os.environ.items() if not name.startswith(("QUANTD_", "PYTHON"))}
        return usual | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}

    def __call__(self, folder: Path, *words: str, codes: Sequence[int] = (0,)) -> str:
        """Standard output of a command. Ends the program with another exit code."""
        done = subprocess.run(
            self.command(*words), cwd=folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode not in codes:
            shown = f"{done.stdout[-1500:]}{done.stderr[-1500:]}"
            fail(f"{self.name}: quantd {' '.join(words)} ended with {done.returncode}: {shown}")
        with (folder / "log").open("a", encoding="utf-8") as log:
            log.write(f"$ quantd {' '.join(words)}\n{done.stderr}")
        return done.stdout

    def daemon(self, folder: Path, *words: str) -> "subprocess.Popen[bytes]":
        """A daemon that serves its API."""
        address = folder / "state" / "api.json"
        address.unlink(missing_ok=True)
        process = subprocess.Popen(
            self.command("run", *words),
            cwd=folder,
            env=self.environment(),
            stdout=(folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + 300
        while not address.exists():
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                fail(f"{self.name}: the daemon does not serve: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        return process


def source_of(commit: str, folder: Path) -> Path:
    """The files of a commit in a folder."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False)
    if archive.returncode:
        fail(f"git archive {commit}: {archive.stderr.decode().strip()}; this needs a clone with its history")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="tar")
    return folder


def python_of(source: Path, packages: Path, folder: Path) -> Path:
    """An environment with one source of quantd and the packages of the present one; a policy's process gets it too."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    places = (source / "src", packages, sysconfig.get_path("purelib"))
    (site / "source.pth").write_text("".join(f"{place}\n" for place in places))
    return folder / "bin" / "python"


def packages_in(folder: Path) -> Path:
    """An installed package that offers a policy: its module, and its entry point."""
    information = folder / "quietest-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: quietest\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[quantd.policies]\nquietest = quietest:RECORD\n")
    (folder / "quietest.py").write_text(PACKAGE)
    return folder


def prepared(version: Version, folder: Path) -> None:
    """Makes a folder with a configuration, an artifact and a policy file by a version's own commands."""
    folder.mkdir()
    version(folder, "init")
    version(folder, "init", "--policy", "value")
    shutil.copytree(version.source / "models" / "shipped" / "scorer", folder / "models" / "mine")
    text = (folder / "config.toml").read_text(encoding="utf-8")
    for old, new in EDITS:
        if old not in text:
            fail(f"{version.name}: its config.toml has no {old!r}")
        text = text.replace(old, new)
    text = text.replace("[[schedules]]", f"{AGENTS}\n[[schedules]]", 1)
    (folder / "config.toml").write_text(text, encoding="utf-8")
    version(folder, "config", "check")


def answer(folder: Path, secret: str) -> int:
    """The status of the answer to `GET /api/v1/status` with a token, or without one."""
    address = json.loads((folder / "state" / "api.json").read_text())
    request = urllib.request.Request(f"http://{address['host']}:{address['port']}/api/v1/status")
    if secret:
        request.add_header("Authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=10) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code


def status(version: Version, folder: Path) -> dict[str, Any]:
    with suppress(ValueError):
        return dict(json.loads(version(folder, "status", "--json", codes=(0, 1, 75))))
    return {}


def disturbance(alerts: Sequence[dict[str, Any]]) -> str:
    """The first alert about an agent that held for the time of day; empty without one."""
    texts = (f"{alert['agent']}, {alert['time']}: {alert['text']}" for alert in alerts)
    return next((text for text in texts if any(part in text for part in DISTURBED)), "")


def interrupted(version: Version, folder: Path, end: int) -> tuple[str, str]:
    """Runs a version's daemon until it has made 100 orders, and ends it by a signal. Returns (secret, last session).

    The pace leaves most of the time between rounds: a stop while a policy is asked withdraws the question, so that the
    agent holds, and the run is no longer that of a backtest.
    """
    process = version.daemon(folder, "--set", "feed.pace=10/s")
    try:
        created = json.loads(version(folder, "token", "create", "reader", "--scope", "read", "--json"))
        until = time.monotonic() + 600
        while int((shown := status(version, folder)).get("orders", 0)) < 100:
            if process.poll() is not None or time.monotonic() > until:
                fail(f"{version.name}: no 100 orders: {(folder / 'log').read_text()[-2000:]}")
    finally:
        process.send_signal(end)
        process.wait(timeout=60)
    return str(created["secret"]), str(shown["session"])


def upgraded(name: str, old: Version, new: Version, folder: Path, ending: str) -> dict[str, Any]:
    """One row of the table: a run of `old`, ended in the middle, then continued by `new`. Raises DisturbedRunError."""
    began = time.monotonic()
    prepared(old, folder)
    secret, session = interrupted(old, folder, ENDS[ending])
    migrated = json.loads(new(folder, "upgrade", "--json"))
    if migrated["done"] and not (folder / str(migrated["backup"])).exists():
        fail(f"{name}: the upgrade left no backup {migrated['backup']}")
    new(folder, "config", "check")
    new(folder, "models", "verify", "models/mine")
    process = new.daemon(folder, "--set", "feed.pace=1/s")
    try:
        answers = (answer(folder, secret), answer(folder, ""), answer(folder, secret[::-1]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    if answers != (200, 401, 401):
        fail(f"{name}: with the token, without one, and with a wrong one the API answers {answers}")
    last = json.loads(new(folder, "run", "--json", "--set", "feed.pace=fast", "--set", "feed.at_end=stop"))
    unbroken = json.loads(new(folder, "backtest", "--json", "--no-compare", "--state", "unbroken"))
    before = json.loads(old(folder, "backtest", "--json", "--no-compare", "--state", "before"))
    if last["digest"] != unbroken["digest"]:
        alerts = json.loads(new(folder, "alerts", "--last", "100000", "--json"))["alerts"]
        if held := disturbance(alerts):
            raise DisturbedRunError(held)
        fail(f"{name}, {ending}: the run ends with {last['digest']}, an unbroken backtest with {unbroken['digest']}")
    replayed = json.loads(new(folder, "replay", "--json"))
    if replayed["digest"] != last["digest"]:
        fail(f"{name}, {ending}: the replay ends with {replayed['digest']}")
    return {
        "version": name,
        "ended": ending,
        "session": session,
        "revisions": f"{migrated['from']} to {migrated['to']}",
        "orders": last["orders"],
        "digest": last["digest"],
        "earlier_digest": before["digest"],
        "steps": replayed.get("steps", 0),
        "seconds": round(time.monotonic() - began),
    }


def tried(name: str, old: Version, new: Version, folder: Path, ending: str) -> dict[str, Any]:
    """The first row of an undisturbed run. Ends the program after TRIES."""
    number = 0
    while True:
        try:
            return upgraded(name, old, new, folder.with_name(f"{folder.name}-{number}"), ending)
        except DisturbedRunError as why:
            print(f"{name}, {ending}: tried again, because an agent held: {why}", file=sys.stderr, flush=True)
        number += 1
        if number == TRIES:
            fail(f"{name}, {ending}: an agent held in each of {TRIES} runs; try it on a machine with less to do")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table of docs/operate/store.md."""
    lines = [
        "| began with | ended | last session | store | orders | digest | an unbroken backtest by that version |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        same = "the same" if row["digest"] == row["earlier_digest"] else f"`{row['earlier_digest'][:8]}`"
        cells = [row["version"], row["ended"], row["session"], row["revisions"], f"{row['orders']:,}"]
        cells += [f"`{row['digest'][:8]}`", same]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="*", metavar="NAME=COMMIT", help="default: 0.1.0, 0.2.0 and a later commit")
    parser.add_argument("--ended", choices=sorted(ENDS), action="append", help="only this end; default: both")
    parser.add_argument("--folder", type=Path, help="where sources and runs are left; default: removed at the end")
    parser.add_argument("--json", type=Path, help="also write the rows as JSON")
    options = parser.parse_args(arguments)
    chosen = dict(text.split("=", 1) for text in options.versions) or VERSIONS
    with TemporaryDirectory() as temporary:
        top = (options.folder or Path(temporary)).resolve()
        packages = packages_in(top / "packages")
        new = Version("the present code", ROOT, python_of(ROOT, packages, top / "venv"))
        rows = []
        for number, (name, commit) in enumerate(chosen.items()):
            source = source_of(commit, top / f"source-{number}")
            old = Version(name, source, python_of(source, packages, top / f"venv-{number}"))
            for ending in options.ended or ENDS:
                rows.append(tried(name, old, new, top / f"run-{number}-{ending}", ending))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
