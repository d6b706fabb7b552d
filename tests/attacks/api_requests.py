"""Requests of an attack on the API, and what they leave behind."""

import asyncio
import base64
import contextlib
import json
import time
from dataclasses import dataclass

from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created, revoked, rotated
from tests.support.api_world import World, raw, standing_at_the_end
from tests.support.command_line import CONFIG

CLOSED = CONFIG.replace("[api]", '[api]\nopen_reads = false\ncors = ["https://pages.example"]')
"""Reads need a token, and one other origin is listed."""

COMMANDS, STATUS, METRICS = "/api/v1/commands", "/api/v1/status", "/metrics"
HALT = json.dumps({"command": "halt", "reason": "attack"})

REASON = json.dumps({"reason": "attack"})

APPROVAL, ORDERS, HISTORY = "/api/v1/limits/approve", "/api/v1/orders", "/api/v1/risk/history"

BEARER = "Authorization: Bearer "


@dataclass(frozen=True)
class Attack:
    """One request. In its text, {owner}, {read}, {metrics}, {trade}, {propose}, {expired}, {revoked}, {rotated} and
    {planted} are secrets, and {basic} is the owner's as a password."""

    name: str
    status: int
    request: str
    headers: tuple[str, ...] = ()
    body: str = ""
    host: str = "Host: localhost"


def get(name: str, status: int, path: str, *headers: str, host: str = "Host: localhost") -> Attack:
    return Attack(name, status, f"GET {path}", headers, host=host)


def post(name: str, status: int, *headers: str, path: str = COMMANDS, body: str = HALT, **more: str) -> Attack:
    return Attack(name, status, f"POST {path}", headers, body, **more)


@contextlib.asynccontextmanager
async def attacked(folder):
    """A closed world, and the secrets of its tokens by name; {planted} was in a file that others may write."""
    async with standing_at_the_end(folder, CLOSED) as world:
        path = world.folder / "tokens.json"
        planted = created(world.folder, "planted", "admin")[1]
        revoked(world.folder, "planted")
        secrets = {name: created(world.folder, name, name)[1] for name in ("read", "metrics", "trade")}
        secrets["propose"] = created(world.folder, "propose", "propose", agent="guest")[1]
        secrets |= {name: created(world.folder, name, "admin")[1] for name in ("revoked", "rotated")}
        rotated(world.folder, "rotated")
        revoked(world.folder, "revoked")
        # the last change, because the next one drops expired tokens from the file
        secrets["expired"] = created(world.folder, "expired", "admin", time.time_ns() + 1)[1]
        token = json.loads(path.read_text())[0]
        user, basic = (base64.b64encode(text.encode()).decode() for text in (f"{world.token}:x", f"x:{world.token}"))
        secrets |= {"id": token["id"], "hash": token["digest"], "salt": token["salt"], "cut": world.token[:-1]}
        await asyncio.sleep(keyring.CHECK_S)
        yield world, secrets | {"owner": world.token, "planted": planted, "user": user, "basic": basic}


async def sent(world: World, secrets: dict[str, str], attack: Attack) -> tuple[int, bytes]:
    headers = [attack.host, *attack.headers, "Connection: close"]
    if attack.body:
        kind = "application/json" if attack.body.startswith("{") else "application/x-www-form-urlencoded"
        headers += [f"Content-Type: {kind}", f"Content-Length: {len(attack.body)}"]
    head = "\r\n".join([f"{attack.request} HTTP/1.1", *headers])
    for name, secret in secrets.items():
        head = head.replace(f"{{{name}}}", secret)
    return await raw(world, head.encode("latin-1") + b"\r\n\r\n" + attack.body.encode())
