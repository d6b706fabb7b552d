"""Connection settings of the MQTT client: address, login, TLS, timeouts."""

import ssl
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from quantd.trading.exit_codes import CONFIG, ExplainedError

Protocol = Literal["3.1.1", "5"]


class BusAddressWrong(ExplainedError, ValueError):
    """The setting `[bus] url` is no broker address; the message has an example."""

    exit_code = CONFIG


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for TLS; without `ca_file` the system's authorities are trusted.

    With `own`, `ca_file` is the certificate of the broker itself, and the host name is not checked.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    own: bool = False

    def context(self) -> ssl.SSLContext:
        """Return an SSL context that verifies the broker's name and chain. Raises OSError or ssl.SSLError.

        With `own`, `ca_file` is the certificate of the broker itself, and its name is not checked.
        """
        if self.own:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(self.ca_file)
            return context
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        return context


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Broker address, MQTT version and timeouts in seconds."""

    host: str
    port: int = 1883
    client_id: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    tls: Tls | None = None
    protocol: Protocol = "3.1.1"
    keepalive_s: int = 15
    connect_s: float = 3.0
    answer_s: float = 10.0
    retry_first_s: float = 0.25
    retry_most_s: float = 30.0


def address(url: str) -> tuple[str, int, bool]:
    """Return (host, port, whether TLS) of mqtt://host[:1883] or mqtts://host[:8883].

    Raises BusAddressWrong for another address, and for an address with a login.
    """
    remedy = "write mqtt://host:1883, or mqtts://host:8883 for TLS"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as why:
        raise BusAddressWrong(f"[bus] url = {url!r}: {why}; {remedy}.") from None
    if parts.username or parts.password:
        raise BusAddressWrong(
            "[bus] url contains a login; write username in [bus], and the password as the secret mqtt_password."
        )
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise BusAddressWrong(f"[bus] url = {url!r} is not the address of an MQTT broker; {remedy}.")
    secure = parts.scheme == "mqtts"
    return parts.hostname, port or (8883 if secure else 1883), secure
