"""A run delivers its alerts to the sinks of its configuration, over restarts and kills, and trades as without them."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from quantd.adapters.store.handle import read_only
from quantd.adapters.store.tables.projection import OUTBOX, Projection
from quantd.trading.codec import decode
from tests.daemon.running_daemon import running, until
from tests.support.command_line import CONFIG, answer, environment, quantd, write
from tests.support.sink_servers import (
    KEY,
    NTFY_TOKEN,
    PASSWORD,
    TOKEN,
    USER,
    BotApi,
    MailServer,
    NtfyServer,
    Receiver,
    in_a_thread,
)
from tests.support.venues.served import served

SMALL = CONFIG.replace("max_drawdown = 0.25", "max_drawdown = 0.008")
ENVIRON = {"QUANTD_WEBHOOK_KEY": KEY}


def with_webhook(url: str) -> str:
    return f'{SMALL}[alerts]\nlevels = ["CRITICAL"]\n[alerts.sinks.webhook]\nurl = "{url}"\n'


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "state" / "quantd.db") as store:
        return store.execute(query).fetchall()


@pytest.mark.long
def test_alerts_wait_in_the_store_while_the_webhook_is_away_and_arrive_after_the_next_start(tmp_path: Path) -> None:
    folder, plain = tmp_path / "with", tmp_path / "without"
    folder.mkdir()
    plain.mkdir()
    write(plain, SMALL)
    expected = answer(quantd(plain, "run", "--json"))
    receiver = Receiver()
    with served(receiver.application()) as receiver.port:
        write(folder, with_webhook(receiver.url))
        receiver.answers = [503] * 1_000
        summary = answer(quantd(folder, "run", "--json", env=ENVIRON))
        assert (summary["digest"], summary["equity"]) == (expected["digest"], expected["equity"])
        query = "SELECT run || '-' || seq || '-' || k FROM {} ORDER BY seq, k"
        queued = [id for (id,) in rows(folder, query.format("deliveries"))]
        critical = [id for (id,) in rows(folder, query.format("deliveries WHERE level = 'CRITICAL'"))]
        assert critical == [id for (id,) in rows(folder, query.format("alerts WHERE level = 'CRITICAL'"))]
        assert len(critical) == 3
        ended = rows(folder, "SELECT kind FROM deliveries WHERE level = 'INFO'")
        assert ended == [("switch",), ("limit_max_drawdown",)], "who receives a breach receives its end"
        receiver.answers = []
        answer(quantd(folder, "run", "--json", env=ENVIRON))
        assert receiver.ids == queued
    assert rows(folder, "SELECT COUNT(*) FROM deliveries") == [(0,)]
    assert answer(quantd(folder, "doctor", "--store", "--json", env=ENVIRON))["ok"]


SECRETS = {"QUANTD_SMTP_PASSWORD": PASSWORD, "QUANTD_TELEGRAM_TOKEN": TOKEN, "QUANTD_NTFY_TOKEN": NTFY_TOKEN}


def with_sinks(mail: MailServer, bot: BotApi, ntfy: NtfyServer) -> str:
    return f"""{SMALL}[alerts.sinks.email]
host = "localhost"
port = {mail.port}
from = "quantd@example.org"
to = ["ops@example.org"]
user = "{USER}"
ca = "{mail.cert}"
[alerts.sinks.telegram]
chat = {bot.chat}
url = "{bot.url}"
[alerts.sinks.ntfy]
topic = "quantd-paper"
url = "{ntfy.url}"
levels = ["WARNING", "CRITICAL"]
"""


def killed(folder: Path, text: str, ready: Callable[[], object], logs: list[str]) -> None:
    """Run until `ready` is true, then SIGKILL."""
    with running(folder, text, "--quiet", "--set", "feed.pace=20/s", env=environment() | SECRETS) as daemon:
        until(ready, "the run was not ready")
        assert daemon.process.poll() is None, "the run ended by itself"
    logs.append(daemon.written("err"))


def messages(folder: Path) -> list[tuple[str, str]]:
    """(id, level of its route) of the messages that the journal leads to, in their order."""
    records = read_only(folder / "state", folder / "state")
    run = records.run()
    fold = Projection(run.run, run.universe.symbols, run.agents)
    for seq, data in records.entries(run.run):
        entry = decode(data)
        fold.add(seq, entry.event, entry.effects)
    outbox_rows = sorted(fold.take()[OUTBOX], key=lambda row: row[1:3])
    return [(f"{row[0]}-{row[1]}-{row[2]}", row[7].level) for row in outbox_rows if not row[7].held]


@pytest.mark.long
def test_alerts_of_runs_that_are_killed_reach_every_sink_in_order_and_no_log_has_a_secret(tmp_path: Path) -> None:
    mail, bot, ntfy = MailServer(tmp_path), BotApi(), NtfyServer(NTFY_TOKEN)
    servers, logs = (mail, bot, ntfy), []
    mail.answers, bot.answers, ntfy.answers = ["451 later"] * 1_000, [500] * 1_000, [503] * 1_000
    with in_a_thread(*servers):
        text = with_sinks(*servers)

        def queued(sink: str) -> int:
            try:
                return int(rows(tmp_path, f"SELECT COUNT(*) FROM deliveries WHERE sink = '{sink}'")[0][0])  # type: ignore[call-overload]
            except sqlite3.Error:
                return 0

        def tried() -> bool:
            waiting = all(queued(sink) for sink in ("email", "telegram", "ntfy"))
            return waiting and bool(mail.attempts and bot.requests and ntfy.requests)

        killed(tmp_path, text, tried, logs)
        assert [server.taken for server in servers] == [[], [], []]
        for server in servers:
            server.answers = []
        killed(tmp_path, text, lambda: all(server.taken for server in servers), logs)
        done = quantd(tmp_path, "run", "--json", env=SECRETS)
        logs += [done.stdout, done.stderr]
        assert done.returncode == 0
        every = [id for id, _ in messages(tmp_path)]
        grave = [id for id, level in messages(tmp_path) if level != "INFO"]
        for server, expected in zip(servers, (every, every, grave), strict=True):
            assert list(dict.fromkeys(server.ids)) == expected
            assert len(server.ids) - len(expected) <= 1, "one kill between acceptance and acknowledgement"
    assert len(grave) > 0
    assert rows(tmp_path, "SELECT COUNT(*) FROM deliveries") == [(0,)]
    shown = quantd(tmp_path, "config", "check", "--show", env=SECRETS)
    for text in (*logs, shown.stdout, shown.stderr):
        assert not [secret for secret in SECRETS.values() if secret in text]
    assert any("the receiver answers 500" in text for text in logs)


def test_a_test_alert_goes_through_every_sink_and_the_exit_code_says_whether_it_arrived(tmp_path: Path) -> None:
    mail, bot, ntfy = servers = MailServer(tmp_path), BotApi(), NtfyServer(NTFY_TOKEN)
    with in_a_thread(*servers):
        write(tmp_path, with_sinks(*servers))
        done = quantd(tmp_path, "alerts", "--test", env=SECRETS)
        assert done.returncode == 0, done.stderr
        assert [line.split()[:2] for line in done.stdout.splitlines()] == [
            ["ok", "email,"], ["ok", "telegram,"], ["ok", "ntfy,"],
        ]  # fmt: skip
        assert mail.taken[0]["Subject"] == "[quantd paper] INFO rehearsal"
        assert "a test of this sink" in bot.taken[0]["text"]
        assert len(ntfy.taken) == 1, "a test passes the levels of a sink"
        mail.password = "another"
        done = quantd(tmp_path, "alerts", "--test", "--json", env=SECRETS)
        document = json.loads(done.stdout)
        assert (done.returncode, document["ok"]) == (1, False)
        assert [(sink["sink"], sink["ok"], sink["error"]) for sink in document["sinks"]] == [
            ("email", False, "email: the server refuses the login (535)"),
            ("telegram", True, ""),
            ("ntfy", True, ""),
        ]
        done = quantd(tmp_path, "alerts", "--test", env={k: v for k, v in SECRETS.items() if "NTFY" not in k})
        assert done.returncode == 1
        assert "ntfy: the receiver answers 403" in done.stdout
    write(tmp_path, SMALL)
    done = quantd(tmp_path, "alerts", "--test")
    assert done.returncode == 2
    assert "has no sink of alerts" in done.stderr


@pytest.mark.parametrize("secret", ["smtp_password", "telegram_token"])
def test_a_secret_that_a_sink_needs_is_named_before_a_run(tmp_path: Path, secret: str) -> None:
    write(tmp_path, with_sinks(MailServer(tmp_path), BotApi(), NtfyServer()).replace("http://127.0.0.1:0", "https://a"))
    given = {name: text for name, text in SECRETS.items() if name != f"QUANTD_{secret.upper()}"}
    done = quantd(tmp_path, "run", env=given)
    assert done.returncode == 78
    assert f"needs the secret {secret}, which is missing" in done.stderr
    assert "ntfy" not in done.stderr
