"""Every kind of sink gets each selected alert once and in order, over outages of its real server and over restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.sinks import email as email_sink
from quantd.adapters.sinks.email import Email, EmailOptions
from quantd.adapters.sinks.ntfy import Ntfy, NtfyOptions
from quantd.adapters.sinks.sink import OpenSink, Selection, SinkError
from quantd.adapters.sinks.telegram import Telegram, TelegramOptions
from quantd.daemon.jobs import alert_delivery
from quantd.daemon.jobs.alert_delivery import Delivery
from quantd.trading.events import Operator
from tests.daemon.jobs.alert_desk import desk, webhook_of
from tests.support.mqtt import until
from tests.support.sink_servers import (
    ALERT,
    NTFY_TOKEN,
    PASSWORD,
    TOKEN,
    USER,
    BotApi,
    MailServer,
    NtfyServer,
    Receiver,
)

SECRETS = (PASSWORD, TOKEN, NTFY_TOKEN)


@pytest.fixture(autouse=True)
def _short_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_sink, "LOGIN_WAIT_S", 0.05)


class Case:
    """A sink and its server."""

    def __init__(self, server: Any, opened: Callable[[], OpenSink], error: Any, secret: str) -> None:
        self.server = server
        self.opened = opened
        self.error = error
        self.secret = secret


def mail(folder: Path) -> Case:
    server = MailServer(folder)
    table = {"host": "localhost", "from": "q@example.org", "to": ["ops@example.org"], "port": server.port, "user": USER,
             "ca": str(server.cert), "timeout_s": 1.0}  # fmt: skip
    options = msgspec.convert(table, EmailOptions)
    return Case(server, lambda: Email(options, {"smtp_password": PASSWORD}), lambda code: f"{code} no", "password")


def bot(folder: Path) -> Case:
    server = BotApi()
    return Case(
        server,
        lambda: Telegram(TelegramOptions(-100123, server.url, 1.0), {"telegram_token": TOKEN}),
        lambda code: code,
        "token",
    )


def ntfy(folder: Path) -> Case:
    server = NtfyServer(NTFY_TOKEN)
    return Case(
        server, lambda: Ntfy(NtfyOptions("quantd", server.url, 1.0), {"ntfy_token": NTFY_TOKEN}), lambda code: code,
        "token",
    )  # fmt: skip


@pytest.fixture(params=[mail, bot, ntfy], ids=["email", "telegram", "ntfy"])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    folder = tmp_path / "server"
    folder.mkdir()
    sink_case = request.param(folder)
    await sink_case.server.start()
    yield sink_case
    await sink_case.server.stop()


@pytest.mark.long
@pytest.mark.requirement("R-185")
async def test_a_server_that_is_down_then_hangs_then_refuses_gets_each_alert_once_in_order(
    tmp_path: Path, case: Case
) -> None:
    async with desk(tmp_path, case.opened(), "sink") as d:
        with capture_logs() as lines:
            await case.server.stop()
            await d.raised("one", "two")
            await until(lambda: d.counts.failures >= 2)
            assert "cannot be reached" in d.counts.error
            await d.raised("three")
            await until(lambda: d.counts.depth == 3)
            case.server.silent = True
            await case.server.start()
            await until(lambda: "no answer within 1 s" in d.counts.error)
            case.server.answers = [case.error(code) for code in (451, 550, 500)]
            case.server.silent = False
            await until(lambda: len(case.server.taken) == 3)
            await d.raised("four")
            await until(lambda: len(case.server.taken) == 4 and not d.kit.store.waiting("sink"))
            await until(lambda: not d.counts.error)  # cleared once the queue was seen empty
        assert case.server.ids == d.ids()
        assert d.counts.sent == 4
        assert 4 <= len([line for line in lines if line["event"] == "alerts.undelivered"]) <= 8
        assert not [secret for secret in SECRETS if secret in repr(lines)]


@pytest.mark.one_of(3)
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("fault", ["away", "silent", "refuses", "asks to wait"])
async def test_a_sink_that_takes_nothing_is_reported_once_by_the_others_and_again_when_it_delivers(
    tmp_path: Path, case: Case, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_delivery, "REPORT_S", 0.6)
    other = Receiver()
    await other.start()

    def reports() -> list[Alert]:
        return [taken for taken in other.taken if taken.kind == "job_sink_sink"]

    async with desk(tmp_path, case.opened(), "sink") as d:
        webhook = Delivery(d.service, d.kit.composer, "webhook", webhook_of(other))
        delivering = asyncio.create_task(webhook.run())
        match fault:
            case "away":
                await case.server.stop()
            case "silent":
                case.server.silent = True
            case "refuses":
                case.server.answers = [case.error(550 if isinstance(case.server, MailServer) else 400)] * 10_000
            case "asks to wait":
                if not isinstance(case.server, BotApi):
                    pytest.skip("this server asks for no delay")
                case.server.answers, case.server.retry_after = [429], 2
        await d.raised("one", "two")
        await until(lambda: len(reports()) == 1)
        assert reports()[0].level == "WARNING"
        assert d.counts.error.partition("; next")[0] in reports()[0].text
        assert "3 alerts wait" in reports()[0].text or "2 alerts wait" in reports()[0].text
        await d.raised("three")
        case.server.silent, case.server.answers = False, []
        if fault == "away":
            await case.server.start()
        await until(lambda: len(reports()) == 2)
        assert (reports()[1].level, reports()[1].text) == ("INFO", "the sink sink delivers alerts again")
        await until(lambda: not d.kit.store.waiting("sink"))
    await delivering
    await webhook.close()
    await other.stop()


async def test_only_selected_kinds_and_levels_are_queued(tmp_path: Path, case: Case) -> None:
    async with desk(tmp_path, case.opened(), "sink", Selection(levels=frozenset({"CRITICAL"}))) as d:
        await d.raised("a warning")
        await d.service.inbox.command(Operator(d.service.shell.state.now, "halt", "test", "me"))
        await until(lambda: len(case.server.taken) == 1)
        assert case.server.ids == d.ids("level = 'CRITICAL'")
        assert len(d.ids()) > 1
        await until(lambda: d.kit.store.waiting("sink") == 0)
        assert d.kit.store.waiting() == len(d.ids()), "the bus gets every alert"


@pytest.mark.long
async def test_the_delay_of_429_is_kept_and_a_stop_does_not_wait_for_it(tmp_path: Path) -> None:
    case = bot(tmp_path)
    await case.server.start()
    case.server.answers, case.server.retry_after = [429], 1
    async with desk(tmp_path, case.opened(), "sink") as d:
        await d.raised("one", "two")
        await until(lambda: d.counts.failures == 1)
        began = asyncio.get_running_loop().time()
        await until(lambda: len(case.server.taken) == 2)
        assert 0.9 <= asyncio.get_running_loop().time() - began < 10.0
        assert case.server.requests == 3, "none during the delay"
        case.server.answers, case.server.retry_after = [429], 600
        await d.raised("three", "four")
        await until(lambda: d.counts.failures == 2)
        await until(lambda: d.counts.depth == 2)
        await d.raised("five")
        await until(lambda: d.counts.depth == 3)
        ids = d.ids()
    assert case.server.requests == 4
    async with desk(tmp_path, case.opened(), "sink"):
        await until(lambda: len(case.server.taken) == 5)
    assert case.server.ids[:5] == ids
    await case.server.stop()


def test_a_selection_of_kinds_has_these_and_an_empty_one_has_every_kind() -> None:
    assert Selection().has("INFO", "anything")
    some = Selection(kinds=frozenset({"switch"}))
    assert (some.has("INFO", "switch"), some.has("CRITICAL", "limit_var")) == (True, False)


@pytest.mark.parametrize(("status", "refused"), [(552, True), (500, True), (421, False), (401, False)])
async def test_an_answer_about_an_alert_is_a_refusal_and_one_about_the_moment_or_the_login_is_not(
    case: Case, status: int, refused: bool
) -> None:
    sink = case.opened()
    case.server.answers = [case.error(status)]
    if status == 401:
        setattr(case.server, case.secret, "another")
    with pytest.raises(SinkError) as caught:
        await sink.deliver(ALERT)
    assert caught.value.refused == refused
    await sink.close()
