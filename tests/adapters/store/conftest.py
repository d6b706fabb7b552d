"""One store in each database: SQLite in a folder, PostgreSQL in a schema of a cluster of its own, where it is installed."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.store.desk import Desk, new_schema
from tests.services import require


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """URL of a PostgreSQL server that ends with the session."""
    programs = require("postgres")
    pytest.importorskip("psycopg", reason="psycopg, the PostgreSQL driver, is not installed")
    folder = Path("/tmp") / f"quantd-pg-{os.getpid()}"  # a socket's path must be short, and its user reach it
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
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c shared_buffers=16MB"
    try:
        call(programs["initdb"], "-D", data, "-A", "trust", "-U", "quantd", "--no-sync", "--locale=C.UTF-8")
        call(ctl, "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://quantd@/postgres?host={folder}"
        finally:
            call(ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(cluster: str, tmp_path: Path) -> Desk:
    return Desk(new_schema(cluster), tmp_path / "state")


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    if request.param == "sqlite":
        return Desk(tmp_path, tmp_path)
    found: Desk = request.getfixturevalue("postgres")
    return found
