"""`quantd device` and `quantd review`: keys of a person in another folder, who has an address, a token and a key."""

import json
import stat
import urllib.request
from pathlib import Path

import pytest

from tests.support.command_line import CONFIG, answer, quantd, running, write

WAITING = CONFIG.replace('at_end = "stop"', 'at_end = "wait"').replace("max_position_weight = 0.25\n", "")
GUEST = '[[agents]]\nname = "guest"\npolicy = "external"\ncapital = 0.1\napproval = "device"\n'


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    folder = tmp_path / "phone"
    folder.mkdir()
    return folder


def key_of(phone: Path, name: str) -> str:
    """The public key of a new device."""
    done = quantd(phone, "device", "create", f"{name}.pem")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((phone / f"{name}.pem").stat().st_mode) == 0o600
    assert done.stdout.strip() not in (phone / f"{name}.pem").read_text()
    return done.stdout.strip()


def propose(folder: Path, token: str) -> None:
    """A proposal of the agent."""
    place = json.loads((folder / "state/api.json").read_text())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"weights": {"SPY": 0.2}, "id": "1", "reason": "momentum"}).encode()
    url = f"http://127.0.0.1:{place['port']}/api/v1/agents/guest/propose"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        assert json.load(response)["verdict"]["outcome"] == "approval"


def token_of(folder: Path, *words: str) -> str:
    return quantd(folder, "token", "create", *words).stdout.strip()


@pytest.mark.long
def test_a_person_with_a_key_elsewhere_approves_and_lets_a_second_device_in(tmp_path: Path, phone: Path) -> None:
    write(tmp_path, WAITING + GUEST)
    missing = quantd(tmp_path, "config", "check")
    assert "add one: quantd device add NAME KEY" in missing.stderr, "the remedy follows"
    assert quantd(tmp_path, "device", "add", "phone", key_of(phone, "phone")).returncode == 0
    assert quantd(tmp_path, "config", "check").returncode == 0
    (tmp_path / "state").mkdir(mode=0o700)
    agent = token_of(tmp_path, "agent", "--scope", "propose", "--agent", "guest")
    (phone / "phone.token").write_text(token_of(tmp_path, "phone", "--scope", "admin"))
    with running(tmp_path):
        port = json.loads((tmp_path / "state/api.json").read_text())["port"]
        there = ("--url", f"http://127.0.0.1:{port}", "--token-file", "phone.token")
        propose(tmp_path, agent)
        shown = quantd(phone, "review", "guest", *there)
        (line,) = [text for text in shown.stdout.splitlines() if "--approve --plan" in text]
        assert "--key FILE" in line
        plan = line.split("--plan ")[1].split()[0]
        blind = quantd(tmp_path, "review", "guest", "--approve", "--reason", "the model says so")
        assert (blind.returncode, "--approve needs --plan" in blind.stderr) == (2, True)
        owner = quantd(tmp_path, "review", "guest", "--approve", "--plan", plan, "--reason", "the model says so")
        assert (owner.returncode, "quantd review guest --id " in owner.stderr) == (78, True), owner.stderr
        approve = ("review", "guest", "--approve", "--plan", plan, "--reason", "agreed", "--json", *there)
        assert quantd(phone, *approve).returncode == 78, "its token does not approve either"
        sent = answer(quantd(phone, *approve, "--key", "phone.pem"))
        assert (sent["verdict"]["outcome"], len(sent["trades"]["orders"])) == ("passed", 1)
        # a second device
        added = quantd(tmp_path, "device", "add", "tablet", key_of(phone, "tablet"))
        assert "tablet: waits until " in added.stdout, added
        states = {row["name"]: row["state"].split(" ")[0] for row in devices(tmp_path)}
        assert states == {"phone": "in", "tablet": "waits"}
        confirm = ("device", "confirm", *there, "--key")
        wait = answer(quantd(phone, *confirm, "phone.pem", "--json"))
        assert wait["devices"]["tablet"] == devices(tmp_path)[1]["key"], "what is signed is shown"
        assert quantd(phone, *confirm, "phone.pem").stdout.startswith(
            f"approvals.tablet: {wait['devices']['tablet']}\n"
        )
        assert {row["state"].split(" ")[0] for row in devices(tmp_path)} == {"in", "waits"}, "and not signed by that"
        confirm = ("device", "confirm", *there, "--limits", wait["digest"], "--reason", "mine", "--key")
        itself = quantd(phone, *confirm, "tablet.pem")
        assert (itself.returncode, "of no device in force" in itself.stderr) == (78, True)
        other = quantd(phone, *(word if word != wait["digest"] else "0" * 32 for word in confirm), "phone.pem")
        assert (other.returncode, "is not of what waits now" in other.stderr) == (78, True)
        done = quantd(phone, *confirm, "phone.pem")
        assert done.stdout == "in force from now on: approvals.tablet\n", done.stderr
        assert quantd(tmp_path, "device", "revoke", "phone").stdout == "phone: revoked\n"
        assert [(row["name"], row["state"]) for row in devices(tmp_path)] == [("tablet", "in force")]
        last = quantd(tmp_path, "device", "revoke", "tablet")
        assert (last.returncode, "add one: quantd device add NAME KEY" in last.stderr) == (1, True)


def devices(folder: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = answer(quantd(folder, "device", "list", "--json"))["devices"]
    return rows


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (("add", "phone", "abc"), 1, "write NAME:KEY, with the key that `quantd device create FILE` prints"),
        (("add", "Phone", "0" * 64), 1, "write NAME:KEY"),
        (("revoke", "phone"), 2, "`quantd device list` shows the names"),
        (("create", "config.toml"), 78, "a key is never overwritten"),
        (("confirm", "--key", "no.pem", "--url", "http://127.0.0.1:1"), 2, "--url needs --token-file FILE"),
    ],
)
def test_what_cannot_be_done_changes_nothing(tmp_path: Path, words: tuple[str, ...], code: int, fault: str) -> None:
    before = write(tmp_path).read_text()
    done = quantd(tmp_path, "device", *words)
    assert (done.returncode, fault in " ".join(done.stderr.split())) == (code, True), done.stderr
    assert (tmp_path / "config.toml").read_text() == before
