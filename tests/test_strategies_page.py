"""Every example of docs/trade/strategies.md runs, and the file in docs/trade/backtest.md that reads shared statistics:
it loads, it trades, and nothing of it fails."""

import re
from textwrap import dedent

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import load
from quantd.daemon.recovery.start import begin
from quantd.strategies.policies import COMPOSITES
from quantd.trading.events import Decided
from tests.support.checkout import ROOT
from tests.support.engine import Kept

TEXT = (ROOT / "docs/trade/strategies.md").read_text(encoding="utf-8")
BACKTEST = (ROOT / "docs/trade/backtest.md").read_text(encoding="utf-8")
EXAMPLES = [
    dedent(block)
    for block in re.findall(r"(?m)^    \[\[agents\]\]\n(?:(?:    .*)?\n)+", TEXT.partition("## Any score")[0])
]
HEAD = f"""\
[universe]
symbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2020-01-02
end = 2020-04-30
[broker]
cash = "100000.00"
commission_bp = 1.0
spread_bp = 2.0
slippage_bp = 1.0
"""


@pytest.mark.requirement("R-270")
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.search(r'name = "(.*)"', text)[1])
def test_an_example_runs_trades_and_fails_nowhere(tmp_path, tmp_path_factory, example):
    (tmp_path / "my_policy.py").write_text("def act(view):\n    return {'SPY': 0.6}\n")
    runs_and_trades(example, tmp_path, tmp_path_factory)


def test_the_file_that_reads_shared_statistics_runs_and_trades(tmp_path, tmp_path_factory):
    (block,) = re.findall(r"(?m)^    # calm.py: .*\n(?:(?:    .*)?\n)+", BACKTEST)
    (tmp_path / "calm.py").write_text(dedent(block))
    runs_and_trades('[[agents]]\nname = "calm"\npolicy = "calm.py:act"\ncapital = 1.0\n', tmp_path, tmp_path_factory)


def runs_and_trades(agent, tmp_path, tmp_path_factory):
    (tmp_path / "config.toml").write_text(HEAD + agent)
    parts = assemble(load(tmp_path / "config.toml", known_names()), cache=tmp_path_factory.getbasetemp() / "calendars")
    log = Kept()
    shell = parts.shell(log)
    begin(shell, parts, parts.config, "doc", fresh=True)
    for item in parts.items():
        shell.take(item)
    answers = [event for event, _ in log.steps if isinstance(event, Decided)]
    assert [answer.failed for answer in answers if answer.failed] == []
    assert any(answer.weights is not None for answer in answers)
    assert len(answers) > 60
    assert shell.state.lots(0).any()


def test_every_composite_has_an_example():
    together = "\n".join(EXAMPLES)
    assert len(EXAMPLES) >= 7
    for name in COMPOSITES:
        assert f'policy = "{name}"' in together
