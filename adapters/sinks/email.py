"""E-mail: sends each alert as a message over SMTP, encrypted with STARTTLS or TLS.

What can go wrong. A server accepts a message for some recipients only. If the message is sent again to all, some get it
again and again; if it is not, the others never get it. An account is locked after several refused logins. A password
travels without encryption.

A message is repeated for the refused recipients alone, with the same Message-ID, and a bounded number of times. After a
refused login the sink waits. An answer of 5yz is permanent (RFC 5321 4.2.1) and lets other alerts go ahead; an answer
of 4yz is temporary. An error of QUIT is ignored, because the message was accepted.
"""

import asyncio
import hashlib
import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.listener import is_loopback
from quantd.adapters.sinks.alert_text import body, title
from quantd.adapters.sinks.http_post import check_page
from quantd.adapters.sinks.sink import Sink, SinkError
from quantd.trading.display_text import ESCAPES, one_line

TLS_PORT: Final = 465
"""The port with TLS from the first byte (RFC 8314). On other ports STARTTLS follows the greeting."""

ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")

REFUSED_TRIES: Final = 3
"""Maximum number of attempts for recipients that the server refuses, while it accepts the message for others."""

LOGIN_WAIT_S: Final = 300.0
"""Pause after a refused login, because servers lock accounts after several."""

QUIT_S: Final = 1.0
"""Maximum time for QUIT after a message that the server accepted."""


class EmailOptions(Struct, frozen=True):
    """The keys of the configuration table [alerts.sinks.email]. `ca` is the absolute path of a private CA's
    certificates.

    Without `user` there is no login. `timeout_s` bounds one message, from the connection to its acceptance. Raises
    ValueError for a malformed host or address, a relative `ca`, and a password that would travel without
    encryption.
    """

    host: str
    sender: str = msgspec.field(name="from")
    to: Annotated[tuple[str, ...], Meta(min_length=1, max_length=20)]
    port: Annotated[int, Meta(gt=0, lt=65_536)] = 587
    starttls: bool = True
    user: str = ""
    ca: str = ""
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 20.0
    page: str = ""

    def __post_init__(self) -> None:
        """Check the options. Raises ValueError that names the wrong key and the remedy."""
        if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", self.host):
            raise ValueError('host is not the name or address of a host; write one like "smtp.example.org"')
        for key, address in [("from", self.sender), *(("to", recipient) for recipient in self.to)]:
            if not ADDRESS.fullmatch(address):
                raise ValueError(f'{key} is not an address; write "name@example.org" in ASCII, without a display name')
        if not (self.starttls or self.port == TLS_PORT or is_loopback(self.host)):
            raise ValueError("starttls is needed: without it password and alerts are not encrypted; remove the key")
        if self.page:
            check_page(self.page)
        if self.ca and not Path(self.ca).is_absolute():
            raise ValueError("ca is not an absolute path; write /path/to/ca.pem")


class Email:
    """Sends alerts by e-mail to the configured recipients, over one connection per message.

    A message that the server refuses for some recipients only is repeated for them alone, at most REFUSED_TRIES times.
    """

    def __init__(self, options: EmailOptions, secrets: Mapping[str, str]) -> None:
        self._options = options
        self._password = secrets["smtp_password"]
        self._partly_sent_id = ""
        """Id of the alert that only some recipients have received; empty without one."""
        self._recipients_left: Sequence[str] = options.to
        self._tries = 0

    async def deliver(self, alert: Alert) -> None:
        """Send one message to all recipients. A further attempt for the same alert goes only to the refused recipients.

        After REFUSED_TRIES attempts the refused recipients are logged, and the alert counts as delivered. Raises
        SinkError for refused recipients until then.
        """
        if alert.id != self._partly_sent_id:
            self._partly_sent_id, self._recipients_left, self._tries = "", self._options.to, 0
        refused = await self._send(message_of(alert, self._options), self._recipients_left)
        if not refused:
            self._partly_sent_id = ""
            return
        answers = "; ".join(f"{who}: {text}" for who, text in refused.items())
        if len(refused) == len(self._options.to):
            raise SinkError(f"the server refuses every recipient: {answers}"[:300])
        self._partly_sent_id, self._recipients_left, self._tries = alert.id, tuple(refused), self._tries + 1
        if self._tries < REFUSED_TRIES:
            raise SinkError(f"the server refuses some recipients: {answers}"[:300])
        import structlog

        structlog.get_logger("quantd.sinks").warning(
            "alerts.recipients_refused", sink="email", id=alert.id, error=answers[:300]
        )
        self._partly_sent_id = ""

    async def _send(self, message: EmailMessage, recipients: Sequence[str]) -> dict[str, str]:
        """Send a message to these recipients. Returns refused recipient -> the server's answer.

        Raises SinkError if the message was not accepted for any recipient.

        On the port TLS_PORT the connection is encrypted from the start, on others after STARTTLS if that is set.
        """
        import aiosmtplib

        options = self._options
        immediate = options.port == TLS_PORT
        client: aiosmtplib.SMTP | None = None
        try:
            async with asyncio.timeout(options.timeout_s):
                client = aiosmtplib.SMTP(
                    hostname=options.host, port=options.port, timeout=options.timeout_s,
                    username=options.user or None, password=self._password if options.user else None,
                    use_tls=immediate, start_tls=options.starttls and not immediate,
                    tls_context=await asyncio.to_thread(self._tls_context),
                )  # fmt: skip
                await client.connect()
                refused, _ = await client.send_message(message, sender=options.sender, recipients=recipients)
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=QUIT_S)
            return {who: self._answer_text(code, text) for who, (code, text) in refused.items()}
        except TimeoutError:
            raise SinkError(f"no answer within {options.timeout_s:g} s") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            return {refusal.recipient: self._answer_text(refusal.code, refusal.message) for refusal in error.recipients}
        except aiosmtplib.SMTPAuthenticationError as error:
            raise SinkError(f"the server refuses the login ({error.code})", LOGIN_WAIT_S) from None
        except aiosmtplib.SMTPResponseException as error:
            # 5yz is permanent (RFC 5321 4.2.1), such as for a message that is too large; 4yz is temporary
            text = f"the server answers {self._answer_text(error.code, error.message)}"
            raise SinkError(text, refused=error.code >= 500) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise SinkError(_failure_text(error)) from None
        finally:
            if client is not None:
                client.close()

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._options.ca or None)
        except OSError as why:
            raise SinkError(f"the file of ca cannot be read ({type(why).__name__})") from None

    def _answer_text(self, code: int, text: str) -> str:
        return f"{code} {one_line(text.translate(ESCAPES), 150, (self._password,))}"

    async def close(self) -> None:
        pass


def message_of(alert: Alert, options: EmailOptions) -> EmailMessage:
    """Return the message of an alert. Its Message-ID is the same at each delivery."""
    message = EmailMessage(policy=SMTP_POLICY)  # refuses line ends in headers
    message["From"] = options.sender
    message["To"] = ", ".join(options.to)
    message["Subject"] = title(alert)
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{_local_part(alert.id)}@{options.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body(alert) + (f"The page: {options.page}/#incidents\n" if options.page else ""))
    return message


def _local_part(id: str) -> str:
    """Return the id of an alert in the form that a Message-ID allows."""
    return f"quantd.{id if re.fullmatch(r'[A-Za-z0-9-]{1,100}', id) else hashlib.sha256(id.encode()).hexdigest()}"


def _failure_text(why: BaseException) -> str:
    """Return the reason of a failure in which the server gave no answer. The text contains nothing from the server."""
    cause: BaseException | None = why
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of the server is refused: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    if type(why).__name__ in ("SMTPException", "SMTPNotSupported"):
        return "the server offers no STARTTLS, or no login that quantd knows"
    return f"the server cannot be reached ({type(why).__name__})"


SINK: Final = Sink(
    "email",
    EmailOptions,
    "quantd.adapters.sinks.email:Email",
    secrets={"smtp_password": "password of the SMTP server that sends alerts"},
    needs=lambda options: ("smtp_password",) if options.user else (),
)
