"""Sends a signed command over MQTT to a daemon on another machine that accepts such commands (`[bus] commands`)."""

import asyncio
import getpass
import secrets
import socket
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiomqtt import Client, MqttError

from quantd.adapters.bus.commands import ANSWERS, COMMANDS, KEY_CHARS, BusAnswer, Name, signed
from quantd.adapters.bus.settings import BusAddressWrong, Tls, address
from quantd.daemon.cli import output
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import bus_login, bus_root, bus_tls
from quantd.daemon.config import secret
from quantd.trading.display_text import endpoint_text
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, TRY_LATER, USAGE

ANSWER_S: Final = 5.0
"""Seconds for an answer of the broker; the daemon's response may take twice as long."""


def command(
    config: Path, url: str, name: Name, *, reason: str, agent: str = "", incident: str = "", as_json: bool
) -> None:
    """Send a command over MQTT and wait for the daemon's response.

    `url` is mqtt://HOST:PORT/TOPIC, where the path is the topic of the instance, such as quantd/paper; without a path
    the topic comes from the configuration. Raises Failure without a key for the signature, for a `resume` or
    `acknowledge` without a reason, if no broker or daemon answers, and for a refused command.
    """
    host, port, secure, root = place(url, config)
    key = secret("mqtt_command_key") or ""
    if len(key) < KEY_CHARS:
        fault = f"the key has {len(key)} characters, and needs {KEY_CHARS}" if key else "no key signs the command"
        raise Failure(f"{fault}; set QUANTD_MQTT_COMMAND_KEY to the daemon's mqtt_command_key", CONFIG)
    if name in ("resume", "acknowledge") and not reason.strip():
        raise Failure(f'{name} has no reason for the journal; add --reason "…"', USAGE)
    payload = signed(
        key,
        f"{root}/{COMMANDS}",
        secrets.token_urlsafe(12),
        int(time.time()),
        name,
        who=f"{getpass.getuser()}@{socket.gethostname()}"[:64],
        reason=" ".join(reason.split()),
        agent=agent,
        incident=incident,
    )
    answer = asyncio.run(_send(host, port, bus_tls(config, secure), bus_login(config), root, payload))
    if not answer.done:
        raise Failure(f"{endpoint_text(host, port)}: {answer.text}", CHECK_FAILED)
    if incident:
        output.answer(as_json, answer, f"{incident} is acknowledged (over {endpoint_text(host, port)})")
        return
    output.answer(
        as_json, answer, f"{answer.agent or 'house'}: switch {answer.switch} (over {endpoint_text(host, port)})"
    )


def place(url: str, config: Path) -> tuple[str, int, bool, str]:
    """Return (host, port, whether TLS is used, topic of the instance). Raises Failure for text that is no MQTT URL."""
    try:
        path = urlsplit(url).path
        root = path.strip("/")
        # a text without a host is all path: the message has it as it was typed
        parts = (*address((root and url.removesuffix(path)) or url), root or bus_root(config))
    except (BusAddressWrong, ValueError) as why:
        fault = str(why).replace("[bus] url", "--mqtt")
        raise Failure(f"{fault} A path names the instance: mqtt://host:1883/quantd/paper", USAGE) from None
    if "+" in root:
        raise Failure(f"--mqtt has the topic {root!r}, and + is no part of one; write one such as quantd/paper", USAGE)
    return parts


async def _send(
    host: str, port: int, tls: Tls | None, login: tuple[str | None, str | None], root: str, payload: bytes
) -> BusAnswer:
    """Publish a signed command and return the daemon's response. Raises Failure if no response arrives in time.

    `login` is (user name, password), and `root` the topic of the instance. `payload` is the signed command.
    """
    context = tls.context() if tls is not None else None
    id = msgspec.json.decode(payload)["id"]
    sent = False
    try:
        async with (
            asyncio.timeout(2 * ANSWER_S),
            Client(host, port, username=login[0], password=login[1], tls_context=context, timeout=ANSWER_S) as client,
        ):
            # before the command is published: the response could come before a later subscription
            await client.subscribe(f"{root}/{ANSWERS}", qos=1)
            await client.publish(f"{root}/{COMMANDS}", payload, qos=1)
            sent = True
            async for message in client.messages:
                try:
                    answer = msgspec.json.decode(bytes(message.payload), type=BusAnswer)
                except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
                    continue
                if answer.id == id:
                    return answer
    except (MqttError, OSError, TimeoutError) as why:
        if not sent:
            text = str(why) or "no answer in time"
            raise Failure(
                f"the MQTT broker at {endpoint_text(host, port)} did not take the command: {text}", TRY_LATER
            ) from None
    raise Failure(
        f"the command went to {root}/{COMMANDS}, and no daemon answered: whether it took effect is not known. Is one "
        "running there with [bus] commands = true and the same mqtt_command_key?",
        TRY_LATER,
    )
