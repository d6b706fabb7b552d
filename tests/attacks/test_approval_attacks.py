"""Attacks on the rule that a second person approves looser limits: one line each; the limits stay as they are.

All of them run against one service, which lets a second person approve when they are over.
"""

import asyncio
import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path

from quantd.daemon.engine.state import Loosening
from quantd.daemon.engine.state.snapshot import in_force
from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created, revoked, rotated
from quantd.trading.codec import decode
from quantd.trading.events import Approved
from tests.attacks.api_requests import APPROVAL, BEARER, REASON
from tests.attacks.api_requests import Attack as Request
from tests.attacks.api_requests import sent as request
from tests.support.api_world import RUN, World, standing_at_the_end
from tests.support.command_line import CONFIG


@dataclass(frozen=True)
class Attack:
    """One approval with the secret of a token, and its status. {password} is the second person's as a password."""

    name: str
    status: int
    token: str = ""
    body: str = REASON
    headers: tuple[str, ...] = ()
    path: str = APPROVAL


def body(name: str, text: object) -> Attack:
    """A second person's approval that is not one."""
    return Attack(name, 422, "second", text if isinstance(text, str) else json.dumps(text))


ATTACKS = (
    Attack("the owner alone", 403, "owner"),
    Attack("a name that the owner made since", 403, "later"),
    Attack("the second person's name with a secret that was made since", 403, "rotated"),
    Attack("the second person's name, made again since", 403, "again"),
    Attack("the secret before a rotation", 401, "before"),
    Attack("a token that has expired", 401, "expired"),
    Attack("a token that was revoked since the API read the file of tokens", 403, "revoked"),
    Attack("a token of scope trade from before", 403, "trade"),
    Attack("two tokens, the second person's last", 401, "", headers=(BEARER + "{owner}", BEARER + "{second}")),
    Attack("the second person's token by password", 401, "", headers=("Authorization: Basic {password}",)),
    Attack("the second person's token in the address", 401, path=APPROVAL + "?token={second}"),
    Attack("the second person named in a header", 403, "owner", headers=("X-Forwarded-User: second",)),
    Attack("a page of another origin", 403, "second", headers=("Origin: https://evil.example",)),
    body("the second person named in the body", {"reason": "x", "who": "api:second:0"}),
    body("other limits named in the body", {"reason": "x", "limits": ["risk.max_leverage"]}),
    body("no reason", {}),
    body("a reason of spaces and line feeds", {"reason": " \n\t "}),
    body("a reason twice", '{"reason": "x", "reason": "y"}'),
)


def waits(world: World) -> Loosening:
    """Looser limits wait from now on."""
    state = world.service.shell.state
    state.loosening = Loosening(time.time_ns(), 2**62, in_force(state.rules), ("risk.max_drawdown",))
    return state.loosening


async def sent(world: World, secrets: dict[str, str], attack: Attack) -> tuple[int, bytes]:
    world.api._guard._wrong.clear()
    login = (BEARER + secrets[attack.token],) if attack.token else ()
    return await request(
        world,
        secrets,
        Request(attack.name, attack.status, f"POST {attack.path}", (*login, *attack.headers), attack.body),
    )


def approvals(world: World) -> list[Approved]:
    events = [decode(blob).event for _, blob in world.store.entries(RUN, 1)]
    return [event for event in events if isinstance(event, Approved)]


async def test_no_attack_loosens_a_limit_and_a_second_person_does_once(tmp_path: Path) -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 18
    async with standing_at_the_end(tmp_path, CONFIG) as world:
        place = world.folder
        secrets = {name: created(place, name, "admin")[1] for name in ("second", "third", "before", "again", "revoked")}
        secrets |= {"owner": world.token, "trade": created(place, "trade", "trade")[1]}
        secrets["expired"] = created(place, "expired", "admin", time.time_ns() + 10**9)[1]
        secrets["password"] = base64.b64encode(f"x:{secrets['second']}".encode()).decode()
        await asyncio.sleep(1.0)
        waiting = waits(world)
        secrets["later"] = created(place, "later", "admin")[1]
        secrets["rotated"] = rotated(place, "before")[1]
        revoked(place, "again")
        secrets["again"] = created(place, "again", "admin")[1]
        await asyncio.sleep(keyring.CHECK_S)
        wrong = {}
        for attack in ATTACKS:
            if attack.token == "revoked":
                revoked(place, "revoked")
                world.api._guard._keyring._next_s = time.monotonic() + 60  # the API does not read the file meanwhile
            status, text = await sent(world, secrets, attack)
            if status != attack.status or world.service.shell.state.loosening is not waiting:
                wrong[attack.name] = status, text[-300:]
        assert wrong == {}
        assert approvals(world) == []
        # the table would pass against a daemon that refuses everything
        responses = await asyncio.gather(*(sent(world, secrets, Attack("race", 0, who)) for who in ("second", "third")))
        assert sorted(status for status, _ in responses) == [200, 409], "one of two approvals at once"
        assert world.service.shell.state.loosening is None
        count = len(approvals(world))
        replay = await sent(world, secrets, Attack("replay", 409, "second"))
        assert replay[0] == 409, "an approval that is sent again approves nothing"
        assert len(approvals(world)) == count
