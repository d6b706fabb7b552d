"""Configured TLS and logins of the API and the MQTT bus; a setting that cannot take effect is reported with its line.

Every command checks its configuration here. The modules of bus and TLS are imported only if the configuration uses
them.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from quantd.adapters.listener import is_loopback
from quantd.daemon.assembly.sinks import lacking_secrets
from quantd.daemon.config import Config, Mistake, secret
from quantd.state_folder import STEMS

if TYPE_CHECKING:
    from quantd.adapters.bus.embedded_settings import EmbeddedSettings
    from quantd.adapters.bus.settings import Tls

SECRET: Final = "mqtt_command_key"
"""Name of the secret that signs commands over MQTT."""


def unenforced(config: Config) -> Sequence[Mistake]:
    return [*_reachable(config), *_reachable_bus(config), *_certificates(config)]


def unguarded(config: Config) -> Sequence[Mistake]:
    """Return the mistake of an embedded broker with a user name and no password, or with a password and no user name.

    Call this in a run only, where secrets are available.
    """
    bus = config.bus
    has_password = bool(secret("mqtt_password"))
    if bus.kind != "embedded" or has_password == bool(bus.username):
        return []
    if has_password:
        text, remedy = (
            "is missing, but the secret mqtt_password is given",
            "write the user name that subscribers log in with",
        )
    else:
        text = f'= "{bus.username}" needs the secret mqtt_password, which is missing'
        remedy = "give it as a systemd credential or in QUANTD_MQTT_PASSWORD, or remove username"
    return [config.source.mistake(("bus", "username"), text, remedy)]


def command_key(config: Config) -> tuple[str, list[Mistake]]:
    """Return (signing key of commands over MQTT, mistakes); the key is empty when commands are off, and with a mistake.

    A missing or short key is a mistake.
    """
    if not config.bus.commands:
        return "", []
    from quantd.adapters.bus.commands import KEY_CHARS

    key = secret(SECRET) or ""
    if len(key) >= KEY_CHARS:
        return key, []
    fault = "is not given" if not key else f"has {len(key)} characters"
    remedy = (
        f"give {KEY_CHARS} or more in the systemd credential {SECRET} or in QUANTD_{SECRET.upper()}; "
        "`openssl rand -hex 32` makes one"
    )
    return "", [config.source.mistake(("bus", "commands"), f"= true: the secret {SECRET} {fault}", remedy)]


def secrets_mistakes(config: Config) -> list[Mistake]:
    """Return the mistakes about secrets: one that the configuration needs and this process lacks, or one that nothing
    uses."""
    return [*command_key(config)[1], *unguarded(config), *lacking_secrets(config)]


def bus_tls(config: Config, secure: bool) -> "Tls | None":
    """Return the TLS settings of the client of the configured broker; None without TLS.

    `secure` is True when the address asks for TLS. The client trusts the embedded broker by that broker's own
    certificate.
    """
    from quantd.adapters.bus.settings import Tls

    tls = config.bus.tls
    if tls is None:
        return Tls() if secure else None
    if config.bus.kind == "embedded":
        return Tls(_file(config, tls.certificate), own=True)
    return Tls(_file(config, tls.ca), _file(config, tls.certificate), _file(config, tls.key))


def embedded_settings(config: Config, host: str, port: int, open_topic: str = "") -> "EmbeddedSettings":
    """Return the embedded broker as configured, at `host` and `port`."""
    from quantd.adapters.bus.embedded_settings import EmbeddedSettings

    tls, username, password = config.bus.tls, config.bus.username, secret("mqtt_password") or ""
    files = (_file(config, tls.certificate), _file(config, tls.key)) if tls is not None else ("", "")
    return EmbeddedSettings(host, port, username, password, *files, open_topic)


def _file(config: Config, name: str) -> str:
    return str(config.at(name)) if name else ""


def _reachable(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes of [api]: reads by other machines without TLS or token, and a token file with a reserved
    name."""
    api = config.api
    if not is_loopback(api.host) and api.tls is None:
        text = f'= "{api.host}" sends positions and orders to other machines without TLS'
        remedy = 'write tls = { certificate = "…", key = "…" }, or host = "127.0.0.1"'
        yield config.source.mistake(("api", "host"), text, remedy)
    elif not is_loopback(api.host) and api.open_reads:
        text = f'= true shows positions and orders without a token, but host = "{api.host}" is open to other machines'
        yield config.source.mistake(("api", "open_reads"), text, "write open_reads = false")
    elif api.names and api.open_reads:  # further host names, as behind a proxy
        text = f"= true shows positions and orders without a token to whoever a proxy lets in as {api.names[0]}"
        yield config.source.mistake(("api", "open_reads"), text, "write open_reads = false")
    if api.tokens.partition(".")[0] in STEMS:
        text = f'= "{api.tokens}" is a file of another use'
        yield config.source.mistake(("api", "tokens"), text, 'remove the key: the file is then "token"')


def _reachable_bus(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes of an embedded broker that other machines reach without a login or without TLS."""
    bus = config.bus
    if bus.kind != "embedded" or is_loopback(bus.host):
        return
    if not bus.username:
        text = f'= "{bus.host}" lets other machines read positions and alerts without a login'
        yield config.source.mistake(("bus", "host"), text, "write username, and give the secret mqtt_password")
    if bus.tls is None:
        text = f'= "{bus.host}" sends passwords, positions and alerts to other machines without TLS'
        yield config.source.mistake(("bus", "host"), text, 'write tls = { certificate = "…", key = "…" }')


def _certificates(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes about certificates, their keys and certificate authorities in [api] and [bus] that TLS cannot
    load."""
    for section, tls in (("api", config.api.tls), ("bus", config.bus.tls)):
        if tls is None:
            continue
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key = "certificate"  # the key of the table that is at fault if the next call raises
        try:
            if tls.certificate:
                # an empty passphrase makes an encrypted key fail; without it OpenSSL would prompt on the terminal
                context.load_cert_chain(config.at(tls.certificate), config.at(tls.key) if tls.key else None, "")
            key = "ca"
            if section == "bus" and config.bus.tls is not None and config.bus.tls.ca:
                context.load_verify_locations(config.at(config.bus.tls.ca))
        except OSError as why:
            reason = why.reason if isinstance(why, ssl.SSLError) else why.strerror
            text = f'= "{getattr(tls, key)}" cannot be used: {str(reason or why).lower().replace("_", " ")}'
            remedy = (
                "name a certificate in PEM, and its key without a passphrase"
                if key == "certificate"
                else "name a file in PEM"
            )
            yield config.source.mistake((section, "tls", key), text, remedy)
