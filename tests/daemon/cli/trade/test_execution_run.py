"""Minute bars through the command line: configured, run, replayed, explained and compared with a backtest."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions as calendar_sessions
from quantd.daemon.config import ConfigError, read
from tests.support.command_line import CONFIG as DAILY
from tests.support.command_line import answer, one_agent, quantd, write
from tests.support.known_names import KNOWN

MINUTES = 'interval = "1m"\nwarmup = 0\npace = "fast"\nat_end = "stop"'
CONFIG = one_agent(("AAA", "BBB"), feed=MINUTES, path="minutes.parquet").replace('"session"', '"close"')
CONFIG = CONFIG.replace("capital = 1.0", "capital = 0.5").replace(
    "[risk]", "commission_bp = 1.0\nspread_bp = 2.0\n[risk]"
)
CONFIG += """
[execution]
style = "twap"
over = "30m"
slices = 3
[[schedules]]
name = "morning"
do = "rebalance"
at = "open+60m"
agents = ["even"]
"""


def bars(folder: Path) -> None:
    """Three sessions of minutes for two symbols; synthetic, by a seed."""
    rng = np.random.default_rng(11)
    sessions = calendar_sessions("XNYS", date(2024, 3, 4), date(2024, 3, 6))
    ts = np.concatenate(
        [np.arange(a + 60 * 10**9, b + 1, 60 * 10**9) for a, b in zip(sessions.open_ns, sessions.close_ns, strict=True)]
    )
    frames = []
    for symbol in ("AAA", "BBB"):
        close = np.round(50 * np.exp(rng.normal(0, 0.0005, len(ts)).cumsum()), 2)
        open_ = np.concatenate([close[:1], close[:-1]])
        frames.append(
            pl.DataFrame(
                {
                    "ts": pl.from_epoch(pl.Series(ts), "ns").dt.replace_time_zone("UTC"),
                    "symbol": [symbol] * len(ts),
                    "open": open_,
                    "high": np.maximum(open_, close) + 0.01,
                    "low": np.minimum(open_, close) - 0.01,
                    "close": close,
                    "volume": rng.integers(1_000, 5_000, len(ts)).astype(float),
                }
            )
        )
    pl.concat(frames).sort("ts", "symbol").write_parquet(folder / "minutes.parquet")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minutes")
    bars(folder)
    write(folder, CONFIG)
    return folder, answer(quantd(folder, "run", "--json", "--quiet"))


@pytest.mark.long
def test_a_run_a_backtest_and_a_replay_are_the_same(ran) -> None:
    folder, done = ran
    assert done["orders"] == 6
    assert answer(quantd(folder, "backtest", "--json", "--no-compare"))["digest"] == done["digest"]
    assert answer(quantd(folder, "replay", "--json"))["digest"] == done["digest"]
    assert answer(quantd(folder, "replay", "--against", "backtest", "--json"))["same"] is True


@pytest.mark.long
def test_orders_and_why_tell_the_shortfall_of_a_child_and_of_its_whole(ran) -> None:
    folder, _ = ran
    orders = answer(quantd(folder, "orders", "--json", "--last", "100"))["orders"]
    first = orders[0]
    assert {o["shortfall"]["style"] for o in orders} == {"twap"}
    explanation = answer(quantd(folder, "why", first["id"], "--json"))
    assert explanation["style"] == "twap"
    assert explanation["part_of"]
    assert explanation["shortfall"] == first["shortfall"]
    family = [o for o in orders if o["symbol"] == first["symbol"]][:3]
    for part in ("impact", "delay", "fees"):
        assert sum(float(o["shortfall"][part]) for o in family) == pytest.approx(
            float(explanation["whole"][part]), abs=1e-5
        )
    said = quantd(folder, "why", first["id"]).stdout
    assert "executed as twap" in said
    assert said.count("implementation shortfall of") == 2


def test_the_whole_is_explained_too(ran) -> None:
    folder, _ = ran
    rows = answer(quantd(folder, "why", "--json", "--last", "100"))["decisions"]
    decision = rows[0]
    assert decision["n"] == 0
    explanation = answer(quantd(folder, "why", f"{decision['address']}:AAA", "--json"))
    assert (explanation["state"], explanation["style"], explanation["order"], explanation["part_of"]) == (
        "worked",
        "twap",
        "",
        "",
    )
    assert "executed as twap" in quantd(folder, "why", f"{decision['address']}:AAA").stdout


def test_the_report_has_the_shortfall_in_both_forms(ran) -> None:
    folder, _ = ran
    report = answer(quantd(folder, "report", "--json", "--out", "whole.html"))
    assert [row["what"] for row in report["shortfall"]] == ["all", "AAA", "BBB"]
    total = sum(float(row["total"]) for row in report["shortfall"][1:])
    assert float(report["shortfall"][0]["total"]) == pytest.approx(total, abs=1e-5)
    page = (folder / "whole.html").read_text()
    assert "Implementation shortfall" in page
    assert json.dumps(report["shortfall"][0]["total"]).strip('"') in page


@pytest.mark.long
def test_orders_decided_on_a_close_pay_spread_and_slippage_as_impact_and_the_night_as_delay(tmp_path) -> None:
    """The same of `orders`, `why` and the report: recorded bars are read by number."""
    write(tmp_path, DAILY.replace("spread_bp = 0", "spread_bp = 4.0").replace("slippage_bp = 0", "slippage_bp = 1.0"))
    answer(quantd(tmp_path, "run", "--json", "--quiet"))
    orders = answer(quantd(tmp_path, "orders", "--json", "--last", "20"))["orders"]
    done = [o["shortfall"] for o in orders if o["shortfall"]["unfilled"] == "0"]
    assert len(done) > 5
    for cost in done:
        assert cost["note"] == ""
        assert cost["impact_bp"] == pytest.approx(3.0, abs=0.15)
    assert max(abs(cost["delay_bp"]) for cost in done) > 10.0
    explanation = answer(quantd(tmp_path, "why", orders[-1]["id"], "--json"))
    assert explanation["shortfall"] == orders[-1]["shortfall"]
    report = answer(quantd(tmp_path, "report", "--json"))
    assert report["shortfall"][0]["impact_bp"] == pytest.approx(3.0, abs=0.15)
    assert "delay" not in report["unknown"]


@pytest.mark.parametrize(
    ("style", "old", "new", "said"),
    [
        ("twap", 'interval = "1m"', 'interval = "1d"', '= "twap" works orders within a session'),
        ("vwap", "slices = 3", "slices = 40", "= 40 splits over"),
        ("chase", 'interval = "1m"', 'interval = "5m"', "is shorter than a bar"),
        ("participation", 'interval = "1m"', "", '= "participation" works orders within a session'),
    ],
)
def test_bars_that_are_too_coarse_for_a_style_are_refused_with_the_remedy(style, old, new, said) -> None:
    text = CONFIG.replace('style = "twap"', f'style = "{style}"')
    assert text.count(old) == 1
    with pytest.raises(ConfigError, match="execution") as caught:
        read(text.replace(old, new), KNOWN)
    assert said in str(caught.value)
    assert "write" in str(caught.value)


@pytest.mark.parametrize("style", ["open", "close"])
def test_auctions_need_no_finer_bars(style) -> None:
    text = CONFIG.replace('style = "twap"', f'style = "{style}"').replace('interval = "1m"', 'interval = "1d"')
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("over =", "slices =")))
    assert read(text, KNOWN).document.execution.style == style


def test_a_profile_without_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not a volume profile"):
        read(CONFIG.replace("slices = 3", "profile = [0.0, 0.0]"), KNOWN)
