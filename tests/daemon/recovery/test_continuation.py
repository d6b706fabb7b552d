"""An account carried on under another universe or other agents: to the unit, by name, and never lost on the way."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from quantd.adapters.calendars import day_ns
from quantd.adapters.store.handle import Store
from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.parts import assemble_live
from quantd.daemon.engine import step
from quantd.daemon.engine.agents.carry_over import carry_of, unfit
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.state.stop_records import Own
from quantd.daemon.recovery.continuation import INTO
from quantd.daemon.recovery.replay import saved_config
from quantd.risk.limits.catalogue import PROFILES, Limits, Protective, override
from quantd.risk.switch import REDUCE
from quantd.trading.codec import decode
from quantd.trading.effects import Publish
from quantd.trading.events import Carried, Operator, Started
from quantd.trading.instruments import Instrument, Universe
from tests.support.command_line import CONFIG, answer, environment, quantd, write
from tests.support.engine import CASH, World, block, sessions, walk
from tests.support.venues.served import served

FIRST = CONFIG
LATER = CONFIG.replace("start = 2019-01-02", "start = 2019-04-01").replace("end = 2019-03-29", "end = 2019-06-28")
WIDER = LATER.replace('["SPY", "QQQ", "IWM"]', '["AAPL", "IWM", "SPY", "QQQ"]')


def account(folder: Path) -> dict[str, object]:
    return answer(quantd(folder, "status", "--json"))


def begun(folder: Path, second: str, *more: str) -> tuple[dict, dict]:
    """A run that ended, and what a start with `second` then gives."""
    write(folder, FIRST)
    first = answer(quantd(folder, "run", "--json", "--quiet"))
    write(folder, second)
    return first, answer(quantd(folder, "run", "--json", "--quiet", *more))


@pytest.mark.long
def test_another_universe_goes_on_with_the_same_positions_and_cash_and_its_run_replays(tmp_path: Path) -> None:
    idle = WIDER.replace('policy = "equal_weight"', 'policy = "hold"').replace('policy = "momentum"', 'policy = "hold"')
    idle = idle.replace("params = { lookback = 60 }", "")
    first, second = begun(tmp_path, idle, "--carry")
    assert second["run"] != first["run"]
    assert second["positions"] == first["positions"]
    assert float(second["cash"]) >= float(first["cash"])  # dividends
    assert second["orders"] == 0
    again = answer(quantd(tmp_path, "replay", "--json"))
    assert again["same"]
    assert again["digest"] == second["digest"]
    old = answer(quantd(tmp_path, "replay", first["run"], "--config", str(write_first(tmp_path)), "--json"))
    assert old["digest"] == first["digest"]
    assert quantd(tmp_path, "doctor", "--store").returncode == 0


@pytest.mark.long
def test_the_same_symbols_and_agents_on_other_bars_are_carried_over_too(tmp_path: Path) -> None:
    idle = LATER.replace('policy = "equal_weight"', 'policy = "hold"').replace('policy = "momentum"', 'policy = "hold"')
    first, second = begun(tmp_path, idle.replace("params = { lookback = 60 }", ""), "--carry")
    assert (second["run"] != first["run"], second["positions"]) == (True, first["positions"])
    other = quantd(tmp_path, "run", "--json", "--quiet", "--set", "feed.end=2019-06-14")
    assert (other.returncode, "carry the account over with --carry" in other.stderr) == (78, True)


def write_first(folder: Path) -> Path:
    path = folder / "first.toml"
    path.write_text(FIRST)
    return path


@pytest.mark.long
def test_bars_and_actions_before_the_new_start_are_history_and_change_no_position(tmp_path: Path) -> None:
    stops = "max_drawdown = 0.25\nprotective = { stop_loss = 0.05, trailing = true }"
    first, second = (text.replace("max_drawdown = 0.25", stops) for text in (FIRST, WIDER))
    write(tmp_path, first)
    before = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    write(tmp_path, second)
    after = answer(quantd(tmp_path, "run", "--json", "--quiet", "--carry"))
    store = Store.open(tmp_path / "state")
    try:
        reader = Reader.open(tmp_path / "state", after["run"])
        start = day_ns(date(2019, 4, 1))
        assert before["positions"]
        assert [booking for booking in reader.bookings() if booking.ts < start] == [], (
            "dividends of the warm-up are in the cash"
        )
        assert [alert for alert in reader.alerts() if alert.kind == "protective" and alert.ts < start] == []
        assert [order for order in reader.orders() if order.ts < start] == []
    finally:
        store.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("second", "says"),
    [
        (LATER.replace('["SPY", "QQQ", "IWM"]', '["SPY", "QQQ"]'), "IWM is held and not in"),
        (FIRST.replace('["SPY", "QQQ", "IWM"]', '["SPY", "QQQ", "IWM", "AAPL"]'), "start to a later date"),
        (WIDER.replace('name = "even"', 'name = "odd"'), "agent even holds positions"),
        (WIDER + '[[universe.instruments]]\nsymbol = "SPY"\nlot = "0.1"\n', "lot size has changed"),
        (WIDER.replace("capital = 0.4", "capital = 0.3"), "capital = 0.3 moves no money in this run, which has 0.4"),
    ],
)
def test_what_cannot_be_carried_on_is_refused_and_nothing_has_changed(tmp_path: Path, second: str, says: str) -> None:
    write(tmp_path, FIRST)
    first = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    write(tmp_path, second)
    done = quantd(tmp_path, "run", "--json", "--quiet", "--carry")
    assert (done.returncode, done.stdout) == (78, "")
    assert says in done.stderr
    write(tmp_path, FIRST)
    assert answer(quantd(tmp_path, "run", "--json", "--quiet"))["digest"] == first["digest"]


@pytest.mark.long
def test_without_carry_another_universe_is_refused_with_the_way_on(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    answer(quantd(tmp_path, "run", "--json", "--quiet"))
    write(tmp_path, WIDER)
    done = quantd(tmp_path, "run", "--json", "--quiet")
    assert done.returncode == 78
    assert "--carry" in done.stderr


@pytest.mark.long
def test_a_crash_between_the_old_end_and_the_new_beginning_goes_on_with_the_carrying(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    first = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    with Store.open(tmp_path / "state") as store:
        store.finish(first["run"], 1, INTO + "newrun01")
    write(tmp_path, WIDER)
    second = answer(quantd(tmp_path, "run", "--json", "--quiet"))  # nobody has to say it again
    assert second["run"] == "newrun01"
    assert float(second["equity"]) > 0.9 * float(first["equity"])
    third = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    assert third["digest"] == second["digest"]


def rules(symbols: tuple[str, ...], agents: dict[str, int]) -> Rules:
    universe = Universe(tuple(Instrument(s, calendar="X") for s in symbols), calendar="X")
    agent_rules = tuple(AgentRules(name, capital * 1_000_000, Limits()) for name, capital in agents.items())
    return Rules(universe, (sessions(30),), (0,) * len(symbols), agent_rules, Limits(), CASH * 1_000_000)


def test_books_switches_and_marks_are_carried_by_name_and_agents_that_are_gone_leave_their_cash() -> None:
    world = World(
        block(walk(30, 3, 4)), [lambda v: np.array([0.3, 0.3, 0.0]), lambda v: np.zeros(3)], shares=[0.5, 0.25],
        house=Limits(max_drawdown=0.5),
    ).run()  # fmt: skip
    world.shell.run(Operator(world.shell.state.now, "reduce", "look", "me", "a0"))
    old = world.shell.state
    packed = carry_of(freeze(old), old.universe, ("a0", "a1"), simulated=True)
    new = State(rules(("NEW", "S1", "S0"), {"b": 100_000, "a0": 1}))
    assert unfit(packed, new.rules) == ""
    texts = [effect.text for effect in step(new, Carried(old.now, "old", packed)) if isinstance(effect, Publish)]
    assert ["gone S2" in texts[0], "of a0 that were under way lapsed" in texts[1], len(texts)] == [True, True, 2]
    new.ledger.check()
    assert new.ledger.house.lots == [0, old.ledger.house.lots[1], old.ledger.house.lots[0]]
    assert new.ledger.books[1].lots == new.ledger.house.lots
    assert new.ledger.house.cash_micro == old.ledger.house.cash_micro
    assert new.ledger.books[0].cash_micro == 100_000 * 1_000_000
    spare = old.ledger.books[1].cash_micro + old.ledger.books[2].cash_micro
    assert new.ledger.books[2].cash_micro == spare - 100_000 * 1_000_000
    assert new.equity_micro == old.equity_micro
    assert new.switch.high_water == old.switch.high_water
    assert (new.agents[1].switch.state, new.agents[0].switch.high_water) == (REDUCE, 100_000 * 1_000_000)
    assert freeze(thaw(new.rules, freeze(new))) == freeze(new)


def test_a_new_agent_is_paid_by_the_agents_above_their_shares_in_proportion_and_no_payment_is_a_loss() -> None:
    world = World(
        block(walk(30, 3, 4)), [lambda v: np.array([0.45, 0.45, 0.0]), lambda v: np.zeros(3)], shares=[0.5, 0.5],
        house=Limits(max_drawdown=0.5),
    ).run()  # fmt: skip
    old = world.shell.state
    packed = carry_of(freeze(old), old.universe, ("a0", "a1"), simulated=True)
    part = CASH * 3 // 10
    new = State(rules(("S0", "S1", "S2"), {"a0": CASH * 35 // 100, "a1": CASH * 35 // 100, "b": part}))
    marks = [agent.switch.high_water for agent in old.agents]
    texts = [effect.text for effect in step(new, Carried(old.now, "old", packed)) if isinstance(effect, Publish)]
    new.ledger.check()
    assert new.equity_micro == old.equity_micro
    above = [old.books_micro[k] - CASH * 350_000 * old.equity_micro // (CASH * 1_000_000) for k in (0, 1)]
    owed = [part * 1_000_000 * amount // sum(above) for amount in above]
    free = old.ledger.books[0].cash_micro
    paid = [old.books_micro[k] - new.books_micro[k] for k in (0, 1)]
    assert (paid[0], abs(paid[1] - owed[1]) <= 1) == (min(free, paid[0]), True), "a1 has cash, a0 has what it holds"
    assert new.books_micro[2] == sum(paid)
    assert sum(new.owed) == 0
    assert -new.owed[2] == part * 1_000_000 - sum(paid)
    assert "b lacks" in texts[-1]
    assert "follows once it is sold" in texts[-1]
    for k in (0, 1):  # a loss stays the same fraction
        ratio = new.agents[k].switch.high_water / marks[k]
        assert ratio == pytest.approx(new.books_micro[k] / old.books_micro[k], rel=1e-9)
    assert freeze(thaw(new.rules, freeze(new))) == freeze(new)


@pytest.mark.long
def test_what_has_another_symbol_now_is_held_under_that(tmp_path: Path) -> None:
    idle = LATER.replace('policy = "equal_weight"', 'policy = "hold"').replace('policy = "momentum"', 'policy = "hold"')
    idle = idle.replace("params = { lookback = 60 }", "").replace('"IWM"', '"AAPL"')
    idle += '[[universe.instruments]]\nsymbol = "AAPL"\nwas = "IWM"\n'
    first, second = begun(tmp_path, idle, "--carry")
    assert second["positions"] == {{"IWM": "AAPL"}.get(s, s): lots for s, lots in first["positions"].items()}


def test_at_a_real_venue_nothing_may_be_open() -> None:
    world = World(block(walk(5, 2, 4)), [lambda v: np.array([0.3, 0.3])])
    for item in world.items():
        world.shell.take(item)
        if world.shell.state.working:
            break
    state = world.shell.state
    assert state.working
    carry_of(freeze(state), state.universe, ("a0",), simulated=True)
    with pytest.raises(ValueError, match="with open orders"):
        carry_of(freeze(state), state.universe, ("a0",), simulated=False)


def test_stops_at_a_real_venue_are_open_orders_and_levels_by_hand_are_not_carried_over() -> None:
    spec = Protective(stop_loss=0.3, at_venue=True)
    world = World(block(walk(6, 2, 4)), [lambda v: v.weights if v.weights.any() else np.array([0.3, 0.3])],
                  house=override(PROFILES["research"], protective=spec)).run()  # fmt: skip
    state = world.shell.state
    state.working.clear()
    assert state.protection.stops
    carry_of(freeze(state), state.universe, ("a0",), simulated=True)
    with pytest.raises(ValueError, match="with open orders"):
        carry_of(freeze(state), state.universe, ("a0",), simulated=False)
    state.protection.own[0, 0] = Own(0, 0, 1, 0, state.now)
    with pytest.raises(ValueError, match="stop or target of an order by hand"):
        carry_of(freeze(state), state.universe, ("a0",), simulated=True)


class Vendor:
    """Bars of five seconds of the last minutes and on, by a formula of their instant."""

    def __init__(self) -> None:
        self.began = int(time.time()) - 600

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/klines", self._klines)
        return app

    async def _klines(self, request: web.Request) -> web.Response:
        first, last = int(request.query["startTime"]) // 1000, int(request.query["endTime"]) // 1000
        first = max(first, self.began)
        base = 100 + 50 * "ABC".index(request.query["symbol"][0])
        rows = []
        for ts in range(first - first % -5, min(last, int(time.time()) - 5) + 1, 5):
            price = f"{base + ts // 5 % 7 * 0.1:.2f}"
            rows.append([ts * 1000, price, price, price, price, "100000"])
        return web.json_response(rows[:1000])


MAPPING = """
name = "klines"
url = "{base}/klines?symbol={symbol}&startTime={start}&endTime={end}&interval={interval}"
ts = "0"
open = "1"
high = "2"
low = "3"
close = "4"
volume = "5"
stamp_format = "ms"
ask_format = "ms"
page_by_last = true
"""

LIVE = """
[quantd]
state = "state"
[universe]
symbols = {symbols}
calendar = "24/7"
[feed]
kind = "http"
mapping = "vendor.toml"
interval = "5s"
warmup = 70
[broker]
cash = "100000.00"
[risk]
max_loop_lag = "60s"
max_missed_bars = 10
[[agents]]
name = "even"
policy = "equal_weight"
capital = 1.0
[bus]
port = 0
[api]
port = 0
[log]
level = "info"
"""


@contextmanager
def trading(folder: Path, text: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A daemon on the bars of a Vendor; what it says is in the file `said` of the folder."""
    with served(Vendor().app()) as port, (folder / "said").open("wb") as said:
        (folder / "vendor.toml").write_text(MAPPING.replace("{base}", f"http://127.0.0.1:{port}"))
        write(folder, text)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet"], cwd=folder, env=environment(), stderr=said
        )
        try:
            yield daemon
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(20)


def stored_starts(folder: Path, run: str) -> list[str]:
    """The configuration of each start of a run."""
    with Store.open(folder / "state", state=folder / "state", account="x", holder="x", lease_s=5.0) as store:
        events = [decode(data).event for _, data in store.entries(run, 1)]
    return [event.config for event in events if isinstance(event, Started)]


@pytest.mark.requirement("R-005")
@pytest.mark.long
def test_a_closed_date_and_a_symbol_are_added_to_a_daemon_that_runs_by_its_configuration_and_one_signal(
    tmp_path: Path,
) -> None:
    """One daemon for both, because a start is most of the time."""
    closed = (datetime.now(UTC).date() + timedelta(days=2)).isoformat()
    text = LIVE.replace("{symbols}", '["AAA", "BBB"]')
    with trading(tmp_path, text) as daemon:
        first = until(tmp_path, lambda seen: held(seen) == {"AAA", "BBB"})
        text = text.replace('calendar = "24/7"', f'calendar = "24/7"\nclosed = ["{closed}"]')
        write(tmp_path, text)
        daemon.send_signal(signal.SIGHUP)
        until(tmp_path, lambda seen: len(list((tmp_path / "state" / "configs").glob("*.json"))) == 2)
        restarted = datetime.now(UTC)
        second = until(tmp_path, lambda seen: datetime.fromisoformat(seen["time"]) > restarted)
        assert second["run"] == first["run"]
        assert daemon.poll() is None, "it is the same process"
        write(tmp_path, text.replace('["AAA", "BBB"]', '["CCC", "BBB", "AAA"]'))
        daemon.send_signal(signal.SIGHUP)
        third = until(tmp_path, lambda seen: held(seen) == {"AAA", "BBB", "CCC"})
        assert third["run"] != first["run"]
        assert daemon.poll() is None, "it is the same process"
        write(tmp_path, text.replace('["AAA", "BBB"]', '["CCC", "BBB"]'))
        daemon.send_signal(signal.SIGHUP)
        until(tmp_path, lambda seen: "AAA is held" in (tmp_path / "said").read_text())
        assert until(tmp_path, lambda seen: True)["run"] == third["run"], "AAA is held"
        more = text.replace('["AAA", "BBB"]', '["CCC", "BBB", "AAA", "DDD"]')
        write(tmp_path, more.replace("max_loop_lag", "reduce_collar = 0.3\nmax_loop_lag"))
        daemon.send_signal(signal.SIGHUP)
        until(tmp_path, lambda seen: "reduce_collar = 0.3 may be looser" in (tmp_path / "said").read_text())
        assert until(tmp_path, lambda seen: True)["run"] == third["run"], "its start would have stopped"
    assert daemon.returncode == 0, (tmp_path / "said").read_text()
    assert "recovered" in (tmp_path / "said").read_text()
    starts = stored_starts(tmp_path, first["run"])
    assert len(starts) == 2
    assert starts[0] != starts[1]
    last = saved_config(tmp_path / "state", starts[1])
    assert [day.isoformat() for day in last.universe.closed] == [closed]
    parts = assemble_live(last, time.time_ns())
    assert day_ns(date.fromisoformat(closed)) not in parts.sessions["24/7"].row_of_day


def held(seen: dict) -> set[str]:
    return {position["symbol"] for position in seen["positions"]}


def until(folder: Path, wanted: Callable[[dict], bool], within_s: float = 150.0) -> dict:
    """The status once it is as wanted. A feed that a busy machine has made late halts trading, which is resumed."""
    end, halts = time.monotonic() + within_s, 0
    while time.monotonic() < end:
        done = quantd(folder, "positions", "--json")
        if done.returncode == 0 and wanted(seen := json.loads(done.stdout)):
            return seen
        said = (folder / "said").read_text() if (folder / "said").exists() else ""
        if said.count("resumes trading") > halts:
            halts += quantd(folder, "resume", "--reason", "the feed was late").returncode == 0
        time.sleep(0.5)
    raise AssertionError(f"not within {within_s} s: {done.stdout or done.stderr}\n{said[-4000:]}")
