"""The edges of a daemon that runs as a process: its connections, its bus, and what it writes."""

import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.daemon.running_daemon import running
from tests.support.calendar_files import with_calendar
from tests.support.command_line import ALERTING, CONFIG, environment, program, quantd, write
from tests.support.mqtt import certificate
from tests.support.services import require

PACED = CONFIG.replace('pace = "fast"', 'pace = "2/s"').replace('at_end = "stop"', 'at_end = "wait"')


@pytest.mark.long
def test_a_crowd_of_connections_takes_no_descriptor_from_the_store(tmp_path: Path) -> None:
    with running(tmp_path, PACED, files=128) as daemon:
        port = daemon.place["port"]
        crowd = []
        for _ in range(300):
            crowd.append(socket.create_connection(("127.0.0.1", port), 5))
        time.sleep(1.0)
        descriptors = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        for connection in crowd:
            connection.close()
        before = daemon.get("/api/v1/status")
        time.sleep(2.0)
        after = daemon.get("/api/v1/status")
        assert descriptors < 100
        assert (after["switch"], after["status"]) == ("RUN", "running")
        assert after["slices"] > before["slices"] > 0
        assert daemon.stop() == 0
        assert len(daemon.written("err")) < 2_000


@pytest.mark.long
def test_a_process_that_may_open_too_few_files_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"may open 64 files.*Raise the limit: ulimit -n"),
        running(tmp_path, PACED, files=64),
    ):
        pass


@pytest.mark.requirement("R-007")
@pytest.mark.long
def test_a_run_that_logs_in_json_writes_nothing_else_and_names_its_own_state_folder(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    write(with_calendar(tmp_path, "elsewhere"))
    done = program(tmp_path, "run", "--state", str(folder), "--set", "log.format=json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    events = {line["event"]: line for line in lines}
    assert events["serving"]["state"] == str(folder)
    assert events["ended"]["equity"]
    assert {line["instance"] for line in lines} == {"paper"}
    again = program(
        tmp_path, "run", "--state", str(folder), "--set", "log.format=json", "--set", "feed.start=2019-02-01"
    )
    assert again.returncode != 0
    assert all("event" in json.loads(line) for line in (again.stdout + again.stderr).splitlines())


@pytest.mark.long
def test_people_are_told_the_token_of_the_folder_that_the_run_is_in(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    write(tmp_path)
    done = quantd(tmp_path, "run", "--state", str(folder))
    assert f"(token for changes: {folder / 'token'})" in done.stdout
    assert (folder / "token").exists()
    file = folder / "sign-in"
    assert f"the link is in {file}; it works once" in done.stdout
    assert "#code=" in file.read_text()
    assert "#code=" not in done.stdout, "a log may have other readers"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


STEERING = "red\x1b]0;pwned\x07 \x1b[31m \x9b31m \u202e"


@pytest.mark.long
def test_text_of_a_policy_cannot_steer_the_terminal_of_any_command(tmp_path: Path) -> None:
    (tmp_path / "steers.py").write_text(f"def act(view):\n    raise ValueError({STEERING!a})\n")
    write(
        tmp_path,
        CONFIG.replace('policy = "momentum"', 'policy = "steers.py:act"').replace("params = { lookback = 60 }", ""),
    )
    ran = quantd(tmp_path, "run")
    assert ran.returncode == 0, ran.stderr
    # a policy's process is not the only one whose text is kept: that of a venue's refusal stands here as it came
    with sqlite3.connect(tmp_path / "state" / "quantd.db") as store:
        assert store.execute("UPDATE alerts SET text = ? WHERE kind = 'policy'", (STEERING,)).rowcount
    store.close()
    commands = (["alerts"], ["alerts", "--json"], ["status"], ["risk"], ["plan"], ["why"], ["report", "--json"])
    for words in commands:
        done = quantd(tmp_path, *words)
        text = done.stdout + done.stderr
        bad = sorted({c for c in text if c not in "\n\t" and not c.isprintable()})
        assert bad == [], (words, bad)
        if "--json" in words:
            json.loads(done.stdout)
    alerts = quantd(tmp_path, "alerts").stdout
    assert "red\\x1b]0;pwned\\x07 \\x1b[31m \\u009b31m \\u202e" in alerts
    kept = json.loads(quantd(tmp_path, "alerts", "--json").stdout)["alerts"]
    assert any("red\x1b]0;pwned\x07" in alert["text"] for alert in kept)


@pytest.mark.long
def test_the_box_of_a_run_shows_control_characters_and_obeys_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        PACED.replace('policy = "momentum"', 'policy = "steers.py:act"').replace("params = { lookback = 60 }", ""),
    )
    (tmp_path / "steers.py").write_text(f"def act(view):\n    raise ValueError({STEERING!a})\n")
    with_calendar(tmp_path)
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", "run"], cwd=tmp_path, env=environment(), stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = b""
    until = time.monotonic() + 60
    while b"pwned" not in shown and time.monotonic() < until:
        shown += os.read(master, 65_536)
    process.kill()
    process.wait(10)
    os.close(master)
    assert b"pwned" in shown
    assert b"\x1b]0;" not in shown


def with_tls(folder: Path) -> str:
    certificate(folder)
    return ALERTING.replace("[bus]", '[bus]\ntls = { certificate = "cert.pem", key = "key.pem" }')


@pytest.mark.requirement("R-234")
@pytest.mark.long
def test_the_embedded_broker_speaks_tls_where_it_is_configured_and_nothing_else(tmp_path: Path) -> None:
    programs = require("mosquitto")
    text = with_tls(tmp_path).replace('at_end = "stop"', 'at_end = "wait"')
    with running(tmp_path, text) as daemon:
        url = daemon.get("/api/v1")["bus"]
        assert url.startswith("mqtts://127.0.0.1:")
        assert url in daemon.written("out")
        place = [programs["mosquitto_sub"], "-h", "127.0.0.1", "-p", url.rsplit(":", 1)[1], "-t", "quantd/paper/status"]
        over_tls = subprocess.run(
            [*place, "-C", "1", "-W", "10", "--cafile", str(tmp_path / "cert.pem")], capture_output=True, text=True
        )
        assert json.loads(over_tls.stdout)["state"] == "online"
        plain = subprocess.run([*place, "-C", "1", "-W", "2"], capture_output=True, text=True)
        assert plain.stdout == ""
        follow = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "alerts", "--follow", "--last", "1", "--json"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert follow.stdout is not None
        follow.stdout.readline()  # the last alert of the store: it connects now
        time.sleep(2.0)
        assert quantd(tmp_path, "halt", "--reason", "over tls").returncode == 0
        alert = json.loads(follow.stdout.readline())
        assert "over tls" in alert["text"]
        follow.kill()
        follow.communicate(timeout=10)


REFUSED = {
    "a certificate that is not there": ('[bus]\ntls = { certificate = "no.pem", key = "key.pem" }', "no such file"),
    "a certificate that is none": ('[bus]\ntls = { certificate = "config.toml", key = "key.pem" }', "cannot be used"),
    "a key that is not the certificate's": (
        '[bus]\ntls = { certificate = "cert.pem", key = "other.pem" }',
        "key values mismatch",
    ),
    "a key with a passphrase": ('[bus]\ntls = { certificate = "cert.pem", key = "closed.pem" }', "cannot be used"),
    "certificates of subscribers": (
        '[bus]\ntls = { certificate = "cert.pem", key = "key.pem", ca = "cert.pem" }',
        'applies only to kind = "mqtt"',
    ),
    "an API certificate that is none": (
        '[api]\ntls = { certificate = "config.toml", key = "key.pem" }',
        "cannot be used",
    ),
    "certificates of API clients": (
        '[api]\ntls = { certificate = "cert.pem", key = "key.pem", ca = "cert.pem" }',
        "[api] tls.ca",
    ),
    "the API for other machines without TLS": ('[api]\nhost = "0.0.0.0"', "without TLS"),
    "open reads for other machines": (
        '[api]\nopen_reads = true\nhost = "0.0.0.0"\ntls = { certificate = "cert.pem", key = "key.pem" }',
        "write open_reads = false",
    ),
    "open reads behind a proxy": ('[api]\nopen_reads = true\nnames = ["trader.example"]', "write open_reads = false"),
    "a proxy's name with its port": ('[api]\nnames = ["trader.example:443"]', "without a port"),
    "all origins": ('[api]\ncors = ["*"]', "an origin in lower case"),
    "an origin without TLS": ('[api]\ncors = ["http://pages.example"]', "an origin in lower case"),
    "the owner's token in the file of the others": ('[api]\ntokens = "tokens.json"', "is a file of another use"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_protection_that_cannot_be_in_force_refuses_to_start_with_the_line(tmp_path: Path, what: str) -> None:
    table, said = REFUSED[what]
    certificate(tmp_path)
    for words in (
        ["ec", "-in", "key.pem", "-out", "closed.pem", "-aes128", "-passout", "pass:secret"],
        ["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "other.pem"],
    ):
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)
    section = table.split("\n", 1)[0]
    text = CONFIG.replace(section, table)
    line = text[: text.index(table)].count("\n") + 2
    write(tmp_path, text)
    for words in (["config", "check"], ["run"]):
        done = quantd(tmp_path, *words)
        assert (done.returncode, "Traceback" in done.stderr) == (78, False)
        assert f"config.toml:{line}: {section}" in done.stderr
        assert said in done.stderr
    assert not (tmp_path / "state" / "quantd.db").exists()


@pytest.mark.requirement("R-224", "R-225")
def test_two_replicas_on_sqlite_refuse_to_start_with_the_remedy(tmp_path: Path) -> None:
    write(tmp_path, CONFIG + "[store]\nreplicas = 2\n")
    for words in (["config", "check"], ["run"]):
        done = quantd(tmp_path, *words)
        assert (done.returncode, "Traceback" in done.stderr) == (78, False)
        assert "each replica would trade from its own SQLite file" in done.stderr
        assert 'write [store] url = "postgresql://user@host/database", or start one instance' in done.stderr
    assert not (tmp_path / "state" / "quantd.db").exists()


@pytest.mark.long
def test_half_a_login_for_the_embedded_broker_refuses_to_start(tmp_path: Path) -> None:
    write(tmp_path)
    secret = {"QUANTD_MQTT_PASSWORD": "secret"}
    done = quantd(tmp_path, "run", env=secret)
    assert done.returncode == 78
    assert "username is missing, but the secret mqtt_password is given" in done.stderr
    write(tmp_path, CONFIG.replace("[bus]", '[bus]\nusername = "me"'))
    done = quantd(tmp_path, "run")
    assert done.returncode == 78
    assert '[bus] username = "me" needs the secret mqtt_password, which is missing' in done.stderr
    assert quantd(tmp_path, "run", "--quiet", env=secret).returncode == 0
