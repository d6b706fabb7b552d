"""Attacks on `approval = "device"`: one line each; no order is sent, and no other key approves.

All of them run against one service, whose proposal the device approves when they are over. A shell of the daemon's user
has every token, and may write the configuration; the device's private key is not there.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec.structs import replace

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import limits_of_config
from quantd.daemon.config import load
from quantd.daemon.engine import step
from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.daemon.engine.safety.devices import of_limits, of_proposal, signature_fault, signed_text
from quantd.daemon.engine.safety.pending_limits import digest_of
from quantd.daemon.engine.state.live_caps import LOOSEN_AFTER_NS
from quantd.daemon.engine.state.settings import Approvals
from quantd.daemon.engine.state.snapshot import freeze, in_force, limits_from, thaw
from quantd.daemon.monitoring.signals import reload
from quantd.daemon.recovery.tightening import change_of_limits, limits_of, loosened
from quantd.models.artifacts.signature import new_key, private_key
from quantd.server.api.access import keyring, rate_limits, sessions
from quantd.server.cli.operate.device import signed
from quantd.server.requests.tokens import created, revoked
from quantd.trading.codec import decode
from quantd.trading.effects import Refused
from quantd.trading.events import Approved, DeviceSignature, ProposalReviewed, Reloaded, Tick
from tests.server.api.routes.outside_run import REVIEWED
from tests.support.api_world import RUN, World, standing_at_the_end
from tests.support.command_line import write
from tests.support.engine import taken

MINUTE_NS = 60 * 10**9
DEVICE = 'approval = "device"\nwithin = "15m"'
REVIEW, LIMITS = "/api/v1/agents/guest/review", "/api/v1/limits/approve"
SIGN_IN = "/api/v1/sign-in"


@dataclass
class Scene:
    """A run with a proposal that waits, the keys of its devices and the tokens of a shell."""

    world: Any
    keys: dict[str, Path]
    secrets: dict[str, str]
    text: str
    plan: str = ""
    since: int = 0

    @property
    def state(self) -> Any:
        return self.world.service.shell.state

    def file(self, text: str) -> Any:
        """The configuration with another text."""
        return load(write(self.world.folder.parent, text), known_names())

    async def reloaded(self, text: str) -> list[str]:
        """Have the daemon read another file; returns what is not in force."""
        file = self.file(text)
        return [str(m) for m in await reload(self.world.service, lambda: file, self.world.assembly)]

    async def post(self, path: str, body: object, token: str = "owner") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {self.secrets[token]}"}
        async with self.world.session.post(path, json=body, headers=headers) as response:
            return response.status, (await response.json()).get("detail", "")

    async def propose(self, id: str, weight: float) -> None:
        """A proposal of the agent; its plan is shown."""
        body = {"weights": {"SPY": weight}, "id": id, "reason": "momentum"}
        assert (await self.post("/api/v1/agents/guest/propose", body, "agent"))[0] == 200
        headers = {"Authorization": f"Bearer {self.secrets['owner']}"}
        async with self.world.session.post(f"{REVIEW}/preview", json={"id": id}, headers=headers) as response:
            self.plan, self.since = (await response.json())["plan"], self.state.reviews[-1].ts

    def yes(self, key: str = "phone", id: str = "b-1", **other: Any) -> dict[str, Any]:
        """The body of an approval that a key signs; `other` are parts of the signed text that differ."""
        fields = of_proposal("guest", other.get("id", id), other.get("since", self.since), other.get("plan", self.plan))
        signature = signed(self.keys[key], fields, other.get("now", self.state.now))
        return {"id": id, "approve": True, "reason": "x", "plan": self.plan, "signed": signature}

    def limits(self, key: str) -> dict[str, Any]:
        """The body of an approval of the looser limits that wait."""
        waiting = self.state.loosening
        return {
            "reason": "x",
            "signed": signed(self.keys[key], of_limits(digest_of(waiting), waiting.since), self.state.now),
        }


@dataclass(frozen=True)
class Attack:
    """One request, its status and a part of the answer."""

    name: str
    status: int
    text: str
    body: Callable[[Scene], dict[str, Any]]
    token: str = "owner"
    path: str = REVIEW


def unsigned(scene: Scene) -> dict[str, Any]:
    return scene.yes() | {"signed": None}


def with_signature(**parts: Any) -> Callable[[Scene], dict[str, Any]]:
    def body(scene: Scene) -> dict[str, Any]:
        yes = scene.yes()
        return yes | {"signed": yes["signed"] | parts}

    return body


NO_TOKEN = "only the signature of a device approves it, and no token"
FORGED = "the signature is not of what waits now"

SHELL = (
    Attack("the owner's token", 403, NO_TOKEN, unsigned),
    Attack("a token of scope admin that the shell made", 403, NO_TOKEN, unsigned, "shell"),
    Attack("the owner's token without a plan", 409, "needs the plan", lambda s: unsigned(s) | {"plan": ""}),
    Attack("a signature without a plan", 409, "needs the plan", lambda s: s.yes() | {"plan": ""}),
    Attack("the agent's token with the device's signature", 403, "", Scene.yes, "agent"),
    Attack("a key that the shell made", 403, "of no device in force", lambda s: s.yes("shell")),
    Attack("the device's key with a signature of the shell's", 403, FORGED, lambda s: s.yes() | {
        "signed": s.yes("shell")["signed"] | {"key": s.yes()["signed"]["key"]}
    }),
    Attack("an empty signature", 403, FORGED, with_signature(signature="")),
    Attack("a signature that is no hexadecimal text", 403, FORGED, with_signature(signature="é" * 64)),
    Attack("a signature of zeros", 403, FORGED, with_signature(signature="00" * 64)),
    Attack("a signature with one more field", 422, "no field 'signed.device'", with_signature(device="phone")),
    Attack("the name of the device in place of its key", 403, "of no device in force", with_signature(key="phone")),
    Attack("the device named as the sender", 422, "no field 'who'", lambda s: unsigned(s) | {"who": "phone"}),
)  # fmt: skip
"""With a shell of the daemon's user."""

EXCHANGED = (
    Attack("a signature of another plan", 403, FORGED, lambda s: s.yes(plan="0" * 32)),
    Attack("a plan that was never shown", 409, "no orders that were shown", lambda s: exchanged(s, "0" * 32)),
    Attack("the signature of the proposal before it", 403, FORGED, lambda s: s.yes(id="b-1") | {
        "signed": signed(s.keys["phone"], of_proposal("guest", "a-1", s.since, s.plan), s.state.now)
    }),
    Attack("the proposal that was exchanged", 409, "replaced by the proposal b-1", lambda s: s.yes(id="a-1")),
)  # fmt: skip
"""After the agent exchanged what waits."""

CLOCK = (
    Attack("a signature that has ended", 403, "ended at", lambda s: s.yes(now=s.state.now - 11 * MINUTE_NS)),
    Attack("a signature of a clock that is a day ahead", 403, "more than 15 minutes", lambda s: s.yes(
        now=s.state.now + 1440 * MINUTE_NS
    )),
    Attack("another end than the signed one", 403, FORGED, lambda s: with_signature(
        expires=s.state.now + MINUTE_NS
    )(s)),
    Attack("an end that never comes", 403, "more than 15 minutes", with_signature(expires=2**62)),
)  # fmt: skip
"""With a clock that is off."""

REPLAY = (
    Attack("the signature of another run", 403, FORGED, lambda s: s.yes(since=s.since - 1)),
    Attack("a signature for limits", 403, FORGED, lambda s: s.yes() | {
        "signed": signed(s.keys["phone"], of_limits(s.plan, s.since), s.state.now)
    }),
    Attack("the same signature for another agent", 404, "", Scene.yes, path="/api/v1/agents/other/review"),
)  # fmt: skip
"""With a signature that was valid elsewhere."""

EDITED = (
    Attack("a key that the shell wrote into the file", 403, "of no device in force", lambda s: s.yes("shell")),
    Attack("the owner's token for that key", 403, NO_TOKEN, lambda s: {"reason": "x"}, path=LIMITS),
    Attack("a second person's token for that key", 403, NO_TOKEN, lambda s: {"reason": "x"}, "second", LIMITS),
    Attack("that key signs for itself", 403, "of no device in force", lambda s: s.limits("shell"), path=LIMITS),
    Attack("the device's signature of the limits before that key", 403, FORGED, lambda s: {
        "reason": "x", "signed": signed(s.keys["phone"], of_limits("0" * 32, s.state.loosening.since), s.state.now)
    }, path=LIMITS),
    Attack("the device's approval of the proposal for that key", 403, FORGED, lambda s: {
        "reason": "x", "signed": s.yes()["signed"]
    }, path=LIMITS),
)  # fmt: skip
"""After the shell added its key to the file, and had the daemon read it."""

LOST = (
    Attack("a lost device signs", 403, "of no device in force", lambda s: s.yes("tablet")),
    Attack(
        "a lost device signs its own return", 403, "of no device in force", lambda s: s.limits("tablet"), path=LIMITS
    ),
    Attack("the owner's token for its return", 403, NO_TOKEN, lambda s: {"reason": "x"}, path=LIMITS),
)
"""With a device that was revoked, and that the shell wrote into the file again."""

LATE = (
    Attack(
        "a signature after `within` of the book", 409, "no proposal 'c-1' of guest waits", lambda s: s.yes(id="c-1")
    ),
)

PHONE = {
    "a stolen link with another key": (401, "/api/v1/pair", lambda p: {"code": p.code, "key": p.key("shell")}),
    "a stolen link after its end": (401, "/api/v1/pair", lambda p: {"code": p.late, "key": p.key("shell")}),
    "a guessed link": (401, "/api/v1/pair", lambda p: {"code": "A" * 22, "key": p.key("shell")}),
    "a link that signs in": (401, SIGN_IN, lambda p: {"code": p.code}),
    "a key that offered itself and was not accepted": (401, SIGN_IN, lambda p: p.answer("shell")),
    "a recorded sign-in": (401, SIGN_IN, lambda p: p.recorded),
    "a recorded sign-in with the end moved": (401, SIGN_IN, lambda p: p.recorded | {"challenge": p.challenge()}),
    "a challenge of another process": (401, SIGN_IN, lambda p: p.answer("phone", f"other.{p.end(30)}")),
    "a challenge that has ended": (401, SIGN_IN, lambda p: p.answer("phone", f"{p.nonce}.{p.end(-1)}")),
    "a challenge of a later day": (401, SIGN_IN, lambda p: p.answer("phone", f"{p.nonce}.{p.end(86_400)}")),
    "a challenge without an end": (401, SIGN_IN, lambda p: p.answer("phone", p.nonce)),
    "a challenge of many digits": (401, SIGN_IN, lambda p: p.answer("phone", f"{p.nonce}.{'9' * 100}")),
    "an approval as a sign-in": (401, SIGN_IN, lambda p: p.of_approval()),
    "a signature of the shell's with the phone's key": (
        401, SIGN_IN, lambda p: p.answer("shell") | {"key": p.key("phone")}
    ),
    "an empty signature": (401, SIGN_IN, lambda p: p.answer("phone") | {"signature": ""}),
    "a signature that is no hexadecimal text": (422, SIGN_IN, lambda p: p.answer("phone") | {"signature": "é"}),
    "the public key alone": (401, SIGN_IN, lambda p: {"key": p.key("phone")}),
    "the public key as a token": (401, SIGN_IN, lambda p: {"token": p.key("phone")}),
    "a key beside a token": (401, SIGN_IN, lambda p: p.answer("phone") | {"token": "x"}),
    "a lost phone": (401, SIGN_IN, lambda p: p.answer("lost")),
}  # fmt: skip
"""Who would sign in as a phone, or pair one -> status, path and body of a request."""

STARTS = {
    "a start with one more device": (
        lambda phone, shell: with_devices(phone, shell), "approvals.shell", "devices = ",
    ),
    "a start with another key of the device": (
        lambda phone, shell: with_devices(f"phone:{shell[6:]}"), "approvals.phone", "devices = ",
    ),
    "a start without the approval": (
        lambda phone, _: with_devices(phone).replace(DEVICE, ""), "agents.guest.approval",
        "approval = off may be looser",
    ),
    "a start with the approval of a person": (
        lambda phone, _: with_devices(phone).replace('"device"', '"person"'), "agents.guest.approval",
        "approval = off may be looser",
    ),
}  # fmt: skip
"""Edits of the file while the daemon is stopped -> what is looser, and a part of the message that stops the start."""

ATTACKS = (*SHELL, *EXCHANGED, *CLOCK, *REPLAY, *EDITED, *LOST, *LATE)


def exchanged(scene: Scene, plan: str) -> dict[str, Any]:
    """An approval whose plan the device signed, and that is not what would be sent."""
    return scene.yes(plan=plan) | {"plan": plan}


def line(folder: Path, name: str) -> tuple[Path, str]:
    """(private key of a new device, its line in the configuration)."""
    file = folder / f"{name}.pem"
    new_key(file)
    return file, f"{name}:{signed(file, (), 0)['key']}"


def with_devices(*lines: str) -> str:
    text = REVIEWED.replace('approval = "person"', DEVICE, 1)
    text = text.replace("proposals = 90", "proposals = 90, posts = 10000, posts_burst = 100000")
    listed = ", ".join(f'"{each}"' for each in lines)
    return f"{text}[approvals]\ndevices = [{listed}]\n"


async def all_refused(scene: Scene, attacks: tuple[Attack, ...]) -> None:
    state = scene.state
    reviews, loosening, wrong = list(state.reviews), state.loosening, {}
    for attack in attacks:
        status, text = await scene.post(attack.path, attack.body(scene), attack.token)
        held = (state.reviews, state.loosening, dict(state.working)) == (reviews, loosening, {})
        if status != attack.status or attack.text not in text or not held:
            wrong[attack.name] = status, text
    assert wrong == {}


async def test_no_attack_approves_and_the_device_does_once(tmp_path: Path) -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    keys, lines = {}, {}
    for name in ("phone", "tablet", "shell"):
        keys[name], lines[name] = line(tmp_path, name)
    text = with_devices(lines["phone"], lines["tablet"])
    async with standing_at_the_end(tmp_path, text) as world:
        exchange_policies(world.service.shell.state, 0, 1)
        place = world.folder
        secrets = {name: created(place, name, "admin")[1] for name in ("second", "shell")}
        secrets |= {"owner": world.token, "agent": created(place, "agent", "propose", agent="guest")[1]}
        await asyncio.sleep(keyring.CHECK_S)
        scene = Scene(world, keys, secrets, text)
        await scene.propose("a-1", 0.1)
        before = scene.plan
        await scene.propose("b-1", 0.4)
        await all_refused(scene, SHELL)
        await all_refused(scene, EXCHANGED)
        status, why = await scene.post(REVIEW, exchanged(scene, before))
        assert status == 409
        assert f"the plan {before} is of a-1: " in why, "what was seen"
        assert "now b-1 is of " in why, "what would be sent"
        await all_refused(scene, CLOCK)
        await all_refused(scene, REPLAY)
        # the shell edits the file
        assert await scene.reloaded(text.replace(lines["tablet"], lines["tablet"] + '", "' + lines["shell"])) == []
        assert scene.state.loosening.looser == ("approvals.shell",)
        assert set(scene.state.rules.approvals.devices) == {"phone", "tablet"}
        await all_refused(scene, EDITED)
        (refused,) = await scene.reloaded(text.replace('approval = "device"', 'approval = "person"'))
        assert "restart the daemon" in refused
        # a device is lost
        await scene.reloaded(with_devices(lines["phone"]))
        assert set(scene.state.rules.approvals.devices) == {"phone"}, "at once"
        await scene.reloaded(text)
        await all_refused(scene, LOST)
        assert scene.state.loosening.looser == ("approvals.tablet",)
        # the table would pass against a daemon that refuses everything
        assert (await scene.post(LIMITS, scene.limits("phone"), "second"))[0] == 200
        assert set(scene.state.rules.approvals.devices) == {"phone", "tablet"}
        frozen = freeze(scene.state)
        assert (await scene.post(REVIEW, scene.yes("tablet"), "second"))[0] == 200
        assert scene.state.reviews == []
        assert (await scene.post(REVIEW, scene.yes("tablet"), "second"))[0] == 409, "a signature is used once"
        event = the_journal_proves_it(world)
        copy = thaw(world.assembly.rules, frozen)
        forged = replace(event, signed=replace(event.signed, signature="00" * 64))
        assert any(isinstance(effect, Refused) for effect in step(copy, forged)), "a replay verifies it too"
        await scene.propose("c-1", 0.2)
        scene.state.now += 16 * MINUTE_NS
        orders = dict(scene.state.working)
        for attack in LATE:
            status, why = await scene.post(REVIEW, attack.body(scene))
            assert (status, attack.text in why, scene.state.working) == (attack.status, True, orders), attack.name


@pytest.mark.parametrize("name", STARTS)
def test_a_start_with_an_edited_file_stops_and_where_it_is_accepted_waits_a_day(tmp_path: Path, name: str) -> None:
    edit, looser, text = STARTS[name]
    _, phone = line(tmp_path, "phone")
    _, shell = line(tmp_path, "shell")
    world = World(tmp_path, with_devices(phone))
    state, before = world.service.shell.state, limits_of(world.service.shell.state)
    config = load(write(tmp_path, edit(phone, shell)), known_names())
    rules = limits_of_config(world.assembly, config)
    (mistake,) = loosened(before, rules, config)
    assert text in str(mistake)
    assert "accept it: quantd run --loosen" in str(mistake)
    event = change_of_limits(state, rules, state.now, "c", ("limits",), before)
    assert (event.looser, event.due) == ((looser,), state.now + LOOSEN_AFTER_NS)
    step(state, event)
    kept = limits_from(in_force(state.rules)).approvals
    assert kept.agents == ("guest",)
    assert set(kept.devices.values()) <= {phone[6:]}, "no other key approves meanwhile"
    step(state, Approved(state.now, "x", "api:second:1", digest_of(state.loosening)))
    assert state.loosening is not None, "nor does a second person's token end the wait"
    taken(state, Tick(event.due))
    assert in_force(state.rules) == in_force(rules)


class Phone:
    """A daemon with two paired phones, one of which is lost, and what an attacker has: links, keys, a recording."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world = world
        self.keys = {name: line(folder, name)[0] for name in ("phone", "lost", "shell")}
        self.sessions = world.api._guard.sessions
        self.nonce = self.sessions.challenge().partition(".")[0]
        self.code, self.late = "c" * 22, "l" * 22
        self.recorded: dict[str, str] = {}

    def key(self, name: str) -> str:
        return str(signed(self.keys[name], (), 0)["key"])

    def end(self, seconds: float) -> int:
        return time.time_ns() + int(seconds * 1e9)

    def challenge(self) -> str:
        return str(self.sessions.challenge())

    def answer(self, name: str, challenge: str = "") -> dict[str, str]:
        """What a device sends to sign in: the signature of a challenge and its end."""
        challenge = challenge or self.challenge()
        end = challenge.partition(".")[2]
        text = signed_text(("sign-in", challenge), int(end) if end[:19].isdecimal() else 0)
        signature = private_key(self.keys[name]).sign(text).hex()
        return {"key": self.key(name), "challenge": challenge, "signature": signature}

    def of_approval(self) -> dict[str, str]:
        """The signature of an approval, in place of that of a challenge."""
        approval = signed(self.keys["phone"], of_proposal("guest", "a-1", 1, "0" * 32), time.time_ns())
        return {"key": self.key("phone"), "challenge": self.challenge(), "signature": str(approval["signature"])}

    async def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        self.world.session.cookie_jar.clear()
        async with self.world.session.post(path, json=body) as response:
            return response.status, await response.json()


async def test_only_a_paired_phone_signs_in_and_once_for_each_challenge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "WRONG_TOKENS", 10_000)
    monkeypatch.setattr(rate_limits, "WRONG_IN_ALL", 10_000)
    async with standing_at_the_end(tmp_path, with_devices(line(tmp_path, "first")[1])) as world:
        phone = Phone(world, tmp_path)
        for name in ("phone", "lost"):
            created(world.folder, name, "trade", key=phone.key(name))
        revoked(world.folder, "lost")
        await asyncio.sleep(keyring.CHECK_S)
        monkeypatch.setattr(sessions, "PAIR_S", -1)
        phone.sessions.pair(sessions._digest(phone.late))
        assert (await phone.post("/api/v1/pair", {"code": phone.late, "key": phone.key("phone")}))[0] == 401
        monkeypatch.setattr(sessions, "PAIR_S", 600)
        phone.sessions.pair(sessions._digest(phone.code))
        offer = {"code": phone.code, "key": phone.key("phone")}
        assert await phone.post("/api/v1/pair", offer) == (200, {"paired": True}), "the table would pass without it"
        phone.recorded = phone.answer("phone")
        status, begun = await phone.post(SIGN_IN, phone.recorded)
        assert (status, begun["name"], begun["scope"]) == (200, "phone", "trade")
        before, wrong = world.store.last_seq(RUN), {}
        for name, (expected, path, body) in PHONE.items():
            found = await phone.post(path, body(phone))
            if found[0] != expected:
                wrong[name] = found
        assert wrong == {}
        assert world.store.last_seq(RUN) == before
        await no_text_of_the_state_folder_signs_in(phone)
        assert (await phone.post(SIGN_IN, phone.answer("phone")))[0] == 200
    known = Approvals({"phone": phone.key("phone")}, ())
    for answer in (phone.answer("phone"), phone.recorded):
        end = int(answer["challenge"].partition(".")[2])
        as_approval = DeviceSignature(answer["key"], end, answer["signature"])
        fault = signature_fault(known, as_approval, of_limits("0" * 32, 0), end - MINUTE_NS)
        assert FORGED in fault, "a sign-in approves nothing"


async def no_text_of_the_state_folder_signs_in(phone: Phone) -> None:
    """A model that reads the files of the state folder finds the owner's token alone, which approves nothing."""
    files = (path for path in sorted(phone.world.folder.rglob("*")) if path.is_file() and path.name != "token")
    texts = {text.decode() for path in files for text in re.findall(rb"[A-Za-z0-9_-]{16,200}", path.read_bytes())}
    mine = [text for text in texts if text in (phone.world.folder / "tokens.json").read_text()]
    assert phone.key("phone") in mine
    for text in mine:
        for field in ("token", "code"):
            assert (await phone.post(SIGN_IN, {field: text}))[0] == 401, (field, text)


def the_journal_proves_it(world: Any) -> ProposalReviewed:
    """The only approval in the journal. Its signature is of a key that the journal has."""
    events = [decode(blob).event for _, blob in world.store.entries(RUN, 1)]
    (event,) = [each for each in events if isinstance(each, ProposalReviewed) and each.approve]
    in_force = next(limits_from(each.limits).approvals for each in events if isinstance(each, Reloaded))
    assert event.signed is not None
    assert event.signed.key == in_force.devices["tablet"]
    proposal = next(each for each in events if getattr(each, "id", "") == event.id)
    fields = of_proposal(event.agent, event.id, proposal.ts, event.plan)
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(event.signed.key))
    public.verify(bytes.fromhex(event.signed.signature), signed_text(fields, event.signed.expires))
    return event
