"""One new file adds a limit: the files of docs/develop/extending.md run in a copy of the package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import copy_package, environment
from tests.support.recipes import blocks_of

LIMITED = """
[universe]
symbols = ["SPY", "QQQ", "BAC"]
[feed]
path = "data/us_daily.parquet"
stamps = "session"
start = 2019-01-02
end = 2019-01-10
warmup = 10
pace = "fast"
at_end = "stop"
[broker]
cash = "100000.00"
[risk]
{limits}
[[agents]]
name = "one"
policy = "equal_weight"
capital = 0.9
profile = "research"
[api]
port = 0
[bus]
port = 0
"""


def quantd_limited(root: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    variables = environment(root) | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "quantd.daemon.cli", *words]
    return subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, timeout=100)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_package(tmp_path_factory.mktemp("limited"))
    cap, row = blocks_of("A limit")
    (root / "risk/limits/price_ceiling.py").write_text(cap)
    (root / "risk/limits/long_exposure.py").write_text(row)
    return root


@pytest.mark.long
def test_one_file_adds_a_cap_that_is_configured_enforced_and_explained(limited: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(LIMITED.format(limits="max_price = 200"))
    assert quantd_limited(limited, tmp_path, "config", "check").returncode == 0
    for wrong, remedy in (("max_price=-1", "is negative"), ("max_prise=1", "Did you mean max_price?")):
        refused = quantd_limited(limited, tmp_path, "config", "check", "--set", f"risk.{wrong}")
        assert (refused.returncode, remedy in refused.stderr) == (78, True)
    assert quantd_limited(limited, tmp_path, "run").returncode == 0
    risk = json.loads(quantd_limited(limited, tmp_path, "risk", "--json").stdout)
    room = {symbol_row["symbol"]: (symbol_row["held"], symbol_row["buy"]["reason"]) for symbol_row in risk["room"]}
    assert (room["SPY"], room["QQQ"][1], room["BAC"][1]) == (("0", "price"), "cash", "cash")
    assert {limit_row["limit"]: limit_row["bound"] for limit_row in risk["limits"]}["max_price"] == 200.0
    why = quantd_limited(limited, tmp_path, "why", "SPY").stdout
    assert "refused, no order was made" in why
    assert "the price is above max_price" in why
