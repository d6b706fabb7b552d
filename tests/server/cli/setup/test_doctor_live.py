"""`quantd doctor --live`: every check red for its cause and green without it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from quantd.adapters.exchange.client import WITHDRAWAL_QUERIES, may_withdraw
from quantd.daemon.assembly.loosened import keys_looser, looser
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble_live
from quantd.daemon.cli.places import Place
from quantd.daemon.config import Config, load, read
from quantd.daemon.live.permission import FILE, Finding, doubt
from quantd.risk.limits.catalogue import PROFILES, Limits, Rate, Tail, override
from quantd.server.cli.setup.doctor_live import _client, _paper
from quantd.server.cli.setup.rehearsal import alert, deliveries, kill_switch
from quantd.trading.sessions import DAY_NS
from tests.support.command_line import ROOT, quantd
from tests.support.live_runs import NOW as LIVE_NOW
from tests.support.live_runs import TEXT as SHADOW
from tests.support.live_runs import slices, stretch
from tests.support.remote_venue import Script
from tests.support.running_server import running_server
from tests.support.sink_servers import KEY, Receiver
from tests.support.venues.alpaca import AlpacaServer, listed

TEXT = """
[quantd]
mode = "live"
live = true
[universe]
symbols = ["AAPL", "MSFT"]
[feed]
kind = "alpaca"
interval = "1d"
warmup = 70
[broker]
kind = "alpaca"
cash = "100000.00"
url = "{url}"
[risk]
max_position_weight = 0.35
max_gross_exposure = 1.0
max_drawdown = 0.25
max_daily_loss = 0.08
var = {{ limit = 0.03 }}
correlation = {{ joint_weight = 0.6 }}
[[agents]]
name = "mix"
policy = "equal_weight"
capital = 0.9
profile = "balanced"
[bus]
port = 0
[api]
port = 0
[live]
max_account_notional = "10000.00"
max_order_notional = "1000.00"
max_orders_per_day = 20
{more}
"""


def live(url: str = "http://127.0.0.1:1", more: str = "", *sets: str) -> Config:
    return read(TEXT.format(url=url, more=more), known_names(), sets=sets)


def checks_of(done: Any) -> dict[str, list[tuple[bool | None, str]]]:
    results: dict[str, list[tuple[bool | None, str]]] = {}
    for check in json.loads(done.stdout)["checks"]:
        results.setdefault(check["name"], []).append((check["ok"], check["text"]))
    return results


venue = running_server(lambda: listed(AAPL="100.00", MSFT="100.00"))


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    ("days", "change", "ok"),
    [
        ("5", ("", ""), True),
        ("8", ("", ""), False),
        ("5", ('name = "mix"', 'name = "other"'), False),
        ("5", ('"S2"', '"S9"'), False),
        ("5", ("calendar = ", 'benchmark = "S1"\ncalendar = '), True),
    ],
)
async def test_a_paper_run_counts_with_the_same_agents_on_the_same_market(
    tmp_path: Path, days: str, change: tuple[str, str], ok: bool
) -> None:
    """Six sessions in shadow, then a look from a live configuration."""
    names = known_names()
    text = SHADOW.replace("{policy}", "equal_weight")
    of = assemble_live(read(text.replace("{broker}", "paper"), names), LIVE_NOW)
    await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(5), None, LIVE_NOW), None)
    wanted = text.replace("{broker}", "alpaca").replace(*change) if change[0] else text.replace("{broker}", "alpaca")
    config = read(f'[quantd]\nmode = "live"\n{wanted}', names, sets=(f"live.paper_days={days}",))
    paper_check = _paper(config, Place(tmp_path, tmp_path))
    assert paper_check.ok is ok, paper_check.text
    if ok:
        assert "6 sessions" in paper_check.text


def test_no_store_is_no_paper_run(tmp_path: Path) -> None:
    assert _paper(live(), Place(tmp_path, tmp_path)).ok is False


async def test_a_red_doctor_names_each_cause_and_permits_nothing(tmp_path: Path, venue: AlpacaServer) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        TEXT.format(url=venue.url, more="")
        .replace("max_orders_per_day = 20\n", "")
        .replace("[risk]\n", "[risk]\nmax_open_orders = 5\n")
        .replace("max_drawdown = 0.25", "max_drawdown = 0.5")
    )
    (tmp_path / "state").mkdir(mode=0o777)
    os.chmod(tmp_path / "state", 0o777)
    done = await asyncio.to_thread(quantd, tmp_path, "doctor", "--live", "--json")
    assert done.returncode == 1
    checks = checks_of(done)
    assert checks["mode"] == [(True, 'mode = "live"')]
    assert "max_orders_per_day" in checks["caps"][0][1]
    assert checks["keys"][0][0] is False
    assert "QUANTD_ALPACA_KEY" in checks["keys"][0][1]
    assert checks["venue"][0][0] is False
    assert "chmod go-w" in checks["rights"][0][1]
    assert "of 20" in checks["paper run"][0][1] or "trade on paper" in checks["paper run"][0][1]
    assert checks["limits"][0] == (
        False,
        "looser than the shipped ones: risk.max_drawdown; tighten or remove them",
    )
    assert checks["alerts"][0][0]
    assert [ok for ok, _ in checks["kill switch"]] == [True, True]
    assert checks["systemd"][0][0] is not False
    config = load(path, known_names())
    assert "the last run failed: " in doubt(tmp_path / "state", config)
    kept = json.loads((tmp_path / "state" / FILE).read_text())
    assert set(kept["failed"]) >= {"caps", "keys", "venue", "rights", "paper run", "limits"}
    assert Finding(**{**kept, "failed": tuple(kept["failed"])}).whole()


@pytest.mark.long
async def test_with_its_keys_the_account_answers(tmp_path: Path, venue: AlpacaServer) -> None:
    path = tmp_path / "config.toml"
    path.write_text(TEXT.format(url=venue.url, more=""))
    keys = {"QUANTD_ALPACA_KEY": venue.key, "QUANTD_ALPACA_SECRET": venue.secret}
    done = await asyncio.to_thread(quantd, tmp_path, "doctor", "--live", "--json", env=keys)
    checks = checks_of(done)
    assert checks["keys"] == [(True, "are set")]
    assert checks["account"][0][0], checks
    assert checks["currency"] == [(True, "USD")]
    assert checks["clock"][0][0]
    assert checks["universe"][0][0]
    assert checks["withdrawal"][0][0]
    wrong = await asyncio.to_thread(
        quantd, tmp_path, "doctor", "--live", "--json", "--set", 'universe.symbols=["AAPL", "NONE"]', env=keys
    )
    assert checks_of(wrong)["venue"][0][0] is False
    assert "NONE" in checks_of(wrong)["venue"][0][1]


def test_the_shipped_configuration_is_no_looser_than_itself() -> None:
    assert looser(load(ROOT / "config.toml", known_names())) == []
    assert looser(live()) == []


@pytest.mark.parametrize(
    ("sets", "keys"),
    [
        ("risk.max_gross_exposure=1.5", ["risk.max_gross_exposure"]),
        ("risk.in_flight=0.1", ["risk.in_flight"]),
        ("risk.var.limit=0.04", ["risk.var"]),
        ("risk.collar=0.1", ["risk.collar"]),
        ("agents.0.limits.max_position_weight=0.31", ["agents.mix.max_position_weight"]),
        ("agents.0.limits.max_position_weight=0.30", []),
        ("agents.0.limits.allow_short=true", ["agents.mix.allow_short"]),
        ("risk.max_drawdown=0.2", []),
        ("risk.cash_reserve=0.1", []),
    ],
)
def test_each_looser_key_is_named_and_no_tighter_one(sets: str, keys: list[str]) -> None:
    assert looser(live("http://127.0.0.1:1", "", sets)) == keys


def test_an_agent_without_a_profile_is_held_to_balanced() -> None:
    text = TEXT.format(url="http://127.0.0.1:1", more="").replace('profile = "balanced"\n', "")
    limits = looser(read(text, known_names()))
    assert "agents.mix.max_drawdown" in limits
    assert "agents.mix.max_sector_weight" not in limits, "the universe names no sector"


def test_a_limit_that_is_off_is_looser_and_one_that_nobody_ships_is_not() -> None:
    balanced = PROFILES["balanced"]
    assert keys_looser(override(balanced, var=None), balanced) == ["var"]
    assert keys_looser(override(balanced, order_rate=Rate(5), max_turnover=0.5), balanced) == []
    assert keys_looser(override(balanced, var=Tail(limit=0.06, confidence=0.99)), balanced) == ["var"]
    assert keys_looser(override(balanced, var=Tail(limit=0.04, confidence=0.99)), balanced) == []
    assert keys_looser(Limits(in_flight=0.5), Limits()) == ["in_flight"]


async def test_the_kill_switch_is_rehearsed_on_parts_that_are_thrown_away(tmp_path: Path) -> None:
    sets = ("quantd.mode=shadow", "broker.kind=paper")
    tried = await kill_switch(live("http://127.0.0.1:1", "", *sets), _client)
    assert [(t.what, t.failed) for t in tried] == [("API", ""), ("file HALT", "")]
    with pytest.raises(ValueError, match=r"broker\.kind is not paper"):
        await kill_switch(live(), _client)


async def test_a_kill_switch_that_does_nothing_is_found() -> None:
    def deaf(folder: Path) -> Any:
        return lambda path, body: None

    sets = ("quantd.mode=shadow", "broker.kind=paper")
    tried = await kill_switch(live("http://127.0.0.1:1", "", *sets), deaf)
    assert "nothing was halted" in tried[0].failed


async def test_an_alert_goes_there_and_back_or_says_why_not() -> None:
    assert (await alert(live())).failed == ""
    away = live("http://127.0.0.1:1", "", "bus.kind=mqtt", "bus.url=mqtt://127.0.0.1:1")
    assert "127.0.0.1:1" in (await alert(away.__class__(away.document, away.source))).failed


async def test_a_test_alert_reaches_each_sink_or_the_check_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    await receiver.start()
    monkeypatch.setenv("QUANTD_WEBHOOK_KEY", KEY)
    config = live("http://127.0.0.1:1", "", f"alerts.sinks.webhook.url={receiver.url}")
    (tried,) = await deliveries(config)
    assert (tried.what, tried.failed) == ("webhook", "")
    assert [(delivery.level, delivery.kind) for delivery in receiver.taken] == [("INFO", "rehearsal")]
    await receiver.stop()
    (tried,) = await deliveries(config)
    assert tried.failed == "webhook: the receiver cannot be reached (ClientConnectorError)"
    assert await deliveries(live()) == []


class Exchange:
    """An exchange that answers as its documentation says."""

    def __init__(self, id: str, answer: object) -> None:
        self.id = id
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        assert name == WITHDRAWAL_QUERIES[self.id][0]

        async def ask() -> object:
            return self._answer

        return ask


@pytest.mark.parametrize(
    ("id", "answer", "may"),
    [
        ("binance", {"enableWithdrawals": True}, True),
        ("binance", {"enableWithdrawals": False}, False),
        ("binance", {}, True),
        ("bybit", {"result": {"permissions": {"Wallet": ["AccountTransfer", "Withdraw"]}}}, True),
        ("bybit", {"result": {"permissions": {"Wallet": []}}}, False),
        ("okx", {"data": [{"perm": "read_only,trade"}]}, False),
        ("okx", {"data": [{"perm": "read_only,withdraw,trade"}]}, True),
        ("kraken", None, None),
    ],
)
async def test_a_key_that_may_withdraw_is_found_where_the_exchange_says(
    id: str, answer: object, may: bool | None
) -> None:
    assert await may_withdraw(Exchange(id, answer)) is may  # type: ignore[arg-type]
