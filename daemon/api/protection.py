"""TLS and logins of API and bus as configured. What cannot be in force is refused with its line."""

import ssl
from collections.abc import Iterator, Sequence

from quantd.adapters.bus.embedded_broker import EmbeddedSettings
from quantd.adapters.bus.settings import Tls
from quantd.adapters.listener import is_loopback
from quantd.daemon.config import Config, Mistake, secret


def unenforced(config: Config) -> Sequence[Mistake]:
    """Mistakes about who can read over the network, and about certificates."""
    return [*_reachable(config), *_certificates(config)]


def unguarded(config: Config) -> Sequence[Mistake]:
    """Mistakes about the embedded broker's login. It needs the secrets, which only a run has."""
    bus = config.bus
    given = bool(secret("mqtt_password"))
    if bus.kind != "embedded" or given == bool(bus.username):
        return []
    if given:
        text, remedy = (
            "is missing, and the secret mqtt_password is given",
            "write the user name that subscribers log in with",
        )
    else:
        text = f'= "{bus.username}" without the secret mqtt_password'
        remedy = "give it as a systemd credential or in QUANTD_MQTT_PASSWORD, or remove username"
    return [config.source.mistake(("bus", "username"), text, remedy)]


def bus_tls(config: Config, secure: bool) -> Tls | None:
    """How we as a client of the configured broker speak TLS; `secure` says that its address asks for it."""
    tls = config.bus.tls
    if tls is None:
        return Tls() if secure else None
    if config.bus.kind == "embedded":
        return Tls(_file(config, tls.certificate), own=True)
    return Tls(_file(config, tls.ca), _file(config, tls.certificate), _file(config, tls.key))


def embedded_settings(config: Config, host: str, port: int, open_topic: str = "") -> EmbeddedSettings:
    """The embedded broker as configured, at `host` and `port`."""
    tls, username, password = config.bus.tls, config.bus.username, secret("mqtt_password") or ""
    files = (_file(config, tls.certificate), _file(config, tls.key)) if tls is not None else ("", "")
    return EmbeddedSettings(host, port, username, password, *files, open_topic)


def _file(config: Config, name: str) -> str:
    return str(config.at(name)) if name else ""


def _reachable(config: Config) -> Iterator[Mistake]:
    api = config.api
    if not is_loopback(api.host) and api.tls is None:
        text = f'= "{api.host}" shows positions and orders to other machines without TLS'
        remedy = 'write tls = { certificate = "…", key = "…" }, or host = "127.0.0.1"'
        yield config.source.mistake(("api", "host"), text, remedy)


def _certificates(config: Config) -> Iterator[Mistake]:
    for section, tls in (("api", config.api.tls), ("bus", config.bus.tls)):
        if tls is None:
            continue
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key = "certificate"
        try:
            if tls.certificate:
                # a key with a passphrase fails here, where OpenSSL would ask the terminal for it
                context.load_cert_chain(config.at(tls.certificate), config.at(tls.key) if tls.key else None, "")
            key = "ca"
            if section == "bus" and config.bus.tls is not None and config.bus.tls.ca:
                context.load_verify_locations(config.at(config.bus.tls.ca))
        except OSError as why:
            reason = why.reason if isinstance(why, ssl.SSLError) else why.strerror
            text = f'= "{getattr(tls, key)}" cannot be used: {str(reason or why).lower().replace("_", " ")}'
            remedy = (
                "name a certificate in PEM, and its key without a passphrase" if key == "certificate" else "name PEM"
            )
            yield config.source.mistake((section, "tls", key), text, remedy)
