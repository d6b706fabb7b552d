"""Retraining by schedule: beside trading, in a process that is ended with the service; what comes of it is told, and decides from the
next start on, as a shadow, until it is promoted by rule."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import msgspec
import pytest

import daemon.retraining as retraining
from adapters.store.errors import StoreError
from adapters.store.reading import Reader
from adapters.store.store import Store
from daemon.assembly import assemble
from daemon.config import Config
from daemon.engine.trial import Pairing
from daemon.known import known_names
from daemon.config import ConfigError, read
from daemon.retrainer import Answer, Order
from daemon.summary import summary
from daemon.timeline import instants
from models.artifacts import MANIFEST
from models.training.scorer import train
from models.versions import current, use, versions
from risk.limits import Limits
from tests.daemon.test_promotion import better, worse, world
from tests.daemon.test_service import Kit
from tests.daemon.test_upkeep import until
from tests.edge_world import ROOT, answer, environment, program, quantd, write
from tests.models.test_training_scorer import ACTIONS, BARS, SMALL
from trading.codec import decode
from trading.effects import Promotion, Publish
from trading.events import Retrained, Started, Stopping, Tick
from trading.view import EMPTY_MEMORY

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
    plan = msgspec.structs.replace(SMALL, seeds=(1,), iterations=9, check_every=9, learning_rate=1.0, risk_aversion=-50.0)
    version = folder / "mine" / "v20080630-abcdef"
    train(BARS, ACTIONS, SYMBOLS, plan, version, "python -m models.training --iterations 2", lambda line: None)
    use(folder / "mine", version.name)
    return folder / "mine"


def placed(folder: Path, begun: Path, text: str = CONFIG) -> Path:
    import shutil

    shutil.copytree(begun, folder / "versions" / "mine")
    return write(folder, text)


def config_of(folder: Path, begun: Path, *sets: str) -> Config:
    path = placed(folder, begun)
    return read(path.read_text(), known_names(), file=str(path), folder=folder, sets=sets)


def alerts(folder: Path, kind: str) -> list[str]:
    """Texts of a kind of alert in the newest run, oldest first, read beside the daemon; none while it is being made."""
    try:
        return [each.text for each in Reader.open(folder).alerts() if each.kind == kind]
    except (StoreError, OSError):
        return []


def journalled(folder: Path) -> list[tuple[object, list[object]]]:
    """(event, effects) of the newest run, once nobody writes."""
    with Store.open(folder) as store:
        run = store.current_run()
        assert run is not None
        return [(entry.event, list(entry.effects)) for _, data in store.entries(run) for entry in [decode(data)]]


# ---- the whole way --------------------------------------------------------------------------------


def test_a_schedule_trains_a_new_version_which_the_shadow_trades_after_a_restart_and_the_rule_looks_at(
    tmp_path: Path, begun: Path
) -> None:
    placed(tmp_path, begun)
    mine, state = tmp_path / "versions" / "mine", tmp_path / "state"
    first = current(mine)
    assert first is not None
    running = subprocess.Popen(
        [sys.executable, "-m", "daemon.cli", "run", "--json"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not alerts(state, "retrain"):
            assert running.poll() is None, running.communicate()
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 0, said
    finally:
        running.kill()
    (text,) = alerts(state, "retrain")
    (news,) = [event for event, _ in journalled(state) if isinstance(event, Retrained)]
    assert news.failed == ""
    assert text.startswith(f"rival was trained again on data up to 2019-01-02: {news.version}")
    assert len(versions(mine)) == 2
    assert news.promoted
    after = current(mine)
    assert after is not None
    assert after.name == news.version
    assert json.loads((after / MANIFEST).read_bytes())["digest"] == news.digest != news.current
    assert json.loads((mine / "decisions" / f"{news.version}.json").read_bytes())["until"] == "2019-01-02"

    # the restart folds the record, trains nothing again, and goes on with the new version
    done = answer(program(tmp_path, "run", "--json", "--set", "feed.pace=fast"))
    assert versions(mine) == sorted([first.name, after.name])
    steps = journalled(state)
    starts = [(k, event) for k, (event, _) in enumerate(steps) if isinstance(event, Started)]
    assert [event.artifacts["rival"] for _, event in starts] == [digest_of(first), news.digest]
    said = [e.text for _, effects in steps for e in effects if isinstance(e, Publish) and e.kind == "artifact"]
    assert said == [
        f"rival decides with another model from now on ({digest_of(first)[:8]} to {news.digest[:8]}): it remembers nothing, and is "
        "compared from here on"
    ]
    looks = [e for _, effects in steps[starts[1][0] :] for e in effects if isinstance(e, Promotion)]
    samples = sum(isinstance(event, Tick) and event.sample for event, _ in steps[: starts[1][0]])
    assert [e.samples for e in looks][0] < 40 < max(e.samples for e in looks) + 1
    assert any(e.look for e in looks)
    assert samples > 1
    # the house's digest knows no shadow, and so no retraining
    alone = CONFIG.split("[[agents]]\nname = \"rival\"")[0]
    plain = tmp_path / "plain"
    plain.mkdir()
    write(plain, alone + "[bus]\nport = 0\n[api]\nport = 0\n")
    assert answer(quantd(plain, "backtest", "--json", "--no-compare"))["digest"] == done["digest"]
    again = program(tmp_path, "replay", "--json")
    assert again.returncode == 0, again.stderr


def digest_of(version: Path) -> str:
    return str(json.loads((version / MANIFEST).read_bytes())["digest"])
