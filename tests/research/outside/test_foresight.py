"""--rename: does an outside agent know the future?"""

import json
from pathlib import Path

import numpy as np
import pytest

import quantd as api
from quantd.research.outside.answer_gains import NEXT_CLOSE, OPENS, SampleReturns
from quantd.research.outside.foresight import FEWEST
from tests.research.outside.guest import GUEST, by
from tests.support.command_line import CONFIG, Done, answer, quantd, write
from tests.support.outside_agents import agent_in
from tests.support.planted_knowledge import IGNORANT, found, ignorant, knowing, part, rate, verdict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    agent_in(tmp_path)
    write(tmp_path, CONFIG.replace("[[schedules]]", GUEST + "[[schedules]]", 1))
    return tmp_path


def renamed(folder: Path, kind: str, *more: str) -> Done:
    return quantd(folder, "backtest", "--no-compare", "--rename", *by(kind), *more)


@pytest.mark.long
def test_an_agent_that_looks_returns_up_is_named_and_a_momentum_agent_is_not(folder: Path) -> None:
    planted = renamed(folder, "planted")
    assert planted.returncode == 1
    assert planted.stdout.startswith("guest: gains from names and dates, as if it knew the future")
    momentum = renamed(folder, "momentum")
    assert momentum.returncode == 0, momentum.stderr
    assert momentum.stdout.startswith("guest: no evidence that it knows the future (+0.00 bp an answer")


@pytest.mark.long
def test_the_ledger_marks_the_run_and_every_later_result_of_it_says_so(folder: Path) -> None:
    done = renamed(folder, "planted", "--json", "--journal")
    assert done.returncode == 1, done.stderr
    first = json.loads(done.stdout)
    assert next(iter(first)) == "foresight"
    assert first["doubts"][0]["kind"] == "foresight"
    later = quantd(folder, "backtest", "--no-compare", *by("planted"))
    assert later.returncode == 0
    # first the share of the capital of the agent that is exchanged, then the headline
    share, headline, *_ = later.stdout.splitlines()
    assert share.startswith("agent guest (asked) has 0.1 of the capital; ")
    assert headline.startswith("In doubt: agent guest: gains from names and dates, as if it knew the future (")
    (look,) = answer(quantd(folder, "report", "--looks", "--json"))["looks"]
    assert look["foresight"].startswith("agent guest: gains from names and dates")
    assert "foresight" in quantd(folder, "report", "--looks").stdout
    # other answers have another ratio, and nothing is known of them
    other = answer(quantd(folder, "backtest", "--no-compare", "--json", *by("momentum")))
    assert "foresight" not in [doubt["kind"] for doubt in other["doubts"]]
    stored = answer(quantd(folder, "backtest", "--no-compare", "--json", "--journal", *by("momentum")))
    both = answer(quantd(folder, "report", "--compare", first["run"], stored["run"], "--json"))
    assert any(doubt["kind"] == "foresight" and "guest" in doubt["text"] for doubt in both["doubts"])
    assert not answer(quantd(folder, "report", "--looks", "--json"))["fault"]


PERIODS = [("2019-03-15", "2019-08-01")] + [(f"2019-0{month}-02", f"2019-{month + 3:02}-28") for month in range(1, 10)]


@pytest.mark.long
@pytest.mark.parametrize("count", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_planted_agents_are_named_and_at_most_one_of_twenty_momentum_agents(folder: Path, count: int) -> None:
    """Two planted agents, none of four others is named; `pytest -m slow` has ten and twenty."""
    codes: dict[str, list[int]] = {"planted": [], "momentum": [], "noisy": []}
    for start, end in PERIODS[:count]:
        for kind, exits in codes.items():
            exits.append(renamed(folder, kind, "--from", start, "--to", end).returncode)
    assert codes["planted"] == [1] * count
    # the answers of the noisy one differ by chance under other names
    assert sum((*codes["momentum"], *codes["noisy"])) <= count // 10, codes
    assert {len(exit_codes) for exit_codes in codes.values()} == {count}


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("kind", IGNORANT)
def test_an_agent_without_knowledge_is_named_about_as_often_as_the_level_says(kind: str) -> None:
    """200 seeds by the command in docs/trade/external.md, 40 here: 7 % and three standard errors of 40."""
    assert rate(kind, 40, 60, 0.05) <= 0.18


@pytest.mark.parametrize(
    ("knowledge", "share", "measure"),
    [
        ("open to open", 0.3, OPENS[1]),
        ("the next open", 1.0, OPENS[0]),
        ("the next close", 0.3, NEXT_CLOSE),
        ("the close after next", 1.0, "2 samples ahead"),
        ("the fifth close alone", 1.0, "5 samples ahead"),
    ],
)
def test_planted_knowledge_of_a_year_is_found_by_its_own_measure(knowledge: str, share: float, measure: str) -> None:
    verdicts = [found(knowledge, seed, 252, share) for seed in range(5)]
    assert sum(outcome.knows for outcome in verdicts) >= 4
    assert [outcome.best is not None and outcome.best.measure for outcome in verdicts].count(measure) >= 3


def test_few_answers_give_no_verdict_and_worse_answers_under_true_names_are_no_evidence() -> None:
    few = found("the next close", 1, FEWEST - 1, 1.0)
    assert (few.knows, few.p, few.measures) == (False, None, ())
    assert "choose a longer period" in few.text
    draw = np.random.default_rng(3)
    returns = part(100, FEWEST + 20)
    good, bad = knowing("the next close", 1.0, returns, draw), ignorant("random", returns, draw)
    assert verdict(good, bad, returns).knows
    worse = verdict(bad, good, returns)
    assert not worse.knows
    assert worse.p is not None
    assert worse.p > 0.99


def test_bars_without_opens_are_measured_to_their_closes_and_the_verdict_says_so() -> None:
    draw = np.random.default_rng(4)
    returns = part(100, 120)
    closes = SampleReturns(returns.stamps, returns.closes, None, None)
    named, renamed = knowing("the next close", 1.0, returns, draw), ignorant("random", returns, draw)
    seen = verdict(named, renamed, closes)
    assert (seen.knows, seen.opens, len(seen.measures)) == (True, False, 3)
    assert "opens were not recorded: each open is the close of its bar" in seen.text
    assert "opens" not in verdict(named, renamed, returns).text


@pytest.mark.long
def test_from_python_the_same_run_has_the_counts_and_the_verdict_of_each_agent(folder: Path) -> None:
    planted = {"agents.guest.params.command": ["python3", "agent.py", "planted"]}
    done = api.backtest(api.load(folder / "config.toml", planted), compare=False, rename=True)
    (seen,), (count,) = done.foresight, done.outside
    assert (seen.agent, seen.knows, seen.pairs) == ("guest", True, 60)
    assert (count.asked, count.stored) == (122, 0)
    assert "as if it knew the future" in str(done)
    again = api.backtest(api.load(folder / "config.toml", planted), compare=False, rename=True, most_questions=0)
    assert (again.foresight, again.outside[0].stored, again.digest) == (done.foresight, 122, done.digest)
    assert len(again.orders), "the run that its frames repeat is that under the true names"


def test_from_python_other_names_for_nobody_are_refused(folder: Path) -> None:
    with pytest.raises(TypeError, match="no agent with a command or an address is configured"):
        api.backtest(api.load(folder / "config.toml", {"agents.guest.params": {}}), rename=True)
