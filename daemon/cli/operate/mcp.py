"""Serve the tools of an outside agent or of an operator over MCP, on standard input and output."""

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from quantd.daemon.cli.client import reach
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Sets, State
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.places import place
from quantd.trading.exit_codes import CONFIG, USAGE

Address = Annotated[
    str, typer.Option("--url", metavar="URL", help="Address of the API; without it the daemon of the state folder.")
]
TokenFile = Annotated[
    Path, typer.Option("--token-file", metavar="FILE", help="The file with the secret of `quantd token create`.")
]
ForAgent = Annotated[
    str, typer.Option("--agent", "-a", metavar="NAME", help="Tools of this outside agent; of an operator without it.")
]


def mcp(
    token_file: TokenFile,
    agent: ForAgent = "",
    url: Address = "",
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
) -> None:
    """Serve tools over MCP."""
    needs("quantd mcp", "mcp", extra="mcp")
    from quantd.daemon.cli.operate.gate_tools import Gateway, server_of

    try:
        secret = token_file.read_text().strip()
    except (OSError, ValueError) as why:
        raise Failure(f"{token_file}: {why}; `quantd token create NAME` makes a token", CONFIG) from None
    if not secret or not secret.isascii() or not secret.isprintable():
        raise Failure(f"{token_file} has no token; `quantd token create NAME` makes one", CONFIG)
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Failure(f"--url {url!r:.80} is not an address; write http://127.0.0.1:8000", USAGE)
        gateway = Gateway(url, secret)
    else:
        found = reach(place(config, state, sets)).reached
        host = f"[{found.host}]" if ":" in found.host else found.host
        gateway = Gateway(f"{'https' if found.tls else 'http'}://{host}:{found.port}", secret, verified=not found.tls)
    server_of(gateway, agent).run("stdio")


COMMAND: Final = Command("Operate", 85, mcp)
