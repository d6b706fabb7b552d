"""`quantd connect`: keys are asked for without an echo, tested at the service, and stored for their owner alone."""

import io
import os
import pty
import shlex
import ssl
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from aiohttp import web

from quantd.daemon.cli.setup import credentials
from quantd.daemon.cli.setup.connect import service_of
from quantd.daemon.config import secret
from tests.support.checkout import ROOT
from tests.support.command_line import Done, environment, program, quantd
from tests.support.mqtt import certificate
from tests.support.sink_servers import NTFY_TOKEN, TOKEN, BotApi, NtfyServer
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.served import served

KEY, SECRET = "PKTESTKEY0000000", "s3cret-of-the-test"
KEYS = {"QUANTD_ALPACA_KEY": KEY, "QUANTD_ALPACA_SECRET": SECRET}


@contextmanager
def serving(app: web.Application) -> Iterator[str]:
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


def alpaca_app(key: str = KEY, **account: object) -> web.Application:
    """The account of one kind, as the venue of the tests answers for it."""
    venue = AlpacaServer(key=key, secret=SECRET)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("APCA-API-KEY-ID") != venue.key or request.headers["APCA-API-SECRET-KEY"] != SECRET:
            return web.json_response({"code": 40110000, "message": "request is not authorized"}, status=403)
        content = venue.book.account_json() | {"cash": "25000", "account_number": "PA1", **account}
        return web.json_response(content)

    app = web.Application()
    app.router.add_get("/v2/account", answer)
    return app


def piped(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def read(folder: Path, name: str) -> str | None:
    return secret(name, {"CREDENTIALS_DIRECTORY": str(folder / "credentials")})


def test_keys_of_standard_input_are_tested_and_stored_as_the_daemon_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, KEY, SECRET)
    assert quantd(tmp_path, "init").returncode == 0
    with serving(alpaca_app()) as url:
        done = quantd(tmp_path, "connect", "alpaca", "--url", url, "--into", "config.toml")
    assert done.returncode == 0, done.stderr
    assert "the paper account answers: 25,000.00 USD in cash\n" in done.stdout
    assert "Next: quantd run trades on paper, and quantd plan then shows its next orders" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    assert (read(tmp_path, "alpaca_key"), read(tmp_path, "alpaca_secret")) == (KEY, SECRET)
    folder = tmp_path / "credentials"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    document = tomllib.loads((tmp_path / "config.toml").read_text())
    assert (document["feed"]["kind"], document["broker"]["kind"], document["broker"]["url"]) == (
        "alpaca",
        "alpaca",
        url,
    )
    assert document["broker"]["cash"] == "25000.00", "a first start compares it with the account"
    assert "# quantd: paper trading" in (tmp_path / "config.toml").read_text()


def test_the_next_command_runs_also_where_the_state_folder_has_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of recorded bars is not continued at a venue; new keys of a run at the venue leave its cash alone."""
    assert quantd(tmp_path, "init").returncode == 0
    options = ("--set", "feed.pace=fast", "--set", "feed.at_end=stop", "--set", "feed.end=2019-02-01")
    assert quantd(tmp_path, "run", *options, "--set", "api.port=0", "--set", "bus.port=0").returncode == 0
    with serving(alpaca_app()) as url:
        for place in (" --fresh", ""):
            piped(monkeypatch, KEY, SECRET)
            done = quantd(tmp_path, "connect", "alpaca", "--url", url, "--into", "config.toml")
            assert f"Next: quantd run{place} trades on paper" in done.stdout
            assert ("broker.cash" in done.stdout) == bool(place)


def test_keys_of_the_environment_are_taken_without_a_question(tmp_path: Path) -> None:
    with serving(alpaca_app()) as url:
        done = quantd(tmp_path, "connect", "alpaca", "--url", url, "--folder", "keys", env=KEYS)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "keys/alpaca_secret").read_text() == f"{SECRET}\n"
    assert "--into config.toml writes them there" in done.stdout
    assert 'kind = "alpaca"' in done.stdout


def test_the_wrong_kind_of_account_is_named_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "AKLIVE", SECRET)
    with serving(alpaca_app()) as paper, serving(alpaca_app("AKLIVE")) as live:
        done = quantd(tmp_path, "connect", "alpaca", "--url", paper, "--other-url", live, "--folder", "k 1")
        assert done.returncode == 78
        assert "these are the keys of a live account, and the paper account was asked" in done.stderr
        remedy = shlex.split(done.stderr.rpartition(", or: ")[2])
        piped(monkeypatch, "AKLIVE", SECRET)
        assert "the live account answers" in quantd(tmp_path, *remedy[1:]).stdout
        assert (tmp_path / "k 1" / "alpaca_key").exists()
        piped(monkeypatch, KEY, SECRET)
        done = quantd(tmp_path, "connect", "alpaca", "--live", "--url", live, "--other-url", paper)
        assert "these are the keys of a paper account, and the live account was asked" in done.stderr
    assert not (tmp_path / "credentials").exists()


def test_a_live_account_leads_to_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, "AKLIVE", SECRET)
    with serving(alpaca_app("AKLIVE", trading_blocked=True)) as live:
        done = quantd(tmp_path, "connect", "alpaca", "--live", "--url", live)
    assert "quantd doctor --live" in done.stdout
    assert "which does not trade (status ACTIVE)" in done.stdout


def test_refused_keys_a_strange_answer_and_a_missing_network_each_have_a_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = KEYS | {"QUANTD_ALPACA_SECRET": "wrong"}
    with serving(alpaca_app()) as url:
        refused = quantd(tmp_path, "connect", "alpaca", "--url", url, env=env)
        strange = quantd(tmp_path, "connect", "alpaca", "--url", f"{url}/page", env=env)
    away = quantd(tmp_path, "connect", "alpaca", "--url", "http://127.0.0.1:9", env=env)
    assert (refused.returncode, strange.returncode, away.returncode) == (78, 1, 75)
    assert "Alpaca refuses the keys (status 403)" in refused.stderr
    assert "another server or a proxy answers there" in strange.stderr
    assert "no network to 127.0.0.1:9: Connect call failed" in away.stderr or "refused" in away.stderr
    for done, address in ((refused, url), (strange, f"{url}/page"), (away, "http://127.0.0.1:9")):
        assert done.stderr.rstrip().endswith(f"then: quantd connect alpaca --url {address}")
        assert "wrong" not in done.stderr
    assert not (tmp_path / "credentials").exists()


@contextmanager
def proxied(folder: Path, app: web.Application) -> Iterator[str]:
    """The service behind a certificate that this machine does not trust, as a company's proxy has one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(folder))
    with served(app, context) as port:
        yield f"https://127.0.0.1:{port}"


@pytest.mark.long
def test_a_proxys_certificate_is_named_and_its_remedy_works(tmp_path: Path) -> None:
    (tmp_path / "pem").mkdir()
    with proxied(tmp_path / "pem", alpaca_app()) as url:
        done = quantd(tmp_path, "connect", "alpaca", "--url", url, env=KEYS)
        assert done.returncode == 78
        assert "the certificate of 127.0.0.1:" in done.stderr
        assert "self-signed certificate" in done.stderr
        assert done.stderr.rstrip().endswith(f"SSL_CERT_FILE=proxy.pem quantd connect alpaca --url {url}")
        (pem,) = (file for file in (tmp_path / "pem").iterdir() if "KEY" not in file.read_text())
        trusted = program(tmp_path, "connect", "alpaca", "--url", url, env=KEYS | {"SSL_CERT_FILE": str(pem)})
    assert trusted.returncode == 0, trusted.stderr


@pytest.mark.parametrize("missing", ["", "no ascii: é"])
def test_a_missing_or_damaged_key_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    piped(monkeypatch, missing)
    done = quantd(tmp_path, "connect", "alpaca")
    assert done.returncode == 2
    assert "quantd connect alpaca" in done.stderr


def test_a_phone_has_no_folder_of_credentials(tmp_path: Path) -> None:
    for words in (("--folder", "keys"), ("--unit", "paper")):
        done = quantd(tmp_path, "connect", "phone", *words, "--url", "https://trader.example")
        assert (done.returncode, f"{words[0]} has no effect beside phone" in done.stderr) == (2, True)


@pytest.mark.long
def test_a_terminal_shows_no_secret(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with serving(alpaca_app()) as url:
        begun = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "connect", "alpaca", "--url", url], cwd=tmp_path,
            env=environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        for prompt, given in ((b"key of the account", KEY), (b"secret of the account", SECRET)):
            while prompt not in shown:
                shown += os.read(ours, 4096)
            os.write(ours, f"{given}\n".encode())
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the terminal ends with the command
            pass
        assert begun.wait(60) == 0, shown.decode()
    os.close(ours)
    assert KEY.encode() not in shown
    assert SECRET.encode() not in shown
    assert read(tmp_path, "alpaca_secret") == SECRET


def test_for_a_unit_the_files_have_the_names_of_its_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "CREDSTORE", tmp_path / "credstore")
    with serving(alpaca_app()) as url:
        done = quantd(tmp_path, "connect", "alpaca", "--url", url, "--unit", "paper", env=KEYS)
        both = quantd(tmp_path, "connect", "alpaca", "--url", url, "--unit", "paper", "--folder", "x", env=KEYS)
    assert done.returncode == 0, done.stderr
    unit = (Path(__file__).parents[4] / "systemd/quantd@.service").read_text()
    names = sorted(file.name for file in (tmp_path / "credstore").iterdir())
    assert names == ["quantd.paper.alpaca_key", "quantd.paper.alpaca_secret"]
    assert all(f"LoadCredential={name.split('.')[2]}:{name.replace('paper', '%i')}" in unit for name in names)
    assert both.returncode == 2
    other = quantd(tmp_path, "connect", "alpaca", "--chat", "5")
    assert (other.returncode, "--chat is an option of telegram" in other.stderr) == (2, True)


def bot(folder: Path, server: BotApi, *arguments: str, token: str = TOKEN) -> Done:
    with served(server.application()) as port:
        url = f"http://127.0.0.1:{port}"
        return quantd(folder, "connect", "telegram", "--url", url, *arguments, env={"QUANTD_TELEGRAM_TOKEN": token})


def test_a_bot_finds_its_chat_and_a_test_alert_arrives(tmp_path: Path) -> None:
    server = BotApi()
    nobody = bot(tmp_path, server)
    assert nobody.returncode == 78
    assert "nobody has written to @mine_bot yet. Next: send it any message" in nobody.stderr
    server.written = [5, -100123]
    assert quantd(tmp_path, "init").returncode == 0
    done = bot(tmp_path, server, "--into", "config.toml")
    assert done.returncode == 0, done.stderr
    assert "a test of this sink" in server.taken[0]["text"]
    assert read(tmp_path, "telegram_token") == TOKEN
    table = tomllib.loads((tmp_path / "config.toml").read_text())["alerts"]["sinks"]["telegram"]
    assert table["chat"] == -100123
    assert "Next: quantd alerts --test sends" in done.stdout
    messages = len(server.taken)
    with served(server.application()) as port:  # at another port than before
        address = f"alerts.sinks.telegram.url=http://127.0.0.1:{port}"
        tried = quantd(tmp_path, "alerts", "--test", "--set", address)
    assert tried.returncode == 0, "the printed command finds the token"
    assert len(server.taken) == messages + 1
    assert TOKEN not in done.stdout


def test_the_person_of_a_private_chat_may_press_its_buttons(tmp_path: Path) -> None:
    server = BotApi()
    server.chat, server.written = 5, [5]
    assert quantd(tmp_path, "init").returncode == 0
    done = bot(tmp_path, server, "--into", "config.toml")
    assert done.returncode == 0, done.stderr
    assert "its person may halt, reduce and acknowledge there" in done.stdout
    table = tomllib.loads((tmp_path / "config.toml").read_text())["alerts"]["sinks"]["telegram"]
    assert (table["chat"], table["people"]) == (5, [5])
    assert quantd(tmp_path, "config", "check").returncode == 0


def test_a_wrong_token_and_a_wrong_chat_are_named(tmp_path: Path) -> None:
    unknown = bot(tmp_path, BotApi(), token="123:abc")
    chat = bot(tmp_path, BotApi(), "--chat", "77")
    words = bot(tmp_path, BotApi(), token="no token")
    assert (unknown.returncode, chat.returncode, words.returncode) == (78, 78, 2)
    assert "Telegram knows no bot with this token (status 401)" in unknown.stderr
    assert "chat not found; the chat is wrong" in chat.stderr
    assert TOKEN not in chat.stderr
    assert "such as 123456:ABC" in words.stderr
    assert not (tmp_path / "credentials").exists()


def topic(folder: Path, server: NtfyServer, *arguments: str, token: str = "") -> Done:
    with served(server.application()) as port:
        url = f"http://127.0.0.1:{port}"
        return quantd(folder, "connect", "ntfy", "--url", url, *arguments, env={"QUANTD_NTFY_TOKEN": token})


def test_a_topic_that_nobody_guesses_is_made_and_a_test_alert_arrives(tmp_path: Path) -> None:
    server = NtfyServer()
    assert quantd(tmp_path, "init").returncode == 0
    done = topic(tmp_path, server, "--into", "config.toml")
    again = topic(tmp_path, server)
    assert (done.returncode, again.returncode) == (0, 0), done.stderr
    table = tomllib.loads((tmp_path / "config.toml").read_text())["alerts"]["sinks"]["ntfy"]
    named = table["topic"]
    assert named in done.stdout
    assert table["answers"] not in (named, "")  # the buttons' topic, so that the phone can halt
    assert named not in again.stdout
    assert len(server.taken) == 2
    assert "Next: quantd alerts --test" in done.stdout
    assert not (tmp_path / "credentials").exists()


def test_a_protected_topic_needs_its_token(tmp_path: Path) -> None:
    refused = topic(tmp_path, NtfyServer(NTFY_TOKEN), "--topic", "mine")
    done = topic(tmp_path, NtfyServer(NTFY_TOKEN), "--topic", "mine", "--token", token=NTFY_TOKEN)
    assert refused.returncode == 78
    assert "the topic needs a token: add --token" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert "answers" not in done.stdout, "on a server with access control no press would arrive"
    assert read(tmp_path, "ntfy_token") == NTFY_TOKEN


def test_a_venue_or_a_receiver_without_keys_here_is_named_with_its_own_way() -> None:
    pages = {
        "kraken": "venues/kraken.md",
        "binance": "venues/binance.md",
        "ibkr": "venues/ibkr.md",
        "slack": "receivers.md",
    }
    for name, page in pages.items():
        with pytest.raises(typer.BadParameter) as refused:
            service_of(name)
        assert page in str(refused.value)
        assert any((ROOT / "docs" / folder / page).is_file() for folder in ("", "operate"))
    with pytest.raises(typer.BadParameter, match="There are alpaca, ntfy, telegram, phone"):
        service_of("coinbase")
    assert service_of("ntfy") == "ntfy"
