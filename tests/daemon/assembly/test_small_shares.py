"""What an outside agent may do at worst, as `config check` prints it, beside what the gate and the switch do."""

import re
from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.assembly.small_shares import at_worst
from quantd.daemon.config import load
from quantd.risk.switch import Switch, observe
from quantd.trading.instruments import MICRO
from tests.support.api_world import standing_at_the_end
from tests.support.command_line import CONFIG, answer, quantd, write

GUEST = """[[agents]]
name = "guest"
policy = "external"
capital = 0.1
limits = { max_position_weight = 0.4, max_drawdown = 0.2, max_daily_loss = 0.05 }
"""
TEXT = CONFIG.replace("max_position_weight = 0.25\n", "") + GUEST


@pytest.mark.long
@pytest.mark.parametrize(
    "limits", ["max_position_weight = 0.4", 'max_order_notional = "1500.00"', "max_drawdown = 0.1"]
)
async def test_the_largest_order_is_what_the_gate_lets_pass_and_no_more(tmp_path: Path, limits: str) -> None:
    text = TEXT.replace("max_position_weight = 0.4, max_drawdown = 0.2", limits)
    async with standing_at_the_end(tmp_path, text) as world:
        (line,) = at_worst(world.assembly)
        order = float(re.search(r"at worst add ([\d,.]+) USD", line)[1].replace(",", ""))  # type: ignore[index]
        body = {"weights": {"SPY": 1.0}}
        path = "/api/v1/agents/guest/preview"
        async with world.session.post(path, json=body, headers=world.bearer) as response:
            (sent,) = (await response.json())["trades"]["orders"]
        largest = float(sent["qty"]) * float(sent["limit" if "notional" in limits else "price"])
        assert 0.9 * order < largest <= order, (line, sent)


def test_the_largest_loss_is_where_the_switch_moves_and_not_before(tmp_path: Path) -> None:
    parts = assemble(load(write(tmp_path, TEXT), known_names()), cache=tmp_path / "cache")
    (line,) = at_worst(parts)
    assert "it loses 2,000.00 by max_drawdown, 500.00 in a day by max_daily_loss" in line
    assert "and the account 25,000.00 by max_drawdown" in line
    assert line.endswith("Nobody approves its orders.")
    agent = next(agent for agent in parts.rules.agents if agent.name == "guest")
    for lost, breached in ((2_001.0, "max_drawdown"), (1_999.0, "")):
        switch = Switch()
        day_ns = 86_400 * 10**9
        observe(switch, agent.capital_micro, 0, agent.limits)
        now, moved = agent.capital_micro, ""
        for day in range(1, 6):  # slowly: no day loses 5 %
            now = agent.capital_micro - round(lost * MICRO * day / 5)
            moved = moved or observe(switch, now, day * day_ns, agent.limits)
        assert moved == breached


def test_the_command_prints_it_for_outside_agents_that_trade_and_says_where_no_loss_is_bounded(tmp_path: Path) -> None:
    write(tmp_path, TEXT.replace(", max_drawdown = 0.2", "").replace("max_drawdown = 0.25\n", ""))
    (line,) = answer(quantd(tmp_path, "config", "check", "--json"))["at_worst"]
    assert "it loses without a bound (no max_drawdown is set), 500.00 in a day by max_daily_loss" in line
    assert line in quantd(tmp_path, "config", "check").stdout
    write(tmp_path)
    assert answer(quantd(tmp_path, "config", "check", "--json"))["at_worst"] == []
