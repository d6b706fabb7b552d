"""The command line as its users meet it: exit codes, one JSON document, no traceback."""

import contextlib
import csv
import io
import json
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from decimal import Decimal

import msgspec
import pytest

from quantd.daemon.cli.output import cell
from quantd.daemon.views.explanation import Explanation
from quantd.daemon.views.headroom import RiskNow
from quantd.daemon.views.preview import PlanNow
from tests.support.command_line import CONFIG, ROOT, answer, environment, quantd, write


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with a finished run, and what the run printed."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder)
    return folder, answer(quantd(folder, "run", "--json"))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A folder in which a daemon runs, held at the end of its market."""
    folder = tmp_path_factory.mktemp("live")
    write(folder, CONFIG.replace('at_end = "stop"', 'at_end = "wait"'))
    daemon = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", "run"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done = quantd(folder, "status", "--json")
        if done.returncode == 0 and json.loads(done.stdout)["status"] == "ended":
            break
        time.sleep(0.2)
    yield folder, daemon
    with contextlib.suppress(ProcessLookupError):
        daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=30)


def test_a_backtest_a_run_and_a_replay_have_one_digest(ran):
    folder, run = ran
    backtest = answer(quantd(folder, "backtest", "--json"))
    replay = answer(quantd(folder, "replay", run["run"], "--policies", "--json"))
    assert run["digest"] == backtest["digest"] == replay["digest"]
    assert run["fills"] > 0
    same = ("slices", "symbol_bars", "orders", "fills", "refused", "clipped", "alerts", "equity", "cash", "positions")
    assert [run[k] for k in same] == [backtest[k] for k in same] == [replay[k] for k in same]
    assert replay["same"]
    assert replay["compared"] == replay["steps"] > 100
    assert replay["asked"] > 0
    assert replay["policy_differences"] == 0


def test_a_kept_backtest_replays_and_a_policy_that_changed_is_listed(tmp_path):
    write(tmp_path)
    kept = answer(quantd(tmp_path, "backtest", "--journal", "--json"))
    state = ("--state", "state/backtests")
    assert answer(quantd(tmp_path, "replay", kept["run"], *state, "--json"))["digest"] == kept["digest"]
    other = quantd(tmp_path, "replay", "--policies", "--json", *state, "--set", "agents.trend.params.lookback=20")
    assert answer(other)["policy_differences"] > 0


def test_the_account_can_be_rebuilt_from_the_exported_fills(ran):
    folder, run = ran
    fills = list(csv.DictReader(io.StringIO(quantd(folder, "export", "fills").stdout)))
    assert list(fills[0]) == ["ts", "order", "symbol", "side", "qty", "price", "fee", "agent"]
    held = {}
    for fill in fills:
        side = 1 if fill["side"] == "buy" else -1
        held[fill["symbol"]] = held.get(fill["symbol"], 0) + side * Decimal(fill["qty"])
        assert fill["ts"].endswith("Z")
    assert {s: str(q) for s, q in held.items() if q} == run["positions"]
    assert len(fills) == run["fills"]
    shares = list(csv.DictReader(io.StringIO(quantd(folder, "export", "fills", "--by", "agent").stdout)))
    assert {row["agent"] for row in shares} == {"even", "trend"}


def test_orders_and_equity_are_exported_with_their_columns(ran):
    folder, run = ran
    orders = list(csv.reader(io.StringIO(quantd(folder, "export", "orders").stdout)))
    assert orders[0] == ["ts", "order", "symbol", "side", "qty", "limit", "state", "reason", "agent"]
    assert len(orders) - 1 == run["orders"]
    done = quantd(folder, "export", "equity", "--out", "e.csv")
    assert done.returncode == 0
    rows = list(csv.DictReader((folder / "e.csv").open()))
    assert list(rows[0]) == ["ts", "equity", "cash", "gross", "drawdown"]
    assert Decimal(rows[-1]["equity"]) == Decimal(run["equity"])


def test_reading_commands_need_no_daemon(ran):
    folder, run = ran
    orders = answer(quantd(folder, "orders", "--last", "3", "--json"))["orders"]
    assert len(orders) == 3
    assert all(o["id"].startswith(f"q-{run['run']}-") for o in orders)
    positions = answer(quantd(folder, "positions", "--json"))["positions"]
    assert {p["symbol"]: p["qty"] for p in positions} == run["positions"]
    assert answer(quantd(folder, "status", "--json"))["equity"] == run["equity"]
    assert {x["limit"] for x in answer(quantd(folder, "risk", "--json"))["limits"]} >= {"cash", "var"}
    assert answer(quantd(folder, "decisions", "--last", "1", "--json"))["decisions"][0]["agents"]
    assert isinstance(answer(quantd(folder, "alerts", "--json"))["alerts"], list)


def test_why_tells_what_was_wanted_and_which_limit_cut(ran):
    folder, _ = ran
    rows = answer(quantd(folder, "orders", "--last", "1000", "--json"))["orders"]
    cut = next(o for o in rows if o["reason"] == "position_weight")
    told = answer(quantd(folder, "why", cut["id"], "--json"))
    assert told["reason"] == "position_weight"
    assert abs(int(told["allowed"])) < abs(int(told["net"]))
    assert {a["agent"] for a in told["agents"]} <= {"even", "trend"}
    weight = next(x for x in told["limits"] if x["limit"] == "max_position_weight")
    assert weight["after"] <= weight["bound"] == 0.25
    text = quantd(folder, "why", cut["id"]).stdout
    assert f"this limit cut {told['net']} to {told['allowed']}" in text
    assert "New York" in text
    assert "commission" in text


def test_what_was_refused_is_listed_with_an_address_that_why_takes(ran):
    folder, _ = ran
    lines = answer(quantd(folder, "orders", "--refused", "--last", "500", "--json"))["refused"]
    whole = next(x for x in reversed(lines) if x["allowed"] == "0" and x["who"] == "house")
    told = answer(quantd(folder, "why", whole["address"], "--json"))
    assert msgspec.to_builtins(msgspec.convert(told, Explanation, strict=True)) == told
    assert (told["state"], told["order"], told["recomputed"]) == ("refused", "", True)
    assert told["largest"]["qty"] is not None
    assert whole["address"] in quantd(folder, "orders", "--refused").stdout
    shown = quantd(folder, "decisions", "--last", "500").stdout
    assert f"quantd why {whole['address']}" in shown
    text = quantd(folder, "why", whole["address"]).stdout
    assert f"this limit cut {whole['asked']} to 0" in text
    assert "no order was made" in text
    assert answer(quantd(folder, "why", whole["symbol"], "--at", "2019-02-28", "--json"))["time"] < "2019-03-01"
    assert answer(quantd(folder, "why", whole["symbol"], "--last", "--json"))["symbol"] == whole["symbol"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("why", "q-nothing"), 1, "the nearest: q-"),
        (("why", "d1"), 1, "the nearest: d"),
        (("why", "QQX"), 2, "the nearest are QQQ"),
        (("why", "QQQ", "--at", "soon"), 2, "2020-02-28"),
        (("why", "QQQ", "--at", "2019-02-01", "--last"), 2, "exclude each other"),
        (("risk", "--agent", "nobody"), 2, "even, trend"),
        (("risk", "--symbol", "QQX"), 2, "QQQ"),
    ],
)
def test_what_is_asked_wrong_is_said_with_what_is_near(ran, arguments, code, says):
    done = quantd(ran[0], *arguments)
    assert (done.returncode, says in done.stderr, done.stdout) == (code, True, ""), done.stderr
    assert "Traceback" not in done.stderr


def test_risk_and_plan_are_the_same_with_a_daemon_and_without(ran, live):
    documents = []
    for folder in (ran[0], live[0]):
        risk = answer(quantd(folder, "risk", "--json"))
        assert msgspec.to_builtins(msgspec.convert(risk, RiskNow, strict=True)) == risk
        plan = answer(quantd(folder, "plan", "--json"))
        assert msgspec.to_builtins(msgspec.convert(plan, PlanNow, strict=True)) == plan
        documents.append([{k: v for k, v in each.items() if k not in ("run", "ts", "time")} for each in (risk, plan)])
    assert documents[0] == documents[1]
    risk, plan = documents[0]
    shown = quantd(ran[0], "risk").stdout
    assert "largest single order of each symbol" in shown
    assert "max_leverage = 1.0 in [risk]" in shown
    assert next(r["buy"]["qty"] for r in risk["room"] if r["symbol"] == "SPY") in shown
    assert "its own limits" in quantd(live[0], "risk", "--agent", "even", "--symbol", "SPY").stdout
    text = quantd(live[0], "plan").stdout
    assert "none is sent" in text
    assert all(f"{a['agent']}" in text for a in plan["answers"])


def test_without_its_market_a_stopped_run_shows_what_is_recorded(ran, tmp_path):
    shutil.copytree(ran[0] / "state", tmp_path / "state")
    (tmp_path / "bars.parquet").write_bytes(b"not a market")
    write(tmp_path, CONFIG.replace(f"{ROOT}/data/us_daily.parquet", "bars.parquet"))
    risk = answer(quantd(tmp_path, "risk", "--json"))
    assert {x["limit"] for x in risk["limits"]} >= {"cash", "var"}
    assert risk["room"] == []
    assert "bars.parquet" in risk["note"]


def test_what_an_agent_had_is_folded_from_its_fills(ran):
    folder, _ = ran
    rows = answer(quantd(folder, "orders", "--last", "1000", "--json"))["orders"]
    last = next(o for o in reversed(rows) if o["agent"] == "even" and o["state"] == "filled")
    part = next(a for a in answer(quantd(folder, "why", last["id"], "--json"))["agents"] if a["agent"] == "even")
    shares = csv.DictReader(io.StringIO(quantd(folder, "export", "fills", "--by", "agent").stdout))
    held = sum(
        (1 if s["side"] == "buy" else -1) * int(s["qty"])
        for s in shares
        if s["symbol"] == last["symbol"] and s["agent"] == "even" and s["ts"] < last["time"]
    )
    assert int(part["held"]) == held > 0


def test_commands_to_a_running_daemon_take_effect_and_are_journalled(live):
    folder, _ = live
    assert answer(quantd(folder, "halt", "--reason", "lunch", "--json"))["switch"] == "HALT"
    assert answer(quantd(folder, "status", "--json"))["switch"] == "HALT"
    assert any("lunch" in a["text"] for a in answer(quantd(folder, "alerts", "--json"))["alerts"])
    assert answer(quantd(folder, "resume", "--reason", "back", "--json"))["switch"] == "RUN"
    assert answer(quantd(folder, "reduce", "--agent", "trend", "--json"))["agent"] == "trend"
    agents = answer(quantd(folder, "status", "--json"))["agents"]
    assert {a["name"]: a["switch"] for a in agents} == {"even": "RUN", "trend": "REDUCE"}
    wrong = quantd(folder, "halt", "--agent", "trendy")
    assert wrong.returncode == 2
    assert "even, trend" in wrong.stderr


def test_a_second_daemon_in_the_same_state_folder_is_told_to_try_later(live):
    folder, _ = live
    done = quantd(folder, "run", "--quiet")
    assert done.returncode == 75
    assert "Traceback" not in done.stderr


def test_the_files_that_name_the_daemon_are_its_owners_alone(live):
    folder, _ = live
    for name in ("token", "api.json"):
        assert (folder / "state" / name).stat().st_mode & 0o777 == 0o600


def test_help_answers_at_once_and_without_the_libraries_of_trading():
    code = "import sys\nfrom quantd.daemon.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = ('numpy', 'aiohttp', 'polars', 'sqlmodel', 'pydantic', 'msgspec', 'onnxruntime')\n"
    code += "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "backtest" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("fly",), 2, "No such command"),
        (("orders", "--last", "many"), 2, "--last"),
        (("orders", "--last", "0"), 2, "--last"),
        (("backtest", "--from", "yesterday"), 2, "is not a date"),
        (("backtest", "--config", "absent.toml"), 78, "absent.toml"),
        (("backtest", "--from", "2019-06-01", "--to", "2019-01-01"), 78, "feed.end"),
        (("backtest", "--set", "risk.max_drawdwon=0.2"), 78, "Did you mean max_drawdown?"),
        (("backtest", "--set", "risk.max_drawdown=nan"), 78, "max_drawdown"),
        (("backtest", "--set", "risk.max_drawdown=15"), 78, "0.15"),
        (("backtest", "--set", "agents.even.policy=momentun"), 78, "Did you mean momentum?"),
        (("backtest", "--set", "universe.calendar=XNYZ"), 78, "Did you mean XNYS?"),
        (("backtest", "--set", "feed.kind=yfinance"), 78, "replay"),
        (("run", "--set", "agents.even.capital=0.8"), 78, "add up to"),
        (("config", "check", "--set", "broker.cash=-1"), 78, "cash"),
        (("halt",), 75, "no daemon runs"),
        (("status",), 1, "no store"),
        (("why", "q-none"), 1, "no store"),
        (("replay",), 75, "no store"),
        (("export", "everything"), 2, "fills, orders, equity"),
        (("export", "orders", "--by", "agent"), 2, "--by agent"),
        (("schedule", "next", "3", "--after", "soon"), 2, "--after"),
        (("init", "--policy", "my policy"), 2, "lower-case"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(tmp_path, arguments, code, says):
    write(tmp_path)
    done = quantd(tmp_path, *arguments)
    assert (done.returncode, says in done.stderr, done.stdout) == (code, True, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of quantd" not in done.stderr


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


def test_each_setting_is_shown_with_where_it_comes_from(tmp_path):
    text = CONFIG.replace("capital = 0.4", 'capital = 0.4\nprofile = "balanced"')
    write(tmp_path, text)
    env = {**environment(), "QUANTD_RISK__MAX_DAILY_LOSS": "0.04", "QUANTD_ALPACA_SECRET": "hush"}
    command = [sys.executable, "-m", "quantd.daemon.cli", "config", "show", "--set", "broker.spread_bp=3", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    found = {row["key"]: (row["value"], row["source"]) for row in json.loads(done.stdout)["settings"]}
    line = {key.split(" =")[0]: k for k, key in enumerate(text.splitlines(), 1)}
    assert found["risk.max_position_weight"] == (0.25, f"config.toml:{line['max_position_weight']}")
    assert found["risk.max_daily_loss"] == (0.04, "QUANTD_RISK__MAX_DAILY_LOSS")
    assert found["broker.spread_bp"] == (3.0, "--set broker.spread_bp")
    assert found["broker.cash"] == ("100000.00", f"config.toml:{line['cash']}")
    assert found["feed.interval"] == ("1d", "default")
    assert found["risk.reduce_collar"] == (0.15, "default")
    assert found["agents[1].limits.max_drawdown"] == (0.15, "profile balanced")
    assert found["agents[0].limits.max_drawdown"] == (None, "default")
    assert found["agents[1].capital"][0] == 0.4
    assert "hush" not in done.stdout
    shown = quantd(tmp_path, "config", "show")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == len(found) + 1


def test_a_mistake_in_config_check_is_json_when_asked(tmp_path):
    write(tmp_path, CONFIG.replace("max_drawdown", "max_drawdwon"))
    done = quantd(tmp_path, "config", "check", "--json")
    assert done.returncode == 78
    (mistake,) = json.loads(done.stdout)["mistakes"]
    assert mistake["line"] == CONFIG.splitlines().index("max_drawdown = 0.25") + 1
    assert "max_drawdown" in mistake["remedy"]


def test_the_next_instants_are_in_exchange_time_and_utc_over_a_clock_change(tmp_path):
    write(tmp_path)
    found = answer(quantd(tmp_path, "schedule", "next", "2", "--after", "2024-03-08T12:00:00Z", "--json"))
    assert [(r["time"], r["local"]) for r in found["instants"]] == [
        ("2024-03-08T20:45:00Z", "2024-03-08T15:45:00-05:00"),
        ("2024-03-11T19:45:00Z", "2024-03-11T15:45:00-04:00"),
    ]


def test_a_tick_of_a_closed_date_is_marked_and_showing_it_makes_no_folder(tmp_path):
    write(tmp_path, CONFIG.replace('at = "close-15m"', 'cron = "0 16 * * fri"'))
    shown = quantd(tmp_path, "schedule", "next", "2", "--after", "2019-04-15")
    assert shown.returncode == 0
    assert "Mon 2019-04-22 16:00:00 -0400" in shown.stdout
    assert shown.stdout.count("(moved from 2019-04-19, closed)") == 1
    found = answer(quantd(tmp_path, "schedule", "next", "2", "--after", "2019-04-15", "--json"))
    assert [r["moved_from"] for r in found["instants"]] == ["2019-04-19", None]
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "written"),
    [("=SPY", "'=SPY"), ("+1+1", "'+1+1"), ("-SPY", "'-SPY"), ("@SUM(A1)", "'@SUM(A1)"), ("-12.50", "-12.50"),
    ("A=B", "A=B")],
)  # fmt: skip
def test_text_that_a_spreadsheet_takes_for_a_formula_is_exported_as_text(text, written):
    assert cell(text) == written


@pytest.mark.parametrize("symbol", ["=SPY", "+SPY", "-SPY", "@SPY", "^SPY"])
def test_a_symbol_begins_with_a_capital_or_a_digit(tmp_path, symbol):
    write(tmp_path, CONFIG.replace('"IWM"]', f'"IWM", "{symbol}"]'))
    done = quantd(tmp_path, "config", "check")
    assert done.returncode == 78
    assert f'symbols[3] = "{symbol}" is not valid; write a ticker: a capital or a digit' in done.stderr


def test_a_new_policy_runs_as_it_is(tmp_path):
    write(tmp_path)
    wrote = answer(quantd(tmp_path, "init", "--policy", "value", "--json"))
    with (tmp_path / "config.toml").open("a") as file:
        file.write("\n" + wrote["config"].replace("0.2 ", "0.1 "))
    assert answer(quantd(tmp_path, "backtest", "--json"))["fills"] > 0
    again = quantd(tmp_path, "init", "--policy", "value")
    assert again.returncode == 1
    assert "there already" in again.stderr


def test_the_doctor_finds_all_well_and_a_policy_that_draws_random_numbers(ran, tmp_path):
    folder, _ = ran
    assert answer(quantd(folder, "doctor", "--store", "--json"))["ok"]
    write(tmp_path, CONFIG.replace('"equal_weight"', '"dice.py:act"'))
    (tmp_path / "dice.py").write_text("import random\n\ndef act(view):\n    return [random.random() / 9] * 3\n")
    done = quantd(tmp_path, "doctor", "--json")
    assert done.returncode == 1
    (bad,) = [c for c in json.loads(done.stdout)["checks"] if c["ok"] is False]
    assert bad["name"] == "policy"
    assert "random numbers" in bad["text"]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE journal SET blob = zeroblob(length(blob)) WHERE number = 2", "journal: row 2 (run"),
        ("DELETE FROM journal WHERE number = 1", "journal: row 1 is missing"),
        ("UPDATE fills SET price_nano = price_nano + 1 WHERE seq = (SELECT MIN(seq) FROM fills)", "price_nano"),
        ("UPDATE equity SET equity_micro = 'abc' WHERE seq = (SELECT MAX(seq) FROM equity)", "equity_micro 'abc'"),
        ("CREATE TRIGGER foreign_one AFTER INSERT ON fills BEGIN SELECT 1; END", "schema: foreign_one"),
    ],
)
def test_what_the_doctor_finds_in_a_store_that_was_changed_a_start_refuses(ran, tmp_path, sql, says):
    folder, _ = ran
    shutil.copytree(folder / "state", tmp_path / "state")
    write(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "quantd.db")) as db:
        db.execute(sql)
        db.commit()
    done = quantd(tmp_path, "doctor", "--store", "--json")
    assert done.returncode == 1
    assert any(says in c["text"] for c in json.loads(done.stdout)["checks"] if c["ok"] is False)
    started = quantd(tmp_path, "run", "--json")
    assert started.returncode == 1
    assert says in started.stderr
    assert "Restore a backup" in started.stderr
    assert "fault of quantd" not in started.stderr


def test_an_empty_store_is_named_by_doctor_and_run(ran, tmp_path):
    folder, _ = ran
    shutil.copytree(folder / "state", tmp_path / "state")
    write(tmp_path)
    (tmp_path / "state" / "quantd.db").write_bytes(b"")
    done = quantd(tmp_path, "doctor", "--store", "--json")
    (bad,) = [c["text"] for c in json.loads(done.stdout)["checks"] if c["ok"] is False]
    assert "quantd.db is empty: it has none of quantd's tables; restore a backup" in bad
    assert quantd(tmp_path, "run").returncode == 1


def test_rights_of_others_on_the_state_are_named_by_the_doctor_and_taken_by_a_start(ran, tmp_path):
    folder, _ = ran
    shutil.copytree(folder / "state", tmp_path / "state")
    write(tmp_path)
    state = tmp_path / "state"
    loose = {state: 0o777, state / "token": 0o666, state / "quantd.db": 0o666}
    for path, mode in loose.items():
        path.chmod(mode)
    done = quantd(tmp_path, "doctor", "--json")
    (bad,) = [c["text"] for c in json.loads(done.stdout)["checks"] if c["ok"] is False]
    assert "other users may write state: chmod go-w state" in bad
    assert "other users may read state/token: chmod 600 state/token" in bad
    started = quantd(tmp_path, "run", "--json")
    assert started.returncode == 0, started.stderr
    assert started.stderr.count("state.tightened") == 3
    assert [stat.S_IMODE(path.stat().st_mode) for path in loose] == [0o775, 0o600, 0o664]
    assert "state.tightened" not in quantd(tmp_path, "run", "--json").stderr


def test_a_state_folder_for_everybody_is_refused_and_left_as_it_is(tmp_path):
    write(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o1777)
    started = quantd(tmp_path, "run", "--json")
    assert started.returncode == 78
    assert "is a shared folder (sticky bit): choose a private folder" in started.stderr
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o1777


def test_a_report_is_one_page_that_asks_for_nothing_else(ran):
    folder, _ = ran
    assert quantd(folder, "backtest", "--report", "r.html").returncode == 0
    page = (folder / "r.html").read_text()
    assert "<svg" in page
    assert "Sharpe" in page
    assert "http:" not in page
    assert "https:" not in page
    assert "src=" not in page
