"""Answers in blocks are those of `act` to the bit, of rows that know nothing later, and in backtests only."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.engine import LIMITS, shell
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.user_file import load_user_policy
from quantd.daemon.runtime.advance_answers import AnswersAhead
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import Item
from quantd.research.runs.answer_blocks import AnswerBlocks
from quantd.research.runs.run_record import Record
from quantd.strategies.policies import POLICIES, RECORDS
from quantd.strategies.policies.allocator import EstimateParams
from quantd.strategies.policies.equal_weight import EqualWeight
from quantd.strategies.policies.params import ParamsError
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.effects import Ask
from quantd.trading.events import Action, Decided, Tick
from quantd.trading.history.rings import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Block, Floats, Ints, MarketSlice, PriceJumped
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS, Sessions
from quantd.trading.view import BlockView, Memory, View
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, Done, quantd, write

DAYS = 150

SIMPLE: Sequence[tuple[str, Mapping[str, object]]] = (
    ("equal_weight", {"invested": 0.9}),
    ("fixed_mix", {"weights": {"S000": 0.3, "S001": 0.2}}),
    ("inverse_volatility", {"lookback": 21}),
    ("momentum", {"lookback": 20, "skip": 3}),
    ("momentum", {"lookback": 11, "size": "inverse_volatility"}),
)

ALLOCATORS = [
    record for record in RECORDS if isinstance(record, PolicyRecord) and issubclass(record.params, EstimateParams)
]


@dataclass
class World:
    """A market of some symbols, and what happened to it: `items` are in order of time."""

    universe: Universe
    sessions: Sessions
    items: list[Item]

    def shell(self, policies: list[Policy], *, scheduled: bool = False) -> Shell:
        return shell(self.universe, self.sessions, policies, scheduled, LIMITS)


def is_dividend(item: Item) -> bool:
    return isinstance(item, Action) and item.kind == "dividend"


def world(seed: int, symbols: int, *, jumps: bool = False, late: bool = False, every_bar: bool = False) -> World:
    """Bars with a late listing, gaps, a halt, dividends, a split and a delisting at random days. With `late` each date
    is complete only after the next sample. With `every_bar` it has no gap and dividends only."""
    rng = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(rng.standard_t(4, (DAYS, symbols)) * 0.01, axis=0))
    fresh = rng.random((DAYS, symbols)) > 0.02
    fresh[: rng.integers(10, 60), rng.integers(symbols)] = False
    begin = int(rng.integers(60, 120))
    fresh[begin : begin + 8, rng.integers(symbols)] = False
    if symbols == 1:
        fresh[: DAYS // 2] = True
    fresh |= every_bar
    close = np.where(fresh, np.round(close, 2), np.nan)
    ts = np.arange(1, DAYS + 1, dtype=np.int64) * DAY_NS
    block = Block(
        ts_open=ts - DAY_NS // 3, ts_event=ts, key=ts - DAY_NS, open=close, high=close * 1.01, low=close * 0.99,
        close=close, volume=np.where(fresh, 1e7, np.nan), fresh=fresh,
    )  # fmt: skip
    actions: dict[int, list[Item]] = {}
    for row in sorted(rng.choice(np.arange(40, DAYS), 12, replace=False).tolist()):
        at, key, symbol = block.ts_open[row], block.key[row], int(rng.integers(symbols))
        actions[row] = [Action(at, key, symbol, "dividend", cash_nano=int(rng.integers(1, 10**9)))]
    row, symbol = int(rng.integers(70, 110)), int(rng.integers(symbols))
    actions.setdefault(row, []).append(Action(block.ts_open[row], block.key[row], symbol, "split", numerator=2))
    row = int(rng.integers(110, 130))
    if jumps:
        actions.setdefault(row, []).append(PriceJumped(block.ts_open[row], symbol, 50 * 10**9, 25 * 10**9, 2, 1))
    elif symbols > 1:
        actions.setdefault(row, []).append(Action(block.ts_open[row], block.key[row], symbol, "delisting"))
    if every_bar:
        actions = {row: dividends for row, one in actions.items() if (dividends := [a for a in one if is_dividend(a)])}
    items: list[Item] = []
    for row in range(DAYS):
        tick = Tick(block.ts_event[row], True, block.key[row], block.ts_event[row] + late * DAY_NS // 2)
        items += [*actions.get(row, []), MarketSlice(block, row), tick]
    far = np.arange(DAYS + 30, dtype=np.int64) * DAY_NS
    opens, closes = (far + DAY_NS * 2 // 3).tolist(), (far + DAY_NS).tolist()
    universe = Universe(tuple(Instrument(f"S{k:03d}", calendar="X") for k in range(symbols)), calendar="X")
    return World(universe, Sessions("X", "UTC", tuple(far.tolist()), tuple(opens), tuple(closes)), items)


def driven(
    market: World, policies: list[Policy], *, blocks: bool, scheduled: bool = False
) -> tuple[list[Decided], Counter[int]]:
    """The answers of a run, and how many of them `act` gave, by agent."""
    body, answers, acted = market.shell(policies, scheduled=scheduled), list[Decided](), Counter[int]()

    def act(ask: Ask) -> Decided:
        acted[ask.agent] += 1
        return answer(policies[ask.agent], ask)

    ahead = AnswerBlocks(act, policies.__getitem__, [scheduled] * len(policies), lambda: body.state.restrictions.jumped)

    def decide(ask: Ask) -> Decided:
        answers.append((ahead if blocks else act)(ask))
        return answers[-1]

    body.answer = decide
    ahead.expect(market.items)
    body.take_all(market.items)
    return answers, acted


@pytest.mark.long
@pytest.mark.parametrize(("seed", "symbols"), [(1, 1), (2, 2), (3, 5), (4, 5), (5, 9), (6, 21)])
def test_answers_in_blocks_are_those_of_act_to_the_bit(seed: int, symbols: int) -> None:
    market = world(seed, symbols, jumps=seed == 4, late=seed == 5)
    policies = [POLICIES[name](params) for name, params in SIMPLE if name != "fixed_mix" or symbols > 1]
    asked, acts = driven(market, policies, blocks=False)
    answers, acted = driven(market, policies, blocks=True)
    assert answers == asked
    assert len(asked) == acts.total() == DAYS * len(policies)
    assert acted.total() < acts.total() / (2 if seed == 4 else 4), (
        "after the jump the engine shows another price than the bars"
    )


@pytest.mark.long
def test_every_allocator_answers_in_blocks_with_the_bits_of_act() -> None:
    assert len(ALLOCATORS) > 8
    market = world(7, 4)
    market.items = market.items[:300]
    policies = [record.make({"lookback": 20}) for record in ALLOCATORS]
    policies.append(POLICIES["mean_variance"]({"lookback": 20, "cost_bp": 0.0}))
    assert all(policy.act_rows is not None for policy in policies)  # type: ignore[attr-defined]
    asked, acts = driven(market, policies, blocks=False)
    answers, acted = driven(market, policies, blocks=True)
    assert answers == asked
    by_act = [k for k in range(len(policies)) if acted[k] == acts[k]]
    assert [ALLOCATORS[k].name for k in by_act] == ["mean_variance"], "its costs are those of the way from the book"


@dataclass
class Counted:
    """Half of the book in the first symbol; counts its calls."""

    lookback: int = 1
    blocks: int = 0

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        return 0.5 * (np.arange(len(view.prices)) == 0), memory

    def act_rows(self, view: BlockView, rows: Ints) -> Floats:
        self.blocks += 1
        return np.tile(0.5 * (np.arange(view.prices.shape[1]) == 0), (len(rows), 1))


def test_a_question_between_two_samples_leaves_the_block_as_it_is() -> None:
    market, policies = world(10, 3), [Counted(), Counted()]
    market.items = [
        part
        for item in market.items
        for part in (
            (replace(item, due=(0,)), Tick(item.ts + DAY_NS // 4, due=(1,))) if isinstance(item, Tick) else (item,)
        )
    ]
    answers, acted = driven(market, list(policies), blocks=True, scheduled=True)
    assert len(answers) == 2 * DAYS
    assert acted[0] < DAYS / 4
    assert (acted[1], policies[1].blocks) == (DAYS, 0)
    assert 0 < policies[0].blocks < 4, "a split and a delisting"


TABLE = """
import numpy as np
LOOKBACK = 5
def act(view):
    risen = view.momentum(5)
    return np.where(risen > 0.0, 0.1 + 0.01 * (view.time // 86_400_000_000_000 % 7), 0.0)
def act_rows(view, rows):
    risen = view.momentum(5, rows)
    return np.where(risen > 0.0, 0.1 + 0.01 * (view.times[rows, None] // 86_400_000_000_000 % 7), 0.0)
"""

CALLED = """
def called(view, rows):
    open("called", "w").close()
    return own(view, rows)
own, act_rows = act_rows, called
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CONFIG without schedules: its agent is asked at each of 61 samples."""
    write(tmp_path, CONFIG[: CONFIG.index("[[schedules]]")] + "[bus]\nport = 0\n[api]\nport = 0\n")
    return tmp_path


def run(folder: Path, source: str, *command: str) -> Done:
    (folder / "mine.py").write_text(source)
    return quantd(folder, *command, "--set", "agents.trend.policy=mine.py:act", "--set", "agents.trend.params={}")


def test_a_backtest_uses_the_act_rows_of_the_page_and_has_the_digest_of_act(folder: Path) -> None:
    page = (ROOT / "docs/trade/backtest.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"(?m)^    # rising.py: .*\n(?:(?:    .*)?\n)+", page)
    source, command = dedent(shown), ("backtest", "--json", "--no-compare")
    asked = run(folder, source[: source.index("def act_rows")], *command)
    assert not (folder / "called").exists()
    process = run(folder, source + CALLED, *command)
    assert process.returncode == asked.returncode == 0, process.stderr
    assert (folder / "called").exists()
    assert json.loads(process.stdout)["digest"] == json.loads(asked.stdout)["digest"]
    assert json.loads(process.stdout)["orders"] > 0


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("view.prices[np.minimum(rows + 1, len(view) - 1)] * 1e-3", "act gives"),
        ("view.prices[rows][:, 0]", "act_rows returned float64[60]; float64[60, 3] is expected"),
        ("1 / 0", "ZeroDivisionError: division by zero at mine.py:8"),
        ("view.weights", "has no attribute 'weights'"),
    ],
    ids=["reads a later row", "another shape", "fails", "reads the book"],
)
def test_a_wrong_act_rows_ends_a_backtest_with_its_file_and_the_remedy(folder: Path, wrong: str, text: str) -> None:
    source = TABLE[: TABLE.index("    risen = view.momentum(5, rows)")] + f"    return {wrong}\n"
    done = run(folder, source, "backtest", "--no-compare")
    assert done.returncode != 0
    assert "mine.py: act_rows" in done.stderr, done.stderr
    assert text in done.stderr, done.stderr
    assert "or remove act_rows" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("LOOKBACK = 5\n", ""), ("act(view)", "act(view, memory)"), ("LOOKBACK", "USES_BARS = LOOKBACK")],
)
def test_act_rows_beside_an_act_with_memory_bars_or_no_lookback_is_refused(
    tmp_path: Path, given: str, wanted: str
) -> None:
    (tmp_path / "mine.py").write_text(TABLE.replace(given, wanted))
    with pytest.raises(ParamsError, match=r"mine.py: act_rows is for a policy with a lookback and an act\(view\)"):
        load_user_policy(tmp_path / "mine.py", "act", {})


def test_a_study_of_look_ahead_compares_every_row(folder: Path) -> None:
    """Also rows in the middle of a block, which a backtest does not compare."""
    peek = "    later = view.prices[np.minimum(rows + 1, len(view) - 1)] > view.prices[rows]\n"
    answer_rows = "    risen = view.momentum(5, rows)\n"
    wrong = "    risen = np.where(((rows > 9) & (rows < 30))[:, None] & later, 1.0, risen)\n"
    source = TABLE.replace(answer_rows, answer_rows + peek + wrong)
    assert run(folder, source, "backtest", "--no-compare").returncode == 0
    (folder / "mine.py").write_text(source)
    done = quantd(folder, "study", "lookahead", "mine.py:act")
    assert done.returncode != 0
    assert "mine.py: act_rows gives" in done.stderr


@pytest.mark.long
def test_a_daemon_never_asks_act_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files run in a process of their own there, so a built-in policy tells."""

    def failing(self: object, view: object, rows: object) -> None:
        raise RuntimeError("act_rows was asked")

    monkeypatch.setattr(EqualWeight, "act_rows", failing)
    policy = ("--set", "agents.trend.policy=equal_weight", "--set", "agents.trend.params={}")
    refused = quantd(folder, "backtest", "--no-compare", *policy)
    assert refused.returncode != 0
    assert "EqualWeight: act_rows failed: RuntimeError: act_rows was asked" in refused.stderr
    done = quantd(folder, "run", "--json", "--quiet", *policy)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["orders"] > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_whose_answers_are_told_in_advance_leaves_the_record_of_one_by_act(seed: int) -> None:
    market, planned = world(seed, 4, every_bar=True), list[int]()
    policies = [POLICIES["momentum"]({"lookback": 20}), POLICIES["equal_weight"]({})]
    outcomes = []
    for blocks in (False, True):
        body, acted = market.shell(policies), Counter[int]()
        record = body.log = Record(market.universe)
        if blocks:
            asked_in_blocks(body, policies, acted, planned).expect(market.items)
        body.take_all(market.items)
        outcomes.append((body.digest.hexdigest(), body.tally, record.equity_micro, record.fills, vars(record.failures)))
        assert record.fill_columns
    assert outcomes[0] == outcomes[1]
    assert sum(planned) > DAYS / 3
    assert acted.total() < DAYS / 2


def asked_in_blocks(
    body: Shell, policies: list[Policy], acted: Counter[int], planned: list[int], change: float = 0.0
) -> AnswerBlocks:
    """Let a shell be answered in blocks. Counts the answers of `act`, and those known in advance and `planned`, at
    prices that differ by `change`."""

    class Counted(AnswerBlocks):
        def planned(self, answers: Sequence[AnswersAhead], prices: Floats, ring: Ring, later: int) -> None:
            planned.append(len(answers))
            super().planned(answers, prices + change, ring, later)

    def act(ask: Ask) -> Decided:
        acted[ask.agent] += 1
        return answer(policies[ask.agent], ask)

    blocks = Counted(act, policies.__getitem__, [False] * len(policies), lambda: body.state.restrictions.jumped)
    body.answer = blocks
    return blocks


def test_an_engine_with_other_bars_than_the_answers_known_in_advance_ends_the_run() -> None:
    market, policies = world(2, 4, every_bar=True), [POLICIES["equal_weight"]({})]
    body = market.shell(policies)
    body.log = Record(market.universe)
    asked_in_blocks(body, policies, Counter(), [], 0.01).expect(market.items)
    with pytest.raises(RuntimeError, match=r"other bars than act_rows up to 1970-\d\d-\d\d"):
        body.take_all(market.items)


@pytest.mark.long
def test_no_answer_depends_on_a_later_bar() -> None:
    """A market that ends earlier has the same answers up to there, from blocks that end at other samples."""
    reference, cut = world(8, 3), world(8, 3)
    policies = [POLICIES[name](params) for name, params in SIMPLE]
    cut.items = cut.items[: 2 * 100 + 1]
    answers, acted = driven(reference, policies, blocks=True)
    early, _ = driven(cut, policies, blocks=True)
    assert len(early) > 90 * len(policies)
    assert early == answers[: len(early)]
    assert acted.total() < len(answers) / 4
