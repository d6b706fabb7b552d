"""Users' policies that go wrong, each in its own way, beside healthy ones: each holds, is suspended after the set
number of failures, and everybody else trades on."""

import os
import subprocess
import sys

import pytest

from quantd.daemon.app import Options
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.runtime.step_log import Unanswered
from quantd.research.cli.setup.init import write_policy
from quantd.risk.switch import REDUCE, RUN
from quantd.trading.effects import Effect, Publish
from quantd.trading.events import Decided, Event, Tick
from tests.support.command_line import ROOT

BAD = {
    "raising": "    raise ValueError('not today')",
    "nothing": "    return [float('nan')] * len(view.prices)",
    "shapes": "    return [0.1, 0.2]",
    "endless": "    while True:\n        pass",
    # the interpreter's lock is held in C
    "locked": "    import re\n    re.match(r'(a+)+$', 'a' * 34 + 'b')",
    "leaving": "    import os\n    os._exit(3)",
    "crashing": "    import ctypes\n    ctypes.string_at(0)",
}
SAID = {
    "raising": "ValueError: not today at raising.py:",
    "nothing": "the weight of SPY is nan",
    "shapes": "weights have shape (2,)",
    "endless": "no answer within 0.5 s",
    "locked": "no answer within 0.5 s",
    "leaving": "its process ended (exit status 3)",
    "crashing": "its process ended (signal 11)",
}
HEAD = f"""
[universe]
symbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2019-01-02
end = 2019-02-28
warmup = 100
[broker]
cash = "600000.00"
[risk]
max_failures = 4
max_price_age = "30h"
"""
AGENT = '[[agents]]\nname = "{0}"\npolicy = "{1}"\ncapital = 0.11\nparams = {2}\n'
WORSE_FROM = 1546992000000000000
"""2019-01-09: until then each bad policy answers well, and holds something when it goes wrong."""


class Seen(Unanswered):
    def __init__(self):
        self.effects: list[Effect] = []
        self.failed: dict[int, int] = {}

    def add(self, event: Event, effects):
        self.effects.extend(effects)
        if isinstance(event, Decided) and event.failed:
            self.failed[event.agent] = self.failed.get(event.agent, 0) + 1


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    text = HEAD
    for name, body in BAD.items():
        (folder / f"{name}.py").write_text(
            f"def act(view):\n    if view.time < {WORSE_FROM}:\n        return [0.1] * len(view.prices)\n{body}\n"
        )
        text += AGENT.format(name, f"{name}.py:act", "{}")
    write_policy(folder, "healthy", as_json=True)  # what `quantd init --policy` writes is among the healthy ones
    text += AGENT.format("healthy", "healthy.py:act", "{}")
    text += AGENT.format("parity", "inverse_volatility", "{ lookback = 63 }")
    (folder / "config.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(world):
    assembly = assemble(read(Options(world / "config.toml").config), isolation=Apart())
    assert assembly.rules.max_failures == 4
    seen = Seen()
    shell = assembly.shell(seen)
    shell.answer = deadline = Deadline(assembly.policies, limit_s=0.5)
    lots = {}
    for item in assembly.items():
        shell.take(item)
        shell.state.ledger.check()
        if isinstance(item, Tick) and item.sample and not item.warmup:
            for number, agent in enumerate(shell.state.agents):
                if agent.failures or agent.suspended:
                    lots.setdefault(number, []).append(list(shell.state.ledger.books[number].lots))
    deadline.close()
    return shell, seen, lots


@pytest.mark.long
def test_each_bad_policy_holds_and_is_suspended_after_the_set_number_of_failures(run):
    shell, seen, lots = run
    for number, name in enumerate(BAD):
        agent = shell.state.agents[number]
        assert agent.suspended
        assert agent.switch.state == REDUCE
        assert seen.failed[number] == 4
        alerts = [e for e in seen.effects if isinstance(e, Publish) and e.agent == name]
        assert any(SAID[name] in e.text for e in alerts), [e.text for e in alerts]
        assert any("suspended after 4 failures in a row" in e.text for e in alerts)
        held = lots[number]
        # an order of its last good answer may still fill on the next bar; from then on nothing moves
        assert any(held[1])
        assert all(holding == held[1] for holding in held[1:])


@pytest.mark.long
def test_the_others_trade_on(run):
    shell, seen, _ = run
    for number in (len(BAD), len(BAD) + 1):
        assert not shell.state.agents[number].suspended
        assert number not in seen.failed
        assert any(shell.state.ledger.books[number].lots)
    assert shell.state.switch.state == RUN
    answered = [e for e in seen.effects if type(e).__name__ == "Ask" and e.agent >= len(BAD)]
    assert len(answered) == 2 * 40  # every sample, to the end


def test_what_init_writes_has_a_test_that_passes_and_lines_that_can_be_read(world):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_healthy.py"],
        cwd=world, env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    source = (world / "healthy.py").read_text()
    assert "import quantd.daemon" not in source
    assert "import quantd.trading" not in source
