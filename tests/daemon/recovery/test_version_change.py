"""An upgrade with three open orders, and the way back: the same run, and each order is filled once."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.running_daemon import running, until
from tests.support.checkout import copy_package
from tests.support.checkout import environment as of_copy
from tests.support.command_line import CONFIG, environment, quantd

SYMBOLS = ("SPY", "QQQ", "IWM")
TRY_AGAIN = 75  # what a command ends with before the first close


def newer(tmp_path: Path) -> dict[str, str]:
    """The environment of a later version: other numbers, and another digest of the source that decides."""
    root = copy_package(tmp_path)
    version = root / "daemon" / "runtime" / "version.py"
    version.write_text(version.read_text().replace('VERSION = "', 'VERSION = "9.'))
    policies = root / "strategies" / "policies" / "__init__.py"
    policies.write_text(policies.read_text() + "\n# a later version\n")
    return environment() | {"PYTHONPATH": of_copy(root)["PYTHONPATH"], "QUANTD_UNCOMPILED": "1"}


def status(folder: Path) -> dict[str, Any]:
    done = quantd(folder, "status", "--json")
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def orders(folder: Path, state: str) -> list[tuple[str, str, str]]:
    """(order, symbol, quantity) of each order in a state."""
    rows = json.loads(quantd(folder, "orders", "--json", "--last", "1000").stdout)["orders"]
    return sorted((row["id"], row["symbol"], row["qty"]) for row in rows if row["state"] == state)


@contextmanager
def daemon(folder: Path, env: dict[str, str]) -> Iterator[None]:
    text = CONFIG + '[manual]\ncapital = 0.1\nprofile = "research"\n'
    with running(folder, text, "--set", "feed.pace=0.01/s", env=env) as started:
        yield
        assert started.stop() == 0, started.written("err")


def bought(folder: Path) -> list[tuple[str, str, str]]:
    """Three orders by hand, sent once the daemon has its first close; they stay open until the next session."""
    limit = time.monotonic() + 60
    for symbol in SYMBOLS:
        sent = quantd(folder, "order", "buy", "3", symbol, "--reason", "a test")
        while sent.returncode == TRY_AGAIN and time.monotonic() < limit:
            time.sleep(0.2)
            sent = quantd(folder, "order", "buy", "3", symbol, "--reason", "a test")
        assert sent.returncode == 0, sent.stderr
    mine = [order for order in orders(folder, "working") if order[2] == "3"]
    assert sorted(symbol for _, symbol, _ in mine) == sorted(SYMBOLS)
    return mine


def filled(folder: Path, mine: list[tuple[str, str, str]]) -> None:
    until(lambda: set(mine) <= set(orders(folder, "filled")), "an order was not filled")


@pytest.mark.long
@pytest.mark.requirement("R-217", "R-228")
def test_three_open_orders_are_filled_once_after_an_upgrade_and_after_a_roll_back(tmp_path: Path) -> None:
    later = newer(tmp_path)
    with daemon(tmp_path, environment()):
        run, first = status(tmp_path)["run"], bought(tmp_path)
    with daemon(tmp_path, later):
        assert status(tmp_path)["version"].startswith("9.0.")
        filled(tmp_path, first)
        second = bought(tmp_path)
    with daemon(tmp_path, environment()):
        filled(tmp_path, second)
        assert status(tmp_path)["run"] == run
    fills = quantd(tmp_path, "report", "--export", "fills").stdout.splitlines()
    assert [sum(order in line for line in fills) for order, _, _ in (*first, *second)] == [1] * 6
    checked = json.loads(quantd(tmp_path, "doctor", "--store", "--json").stdout)["checks"]
    assert [check["ok"] for check in checked if check["name"] == "store"] == [True]
