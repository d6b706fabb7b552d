"""A second look never makes a result look better, and a withdrawn look is counted and stated."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.research.runs.looks import NotWithdrawn, note_looks, read_looks, withdraw
from quantd.research.runs.trials import Entry, Known, Look, Withdrawal, alike
from quantd.research.significance.deflated_sharpe import deflated_sharpe, expected_maximum
from tests.support.command_line import answer, quantd, write
from tests.support.examples import examples
from tests.support.looks import traded

DRAWS = np.random.default_rng(7).normal(0.0, 0.01, 400)
EXCESS = DRAWS - DRAWS.mean() + 0.0012
RATIO = float(EXCESS.mean() / EXCESS.std(ddof=1))
OWN = traded("own", "SPY", sharpe=RATIO * 252**0.5)

MARKETS = ("SPY", "TLT")


@st.composite
def looks(draw: st.DrawFn) -> Look:
    """A look of few configurations, so that duplicates and replaced ratios occur."""
    digest = draw(st.sampled_from("abcdefgh"))
    mean = st.sampled_from((0.0, 1.0, OWN.sharpe))
    sharpe = draw(st.one_of(mean, st.floats(-3.0, 3.0), st.floats(-60.0, 60.0)))
    models = draw(st.sampled_from(({}, {}, {"net": 3}, {"net": 1, "other": 40})))
    family = draw(st.sampled_from(("", "", "mine")))
    symbols = draw(st.sampled_from((("SPY",), ("TLT",), MARKETS)))
    return traded(digest, *symbols, sharpe=sharpe, models=models, family=family)


def entries() -> st.SearchStrategy[Entry]:
    withdrawn = st.builds(Withdrawal, st.sampled_from("abcdefgh"), st.just("leak"), st.just("planted"))
    return st.one_of(looks(), looks(), looks(), withdrawn)


def figure(chain: Sequence[Entry], trial: Look) -> float:
    hurdle = Known(tuple(chain)).like(trial).hurdle(trial.periods, len(EXCESS))
    return deflated_sharpe(EXCESS, RATIO, hurdle)


@pytest.mark.long
@pytest.mark.requirement("R-246")
@settings(max_examples=examples(400), deadline=None)
@given(st.lists(entries(), max_size=12), looks(), st.integers(0, 12), st.sampled_from(("", "mine")))
def test_no_further_trial_raises_the_figure_of_an_unchanged_run(chain, further, place, family):
    """Over ledgers in any order, with duplicates, new ratios of old trials and withdrawals."""
    trial = replace(OWN, family=family)
    before = [*chain[:place], trial, *chain[place:]]
    after = [*before, further]
    assert figure(after, trial) <= figure(before, trial)
    one, two = (Known(tuple(ledger)).like(trial).trials for ledger in (before, after))
    assert one is not None
    assert two is not None
    assert two >= one


def test_a_result_has_the_same_figure_from_the_ledger_as_from_its_parts(tmp_path):
    trials = [OWN, *(traded(f"{k}", "SPY", sharpe=k / 7) for k in range(9))]
    for trial in trials:
        note_looks(tmp_path, [trial])
    ledger = read_looks(tmp_path).like(OWN)
    assert ledger.deflated(EXCESS, OWN.sharpe, 252.0) == pytest.approx(figure(trials, OWN))


def test_the_trials_of_a_result_share_a_symbol_and_a_year_with_it_at_the_same_interval():
    trial = traded("a", "SPY", "QQQ", years=(2004, 2021))
    assert alike(trial, trial)
    assert alike(trial, traded("b", "QQQ", "TLT", years=(2021, 2023)))
    assert alike(trial, traded("reordered", "QQQ", "SPY", years=(2004, 2021)))
    assert alike(trial, traded("longer", "SPY", "QQQ", years=(1999, 2024)))
    assert alike(trial, traded("shorter", "SPY", "QQQ", years=(2010, 2010)))
    assert not alike(trial, traded("c", "TLT", years=(2004, 2021)))
    assert not alike(trial, traded("d", "SPY", years=(2022, 2023)))
    assert not alike(trial, traded("e", "SPY", "QQQ", years=(2004, 2021), interval="1h"))


def test_there_is_no_chain_over_third_trials(tmp_path):
    one, between, other = traded("a", "SPY"), traded("b", "SPY", "TLT"), traded("c", "TLT")
    ledger = note_looks(tmp_path, [one, between, other])
    assert [trial.digest for trial in ledger.like(one).looks] == ["a", "b"]
    assert [trial.digest for trial in ledger.like(between).looks] == ["a", "b", "c"]
    assert [trial.digest for trial in ledger.like(other).looks] == ["b", "c"]
    assert ledger.like(one).text == "2 trials known of SPY 2020, daily."


def test_a_family_counts_together_whatever_its_markets(tmp_path):
    one, two = traded("a", "SPY", family="mine"), traded("b", "TLT", interval="1h", family="mine")
    third, spy_trial = traded("c", "GLD", family="yours"), traded("d", "SPY")
    ledger = note_looks(tmp_path, [one, two, third, spy_trial])
    assert {trial.digest for trial in ledger.like(one).looks} == {"a", "b", "d"}
    assert ledger.like(one).market == "SPY 2020, daily, and of family mine"
    assert {trial.digest for trial in ledger.like(spy_trial).looks} == {"a", "d"}
    again = note_looks(tmp_path, [msgspec.structs.replace(two, family="")])
    assert {trial.digest for trial in again.like(one).looks} == {"a", "b", "d"}, "a family is left by no later look"


FAULTY = [traded(f"{k}bad", "SPY", sharpe=12.5 + k / 10) for k in range(2)]


def test_a_withdrawn_look_stays_a_trial_and_leaves_the_spread(tmp_path):
    note_looks(tmp_path, [OWN, *FAULTY])
    poisoned = read_looks(tmp_path).like(OWN)
    assert poisoned.deflated(EXCESS, OWN.sharpe, 252.0) < 0.01
    withdraw(tmp_path, "0bad", "leak", "the series is tomorrow's return")
    ledger = withdraw(tmp_path, "1bad", "misaligned", "joined a day early")[0].like(OWN)
    assert ledger == read_looks(tmp_path).like(OWN)
    assert (ledger.trials, ledger.withdrawn, ledger.fault) == (3, 2, "")
    assert ledger.text == "3 trials, 2 withdrawn, known of SPY 2020, daily."
    honest = deflated_sharpe(EXCESS, RATIO, expected_maximum(3, 1.0 / (len(EXCESS) - 1)))
    assert ledger.deflated(EXCESS, OWN.sharpe, 252.0) == pytest.approx(
        honest
    )  # three trials at the variance of an unskilled ratio


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(entries(), max_size=12), st.integers(0, 12))
def test_the_hurdle_after_withdrawals_is_at_least_that_of_as_many_trials_at_the_floor(chain, place):
    ledger = [*chain[:place], OWN, *chain[place:]]
    known_trials = Known(tuple(ledger)).like(OWN)
    least = expected_maximum(known_trials.trials, 1.0 / (len(EXCESS) - 1))
    assert known_trials.hurdle(252.0, len(EXCESS)) >= least


def test_a_withdrawn_configuration_that_runs_again_is_withdrawn_until_its_ratio_is_another(tmp_path):
    note_looks(tmp_path, [OWN, FAULTY[0]])
    withdraw(tmp_path, "0bad", "leak", "reads the next bar")
    assert note_looks(tmp_path, [FAULTY[0]]).like(FAULTY[0]).withdrawal_text == (
        "This look is withdrawn (leak: reads the next bar): it is no result."
    )
    elsewhere = note_looks(tmp_path, [replace(FAULTY[0], kind="sweep", values={"a": "1"})])
    assert elsewhere.withdrawn == 1, "another command with the same result is withdrawn too"
    mended = note_looks(tmp_path, [replace(FAULTY[0], sharpe=0.3)])
    assert mended.withdrawn == 0
    assert mended.trials == 2
    assert mended.like(OWN).deflated(EXCESS, OWN.sharpe, 252.0) > 0.5, "the old ratio stays withdrawn"


def test_a_withdrawal_that_is_removed_or_changed_makes_the_trials_unknown(tmp_path):
    note_looks(tmp_path, [OWN, *FAULTY])
    withdraw(tmp_path, "0bad", "leak", "reads the next bar")
    ledger = tmp_path / "looks.jsonl"
    content = ledger.read_bytes()
    ledger.write_bytes(content.replace(b"next", b"same"))
    assert "looks.jsonl was changed in one of its first 4 lines" in read_looks(tmp_path).fault
    ledger.write_bytes(b"".join(content.splitlines(keepends=True)[:3]))
    assert "shortened" in read_looks(tmp_path).fault
    both = content.splitlines()[0].replace(b'"look"', b'"withdrawal":{"digest":"a","reason":"leak","words":""},"look"')
    ledger.write_bytes(both + b"\n")
    assert "looks.jsonl:1 is not a look" in read_looks(tmp_path).fault


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing", "no look has the id 'nothing'"), ("", "no look has the id ''"), ("same", "2 looks have an id")],
)
def test_a_look_that_is_not_named_clearly_is_not_withdrawn(tmp_path, name, words):
    note_looks(tmp_path, [traded("same-1", "SPY"), traded("same-2", "SPY")])
    with pytest.raises(NotWithdrawn, match=words):
        withdraw(tmp_path, name, "leak", "planted")
    withdraw(tmp_path, "same-1", "leak", "planted")
    with pytest.raises(NotWithdrawn, match=r"withdrawn already \(leak: planted\)"):
        withdraw(tmp_path, "same-1", "leak", "planted")
    with pytest.raises(NotWithdrawn, match="there is no ledger"):
        withdraw(tmp_path / "elsewhere", "same-1", "leak", "planted")
    assert len((tmp_path / "looks.jsonl").read_bytes().splitlines()) == 3


def test_nothing_is_withdrawn_in_a_ledger_that_is_not_believed(tmp_path):
    note_looks(tmp_path, [OWN, *FAULTY])
    ledger = tmp_path / "looks.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(NotWithdrawn, match=r"shortened: it had 3 looks\. Put a complete copy"):
        withdraw(tmp_path, "0bad", "leak", "planted")
    assert len(ledger.read_bytes().splitlines()) == 2


@pytest.mark.long
@pytest.mark.requirement("R-246")
def test_the_commands_count_withdraw_and_state_it(tmp_path):
    """The first line of a backtest has the trials and the withdrawn ones."""
    write(tmp_path)
    first = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    near = ("--set", "agents.trend.params.lookback=64")
    answer(quantd(tmp_path, "backtest", "--json", "--no-compare", *near))
    again = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    assert again["deflated_sharpe"] <= first["deflated_sharpe"]
    trial = read_looks(tmp_path / "state").looks[0]
    note_looks(tmp_path / "state", [replace(trial, digest="feed" * 8, sharpe=12.5, identity=None)])
    poisoned = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    assert (poisoned["trials"], poisoned["withdrawn"]) == (3, 0)
    for wrong, text in (
        (("--reason", "leak"), "--words: describe the fault"),
        (("--reason", "luck", "--words", "x"), "--reason 'luck': write one of leak, misaligned, wrong-data"),
        (("--words", "x"), "write one of leak"),
    ):
        done = quantd(tmp_path, "report", "--withdraw", "feed", *wrong)
        assert done.returncode == 2
        assert text in done.stderr
    assert quantd(tmp_path, "report", "--looks", "--words", "x").returncode == 2
    for asked, idle in (("--looks", "--from=2019-01-02"), ("--export=fills", "--looks"), ("--statement", "--looks")):
        done = quantd(tmp_path, "report", asked, idle)
        assert (done.returncode, " has no effect beside --" in done.stderr) == (2, True)
    unknown = quantd(tmp_path, "report", "--withdraw", "none", "--reason", "leak", "--words", "x")
    assert unknown.returncode == 1
    assert "no look has the id 'none'; quantd report --looks lists the looks" in unknown.stderr
    given = ("--withdraw", "feedfeed", "--reason", "leak", "--words", "a column is tomorrow's return")
    done = quantd(tmp_path, "report", "--looks", *given)
    assert done.returncode == 0, done.stderr
    assert "The look stays a trial. 3 trials, 1 withdrawn, known of SPY, QQQ, IWM 2019, daily." in done.stdout
    document = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    assert (document["trials"], document["withdrawn"]) == (3, 1)
    assert poisoned["deflated_sharpe"] < document["deflated_sharpe"]
    assert document["deflated_sharpe"] <= again["deflated_sharpe"]
    text = quantd(tmp_path, "backtest", "--no-compare").stdout
    head = next(line for line in text.splitlines() if line.startswith("Sharpe"))
    assert f"deflated {document['deflated_sharpe']:.2f} (3 trials, 1 withdrawn, known of SPY, QQQ, IWM 2019" in head
    listed = answer(quantd(tmp_path, "report", "--looks", "--json"))
    assert {name: listed[name] for name in ("trials", "withdrawn", "fault")} == {
        "trials": 3,
        "withdrawn": 1,
        "fault": "",
    }
    assert "trials_of" in listed
    assert [row["withdrawn"] for row in listed["looks"]] == [
        None, None, {"reason": "leak", "words": "a column is tomorrow's return"},
    ]  # fmt: skip
    assert "leak: a column is tomorrow's return" in quantd(tmp_path, "report", "--looks").stdout
