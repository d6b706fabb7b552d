"""The agent of config.toml that trades a trained policy: its place before a training, its lines after it."""

import tomllib
from pathlib import Path

import pytest

from quantd.daemon.cli.failures import Failure
from quantd.training.cli.learn.agent_lines import lines, place_in, write
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG
from tests.support.command_line import write as config

SCORER = ROOT / "models/shipped/scorer"


def test_the_agent_named_learned_gets_the_policy_and_loses_the_params_of_the_other(tmp_path: Path) -> None:
    text = CONFIG.replace('name = "trend"', 'name = "learned"   # mine').replace(
        'agents = ["trend"]', 'agents = ["learned"]'
    )
    place = place_in(config(tmp_path, text))
    message = write(place, tmp_path / "models/first")
    agent = tomllib.loads(place.config.read_text())["agents"][1]
    assert agent == {"name": "learned", "policy": "models/first", "capital": 0.4}
    assert "# mine" in place.config.read_text()
    assert message.endswith('the policy of agent "learned" is models/first')


def test_a_new_agent_gets_the_capital_that_the_others_leave(tmp_path: Path) -> None:
    place = place_in(config(tmp_path))
    write(place, SCORER)
    document = tomllib.loads(place.config.read_text())
    assert document["agents"][2] == {
        "name": "learned", "policy": str(SCORER), "capital": 0.1, "profile": "balanced"
    }  # fmt: skip
    assert place.config.read_text().startswith(CONFIG.rstrip("\n"))


def test_a_configuration_without_capital_left_or_with_a_mistake_is_refused_before_the_training(tmp_path: Path) -> None:
    full = CONFIG.replace("capital = 0.5", "capital = 0.6")
    with pytest.raises(Failure, match='lower the capital of an agent, or give the agent to replace the name "learned"'):
        place_in(config(tmp_path, full))
    with pytest.raises(Exception, match="capitall"):
        place_in(config(tmp_path, CONFIG.replace("capital = 0.5", "capitall = 0.5")))
    with pytest.raises(Failure, match="quantd data import FILE --into"):
        place_in(tmp_path / "gone.toml")


def test_the_printed_lines_are_an_agent_of_a_configuration(tmp_path: Path) -> None:
    path = config(tmp_path, CONFIG + "\n" + lines(str(SCORER), "0.1") + "\n")
    assert place_in(path).number == 2
