"""Discord: sends each alert as a message of an incoming webhook to a channel (Execute Webhook)."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.sinks.alert_text import body, shortened, title
from quantd.adapters.sinks.secret_address import SecretAddress
from quantd.adapters.sinks.sink import Sink

CHARS: Final = 2_000
"""Maximum length of a message."""

NO_PREVIEWS: Final = 1 << 2
"""The flag SUPPRESS_EMBEDS: Discord requests no preview of an address in the text."""

SILENT: Final = 1 << 12
"""The flag SUPPRESS_NOTIFICATIONS: the message arrives without a sound."""

MARKS: Final = re.compile(r"[\\`*_~|>#\[\]()<-]")
"""Characters with a meaning in Discord's Markdown."""


class DiscordOptions(Struct, frozen=True):
    """The keys of the configuration table [alerts.sinks.discord]. `timeout_s` bounds one request including its
    answer."""

    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0


class Discord:
    """Sends alerts to one Discord channel. The text of an alert is shown without markup, and mentions nobody."""

    def __init__(self, options: DiscordOptions, secrets: Mapping[str, str]) -> None:
        self._receiver = SecretAddress("discord_url", secrets["discord_url"], options.timeout_s)

    async def deliver(self, alert: Alert) -> None:
        """Post title and body in at most CHARS UTF-16 units, without mentions or previews of links.

        An alert of level INFO is sent as a silent message. Raises SinkError.
        """
        escaped_title = MARKS.sub(lambda mark: f"\\{mark[0]}", title(alert))
        # three backticks would end the block of code; 10 characters are for its marks and line ends, and a unit of
        # UTF-16 has two bytes
        text = shortened(body(alert).replace("```", "'''"), 2 * (CHARS - len(escaped_title) - 10), "utf-16-le")
        await self._receiver.post(
            {
                "content": f"{escaped_title}\n```\n{text.rstrip()}\n```",
                "allowed_mentions": {"parse": []},
                "flags": NO_PREVIEWS | (SILENT if alert.level == "INFO" else 0),
            }
        )

    async def close(self) -> None:
        await self._receiver.close()


SINK: Final = Sink(
    "discord",
    DiscordOptions,
    "quantd.adapters.sinks.discord:Discord",
    secrets={"discord_url": "address of the channel's webhook; whoever has it can write there"},
)
