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
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import load
from quantd.daemon.recovery.learned_parts import Measured, learned_parts
from quantd.daemon.recovery.start import begin
from quantd.daemon.views.explanation import Explanation
from quantd.daemon.views.policy_inputs import input_lines, inputs_of
from quantd.models.artifacts.agent_policy import LearnedAgent, load_agent
from quantd.models.artifacts.ensemble import combine
from quantd.models.observation.sight import entry_names
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Decided, Event
from tests.support.artifacts import SPEC, written, written_line
from tests.support.command_line import CONFIG, answer, quantd, write
from tests.support.policies import market, view_of

SYMBOLS = ("QQQ", "IWM", "SPY")
"""The artifacts' order of symbols; the run has SPY, QQQ, IWM."""

AGENTS = """
[[agents]]
name = "planted"
policy = "./planted"
capital = 0.1
[[agents]]
name = "values"
policy = "./values"
capital = 0.1
[[agents]]
name = "wrapped"
policy = "./plain"
capital = 0.1
sizing = { max_gross = 0.5 }
rebalance = { when = "threshold", drift = 0.0001 }
[[agents]]
name = "team"
policy = "ensemble"
capital = 0.1
params = { members = [{ policy = "./plain" }, { policy = "./recurrent" }, { policy = "equal_weight" }] }
[[agents]]
name = "both"
policy = "./both"
capital = 0.1
[[agents]]
name = "recurrent"
policy = "./recurrent"
capital = 0.1
[[agents]]
name = "blind"
policy = "./blind"
capital = 0.1
[[agents]]
name = "scorer"
policy = "models/shipped/scorer"
capital = 0.1
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.1
"""
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
def test_a_policy_of_one_feature_has_that_one_input(ran: Path) -> None:
    address = addresses(ran, ["planted"])[3]
    document = told(ran, address)
    (learned,) = part_of(document, "planted")["learned"]
    first, *other_rows = learned["features"]
    assert first["name"] == "volatility"
    assert abs(first["change_pp"]) > 0.1
    assert [row["change_pp"] for row in other_rows] == [0.0] * len(other_rows)
    assert {row["name"] for row in other_rows} == {"momentum_21", "drawdown", "own weights", "own cash"}
    # each asset's weight depends on its own volatility only
    assert [row["name"] for row in learned["entries"]] == [f"volatility {document['symbol']}"]
    assert learned["entries"][0]["change_pp"] == pytest.approx(first["change_pp"], abs=1e-9)
    text = text_of(ran, address)
    block = text[text.index("learned policy ppo box of agent planted") :]
    lines = block.splitlines()
    assert lines[1].strip().startswith(f"inputs that mattered: change of the weight of {document['symbol']} if each")
    assert lines[3].split()[:2] == ["volatility", f"{first['change_pp']:+.2f}"]
    assert lines[4].strip() == "4 other inputs: below 0.005 points"


class Direct:
    """A log of a second run, which runs a graph itself on what an agent saw."""

    rows_only = False

    def __init__(self, agent: LearnedAgent, number: int) -> None:
        self.agent, self.number = agent, number
        self.scores: dict[int, np.ndarray] = {}

    def answer(self, ask: Ask) -> Decided | None:
        if ask.agent == self.number:
            given = {"observation": self.agent.seen(ask.view)[None]}
            self.scores[ask.view.sample_time] = self.agent._run(["scores"], given)[0][0]
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        return None


@pytest.mark.long
def test_action_values_are_those_of_the_graph_at_the_decision_best_first(ran: Path) -> None:
    config = load(ran / "config.toml", known_names())
    assembly = assemble(config)
    agent = assembly.policies[1]
    assert isinstance(agent, LearnedAgent)
    log = Direct(agent, 1)
    shell = assembly.shell(log)
    begin(shell, assembly, config, "direct", fresh=True)
    for item in assembly.items():
        shell.take(item)
    allocations = agent.artifact.manifest.action.allocations
    for address in addresses(ran, ["values"])[::20]:  # each starts a process for every artifact
        document = told(ran, address)
        part = part_of(document, "values")
        (learned,) = part["learned"]
        direct = dict(zip(allocations, log.scores[document["sample"]].tolist(), strict=True))
        assert {row["allocation"]: row["score"] for row in learned["actions"]} == direct
        assert [row["score"] for row in learned["actions"]] == sorted(direct.values(), reverse=True)
        assert [row["chosen"] for row in learned["actions"]] == [True] + [False] * (len(allocations) - 1)
        assert learned["scores"] == "values"
        best = learned["actions"][0]["allocation"]
        assert (document["symbol"] in best) == (part["wanted"] > 0.0)
    text = text_of(ran, addresses(ran, ["values"])[0])
    assert "action values (expected discounted reward), best first" in text
    assert "<- chosen" in text


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
def test_the_scorer_of_the_shipped_configuration_is_measured(ran: Path) -> None:
    (learned,) = part_of(told(ran, addresses(ran, ["scorer"])[0]), "scorer")["learned"]
    assert learned["missing"] == ""
    assert all(row["change_pp"] is not None for row in learned["features"])
    assert max(abs(row["change_pp"]) for row in learned["features"]) > 0.01


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
        assert learned["actions"]


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


def test_an_agent_that_was_not_asked_at_the_sample_has_the_reason(ran: Path) -> None:
    config = load(ran / "config.toml", known_names())
    assembly, decision = assemble(config), Reader.open(ran / "state").decisions()[0]
    by_agent = Measured(decision.plan).whole(assembly.policies, assembly.rules.seats, assembly.universe.symbols)
    names = {config.agents[number].name: parts for number, parts in by_agent.items()}
    assert names["even"] == []
    assert [part.name for part in names["team"]] == ["ppo simplex", "ppo lstm"]
    for part in (*names["planted"], *names["team"]):
        assert part.occlusion is None
        assert "decided at another sample" in part.missing
    (row,) = inputs_of(names["planted"], "SPY")
    assert input_lines("planted", [row], "SPY") == [
        "learned policy ppo box of agent planted: no figures",
        f"  its inputs were not measured: {row.missing}",
    ]


def test_a_policy_that_fails_at_the_decision_is_reported(tmp_path: Path) -> None:
    written(tmp_path / "a")
    agent, view = load_agent(tmp_path / "a", {}), view_of(market(1, 2, 200), 126)
    (part,) = learned_parts(agent, view, {})
    assert part.missing.startswith("the policy fails: ")
    assert "trained on AAA, BBB, CCC" in part.missing
