"""The chain from a bar to its alert in the log, and the counts of it."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from quantd.daemon.monitoring.metrics import configure
from quantd.daemon.runtime.trace import Trace
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Ended, Filled, Planned, Publish
from quantd.trading.orders import OrderBasket
from tests.support.engine import World, block, walk
from tests.support.service_kit import Kit, world


@pytest.fixture
def heard():
    stream = io.StringIO()
    configure("DEBUG", "json", stream)
    yield stream
    configure("WARNING", "console")


@pytest.mark.requirement("R-001")
def test_a_bar_can_be_followed_to_its_fill_by_one_sample(heard: io.StringIO) -> None:
    of = World(block(walk(6, 2, 3)), [lambda v: np.array([0.7, 0.2])], house=Limits(max_position_weight=0.3))
    trail = Trace(of.universe, ["a0"])
    of.shell.log = type(
        "Log",
        (),
        {
            "rows_only": False,
            "answer": lambda _, ask: None,
            "add": lambda _, event, effects: trail.add(event, effects),
        },
    )()
    for item in of.items():
        of.shell.take(item)
    lines = [json.loads(line) for line in heard.getvalue().splitlines() if "quantd.trail" in line]
    orders = [line for line in lines if line["event"] == "order"]
    assert len(orders) >= 2
    sample = orders[0]["sample"]
    chain = [line["event"] for line in lines if line["sample"] == sample]
    assert {"bar", "valued", "decision", "verdict", "order", "fill"} <= set(chain)
    assert (
        chain.index("bar")
        < chain.index("decision")
        < chain.index("verdict")
        < chain.index("order")
        < chain.index("fill")
    )
    verdict = next(line for line in lines if line["event"] == "verdict" and line["sample"] == sample)
    assert verdict["cut"]["a0"] == {"S0": "position_weight"}


@pytest.mark.requirement("R-214")
async def test_counts_are_those_of_the_run(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    await kit.run()
    trail, tally = kit.service.trace, kit.shell.tally
    assert trail.orders["sent"] == tally.orders > 0
    assert trail.orders["filled"] == tally.fills
    assert sum(trail.alerts.values()) == tally.alerts
    assert trail.orders["accepted"] == tally.orders
    assert sum(trail.verdicts.values()) >= tally.orders


def test_verdicts_are_counted_by_the_limit_that_bound() -> None:
    of = World(block(walk(6, 2, 3)), [lambda v: np.array([0.7, 0.2])], house=Limits(max_position_weight=0.3)).run()
    trail, plain = Trace(of.universe, ["a0"]), Counter[str]()
    trail.add(of.events[0], of.effects)
    for plan in (e for e in of.effects if isinstance(e, Planned)):
        for asked, reason in ((plan.net, plan.reason), *((a.asked, a.reason) for a in plan.agents)):
            wanted = np.frombuffer(asked, dtype=np.int64)
            codes = np.frombuffer(reason, dtype=np.int8) if reason else np.zeros(2, dtype=np.int8)
            plain.update("position_weight" if code else "" for want, code in zip(wanted, codes, strict=True) if want)
    assert trail.verdicts == plain
    assert plain["position_weight"]
    assert trail.alerts["INFO"] == sum(isinstance(e, Publish) and e.level == "INFO" for e in of.effects)
    ended = [e for e in of.effects if isinstance(e, Ended)]
    assert sum(trail.orders.values()) == sum(
        len(e.sym) for e in of.effects if isinstance(e, OrderBasket | Filled)
    ) + sum(len(e.state) for e in ended)
