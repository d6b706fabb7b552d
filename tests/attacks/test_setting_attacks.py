"""Attacks on a change of the configuration by a request: one line each; file and run stay as they are."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantd.daemon.engine.state.snapshot import freeze
from quantd.models.artifacts.signature import new_key
from quantd.server.api.access import keyring
from quantd.server.cli.operate.device import signed
from quantd.server.requests.tokens import created
from tests.server.api.routes.outside_run import REVIEWED
from tests.support.api_world import standing_at_the_end

LOOSER = {"setting": "risk.max_drawdown", "value": "0.9"}
TIGHTER = {"setting": "risk.max_drawdown", "value": "0.1"}
KEY = "risk.max_drawdown"
ALONE = REVIEWED.replace("proposals = 90", "proposals = 90, posts = 10000, posts_burst = 100000")


@dataclass
class Scene:
    """A run, its tokens and its file."""

    world: Any
    keys: dict[str, Path]
    secrets: dict[str, str]
    old: dict[str, str]
    """Plans of the file as it was before the newest edit."""

    @property
    def file(self) -> Path:
        return Path(self.world.folder.parent / "config.toml")

    async def post(self, body: dict[str, Any], token: str, to: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.secrets[token]}"}
        async with self.world.session.post(f"/api/v1/settings{to}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def planned(self, asked: dict[str, str]) -> str:
        previewed = {name: asked[name] for name in ("setting", "value")}
        status, change = await self.post(previewed, "owner", "/preview")
        assert status == 200, change
        return str(change["plan"])


@dataclass(frozen=True)
class Attack:
    """One change, its token, what is done before it, and the answer: status and a part of the text."""

    name: str
    asked: dict[str, str]
    status: int
    text: str
    token: str = "owner"
    before: Callable[[Scene], Any] = lambda scene: None
    signed: Callable[[Scene, str], Any] = lambda scene, plan: None
    plan: str | None = None


def edit(before: str, after: str) -> Callable[[Scene], None]:
    def edited(scene: Scene) -> None:
        text = scene.file.read_text()
        assert before in text
        scene.file.write_text(text.replace(before, after, 1))

    return edited


def linked(scene: Scene) -> None:
    """The file is a link, as of a mounted volume: the daemon reads it, and cannot write it."""
    scene.file.rename(scene.file.with_name("real.toml"))
    scene.file.symlink_to("real.toml")


def by(key: str, ns: int = 0, plan: str = "") -> Callable[[Scene, str], Any]:
    def signature(scene: Scene, seen: str) -> Any:
        now = scene.world.service.shell.state.now + ns
        return signed(scene.keys[key], ("setting", plan or seen), now)

    return signature


NO_DEVICE = "only the signature of a device approves it, and no token"
FORGED = "the signature is not of what waits now"

AUTHORITY = (
    Attack("a token that reads, tighter", TIGHTER, 403, "", "reader"),
    Attack("a token that reads, looser", LOOSER, 403, "", "reader"),
    Attack("a token that proposes", TIGHTER, 403, "", "guest"),
    Attack("a token that trades, looser", LOOSER, 403, "needs a token of scope admin", "desk"),
    Attack("trade, a larger share", {"setting": "agents[0].capital", "value": "0.6"}, 403, "admin", "desk"),
    Attack("trade, no alerts", {"setting": "alerts.levels", "value": '["CRITICAL"]'}, 403, "admin", "desk"),
)  # fmt: skip

OTHER = (
    Attack("a key of another table", {"setting": "api.open_reads", "value": "true"}, 422, "is no limit", plan="x"),
    Attack("a device", {"setting": "approvals.devices", "value": "[]"}, 422, "is no limit", plan="x"),
    Attack("a receiver's address", {"setting": "alerts.sinks", "value": "{}"}, 422, "is no limit", plan="x"),
    Attack("the delay itself", {"setting": "live.loosen_after", "value": '"1h"'}, 422, "is no limit", plan="x"),
    Attack("a value that is no number", {"setting": KEY, "value": "abc"}, 422, "max_drawdown", plan="x"),
    Attack("a value that is no fraction", {"setting": KEY, "value": "15"}, 422, "config.toml:", plan="x"),
    Attack("a value that is nan", {"setting": KEY, "value": "nan"}, 422, "is no value", plan="x"),
    Attack("a value with further lines", {"setting": KEY, "value": "0.1\n[api]"}, 422, "is no value", plan="x"),
    Attack("a value of another type", {"setting": KEY, "value": "[0.1]"}, 422, "max_drawdown", plan="x"),
    Attack("a value of nothing", {"setting": KEY, "value": " "}, 422, "is no value", plan="x"),
    Attack("no reason", TIGHTER | {"reason": " "}, 422, "reason"),
    Attack("without a preview", TIGHTER, 409, "others than at the preview", plan=""),
    Attack("with the plan of another change", LOOSER, 409, "others than at the preview", plan="tighter"),
)  # fmt: skip

EDITED = (
    Attack("a looser limit that a hand wrote", TIGHTER, 409, "max_position_weight", before=edit(
        "max_position_weight = 0.25", "max_position_weight = 0.9"), plan="tighter"),
    Attack("a comment that a hand wrote since the preview", TIGHTER, 409, "others than at the preview", before=edit(
        "[risk]\n", "[risk]   # mine\n"), plan="tighter"),
    Attack("a file that is no TOML", TIGHTER, 422, "is not TOML", before=edit("[risk]", "[risk"), plan="tighter"),
    Attack("a file that is gone", TIGHTER, 409, "cannot be read", before=lambda s: s.file.unlink(), plan="tighter"),
    Attack("a file that cannot be written", TIGHTER, 409, "cannot be written", before=linked, plan="tighter"),
)  # fmt: skip

DEVICES = (
    Attack("the owner's token, looser", LOOSER, 403, NO_DEVICE),
    Attack("an admin, a schedule", {"setting": "schedules[0].enabled", "value": "false"}, 403, NO_DEVICE, "shell"),
    Attack("a key that the shell made", LOOSER, 403, "of no device in force", signed=by("shell")),
    Attack("a signature of another plan", LOOSER, 403, FORGED, signed=by("phone", plan="0" * 32)),
    Attack("a signature that has ended", LOOSER, 403, "ended at", signed=by("phone", -20 * 60 * 10**9)),
    Attack("a device's signature with a token that reads", LOOSER, 403, "", "reader", signed=by("phone")),
)  # fmt: skip

ATTACKS = (*AUTHORITY, *OTHER, *EDITED, *DEVICES)


async def scene_of(world: Any, keys: dict[str, Path]) -> Scene:
    folder = world.folder
    secrets = {"owner": world.token, "guest": created(folder, "guest", "propose", agent="guest")[1]}
    for name, scope in (("reader", "read"), ("desk", "trade"), ("shell", "admin")):
        secrets[name] = created(folder, name, scope)[1]  # type: ignore[arg-type]
    await asyncio.sleep(keyring.CHECK_S)
    scene = Scene(world, keys, secrets, {})
    scene.old = {"tighter": await scene.planned(TIGHTER)}
    return scene


async def all_refused(scene: Scene, attacks: tuple[Attack, ...]) -> None:
    wrong = {}
    text, state = scene.file.read_text(), freeze(scene.world.service.shell.state)
    for attack in attacks:
        attack.before(scene)
        held = scene.file.read_text() if scene.file.exists() else None
        plan = scene.old.get(attack.plan, attack.plan) if attack.plan is not None else await scene.planned(attack.asked)
        body = {"reason": "x", **attack.asked, "plan": plan, "signed": attack.signed(scene, plan)}
        status, answer = await scene.post(body, attack.token)
        stays = (scene.file.read_text() if scene.file.exists() else None) == held
        if status != attack.status or attack.text not in answer["detail"] or not stays:
            wrong[attack.name] = status, answer["detail"], stays
        scene.file.unlink(missing_ok=True)
        scene.file.write_text(text)
        assert freeze(scene.world.service.shell.state) == state, attack.name
    assert not wrong, wrong


async def test_no_attack_without_devices_changes_file_or_run(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, ALONE) as world:
        scene = await scene_of(world, {})
        await all_refused(scene, AUTHORITY + OTHER + EDITED)
        status, done = await scene.post({**TIGHTER, "reason": "x", "plan": scene.old["tighter"]}, "desk")
        assert (status, done["takes"]) == (200, "now")


async def test_no_attack_with_devices_loosens_and_a_device_does_after_the_delay(tmp_path: Path) -> None:
    keys = {}
    for name in ("phone", "shell"):
        keys[name] = tmp_path / f"{name}.pem"
        new_key(keys[name])
    device = f"phone:{signed(keys['phone'], (), time.time_ns())['key']}"
    text = ALONE.replace('approval = "person"', 'approval = "device"\nwithin = "15m"', 1)
    async with standing_at_the_end(tmp_path, f'{text}[approvals]\ndevices = ["{device}"]\n') as world:
        scene = await scene_of(world, keys)
        await all_refused(scene, DEVICES)
        plan = await scene.planned(LOOSER)
        body = {**LOOSER, "reason": "x", "plan": plan, "signed": by("phone")(scene, plan)}
        status, done = await scene.post(body, "desk")
        assert (status, done.get("takes")) == (200, "delay"), done
        state = world.service.shell.state
        assert state.loosening.looser == ("risk.max_drawdown",)
        assert state.rules.house.max_drawdown != 0.9
        assert (await scene.post(body, "desk"))[0] in (409, 422), "it counts once"
