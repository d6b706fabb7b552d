"""A PostgreSQL server of the test session's own: started when first asked for, stopped when the process ends."""

import atexit
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.services import require


def postgres_server(*, durable: bool = False) -> tuple[str, Callable[[], None]]:
    """(URL, what kills the server without its writing anything more and starts it again); `durable`: one that syncs its
    commits and has the settings it comes with. Skips where there is none."""
    require("postgres")
    pytest.importorskip("psycopg", reason="psycopg, the PostgreSQL driver, is not installed")
    return _started(durable)


@lru_cache(maxsize=2)
def _started(durable: bool) -> tuple[str, Callable[[], None]]:
    programs = require("postgres")
    folder = (
        Path("/tmp") / f"quantd-pg-{os.getpid()}{'-durable' * durable}"
    )  # a socket's path must be short, and its user reach it
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    demote: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        demote = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def call(*words: str) -> None:
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **demote)

    ctl, data = programs["pg_ctl"], f"{folder}/data"
    options = f"-k {folder} -c listen_addresses=" + ("" if durable else " -c fsync=off -c shared_buffers=16MB")
    start = (ctl, "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
    stop = (ctl, "-D", data, "-m", "immediate", "stop")

    def end() -> None:
        subprocess.run(stop, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, **demote)
        shutil.rmtree(folder, ignore_errors=True)

    def crash() -> None:
        call(*stop)
        call(*start)

    atexit.register(end)
    call(programs["initdb"], "-D", data, "-A", "trust", "-U", "quantd", "--no-sync", "--locale=C.UTF-8")
    call(*start)
    return f"postgresql://quantd@/postgres?host={folder}", crash
