"""Training again: parts move on, nothing later is read, what comes out is held against what is in use, and written
whole."""

import fcntl
import json
import shutil
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars
from quantd.adapters.feeds.recorded.soundness import UnsoundPrices
from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.artifacts.scorer_policy import load
from quantd.models.artifacts.versions import point
from quantd.models.history.splits import Split
from quantd.strategies.policies import POLICIES
from quantd.trading.execution import Costs
from quantd.training.retraining.challenge import Rule, judge
from quantd.training.retraining.recipes import moved, recipe_of
from quantd.training.retraining.refit import Decision, RetrainingRequest, decisions, in_use, last_session, retrain
from quantd.training.runs.scorer_run import train
from quantd.training.seeds import imitation
from tests.support.scorer_plan import ACTIONS, BARS, SMALL, SYMBOLS
from tests.training.retraining.refit_rules import COSTS, NEWEST, PANEL, judged, mix


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "scorer"
    plan = msgspec.structs.replace(SMALL, seeds=(1,), iterations=2)
    train(BARS, ACTIONS, SYMBOLS, plan, out, "python -m quantd.training --iterations 2", lambda line: None)
    return out


def asked(source: Path, out: Path, **more: object) -> RetrainingRequest:
    usual = {"bars": BARS, "actions": ACTIONS, "until": date(2008, 12, 31)}
    return RetrainingRequest(source=source, out=out, **(usual | more))  # type: ignore[arg-type]


def quiet(line: str) -> None:
    pass


@pytest.mark.long
def test_a_retraining_moves_the_parts_and_keeps_the_rest_of_the_plan(scorer: Path, tmp_path: Path) -> None:
    out = tmp_path / "versions"
    outcome = retrain(asked(scorer, out), quiet)
    manifest = load(out / outcome.version).manifest
    assert outcome.version.startswith("v20081231-")
    assert manifest.name == outcome.version
    assert outcome.parts["test"] == ("2008-07-04", "2008-12-31")
    assert outcome.parts["train"] == ("2006-02-01", "2007-12-30")
    assert manifest.training.seeds == (1,)
    assert manifest.training.test_looks == 2
    assert manifest.digest == outcome.digest
    assert "--until 2008-12-31" in manifest.training.command
    assert "--set iterations=2" in manifest.training.command
    assert recipe_of(out / outcome.version).settings()["iterations"] == 2
    again = retrain(asked(out / outcome.version, out, until=date(2009, 6, 30)), quiet)
    assert again.parts["test"][1] == "2009-06-30"
    assert recipe_of(out / again.version).settings()["test_looks"] == 3
    assert [decision.version for decision in decisions(out)] == [outcome.version, again.version]
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == [".lock"]


@pytest.mark.long
def test_nothing_after_until_is_read(scorer: Path, tmp_path: Path) -> None:
    later = pl.col("ts").dt.date() > date(2008, 12, 31)
    wild = [pl.when(later).then(pl.col(c) * 5.0).otherwise(pl.col(c)).alias(c) for c in ("open", "close")]
    pl.read_parquet(BARS).with_columns(wild).write_parquet(tmp_path / "bars.parquet")
    original_outcome = retrain(asked(scorer, tmp_path / "one"), quiet)
    changed_outcome = retrain(asked(scorer, tmp_path / "other", bars=tmp_path / "bars.parquet"), quiet)
    weights = [
        (tmp_path / name / outcome.version / "weights.safetensors").read_bytes()
        for name, outcome in (("one", original_outcome), ("other", changed_outcome))
    ]
    assert weights[0] == weights[1]
    assert original_outcome.verdict == changed_outcome.verdict


@pytest.mark.long
def test_the_same_question_has_the_same_answer_and_is_not_trained_twice(scorer: Path, tmp_path: Path) -> None:
    first = retrain(asked(scorer, tmp_path / "a"), quiet)
    lines: list[str] = []
    assert retrain(asked(scorer, tmp_path / "a"), lines.append) == first
    assert lines == []
    elsewhere = retrain(asked(scorer, tmp_path / "b"), quiet)
    assert elsewhere.version == first.version
    assert elsewhere.verdict == first.verdict


@pytest.mark.long
@pytest.mark.requirement("R-096")
def test_a_later_one_is_held_against_the_version_in_use_and_takes_its_place_only_when_worth_it(
    scorer: Path, tmp_path: Path
) -> None:
    out = tmp_path / "versions"
    first = retrain(asked(scorer, out), quiet)
    point(out, first.version, first.digest, "now", "by hand")
    kept = retrain(asked(out, out, until=date(2009, 6, 30), rule=Rule(min_gain=9.0)), quiet)
    assert (kept.current, kept.current_digest) == (str(out / first.version), first.digest)
    assert not kept.promoted
    assert "9 is required" in kept.reason
    assert in_use(out) == out / first.version
    # the challenger and its gain do not depend on the rule: each of its bounds alone decides
    free = {"confidence": 0.001, "min_gain": -100.0, "max_drawdown_ratio": 50.0}

    def tried(**bound: float) -> Decision:
        rule = Rule(**(free | bound))
        folder = shutil.copytree(out, tmp_path / f"versions-{len(list(tmp_path.iterdir()))}")
        return retrain(asked(folder, folder, until=date(2009, 12, 31), rule=rule), quiet)

    promotion = tried()
    gain, p, current = promotion.verdict.gain, promotion.verdict.p, promotion.verdict.current
    assert promotion.promoted
    assert gain is not None
    assert p is not None
    assert 0.0 < p < 1.0
    assert current is not None
    ratio = promotion.verdict.challenger.performance.max_drawdown / current.performance.max_drawdown
    for bound, value, promotes in (
        ("min_gain", gain - 0.001, True),
        ("min_gain", gain + 0.001, False),
        ("confidence", 1.0 - p + 1e-6, False),
        ("max_drawdown_ratio", ratio * 0.999, False),
    ):
        decision = tried(**{bound: value})
        assert decision.verdict.gain == pytest.approx(gain)
        assert decision.promoted == promotes, (bound, value, decision.reason)
        folder = Path(decision.current).parent
        assert in_use(folder) == folder / (decision.version if promotes else first.version)
    out = Path(promotion.current).parent
    written = json.loads((out / "decisions" / f"{promotion.version}.json").read_bytes())
    assert msgspec.convert(written, Decision) == promotion


@pytest.mark.long
def test_what_cannot_be_done_says_why_and_changes_nothing(scorer: Path, tmp_path: Path) -> None:
    out = tmp_path / "versions"
    with pytest.raises(ValueError, match="bars of all symbols end 2008-12-31, before 2009-01-05; fetch"):
        retrain(asked(scorer, out, stale=date(2009, 1, 5)), quiet)
    with pytest.raises(ValueError, match="no day up to 1990-01-01 has bars of all of SPY, AAPL, BAC"):
        retrain(asked(scorer, out, until=date(1990, 1, 1)), quiet)
    with pytest.raises(ValueError, match=r"--set hiddn=3: write KEY=VALUE, one of .*hidden"):
        retrain(asked(scorer, out, changes=("hiddn=3",)), quiet)
    with pytest.raises(ValueError, match="--set seeds=x: seeds are no whole numbers"):
        retrain(asked(scorer, out, changes=("seeds=x",)), quiet)
    with pytest.raises(ArtifactError, match="no manifest"):
        retrain(asked(tmp_path / "nothing", out), quiet)
    with pytest.raises(ValueError, match="an episode of"):
        retrain(asked(scorer, out, changes=("episode=5000",)), quiet)
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.long
def test_suspicious_bars_stop_a_retraining_before_it_writes_anything(scorer: Path, tmp_path: Path) -> None:
    deep = (pl.col("ts").dt.date() == date(2008, 3, 3)) & (pl.col("symbol") == SYMBOLS[0])
    bad = pl.when(deep).then(pl.col("low") * 0.1).otherwise(pl.col("low")).alias("low")
    pl.read_parquet(BARS).with_columns(bad).write_parquet(tmp_path / "bars.parquet")
    shutil.copy(BARS.with_name("exceptions.csv"), tmp_path)
    request = asked(scorer, tmp_path / "versions", bars=tmp_path / "bars.parquet")
    with pytest.raises(UnsoundPrices, match=f"{SYMBOLS[0]} on 2008-03-03 is out of all proportion"):
        retrain(request, quiet, require_sound_bars)
    assert not (tmp_path / "versions").exists()


def test_the_last_session_is_one_that_every_symbol_has(tmp_path: Path) -> None:
    table = pl.read_parquet(BARS)
    cut = (pl.col("symbol") == "BAC") & (pl.col("ts").dt.date() > date(2008, 12, 24))
    table.filter(~cut).write_parquet(tmp_path / "bars.parquet")
    assert last_session(tmp_path / "bars.parquet", SYMBOLS, date(2008, 12, 31)) == date(2008, 12, 24)
    assert last_session(BARS, SYMBOLS, date(2008, 12, 28)) == date(2008, 12, 26)


def test_parts_move_together_or_the_training_part_grows() -> None:
    later = moved(SMALL.splits, 365, expanding=False)
    assert [(s.last - s.first) for s in (later.train, later.validation, later.test)] == [
        (s.last - s.first) for s in (SMALL.splits.train, SMALL.splits.validation, SMALL.splits.test)
    ]
    grown = moved(SMALL.splits, 365, expanding=True)
    assert grown.train.first == SMALL.splits.train.first
    assert grown.train.last == later.train.last


# ---- the judgement --------------------------------------------------------------------------------


@pytest.mark.long
def test_a_model_that_trades_nothing_is_worth_nothing_beside_a_losing_one_or_none() -> None:
    idle = POLICIES["hold"]({})
    for current in (mix(BAC=0.9), None):
        verdict = judged(idle, current)
        assert verdict.idle
        assert not verdict.worth
        assert verdict.why.startswith("it traded nothing on 252 sessions, 2008-01-02 to 2008-12-31")
    assert not judged(mix(SPY=0.2), None).idle


def test_costs_count_and_the_first_has_nothing_to_beat() -> None:
    first = judged(mix(SPY=0.5), None)
    assert first.worth
    assert first.gain is None
    dear = judge(
        mix(SPY=0.5), None, PANEL, NEWEST, Rule(), costs=Costs(commission_bp=500.0), capital=1e5, lot=1.0, key="k"
    )
    assert dear.challenger.performance.total_return < first.challenger.performance.total_return


def test_sessions_that_the_one_in_use_was_fitted_on_are_counted(scorer: Path) -> None:
    from quantd.models.artifacts.loader import load_artifact

    old = load_artifact(scorer, {})
    newest = Split("test", date(2007, 11, 1), date(2008, 2, 29))
    verdict = judge(mix(SPY=0.5), old, PANEL, newest, Rule(), costs=COSTS, capital=1e5, lot=1.0, key="k")
    days = PANEL.day_ns[newest.rows(PANEL.day_ns).start : newest.rows(PANEL.day_ns).stop]
    assert verdict.seen_by_current == int((days <= np.datetime64("2007-12-31", "ns").astype(np.int64)).sum()) > 20


@pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"max_drawdown_ratio": 0.0}, {"block": -1}])
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="confidence"):
        Rule(**wrong)  # type: ignore[arg-type]


@pytest.mark.long
def test_a_plan_of_a_learner_is_trained_again_from_its_file_and_from_its_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imitation, "UPDATES", 60)  # what is asked for is kept, however well it is imitated
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'name = "small"\nagent = "ppo"\nsteps = 256\nseeds = [1]\nevaluate_every = 256\nclone = "inverse_volatility"\n'
        '[data]\nsymbols = ["SPY", "BAC"]\n[learner]\nhidden = [8]\nhorizon = 16\n[market.episodes]\nlength = 20\n'
        "[splits.train]\nfirst = 2006-01-03\nlast = 2007-06-29\n[splits.validation]\nfirst = 2007-07-20\nlast = "
        "2007-12-31\n"
        "[splits.test]\nfirst = 2008-01-15\nlast = 2008-06-30\n"
    )
    out = tmp_path / "versions"
    first = retrain(asked(plan, out), quiet)
    assert first.promoted
    assert first.current == ""
    second = retrain(asked(out, out, until=date(2009, 3, 31), changes=("steps=128",)), quiet)
    assert second.current_digest == first.digest
    settings = recipe_of(out / second.version).settings()
    assert (settings["steps"], settings["agent"], settings["clone"]) == (128, "ppo", "inverse_volatility")
    assert second.parts["test"] == ("2008-10-15", "2009-03-31")
    with pytest.raises(ValueError, match="steps"):
        retrain(asked(out, out, changes=("stepps=128",)), quiet)


@pytest.mark.long
def test_two_do_not_train_into_one_folder_and_what_one_that_was_ended_left_goes(scorer: Path, tmp_path: Path) -> None:
    out = tmp_path / "versions"
    (out / ".making-v20070101-000000").mkdir(parents=True)
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another retraining is at work there"):
            retrain(asked(scorer, out), quiet)
    outcome = retrain(asked(scorer, out), quiet)
    assert sorted(p.name for p in out.iterdir() if p.name != "current" and p.name != "history") == [
        ".lock", "decisions", outcome.version,
    ]  # fmt: skip


@pytest.mark.long
def test_what_only_signed_models_may_replace_is_worth_a_try_and_not_taken(scorer: Path, tmp_path: Path) -> None:
    plan = asked(scorer, tmp_path / "versions", against=None, rule=Rule(measure="mean", confidence=0.5), takes=False)
    outcome = retrain(plan, quiet)
    assert not outcome.promoted
    assert ("once it is signed" in outcome.reason) == outcome.verdict.worth
    assert in_use(tmp_path / "versions") is None
