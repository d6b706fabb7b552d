"""`quantd config` from outside: every setting with its source, every mistake with its place."""

import json
import re

import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, quantd, write


@pytest.mark.requirement("R-004")
def test_each_setting_is_shown_with_where_it_comes_from(tmp_path):
    text = CONFIG.replace("capital = 0.4", 'capital = 0.4\nprofile = "balanced"')
    write(tmp_path, text)
    env = {"QUANTD_RISK__MAX_DAILY_LOSS": "0.04", "QUANTD_ALPACA_SECRET": "hush"}
    done = quantd(tmp_path, "config", "check", "--show", "--set", "broker.spread_bp=3", "--json", env=env)
    settings = {row["key"]: (row["value"], row["source"]) for row in json.loads(done.stdout)["settings"]}
    line = {key.split(" =")[0]: k for k, key in enumerate(text.splitlines(), 1)}
    assert settings["risk.max_position_weight"] == (0.25, f"config.toml:{line['max_position_weight']}")
    assert settings["risk.max_daily_loss"] == (0.04, "QUANTD_RISK__MAX_DAILY_LOSS")
    assert settings["broker.spread_bp"] == (3.0, "--set broker.spread_bp")
    assert settings["broker.cash"] == ("100000.00", f"config.toml:{line['cash']}")
    assert settings["feed.interval"] == ("1d", "default")
    assert settings["risk.reduce_collar"] == (0.15, "default")
    assert settings["agents[1].limits.max_drawdown"] == (0.15, "profile balanced")
    assert settings["agents[0].limits.max_drawdown"] == (None, "default")
    assert settings["agents[1].capital"][0] == 0.4
    assert "hush" not in done.stdout
    shown = quantd(tmp_path, "config", "check", "--show")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == len(settings) + 1


def test_the_state_folder_of_an_option_or_a_variable_is_shown_with_it_as_the_source(tmp_path):
    write(tmp_path)

    def shown(*options, env=None):
        done = quantd(tmp_path, "config", "check", "--show", "--json", *options, env=env or {})
        rows = {row["key"]: row for row in json.loads(done.stdout)["settings"]}
        return rows["quantd.state"]["value"], rows["quantd.state"]["source"]

    assert shown() == ("state", "config.toml:3")
    assert shown("--state", "there") == (str(tmp_path / "there"), "--state")
    assert shown("--set", "quantd.state=here", "--state", "there") == (str(tmp_path / "there"), "--state")
    assert shown("--set", "quantd.state=here") == ("here", "--set quantd.state")
    assert shown(env={"QUANTD_STATE": "there"}) == (str(tmp_path / "there"), "QUANTD_STATE")


def test_a_benchmark_that_is_traded_too_is_named(tmp_path):
    write(tmp_path)
    for benchmark, notes in (
        ("", []),
        ("SPY", ["SPY is the benchmark and is traded too, as one of [universe] symbols"]),
    ):
        done = quantd(tmp_path, "config", "check", "--json", "--set", f"universe.benchmark={benchmark}")
        assert json.loads(done.stdout)["notes"] == notes


def test_a_mistake_in_config_check_is_json_when_asked(tmp_path):
    write(tmp_path, CONFIG.replace("max_drawdown", "max_drawdwon"))
    done = quantd(tmp_path, "config", "check", "--json")
    assert done.returncode == 78
    (mistake,) = json.loads(done.stdout)["mistakes"]
    assert mistake["line"] == CONFIG.splitlines().index("max_drawdown = 0.25") + 1
    assert "max_drawdown" in mistake["remedy"]


def test_a_goal_without_a_metric_is_a_mistake_with_its_line_and_the_nearest_name(tmp_path):
    goals = '[study]\nbenchmarks = ["SPY"]\n[study.goals]\n"cagrr/SPY" = 2.0\nnothing_like_it = 3.0\n'
    write(tmp_path, CONFIG + goals)
    at = CONFIG.count("\n") + 4
    done = quantd(tmp_path, "config", "check")
    assert done.returncode == 78
    first, second, _ = done.stderr.splitlines()
    assert first.startswith(f"config.toml:{at}: [study] goals.cagrr/SPY names the metric")
    assert first.endswith("Did you mean cagr?")
    assert second.startswith(f"config.toml:{at + 1}: ")
    assert second.endswith("the metrics are listed in docs/research/metrics.md.")


@pytest.mark.parametrize("symbol", ["=SPY", "+SPY", "-SPY", "@SPY"])
def test_a_symbol_begins_with_a_capital_or_a_digit(tmp_path, symbol):
    write(tmp_path, CONFIG.replace('"IWM"]', f'"IWM", "{symbol}"]'))
    done = quantd(tmp_path, "config", "check")
    assert done.returncode == 78
    assert f'symbols[3] = "{symbol}" is not valid; write a ticker: a capital or a digit' in done.stderr


def test_an_index_among_the_symbols_is_refused_with_what_it_may_be_used_for(tmp_path):
    write(tmp_path, CONFIG.replace('"IWM"]', '"IWM", "^VIX"]'))
    done = quantd(tmp_path, "config", "check")
    assert done.returncode == 78
    assert 'symbols[3] = "^VIX" is an index, which cannot trade' in done.stderr
    assert "[universe] benchmark, or its file as [[feed.macro]]" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ('policy = "models/shipped/ppo"',
        "trained on AAPL, BAC, IWM, QQQ, SPY; the universe lacks AAPL, BAC and adds none"),
        ('policy = "fixed_mix"\nparams = { weights = { SPYY = 0.5 } }', "weights name 'SPYY', which is not traded"),
        ('policy = "risk_parity"\nparams = { budgets = { TLT = 2.0 } }', "params name 'TLT', which is not traded"),
        ('policy = "ensemble"\nparams = { members = [{ policy = "models/shipped/ppo" }, { policy = "momentum" }] }',
        "the universe lacks AAPL, BAC"),
    ],
)  # fmt: skip
def test_a_policy_that_needs_other_symbols_than_are_traded_starts_nothing(tmp_path, policy, says):
    text = CONFIG.replace('policy = "momentum"', policy, 1).replace("params = { lookback = 60 }", "", 1)
    path = write(tmp_path, text)
    line = text[: text.index(policy)].count("\n") + 1
    for arguments in (
        ("config", "check"),
        ("backtest", "--no-compare"),
        ("run", "--quiet", "--set", "feed.at_end=stop"),
    ):
        done = quantd(tmp_path, *arguments)
        assert done.returncode == 78, done.stderr
        assert f'{path.name}:{line}: [[agents]] "trend"' in done.stderr
        assert says in done.stderr
    (mistake,) = json.loads(quantd(tmp_path, "config", "check", "--json").stdout)["mistakes"]
    assert says in mistake["text"]


def without_engine(log: str) -> str:
    """The log of a run without the line that says that the engine is not compiled."""
    return "".join(line for line in log.splitlines(keepends=True) if "engine.uncompiled" not in line)


def test_config_check_refuses_what_run_refuses(tmp_path):
    sink = '\n[alerts.sinks.webhook]\nurl = "https://127.0.0.1/alerts"\n'
    write(tmp_path, CONFIG + sink)
    checked, started = quantd(tmp_path, "config", "check"), quantd(tmp_path, "run", "--quiet")
    assert (checked.returncode, started.returncode) == (78, 78)
    assert checked.stderr == without_engine(started.stderr)
    assert "needs the secret webhook_key, which is missing" in checked.stderr
    (mistake,) = json.loads(quantd(tmp_path, "config", "check", "--json").stdout)["mistakes"]
    assert mistake["line"] == len((CONFIG + sink).splitlines()) - 1
    checks = json.loads(quantd(tmp_path, "doctor", "--json").stdout)["checks"]
    assert [check["ok"] for check in checks if check["name"] == "sinks"] == [False]
    assert quantd(tmp_path, "config", "check", env={"QUANTD_WEBHOOK_KEY": "k" * 40}).returncode == 0


def test_config_check_reads_the_bars(tmp_path):
    bars = tmp_path / "bars.csv"
    bars.write_text("no bars\n")
    write(tmp_path, CONFIG.replace(f"{ROOT}/data/us_daily.parquet", bars.name))
    checked, started = quantd(tmp_path, "config", "check"), quantd(tmp_path, "run", "--quiet")
    assert (checked.returncode, started.returncode) == (78, 78)
    assert checked.stderr == without_engine(started.stderr)
    assert bars.name in checked.stderr


def test_places_for_portfolios_are_not_counted_as_agents(tmp_path):
    write(tmp_path, CONFIG + "\n[portfolios]\nplaces = 4\n")
    assert quantd(tmp_path, "config", "check").stdout.splitlines()[0] == (
        "config.toml: 2 agents, 4 places for portfolios, 3 symbols, 1 schedule"
    )


MIX = """
[[agents]]
name = "mix"
policy = "fixed_mix"
capital = 0.8
params = { weights = { SPY = 0.3, QQQ = 0.2 } }
[[agents]]
name = "calm"
policy = "risk_parity"
capital = 0.2
params = { lookback = 60 }
"""


def of_mix(tmp_path, *changes, mix=MIX):
    """The last check of a configuration with the agents `mix`: its exit code, and its lines on both streams."""
    begin, _, rest = CONFIG.partition("[[agents]]")
    write(tmp_path, begin + mix + "[bus]" + rest.partition("[bus]")[2])
    options = [word for change in changes for word in ("--set", change)]
    return quantd(tmp_path, "config", "check", *options)


def test_a_check_names_what_each_agent_may_hold_and_the_limit_that_binds(tmp_path):
    done = of_mix(tmp_path)
    assert done.returncode == 0, done.stderr
    # 0.25 of the account in each of 3 symbols
    assert "mix: its targets may hold 93.8% of its capital, by max_position_weight = 0.25 of the account" in done.stdout
    held = done.stdout.split("calm: its targets may hold ")[1]
    assert "cash_reserve and max_cash_debit, less what an execution may cost" in held
    limited = of_mix(tmp_path, "agents.calm.limits.max_position_weight=0.2").stdout
    assert "calm: its targets may hold 60.0% of its capital, by max_position_weight = 0.2, times 3" in limited
    for change, words in (
        ("max_leverage=0.5", "50.0%"),
        ("max_net_exposure=0.4", "40.0%"),
        ("max_gross_exposure=0", "0.0%"),
    ):
        limited = of_mix(tmp_path, f"agents.calm.limits.{change}").stdout
        assert f"calm: its targets may hold {words} of its capital, by {change.replace('=', ' = ')}" in limited
    lots = of_mix(tmp_path, "broker.cash=1000").stdout
    written = re.search(
        r'mix: 240.00 USD buy no lot of SPY .* write lot = "([\d.]+)" in .* cash = "(\d+)" or more', lots
    )
    enough = of_mix(tmp_path, f"broker.cash={written[2]}").stdout
    assert "mix: " not in enough.split("calm: its targets")[1]


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (
            "agents.mix.limits.max_position_weight=0.25",
            '"mix" params.weights.SPY asks for 0.3 but max_position_weight is 0.25; write at most 0.25, or change',
        ),
        (
            "risk.max_position_weight=0.2",
            "SPY asks for 0.3, with 0.8 of the capital 0.24, but max_position_weight of the account is 0.2",
        ),
        ("agents.mix.limits.max_gross_exposure=0.4", "params.weights asks for 0.5 but max_gross_exposure is 0.4"),
        ("agents.mix.limits.max_leverage=0.4", "params.weights asks for 0.5 but max_leverage is 0.4"),
        ("agents.mix.limits.max_net_exposure=0.4", "params.weights asks for 0.5 but max_net_exposure is 0.4"),
        ("agents.mix.limits.cash_reserve=0.6", "params.weights asks for 0.5 but 1 - cash_reserve is 0.4"),
        ("agents.calm.params.max_weight=0.5", ""),
        (
            "agents.calm.limits.max_position_weight=0.4",
            "",
        ),
        ('risk.restricted=["SPY"]', "SPY asks for 0.3 but the most of a symbol in `restricted` of the account is 0"),
        ('risk.restricted=["IWM"]', ""),
        ("agents.mix.limits.allow_short=false", ""),
        ("risk.max_sector_weight=0.5", "= 0.5, but no instrument has a sector, so that each order would be refused"),
        ("agents.calm.limits.max_sector_weight=0.5", "no instrument has a sector"),
    ],
)
def test_a_constant_target_that_a_limit_never_allows_is_a_mistake_at_its_line(tmp_path, change, mistake):
    done = of_mix(tmp_path, change)
    assert done.returncode == (78 if mistake else 0), done.stderr
    assert mistake in done.stderr


def test_two_values_of_one_key_are_refused_and_one_value_twice_is_not(tmp_path):
    done = of_mix(tmp_path, "risk.max_drawdown=0.1", "risk.max_drawdown=0.2")
    assert (done.returncode, "two values, 0.1 and 0.2" in " ".join(done.stderr.split())) == (2, True), done.stderr
    assert of_mix(tmp_path, "risk.max_drawdown=0.1", "risk.max_drawdown=0.1").returncode == 0


def test_a_short_target_without_allow_short_is_a_mistake_also_with_sizing(tmp_path):
    short = re.sub(r"SPY = 0\.3", "SPY = -0.3", MIX, count=1)
    assert short != MIX
    # neither an own table, the account nor a profile says that it may go short
    assert "SPY asks for 0.3 but the largest short position, by allow_short, is 0" in of_mix(tmp_path, mix=short).stderr
    for said in ("agents.mix.limits.allow_short=true", "risk.allow_short=true", "agents.mix.profile=research"):
        assert of_mix(tmp_path, said, mix=short).returncode == 0, said
    short = short.replace('policy = "fixed_mix"', 'policy = "fixed_mix"\nlimits = { allow_short = true }')
    for change in ("agents.mix.sizing.volatility_target=0.1", "risk.max_drawdown=0.3"):
        done = of_mix(tmp_path, "risk.allow_short=false", change, mix=short)
        assert "SPY asks for 0.3 but the largest short position, by allow_short, of the account is 0" in done.stderr
        assert done.returncode == 78


def test_bounds_of_an_allocator_and_weights_in_a_sector_are_held_to_the_limits(tmp_path):
    bounded = (
        MIX.replace("lookback = 60", "lookback = 60, max_weight = 0.5").replace("0.8", "0.5").replace("0.2\n", "0.5\n")
    )
    assert of_mix(tmp_path, mix=bounded).returncode == 0
    done = of_mix(tmp_path, "agents.calm.limits.max_position_weight=0.4", mix=bounded)
    line = next(
        k for k, text in enumerate((tmp_path / "config.toml").read_text().splitlines(), 1) if "max_weight" in text
    )
    assert done.stderr.startswith(
        f'config.toml:{line}: [[agents]] "calm" params.max_weight asks for 0.5 but max_position'
    )
    sectors = "".join(
        f'[[universe.instruments]]\nsymbol = "{symbol}"\nsector = "{sector}"\n'
        for symbol, sector in (("SPY", "large"), ("QQQ", "large"), ("IWM", "small"))
    )
    assert of_mix(tmp_path, "agents.mix.limits.max_sector_weight=0.5", mix=MIX + sectors).returncode == 0
    above = of_mix(tmp_path, "agents.mix.limits.max_sector_weight=0.45", mix=MIX + sectors)
    assert "params.weights asks for 0.5 but max_sector_weight, of large, is 0.45" in above.stderr
    assert of_mix(tmp_path, "risk.max_position_weight=0.2", "agents.mix.sizing.max_gross=0.5").returncode == 0
