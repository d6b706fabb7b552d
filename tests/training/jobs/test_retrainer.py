"""Retraining by schedule: beside trading, in a process that is ended with the service; what comes of it is told, and
decides from the next start on, as a shadow, until it is promoted by rule."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
import pytest

from quantd.adapters.store.handle import Store
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import Config, ConfigError, read
from quantd.daemon.engine.state.promotion_rule import Pairing
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.jobs.job_log import JobLog
from quantd.daemon.jobs.runner import Jobs
from quantd.models.artifacts.manifest import MANIFEST
from quantd.models.artifacts.versions import point, versions
from quantd.models.forests.prediction import load_forest
from quantd.strategies.policies import POLICIES
from quantd.trading.codec import decode
from quantd.trading.effects import Promotion, Publish
from quantd.trading.events import Started, Stopping
from quantd.trading.model_events import Retrained
from quantd.trading.view import EMPTY_MEMORY
from quantd.training.forests import fit
from quantd.training.jobs import retrainer
from quantd.training.jobs.retraining_worker import Order, answer_of
from quantd.training.retraining.challenge import Rule
from quantd.training.retraining.refit import Decision, in_use
from quantd.training.runs.scorer_run import train
from tests.support.calendar_files import with_calendar
from tests.support.command_line import answer, environment, quantd, write
from tests.support.mqtt import until
from tests.support.promotion_world import better, world, worse
from tests.support.scorer_plan import ACTIONS, BARS, SMALL
from tests.support.service_kit import Kit
from tests.training.retraining.refit_rules import judged, mix

SYMBOLS = ("SPY", "AAPL", "BAC")
CONFIG = f"""
[quantd]
state = "state"
[universe]
symbols = ["SPY", "AAPL", "BAC"]
[feed]
path = "{BARS}"
actions = "{ACTIONS}"
stamps = "session"
start = 2019-01-02
end = 2019-12-31
warmup = 130
pace = "real"
at_end = "stop"
[broker]
cash = "100000.00"
[[agents]]
name = "even"
policy = "equal_weight"
capital = 1.0
[[agents]]
name = "rival"
policy = "versions/mine"
capital = 0.5
shadow = true
challenges = "even"
[promotion]
samples = 40
looks = 4
[retrain]
measure = "mean"
confidence = 0.5
max_drawdown_ratio = 50
[[schedules]]
name = "again"
do = "retrain"
cron = "0 16 2 1 *"
agents = ["rival"]
[[schedules]]
name = "challenge"
do = "promote"
cron = "0 18 28 * *"
[bus]
port = 0
[api]
port = 0
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of versions with one that was trained badly: its retraining, at the usual rate, does better."""
    folder = tmp_path_factory.mktemp("begun")
    plan = msgspec.structs.replace(
        SMALL, seeds=(3,), iterations=9, check_every=9, learning_rate=0.5, risk_aversion=-50.0
    )
    version = folder / "mine" / "v20080630-abcdef"
    train(BARS, ACTIONS, SYMBOLS, plan, version, "python -m quantd.training --iterations 2", lambda line: None)
    point(folder / "mine", version.name, digest_of(version), "then")
    return folder / "mine"


def placed(folder: Path, begun: Path, text: str = CONFIG) -> Path:
    shutil.copytree(begun, folder / "versions" / "mine")
    return write(folder, text)


def config_of(folder: Path, begun: Path, *sets: str) -> Config:
    path = placed(folder, begun)
    return read(path.read_text(), known_names(), file=str(path), folder=folder, sets=sets)


def alerts(folder: Path, kind: str) -> list[str]:
    """Texts of a kind of alert in the newest run, oldest first, read beside the daemon; none while it is being made."""
    try:
        return [alert.text for alert in Reader.open(folder).alerts() if alert.kind == kind]
    except (StoreError, OSError):
        return []


def journalled(folder: Path) -> list[tuple[object, list[object]]]:
    """(event, effects) of the newest run, once nobody writes."""
    with Store.open(folder) as store:
        run = store.current_run()
        assert run is not None
        return [(entry.event, list(entry.effects)) for _, data in store.entries(run) for entry in [decode(data)]]


# ---- the whole way --------------------------------------------------------------------------------


@pytest.mark.requirement("R-096", "R-268", "F-41")
@pytest.mark.long
def test_a_schedule_trains_a_new_version_which_the_shadow_trades_after_a_restart_and_the_rule_looks_at(
    tmp_path: Path, begun: Path
) -> None:
    placed(tmp_path, begun)
    version_folder, state = tmp_path / "versions" / "mine", tmp_path / "state"
    first = in_use(version_folder)
    assert first is not None
    with_calendar(tmp_path)
    running = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", "run", "--json"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not alerts(state, "retrain"):
            assert running.poll() is None, running.communicate()
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        _, messages = running.communicate(timeout=60)
        assert running.returncode == 0, messages
    finally:
        running.kill()
    (text,) = alerts(state, "retrain")
    (news,) = [event for event, _ in journalled(state) if isinstance(event, Retrained)]
    assert news.failed == ""
    assert text.startswith(f"rival was trained again on data up to 2019-01-02: {news.version}")
    assert len(versions(version_folder)) == 2
    assert news.promoted
    after = in_use(version_folder)
    assert after is not None
    assert after.name == news.version
    assert json.loads((after / MANIFEST).read_bytes())["digest"] == news.digest != news.current
    assert json.loads((version_folder / "decisions" / f"{news.version}.json").read_bytes())["until"] == "2019-01-02"

    # the restart folds the record, trains nothing again, and goes on with the new version
    report = answer(quantd(tmp_path, "run", "--json", "--set", "feed.pace=fast"))
    assert versions(version_folder) == sorted([first.name, after.name])
    steps = journalled(state)
    starts = [(k, event) for k, (event, _) in enumerate(steps) if isinstance(event, Started)]
    assert [event.artifacts["rival"] for _, event in starts] == [digest_of(first), news.digest]
    messages = [e.text for _, effects in steps for e in effects if isinstance(e, Publish) and e.kind == "artifact"]
    assert messages == [
        f"rival decides with another model from now on ({digest_of(first)[:8]} to {news.digest[:8]}): it remembers "
        f"nothing, and is "
        "compared from here on"
    ]
    looks = [e for _, effects in steps[starts[1][0] :] for e in effects if isinstance(e, Promotion)]
    assert looks[0].samples < 20  # of the new model: those before are not counted
    assert max(e.samples for e in looks) == 40
    assert [e.look for e in looks if e.look][:4] == [1, 2, 3, 4]
    usual = ("retrain", "artifact", "promotion")
    if acted := [alert.text for alert in Reader.open(state).alerts() if alert.kind not in usual]:
        pytest.skip(f"a busy machine, where the run was another than its backtest: {acted}")
    # the house's digest knows no shadow, and so no retraining
    plain = tmp_path / "plain"
    plain.mkdir()
    write(plain, CONFIG.split('[[agents]]\nname = "rival"')[0] + "[bus]\nport = 0\n[api]\nport = 0\n")
    assert answer(quantd(plain, "backtest", "--json", "--no-compare"))["digest"] == report["digest"]
    again = quantd(tmp_path, "replay", "--json")
    assert again.returncode == 0, again.stderr


def digest_of(version: Path) -> str:
    return str(json.loads((version / MANIFEST).read_bytes())["digest"])


# ---- beside a service -----------------------------------------------------------------------------

DUE = 1_546_462_800_000_000_000
"""2019-01-02 16:00 in New York."""


def beside(folder: Path, begun: Path, *sets: str) -> tuple[Kit, Jobs, Path]:
    path = placed(folder, begun, CONFIG.replace('"even"', '"a0"').replace('"rival"', '"s0"'))
    config = read(path.read_text(), known_names(), file=str(path), folder=folder, sets=sets)
    of, _ = world([worse], better)
    kit = Kit(folder / "store", of)
    work = retrainer.Retraining(kit.service, assemble(config), config).work
    log = JobLog(kit.service, lambda job, instants: [(max(instants), ("again",))])
    return kit, Jobs(kit.service, {"retrain": work}, log), folder / "versions" / "mine"


def events(kit: Kit) -> list[Retrained]:
    return [e for _, data in kit.store.entries("run00001") if isinstance(e := decode(data).event, Retrained)]


async def ended(kit: Kit, stepping: "asyncio.Task[None]", training: "asyncio.Task[None]") -> None:
    await kit.service.inbox.put([[Stopping(0, False, "test")]])
    await asyncio.wait_for(asyncio.gather(stepping, training), 30)


@pytest.mark.long
@pytest.mark.parametrize(
    ("sets", "spoil", "reason"),
    [
        (("retrain.stale=1d", "retrain.bars=BARS"), "", "bars of all symbols end 2018-06-29, before 2019-01-01"),
        ((), "current", "is no folder of versions"),
        (("retrain.within=1s",), "", "no result within 1 s ([retrain] within): it was stopped"),
    ],
    ids=["stale bars", "no versions", "too long"],
)
async def test_a_retraining_that_fails_is_a_warning_and_changes_nothing(
    tmp_path: Path, begun: Path, sets: tuple[str, ...], spoil: str, reason: str
) -> None:
    if "retrain.bars=BARS" in sets:
        old = pl.col("ts").dt.date() <= date(2018, 6, 29)
        pl.read_parquet(BARS).filter(old).write_parquet(tmp_path / "old.parquet")
    kit, training, version_folder = beside(
        tmp_path, begun, *(s.replace("BARS", str(tmp_path / "old.parquet")) for s in sets)
    )
    before = sorted(str(p.relative_to(version_folder)) for p in version_folder.rglob("*"))
    if spoil:
        (version_folder / spoil).unlink()
        before.remove(spoil)
    stepping, beside_it = asyncio.create_task(kit.service.step_forever()), asyncio.create_task(training.run())
    training.due["retrain"] = DUE
    await until(lambda: any(e.kind == "retrain" for e in kit.service.recent))
    await ended(kit, stepping, beside_it)
    (news,) = events(kit)
    (alert,) = [e for e in kit.service.recent if e.kind == "retrain"]
    assert reason in news.failed
    assert alert.level == "WARNING"
    assert alert.agent == "s0"
    assert alert.text == f"retraining of s0 failed: {news.failed}; nothing has changed"
    assert (
        sorted(str(p.relative_to(version_folder)) for p in version_folder.rglob("*") if ".making" not in str(p))
        == before
    )
    kit.store.close()


def test_a_retraining_whose_model_trades_nothing_fails_with_the_reason() -> None:
    """Beside a model that lost money, a return of nothing would look better."""
    verdict = judged(POLICIES["hold"]({}), mix(BAC=0.9))
    decision = Decision(
        schema=1, version="v20081231-abcdef", digest="0", current="", current_digest="", until="2008-12-31",
        promoted=False, reason=verdict.why, rule=Rule(), verdict=verdict, costs_bp=0.0, capital=1e5, parts={},
        command="",
    )  # fmt: skip
    order = Order("rival", "mine", "bars", "", "2008-12-31", "", "", expanding=False, rule={}, takes=True)
    outcome = answer_of(order, decision)
    assert outcome.version == ""
    assert outcome.failed.startswith("v20081231-abcdef is written and not used: it traded nothing on 252 sessions")
    assert "train it on other or more bars" in outcome.failed
    other = msgspec.structs.replace(decision, verdict=judged(mix(SPY=0.2), mix(BAC=0.9)))
    assert answer_of(order, other).version == "v20081231-abcdef"


@pytest.mark.long
@pytest.mark.requirement("R-097")
@pytest.mark.parametrize("predicts", ["risk", pytest.param("allocation", marks=pytest.mark.slow)])
async def test_a_schedule_trains_a_forest_which_is_used_only_where_it_beats_the_plain_estimate(
    tmp_path: Path, predicts: Literal["risk", "allocation"]
) -> None:
    version_folder = tmp_path / "made"
    first = version_folder / "v20171229-abcdef"
    plan = fit.Plan(predicts, date(2012, 1, 3), date(2017, 12, 29), folds=2, leaves=8, stride=10)
    fit.train(BARS, ACTIONS, SYMBOLS, plan, first, "", lambda line: None)
    point(version_folder, first.name, digest_of(first), "then")
    kit, training, folder = beside(tmp_path, version_folder, "retrain.expanding=true")
    stepping, beside_it = asyncio.create_task(kit.service.step_forever()), asyncio.create_task(training.run())
    training.due["retrain"] = DUE
    await until(lambda: any(e.kind == "retrain" for e in kit.service.recent))
    await ended(kit, stepping, beside_it)
    (news,) = events(kit)
    (alert,) = [e for e in kit.service.recent if e.kind == "retrain"]
    assert (news.failed, news.until, alert.level) == ("", "2019-01-02", "INFO")
    manifest = load_forest(folder / news.version).artifact.manifest
    assert (manifest.predicts, manifest.horizon, len(manifest.folds), manifest.universe) == (predicts, 21, 2, SYMBOLS)
    assert manifest.training.window.last == "2019-01-02"
    assert manifest.digest == news.digest
    better = manifest.together.model.mse < manifest.together.plain.mse
    assert news.promoted is better is (predicts == "risk")
    used = in_use(folder)
    assert used is not None
    assert used.name == (news.version if better else first.name)
    assert f"{'beats' if better else 'does not beat'} the plain estimate out of sample" in alert.text
    kit.store.close()


@pytest.mark.long
async def test_a_stop_ends_what_is_being_trained_and_tells_nothing(tmp_path: Path, begun: Path) -> None:
    kit, training, version_folder = beside(tmp_path, begun, "retrain.nice=19")
    stepping, beside_it = asyncio.create_task(kit.service.step_forever()), asyncio.create_task(training.run())
    training.due["retrain"] = DUE
    await until(lambda: children(version_folder))
    ((child, nice),) = children(version_folder)
    assert nice == 19
    await ended(kit, stepping, beside_it)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert events(kit) == []
    assert len(versions(version_folder)) == 1
    kit.store.close()


def children(version_folder: Path) -> list[tuple[int, int]]:
    """(process, nice) of what trains: children of this process."""
    processes = []
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(OSError):
                if b"quantd.training.jobs.retraining_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    processes.append((int(child), os.getpriority(os.PRIO_PROCESS, int(child))))
    return [(child, nice) for child, nice in processes if nice == 19]  # once it has been set


@pytest.mark.long
def test_the_process_ends_with_its_parent(tmp_path: Path, begun: Path) -> None:
    placed(tmp_path, begun)
    order = Order(
        "s0", str(tmp_path / "versions" / "mine"), str(BARS), str(ACTIONS), "2018-12-31", "2018-12-01", "", False,
        {"measure": "mean", "confidence": 0.5, "max_drawdown_ratio": 50.0}, True,
    )  # fmt: skip
    child = subprocess.Popen(
        [sys.executable, "-m", retrainer.MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(order) + b"\n")
    child.stdin.flush()
    while not list((tmp_path / "versions" / "mine").glob(".making-*")):
        assert child.poll() is None, child.stdout.read() if child.stdout else ""
        time.sleep(0.01)
    child.stdin.close()
    assert child.stdout is not None
    assert child.stdout.read() == b""
    assert child.wait(30) == 1


# ---- the engine -----------------------------------------------------------------------------------


def started(scenario, **artifacts: str) -> Started:
    now = scenario.shell.state.now
    return Started(now, "r", "v", "l", "c", "f", ("S0", "S1"), artifacts, "b", "paper")


def test_a_start_with_another_model_begins_a_new_pairing_and_an_empty_memory_and_the_same_one_does_not() -> None:
    scenario, items = world([worse], better, days=70, every=30)
    scenario.shell.run(started(scenario, a0="", s0="one"))
    scenario.run(items)
    state = scenario.shell.state
    state.pairings[0] = Pairing(3, 5)
    memory = {"m": np.ones(1)}
    state.agents[0].memory = state.shadows[0].agents[0].memory = memory
    assert scenario.shell.run(started(scenario, a0="", s0="one")) == []
    assert (state.pairings[0].looks, state.pairings[0].since) == (3, 5)
    scenario.shell.restore(state.rules, scenario.shell.keep())  # it is part of what is kept
    state = scenario.shell.state
    (alert,) = scenario.shell.run(started(scenario, a0="", s0="two"))
    assert alert.kind == "artifact"
    assert alert.agent == "s0"
    assert "(one to two)" in alert.text
    assert (state.pairings[0].looks, state.pairings[0].since) == (0, state.sample_no)
    assert state.shadows[0].agents[0].memory == EMPTY_MEMORY
    assert list(state.agents[0].memory) == ["m"]


def test_a_promoted_policy_that_is_another_model_at_the_next_start_gives_the_place_back() -> None:
    scenario, items = world([worse, worse], better)
    scenario.shell.run(started(scenario, a0="", a1="", s0="one"))
    scenario.run(items)
    state = scenario.shell.state
    assert (state.seats, state.shadows[0].seats) == ([2, 1], [0])
    assert scenario.shell.run(started(scenario, a0="", a1="", s0="one")) == []
    assert state.seats == [2, 1]
    notices = scenario.shell.run(started(scenario, a0="", a1="", s0="two"))
    assert (state.seats, state.shadows[0].seats) == ([0, 1], [2])
    assert notices[0].level == "WARNING"
    assert "a0 decides by its own again" in notices[0].text
    assert state.pairings[0].since == state.sample_no


@pytest.mark.parametrize("failed", ["", "no bars"])
def test_what_became_of_a_retraining_is_told_and_moves_nothing_else(failed: str) -> None:
    scenario, items = world([worse], better, days=30, every=100)
    scenario.run(items)
    state = scenario.shell.state
    before = freeze(state)
    news = Retrained(state.now, "s0", "2019-03-29", "v1", "dd", "ee", True, "better", "sharpe", 502, 0.25, 0.02, failed)
    (alert,) = scenario.shell.run(news)
    assert freeze(state) == before
    assert (alert.level, alert.kind, alert.agent) == ("WARNING" if failed else "INFO", "retrain", "s0")
    if not failed:
        assert "better by 0.25 a year over 502 sessions, p = 0.02" in alert.text
        assert "from the next start on" in alert.text


# ---- what a configuration may say -----------------------------------------------------------------


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(text, known_names())
    return [str(mistake) for mistake in error.value.mistakes]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('agents = ["rival"]', 'agents = ["even"]', "so it would use the retrained policy without a comparison"),
        (
            'policy = "equal_weight"',
            'policy = "./versions//mine"',
            "names versions/mine, which a schedule retrains",
        ),
        (
            'policy = "equal_weight"',
            'policy = "ensemble"\nparams = { members = [{ policy = "versions/mine" }] }',
            "names versions/mine, which a schedule retrains",
        ),
        ('shadow = true\nchallenges = "even"', "", "needs a shadow, and no agent is one"),
    ],
)
def test_what_trades_itself_is_not_trained_again(old: str, new: str, message: str) -> None:
    assert old in CONFIG
    assert message in " ".join(mistakes(CONFIG.replace(old, new)))


def test_a_version_may_be_traded_by_a_champion_and_is_what_a_challenger_is_held_against(
    tmp_path: Path, begun: Path
) -> None:
    version = f"versions/mine/{versions(begun)[0]}"
    config = config_of(tmp_path, begun, f"agents.0.policy={version}")
    order = retrainer.order_of(config, config.shadows[0], date(2019, 1, 2))
    assert order.against == str(tmp_path / version)
    assert order.folder == str(tmp_path / "versions" / "mine")
    assert (order.bars, order.actions, order.until, order.stale) == (
        str(BARS),
        str(ACTIONS),
        "2019-01-02",
        "2018-12-26",
    )
    assert order.takes
    other = read(
        (tmp_path / "config.toml").read_text(), known_names(), folder=tmp_path, sets=("retrain.bars=x.parquet",)
    )
    assert retrainer.order_of(other, other.shadows[0], date(2019, 1, 2)).actions == ""


@pytest.mark.long
def test_a_backtest_trains_nothing_and_says_so(tmp_path: Path, begun: Path) -> None:
    placed(tmp_path, begun)
    process = quantd(tmp_path, "backtest", "--no-compare")
    assert process.returncode == 0, process.stderr
    assert 'schedule "again" trains nothing in a backtest' in process.stderr
    assert len(versions(tmp_path / "versions" / "mine")) == 1


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ('kind = "yfinance"', "needs a file of daily bars"),
        ('interval = "5m"', 'needs daily bars, but [feed] interval = "5m"'),
    ],
)
def test_bars_that_nothing_can_be_trained_on_need_others(feed: str, message: str) -> None:
    text = CONFIG.replace("[feed]", f"[feed]\n{feed}")
    assert message in " ".join(mistakes(text))
    read(text.replace("[retrain]", '[retrain]\nbars = "daily.parquet"'), known_names())
