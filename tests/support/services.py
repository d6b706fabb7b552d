"""Programs that some tests need: found, or the test is skipped by name; a failure with QUANTD_REQUIRE_SERVICES=1."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

PROGRAMS = {
    "mosquitto": ("mosquitto", "mosquitto_sub", "mosquitto_pub", "mosquitto_passwd"),
    "chromium": ("chromium",),
    "postgres": ("postgres", "initdb", "pg_ctl"),
    "prometheus": ("promtool",),
    "systemd-analyze": ("systemd-analyze",),
    "nginx": ("nginx",),
    "node": ("node", "npm"),
    "hadolint": ("hadolint",),
}
"""Service -> programs that make it up; the first names it."""

LIGHTER = {"chromium": "chromium-headless-shell"}
"""Program -> one that takes its place where it is installed: a browser without windows takes 0.6 of the CPU time."""

ELSEWHERE = {
    "mosquitto": ["/usr/sbin", "/usr/local/sbin"],
    "chromium": ["/usr/lib/chromium"],
    "postgres": sorted((str(p) for p in Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
    "prometheus": [],
    "systemd-analyze": [],
    "nginx": ["/usr/sbin"],
    "node": [],
    "hadolint": [str(Path(sys.executable).parent)],
}
"""Folders outside PATH where distributions put them."""


def _places(service: str) -> Iterator[str]:
    yield from os.environ.get("PATH", "").split(os.pathsep)
    yield from ELSEWHERE[service]


def find(service: str) -> dict[str, str] | None:
    """Program -> its path, or None when one of them is not on this machine."""
    path = os.pathsep.join(_places(service))
    paths = {
        program: shutil.which(LIGHTER.get(program, program), path=path) or shutil.which(program, path=path)
        for program in PROGRAMS[service]
    }
    return {p: where for p, where in paths.items() if where} if all(paths.values()) else None


def require(service: str) -> dict[str, str]:
    """Program -> its path; skips the test, naming the service, where it is absent."""
    paths = find(service)
    if paths is None:
        unavailable(f"service {service} is not installed (scripts/install-services installs it on Debian)")
    return paths


def unavailable(why: str) -> NoReturn:
    """Skips the test with a reason; a failure with QUANTD_REQUIRE_SERVICES=1."""
    if os.environ.get("QUANTD_REQUIRE_SERVICES") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
