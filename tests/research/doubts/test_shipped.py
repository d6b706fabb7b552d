"""The shipped configurations have one doubt each at most, so that doubts are read; this file names it."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import quantd

DOUBTS: Final = {
    "config.toml": "",
    "examples/allocators-seed4.toml": "late_prices",
    "examples/allocators-us.toml": "",
    "examples/allocators-us20.toml": "survivors",
    "examples/external.toml": "cash_rate",
    "examples/five-agents.toml": "survivors",
    "examples/portfolios.toml": "size",
    "examples/variants/crypto.toml": "size",
    "examples/variants/esg.toml": "size",
    "examples/variants/risk.toml": "size",
    "examples/variants/schedules.toml": "size",
    "examples/agents/plain.toml": "size",
    "examples/strategies/dual_momentum/config.toml": "",
    "examples/strategies/mean_reversion/config.toml": "cash_rate",
    "examples/strategies/minimum_variance/config.toml": "",
    "examples/strategies/momentum_top/config.toml": "",
    "examples/strategies/trend_volatility/config.toml": "",
}
"""The only doubt about each; empty for none."""

ELSEWHERE: Final = {
    "examples/commodities.toml": "its bars are generated first (tests/test_examples.py)",
    "examples/currencies.toml": "its bars are generated first (tests/test_examples.py)",
    "examples/variants/custom-plan.toml": "is a training plan",
    "examples/agents/langgraph.toml": "needs langgraph",
    "examples/agents/tradingagents.toml": "needs TradingAgents",
}
"""Those that do not run here, with the reason."""

LONG: Final = ("config.toml", "examples/allocators-seed4.toml", "examples/allocators-us20.toml")
SLOW: Final = (
    "examples/five-agents.toml", "examples/variants/esg.toml", "examples/variants/schedules.toml",
    "examples/strategies/minimum_variance/config.toml", "examples/strategies/momentum_top/config.toml",
)  # fmt: skip
"""The long form: another configuration has the same doubt."""


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    if name in SLOW:
        return [pytest.mark.slow, pytest.mark.timeout(900)]
    return [pytest.mark.long, pytest.mark.timeout(900)] if name in LONG else []


def test_every_shipped_configuration_has_its_row() -> None:
    files = {"config.toml", *(str(path.relative_to(ROOT)) for path in (ROOT / "examples").rglob("*.toml"))}
    configurations = {name for name in files if not name.startswith("examples/train/")}
    assert configurations == DOUBTS.keys() | ELSEWHERE.keys()


def test_a_doubt_of_the_long_form_is_that_of_another_configuration() -> None:
    assert {DOUBTS[name] for name in SLOW} <= {doubt for name, doubt in DOUBTS.items() if name not in SLOW}


@pytest.mark.long
@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in DOUBTS])
def test_a_shipped_configuration_has_one_doubt_at_most(name: str, tmp_path: Path) -> None:
    done = quantd(tmp_path, "backtest", "--config", str(ROOT / name), "--state", str(tmp_path / "state"), "--json")
    assert done.returncode == 0, done.stderr
    assert [doubt["kind"] for doubt in json.loads(done.stdout)["doubts"]] == [*filter(None, [DOUBTS[name]])]
