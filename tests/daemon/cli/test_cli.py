"""The command line as its users meet it: exit codes, one JSON document, no traceback."""

import pytest

from tests.support.command_line import answer, quantd, write


@pytest.mark.long
def test_reading_commands_need_no_daemon(ran):
    folder, run = ran
    orders = answer(quantd(folder, "orders", "--last", "3", "--json"))["orders"]
    assert len(orders) == 3
    assert all(o["id"].startswith(f"q-{run['run']}-") for o in orders)
    positions = answer(quantd(folder, "positions", "--json"))["positions"]
    assert {p["symbol"]: p["qty"] for p in positions} == run["positions"]
    assert answer(quantd(folder, "status", "--json"))["equity"] == run["equity"]
    assert {x["limit"] for x in answer(quantd(folder, "risk", "--json"))["limits"]} >= {"cash", "var"}
    assert answer(quantd(folder, "why", "--last", "1", "--json"))["decisions"][0]["agents"]
    assert isinstance(answer(quantd(folder, "alerts", "--json"))["alerts"], list)


@pytest.mark.requirement("R-009")
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
        (("backtest", "--set", "universe.calendar=XNYZ"), 78, "Did you mean XNYS?"),
        (("backtest", "--set", "feed.kind=yfinance"), 78, "replay"),
        (("run", "--set", "agents.even.capital=0.8"), 78, "add up to"),
        (("config", "check", "--set", "broker.cash=-1"), 78, "cash"),
        (("halt",), 75, "no daemon runs"),
        (("status",), 1, "no store"),
        (("why", "q-none"), 1, "no store"),
        (("replay",), 1, "no store"),
        (("report", "--export", "everything"), 2, "'orders', 'equity'"),
        (("schedule", "list", "--next", "3", "--after", "soon"), 2, "--after"),
        (("init", "--policy", "my policy"), 2, "lower-case"),
        (("report", "--from", "2019-03-01", "--to", "2019-01-01"), 2, "is before --from 2019-03-01; exchange them"),
        # an option that the mode does not use is named
        (("alerts", "--ack", "a", "--kind", "x"), 2, "--kind has no effect beside --ack"),
        (("alerts", "--test", "--last", "3"), 2, "--last has no effect beside --test"),
        (("alerts", "--active", "--follow"), 2, "--active has no effect beside --follow"),
        (
            ("schedule", "list", "--jobs", "3", "--next", "3", "--after", "now"),
            2,
            "--next, --after has no effect beside",
        ),
        (("config", "check", "--reload", "--show"), 2, "--show has no effect beside --reload"),
        (("data", "check", "none.parquet"), 78, "none.parquet: there is no such file"),
        (("data", "check", "--stamps", "open"), 2, "--stamps has no effect beside the list of downloads"),
        (("data", "check", "a.csv", "--accept", "x"), 2, "FILE has no effect beside --accept"),
        (("doctor", "--report", "--json"), 2, "--json has no effect beside --report"),
        (("review", "--reason", "x"), 2, "--reason has no effect beside a look at proposals"),
        (("review", "a", "--decline", "--reason", "x", "--plan", "p"), 2, "--plan has no effect beside a proposal"),
        (("bench", "--threads", "4"), 2, "--threads has no effect beside --part portfolio"),
        (("bench", "--part", "api", "one"), 2, "FOLDER has no effect beside --part api"),
        (("run", "--fresh", "--carry"), 2, "--fresh begins with a new account, and --carry"),
        (("why", "--at", "2019-01-02"), 2, "--at has no effect beside the list"),
        (("doctor", "--symbol", "SPY"), 2, "--symbol has no effect beside doctor without --venue"),
        (("doctor", "--venue", "alpaca", "--store"), 2, "--store has no effect beside --venue"),
        (
            ("order", "buy", "1", "SPY", "--reason", "x", "--set", "risk.max_drawdown=0.1"),
            2,
            "risk.max_drawdown changes",
        ),
        (("order", "buy", "1", "SPY", "--reason", "x", "--set", "quantd.state=other"), 75, "no daemon runs"),
        (("halt", "--set", "risk.max_drawdown=0.1"), 75, "no daemon runs"),
        *(
            ((*words, "--set", "risk.max_drawdown=0.1"), 2, "risk.max_drawdown changes nothing for ")
            for words in (
                ("status",),
                ("orders",),
                ("alerts",),
                ("upgrade",),
                ("why",),
                ("backup", "b.tar"),
                ("token", "list"),
                ("token", "create", "x", "--scope", "read"),
                ("token", "revoke", "x"),
                ("device", "list"),
                ("device", "add", "me", "00" * 32),
                ("device", "revoke", "me"),
                ("report", "--looks"),
                ("config", "check", "--reload"),
            )
        ),
        (("agent", "add", "x", "--set", "risk.max_drawdown=0.1"), 2, "changes nothing for the file that this command"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(tmp_path, arguments, code, says):
    write(tmp_path)
    done = quantd(tmp_path, *arguments)
    assert (done.returncode, says in done.stderr, done.stdout) == (code, True, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of quantd" not in done.stderr
