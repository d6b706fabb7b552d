"""The two hypothesis profiles and the cases of a table that `make test` runs."""

import atexit
import ctypes
import gc
import os
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

from quantd.engine_build import finder, state

MEMORY = Path("/dev/shm")
"""A file system in memory, in which no write waits for a disk."""


PROC = Path("/proc/self/statm").exists()


def in_memory() -> bool:
    """Whether the folders of tests fit there, and programs may be started from there."""
    if not os.access(MEMORY, os.W_OK):
        return False
    filesystem = os.statvfs(MEMORY)
    return filesystem.f_bavail * filesystem.f_frsize >= 4 << 30 and not filesystem.f_flag & os.ST_NOEXEC


# the workers of xdist take the variable and the folder from their parent
if "TMPDIR" not in os.environ and in_memory():
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # a test may import onnxruntime before quantd does

# with the libraries that are loaded here, looking for cycles every 700 objects costs 7 % of the time
gc.set_threshold(10_000, 10, 10)
atexit.register(gc.freeze)  # no search for cycles among all objects at the end of a worker

BASE = settings.get_profile("ci" if os.environ.get("CI") else "default")
# no example has a deadline: hypothesis' 200 ms measure the load of the machine
settings.register_profile("quick", BASE, max_examples=25, deadline=None)
# CI draws the same examples each time; `make prove-long` draws new ones, four times as many
settings.register_profile("full", BASE, max_examples=25 if os.environ.get("CI") else 100, deadline=None)
settings.load_profile("quick")  # --hypothesis-profile chooses another

FIRST = frozenset(
    {"test_kills.py", "test_installed.py", "test_kill_switch.py", "test_two_daemons.py", "test_openapi.py"}
)
"""Modules with a test of ten seconds and more: at the end of a run, the other workers would wait for one of them."""


GROWTH: Final = 64 << 20
"""Bytes that a worker grows by before cycles are collected. By itself Python waits until garbage is a quarter of all
objects, which keeps the arrays of some hundred worlds."""

_bytes_then = [0]
"""Size of the worker after the last collection."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The number of workers of `-n auto`: one more than processors, twice as many where whole processes, sockets and a
    browser are tested, because these mostly wait."""
    processors = os.cpu_count() or 1
    return 2 * processors if "tests" in config.args else processors + 1


def size() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() if PROC else 0


def pytest_collection_finish() -> None:
    """Notes the size before the first test."""
    _bytes_then[0] = size()


def pytest_runtest_logfinish() -> None:
    """Collects cycles where the worker has grown."""
    if size() > _bytes_then[0] + GROWTH:
        # aiohttp keeps the last 1,024 servers, each with its daemon
        servers = getattr(sys.modules.get("aiohttp.web_app"), "_cached_build_middleware", None)
        if servers is not None:
            servers.cache_clear()
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
        if trim is not None:
            trim(0)
        _bytes_then[0] = size()


def pytest_report_header() -> str:
    """Names the engine that is tested. Ends the run where the checked build was requested and is not there."""
    if finder.variant() == "checked" and finder.loaded() is None:
        pytest.exit(f"QUANTD_CHECKED is set, and {state.reason()}", returncode=1)
    return f"engine: {state.label()}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the cases beyond the first `count` of a test with `@pytest.mark.quick_cases(count)` as `long`, and all but
    every n-th of one with `@pytest.mark.one_of(n)` as `slow`; skips tests that patch the engine where it is compiled,
    and puts the longest tests first."""
    items.sort(key=lambda item: item.path.name not in FIRST)
    if finder.loaded() is not None:
        for item in items:
            if item.get_closest_marker("uncompiled"):
                item.add_marker(pytest.mark.skip(reason="patches the engine; QUANTD_UNCOMPILED=1 runs it"))
    if settings.get_current_profile_name() == "quick":
        # else the first property of a worker parses each imported module for numbers to try
        providers._get_local_constants = providers.Constants
    case_counts: Counter[str] = Counter()
    for item in items:
        quick, one_of = item.get_closest_marker("quick_cases"), item.get_closest_marker("one_of")
        if quick is None and one_of is None:
            continue
        test = item.nodeid.partition("[")[0]
        case = case_counts[test]
        case_counts[test] += 1
        if quick is not None and case >= quick.args[0]:
            item.add_marker(pytest.mark.long)
        if one_of is not None and case % one_of.args[0]:
            item.add_marker(pytest.mark.slow)
