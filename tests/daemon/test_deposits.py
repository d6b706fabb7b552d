"""Money that a schedule pays into a simulated account: which books have it, when, and that it is no return."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.config import ConfigError
from quantd.daemon.runtime.journal import Journal, fold
from quantd.daemon.runtime.timeline import SCHEDULE, instants
from quantd.research.runs.comparison import equal_weight_of, recorded, require_same, settings_of
from quantd.research.runs.run_record import Record
from quantd.research.verdict import Measured, headline, judge
from quantd.trading.effects import Filled
from quantd.trading.events import Flow, Tick
from tests.support.command_line import CONFIG, answer, quantd, write
from tests.support.killed_runs import kill_after

SAVINGS = """
[[schedules]]
name = "savings"
do = "deposit"
amount = "500.00"
cron = "0 9 * * mon"
"""
MONDAYS = 12  # from 2019-01-07 to 2019-03-25
SAME = ("equity", "cash", "digest", "books")


def deposited(folder: Path, text: str = SAVINGS, config: str = CONFIG) -> Assembly:
    return assemble(read(write(folder, config + text)))


def driven(assembly: Assembly) -> Record:
    def drive(parts: Assembly, log: object) -> object:
        shell = parts.shell(log)  # type: ignore[arg-type]
        shell.take_all(list(parts.items()))
        return shell

    return recorded(assembly, drive)  # type: ignore[arg-type]


def flows(assembly: Assembly) -> list[Flow]:
    return [item for item in assembly.items() if isinstance(item, Flow)]


def test_each_agent_has_its_share_of_capital_and_the_rest_is_unallocated(tmp_path: Path) -> None:
    paid = flows(deposited(tmp_path))
    assert len(paid) == 3 * MONDAYS
    assert [(flow.agent, flow.amount_micro) for flow in paid[:3]] == [
        ("even", 250_000_000), ("trend", 200_000_000), ("", 50_000_000),
    ]  # fmt: skip
    assert {(flow.who, flow.reason) for flow in paid} == {(SCHEDULE, "savings")}


def test_named_agents_share_the_whole_amount_to_the_micro(tmp_path: Path) -> None:
    paid = flows(deposited(tmp_path, SAVINGS.replace("500.00", "0.000010") + 'agents = ["trend", "even"]\n'))
    # 0.5 and 0.4 of capital: 5.55 and 4.44 of ten
    assert [(flow.agent, flow.amount_micro) for flow in paid[:2]] == [("even", 6), ("trend", 4)]
    assert len(paid) == 2 * MONDAYS


def test_a_deposit_precedes_the_sample_and_the_decision_of_its_instant(tmp_path: Path) -> None:
    at_close = SAVINGS.replace('cron = "0 9 * * mon"', 'at = "close"')
    items = list(deposited(tmp_path, at_close).items())
    for k, item in enumerate(items):
        if isinstance(item, Flow):
            after = next(later for later in items[k:] if not isinstance(later, Flow))
            assert isinstance(after, Tick)
            assert after.ts == item.ts
            assert after.sample


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (SAVINGS.replace('amount = "500.00"\n', ""), 'has no amount; write amount = "500.00"'),
        (SAVINGS.replace("500.00", "-500.00"), "is a withdrawal; schedules only pay in"),
        (SAVINGS.replace("500.00", "0"), "is not above 0"),
        (SAVINGS.replace("deposit", "backup"), 'amount applies only to do = "deposit"'),
        (SAVINGS + 'within = "3d"\n', "a simulated account has the money at once"),
        (SAVINGS + 'agents = ["evn"]\n', "even"),
        (
            '[[agents]]\nname = "rival"\npolicy = "momentum"\ncapital = 0.2\nshadow = true\n'
            + SAVINGS + 'agents = ["rival"]\n',
            "is a shadow, which has no money of the account",
        ),
    ],
)  # fmt: skip
def test_a_deposit_that_cannot_be_made_is_a_mistake_with_its_remedy(tmp_path: Path, text: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as raised:
        deposited(tmp_path, text)
    assert mistake in str(raised.value)


def flat(folder: Path, text: str) -> Assembly:
    """The bundled market with every price at 100.00 and no dividends."""
    bars = pl.read_parquet(CONFIG.split('path = "')[1].split('"')[0])
    prices = [pl.lit(100.0).alias(name).cast(bars.schema[name]) for name in ("open", "high", "low", "close")]
    bars.with_columns(prices).write_parquet(folder / "flat.parquet")
    lines = [line for line in CONFIG.splitlines() if not line.startswith(("actions", "commission_bp"))]
    config = "\n".join(f'path = "{folder}/flat.parquet"' if line.startswith("path") else line for line in lines)
    return deposited(folder, text, config.replace("spread_bp", "commission_bp = 0\nspread_bp", 1))


def test_a_deposit_is_no_return(tmp_path: Path) -> None:
    assembly = flat(tmp_path, SAVINGS.replace("500.00", "12345.67"))
    record = driven(assembly)
    assert record.equity_micro[-1] == 100_000_000_000 + MONDAYS * 12_345_670_000
    run = Measured.of(assembly, record)
    assert run.performance.total_return == run.performance.max_drawdown == 0.0
    assert not run.returns.any()
    assert record.gain_micro(0, -1) == 0
    # the book of `even` has bought with it
    bought = sum(sum(fill.lots) for fill in record.fills)
    assert bought > 700


def test_the_money_is_invested_at_the_next_decision(tmp_path: Path) -> None:
    even = "".join(CONFIG.split('[[agents]]\nname = "trend"')[0]) + CONFIG[CONFIG.index("[bus]") :]
    once = SAVINGS.replace("500.00", "50000.00").replace("0 9 * * mon", "0 9 13 2 *")
    every_sample = driven(deposited(tmp_path, once, even))
    monthly = even.replace("capital = 0.5", 'capital = 0.5\nrebalance = { when = "calendar", every = "month" }')
    calendar = driven(deposited(tmp_path, once, monthly))

    def days_with_purchases(record: Record) -> list[str]:
        large = [fill for fill in record.fills if isinstance(fill, Filled) and sum(fill.lots) > 30]
        return [str(np.datetime64(fill.ts, "ns"))[:10] for fill in large]

    # 2019-02-13 at 09:00: decided at its close, filled at the next open
    assert days_with_purchases(every_sample)[-1] == "2019-02-14"
    assert days_with_purchases(calendar)[-1] == "2019-03-04"  # decided on 2019-03-01


def test_equal_weight_has_the_same_deposits(tmp_path: Path) -> None:
    for agents in ("", 'agents = ["trend"]\n'):
        assembly = deposited(tmp_path, SAVINGS + agents)
        beside = equal_weight_of(assembly)
        run, other = driven(assembly), driven(beside)
        require_same(settings_of(assembly, run), settings_of(beside, other))
        assert run.deposits_micro()[-1] == other.deposits_micro()[-1] == MONDAYS * 500_000_000
        into_agents = sum(flow.amount_micro for flow in flows(assembly) if flow.agent)
        assert sum(flow.amount_micro for flow in flows(beside) if flow.agent) == into_agents


def test_a_policy_alone_has_the_deposits_of_the_agents_that_it_replaces(tmp_path: Path) -> None:
    path = write(tmp_path, CONFIG + SAVINGS + 'agents = ["trend"]\n')
    paid = flows(assemble(read(path, ["agents=momentum"])))
    assert {(flow.agent, flow.amount_micro) for flow in paid} == {("momentum", 500_000_000)}


def test_the_first_line_names_what_was_paid_in(tmp_path: Path) -> None:
    assembly = deposited(tmp_path)
    verdict = judge(assembly, driven(assembly), tmp_path, driven(equal_weight_of(assembly)))
    assert "; 6,000.00 paid in by schedules, which is no return." in headline(verdict)
    assert verdict.performance is not None
    assert verdict.equal_weight is not None
    assert verdict.performance.paid_in == verdict.equal_weight.paid_in == 6_000.0


def test_a_replay_makes_scheduled_deposits_again_and_takes_others_from_the_record(tmp_path: Path) -> None:
    assembly = deposited(tmp_path)
    shell = assembly.shell(journal := Journal())
    for number, instant in enumerate(instants(assembly.items())):
        for item in instant:
            shell.take(item)
        if number % 50 == 49:
            shell.run(Flow(shell.state.now, 7_000_000, "api:owner", reason="found"))
    entries, _ = journal.taken()
    again = assembly.shell(Journal(entries))
    fold(again, again.log, instants(assembly.items()))  # type: ignore[arg-type]
    assert again.state.ledger.house.flows_micro == shell.state.ledger.house.flows_micro
    assert again.digest.hexdigest() == shell.digest.hexdigest()


@pytest.mark.long
def test_a_run_that_is_killed_pays_in_once_and_ends_as_the_backtest(tmp_path: Path) -> None:
    write(tmp_path, CONFIG + SAVINGS.replace("0 9 * * mon", "0 9 * * *"))
    expected = answer(quantd(tmp_path, "backtest", "--no-compare", "--json"))
    for _ in range(3):
        kill_after(tmp_path, 70)
    ended = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    assert {key: ended[key] for key in SAME} == {key: expected[key] for key in SAME}
    assert answer(quantd(tmp_path, "replay", "--json"))["same"]
