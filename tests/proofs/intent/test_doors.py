"""What is asked is held or named at each door: the same random books by command, in Python, over REST and over MCP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import polars as pl
import pytest
from mcp import Client
from msgspec.structs import replace

import quantd
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.timeline import instants
from quantd.server.cli.operate.gate.gate_server import server_of
from quantd.server.cli.operate.gate.gateway import Gateway
from quantd.trading.display_text import toml_value
from quantd.trading.events import Tick
from quantd.trading.sessions import DAY_NS
from tests.proofs.intent.worlds import DAYS, SECOND, Case, Fault, drawn, faults
from tests.server.cli.operate.mcp_calls import call
from tests.support.api_world import RUN, World
from tests.support.command_line import quantd as command
from tests.support.engine import START

SEED = 23
WORLDS = range(20)
DATES = quantd.example_bars()["ts"].dt.date().unique().sort().to_list()[:DAYS]
LIMITS = (
    "collar", "allow_short", "max_gross_exposure", "max_position_weight", "max_share_of_volume", "max_cash_debit",
    "cash_reserve", "in_flight",
)  # fmt: skip
HOUSE_ONLY = ("max_cash_debit", "in_flight")

pytestmark = pytest.mark.long


def cases() -> list[Case]:
    """The first books of the property, each of one agent: an account has one owner at a door."""
    return [drawn(SEED, number)._replace(agents=1) for number in WORLDS]


def symbols(case: Case) -> list[str]:
    return [f"S{k:02d}" for k in range(len(case.px))]


def bars(case: Case) -> pl.DataFrame:
    """Bars at the prices of a case. Volumes differ a little: the feed rejects a bar that repeats three others."""
    rows = [
        {"ts": day, "symbol": name, **dict.fromkeys(("open", "high", "low", "close"), px), "volume": case.volume + at}
        for at, day in enumerate(DATES)
        for name, px in zip(symbols(case), case.px.tolist(), strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def limits(case: Case, but: tuple[str, ...] = ()) -> dict[str, object]:
    return {key: value for key in LIMITS if key not in but and (value := getattr(case.limits, key)) is not None}


def costs(case: Case) -> dict[str, object]:
    zero = dict.fromkeys(("spread_bp", "slippage_bp", "participation", "borrow_bp_annual"), 0.0)
    return {"cash": str(case.cash), "commission_bp": case.limits.fee_bp, **zero}


def config(case: Case, owner: str) -> str:
    """A configuration of a case, whose book `owner` decides: the TOML text of agents or portfolios."""
    tables = {
        "universe": {"symbols": symbols(case)},
        "feed": {"path": "bars.csv", "stamps": "session", "pace": "fast", "at_end": "stop", "warmup": 0},
        "broker": costs(case),
        "risk": {"profile": "research", **limits(case)},
        "bus": {"port": 0},
        "api": {"port": 0},
    }
    text = "".join(f"[{name}]\n{keyed(table)}" for name, table in tables.items())
    return text + owner


def keyed(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in table.items())


def agent(case: Case, policy: str) -> str:
    table = {"name": "one", "policy": policy, "capital": 1.0, "min_trade": case.min_trade, "profile": "research"}
    return "[[agents]]\n" + keyed(table | {"limits": limits(case, HOUSE_ONLY)})


def place(case: Case) -> str:
    """A place for a portfolio that may have all the cash, beside an agent with next to none that is never asked."""
    table = {"places": 1, "min_trade": case.min_trade, "profile": "research", "limits": limits(case, HOUSE_ONLY)}
    return agent(case, "external").replace("capital = 1.0", "capital = 1e-09") + "[portfolios]\n" + keyed(table)


def policy(case: Case) -> str:
    """A file whose function answers the two targets, always or once each."""
    first, second = (target.tolist() for target in case.targets)
    return f"""
import numpy as np

def act(view, memory):
    late = np.datetime64(view.time, "ns") >= np.datetime64("{DATES[SECOND]}")
    if {case.holds} and memory.get("late") == late:
        return "hold", memory
    return np.array({second} if late else {first}), {{"late": late}}
"""


def found(case: Case, result: quantd.Run | quantd.Backtest) -> list[Fault]:
    """The faults in the record of a run, whose only trading book is that of the case."""
    run = result.run if isinstance(result, quantd.Backtest) else result
    held = np.zeros(len(case.px))
    for symbol, side, quantity in run.fills.select("symbol", "side", "quantity").iter_rows():
        held[symbols(case).index(symbol)] += quantity if side == "buy" else -quantity
    assert len(run.equity) == DAYS
    parts = []
    for plan in (decision.plan for decision in run._reader.decisions()):
        day = DATES.index(datetime.fromtimestamp(plan.ts / 1e9, UTC).date())
        if day >= SECOND:
            parts += [(replace(plan, ts=START + day * DAY_NS), part) for part in plan.agents]
    return list(faults(case, held, run.equity["equity"][-1], parts))


def by_backtest(case: Case, folder: Path) -> quantd.Run:
    done = command(folder, "backtest", "--journal", "--no-compare", "--json")
    assert done.returncode == 0, done.stderr
    return quantd.open_run(folder / "state" / "backtests")


def by_run(case: Case, folder: Path) -> quantd.Run:
    done = command(folder, "run")
    assert done.returncode == 0, done.stderr
    return quantd.open_run(folder / "state")


def by_python(case: Case, folder: Path) -> quantd.Backtest:
    settings = {
        "quantd.state": str(folder / "state"), "agents.policy.min_trade": case.min_trade,
        **{f"broker.{key}": value for key, value in costs(case).items()},
        **{f"risk.{key}": value for key, value in limits(case).items()},
        **{f"agents.policy.limits.{key}": value for key, value in limits(case, HOUSE_ONLY).items()},
    }  # fmt: skip
    return quantd.backtest(f"{folder}/mine.py:act", bars(case), settings, compare=False)


@pytest.mark.parametrize("door", [by_backtest, by_run, by_python])
def test_a_policy_holds_what_it_asks(
    door: Callable[[Case, Path], quantd.Run | quantd.Backtest], tmp_path: Path
) -> None:
    for number, case in zip(WORLDS, cases(), strict=True):
        folder = tmp_path / str(number)
        folder.mkdir()
        bars(case).write_csv(folder / "bars.csv", datetime_format="%Y-%m-%d")
        (folder / "mine.py").write_text(policy(case))
        (folder / "config.toml").write_text(config(case, agent(case, "mine.py:act")))
        assert found(case, door(case, folder)) == [], (number, case)


def test_a_policy_that_does_not_ask_for_the_second_target_is_found(tmp_path: Path) -> None:
    differ = [case for case in cases() if not np.array_equal(*case.targets)]
    for case in differ:
        (tmp_path / "mine.py").write_text(policy(case._replace(targets=(case.targets[0],) * 2)))
        assert found(case, by_python(case, tmp_path)), case
    assert len(differ) > 15


class Fed(World):
    """A daemon on the market of a case, which is fed day by day."""

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder, text)
        self.market = instants(self.assembly.items())

    async def feed(self, days: int) -> None:
        """Feed the market up to the sample of so many further days."""
        for _ in range(days):
            day = []
            for instant in self.market:
                day.append(instant)
                if isinstance(instant[-1], Tick) and instant[-1].sample:
                    break
            await feed_recorded(self.service, iter(day), "fast", "wait")
        while self.store.last_seq(RUN) < self.service.journal.seq:
            await self.service.changed(0.01)


@contextlib.asynccontextmanager
async def fed(folder: Path, case: Case, owner: str) -> AsyncIterator[Fed]:
    folder.mkdir()  # noqa: ASYNC240
    bars(case).write_csv(folder / "bars.csv", datetime_format="%Y-%m-%d")
    world = Fed(folder, config(case, owner))
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    async with aiohttp.ClientSession(world.api.url, headers=world.bearer) as session:
        world.session = session
        yield world
    world.service.shell.stopped = "the test is over"
    await stepping
    await world.api.stop()
    world.store.close()


async def asked_twice(world: Fed, case: Case, ask: Callable[[int, dict[str, float]], Any]) -> list[Fault]:
    """Ask both targets at the door `ask`, each on its day, let the market end, and return the faults."""
    for number, (days, target) in enumerate(zip((1, SECOND), case.targets, strict=True)):
        await world.feed(days)
        await ask(number, dict(zip(symbols(case), target.tolist(), strict=True)))
    await world.feed(DAYS - SECOND - 1)
    return found(case, quantd.open_run(world.folder))


async def posted(world: Fed, path: str, body: dict[str, Any]) -> None:
    async with world.session.post(f"/api/v1/{path}", json=body | {"reason": "a test"}) as response:
        assert response.status == 200, await response.text()


def proposing(world: Fed, case: Case) -> Callable[[int, dict[str, float]], Any]:
    return lambda number, weights: posted(world, "agents/one/propose", {"weights": weights, "id": f"p-{number}"})


def rebalancing(world: Fed, case: Case) -> Callable[[int, dict[str, float]], Any]:
    opened = {"name": "core", "capital": f"{case.cash * (1.0 - 1e-9) - 0.01:.2f}"}
    return lambda number, weights: posted(
        world,
        "agents/core/propose" if number else "portfolios",
        {"weights": weights} | ({"id": f"p-{number}"} if number else opened),
    )


@pytest.mark.parametrize(("door", "odd"), [(proposing, 0), (rebalancing, 1)])
async def test_a_book_holds_what_is_asked_over_rest(door: Any, odd: int, tmp_path: Path) -> None:
    for number, case in list(zip(WORLDS, cases(), strict=True))[odd::2]:
        owner = place(case) if odd else agent(case, "external")
        async with fed(tmp_path / str(number), case, owner) as world:
            assert await asked_twice(world, case, door(world, case)) == [], (number, case)


async def test_an_outside_agent_holds_what_it_proposes_over_mcp(tmp_path: Path) -> None:
    for number, case in zip(WORLDS, cases(), strict=True):
        async with (
            fed(tmp_path / str(number), case, agent(case, "external")) as world,
            Client(server_of(Gateway(world.api.url, world.token), "one")) as client,
        ):

            async def propose(number: int, weights: dict[str, float], client: Client = client) -> None:
                worked, answer = await call(client, "propose", weights=weights, id=f"p-{number}", reason="a test")
                assert worked, answer

            assert await asked_twice(world, case, propose) == [], (number, case)
