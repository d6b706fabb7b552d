"""`quantd why` shows what a learned policy depended on, measured on the state of the recorded decision."""

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import quantd as api
from quantd.adapters.store.queries import Reader
from quantd.daemon.views.explanation import Explanation
from quantd.models.artifacts.ensemble import combine
from quantd.models.observation.sight import entry_names
from tests.support.artifacts import SPEC, written, written_line
from tests.support.command_line import CONFIG, answer, quantd, write

SYMBOLS = ("QQQ", "IWM", "SPY")
"""The artifacts' order of symbols; the run has SPY, QQQ, IWM."""

POLICIES = {
    "planted": "./planted",
    "values": "./values",
    "wrapped": "./plain",
    "team": "ensemble",
    "both": "./both",
    "recurrent": "./recurrent",
    "blind": "./blind",
    "scorer": "models/shipped/scorer",
    "even": "equal_weight",
}
MEMBERS = [f'{{ policy = "{policy}" }}' for policy in ("./plain", "./recurrent", "equal_weight")]
MORE = {
    "wrapped": 'sizing = { max_gross = 0.5 }\nrebalance = { when = "threshold", drift = 0.0001 }\n',
    "team": f"params = {{ members = [{', '.join(MEMBERS)}] }}\n",
}
AGENTS = "".join(
    f'[[agents]]\nname = "{name}"\npolicy = "{policy}"\ncapital = 0.1\n{MORE.get(name, "")}'
    for name, policy in POLICIES.items()
)
TEXT = CONFIG[: CONFIG.index("[[agents]]")] + AGENTS + CONFIG[CONFIG.index("[bus]") :]


def made(folder: Path) -> None:
    """The artifacts of the configuration, beside it."""
    names = entry_names(SPEC, SYMBOLS)
    slopes = np.zeros((3, len(names)))
    for row, symbol in enumerate(SYMBOLS):
        slopes[row, names.index(f"volatility {symbol}")] = 0.2 + 0.1 * row
    written_line(folder / "planted", slopes, universe=SYMBOLS)
    written(folder / "values", "dqn", universe=SYMBOLS)
    written(folder / "plain", universe=SYMBOLS, seed=5)
    written(folder / "recurrent", "ppo lstm", universe=SYMBOLS)
    written(folder / "blind", universe=SYMBOLS, scaling=False)
    combine(folder / "both", [folder / "plain", folder / "recurrent"], "mean", "a test")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned")
    write(folder, TEXT)
    made(folder)
    answer(quantd(folder, "run", "--json"))
    return folder


def addresses(folder: Path, agents: Sequence[str], *, follow_up: bool = False) -> list[str]:
    """The addresses of a traded symbol in each decision of all `agents`."""
    decision_addresses = []
    for decision in Reader.open(folder / "state").decisions():
        there = {decision.agents[part.agent] for part in decision.plan.agents}
        moved = np.frombuffer(decision.plan.net, dtype="<i8")
        if set(agents) <= there and bool(decision.plan.follow_up) == follow_up and moved.any():
            decision_addresses.append(decision.of(("SPY", "QQQ", "IWM")[int(np.argmax(moved != 0))]))
    return decision_addresses


@cache
def told(folder: Path, address: str, *options: str) -> dict[str, Any]:
    """The explanation of a decision. Cases share it: each command starts a process for every artifact."""
    return answer(quantd(folder, "why", address, "--json", *options))


@cache
def text_of(folder: Path, address: str, *options: str) -> str:
    """The explanation of a decision for a person, shared in the same way."""
    return quantd(folder, "why", address, *options).stdout


def part_of(document: dict[str, Any], agent: str) -> dict[str, Any]:
    return next(part for part in document["agents"] if part["agent"] == agent)


ALONE = ("planted", "values", "both", "recurrent", "blind", "scorer")


@pytest.mark.long
@pytest.mark.requirement("R-082")
@pytest.mark.parametrize("name", ALONE)
def test_the_policy_is_measured_on_the_view_and_the_memory_of_the_decision(name: str, ran: Path) -> None:
    decision_addresses = addresses(ran, [name])
    for address in (decision_addresses[0], decision_addresses[-1]):
        part = part_of(told(ran, address), name)
        (learned,) = part["learned"]
        assert learned["weight"] == pytest.approx(part["wanted"], abs=1e-9)
        assert (learned["part"], learned["wrapped"]) == ("", False)


@pytest.mark.long
def test_members_of_a_composed_policy_are_measured_on_their_own_books(ran: Path) -> None:
    decision_addresses = addresses(ran, ["team", "even"])
    for address in (decision_addresses[0], decision_addresses[-1]):
        document = told(ran, address)
        team = part_of(document, "team")
        assert [row["part"] for row in team["learned"]] == ["0", "1"]
        assert all(row["wrapped"] for row in team["learned"])
        assert (sum(row["weight"] for row in team["learned"]) + 1 / 3) / 3 == pytest.approx(team["wanted"], abs=1e-9)
        assert part_of(document, "even")["learned"] == []
        assert msgspec.to_builtins(msgspec.convert(document, Explanation, strict=True)) == document


@pytest.mark.long
def test_figures_are_those_of_the_learned_part_before_the_rules_around_it(ran: Path) -> None:
    address = addresses(ran, ["wrapped"])[0]
    document = told(ran, address)
    part = part_of(document, "wrapped")
    (learned,) = part["learned"]
    assert learned["wrapped"]
    assert learned["part"] == "", "rules around a policy are no part of its name"
    assert abs(learned["weight"]) > abs(part["wanted"]) > 0.0, "sizing cut it to half the book"
    assert any(row["change_pp"] for row in learned["features"])
    assert f"of agent wrapped: {learned['weight']:.1%} of {document['symbol']}, before the rules around it" in (
        text_of(ran, address)
    )


@pytest.mark.long
def test_without_training_means_the_reason_is_given(ran: Path) -> None:
    address = addresses(ran, ["blind"])[0]
    document, text = told(ran, address), text_of(ran, address)
    reason = "this artifact has no training means; train it again"
    (learned,) = part_of(document, "blind")["learned"]
    assert learned["missing"] == reason
    assert all(row["change_pp"] is None for row in learned["features"])
    assert all(row["value"] is not None for row in learned["features"] if row["name"] != "own cash")
    assert f"its inputs were not measured: {reason}" in text


@pytest.mark.long
def test_a_follow_up_shows_the_inputs_of_the_decision_that_it_completes(tmp_path: Path) -> None:
    agents = """
[[agents]]
name = "values"
policy = "./values"
capital = 1.0
[[schedules]]
name = "some days"
do = "rebalance"
cron = "0 16 * * mon,thu"
timezone = "America/New_York"
agents = ["values"]
"""
    text = CONFIG[: CONFIG.index("[[agents]]")] + agents + CONFIG[CONFIG.index("[bus]") :]
    write(tmp_path, text.replace("max_position_weight = 0.25", "max_position_weight = 1.0"))
    written(tmp_path / "values", "dqn", universe=SYMBOLS, seed=8)
    answer(quantd(tmp_path, "run", "--json"))
    for address in addresses(tmp_path, ["values"], follow_up=True)[:3]:
        document = told(tmp_path, address)
        assert document["follow_up"] > 0
        assert document["sample"] < document["decided"]
        part = part_of(document, "values")
        (learned,) = part["learned"]
        assert learned["weight"] == pytest.approx(part["wanted"], abs=1e-9)
        assert [row["chosen"] for row in learned["actions"]] == [True] + [False] * (len(learned["actions"]) - 1)
        text = text_of(tmp_path, address)
        assert "action values (expected discounted reward), best first" in text
        assert "<- chosen" in text


@pytest.mark.long
def test_recorded_values_have_no_inputs_and_say_so(ran: Path) -> None:
    address = addresses(ran, ["planted"])[0]
    document = told(ran, address, "--recorded")
    assert all(part["learned"] == [] for part in document["agents"])
    assert "the inputs of learned policies are not known: --recorded" in text_of(ran, address, "--recorded")


@pytest.mark.long
def test_the_python_api_shows_the_same(ran: Path) -> None:
    address = addresses(ran, ["planted"])[0]
    why = api.open_run(ran / "state").why(address)
    assert msgspec.to_builtins(why.explanation) == told(ran, address)
    assert "inputs that mattered" in str(why)
    assert "4 other inputs: below 0.005 points" in str(why)


@pytest.mark.long
def test_another_artifact_than_the_one_that_decided_is_not_measured(ran: Path, tmp_path: Path) -> None:
    shutil.copytree(ran, tmp_path / "copy")
    folder = tmp_path / "copy"
    for saved in (folder / "state" / "configs").iterdir():
        saved.write_text(saved.read_text().replace(str(ran), str(folder)))
    shutil.rmtree(folder / "plain")
    written(folder / "plain", universe=SYMBOLS, seed=6)
    address = addresses(ran, ["wrapped", "planted", "team"])[0]
    document = told(folder, address)
    assert document["recomputed"]
    for name in ("wrapped", "team"):
        for learned in part_of(document, name)["learned"]:
            assert "is not the one that decided: its digest differs from the journal" in learned["missing"]
            assert (learned["features"], learned["actions"], learned["weight"]) == ([], [], None)
    (planted,) = part_of(document, "planted")["learned"]
    assert planted["missing"] == ""
    assert "no figures" in quantd(folder, "why", address).stdout
