"""quantd.daemon.config.overrides: the environment and --set are held to the rules of the file."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import typer

from quantd.daemon.cli.program import commands, program
from quantd.daemon.config import ConfigError, read
from quantd.daemon.config.overrides import alone, between
from tests.support import command_line, known_names
from tests.support.checkout import ROOT

TEXT = (ROOT / "config.toml").read_text()
KNOWN = replace(known_names.KNOWN, secrets={"alpaca_key": "a key"})


def config(*sets, **environ):
    return read(TEXT, KNOWN, sets=sets, environ=environ)


def said(*sets, **environ):
    with pytest.raises(ConfigError) as caught:
        config(*sets, **environ)
    return str(caught.value).splitlines()


def test_a_variable_in_lower_case_is_refused_with_the_one_that_is_read():
    (line, _) = said(quantd_risk__max_drawdown="0.2", quantd_note="else")
    assert line == "quantd_risk__max_drawdown: is not read in lower case; write QUANTD_RISK__MAX_DRAWDOWN."


@pytest.mark.requirement("R-261")
def test_set_goes_over_the_environment_and_the_environment_over_the_file():
    assert config().risk.max_drawdown == 0.25
    assert config(QUANTD_RISK__MAX_DRAWDOWN="0.2").risk.max_drawdown == 0.2
    assert config("risk.max_drawdown=0.1", QUANTD_RISK__MAX_DRAWDOWN="0.2").risk.max_drawdown == 0.1


def test_a_first_day_that_two_options_name_is_refused():
    day = date(2020, 1, 2)
    assert between(["feed.start=2020-01-02"], day, None) == ("feed.start=2020-01-02", "feed.start=2020-01-02")
    with pytest.raises(ConfigError, match=r"--set feed\.start: has two values, 2020-01-03 and 2020-01-02"):
        between(["feed.start=2020-01-03"], day, None)


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("broker.cash=50000.00", lambda c: c.broker.cash_micro == 50_000_000_000),
        ('broker.cash="50000.00"', lambda c: c.broker.cash_micro == 50_000_000_000),
        ("risk.max_order_notional=7", lambda c: c.risk.max_order_notional_micro == 7_000_000),
        ("risk.rearm=5", lambda c: c.risk.rearm == "5"),
        ("risk.var.limit=0.02", lambda c: (c.risk.var.limit, c.risk.var.lookback) == (0.02, 252)),
        ("risk.cvar={ limit = 0.05 }", lambda c: c.risk.cvar.limit == 0.05),
        ("universe.symbols=SPY, BAC", lambda c: c.universe.symbols == ("SPY", "BAC")),
        ("agents.parity.params.lookback=20", lambda c: c.agents[1].params["lookback"] == 20),
        ("agents.1.capital=0.1", lambda c: c.agents[1].capital == 0.1),
        ("agents.trend.limits.max_position_weight=0.1", lambda c: c.agents[2].limits.max_position_weight == 0.1),
        ("schedules.daily_rebalance.enabled=false", lambda c: not c.schedules[0].enabled),
        ("feed.end=2020-06-30", lambda c: c.feed.end.year == 2020),
        ("feed.pace=fast", lambda c: c.feed.pace == "fast"),
    ],
)
def test_a_value_is_read_as_its_key_wants_it(text, read_as):
    key, _, value = text.partition("=")
    assert read_as(config(text))
    assert read_as(config(**{"QUANTD_" + key.upper().replace(".", "__"): value}))


def test_a_mistake_in_an_override_is_at_the_override():
    assert (
        said("risk.max_drawdown=25")[0]
        == "--set risk.max_drawdown: [risk] max_drawdown = 25 is a percentage; write 0.25."
    )
    assert said(QUANTD_RISK__COLLAR="nan")[0] == "QUANTD_RISK__COLLAR: [risk] collar = nan is not a finite number."
    assert said("agents.trend.capital=0.3")[0].startswith(
        "--set agents.trend.capital: [[agents]] shares add up to 1.10;"
    )


def test_a_whole_table_is_set_key_by_key_and_a_new_entry_belongs_into_the_file():
    assert said("schedules=[...]")[0] == (
        "--set schedules: names a whole table; set one key of it, --set schedules.NAME.KEY=VALUE; write a new "
        "[[schedules]] into the file."
    )
    assert said("risk={}")[:1] == ["--set risk: names a whole table; set one key of it, --set risk.KEY=VALUE."]


ALONE_IN = """
[[agents]]
name = "other"
policy = "momentum"
capital = 0.3
min_trade = 0.001
[manual]
capital = 0.2
[capital]
floor = 0.1
[portfolios]
places = 2
[broker]
cash = "1000"
differences = "other"
[risk]
profile = "balanced"
[[schedules]]
name = "weekly"
do = "rebalance"
every = "1d"
agents = ["other"]
[[schedules]]
name = "moves"
do = "reallocate"
every = "1d"
[[schedules]]
name = "report"
do = "report"
every = "1d"
"""


def test_a_policy_alone_has_all_the_capital_under_the_limits_of_the_account():
    known = replace(KNOWN, jobs=("rebalance", "reallocate", "report"))
    alone_config = read(
        TEXT.split("[broker]")[0] + ALONE_IN, known, sets=("agents=momentum", "agents.momentum.params.lookback=60")
    )
    (agent,) = alone_config.document.agents
    assert (agent.name, agent.policy, agent.capital) == ("momentum", "momentum", 1.0)
    assert (agent.min_trade, agent.profile, dict(agent.params)) == (0.001, "balanced", {"lookback": 60})
    assert [schedule.name for schedule in alone_config.schedules] == ["report"]
    assert alone_config.document.manual is None
    assert not alone_config.places
    assert alone_config.document.broker.differences == ""


@pytest.mark.parametrize("key", ["commission_bp", "spread_bp", "slippage_bp"])
def test_a_cost_written_as_a_fraction_is_refused_in_basis_points(key):
    said_text = said(f"broker.{key}=0.0005")[0]
    assert said_text.endswith(f"{key} = 0.0005 is a fraction, and a basis point is 0.0001; write 5.")
    assert getattr(config(f"broker.{key}=5").document.broker, key) == 5.0


def test_a_policy_alone_leaves_no_other_agent_to_change_and_its_mistakes_are_at_the_policy():
    assert said("agents=momentun") == [
        'POLICY momentun: [[agents]] "momentun" policy = "momentun" is not a known policy. Did you mean momentum?',
        "1 mistake; nothing was started.",
    ]
    assert "is a policy in Python: quantd.backtest(polars.read_csv('w.csv'), bars)" in said("agents=w.csv")[0]
    assert said("agents=momentum", "agents.trend.capital=0.1")[0].startswith(
        "--set agents.trend.capital: names no entry of [[agents]]"
    )
    assert said("agents=momentum", QUANTD_AGENTS__TREND__CAPITAL="0.1")[0].startswith(
        "QUANTD_AGENTS__TREND__CAPITAL: names no entry of [[agents]]"
    )
    assert said("agents=[]")[0].startswith("--set agents: names a whole table")
    assert config("agents=./house.py:act").document.agents[0].name == "own"  # the name of a book


def test_a_policy_is_found_from_the_folder_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    (tmp_path / "house").mkdir()
    assert alone("", Path("config.toml")) == ()
    assert alone("mine.py:act", Path("config.toml")) == ("agents=mine.py:act",)
    assert alone("mine.py:act", Path("house/config.toml")) == ("agents=../mine.py:act",)
    assert alone("other.py:act", Path("house/config.toml")) == ("agents=other.py:act",)
    assert alone("equal_weight", Path("house/config.toml")) == ("agents=equal_weight",)


def test_a_mistyped_variable_is_refused_with_the_nearest():
    for typed, meant in (
        ("QUANTD_RISK__MAX_DRAWDWON", "max_drawdown"),
        ("QUANTD_RSK__MAX_DRAWDOWN", "QUANTD_RISK__MAX_DRAWDOWN"),
        ("QUANTD_RISK_MAX_DRAWDOWN", "QUANTD_RISK__MAX_DRAWDOWN"),
        ("QUANTD_REQUIRE_SERVICE", "QUANTD_REQUIRE_SERVICES"),
        ("QUANTD_AGENTS__PARTY__CAPITAL", "parity"),
    ):
        line = said(**{typed: "0.2"})[0]
        assert line.startswith(f"{typed}: ")
        assert line.endswith(f"Did you mean {meant}?")


def test_variables_that_are_no_keys_and_those_of_others_are_let_alone():
    engine = dict.fromkeys(("QUANTD_UNCOMPILED", "QUANTD_CHECKED", "QUANTD_PURE_WHEEL"), "1")
    configuration = config(QUANTD_REQUIRE_SERVICES="1", QUANTD_MQTT_PASSWORD="x", PATH="/bin", QUANTDX="1", **engine)
    assert configuration == config()


@pytest.mark.parametrize(
    "text",
    ["risk.max_drawdown", "risk", "risk=1", "risk.var=3", "agents=[]", "agents.parity=1", "agents.9.capital=0.1", "=",
    "", "a.b.c=1",
     "risk.max_drawdown.x=1", "agents.parity.name.x=1", "universe.instruments.0.lot=1", "agents.parity.params.token=1",
     "risk.max_drawdown=0.2\nmax_position_weight = 9"],
)  # fmt: skip
def test_an_override_that_names_no_value_is_refused(text):
    assert said(text)[0].startswith("--set")


def test_a_secret_in_the_environment_of_a_key_is_not_shown():
    line = said(QUANTD_BUS__PASSWORD="hunter2")[0]
    assert "looks like a secret" in line
    assert "hunter2" not in line


def offered(command):
    """Environment variable -> option, of this command and all below it."""
    options = {param.envvar: param.opts[0] for param in command.params if param.envvar}
    for subcommand in getattr(command, "commands", {}).values():
        options |= offered(subcommand)
    return options


VALUES = {"QUANTD_CONFIG": "{at}/config.toml", "QUANTD_STATE": "{at}/kept"}


@pytest.mark.long
@pytest.mark.requirement("R-261")
def test_each_variable_that_help_offers_stands_in_for_its_option_which_wins(tmp_path):
    options = offered(typer.main.get_command(program(commands())))
    assert options.pop("MODEL_PATH", None) is not None, "it stands for an argument of `quantd evaluate` only"
    assert set(options) == set(VALUES)
    empty, named, other = (tmp_path / name for name in ("empty", "named", "other"))
    for folder, end in ((empty, ""), (named, "2019-01-31"), (other, "2019-02-28")):
        folder.mkdir()
        if end:
            command_line.write(folder, command_line.CONFIG.replace("2019-03-29", end))
    env = {variable: value.format(at=named) for variable, value in VALUES.items()}
    typed = [word for variable, option in options.items() for word in (option, VALUES[variable].format(at=other))]
    for folder, words, days in ((named, [], 21), (other, typed, 40)):
        done = command_line.quantd(empty, "backtest", "--journal", "--no-compare", "--json", *words, env=env)
        assert command_line.answer(done)["performance"]["samples"] == days
        assert (folder / "kept" / "backtests" / "quantd.db").exists()
    assert not list(empty.iterdir())


def test_an_override_of_the_bus_leaves_the_keys_of_the_other_kind_in_the_file_alone():
    bus = config("bus.kind=mqtt", "bus.url=mqtt://h").bus
    assert (bus.kind, bus.url) == ("mqtt", "mqtt://h")
    assert config(QUANTD_BUS__KIND="mqtt", QUANTD_BUS__URL="mqtt://h").bus.kind == "mqtt"
    (line, _) = said("bus.kind=mqtt", "bus.url=mqtt://h", "bus.port=1884")
    assert line.startswith('--set bus.port: [bus] port applies only to kind = "embedded"')
    (line, _) = said("bus.url=mqtt://h")
    assert line.startswith('--set bus.url: [bus] url applies only to kind = "mqtt"')
