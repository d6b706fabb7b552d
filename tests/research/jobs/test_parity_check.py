"""A scheduled comparison of a day with a backtest of the same bars, beside a daemon that trades."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from quantd.research.jobs.parity_check import untraded_text
from tests.support.calendar_files import with_calendar
from tests.support.command_line import CONFIG, answer, environment, quantd, write

TEXT = CONFIG.replace('at_end = "stop"', 'at_end = "wait"').replace("start = 2019-01-02", "start = 2019-03-28").replace(
    'policy = "equal_weight"', 'policy = "mine.py:act"'
) + '[log]\nformat = "json"\n[[schedules]]\nname = "parity"\ndo = "parity"\nat = "close"\n'  # fmt: skip
DAILY = "def act(view):\n    return [0.1 + 0.1 * (view.time // 86_400_000_000_000 % 2), 0.1, 0.1]\n"
OTHER = DAILY.replace("0.1 * (", "0.05 * (")


@contextmanager
def trading(folder, text=TEXT):
    write(with_calendar(folder), text)
    (folder / "mine.py").write_text(DAILY)
    log = folder / "log.txt"
    with log.open("w") as file:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet"], cwd=folder, stdout=file, stderr=file,
            env=environment() | {k: v for k, v in os.environ.items() if k == "PYTHONPATH"},
        )  # fmt: skip
    try:
        yield log
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)


def found_by_the_job(log, count=1):
    """The result of the parity job's last comparison, of `count`, and the alerts of the run."""
    deadline = time.monotonic() + 240
    while True:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        # bars still run at the first ones
        ended = [line for line in lines if line.get("job") == "parity" and "2019-03-29" in str(line)]
        if len(ended) >= count:
            break
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    time.sleep(0.5)
    return ended[-1]["done"], answer(quantd(log.parent, "alerts", "--json"))["alerts"]


@pytest.mark.long
def test_a_day_as_in_a_backtest_raises_nothing_and_one_that_differs_is_an_alert_with_its_causes(tmp_path):
    with trading(tmp_path) as log:
        done, alerts = found_by_the_job(log)
        assert "all as in a backtest" in done
        assert " 0 decisions" not in done
        assert not [entry for entry in alerts if entry["kind"] == "upkeep"]
        # a backtest of the file that the policy has now decides otherwise
        (tmp_path / "mine.py").write_text(OTHER)
        assert quantd(tmp_path, "schedule", "run", "parity", "--reason", "x").returncode == 0
        done, alerts = found_by_the_job(log, 2)
    assert "decisions differ" in done
    (alert,) = [entry for entry in alerts if entry["kind"] == "upkeep" and "2019-03-29" in entry["text"]]
    assert alert["level"] == "WARNING"
    assert "decision " in alert["text"]
    assert "--against backtest --day" in alert["text"]


@pytest.mark.long
def test_a_run_whose_changes_are_all_below_min_trade_is_an_alert_with_the_key_and_a_value(tmp_path):
    text = TEXT.replace('policy = "momentum"', 'policy = "mine.py:act"').replace("params = { lookback = 60 }\n", "")
    text = text.replace('policy = "mine.py:act"', 'policy = "mine.py:act"\nmin_trade = 0.4')
    with trading(tmp_path, text) as log:
        done, alerts = found_by_the_job(log)
    assert "nothing was ordered since the run began" in done
    (alert,) = [entry for entry in alerts if entry["kind"] == "upkeep" and "2019-03-29" in entry["text"]]
    assert "min_trade = 40.00%" in alert["text"]
    assert "write min_trade = " in alert["text"]


SMALL = ["even: changes below min_trade = 0.50% of its equity are not traded, write min_trade = 0.001"]


def test_orders_of_which_none_was_ever_filled_are_no_result_though_a_backtest_has_the_same():
    assert untraded_text({"expired": 7}, []).startswith(
        "7 orders of the run expired, and none was ever filled. A volume"
    )
    assert untraded_text({"expired": 7, "working": 1}, SMALL).startswith("7 orders of the run expired")


def test_a_run_without_orders_is_no_result_where_its_changes_are_too_small():
    assert untraded_text({}, SMALL) == f"nothing was ordered since the run began. {SMALL[0]}"


@pytest.mark.parametrize(("orders", "small"), [(None, SMALL), ({}, []), ({"working": 1}, SMALL)])
def test_a_run_that_traded_or_may_yet_trade_is_left_alone(orders, small):
    assert untraded_text(orders, small) == ""
