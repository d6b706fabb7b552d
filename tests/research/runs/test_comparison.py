"""Equal weight stands beside a run only when everything that could flatter one of them is the same."""

from pathlib import Path

import msgspec
import pytest

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.recovery.start import begin
from quantd.research.runs.comparison import (
    Incomparable,
    Settings,
    equal_weight_of,
    require_same,
    samples_a_year,
    settings_of,
)
from quantd.research.runs.run_record import Record
from quantd.risk.limits.catalogue import override
from quantd.trading.execution import Costs
from tests.support.command_line import CONFIG, write

OTHERS = {
    "bars": "other",
    "symbols": ("SPY",),
    "dates": "other",
    "costs": Costs(commission_bp=0.9),
    "borrow_bp_annual": 1.0,
    "cash_micro": 1,
    "capital_micro": 1,
    "house": None,
    "min_trade": 0.25,
    "begins": "2000-01-03",
    "follow_ups": 9,
    "rearm_samples": 9,
    "flatten_on": ("drawdown",),
    "jobs": ("flatten",),
    "deposits": "other",
    "periods": 365.0,
    "formula": "another",
}


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    return assemble(read(write(tmp_path_factory.mktemp("market"))))


def followed(assembly: Assembly) -> Settings:
    record = Record(assembly.universe)
    shell = assembly.shell(record)
    begin(shell, assembly, assembly.config, "x", fresh=True)
    for item in assembly.items():
        shell.take(item)
    return settings_of(assembly, record)


def test_equal_weight_is_run_under_the_settings_of_the_run(assembly: Assembly) -> None:
    beside = equal_weight_of(assembly)
    one, other = followed(assembly), followed(beside)
    require_same(one, other)
    assert one == other
    assert [a.name for a in beside.rules.agents] == ["equal_weight"]
    assert beside.rules.agents[0].capital_micro == 90_000_000_000  # 0.5 and 0.4 of 100,000
    assert not beside.rules.agents[0].scheduled


def test_every_setting_has_another_value_here() -> None:
    assert set(OTHERS) == set(Settings.__struct_fields__)


@pytest.mark.requirement("R-245", "F-18", "F-19")
@pytest.mark.parametrize("name", OTHERS)
def test_one_setting_that_differs_refuses_the_comparison_by_name(assembly: Assembly, name: str) -> None:
    one = settings_of(assembly, Record(assembly.universe))
    value = override(one.house, max_position_weight=0.26) if name == "house" else OTHERS[name]
    with pytest.raises(Incomparable, match=rf"differ in {name};"):
        require_same(one, msgspec.structs.replace(one, **{name: value}))


def test_a_year_has_the_samples_of_its_calendar(tmp_path: Path, assembly: Assembly) -> None:
    assert samples_a_year(assembly) == 252
    text = CONFIG.replace('symbols = ["SPY", "QQQ", "IWM"]', 'symbols = ["BTC-USD"]\ncalendar = "24/7"')
    text = text.replace("us_daily", "crypto_daily")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("actions"))
    text = text.replace('at = "close-15m"', 'at = "close"')
    assert samples_a_year(assemble(read(write(tmp_path, text)))) == 365


def test_equal_weight_has_the_capital_of_the_book_for_manual_orders_too(tmp_path: Path) -> None:
    assembly = assemble(read(write(tmp_path, CONFIG + "[manual]\ncapital = 0.1\n")))
    beside = equal_weight_of(assembly)
    assert followed(beside) == followed(assembly)
    assert [a.capital_micro for a in beside.rules.agents] == [100_000_000_000]
    assert len(beside.config.seats) == len(beside.policies)
