"""Looser limits: the start that stops for them, and in mode live what waits, until when, and what ends the wait."""

import json
from pathlib import Path

import msgspec
import pytest

from quantd import Client
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import read
from quantd.daemon.engine import step
from quantd.daemon.engine.safety.pending_limits import digest_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.live_caps import LOOSEN_AFTER_NS, Allowance
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.engine.state.snapshot import InForce, in_force, limits_from
from quantd.daemon.recovery.tightening import change_of_limits, limits_of, loosened, tightened
from quantd.risk.limits.catalogue import Limits, Tail
from quantd.trading.effects import Publish, Refused
from quantd.trading.events import Approved, Reloaded, Tick
from tests.support.command_line import CONFIG, Done, quantd, running, write
from tests.support.engine import World, block, taken, walk

OLD = Limits(collar=0.05, max_position_weight=0.3, max_drawdown=0.2, var=Tail(limit=0.03), cash_reserve=0.05)
"""Limits of the house before."""

CASES = {
    "max_position_weight": (0.4, 0.25),
    "max_drawdown": (0.3, 0.1),
    "cash_reserve": (0.0, 0.1),
    "var": (Tail(limit=0.05), Tail(limit=0.02)),
}
"""Limit -> (a looser value, a tighter one)."""


def live(house: Limits, allowance: Allowance | None = None, agent: Limits | None = None) -> State:
    """A state in mode live after some days."""
    run = World(
        block(walk(10, 3, 8)), [lambda view: [0.1, 0.1, 0.1]], house=house, agent=agent or Limits(collar=0.05),
        live=allowance or Allowance(),
    )  # fmt: skip
    run.run()
    return run.shell.state


def given(state: State, **changes: object) -> Rules:
    """The rules of a configuration with another house."""
    return msgspec.structs.replace(state.rules, house=msgspec.structs.replace(state.rules.house, **changes))


def changed(state: State, rules: Rules) -> Reloaded:
    return change_of_limits(state, rules, state.now, "c", ("limits",), limits_of(state))


def alerts(effects: object) -> list[tuple[str, str]]:
    return [(e.level, e.kind) for e in effects if isinstance(e, Publish)]  # type: ignore[attr-defined]


@pytest.mark.requirement("R-266")
@pytest.mark.parametrize("name", CASES)
def test_a_looser_limit_waits_and_a_tighter_one_applies_at_once(name: str) -> None:
    state = live(OLD)
    looser, tighter = CASES[name]
    event = changed(state, given(state, **{name: looser}))
    assert event.looser == (f"risk.{name}",)
    assert event.due == state.now + LOOSEN_AFTER_NS
    assert ("CRITICAL", "loosening") in alerts(step(state, event))
    assert getattr(state.rules.house, name) == getattr(OLD, name)
    event = changed(state, given(state, **{name: tighter}))
    assert (event.later, event.due, event.looser) == (b"", 0, ())
    assert ("INFO", "loosening") in alerts(step(state, event)), "the change that waited is dropped"
    assert getattr(state.rules.house, name) == tighter
    assert state.loosening is None


def test_caps_of_live_and_limits_of_agents_wait_too() -> None:
    state = live(OLD, Allowance(account_micro=10, order_micro=5, ramp_days=20, ramp_from=0.1), Limits(max_drawdown=0.1))
    caps = Allowance(account_micro=20, order_micro=None, ramp_days=10, ramp_from=0.5, loosen_after_ns=3600 * 10**9)
    agents = (msgspec.structs.replace(state.rules.agents[0], limits=Limits(max_drawdown=0.5)),)
    event = changed(state, msgspec.structs.replace(state.rules, live=caps, agents=agents))
    assert event.looser == (
        "agents.a0.max_drawdown", "live.max_account_notional", "live.max_order_notional", "live.ramp.days",
        "live.ramp.from", "live.loosen_after",
    )  # fmt: skip
    assert event.due == state.now + LOOSEN_AFTER_NS, "a shorter delay is looser itself"
    step(state, event)
    assert state.rules.live is not None
    assert (state.rules.live.account_micro, state.rules.live.order_micro) == (10, 5)
    assert state.rules.agents[0].limits.max_drawdown == 0.1


def test_the_looser_limit_applies_at_the_first_tick_after_the_delay_and_not_before() -> None:
    state = live(OLD)
    event = changed(state, given(state, max_drawdown=0.5))
    step(state, event)
    assert not alerts(taken(state, Tick(event.due - 1)))
    assert state.rules.house.max_drawdown == 0.2
    assert ("CRITICAL", "loosening") in alerts(taken(state, Tick(event.due)))
    assert state.rules.house.max_drawdown == 0.5
    assert state.loosening is None


def test_an_approval_applies_it_at_once_and_without_one_that_waits_nothing_happens() -> None:
    state = live(OLD)
    assert alerts(step(state, Approved(state.now, "x", "api:second:abcd"))) == [("WARNING", "loosening")]
    step(state, changed(state, given(state, max_drawdown=0.5)))
    assert alerts(step(state, Approved(state.now, "x", "api:second:abcd"))) == [("CRITICAL", "loosening")]
    assert state.rules.house.max_drawdown == 0.5


def test_an_approval_of_limits_that_have_changed_meanwhile_is_refused() -> None:
    state = live(OLD)
    step(state, changed(state, given(state, max_drawdown=0.5)))
    assert state.loosening is not None
    shown = digest_of(state.loosening)
    step(state, changed(state, given(state, max_drawdown=0.9)))
    effects = step(state, Approved(state.now, "x", "api:second:abcd", shown))
    assert alerts(effects) == [("WARNING", "loosening")]
    assert [e.code for e in effects if isinstance(e, Refused)] == ["conflict"]
    assert state.rules.house.max_drawdown == 0.2
    step(state, Approved(state.now, "x", "api:second:abcd", digest_of(state.loosening)))
    assert state.rules.house.max_drawdown == 0.9


def line_of(text: str, key: str) -> int:
    return next(k for k, line in enumerate(text.splitlines(), 1) if line.startswith(key))


@pytest.mark.long
def test_a_start_stops_with_each_looser_limit_until_it_is_put_back_or_accepted(tmp_path: Path) -> None:
    """The remedies of the message are tried here, by the command line."""

    def start(text: str, *options: str) -> Done:
        write(tmp_path, text)
        return quantd(tmp_path, "run", "--quiet", *options)

    text = CONFIG.replace("capital = 0.5", "capital = 0.5\nlimits = { max_turnover = 0.4 }")
    assert start(text).returncode == 0
    looser = text.replace("max_drawdown = 0.25", "max_drawdown = 0.3").replace("limit = 0.03", "limit = 0.02")
    looser = looser.replace("max_turnover = 0.4", "max_turnover = 0.6")
    refused = start(looser)
    assert refused.returncode == 78
    turnover, drawdown = line_of(text, "limits"), line_of(text, "max_drawdown")
    remedy = "which is in force in this run; put that back, or accept it: quantd run --loosen."
    assert refused.stderr.splitlines()[-3:] == [
        f"config.toml:{drawdown}: [risk] max_drawdown = 0.3 may be looser than 0.25, {remedy}",
        f'config.toml:{turnover}: [[agents]] "even" limits.max_turnover = 0.6 may be looser than 0.4, {remedy}',
        "2 mistakes; nothing was started.",
    ]
    tighter = text.replace("limit = 0.03", "limit = 0.02")
    assert start(tighter).returncode == 0, "put back; the tighter limit of the same edit is in force from here"
    assert start(text).returncode == 78, "and stays in force"
    assert start(looser, "--loosen").returncode == 0
    assert start(looser).returncode == 0, "accepted once"
    assert start(looser.replace("max_drawdown = 0.3\n", "")).returncode == 78, "a limit that is removed is looser"
    assert start(looser.replace("max_drawdown = 0.3", "max_drawdown = 0.4"), "--fresh").returncode == 0
    backtest = quantd(tmp_path, "backtest", "--no-compare", "--set", "risk.max_drawdown=0.5")
    assert backtest.returncode == 0, "a backtest has no limits in force"


@pytest.mark.long
def test_a_carry_over_stops_with_each_looser_limit_too(tmp_path: Path) -> None:
    write(tmp_path)
    assert quantd(tmp_path, "run", "--quiet").returncode == 0
    later = CONFIG.replace("2019-03-29", "2019-05-31").replace("2019-01-02", "2019-04-01")
    later += '[[agents]]\nname = "more"\npolicy = "equal_weight"\ncapital = 0.1\n'
    write(tmp_path, later.replace("max_drawdown = 0.25", "max_drawdown = 0.3"))
    refused = quantd(tmp_path, "run", "--quiet", "--carry")
    assert refused.returncode == 78
    assert "[risk] max_drawdown = 0.3 may be looser than 0.25" in refused.stderr
    write(tmp_path, later)
    assert quantd(tmp_path, "run", "--quiet").returncode == 0, "the carry-over goes on with the limit put back"


def test_a_looser_cap_of_live_is_named_and_one_that_waits_already_is_accepted() -> None:
    state = live(OLD, Allowance(order_micro=5_000_000, ramp_days=20))
    rules = msgspec.structs.replace(state.rules, live=Allowance(order_micro=7_000_000, loosen_after_ns=3600 * 10**9))
    config = read(CONFIG, known_names())
    found = [mistake.text for mistake in loosened(limits_of(state), rules, config)]
    end = "which is in force in this run"
    assert found == [
        f"[live] max_order_notional = 7.00 may be looser than 5.00, {end}",
        f"[live] ramp.days = 0 may be looser than 20, {end}",
        f"[live] loosen_after = 1h may be looser than 24h, {end}",
    ]
    step(state, changed(state, rules))
    assert state.loosening is not None
    assert loosened(limits_of(state), rules, config, state.loosening.limits) == []


def test_a_fresh_run_is_compared_with_the_run_before_it_by_the_names_of_its_agents() -> None:
    before, after = live(OLD), live(msgspec.structs.replace(OLD, max_drawdown=0.5), agent=Limits(max_drawdown=0.9))
    old = limits_from(in_force(before.rules))
    tight, looser = tightened((old, ["another"]), (limits_from(in_force(after.rules)), ["a0"]))
    assert looser == ("risk.max_drawdown",), "a new agent is within the limits of the house"
    assert isinstance(tight, InForce)
    assert (tight.house.max_drawdown, tight.agents[0][0].max_drawdown) == (0.2, 0.9)


@pytest.mark.long
def test_a_start_refuses_cash_and_shares_for_which_no_money_moves_until_they_are_put_back(tmp_path: Path) -> None:
    write(tmp_path, CONFIG.replace('at_end = "stop"', 'at_end = "wait"'))
    with running(tmp_path):
        place, token = (tmp_path / "state" / name for name in ("api.json", "token"))
        client = Client(f"http://127.0.0.1:{json.loads(place.read_text())['port']}", token.read_text().strip())
        asked = {"setting": "agents[0].capital", "value": "0.55"}
        client.change_setting(**asked, plan=client.preview_setting(**asked).plan, reason="more")
    text = (tmp_path / "config.toml").read_text()
    with running(tmp_path) as moved:
        assert moved.poll() is None, "the page moved the money of the share in the file"
    for present, other in (('cash = "100000.00"', 'cash = "200000.00"'), ("capital = 0.55", "capital = 0.3")):
        write(tmp_path, text.replace(present, other))
        refused = quantd(tmp_path, "run", "--quiet")
        assert (refused.returncode, f"{other.replace(chr(34), '')} moves no money" in refused.stderr) == (78, True)
    write(tmp_path, text)
    with running(tmp_path) as back:
        assert back.poll() is None
