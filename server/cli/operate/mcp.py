"""Serve the tools of an outside agent or of an operator over MCP, on standard input and output or HTTP."""

import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from quantd.adapters.listener import is_loopback
from quantd.daemon.cli.command import DEFAULTS, Command, RunOptions
from quantd.daemon.cli.failures import Failure, file_fault, needs
from quantd.daemon.cli.output import say
from quantd.server.cli.client import reach
from quantd.trading.exit_codes import CONFIG, USAGE

if TYPE_CHECKING:
    from quantd.server.cli.operate.gate.gateway import Gateway

Address = Annotated[
    str, typer.Option("--url", metavar="URL", help="Address of the API; without it the daemon of the state folder.")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="The file with the secret of `quantd token create`.")
]
ForAgent = Annotated[
    str, typer.Option("--agent", "-a", metavar="NAME", help="Tools of this outside agent; of an operator without it.")
]
Http = Annotated[
    str,
    typer.Option("--http", metavar="HOST:PORT", help="Serve streamable HTTP; each client sends its own token."),
]
Certificate = Annotated[Path | None, typer.Option("--certificate", metavar="FILE", help="With --http: TLS, PEM.")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The key of the certificate, PEM.")]


def mcp(
    token_file: TokenFile = None,
    agent: ForAgent = "",
    url: Address = "",
    http: Http = "",
    certificate: Certificate = None,
    key: Key = None,
    chosen: RunOptions = DEFAULTS,
) -> None:
    """Serve tools over MCP, on standard input and output or with --http. `quantd agent add --mcp` prints the lines of a
    client."""
    needs("quantd mcp", "mcp", extra="mcp")
    from quantd.server.cli.operate.gate.gate_server import server_of
    from quantd.server.cli.operate.gate.gateway import Gateway

    if bool(http) == (token_file is not None):
        raise Failure("write either --token-file FILE, or --http HOST:PORT (each client then sends its token)", USAGE)
    certificate_files = _certificate(certificate, key, http)
    secret = "" if token_file is None else secret_in(token_file)
    if url:
        gateway = Gateway(http_address(url), secret)
    else:
        api_place = reach(chosen.place()).reached
        # the daemon of this state folder wrote its certificate itself: it is not verified
        gateway = Gateway(api_place.url.rstrip("/"), secret, verified=not api_place.tls)
    if http:
        _serve(gateway, agent, http, certificate_files)
    else:
        server_of(gateway, agent).run("stdio")


def http_address(url: str) -> str:
    """Return `url` unchanged if it is an HTTP address or empty. Raises Failure for any other text."""
    address_parts = urlsplit(url)
    if url and (address_parts.scheme not in ("http", "https") or not address_parts.hostname):
        raise Failure(f"--url {url!r:.80} is not an address; write http://127.0.0.1:8000", USAGE)
    return url


def command_line(
    token_file: Path, agent: str, url: str, config: Path, state: Path | None, sets: Sequence[str]
) -> list[str]:
    """The command line that starts this MCP server; its paths are absolute, as a client starts it in another folder."""
    script = Path(sys.executable).with_name("quantd")
    program = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "quantd.daemon.cli"]
    daemon_options = ["--url", url] if url else ["--config", str(config.absolute())]
    if state is not None and not url:
        daemon_options += ["--state", str(state.absolute())]
    overrides = [word for override in sets for word in ("--set", override)]
    agent_options = ["--agent", agent] if agent else []
    return [*program, "mcp", *agent_options, "--token-file", str(token_file.absolute()), *daemon_options, *overrides]


def secret_in(file: Path) -> str:
    """Return the token in a file. Raises Failure for a missing file, and for content that is no token."""
    try:
        secret = file.read_text().strip()
    except OSError as why:
        raise Failure(f"{file_fault(why)}; `quantd token create NAME > {file}` makes it", CONFIG) from None
    except ValueError:
        raise Failure(f"{file} has no token; `quantd token create NAME` makes one", CONFIG) from None
    if not secret or not secret.isascii() or not secret.isprintable():
        raise Failure(f"{file} has no token; `quantd token create NAME` makes one", CONFIG)
    return secret


def _certificate(certificate: Path | None, key: Path | None, http: str) -> tuple[Path, Path] | None:
    """Return (certificate file, key file), or None for a loopback host without a certificate.

    Raises Failure for one file without the other, for a certificate and key that do not fit each other, and for any
    other host without a certificate.
    """
    if (certificate is None) != (key is None) or (certificate is not None and not http):
        raise Failure("--certificate and --key were not used together with --http; write all three", USAGE)
    if certificate is None or key is None:
        if http and not is_loopback(_host_port(http)[0]):
            text = f"--http {http} is open to other machines: add --certificate FILE --key FILE, or use 127.0.0.1"
            raise Failure(text, CONFIG)
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as why:
        raise Failure(
            f"{certificate} and {key} are no certificate with its key: {why}; correct the two files", CONFIG
        ) from None
    return certificate, key


def _host_port(http: str) -> tuple[str, int]:
    """Return the host and port of --http. Raises Failure for text that is not HOST:PORT."""
    try:
        address_parts = urlsplit(f"//{http}")
        host, port = address_parts.hostname, address_parts.port
    except ValueError:
        host = port = None
    if (
        not host
        or port is None
        # a user name or a password before an @ is no part of an address
        or address_parts.netloc != address_parts.netloc.rpartition("@")[2]
        or address_parts.path
    ):
        raise Failure(f"--http {http!r:.80} is not an address; write 127.0.0.1:8100", USAGE)
    return host, port


def _serve(gateway: "Gateway", agent: str, http: str, files: tuple[Path, Path] | None) -> None:
    """Serve streamable HTTP until a signal ends it. Raises Failure if the address cannot be used."""
    from quantd.server.cli.operate.gate.gate_server import http_server, listening

    host, port = _host_port(http)
    try:
        sock = listening(host, port)
    except OSError as why:
        raise Failure(f"--http {http}: {why.strerror or why}; choose another port", CONFIG) from None
    server, address = http_server(gateway, agent, sock, host, files)
    say(f"MCP at {address}; each request needs `Authorization: Bearer TOKEN` of `quantd token create`")
    sys.stdout.flush()
    server.run(sockets=[sock])


COMMAND: Final = Command("Operate", 85, mcp)
