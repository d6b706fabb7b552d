"""`why` for a shadow: the figures of the same agent trading alone, and a sentence that nothing reached the venue."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import asdict, replace

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Decision
from quantd.adapters.store.shadow_reader import reader_of_shadow
from quantd.daemon.recovery.state_at import Refolder
from quantd.daemon.views.addresses import AddressWrong, asked_lines, find
from quantd.daemon.views.explanation import Explanation, explain
from quantd.daemon.views.explanation_text import why_lines
from quantd.trading.orders import order_id
from tests.support.command_line import CONFIG, answer, quantd, write

AGENT = """[[agents]]
name = "trend"
policy = "momentum"
capital = 1.0
params = { lookback = 60 }
limits = { max_position_weight = 0.2 }
"""
HEAD, _, TAIL = CONFIG.replace("max_position_weight = 0.25", "max_position_weight = 1.0").partition("[[agents]]")
REST = TAIL[TAIL.index("[[schedules]]") :]
LONE = HEAD + AGENT + REST
BESIDE = (
    HEAD
    + '[[agents]]\nname = "even"\npolicy = "equal_weight"\ncapital = 0.5\n'
    + AGENT.replace("limits", "shadow = true\nlimits")
    + REST
)


class Ran:
    """A finished run with its readers: `own` reads the agent `trend`, in the house or in its shadow."""

    def __init__(self, folder: Path, text: str, *, shadow: bool) -> None:
        write(folder, text)
        answer(quantd(folder, "run", "--json"))
        self.folder = folder
        self.reader = Reader.open(folder / "state")
        self.own = reader_of_shadow(self.reader, "trend") if shadow else self.reader

    def judge(self) -> Refolder:
        assert self.reader.records is not None
        return Refolder(self.reader.records, self.reader.run.run, self.folder / "state")

    def why(self, what: str, judge: Any = None) -> Explanation:
        return explain(find(self.reader, what), judge)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Ran]:
    lone = Ran(tmp_path_factory.mktemp("lone"), LONE, shadow=False)
    return lone, Ran(tmp_path_factory.mktemp("beside"), BESIDE, shadow=True)


def traded(reader: Reader) -> list[Decision]:
    return [
        decision
        for decision in reader.decisions()
        if any(np.frombuffer(p.asked, "<i8").any() for p in decision.plan.agents)
    ]


def symbol_of(decision: Decision, reader: Reader) -> str:
    return reader.run.universe.symbols[int(np.argmax(np.frombuffer(decision.plan.agents[0].asked, "<i8") != 0))]


def asked_symbols(decision: Decision, reader: Reader) -> set[str]:
    return {line.symbol for line in asked_lines(reader, decision)}


def figures(e: Explanation, judged: bool) -> dict[str, Any]:
    """What is the same in a run alone: all but the names of run and order, and the limits of the account."""
    names = {"address", "order", "run", "shadow", "simulated", "limits", "largest", "shortfall", "whole"}
    fields = {key: value for key, value in asdict(e).items() if key not in names}
    if not judged:
        fields["agents"] = [replace(agent, limits=[]) for agent in e.agents]
    return fields


@pytest.mark.long
def test_why_of_a_shadow_has_the_figures_of_the_agent_alone(runs: tuple[Ran, Ran]) -> None:
    lone, beside = runs
    pairs = list(zip(traded(lone.own), traded(beside.own), strict=True))
    cut = next(k for k, (d, _) in enumerate(pairs) if d.plan.agents[0].asked != d.plan.agents[0].allowed)
    for judged, chosen in ((False, pairs[:3] + pairs[-3:]), (True, [pairs[cut], pairs[-1]])):
        for one, other in chosen:
            symbol = symbol_of(one, lone.own)
            alone = lone.why(one.of(symbol), lone.judge() if judged else None)
            shadow = beside.why(other.of(symbol), beside.judge() if judged else None)
            assert shadow.recomputed == judged, shadow.unavailable
            assert figures(shadow, judged) == figures(alone, judged)
            assert (alone.shadow, alone.simulated, shadow.shadow) == ("", "", "trend")
            assert "none of them was sent to the venue" in "\n".join(why_lines(shadow))
    (part,) = beside.why(pairs[cut][1].of(symbol_of(pairs[cut][1], beside.own)), beside.judge()).agents
    (row,) = [row for row in part.limits if row.limit == "max_position_weight"]
    assert row.bound == 0.2


@pytest.mark.long
def test_a_shadow_is_named_by_its_name_and_behind_an_at_sign(runs: tuple[Ran, Ran]) -> None:
    lone, beside = runs
    last = traded(beside.own)[-1]
    symbol = symbol_of(last, beside.own)
    newest = beside.why(f"{symbol}@trend")
    assert newest.address.endswith(f":{symbol}@trend")
    assert beside.why(newest.address) == newest
    order = beside.own.orders()[-1]
    assert beside.why(order.id).order == order.id
    # the house has another order, or none, of the same sample and symbol
    assert not {order.id for order in beside.reader.orders()} & {order.id for order in beside.own.orders()}
    assert order.id == order_id(beside.reader.run.run, *place(beside.own, order.id)) + "@trend"
    # the newest decision has one symbol, as what has been reached is not asked for again; an earlier one has several
    assert beside.why("trend").address == last.of(symbol)
    assert len(asked_symbols(last, beside.own)) == 1
    several = next(d for d in reversed(traded(beside.own)) if len(asked_symbols(d, beside.own)) > 1)
    with pytest.raises(AddressWrong, match=rf"write one of d{several.seq}:\w+@trend"):
        beside.why(f"d{several.seq}@trend")
    for what, said in (("SPY@trned", "its shadows are trend"), ("d1@trend", "no decision d1@trend")):
        with pytest.raises(Exception, match=said):
            beside.why(what)
    with pytest.raises(Exception, match="has no shadow"):
        lone.why("SPY@trned")


def place(reader: Reader, id: str) -> tuple[int, str, int]:
    decision = reader.decision(id)
    return decision.plan.sample, reader.order(id).symbol, decision.plan.n


def test_the_command_line_lists_and_explains_a_shadow(runs: tuple[Ran, Ran]) -> None:
    _, beside = runs
    rows = answer(quantd(beside.folder, "orders", "--shadow", "trend", "--refused", "--json"))["refused"]
    assert {row["who"] for row in rows} == {"trend"}
    assert rows[-1]["address"].endswith("@trend")
    text = quantd(beside.folder, "why", rows[-1]["address"]).stdout
    assert "trend is a shadow: its orders and fills are simulated, and none of them was sent to the venue" in text
    assert "limit (agent trend)" in text
    listed = quantd(beside.folder, "why", "--shadow", "trend", "--last", "99").stdout
    assert f"quantd why {rows[-1]['address']}" in listed
    wrong = quantd(beside.folder, "orders", "--shadow", "even")
    assert (wrong.returncode != 0, "its shadows are trend" in wrong.stderr) == (True, True)
