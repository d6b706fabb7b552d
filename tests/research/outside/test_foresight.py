"""--rename: does an outside agent know the future?"""

from pathlib import Path

import numpy as np
import pytest

import quantd as api
from quantd.research.outside.foresight import FEWEST, foresight
from tests.research.outside.test_asking import GUEST, by
from tests.support.command_line import CONFIG, Done, quantd, write
from tests.support.outside_agents import agent_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    agent_in(tmp_path)
    write(tmp_path, CONFIG.replace("[[schedules]]", GUEST + "[[schedules]]", 1))
    return tmp_path


def renamed(folder: Path, kind: str, *more: str) -> Done:
    return quantd(folder, "backtest", "--no-compare", "--rename", *by(kind), *more)


def test_an_agent_that_looks_returns_up_is_named_and_a_momentum_agent_is_not(folder: Path) -> None:
    planted = renamed(folder, "planted")
    assert planted.returncode == 1
    assert "guest: gains from names and dates, as if it knew the future" in planted.stdout
    momentum = renamed(folder, "momentum")
    assert momentum.returncode == 0, momentum.stderr
    assert "guest: no evidence that it knows the future (+0.00 bp an answer" in momentum.stdout


@pytest.mark.long
def test_ten_planted_agents_are_named_and_at_most_one_of_twenty_momentum_agents(folder: Path) -> None:
    periods = [(f"2019-0{month}-02", f"2019-{month + 3:02}-28") for month in range(1, 10)] + [
        ("2019-03-15", "2019-08-01")
    ]
    codes: dict[str, list[int]] = {"planted": [], "momentum": [], "noisy": []}
    for start, end in periods:
        for kind, found in codes.items():
            found.append(renamed(folder, kind, "--from", start, "--to", end).returncode)
    assert codes["planted"] == [1] * 10
    # the answers of the noisy one differ by chance under other names
    assert sum((*codes["momentum"], *codes["noisy"])) <= 1, codes
    assert {len(each) for each in codes.values()} == {10}


def test_noise_that_differs_between_the_runs_is_named_about_as_often_as_the_level_says() -> None:
    draw = np.random.default_rng(7)
    named = 0
    for _ in range(400):
        one, two = draw.normal(0.0, 0.01, (2, 120)).tolist()
        named += foresight("guest", dict(enumerate(one)), dict(enumerate(two))).knows
    assert 0 < named <= 12


def test_few_answers_give_no_verdict_and_worse_answers_under_true_names_are_no_evidence() -> None:
    few = dict.fromkeys(range(FEWEST - 1), 0.01)
    found = foresight("guest", few, dict.fromkeys(few, 0.0))
    assert (found.knows, found.p) == (False, None)
    assert "choose a longer period" in found.text
    many = {k: 0.01 + k * 1e-5 for k in range(FEWEST)}
    assert foresight("guest", many, dict.fromkeys(many, 0.0)).knows
    assert not foresight("guest", dict.fromkeys(many, 0.0), many).knows


def test_from_python_the_same_run_has_the_counts_and_the_verdict_of_each_agent(folder: Path) -> None:
    planted = {"agents.guest.params.command": ["python3", "agent.py", "planted"]}
    done = api.backtest(api.load(folder / "config.toml", planted), compare=False, rename=True)
    (found,), (count,) = done.foresight, done.outside
    assert (found.agent, found.knows, found.pairs) == ("guest", True, 60)
    assert (count.asked, count.stored) == (122, 0)
    assert "as if it knew the future" in str(done)
    again = api.backtest(api.load(folder / "config.toml", planted), compare=False, rename=True, most_questions=0)
    assert (again.foresight, again.outside[0].stored, again.digest) == (done.foresight, 122, done.digest)
    assert len(again.orders), "the run that its frames repeat is that under the true names"


def test_from_python_other_names_for_nobody_are_refused(folder: Path) -> None:
    with pytest.raises(TypeError, match="no agent with a command or an address is configured"):
        api.backtest(api.load(folder / "config.toml", {"agents.guest.params": {}}), rename=True)
