"""A run delivers its alerts to the webhook of its configuration, over a restart, and trades as without it."""

import json
import sqlite3
from pathlib import Path

from tests.support.alert_receiver import KEY, Receiver
from tests.support.command_line import CONFIG, answer, quantd, write
from tests.support.venues.served import served

SMALL = CONFIG.replace("max_drawdown = 0.25", "max_drawdown = 0.01")
ENVIRON = {"QUANTD_WEBHOOK_KEY": KEY}


def with_webhook(url: str) -> str:
    return f'{SMALL}[alerts]\nlevels = ["CRITICAL"]\n[alerts.sinks.webhook]\nurl = "{url}"\n'


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "state" / "quantd.db") as store:
        return store.execute(query).fetchall()


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
        found = answer(quantd(folder, "run", "--json", env=ENVIRON))
        assert (found["digest"], found["equity"]) == (expected["digest"], expected["equity"])
        query = "SELECT run || '-' || seq || '-' || k FROM {} ORDER BY seq, k"
        queued = [id for (id,) in rows(folder, query.format("deliveries"))]
        assert queued == [id for (id,) in rows(folder, query.format("alerts WHERE level = 'CRITICAL'"))]
        assert len(queued) == 3
        receiver.answers = []
        answer(quantd(folder, "run", "--json", env=ENVIRON))
        assert receiver.ids == queued
    assert rows(folder, "SELECT COUNT(*) FROM deliveries") == [(0,)]
    assert answer(quantd(folder, "doctor", "--store", "--json", env=ENVIRON))["ok"]


def test_a_webhook_without_its_key_is_refused_with_the_line_and_found_by_the_doctor(tmp_path: Path) -> None:
    write(tmp_path, with_webhook("https://example.org/"))
    line = SMALL.count("\n") + 3
    text = f"config.toml:{line}: [alerts] sinks.webhook needs the secret webhook_key, which is missing"
    done = quantd(tmp_path, "run")
    assert done.returncode == 78
    assert text in done.stderr
    checks = json.loads(quantd(tmp_path, "doctor", "--json").stdout)["checks"]
    assert [(each["ok"], text in each["text"]) for each in checks if each["name"] == "sinks"] == [(False, True)]
