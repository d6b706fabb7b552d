"""A small configuration over the bundled data, and the command line in and outside this process."""

import gc
import io
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from quantd.daemon.cli import main
from quantd.daemon.monitoring.metrics import QUIET
from quantd.engine_build.recipe import VARIABLES
from tests.support.calendar_files import with_calendar
from tests.support.checkout import ROOT

COSTS = """\
commission_bp = 1.0
spread_bp = 0
slippage_bp = 0
participation = 0
borrow_bp_annual = 0
"""

CONFIG = f"""
[quantd]
state = "state"
[universe]
symbols = ["SPY", "QQQ", "IWM"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2019-01-02
end = 2019-03-29
warmup = 130
pace = "fast"
at_end = "stop"
[broker]
cash = "100000.00"
{COSTS}[risk]
max_position_weight = 0.25
max_drawdown = 0.25
var = {{ limit = 0.03 }}
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.5
[[agents]]
name = "trend"
policy = "momentum"
capital = 0.4
params = {{ lookback = 60 }}
[[schedules]]
name = "close"
do = "rebalance"
at = "close-15m"
agents = ["trend"]
[bus]
port = 0
[api]
port = 0
"""

ALERTING = CONFIG.replace("limit = 0.03", "limit = 0.017")
"""CONFIG with a value at risk that reaches its limit: four alerts, of which the last is an open incident."""


def one_agent(
    symbols: Sequence[str], policy: str = "equal_weight", feed: str = "", agent: str = "", path: str = "bars.parquet"
) -> str:
    """A configuration of one agent without limits over a file of bars; `feed` and `agent` are further keys of these."""
    return f"""
[universe]
symbols = {json.dumps(list(symbols))}
[feed]
path = "{path}"
stamps = "session"
{feed}
[broker]
cash = "100000"
[risk]
profile = "research"
[bus]
port = 0
[api]
port = 0
[[agents]]
name = "even"
policy = "{policy}"
capital = 1.0
profile = "research"
{agent}
"""


def write(folder: Path, text: str = CONFIG) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "config.toml"
    path.write_text(text)
    return path


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("QUANTD_") or k in VARIABLES}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "COLUMNS": "200"}


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@contextmanager
def restored() -> Iterator[None]:
    """Undoes what a command changes in its process: environment, folder, logging, limit of open files, frozen
    objects, threshold of collections."""
    environ, here = dict(os.environ), Path.cwd()
    collecting = gc.get_threshold()
    root, logs = logging.getLogger(), structlog.get_config()
    handlers, level, levels = list(root.handlers), root.level, {name: logging.getLogger(name).level for name in QUIET}
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environ)
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, was in levels.items():
            logging.getLogger(name).setLevel(was)
        logging.captureWarnings(False)
        structlog.configure(**logs)
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        gc.unfreeze()
        gc.set_threshold(*collecting)


def quantd(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
    """One command in `folder`, in this process: a start of Python takes longer than most commands. It sees no variable
    but those in `env`, and writes nothing into the home of who runs the tests."""
    out, err = io.StringIO(), io.StringIO()
    homes = {"XDG_CACHE_HOME": str(folder / ".cache")}
    with restored():
        os.environ.clear()
        os.environ.update(environment() | homes | dict(env or {}))
        os.chdir(folder)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main(list(arguments))
        except SystemExit as end:
            return Done(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command ends with an exit code")


def program(folder: Path, *arguments: str, env: dict[str, str] | None = None, **how: Any) -> Done:
    """One command as a program of its own, where the test is about the process; `env` is added to its environment."""
    process = subprocess.run(
        [sys.executable, "-m", "quantd.daemon.cli", *arguments],
        cwd=folder, env=environment() | (env or {}), capture_output=True, text=True, timeout=180, **how,
    )  # fmt: skip
    return Done(process.returncode, process.stdout, process.stderr)


def begun(folder: Path, *arguments: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    """One command as a program of its own that goes on, and what it prints."""
    return subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", *arguments],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=stderr, text=True,
    )  # fmt: skip


@contextmanager
def running(folder: Path, *options: str) -> "Iterator[subprocess.Popen[str]]":
    """A daemon on the configuration of `folder`, as a process of its own, at the end of its market."""
    with_calendar(folder)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", "run", *options],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            process = quantd(folder, "status", "--json")  # which reads no override of the daemon's
            if process.returncode == 0 and json.loads(process.stdout)["status"] == "ended":
                break
            time.sleep(0.2)
        yield daemon
    finally:
        with suppress(ProcessLookupError):
            daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=30)


def answer(process: Done) -> Any:
    """The one JSON document of a command that went well."""
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)
