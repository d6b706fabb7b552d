"""Make the key of a device that approves, register it, revoke it, or sign a change of who approves.

The private key is made on the machine, or as the user, of the person who approves: no daemon reads it. The public key
is a line of the table approvals in the configuration of the daemon.
"""

import secrets
import sys
import time
import tomllib
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Reason, RunOptions
from quantd.daemon.cli.failures import Failure, note
from quantd.daemon.cli.output import answer, records, say
from quantd.daemon.cli.places import place
from quantd.server.api.place import ApiPlace
from quantd.server.cli.client import Daemon, reach, running
from quantd.server.cli.operate.mcp import Address, TokenFile, http_address, secret_in
from quantd.server.requests.tokens import created, revoked, stored
from quantd.trading.display_text import endpoint_text
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, USAGE

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the device.")]

WAYS: Final = "docs/operate/phone.md has the ways: a private network, or a reverse proxy with TLS"

BY: Final = "this command, which reads [approvals] of the file and the state folder alone; leave it out"

LOOK_S: Final = 1.0
"""Seconds between two looks for the key of a phone."""


def create(file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file for the private key.")]) -> None:
    """Make a key on the machine, or as the user, of the person who approves; prints the public key."""
    from quantd.models.artifacts.signature import new_key

    public = new_key(file).public_key().public_bytes_raw().hex()
    note(f"{file}: the private key, mode 600; the daemon's user registers the public one: quantd device add NAME KEY")
    say(public)


def add(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its public key, as `quantd device create` printed it.")],
    chosen: RunOptions = DEFAULTS,
    as_json: Json = False,
) -> None:
    """Register the public key of a device in the configuration, and have a running daemon read it.

    Once an agent has `approval = "device"`, it waits for `confirm` by a device in force, or for `[live] loosen_after`.
    """
    chosen.place().unchanged(BY)
    devices = _configured(chosen.config)
    if name in devices:
        raise Failure(f"{chosen.config} has a device {name} already; revoke it, or choose another name", USAGE)
    _write(chosen.config, {**devices, name: key})
    _print_outcome(name, chosen, as_json)


def revoke(name: Name, chosen: RunOptions = DEFAULTS, as_json: Json = False) -> None:
    """Remove a device from the configuration, and sign it out. A running daemon refuses its signatures from then on."""
    devices, folder = _configured(chosen.config), chosen.place().unchanged(BY).folder
    if name not in devices:
        raise Failure(f"{chosen.config} has no device {name!r}; `quantd device list` shows the names", USAGE)
    for token in {token.name for token in stored(folder) if token.key and token.key == devices[name]}:
        revoked(folder, token)
        note(f"{token}: signed out")
    _write(chosen.config, {other: key for other, key in devices.items() if other != name})
    _print_outcome(name, chosen, as_json)


def every(chosen: RunOptions = DEFAULTS, as_json: Json = False) -> None:
    """List the devices of the configuration, whether each is in force, and the key of the daemon's receipts."""
    from quantd.models.artifacts.receipt import public_key

    where = chosen.place().unchanged(BY)
    daemon = running(where)
    reviews = None if daemon is None else daemon.get("/api/v1/reviews")
    rows = [
        {"name": name, "key": key, "state": _standing(name, key, reviews)}
        for name, key in _configured(chosen.config).items()
    ]
    receipts = public_key(where.folder)
    none = "no device approves; `quantd device create FILE` makes a key, on another machine or as another user"
    signs = f"the daemon signs receipts of decisions with {receipts} (quantd verify FILE --key KEY)"
    answer(
        as_json, {"devices": rows, "receipts": receipts},
        (lambda: records(rows, list(rows[0]))) if rows else none, *([signs] if receipts else []),
    )  # fmt: skip


def confirm(
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key of a device in force.")],
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    limits: Annotated[str, typer.Option(metavar="DIGEST", help="What was shown; without it nothing is signed.")] = "",
    url: Address = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Sign the looser limits that wait, such as a new device: they apply at once. Without --limits it shows them.

    The token has the scope admin.
    """
    from quantd.daemon.engine.safety.devices import DEVICES, of_limits

    daemon = reached(url, token_file, chosen)
    reviews = daemon.get("/api/v1/reviews")
    waiting = reviews["limits"]
    if waiting is None:
        raise Failure("no looser limits wait for a signature", CHECK_FAILED)
    if not limits:
        rows = [f"{name}: {waiting['devices'].get(name.removeprefix(DEVICES), '')}" for name in waiting["looser"]]
        answer(as_json, waiting, *rows, f"compare each key; --limits {waiting['digest']} --reason R signs them")
        return
    fields = of_limits(limits, waiting["since"])
    body = {"reason": reason, "signed": signed(key, fields, reviews["now"])}
    response = daemon.post("/api/v1/limits/approve", body)
    answer(as_json, response, f"in force from now on: {', '.join(response['looser'])}")


def pair(name: str, url: str, config: Path) -> None:
    """Show the link that pairs a phone, and register the key that the phone offers once a person has compared it.

    Raises Failure for a page that no phone reaches safely, for a name that is in use, and without a key or a yes.
    """
    where, devices = place(config, None), _configured(config)
    daemon, address = reach(where), _page_address(url, config)
    if name in devices or name in {token.name for token in stored(where.folder)}:
        text = f"there is a device or a token {name} already: --name NAME takes another"
        raise Failure(f"{text}; a lost phone: quantd device revoke {name}", USAGE)
    code = secrets.token_urlsafe(16)
    daemon.post("/api/v1/pairing", {"digest": blake2b(code.encode(), digest_size=32).hexdigest()})
    link = f"{address}/#pair={code}"
    _print_code(link)
    say(f"{link}\nOpen it on the phone within ten minutes; it counts once. Waiting for the phone …")
    sys.stdout.flush()
    key = _offered(daemon)
    shown = " ".join(key[at : at + 4] for at in range(0, 16, 4))
    if not typer.confirm(f"A phone offers the key {shown}. Does its screen show the same?"):
        raise Failure("no phone was paired: another one has used the link; begin again", CHECK_FAILED)
    _write(config, {**devices, name: key})
    created(where.folder, name, "trade", key=key)
    _print_outcome(name, RunOptions(config), as_json=False)
    say(f"{name} signs in by itself, with the scope trade. When it is lost: quantd device revoke {name}")


def _page_address(url: str, config: Path) -> str:
    """The address of the page for a phone, without a slash at its end. Raises Failure for one that does not serve."""
    from quantd.adapters.listener import is_loopback
    from quantd.daemon.assembly.names import known_names
    from quantd.daemon.config import load

    api = load(config, known_names()).api
    if not url and api.names:
        url = f"https://{api.names[0]}"
    if not url and (is_loopback(api.host) or api.host in ("0.0.0.0", "::")):
        text = f"[api] host is {api.host}, and no phone knows this machine by it: name the page with --url https://HOST"
        raise Failure(f"{text}; {WAYS}", USAGE)
    url = (url or f"https://{endpoint_text(api.host, api.port)}").rstrip("/")
    host = urlsplit(http_address(url)).hostname or ""
    if url.startswith("http:") and not is_loopback(host):
        raise Failure(f"{url} has no TLS, and a browser makes a key on https:// alone; {WAYS}", USAGE)
    if host not in (*api.names, api.host) and not is_loopback(host):
        raise Failure(f'{host} would get status 421: write [api] names = ["{host}"], and restart the daemon', CONFIG)
    return url


def _print_code(link: str) -> None:
    """Print a link as a QR code, where the extra `phone` is installed and a terminal shows it."""
    from quantd.extras import lack

    if text := lack("a QR code", "phone", "segno"):
        note(text)
        return
    import segno

    segno.make_qr(link, error="l").terminal(out=sys.stdout, compact=True)


def _offered(daemon: Daemon) -> str:
    """Wait for the public key of the phone that opened the link. Raises Failure after ten minutes."""
    end_s = time.monotonic() + 600
    while time.monotonic() < end_s:
        if key := daemon.get("/api/v1/pairing")["key"]:
            return str(key)
        time.sleep(LOOK_S)
    raise Failure("no phone has used the link within ten minutes; begin again", CHECK_FAILED)


def reached(url: str, token_file: Path | None, chosen: RunOptions) -> Daemon:
    """The daemon at `url`, asked with the token in a file; without a URL that of the state folder. Raises Failure."""
    if not url:
        return reach(chosen.place())
    if token_file is None:
        raise Failure("--url needs --token-file FILE, a token of `quantd token create NAME`", USAGE)
    parts = urlsplit(http_address(url))
    tls = parts.scheme == "https"
    there = ApiPlace(parts.hostname or "", parts.port or (443 if tls else 80), 0, tls)
    return Daemon(there, secret_in(token_file), Path(), verified=True)


def signed_review(file: Path, agent: str, proposal: dict[str, Any], plan: str, now: int) -> dict[str, Any]:
    """The signature of the approval of a proposal with this plan, with the private key in a file."""
    from quantd.daemon.engine.safety.devices import of_proposal

    return signed(file, of_proposal(agent, proposal["id"], proposal["ts"], plan), now)


def signed(file: Path, fields: tuple[str, ...], now: int) -> dict[str, Any]:
    """The signature of `fields` with the private key in a file, valid for ten minutes from `now`, ns UTC."""
    from quantd.daemon.engine.safety.devices import LONGEST_NS, signed_text
    from quantd.models.artifacts.signature import private_key

    key, expires = private_key(file), now + LONGEST_NS * 2 // 3
    public = key.public_key().public_bytes_raw().hex()
    return {"key": public, "expires": expires, "signature": key.sign(signed_text(fields, expires)).hex()}


def _configured(config: Path) -> dict[str, str]:
    """The devices of a configuration, name -> public key; it may have other mistakes. Raises Failure."""
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8")).get("approvals", {})
        return dict(device.split(":") for device in table.get("devices", []))
    except (OSError, ValueError, AttributeError, TypeError) as why:
        raise Failure(f"{config}: {why}; `quantd config check` has the remedy", CONFIG) from None


def _write(config: Path, devices: dict[str, str]) -> None:
    """Write the devices into a configuration, which keeps its comments. Raises Failure for what would be a mistake."""
    from quantd.daemon.cli.setup.config_lines import require_valid
    from quantd.daemon.config.edits import EditError, edited
    from quantd.regular_file import write_whole

    lines = [f"{name}:{key}" for name, key in devices.items()]
    try:
        text = edited(config.read_text(encoding="utf-8"), {("approvals", "devices"): lines})
    except EditError:
        raise Failure(f"{config} is unchanged: write [approvals] devices = {lines!r} there", CONFIG) from None
    require_valid(text, config)
    write_whole(config, text.encode(), keep_mode=True)


def _print_outcome(name: str, chosen: RunOptions, as_json: bool) -> None:
    """Have a running daemon read the configuration, and print what has become of a device."""
    from quantd.daemon.monitoring.signals import reload_now

    where = chosen.place()
    if (daemon := running(where)) is None:
        text = (
            f"{chosen.config} is written; the next `quantd run` reads it, with --loosen where a new device has to wait"
        )
        answer(as_json, {"name": name, "state": ""}, text)
        return
    if differs := [line for line in reload_now(where.folder) if "approvals" in line]:
        raise Failure(f"{chosen.config} is written and not in force: {differs[0]}", CHECK_FAILED)
    standing = _standing(name, _configured(chosen.config).get(name, ""), daemon.get("/api/v1/reviews"))
    remedy = ", or for `quantd device confirm --key FILE` with a key in force" if standing.startswith("waits") else ""
    answer(as_json, {"name": name, "state": standing}, f"{name}: {standing}{remedy}")


def _standing(name: str, key: str, reviews: Any) -> str:
    """The state of a device, from the answer of the daemon; None without a daemon."""
    if not key:
        return "revoked"
    if reviews is None:
        return "no daemon runs"
    if reviews["devices"].get(name) == key:
        return "in force"
    limits = reviews["limits"]
    if limits is not None and f"approvals.{name}" in limits["looser"]:
        return f"waits until {limits['due']}"
    return 'registered; it approves once an agent has approval = "device"'


COMMAND: Final = Command(
    "Operate", 81, {"create": create, "add": add, "list": every, "revoke": revoke, "confirm": confirm}
)
