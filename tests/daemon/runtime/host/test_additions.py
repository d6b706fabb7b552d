"""What somebody adds to the engine is in force at every sample of a long backtest, without an entry elsewhere."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantd.daemon import engine
from quantd.daemon.engine.core.gate_sets import unknown_to_plans
from quantd.daemon.engine.state import State
from quantd.risk.limits.catalogue import Limits, Rate, Stress, Tail, override
from quantd.risk.measures.stress import Shock
from quantd.trading.effects import Effect
from quantd.trading.events import Halted
from tests.support.checkout import ROOT, copy_package, environment
from tests.support.engine import World, block, walk
from tests.support.recipes import dearest

SAMPLES = 400

RUN = """
import json
import sys
import numpy as np
from msgspec.structs import replace
from quantd.risk.limits.catalogue import EXTRA, Limits, override
from quantd.trading.effects import Filled, Publish
from tests.support.engine import World, block, walk

class Steps:
    rows_only = True

    def __init__(self):
        self.effects = []

    def answer(self, ask):
        return None

    def add(self, event, effects):
        self.effects += effects

limits = override(Limits(max_position_weight=0.9), **({"dearest": 105.0} if "dearest" in EXTRA else {}))
world = World(
    block(walk(int(sys.argv[1]), 2, 3)),
    [lambda view: np.where(np.arange(2) == view.sample_time // 10**14 % 2, 0.6, 0.3)],
    house=limits,
)
world.rules = replace(world.rules, agents=tuple(replace(each, scheduled=True) for each in world.rules.agents))
items = list(world.items())
items[1::10] = [replace(tick, due=(0,)) for tick in items[1::10]]
steps = Steps()
shell = world.fresh(steps)
shell.take_all(items)
state = shell.state
bought = [
    price / 1e9 for each in steps.effects if isinstance(each, Filled)
    for price, lots in zip(each.price_nano, each.lots) if lots > 0
]
print(json.dumps({
    "samples": shell.tally.samples,
    "folded": state.samples_taken,
    "planned": state.rounds_taken,
    "alerts": sum(isinstance(each, Publish) and each.kind == "count" for each in steps.effects),
    "dearest": max(bought),
}))
"""


def run(root: Path) -> dict[str, Any]:
    """What a run of SAMPLES samples counted, with the package in a folder."""
    variables = environment(root) | {"OMP_NUM_THREADS": "1"}
    variables.pop("PYTHONDONTWRITEBYTECODE")  # the copy is imported several times
    variables["PYTHONPATH"] += f":{ROOT}"
    command = [sys.executable, "-c", RUN, str(SAMPLES)]
    done = subprocess.run(command, cwd=root, env=variables, text=True, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    counts: dict[str, Any] = json.loads(done.stdout)
    assert counts["samples"] == SAMPLES
    return counts


def edit(file: Path, *changes: tuple[str, str]) -> None:
    """Replace each first text, which occurs once, by the second."""
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)


STAGE = '''"""Counts samples."""

from collections.abc import Sequence

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state.settings import Notices
from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect
from quantd.trading.events import Tick


def count_samples(state: State, tick: Tick, done: Sequence[Effect]) -> Sequence[Effect]:
    """Publish each sample."""
    return [*done, alert(state, "INFO", "count", "a sample")] if tick.sample else done
'''


def add_stage(root: Path) -> None:
    engine, before = root / "daemon/engine", "    Stage(serve_tick, (Tick,)),\n"
    (engine / "sample_count.py").write_text(STAGE)
    added = "    Stage(count_samples, (Tick,)),\n"
    imported = "from quantd.daemon.engine.samples import serve_tick\n"
    stage_import = "from quantd.daemon.engine.sample_count import count_samples\n"
    edit(engine / "__init__.py", (before, before + added), (imported, stage_import + imported))


def add_limit(root: Path) -> None:
    """The first limit of the page, under a name that the checkout has not."""
    (root / "risk/limits/dearest.py").write_text(dearest())


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_package(tmp_path_factory.mktemp("declarations"))


@pytest.fixture
def root(copied: Path) -> Iterator[Path]:
    """A copy of the package, which is as before after the test."""
    before = {file: file.read_bytes() for file in copied.glob("*/**/*.py") if "shipped" not in file.parts}
    yield copied
    for file in copied.glob("*/**/*.py"):
        if file not in before:
            file.unlink()
        elif file.read_bytes() != before[file]:
            file.write_bytes(before[file])


@pytest.mark.long
def test_a_stage_is_in_force_at_each_sample(root: Path) -> None:
    add_stage(root)
    counts = run(root)
    assert (counts["folded"], counts["alerts"]) == (0, SAMPLES)


@pytest.mark.long
def test_a_limit_is_in_force_in_each_round(root: Path) -> None:
    add_limit(root)
    counts = run(root)
    assert (counts["folded"] > SAMPLES / 2, counts["planned"]) == (True, 0)  # its caps depend on the prices
    assert counts["dearest"] <= 105.0 * 1.05 < run(ROOT)["dearest"]


def state(limits: Limits, **rules: object) -> State:
    return State(World(block(walk(3, 2, 1)), [lambda view: np.zeros(2)], house=limits, **rules).rules)


def count_ticks(state: State, event: object, effects: Sequence[Effect]) -> Sequence[Effect]:
    return effects


def test_a_stage_without_a_word_on_when_it_is_idle_always_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = engine.STAGES
    for stage, at_rest in (
        (first, True),
        (first._replace(run=count_ticks), False),
        (first._replace(run=wraps(first.run)(lambda *given: given[-1])), False),
        (first._replace(run=partial(first.run)), False),
        (first._replace(run=count_ticks, after=(Halted,)), True),
    ):
        monkeypatch.setattr(engine, "STAGES", (stage, *others))
        assert engine.idle(state(Limits())) == at_rest


def test_each_stage_says_when_it_is_idle() -> None:
    assert engine.idle(state(Limits()))
    for part, name in (("", "parents"), ("protection", "stops"), ("protection", "own"), ("", "resting")):
        busy = state(Limits())
        setattr(getattr(busy, part) if part else busy, name, {1: 2})
        assert not engine.idle(busy), name


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"average_correlation": 0.5}, "average_correlation"),
        ({"var": Tail(limit=0.05, method="filtered")}, "var"),
        ({"max_turnover": 0.5}, "max_turnover"),
        ({"order_rate": Rate(orders=5)}, "order_rate"),
        ({"max_order_notional": 1e4}, "max_order_notional"),
        ({"stress": Stress(limit=0.5, shocks=(Shock("crash", {"*": -0.2}),))}, "stress"),
        ({"max_share_of_volume": 0.1}, ""),
    ],
)
def test_a_limit_that_needs_more_than_bars_and_the_account_is_left_to_the_engine(
    keys: dict[str, object], named: str
) -> None:
    limits = override(Limits(), **keys)
    assert unknown_to_plans(limits, state(limits).universe) == named
