"""E-mail goes out over TLS only, complete and with one Message-ID for each alert; no alert can forge a header."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from quantd.adapters.sinks import email as email_sink
from quantd.adapters.sinks.email import LOGIN_WAIT_S, Email, EmailOptions
from tests.support.sink_servers import ALERT, PASSWORD, USER, MailServer, refusal

OPS, RISK = "ops@example.org", "risk@example.org"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MailServer]:
    mail_server = MailServer(tmp_path)
    await mail_server.start()
    yield mail_server
    await mail_server.stop()


def options(server: MailServer, **more: Any) -> EmailOptions:
    table = {
        "host": "localhost", "port": server.port, "from": "quantd@example.org", "to": [OPS], "user": USER,
        "ca": str(server.cert), "timeout_s": 5.0,
    }  # fmt: skip
    return msgspec.convert(table | more, EmailOptions)


def of(server: MailServer, password: str = PASSWORD, **more: Any) -> Email:
    return Email(options(server, **more), {"smtp_password": password})


async def test_an_alert_arrives_with_every_field_over_starttls_and_a_login(server: MailServer) -> None:
    sink = of(server, to=[OPS, RISK])
    await sink.deliver(ALERT)
    await sink.deliver(ALERT)
    await sink.deliver(replace(ALERT, id="7f3k2m1a-8-0"))
    first, again, other = server.taken
    assert first["Subject"] == "[quantd paper] CRITICAL switch"
    assert (first["From"], first["To"]) == ("quantd@example.org", f"{OPS}, {RISK}")
    assert server.recipients == [[OPS, RISK]] * 3
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Message-ID"] == again["Message-ID"] == "<quantd.7f3k2m1a-7-0@example.org>"
    assert other["Message-ID"] == "<quantd.7f3k2m1a-8-0@example.org>"
    assert abs(first["Date"].datetime.timestamp() - time.time()) < 60
    assert first.get_content_type() == "text/plain"
    lines = first.get_content().splitlines()
    assert lines == [
        "halt é", "1970-01-01 00:00 UTC, 2 alerts, alert 7f3k2m1a-7-0", "at 0.31",
        '`quantd resume --reason "…"` trades again',
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # the whole connection is TLS
async def test_tls_from_the_first_byte_is_used_at_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MailServer(tmp_path, immediate=True)
    monkeypatch.setattr(email_sink, "TLS_PORT", server.port)
    await server.start()
    await of(server).deliver(ALERT)
    assert server.ids == [ALERT.id]
    await server.stop()


async def test_this_machine_may_take_mail_without_encryption_and_login(tmp_path: Path) -> None:
    server = MailServer(tmp_path, starttls=False, logins=False)
    await server.start()
    await of(server, host="127.0.0.1", starttls=False, user="").deliver(ALERT)
    assert server.ids == [ALERT.id]
    why = await refusal(of(server, host="127.0.0.1", user=""))
    assert str(why) == "the server offers no STARTTLS, or no login that quantd knows"
    assert len(server.taken) == 1, "a server without STARTTLS gets nothing"
    await server.stop()


async def test_a_certificate_that_is_not_trusted_or_of_another_host_is_refused(server: MailServer) -> None:
    assert str(await refusal(of(server, ca=""))).startswith("the certificate of the server is refused: self-signed")
    away = str(server.cert.with_name("away.pem"))
    assert str(await refusal(of(server, ca=away))) == "the file of ca cannot be read (FileNotFoundError)"
    await server.stop()
    server.renamed("DNS:smtp.example.org")
    await server.start()
    assert str(await refusal(of(server))).startswith("the certificate of the server is refused: Hostname mismatch")
    assert (server.attempts, server.taken) == (0, [])


async def test_a_refused_login_waits_minutes_and_names_no_secret(server: MailServer) -> None:
    why = await refusal(of(server, password="wrong"))
    assert (str(why), why.retry_after_s) == ("the server refuses the login (535)", LOGIN_WAIT_S)
    assert server.attempts == 0


@pytest.mark.parametrize("answer", ["451 try later", "452 full", "550 no", "554 spam"])
async def test_every_answer_but_an_acceptance_is_a_failed_delivery(server: MailServer, answer: str) -> None:
    sink, server.answers = of(server), [f"{answer} {PASSWORD}"]
    assert str(await refusal(sink)) == f"the server answers {answer} ***"
    await sink.deliver(ALERT)
    assert server.ids == [ALERT.id]


@pytest.mark.long
async def test_a_server_that_hangs_or_is_away_is_a_failed_delivery(server: MailServer) -> None:
    sink, server.silent = of(server, timeout_s=1.0), True
    assert str(await refusal(sink)) == "no answer within 1 s"
    server.silent = False
    await server.stop()
    assert str(await refusal(sink)) == "the server cannot be reached (SMTPConnectError)"
    await server.start()
    await sink.deliver(ALERT)
    assert server.ids == [ALERT.id]


async def test_a_recipient_that_is_refused_does_not_hold_up_the_others(server: MailServer) -> None:
    sink, server.refused = of(server, to=[OPS, RISK]), {RISK: "450 later"}
    assert str(await refusal(sink)) == f"the server refuses some recipients: {RISK}: 450 later"
    server.refused = {}
    await sink.deliver(ALERT)
    assert server.recipients == [[OPS], [RISK]], "nobody has it twice"
    server.refused = {RISK: "550 unknown"}
    other = replace(ALERT, id="7f3k2m1a-8-0")
    await refusal(sink, other)
    await refusal(sink, other)
    await sink.deliver(other)
    assert server.recipients[2:] == [[OPS]]
    server.refused = {OPS: "550 unknown", RISK: "550 unknown"}
    for _ in range(5):
        assert str(await refusal(sink)).startswith("the server refuses every recipient: ops@")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"starttls": False}, "starttls is needed"),
        ({"to": []}, "length >= 1"),
        ({"to": ["a@b.c\r\nBcc: d@e.f"]}, "to is not an address"),
        ({"to": ["a@b.c, d@e.f"]}, "to is not an address"),
        ({"from": "Quantd <a@b.c>"}, "from is not an address"),
        ({"host": "smtp://a"}, "host is not the name or address of a host"),
        ({"ca": "ca.pem"}, "ca is not an absolute path"),
        ({"port": 0}, ">= 1"),
    ],
)
def test_options_that_cannot_work_or_are_not_encrypted_are_refused(change: dict[str, Any], fault: str) -> None:
    table = {"host": "smtp.example.org", "from": "a@b.c", "to": ["d@e.f"]}
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.convert(table | change, EmailOptions)
