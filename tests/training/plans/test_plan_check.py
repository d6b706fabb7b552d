"""All mistakes of a plan are reported together, before torch is imported."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from quantd.training.plans.plan_check import mistakes_in
from tests.support import training as world

REFUSED = """
import sys
from quantd.daemon.cli.failures import guarded
from quantd.daemon.cli.program import run
code = guarded(lambda: run(sys.argv[1:]))
print(code, "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = world.bars(tmp_path_factory.mktemp("bars"))
    table, prices = pl.read_parquet(path), ("open", "close")
    more = {"high": pl.max_horizontal(prices), "low": pl.min_horizontal(prices), "volume": pl.lit(1e6)}
    table.with_columns(**more).write_parquet(path)
    return path


def table(bars: Path, **parts: object) -> dict[str, object]:
    splits = {
        name: {"first": getattr(world.SPLITS, name).first, "last": getattr(world.SPLITS, name).last}
        for name in ("train", "validation", "test")
    }
    data = {"bars": str(bars), "actions": "", "symbols": list(world.SYMBOLS)}
    return {"agent": "ppo", "data": data, "splits": splits, "warmup_days": 170, **parts}


def mistakes(plan_table: dict[str, object]) -> list[str]:
    return mistakes_in(plan_table, lambda _: None)


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.requirement("R-085")
@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_faulty_plan_is_refused_with_all_its_mistakes_before_torch_is_imported(
    bars: Path, tmp_path: Path, command: str
) -> None:
    plan = tmp_path / "p.toml"
    plan.write_text(f"""agent = "ppo"
[data]
bars = "{bars}"
actions = ""
symbols = ["AAA", "BBB", "CCC"]
[sight]
features = []
columns = ["beta_60"]
[market]
batch = 0
kind = "discreet"
[learner]
clip = "wide"
gama = 0.9
[splits]
train = {{ first = 2015-02-01, last = 2016-06-30 }}
validation = {{ first = 2016-07-01, last = 2016-12-31 }}
test = {{ first = 2019-01-01, last = 2019-06-30 }}
""")
    words = [sys.executable, "-c", REFUSED, command, str(plan)]
    process = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert process.stdout == "78 False\n", process.stderr
    *messages, begins = process.stderr.splitlines()
    assert begins.startswith(f"{plan}: warmup_days 400: 31 sessions before splits.train.first (2015-02-01)")
    assert "write --set splits.train.first=2015-" in begins
    assert messages == [
        f'{plan}:6: sight.benchmark: the columns need one; write benchmark = "AAA", or another symbol',
        f"{plan}:9: market: batch and parts must be 1 or more, capital and gross above 0",
        f"{plan}:11: market.kind = 'discreet': invalid enum value 'discreet'",
        f"{plan}:13: learner.clip = 'wide': expected `float`, got `str`",
        f"{plan}:14: learner.gama is not a key of a plan. Did you mean gamma?",
        f"{plan}:18: splits.test: fewer than two sessions between 2019-01-01 and 2019-06-30; the bars of all symbols "
        "go from 2015-01-01 to 2017-06-30: set the splits within them",
    ]


def test_a_plan_without_mistakes_has_none(bars: Path) -> None:
    assert mistakes(table(bars, learner={"clip": 0.1})) == []


def test_rules_between_keys_are_checked_beside_a_mistake_in_another_key(bars: Path) -> None:
    messages = mistakes(
        table(bars, steps=0, market={"kind": "box", "lot": {"ZZZ": 1.0}}, agent="dqn", profile="prioritised")
    )
    assert messages == [
        "profile 'prioritised': dqn has prioritized. Did you mean prioritized?",
        "steps, evaluate_every, checkpoint_every and keep must be 1 or more, patience 0 or more",
        "market.kind box: dqn takes discrete",
        "market.lot: ZZZ is not in data.symbols; remove it, or add it there",
    ]


def test_a_remedy_names_a_symbol_of_the_option_and_a_wrong_benchmark_hides_no_other_mistake(bars: Path) -> None:
    early = {"train": {"first": date(2015, 2, 1), "last": date(2016, 6, 30)}}
    plan_table = table(bars, sight={"features": [], "columns": ["beta_60"], "benchmark": "SPY"})
    splits = plan_table["splits"]
    assert isinstance(splits, dict)
    wrong, begins = mistakes({**plan_table, "splits": {**splits, **early}})
    assert wrong == "sight.benchmark: SPY is not in the data; name one of AAA, BBB, CCC"
    assert begins.startswith("warmup_days 170: 31 sessions before splits.train.first (2015-02-01)")
    assert "write --set splits.train.first=2015-" in begins


def test_a_part_that_a_later_beginning_needs_is_named_with_it(bars: Path) -> None:
    """The first bars of a short warm-up would be left out again with a later beginning."""
    early = {"first": date(2015, 2, 1), "last": date(2016, 6, 30)}
    splits = table(bars)["splits"]
    assert isinstance(splits, dict)
    (message,) = mistakes({**table(bars, warmup_days=40), "splits": {**splits, "train": early}})
    assert "write --set splits.train.first=2015-05-07 --set warmup_days=126, or give earlier bars" in message
    fitting = {**splits, "train": {**early, "first": date(2015, 5, 7)}}
    assert mistakes({**table(bars, warmup_days=126), "splits": fitting}) == []


def test_files_symbols_and_keys_that_are_not_there_are_named_together(bars: Path, tmp_path: Path) -> None:
    data = {"bars": str(tmp_path / "none.parquet"), "actions": str(tmp_path / "none.csv"), "symbol": []}
    messages = mistakes({"agent": "pqo", "data": data, "sight": {"columns": "ful"}})
    assert [message.split(" ", 1)[0].rstrip(":") for message in messages] == [
        "agent", "data.symbol", "sight.columns", "data.bars", "data.actions",
    ]  # fmt: skip
    missing = {"bars": str(bars), "actions": "", "symbols": ["AAA", "ZZZ"]}
    assert "no bars of ZZZ" in mistakes(table(bars, data=missing))[0]
