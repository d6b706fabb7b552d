"""A day of a daemon whose market has a split that nobody announced: held over a kill, ended by the command."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.support.command_line import CONFIG, answer, quantd, running, write
from tests.support.market_frames import bars_of, sessions

pytestmark = pytest.mark.long

DAYS, JUMP = 110, 100
SMALL = CONFIG.split("[[schedules]]")[0].split("[[agents]]")


def market(folder: Path) -> None:
    """Three random walks; from the open of session JUMP on, one share of SPY is two."""
    draw = np.random.default_rng(11)
    rows = []
    for symbol in ("SPY", "QQQ", "IWM"):
        close = 100.0 * np.cumprod(1.0 + 0.008 * draw.normal(size=DAYS))
        opened = np.r_[100.0, close[:-1]] * (1.0 + 0.001 * draw.normal(size=DAYS))
        volume = np.full(DAYS, 1e7)
        if symbol == "SPY":
            close[JUMP:], opened[JUMP:], volume[JUMP:] = close[JUMP:] / 2, opened[JUMP:] / 2, 2e7
        high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
        rows += [
            (day, symbol, *(round(float(x[k]), 2) for x in (opened, high, low, close)), float(volume[k]))
            for k, day in enumerate(sessions(DAYS))
        ]
    bars_of(rows).sort("ts", "symbol").write_parquet(folder / "bars.parquet")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    market(tmp_path)
    head, even, *_ = SMALL
    lines = [
        'path = "bars.parquet"' if line.startswith("path") else 'at_end = "wait"' if line.startswith("at_end") else line
        for line in head.splitlines()
        if not line.startswith(("actions", "start", "end", "warmup"))
    ]
    text = "\n".join([*lines, "[[agents]]", even, "[bus]", "port = 0", "[api]", "port = 0", ""])
    write(tmp_path, text.replace("max_position_weight = 0.25", "max_position_weight = 0.5"))
    return tmp_path


def position(folder: Path) -> dict[str, str]:
    rows = answer(quantd(folder, "positions", "--json"))["positions"]
    return next(row for row in rows if row["symbol"] == "SPY")


def test_a_hold_lasts_over_a_kill_until_a_person_names_the_split(place: Path) -> None:
    stopped = quantd(place, "backtest", "--json", "--no-compare")
    assert stopped.returncode == 1, "a backtest of these bars stops"
    with running(place) as daemon:
        now = answer(quantd(place, "status", "--json"))
        assert list(now["jumped"]) == ["SPY"]
        assert "near 2:1" in now["jumped"]["SPY"]
        said = quantd(place, "status").stdout
        assert "SPY is held: the price jumped from" in said
        before = position(place)
        assert "near 2:1" in before["jumped"]
        (incident,) = [
            alert for alert in answer(quantd(place, "alerts", "--json"))["alerts"] if alert["kind"] == "price_jump"
        ][:1]
        assert incident["level"] == "CRITICAL"
        refused = answer(quantd(place, "orders", "--refused", "--json"))
        assert "price_jump" in str(refused)
        assert "before the jump" in str(refused)
        assert "before the jump" in quantd(place, "why", "SPY").stdout
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(30)
    with running(place):
        assert list(answer(quantd(place, "status", "--json"))["jumped"]) == ["SPY"]
        assert position(place) == before
        for wrong, text in (
            (("--symbol", "SPY", "--reason", "x"), "--jump real"),
            (("--symbol", "SPY", "--jump", "2-1", "--reason", "x"), "2:1"),
            (("--symbol", "SPY", "--jump", "1:2", "--reason", "x"), "would make"),
            (("--symbol", "SPY", "--jump", "2:1"), "needs a reason"),
            (("--symbol", "QQQ", "--jump", "2:1", "--reason", "x"), "not held"),
            (("--jump", "2:1", "--reason", "x"), "--symbol"),
        ):
            done = quantd(place, "resume", *wrong)
            assert done.returncode != 0, wrong
            assert text in done.stderr, (wrong, done.stderr)
        buys = quantd(place, "order", "buy", "1", "SPY", "--agent", "even", "--reason", "more", "--json")
        bought = json.loads(buys.stdout)
        assert (bought["allowed"], bought["reason"]) == ("0", "price_jump")
        assert "before the jump" in bought["text"]
        done = quantd(place, "resume", "--symbol", "SPY", "--jump", "2:1", "--reason", "the announcement came late")
        assert (done.returncode, done.stdout.strip()) == (0, "SPY trades again")
        assert answer(quantd(place, "status", "--json"))["jumped"] == {}
        after = position(place)
        assert int(after["qty"]) == 2 * int(before["qty"])
        assert (after["cost"], after["jumped"]) == (before["cost"], "")
    checked = quantd(place, "replay")
    assert checked.returncode == 0, checked.stdout + checked.stderr
