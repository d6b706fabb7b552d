"""What `why` says is what the gate did: on runs of the default configuration, measured again by an evaluator of its
own."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import quantd
from quantd.adapters.store.handle import read_only
from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.config import load
from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.daemon.recovery.replay import save_config, slices_of
from quantd.daemon.recovery.start import begin
from quantd.daemon.recovery.state_at import Refolder
from quantd.daemon.runtime.step_log import Unanswered
from quantd.daemon.runtime.timeline import instants
from quantd.daemon.runtime.version import code_version
from quantd.daemon.views.addresses import AddressWrong, asked_lines, find, refused_lines
from quantd.daemon.views.explanation import AgentPart, Explanation, explain
from quantd.daemon.views.explanation_text import agent_line, why_lines
from quantd.daemon.views.limit_rows import LimitRow, largest_of, rows_of
from quantd.daemon.views.shortfall import of_order, shortfalls, shortfalls_of
from quantd.research.runs.backtest import BacktestJournal
from quantd.risk.pretrade.gate import gate
from quantd.risk.pretrade.headroom import sent, settled_cash
from quantd.risk.switch import REDUCE
from quantd.risk.switch import RUN as RUN_SWITCH
from quantd.trading.effects import Effect, Planned
from quantd.trading.events import Event
from tests.support.command_line import ROOT

RUN = "7f3k2m1a"
SETS = ("feed.end=2019-06-28", "feed.pace=fast", 'risk.max_order_notional="9000.00"')


class Watching(Unanswered):
    """A log that looks at each step's baskets while the state is what they were judged on."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.orders = self.cuts = self.sends = 0
        self.wrong: list[str] = []
        self.switches: set[int] = set()

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        assert self.state is not None
        judged = self.state.judged or []
        plans = [e for e in effects if isinstance(e, Planned)]
        assert len(plans) == sum(one.book == HOUSE for one in judged)
        for one in judged:
            for column in np.flatnonzero(one.asked).tolist():
                self._look(one, column)
        if judged and len(plans) == 1:
            self._sent(judged[-1])
            self.switches.add(judged[-1].switch)
            assert judged[-1].switch == self.state.switch.state
        judged.clear()

    def _look(self, one: Judged, column: int) -> None:
        rows, lots = rows_of(one, column), one.verdict.lots[column]
        who = f"{one.book} {column} {lots:+.0f} of {one.asked[column]:+.0f}"
        adding = one.asked[column] * one.account.lots[column] >= 0
        self.orders += 1
        for row in rows:
            if row.after is None or row.bound is None or row.headroom is None:
                continue
            implied_bound = row.after - row.headroom if row.floor else row.after + row.headroom
            if abs(implied_bound - row.bound) > 1e-9 * max(1.0, abs(row.bound)):
                self.wrong.append(f"{who}: {row.words}: {row.after} and {row.headroom} do not make {row.bound}")
            kept = row.after >= row.bound - 1e-6 if row.floor else row.after <= row.bound + 1e-9
            breached = row.before is not None and not row.floor and row.before > row.bound - 1e-9
            if lots and adding and not (kept or breached):
                self.wrong.append(f"{who}: {row.words}: {row.after} is beyond {row.bound}")
        if lots != one.asked[column]:
            self.cuts += 1
            if sum(row.cut for row in rows) != 1:
                self.wrong.append(f"{who}: {[row.limit for row in rows if row.cut]} cut it")
        elif any(row.cut for row in rows):
            self.wrong.append(f"{who}: passed whole, and a limit cut it")
        self.wrong += [f"{who}: {text}" for text in unlike(one, column, rows)]
        self.wrong += [f"{who}: {text}" for text in not_the_most(one, column)]
        self.wrong += [f"{who}: {text}" for text in contradictions(one, column, rows)]

    def _sent(self, house: Judged) -> None:
        """What is open after the step is what headroom was measured on."""
        assert self.state is not None
        then, now = sent(house.ctx, house.account, house.verdict.lots, house.limits), account_of(self.state, HOUSE)
        self.sends += 1
        for name in ("up", "down", "up_cash", "open_loss"):
            ours, theirs = getattr(then, name), getattr(now, name)
            if not np.allclose(0.0 if ours is None else ours, 0.0 if theirs is None else theirs, rtol=1e-9, atol=1e-6):
                self.wrong.append(f"{name} is {theirs} after the step, not {ours}")
        if then.open_orders != now.open_orders:
            self.wrong.append(f"{now.open_orders} orders are open, not {then.open_orders}")


def unlike(one: Judged, column: int, rows: Sequence[LimitRow]) -> list[str]:
    """Where the table differs from what numpy makes of lots, prices and returns alone."""
    account, limits, px = one.account, one.limits, one.ctx.px
    lots = account.lots + one.verdict.lots
    if account.up is not None and account.down is not None:
        lots = lots + account.up - account.down
    equity = account.equity - limits.fee_bp * 1e-4 * float(np.abs(one.verdict.lots) @ px)
    weights = lots * px / equity
    judged = {"max_position_weight": abs(weights[column]), "max_gross_exposure": np.abs(weights).sum()}
    if limits.var is not None:
        losses = -(one.ctx.window(limits.var.lookback, limits.min_history).returns @ weights)
        judged["var"] = np.quantile(losses, limits.var.confidence, method="higher")
        if limits.cvar is not None:
            judged["cvar"] = losses[losses >= judged["var"]].mean()
    if limits.max_volatility is not None:
        returns = one.ctx.window(limits.volatility_lookback, limits.min_history).returns
        judged["max_volatility"] = np.sqrt(252.0 * (weights @ np.cov(returns.T) @ weights))
    table = {row.limit: row.after for row in rows}
    return [
        f"{key} is {value}, the table has {table[key]}"
        for key, value in judged.items()
        if key in table and not np.isclose(table[key] or 0.0, value, rtol=1e-7, atol=1e-10)
    ]


def not_the_most(one: Judged, column: int) -> list[str]:
    """The size that would have passed alone does, and one lot more does not."""
    most = largest_of(one, column, one.asked[column])
    if most.qty is None:
        return ["no limit stops it"]
    asked = np.zeros_like(one.asked)
    for more, passes in ((0, True), (1, False)):
        asked[column] = (1 if most.side == "buy" else -1) * (int(most.qty) + more)
        got = gate(one.ctx, one.account, asked, one.limits, one.switch).lots
        if bool((got == asked).all()) != passes:
            return [f"{asked[column]:+.0f} {'is cut' if passes else 'passes'}, most is {most.qty}"]
    return []


def contradictions(one: Judged, column: int, rows: Sequence[LimitRow]) -> list[str]:
    """Where headroom in money would pay for more lots than the table or the largest order admits."""
    most, lot = largest_of(one, column, one.asked[column]), float(one.ctx.px[column])
    wrong = [
        f"{row.words}: headroom {row.headroom} is more than {row.more} lots of {lot} and one"
        for row in rows
        if row.limit.startswith("cash") and row.more is not None and row.headroom is not None
        and row.headroom > 1.2 * (float(row.more) + 1.0) * lot
    ]  # fmt: skip
    if most.reason == "cash":
        asked = np.zeros_like(one.asked)
        asked[column] = (1 if most.side == "buy" else -1) * (int(most.qty or 0) + 1)
        cash = settled_cash(one.ctx, one.account, one.limits, asked)
        if ("after all fills would be" in most.text) != (one.limits.max_cash_debit > 0.0 and cash.value < cash.bound):
            wrong.append(f"{most.text}: cash after all fills is {cash.value}, its floor {cash.bound}")
    return wrong if most.reason and most.text else [*wrong, "the largest order has no reason"]


def assembled(sets: Sequence[str] = SETS) -> Assembly:
    return assemble(load(ROOT / "config.toml", known_names(), sets=[*sets]))


def watched(assembly: Assembly) -> Watching:
    """A run with every order of it looked at."""
    watching = Watching()
    shell = assembly.shell(watching)
    watching.state = shell.state
    shell.state.judged = []
    begin(shell, assembly, assembly.config, RUN, fresh=True)
    for instant in instants(assembly.items()):
        for item in instant:
            shell.take(item)
    return watching


@pytest.mark.long
def test_every_order_of_the_default_run_has_its_limits_their_headroom_and_the_most_that_would_have_passed() -> None:
    # the crash of March 2020: limits cut, one is breached by the market, and the switch trips
    watching = watched(
        assembled(("feed.start=2020-01-02", "feed.end=2020-06-30", "feed.pace=fast", "risk.max_daily_loss=0.03"))
    )
    assert watching.wrong[:5] == []
    assert watching.orders > 300
    assert watching.cuts > 20
    assert watching.sends > 50
    assert watching.switches == {RUN_SWITCH, REDUCE}


@pytest.mark.long
@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ("risk_parity", {}),
        ("momentum", {}),
        # longer, because it changes its weights seldom, and what it has reached is not asked again
        ("min_variance", {"risk.cash_reserve": 0.05, "feed.end": "2015-06-30"}),
    ],
)
def test_headroom_with_a_permitted_debit_never_contradicts_the_largest_order(
    policy: str, settings: dict[str, object], tmp_path: Path
) -> None:
    """With the profile `research` cash has two bounds, in flight and after all fills; the nearer one stops an order."""
    window = {"feed.end": "2013-06-28", "quantd.state": str(tmp_path / "state")}
    assembly = quantd.backtest(policy, quantd.example_bars(), {**window, **settings}, compare=False)._assembly
    assert assembly.rules.house.max_cash_debit > 0.0
    watching = watched(assembly)
    assert watching.wrong[:5] == []
    assert watching.orders > 100


@pytest.mark.parametrize(
    ("held", "kept_back", "reason", "said"),
    [
        ("10", "3", "", "; buy 3 waits for fills below worst prices, or for a sale"),
        ("-10", "-3", "", "; sell 3 waits for fills below worst prices, or for a sale"),
        ("10", "-3", "", "; sell 3 waits until the position of the other sign is closed"),
        ("-10", "3", "", "; buy 3 waits until the position of the other sign is closed"),
        ("10", "-3", "price_age", "; sell 3 waits for a price"),
        ("10", "3", "position_weight", "; buy 3 more of its target is above its limit"),
        ("10", "0", "", ""),
    ],
)
def test_what_a_plan_keeps_back_is_said_with_its_cause(held: str, kept_back: str, reason: str, said: str) -> None:
    part = AgentPart("a", 0.4, 0.1, held, 0.95, "2", "2", reason, "", [], None, kept=kept_back)
    line = agent_line(part, closed=False)
    assert line == (
        "agent a: target 40.0% of its equity, "
        "38.0% so that the book is within cash and gross exposure after all fills; "
        f"holds {held} (10.0%); requests buy 2{said}"
    )


def test_a_reason_beside_a_cut_is_not_that_of_what_is_kept_back() -> None:
    part = AgentPart("a", 0.4, 0.1, "10", 1.0, "2", "1", "position_weight", "too much", [], None, kept="3")
    assert agent_line(part, closed=False).endswith(
        "requests buy 2; its own limits allow buy 1: too much (code position_weight); "
        "buy 3 waits for fills below worst prices, or for a sale"
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a journalled run of the default configuration and a snapshot in the middle of it."""
    folder = tmp_path_factory.mktemp("kept")
    assembly = assembled()
    journal = BacktestJournal(folder, assembly, RUN)
    save_config(folder, assembly.config, ROOT / "config.toml", SETS, {})
    shell = assembly.shell(journal.journal)
    begin(shell, assembly, assembly.config, RUN, fresh=True)
    market = list(instants(assembly.items()))
    for number, instant in enumerate(market):
        for item in instant:
            shell.take(item)
        if number == len(market) * 3 // 4:
            journal.commit(shell)
    journal.close(shell)
    return folder


@pytest.fixture(scope="module")
def reader(kept: Path) -> Reader:
    return Reader.open(kept)


def told(kept: Path, reader: Reader, what: str, at: str | None = None) -> Explanation:
    return explain(find(reader, what, at), Refolder(read_only(kept), RUN, kept))


@pytest.mark.long
def test_the_state_of_a_decision_is_had_again_before_and_after_a_snapshot(kept: Path, reader: Reader) -> None:
    # the newest one follows the last step
    snapshot = read_only(kept).latest_snapshot(RUN, before=read_only(kept).last_seq(RUN))
    assert snapshot is not None
    decisions = reader.decisions()
    early = next(d for d in decisions if d.plan.n)
    late = next(
        d for d in decisions if d.plan.n and d.seq > snapshot[0] + 10 and any(p.agent == 0 for p in d.plan.agents)
    )
    records = read_only(kept)
    assert records.latest_snapshot(RUN, code_version(), early.seq) is None
    assert records.latest_snapshot(RUN, code_version(), late.seq) == snapshot
    for decision in (early, late):
        judged, learned, _ = Refolder(records, RUN, kept)(decision)
        plan = decision.plan
        assert [one.book for one in judged] == [*(part.agent for part in plan.agents), HOUSE]
        # a snapshot has the digests of the artifacts that decide after it
        asked = any(part.agent == 0 for part in plan.agents)
        assert [(part.name, part.missing) for part in learned.get(0, [])] == [("scorer", "")] * asked
        house = judged[-1]
        assert house.verdict.lots.astype(np.int64).tobytes() == plan.allowed
        assert house.verdict.recorded == plan.values
        assert set(plan.values) < set(house.verdict.values)
        for part, one in zip(plan.agents, judged, strict=False):
            assert one.asked.astype(np.int64).tobytes() == part.asked
            assert one.verdict.recorded == part.values


@pytest.mark.long
def test_an_order_is_explained_with_its_limits_its_size_and_its_fill(kept: Path, reader: Reader) -> None:
    order = next(o for o in reader.orders() if o.state == "filled" and not int(o.reason))
    e = told(kept, reader, order.id)
    assert e.recomputed
    assert (e.order, e.symbol, e.qty) == (order.id, order.symbol, order.qty)
    assert not any(row.cut for row in e.limits)
    assert {row.limit for row in e.limits} >= {
        "max_position_weight",
        "max_gross_exposure",
        "var",
        "correlation",
        "cash",
    }
    weight = next(row for row in e.limits if row.limit == "max_position_weight")
    assert weight.words == f"position weight {e.symbol}"
    assert weight.after == pytest.approx(e.weight_after, rel=1e-3)
    assert e.largest is not None
    assert int(e.largest.qty or 0) >= int(e.qty)
    text = "\n".join(why_lines(e))
    assert "VaR 95 % 1 day, historical" in text
    assert "largest order that would pass alone" in text
    assert "filled" in text
    assert "cut" not in text.replace("this limit cut the", "")
    # the same from its address
    assert told(kept, reader, e.address) == e


@pytest.mark.long
def test_the_shortfall_of_an_order_is_that_of_the_whole_journal_and_reads_no_later_orders(
    kept: Path, reader: Reader
) -> None:
    assert reader.records is not None
    slices, alone = slices_of(reader.records, RUN, kept), 0
    for order in reader.orders()[::25]:
        plan = reader.decision(order.id).plan
        key = plan.sample, plan.n, reader.run.universe.index[order.symbol]
        order_shortfalls, all_shortfalls = shortfalls_of(reader, plan, slices), shortfalls(reader, plan.ts, slices)
        assert of_order(order_shortfalls, key, order.id) == of_order(all_shortfalls, key, order.id) is not None
        samples = {sample for sample, _, _ in order_shortfalls.orders}
        assert plan.sample in samples
        # later plans are read until the open after the last follow-up of the decision, whose orders wait for it
        ended = max(d.plan.ts for d in reader.decisions() if d.plan.sample == plan.sample)
        opened = min((fill.ts for fill in reader.fills() if fill.ts > ended), default=ended)
        assert max(samples) < opened
        alone += max(samples) == plan.sample
        assert order_shortfalls.note == all_shortfalls.note
    assert alone > 1


@pytest.mark.long
def test_every_refusal_can_be_asked_about_by_its_address(kept: Path, reader: Reader) -> None:
    lines = refused_lines(reader, last=10_000)
    full_refusals = [line for line in lines if line.allowed == "0"]
    assert len(lines) > len(full_refusals) > 0
    of = {}
    for line in full_refusals:
        of.setdefault((line.who, line.reason), line)
    assert any(who != "house" for who, _ in of)
    for line in of.values():
        e = told(kept, reader, line.address)
        assert (e.symbol, e.address) == (line.symbol, line.address)
        if line.who == "house":
            assert (e.state, e.order, e.allowed) == ("refused", "", "0")
            rows, most = e.limits, e.largest
        else:
            part = next(a for a in e.agents if a.agent == line.who)
            assert (part.allowed, part.reason) == ("0", line.reason)
            rows, most = part.limits, part.largest
        assert sum(row.cut for row in rows) == 1
        assert most is not None
        assert "this limit cut" in "\n".join(why_lines(e))


@pytest.mark.requirement("R-149")
def test_every_order_has_a_decision_with_its_verdict(reader: Reader) -> None:
    """R-149: what the gate said of an order is recorded with its reasons."""
    decisions = {(d.plan.sample, d.plan.n): d for d in reader.decisions()}
    asked = {(d.plan.ts, x.symbol) for d in decisions.values() for x in asked_lines(reader, d) if x.who == "house"}
    orders = reader.orders()
    assert len(orders) > 50
    assert {(o.ts, o.symbol) for o in orders} <= asked
    for now in orders[::7]:
        decision = reader.decision(now.id)
        assert decisions[decision.plan.sample, decision.plan.n] == decision
        line = next(x for x in asked_lines(reader, decision) if x.who == "house" and x.symbol == now.symbol)
        assert (line.side, line.allowed) == (now.side, now.qty)
        assert bool(line.reason) == (line.asked != line.allowed)
    assert any(decision.plan.values for decision in decisions.values())


def test_a_symbol_at_an_agent_is_the_newest_decision_of_this_agent(reader: Reader) -> None:
    names = reader.run.agents
    assert len(names) > 1
    for name in names:
        decision = find(reader, f"SPY@{name}").decision
        assert name in {decision.agents[part.agent] for part in decision.plan.agents}


@pytest.mark.long
def test_a_symbol_means_the_newest_decision_about_it_up_to_a_day(kept: Path, reader: Reader) -> None:
    newest = told(kept, reader, "QQQ")
    assert newest.symbol == "QQQ"
    earlier = find(reader, "QQQ", "2019-04-30").decision
    assert earlier.plan.ts < newest.decided
    # a day is meant to its end
    assert find(reader, "QQQ", newest.time[:10]).decision.plan.ts == newest.decided
    instant = find(reader, "QQQ", "2019-04-30T20:00:00Z").decision
    assert instant.plan.ts <= earlier.plan.ts
    with pytest.raises(AddressWrong, match=r"no decision of run .* up to 2018-01-01 trades QQQ"):
        find(reader, "QQQ", "2018-01-01")
    with pytest.raises(AddressWrong, match="write 2020-02-28"):
        find(reader, "QQQ", "soon")


def test_what_is_unknown_is_said_with_what_is_nearest(reader: Reader) -> None:
    order = reader.orders()[0].id
    first, last = reader.decisions()[0], reader.decisions()[-1]
    lone = next(d for d in reader.decisions() if len({x.symbol for x in asked_lines(reader, d)}) > 1)
    wrong = {
        order[:-3] + "zz" + order[-1]: order,
        "d1": first.address,
        "d99999999": last.address,
        f"{first.address}.7": first.address,
        f"{first.address}:QQX": "QQQ",
        "QQX": "QQQ",
        "apple": "AAPL",
        "???": "its symbols are SPY",
        lone.address if len({x.symbol for x in asked_lines(reader, lone) if x.asked != x.allowed}) != 1 else "d1": ":",
    }
    for what, near in wrong.items():
        with pytest.raises(Exception, match=r"\S") as said:
            find(reader, what)
        assert type(said.value).__name__ in ("AddressWrong", "StoreMismatch")
        assert near in str(said.value)
        assert "\n" not in str(said.value)
    with pytest.raises(AddressWrong, match="--at needs a symbol"):
        find(reader, order, "2019-04-30")


@pytest.mark.long
def test_without_the_market_what_is_recorded_is_shown_and_the_rest_is_said(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "state")
    saved = next((tmp_path / "state" / "configs").iterdir())
    saved.write_text(saved.read_text().replace("us_daily.parquet", "gone.parquet"))
    reader = Reader.open(tmp_path / "state")
    order = reader.orders()[-1].id
    subject = find(reader, order)
    e = explain(subject, Refolder(read_only(tmp_path / "state"), RUN, tmp_path / "state"))
    assert not e.recomputed
    assert "gone.parquet" in e.unavailable
    plan = subject.decision.plan
    assert {row.limit: row.after for row in e.limits} == {key: value for key, (value, _) in plan.values.items()}
    assert e.largest is None
    assert all(row.more is None for row in e.limits)
    assert "gone.parquet" in "\n".join(why_lines(e))
    # what an agent had is folded from the fills, as the gates saw it
    market_explanation = told(kept, Reader.open(kept), order)
    assert [a.held for a in e.agents] == [a.held for a in market_explanation.agents]
    assert [a.had for a in e.agents] == pytest.approx([a.had for a in market_explanation.agents], rel=1e-9)


@pytest.mark.long
def test_another_market_than_the_recorded_one_is_not_asked(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "state")
    saved = next((tmp_path / "state" / "configs").iterdir())
    saved.write_text(saved.read_text().replace("spread_bp = 2.0", "spread_bp = 4.0"))
    reader = Reader.open(tmp_path / "state")
    subject = find(reader, reader.orders()[-1].id)
    e = explain(subject, Refolder(read_only(tmp_path / "state"), RUN, tmp_path / "state"))
    assert not e.recomputed
    assert "the replay differs from the journal" in e.unavailable
