"""Connect an account, a receiver of alerts or a phone: ask for its keys, test them, and store them as credentials.

`phone` shows the link of the page as a QR code: the phone makes a key, signs in and approves with it.
"""

import asyncio
import secrets as random_names
import tomllib
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Final, cast
from urllib.parse import urlsplit

import msgspec
import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import say
from quantd.daemon.cli.setup.config_lines import require_valid
from quantd.daemon.cli.setup.credentials import asked, place_of
from quantd.daemon.cli.setup.service_answers import Answer, ask, certificate_text
from quantd.regular_file import write_whole
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, TRY_LATER, USAGE
from quantd.trading.orders import money_text

Lines = dict[tuple[str | int, ...], object]
SERVICES: Final = ("alpaca", "ntfy", "telegram", "phone")
BY_HAND: Final = ("discord", "email", "slack", "webhook")
"""Receivers whose table and secret a person writes."""


def service_of(text: str) -> str:
    """Parse the name of a service. Raises typer.BadParameter, with the way of a venue or receiver that has no keys
    here.
    """
    if text in SERVICES:
        return text
    from quantd.adapters.exchange.dialects import DIALECTS

    if text == "ibkr":
        remedy = "Set QUANTD_IBKR_ACCOUNT to the number of the account; docs/venues/ibkr.md leads on"
    elif text in DIALECTS:
        remedy = f"Set QUANTD_CCXT_KEY and QUANTD_CCXT_SECRET; docs/venues/{text}.md leads on"
    elif text in BY_HAND:
        remedy = f"Write [alerts.sinks.{text}]; docs/operate/receivers.md has its lines and its secret"
    else:
        remedy = f"There are {', '.join(SERVICES)}"
    raise typer.BadParameter(f"{text!r} is not connected by this command. {remedy}.")


Service = Annotated[str, typer.Argument(parser=service_of, metavar="|".join(SERVICES))]

Tested = tuple[str, dict[str, str], Lines]
"""What a service answered in words, the keys to store, and the lines for config.toml."""


def connect(
    service: Service,
    live: Annotated[
        bool, typer.Option("--live", help="alpaca: the keys of the live account, not of the paper one.")
    ] = False,
    other_url: Annotated[
        str, typer.Option("--other-url", help="alpaca: address of the other kind of account, to name a mix-up.")
    ] = "",
    chat: Annotated[
        str, typer.Option("--chat", help="telegram: number of the chat, or @name; that of the newest message.")
    ] = "",
    topic: Annotated[
        str, typer.Option("--topic", help="ntfy: name of the topic; one that nobody guesses without it.")
    ] = "",
    protected: Annotated[
        bool, typer.Option("--token", help="ntfy: the topic needs an access token: ask for it.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Folder of the credentials, else `credentials` beside config.toml.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="phone: its name, else `phone`.")] = "",
    unit: Annotated[
        str, typer.Option("--unit", metavar="NAME", help="Store for the unit quantd@NAME in /etc/credstore, as root.")
    ] = "",
    into: Annotated[
        Path | None, typer.Option("--into", metavar="config.toml", help="Write the lines there; printed without it.")
    ] = None,
    url: Annotated[str, typer.Option("--url", help="Another address of the service; phone: that of the page.")] = "",
) -> None:
    of_services = {
        "--live": ("alpaca", live), "--other-url": ("alpaca", other_url), "--chat": ("telegram", chat),
        "--topic": ("ntfy", topic), "--token": ("ntfy", protected), "--name": ("phone", name),
    }  # fmt: skip
    _check_options(service, of_services)
    if service == "phone":
        unused("phone", {"--folder": folder, "--unit": unit})
        _pair(name or "phone", url, into or CONFIG_FILE)
        return
    typed = {**of_services, "--folder": ("", folder), "--unit": ("", unit), "--into": ("", into), "--url": ("", url)}
    place, command = place_of(folder, unit, into or CONFIG_FILE), _command(service, typed)
    earlier = _broker_of_run(into or CONFIG_FILE)
    if service == "alpaca":
        text, keys, lines = _alpaca(typed, url, other_url, live=live)
        if earlier == "alpaca":  # its run has the cash of its account
            lines.pop(("broker", "cash"), None)
    elif service == "telegram":
        text, keys, lines = _telegram(command, url, chat)
    else:
        text, keys, lines = _ntfy(command, url, topic, protected=protected)
    say(text)
    if keys:
        say(f"stored {' and '.join(map(str, place.store(keys)))}, which only you can read")
    option = _write_lines(lines, into)
    say(_next(f"{place.environment() if keys else ''}quantd", service, option, earlier, live=live))


def _command(service: str, typed: Mapping[str, tuple[str, object]]) -> str:
    """Return the command line with the options that were typed, for a remedy; `typed` is as in `_check_options`."""
    words = (
        option if value is True else f"{option} {quote(str(value))}" for option, (_, value) in typed.items() if value
    )
    return " ".join(("quantd connect", service, *words))


def _next(program: str, service: str, option: str, earlier: str, *, live: bool) -> str:
    """Return the line with the next command; `earlier` is the broker of the run in the state folder, empty without."""
    if service != "alpaca":
        return f"Next: {program} alerts --test{option} sends one as the daemon does"
    if live:
        return f"Next: {program} doctor --live{option}; docs/operate/live.md has what a live start needs"
    fresh = " --fresh" if earlier not in ("", "alpaca") else ""
    return f"Next: {program} run{option}{fresh} trades on paper, and {program} plan{option} then shows its next orders"


def _broker_of_run(config: Path) -> str:
    """Return the kind of broker of the run in the state folder of a configuration; empty without a run."""
    try:
        from quantd.adapters.store.lock import FILE

        document = tomllib.loads(config.read_text(encoding="utf-8"))
        folder = config.parent / document.get("quantd", {}).get("state", "state")
        return str(document.get("broker", {}).get("kind", "paper")) if (folder / FILE).exists() else ""
    except (OSError, ValueError, AttributeError, TypeError):  # the file itself is checked before it is written
        return ""


def _pair(name: str, url: str, config: Path) -> None:
    """Pair a phone, which needs the client of the daemon."""
    from quantd.adapters.plugins import function

    function("quantd.server.cli.operate.device:pair")(name, url, config)


def _check_options(service: str, owners: Mapping[str, tuple[str, object]]) -> None:
    """Raises Failure for an option of another service; `owners` maps options to service and value."""
    for option, (owner, value) in owners.items():
        if value and owner != service:
            raise Failure(f"{option} is an option of {owner}, not of {service}; leave it out", USAGE)


def _alpaca(typed: Mapping[str, tuple[str, object]], url: str, other_url: str, *, live: bool) -> Tested:
    """Test the keys of the paper account or, with `live`, of the one with money."""
    command, exchanged = _command("alpaca", typed), {"--url": ("", other_url), "--other-url": ("", url)}
    mixed_up = _command("alpaca", {**typed, **exchanged, "--live": ("", not live)})
    from quantd.adapters.brokers.alpaca import VENUE

    keys = {name: asked(name, meaning, command) for name, meaning in VENUE.secrets.items()}
    default_url, other_kind_url = (VENUE.live_url, VENUE.paper_url) if live else (VENUE.paper_url, VENUE.live_url)
    # behind an address of the user's own the other kind of account is not known
    other = other_url or ("" if url else other_kind_url)
    text, cash = _account(url or default_url, other, keys, command, mixed_up, live=live)
    lines: Lines = {("feed", "kind"): "alpaca", ("broker", "kind"): "alpaca"}
    # a first start compares it with the account
    lines |= {("broker", "cash"): money_text(cash)} if cash > 0 else {}
    return text, keys, lines | ({("broker", "url"): url} if url else {})


def _account(
    url: str, other: str, keys: Mapping[str, str], command: str, mixed_up: str, *, live: bool
) -> tuple[str, int]:
    """Ask Alpaca for the account, and return a sentence about it, and its cash in micro-currency.

    `other` is the URL of the other kind of account, live or paper; empty if it is unknown. `mixed_up` is the command
    for keys of that kind. Raises Failure, also for
    keys of the other kind.
    """
    from quantd.adapters.brokers.alpaca.wire import Account, Garbled, micro

    kind, other_kind = ("live", "paper") if live else ("paper", "live")
    headers = {"APCA-API-KEY-ID": keys["alpaca_key"], "APCA-API-SECRET-KEY": keys["alpaca_secret"]}
    answer = ask(f"{url.rstrip('/')}/v2/account", headers, command)
    if answer.status in (401, 403):
        if other and ask(f"{other.rstrip('/')}/v2/account", headers, command).status == 200:
            text = f"these are the keys of a {other_kind} account, and the {kind} account was asked. Nothing was stored"
            raise Failure(f"{text}. Next: make keys of the {kind} account, or: {mixed_up}", CONFIG)
        text = f"Alpaca refuses the keys (status {answer.status}). Nothing was stored"
        raise Failure(f"{text}. Next: make a new pair on the page of the {kind} account, then: {command}", CONFIG)
    _require_good(answer, urlsplit(url).netloc, command)
    try:
        account = msgspec.json.decode(answer.body, type=Account)
        cash = micro(account.cash) or 0
    except (msgspec.DecodeError, Garbled, UnicodeDecodeError):
        raise Failure(_wrong_service_text(urlsplit(url).netloc, command), CHECK_FAILED) from None
    blocked = account.status != "ACTIVE" or account.trading_blocked or account.account_blocked
    warning = f", which does not trade (status {account.status}): settle that with Alpaca first" if blocked else ""
    return f"the {kind} account answers: {account.cash:,.2f} {account.currency} in cash{warning}", cash


def _telegram(command: str, url: str, chat: str) -> Tested:
    """Send a test alert by a Telegram bot to a chat."""
    from quantd.adapters.sinks.telegram import SINK, TOKEN, TelegramOptions

    token = asked("telegram_token", "token of the bot, as @BotFather gives it", command)
    if not TOKEN.fullmatch(token):
        raise Failure(f"that is no token of a bot, such as 123456:ABC. Ask @BotFather for it, then: {command}", USAGE)
    # only the URL of these options is read, so any chat will do
    base = _options(TelegramOptions, {"chat": 1, **({"url": url} if url else {})}).url.rstrip("/")
    bot = _bot_name(ask(f"{base}/bot{token}/getMe", {}, command), urlsplit(base).netloc, command)
    chat = chat or _newest_chat(ask(f"{base}/bot{token}/getUpdates", {}, command), bot, urlsplit(base).netloc, command)
    chat_id: int | str = int(chat) if chat.lstrip("-").isdigit() else chat
    options: dict[str, Any] = {"chat": chat_id, **({"url": url} if url else {})}
    keys = {"telegram_token": token}
    _deliver(SINK.opens, _options(TelegramOptions, options), keys, urlsplit(base).netloc, command)
    text = f"@{bot} has sent a test alert to chat {chat_id}"
    if isinstance(chat_id, int) and chat_id > 0:  # a private chat has the number of its person
        options["people"] = [chat_id]
        text += "; its person may halt, reduce and acknowledge there (people in the table)"
    return text, keys, _sink_lines("telegram", options)


def _sink_lines(sink: str, options: Mapping[str, object]) -> Lines:
    return {("alerts", "sinks", sink, key): value for key, value in options.items()}


def _bot_name(answer: Answer, host: str, command: str) -> str:
    """Return the name of the bot in an answer. Raises Failure for a token that Telegram does not know."""
    if answer.status in (401, 404):
        text = f"Telegram knows no bot with this token (status {answer.status}). Nothing was stored"
        raise Failure(f"{text}. Next: ask @BotFather for /token, then: {command}", CONFIG)
    return str(_telegram_result(answer, host, command).get("username", "bot"))


def _newest_chat(answer: Answer, bot: str, host: str, command: str) -> str:
    """Return the chat of the newest message to the bot. Raises Failure without one."""
    if answer.status == 409:
        text = "another program receives the messages of this bot, so that its chat cannot be read"
        raise Failure(f"{text}. Next: {command} --chat NUMBER", CONFIG)
    for update in reversed(_telegram_result(answer, host, command, list)):
        message = update.get("message") or update.get("channel_post") or {} if isinstance(update, dict) else {}
        chat = message.get("chat") if isinstance(message, dict) else None
        if isinstance(chat, dict) and "id" in chat:
            return str(chat["id"])
    raise Failure(f"nobody has written to @{bot} yet. Next: send it any message, then: {command}", CONFIG)


def _telegram_result(answer: Answer, host: str, command: str, kind: type[Any] = dict) -> Any:
    """Return the result of an answer of the Bot API. Raises Failure for an unsuccessful status, or for a
    result that is not of type `kind`."""
    _require_good(answer, host, command)
    try:
        result = msgspec.json.decode(answer.body)["result"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        result = None
    if not isinstance(result, kind):
        raise Failure(_wrong_service_text(host, command), CHECK_FAILED)
    return result


def _ntfy(command: str, url: str, topic: str, *, protected: bool) -> Tested:
    """Send a test alert to a topic of ntfy, which an app on a phone follows.

    Its notifications have buttons, which publish to a second topic. On a server with access control everyone must
    first be allowed to write there, so the lines for a protected topic name none.
    """
    from quantd.adapters.sinks.ntfy import SINK, NtfyOptions

    token = asked("ntfy_token", SINK.secrets["ntfy_token"].partition(";")[0], command) if protected else ""
    options = {"topic": topic or f"quantd-{random_names.token_hex(8)}", **({"url": url} if url else {})}
    if not protected:
        options["answers"] = f"quantd-{random_names.token_hex(8)}"
    sink = _options(NtfyOptions, options)
    ask(f"{sink.url.rstrip('/')}/v1/health", {}, command)  # its errors name a fault of the network or certificate
    _deliver(SINK.opens, sink, {"ntfy_token": token}, urlsplit(sink.url).netloc, command)
    buttons = "for buttons, see docs/operate/receivers.md" if protected else "alerts have buttons, such as Halt all"
    text = f"a test alert is in the topic {options['topic']}: subscribe to it in the app ntfy; {buttons}"
    return text, {"ntfy_token": token} if token else {}, _sink_lines("ntfy", options)


def _options(kind: type[Any], values: Mapping[str, object]) -> Any:
    """Return the options of a sink. Raises Failure for a value that is not valid."""
    try:
        return kind(**values)
    except ValueError as error:
        raise Failure(f"--{error}", USAGE) from None


def _deliver(opens: str, options: object, keys: Mapping[str, str], host: str, command: str) -> None:
    """Send a test alert through a sink; `opens` names the function that opens it. Raises Failure if it is refused."""
    from quantd.adapters.plugins import function
    from quantd.adapters.sinks.sink import OpenSink, SinkError
    from quantd.daemon.assembly.sinks import rehearsal

    async def deliver() -> None:
        sink = cast(OpenSink, function(opens)(options, keys))
        try:
            await sink.deliver(rehearsal("quantd"))
        finally:
            await sink.close()

    try:
        asyncio.run(deliver())
    except SinkError as error:
        text = str(error)
        if "Certificate" in text or "SSL" in text:
            raise Failure(certificate_text(host, text, command), CONFIG) from None
        if "cannot be reached" in text or "no answer" in text:
            raise Failure(f"{host}: {text}. Check the network, then: {command}", TRY_LATER) from None
        hint_by_sign = {
            "401": "the token is wrong",
            "403": "the topic needs a token: add --token",
            "chat": "the chat is wrong",
        }
        why = next((words for sign, words in hint_by_sign.items() if sign in text), "see its words")
        raise Failure(f"{host}: {text}; {why}. Nothing was stored. Next: {command}", CONFIG) from None


def _require_good(answer: Answer, host: str, command: str) -> None:
    """Raises Failure unless the status is 200."""
    if answer.status == 429 or answer.status >= 500:
        raise Failure(f"{host} answers {answer.status}. Nothing was stored. Later again: {command}", TRY_LATER)
    if answer.status != 200:
        raise Failure(_wrong_service_text(host, command), CHECK_FAILED)


def _wrong_service_text(host: str, command: str) -> str:
    """Return the message about a server that is not the expected service."""
    text = f"{host} gives an answer that is not the service's: another server or a proxy answers there"
    return f"{text}. Nothing was stored. Check --url and the proxy, then: {command}"


def _write_lines(changes: Lines, into: Path | None) -> str:
    """Write lines into config.toml, or print them without a file. Return the option that names the file for a command.

    The option is empty for the usual file. Raises Failure if the file is missing, cannot be edited, or would be
    invalid.
    """
    from quantd.daemon.config.edits import EditError, assignment, edited

    tables: dict[str, list[str]] = {}
    for (*parents, key), value in changes.items():
        tables.setdefault(".".join(map(str, parents)), []).append(assignment(str(key), value))
    text = "\n".join(line for name, keys in tables.items() for line in (f"[{name}]", *keys))
    if into is None:
        say(f"Lines for config.toml; --into config.toml writes them there:\n{text}")
        return ""
    try:
        changed = edited(into.read_text(encoding="utf-8"), changes)
        require_valid(changed, into)
    except OSError as error:
        raise Failure(
            f"{into}: {error.strerror}. Next: quantd init writes one; the lines are\n{text}", CONFIG
        ) from None
    except EditError as error:
        raise Failure(f"{into} is unchanged: put these lines there ({error}):\n{text}", CONFIG) from None
    except ValueError as error:
        raise Failure(f"{into} is unchanged: {error}", CONFIG) from None
    write_whole(into, changed.encode(), keep_mode=True)
    say(f"{into} has {', '.join('.'.join(map(str, path)) for path in changes)}")
    return "" if into == CONFIG_FILE else f" -c {quote(str(into))}"


COMMAND: Final = Command("Set up", 15, connect)
