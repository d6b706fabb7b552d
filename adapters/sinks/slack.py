"""Slack: sends each alert as a message of an incoming webhook to a channel."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.sinks.alert_text import body, shortened, title
from quantd.adapters.sinks.secret_address import SecretAddress
from quantd.adapters.sinks.sink import Sink

CHARS: Final = 4_000
"""Recommended length of a text; Slack cuts a text at 40,000 characters."""

ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""The three characters that Slack reads as links and mentions."""


class SlackOptions(Struct, frozen=True):
    """The keys of the configuration table [alerts.sinks.slack]. `timeout_s` bounds one request including its answer."""

    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0


class Slack:
    """Sends alerts to one Slack channel. The text of an alert is shown without markup, and mentions nobody."""

    def __init__(self, options: SlackOptions, secrets: Mapping[str, str]) -> None:
        self._receiver = SecretAddress("slack_url", secrets["slack_url"], options.timeout_s)

    async def deliver(self, alert: Alert) -> None:
        """Post title and body as plain text in at most CHARS UTF-16 units, without previews of links.

        Raises SinkError for a wrong address or an unsuccessful HTTP status.
        """
        text = shortened(f"{title(alert)}\n{body(alert)}", 2 * CHARS, "utf-16-le")
        await self._receiver.post(
            {"text": text.translate(ENTITIES), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
        )

    async def close(self) -> None:
        await self._receiver.close()


SINK: Final = Sink(
    "slack",
    SlackOptions,
    "quantd.adapters.sinks.slack:Slack",
    secrets={"slack_url": "address of the channel's incoming webhook; whoever has it can write there"},
)
