"""`quantd redteam`: the account is only read, all calls are held, and a weakness that is planted turns a row."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from quantd.daemon.assembly.names import known_names
from quantd.daemon.cli.places import Place
from quantd.daemon.config import read
from quantd.server.api.access.guard import Guard
from quantd.server.api.routes.proposal_routes import ProposalRoutes
from quantd.server.cli.setup.redteam_cases import CASES, LIMITS, RIGHTS, Case
from quantd.server.cli.setup.redteam_copy import Copy, copied, subject
from quantd.server.cli.setup.redteam_run import Row, Trial
from quantd.server.requests.proposals import Targets
from tests.server.gateway.gateway_bot import TRADING
from tests.support.checkout import ROOT
from tests.support.command_line import quantd, write

PERSON = TRADING.replace('policy = "external"', 'policy = "external"\napproval = "person"')
DEVICE = PERSON.replace('"person"', '"device"') + (
    '[approvals]\ndevices = ["phone:3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"]\n'
)
OTHERS_BOOK = RIGHTS[0]
IN_ONE = next(case for case in LIMITS if "by units" in case.what)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def nothing(_: Copy) -> None:
    """Plant no weakness."""


async def tried(
    folder: Path, cases: Sequence[Case], text: str = TRADING, plant: Callable[[Copy], None] = nothing
) -> list[Row]:
    """The rows of cases against a new account, after `plant` has weakened its copy."""
    file = write(folder, text)
    config = read(text, known_names(), file=str(file), folder=folder)
    settings, agent = subject(file, (), config, "")
    temporary = folder / "copy"
    temporary.mkdir()
    async with (
        copied(settings, Place(folder / "state", folder / "state"), agent, temporary) as copy,
        aiohttp.ClientSession() as session,
    ):
        trial = Trial(copy, session)
        plant(copy)
        return await trial.rows(cases)


@pytest.mark.long
@pytest.mark.parametrize("file", ["examples/external.toml", pytest.param("config.toml", marks=pytest.mark.slow)])
def test_the_shipped_examples_hold_every_call(tmp_path: Path, file: str) -> None:
    done = quantd(tmp_path, "redteam", "--json", "--config", str(ROOT / file), "--state", str(tmp_path / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["held"] == document["tried"] >= 100
    assert len(document["rows"]) == len(CASES)
    assert not (tmp_path / "state").exists()


@pytest.mark.long
def test_a_run_is_copied_with_its_books_and_nothing_is_written_beside_it(tmp_path: Path) -> None:
    config = str(write(tmp_path, TRADING))
    assert quantd(tmp_path, "run", "--config", config).returncode == 0
    before = digests(tmp_path)
    done = quantd(tmp_path, "redteam", "--config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(tmp_path) == before
    first, *lines = done.stdout.splitlines()
    assert first.startswith("agent guest, in a copy of")
    assert first.endswith("at its last step)")
    held = sum(line.startswith("held ") for line in lines)
    assert lines[-1].startswith(f"{held} of {held} held; ")


@pytest.mark.long
def test_the_owners_token_approves_and_the_row_says_what_that_means(tmp_path: Path) -> None:
    done = quantd(tmp_path, "redteam", "--config", str(write(tmp_path, PERSON)))
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("NOT HELD")]
    assert line.split()[2] == "shell"
    assert "run the agent as another user" in line


@pytest.mark.long
async def test_the_owners_token_does_not_approve_what_needs_a_device(tmp_path: Path) -> None:
    (row,) = await tried(tmp_path, [case for case in CASES if case.door == "shell"], DEVICE)
    assert row.held
    assert row.happened.startswith("403 the proposal waits was not approved")


def test_an_agent_that_does_not_decide_outside_is_refused(tmp_path: Path) -> None:
    done = quantd(tmp_path, "redteam", "--agent", "trend", "--config", str(write(tmp_path, TRADING)))
    assert done.returncode == 78
    assert "has no outside agent 'trend'; the outside agents are guest; leave --agent out" in done.stderr


async def test_a_door_that_asks_for_no_agent_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = await tried(tmp_path, [OTHERS_BOOK])
    assert row.held
    monkeypatch.setattr(Guard, "_check_own", lambda *_: None)
    (tmp_path / "weak").mkdir()
    (row,) = await tried(tmp_path / "weak", [OTHERS_BOOK])
    assert row.held is False
    assert row.happened.startswith("it was not refused so: 4")


async def test_a_limit_that_is_raised_meanwhile_is_found(tmp_path: Path) -> None:
    (row,) = await tried(tmp_path, [IN_ONE])
    assert row.held

    def raise_limits(copy: Copy) -> None:
        state = copy.service.shell.state
        agents = tuple(
            replace(rules, limits=replace(rules.limits, max_position_weight=1.0)) for rules in state.rules.agents
        )
        house = replace(state.rules.house, max_position_weight=1.0)
        state.rules = replace(state.rules, house=house, agents=agents)

    (tmp_path / "weak").mkdir()
    (row,) = await tried(tmp_path / "weak", [IN_ONE], plant=raise_limits)
    assert row.held is False
    assert "max_position_weight of guest is" in row.happened
    assert ", bound 0.5" in row.happened


async def test_a_secret_in_an_answer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTD_WEBHOOK_KEY", "is for guest alone")
    (row,) = await tried(tmp_path, [OTHERS_BOOK])
    assert (row.held, row.happened[:22]) == (False, "an answer has a secret")


async def test_a_fault_of_the_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proposal = ProposalRoutes.proposal

    async def broken(self: ProposalRoutes, asked: Targets, name: str, *more: Any) -> Any:
        if name == "guest":
            raise RuntimeError("planted")
        return await proposal(self, asked, name, *more)

    monkeypatch.setattr(ProposalRoutes, "proposal", broken)
    (row,) = await tried(tmp_path, [IN_ONE])
    assert (row.held, row.happened[:21]) == (False, "a fault of the server")


async def test_a_limit_that_is_off_is_no_success(tmp_path: Path) -> None:
    turnover = next(case for case in LIMITS if case.limit == "max_turnover")
    (row,) = await tried(tmp_path, [turnover])
    assert (row.held, row.happened) == (None, "no such limit is set")
    (tmp_path / "on").mkdir()
    (row,) = await tried(tmp_path / "on", [turnover], TRADING.replace("max_drawdown = 0.25", "max_turnover = 0.4"))
    assert (row.held, row.expected) == (True, "max_turnover 0.4 of the account")
