"""The controls of the page that send an act: how each is opened and filled, what it says, and what it leaves behind."""

import asyncio
import itertools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Page, expect

from quantd.daemon.engine.state import Loosening
from quantd.daemon.engine.state.snapshot import in_force
from tests.server.api.routes.outside_run import REVIEWED

SENDER = "second"
"""Name of the token of the browser. What the tests do beside it is the owner's."""

RATES = "rate = { reads = 10000, reads_burst = 100000, posts = 10000, posts_burst = 100000, proposals = 900 }"

TEXT = REVIEWED.replace("rate = { proposals = 90 }", RATES) + "[portfolios]\nplaces = 2\n"

number = itertools.count(1)
"""A new one for each order and each id: equal orders are duplicates."""

Setting = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Control:
    """One button that sends an act.

    `form` is the function of the scripts that has it. `ready` brings the daemon into the state in which the control
    exists, `open` opens and fills its form, and `button` is the name of the button that sends. `negated` is what the
    page says where it did not happen, and `done` what it says afterwards. The journal then has `entries` of the sender;
    none where the daemon refuses the act. A `stops` control is never held up by another act.
    """

    name: str
    route: str
    form: str
    screen: str
    ready: Setting
    open: Callable[[Page], Awaitable[None]]
    button: str
    negated: str
    done: str
    undo: Setting
    entries: int = 1
    stops: bool = False


async def owner(world: Any, path: str, body: object, *fine: int) -> dict[str, Any]:
    """The answer to a request of the owner."""
    async with world.session.post(f"/api/v1/{path}", json=body, headers=world.bearer) as response:
        answer: dict[str, Any] = await response.json()
        assert response.status in (200, *fine), (path, answer)
        return answer


async def nothing(world: Any) -> None:
    """No state is needed, and none is left."""


async def run(world: Any) -> None:
    for book in ({}, {"agent": "trend"}):
        await owner(world, "commands", {"command": "resume", "reason": "on", **book})


async def halt(world: Any) -> None:
    await owner(world, "commands", {"command": "halt", "reason": "before"})


async def reason(page: Page, text: str = "because") -> None:
    await page.locator("dialog[open] #reason, main #order-reason").last.fill(text)


def key(letter: str, **choices: str) -> Callable[[Page], Awaitable[None]]:
    """Opens a dialog by its key, and chooses in it."""

    async def open_(page: Page) -> None:
        await page.keyboard.press(letter)
        await expect(page.get_by_role("dialog")).to_have_count(1)
        for name, value in choices.items():
            await page.locator(f"dialog #{name}").select_option(value)
        await reason(page)

    return open_


def press(
    button: str, fill: dict[str, str] | None = None, then: str = "", shows: str = ""
) -> Callable[[Page], Awaitable[None]]:
    """Presses a button of the screen, and fills the dialog that it opens.

    `then` is a button of that dialog to press, and `shows` the one that is there once its question is answered.
    """

    async def open_(page: Page) -> None:
        await page.locator("#main").get_by_role("button", name=re.compile(button)).first.click()
        await expect(page.get_by_role("dialog")).to_have_count(1)
        for name, value in (fill or {}).items():
            await page.locator(f"dialog #{name}").fill(value)
        await reason(page)
        if then:
            await page.get_by_role("dialog").get_by_role("button", name=then).click()
            await expect(page.get_by_role("dialog").get_by_role("button", name=shows)).to_be_visible()

    return open_


async def order_form(page: Page) -> None:
    fields = {"qty": "1", "symbol": "SPY", "stop": "", "reason": f"order {next(number)}"}
    for name, value in fields.items():
        await page.locator(f"#order-{name}").fill(value)
    await page.locator("#order-side").select_option("sell")
    await page.locator("#order-agent").select_option("trend")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.get_by_role("button", name=re.compile("^Send sell"))).to_be_visible()


async def an_order(world: Any) -> None:
    wish = {"side": "sell", "qty": str(1 + next(number) % 7), "symbol": "IWM", "reason": "to end", "agent": "trend"}
    await owner(world, "orders", wish)


async def no_orders(world: Any) -> None:
    """Cancels every open order, so that the next one is neither a duplicate nor too much."""
    async with world.session.get("/api/v1/orders?limit=200") as response:
        rows = (await response.json())["orders"]
    for order in rows:
        if order["state"] in ("sent", "working", "partial"):
            await owner(world, "orders/cancel", {"order": order["id"], "reason": "away"}, 404, 409)


def agent(title: str, name: str, fill: dict[str, str] | None = None) -> Callable[[Page], Awaitable[None]]:
    """Chooses an agent on its screen, and opens one of its acts."""

    async def open_(page: Page) -> None:
        table = page.get_by_role("region", name="Agents", exact=True)
        await table.get_by_role("button", name=name, exact=True).click()
        await press(f"^{title}: {name} …$", fill)(page)

    return open_


def of_model(what: str, name: str) -> Setting:
    async def ready(world: Any) -> None:
        await owner(world, f"models/{name}/{what}", {"reason": "so"}, 409)

    return ready


async def a_proposal(world: Any) -> None:
    body = {"weights": {"SPY": 0.3 + next(number) / 1e4}, "id": f"p-{next(number)}", "reason": "it rises"}
    await owner(world, "agents/guest/propose", body)


async def no_proposals(world: Any) -> None:
    async with world.session.get("/api/v1/reviews") as response:
        for review in (await response.json())["waiting"]:
            await owner(
                world, "agents/guest/review", {"id": review["id"], "approve": False, "reason": "away"}, 404, 409
            )
    await no_orders(world)


async def seat_of_guest(world: Any) -> None:
    await of_model("demote", "guest")(world)
    await of_model("promote", "guest")(world)
    await no_proposals(world)
    await a_proposal(world)


async def core(world: Any) -> None:
    await no_core(world)
    await owner(world, "portfolios", {"name": "core", "capital": "4000", "weights": {"SPY": 0.1}, "reason": "open"})


async def no_core(world: Any) -> None:
    async with world.session.get("/api/v1/portfolios") as response:
        for portfolio in (await response.json())["portfolios"]:
            path = f"portfolios/{portfolio['name']}/close"
            await owner(world, path, {"how": "hand_over", "to": "even", "reason": "away"}, 404, 409)
    await no_orders(world)


async def looser(world: Any) -> None:
    state = world.service.shell.state
    state.loosening = Loosening(time.time_ns(), 2**62, in_force(state.rules), ("risk.max_drawdown",))
    await run(world)
    await halt(world)  # a commit: the page hears of it
    await run(world)


async def not_looser(world: Any) -> None:
    world.service.shell.state.loosening = None
    await run(world)


async def rate_of_alerts(world: Any) -> None:
    """The file and the run have 60 alerts a minute."""
    if world.service.config.alerts.per_minute == 60:
        return
    asked = {"setting": "alerts.per_minute", "value": "60"}
    headers = world.bearer
    async with world.session.post("/api/v1/settings/preview", json=asked, headers=headers) as response:
        plan = (await response.json())["plan"]
    await owner(world, "settings", {**asked, "plan": plan, "reason": "as before"})


async def rate_form(page: Page) -> None:
    await page.get_by_label("Search settings that may change").fill("per_minute")
    await press("per_minute$", {"setting": "50"}, "Look", "Write it")(page)


async def approve(page: Page) -> None:
    await press("^Review ")(page)
    await expect(page.get_by_role("button", name=re.compile("^Approve: "))).to_be_enabled()


async def no_research(world: Any) -> None:
    """Ends every backtest and sweep, and unpins."""
    async with world.session.get("/api/v1/research/jobs") as response:
        research = await response.json()
    for job in research["jobs"]:
        if job["state"] in ("queued", "running"):
            await owner(world, f"research/jobs/{job['id']}/cancel", {"reason": "away"}, 409)
    if research["pinned"]:
        await owner(world, "research/reference", {"reason": "away"})


async def a_sweep(world: Any) -> None:
    await no_research(world)
    await owner(world, "research/sweeps", {"reason": "long", "over": ["agents.trend.params.lookback=20:199:1"]})


async def a_backtest(world: Any) -> None:
    """A stored backtest, and none that is pinned."""
    await no_research(world)
    if (world.folder / "backtests").exists():
        return
    await owner(world, "research/backtests", {"reason": "once"})
    for _ in range(600):
        async with world.session.get("/api/v1/research/jobs") as response:
            if (await response.json())["jobs"][0]["state"] == "succeeded":
                return
        await asyncio.sleep(0.1)
    raise AssertionError("no backtest is stored")


async def sweep_form(page: Page) -> None:
    await press("^Start a backtest or a sweep")(page)
    await page.locator("dialog #kind").select_option("sweep")
    await page.locator("dialog #over").fill("agents.trend.params.lookback=20:40:20")


CORE = {"targets": "IWM 0.1"}
FILL = {"name": "core", "capital": "4000", "targets": "SPY 0.1"}

CONTROLS = (
    Control("halt", "/api/v1/commands", "standing.Halt", "now", run, key("h"), "Halt all trading", "NOT HALTED",
            "halt of the house was carried out", run, stops=True),
    Control("reduce", "/api/v1/commands", "standing.Halt", "now", run, key("h", command="reduce"),
            "Reduce all trading", "NOT REDUCED", "reduce of the house was carried out", run, stops=True),
    Control("halt of an agent", "/api/v1/commands", "standing.Halt", "now", run, key("h", of="trend"), "Halt trend",
            "NOT HALTED", "halt of trend was carried out", run, stops=True),
    Control("flatten", "/api/v1/commands", "standing.Halt", "now", run, key("h", command="flatten"),
            "Flatten all trading", "NOT FLATTENED", "flatten of the house was carried out", run, stops=True),
    Control("resume", "/api/v1/commands", "standing.Resume", "now", halt, key("r"), "Resume all trading",
            "NOT RESUMED", "resume of the house was carried out", run),
    Control("order", "/api/v1/orders", "order.OrderByHand", "order", no_orders, order_form, "Send sell", "NOT SENT",
            "of 1 SPY sent", no_orders),
    Control("cancel", "/api/v1/orders/cancel", "orders.CancelOrder", "orders", an_order, press("^Cancel sell"),
            "Cancel sell", "NOT CANCELLED", "IWM", no_orders, stops=True),
    Control("acknowledge", "/api/v1/alerts/*/acknowledge", "incidents.Acknowledge", "incidents", halt,
            press("^Acknowledge switch"), "Acknowledge", "NOT ACKNOWLEDGED", "acknowledged: switch", run),
    Control("pause", "/api/v1/models/*/*", "agents.Act", "agents", of_model("resume", "even"),
            agent("Pause", "even"), "Pause", "NOT DONE", "pause of even was carried out", of_model("resume", "even")),
    Control("agent's resume", "/api/v1/models/*/*", "agents.Act", "agents", of_model("pause", "even"),
            agent("Resume", "even"), "Resume", "NOT DONE", "resume of even was carried out",
            of_model("resume", "even")),
    Control("load", "/api/v1/models/*/*", "agents.Act", "agents", nothing,
            agent("Load a model", "even", {"path": "models/none"}), "Load a model", "NOT DONE", "NOT DONE", nothing, 0),
    Control("shadow", "/api/v1/models/*/*", "agents.Act", "agents", nothing,
            agent("Load into its shadow", "even", {"path": "models/none"}), "Load into its shadow", "NOT DONE",
            "NOT DONE", nothing, 0),
    Control("promote", "/api/v1/models/*/*", "agents.Act", "agents", of_model("demote", "guest"),
            agent("Promote", "guest", {"typed": "guest"}), "Promote", "NOT DONE", "promote of guest was carried out",
            of_model("demote", "guest")),
    Control("demote", "/api/v1/models/*/*", "agents.Act", "agents", of_model("promote", "guest"),
            agent("Take back", "trend"), "Take back", "NOT DONE", "demote of guest was carried out",
            of_model("demote", "guest")),
    Control("approve", "/api/v1/agents/*/review", "reviews.Review", "agents", seat_of_guest, approve, "Approve: ",
            "NOT APPROVED", "of guest: ", no_proposals),
    Control("decline", "/api/v1/agents/*/review", "reviews.Review", "agents", seat_of_guest, press("^Review "),
            "Decline", "NOT DECLINED", "of guest: declined", no_proposals),
    Control("open a portfolio", "/api/v1/portfolios", "portfolios.Open", "portfolios", no_core,
            press("^Open a portfolio", FILL, "Dry run", "Open the portfolio"), "Open the portfolio", "NOT OPENED",
            "core was opened", no_core, 2),
    Control("rebalance", "/api/v1/agents/*/propose", "portfolios.Rebalance", "portfolios", core,
            press("^Rebalance: core", CORE, "Dry run", "Send "), "Send ", "NOT SENT", "core: ", no_core),
    Control("close a portfolio", "/api/v1/portfolios/*/close", "portfolios.Close", "portfolios", core,
            press("^Close: core", None, "Dry run", "Close core"), "Close core", "NOT CLOSED", "core: clos", no_core),
    Control("schedule", "/api/v1/schedules/*/run", "system.System", "system", nothing, press("^Run now: close"),
            "Run now", "NOT RUN", "rebalance: ", nothing),
    Control("backtest", "/api/v1/research/backtests", "lab.Start", "research", no_research,
            press("^Start a backtest or a sweep"), "Start the backtest", "NOT STARTED", "backtest ", no_research),
    Control("sweep", "/api/v1/research/sweeps", "lab.Start", "research", no_research, sweep_form, "Start the sweep",
            "NOT STARTED", "sweep ", no_research),
    Control("cancel a sweep", "/api/v1/research/jobs/*/cancel", "lab.Jobs", "research", a_sweep, press("^Cancel …"),
            "End it", "NOT CANCELLED", "was cancelled", no_research),
    Control("pin", "/api/v1/research/reference", "lab.Stored", "research", a_backtest, press("^Pin …"), "Pin it",
            "NOT PINNED", "is pinned as the reference of this run", no_research),
    Control("looser limits", "/api/v1/limits/approve", "risk.Risk", "risk", looser, press("^Approve …$"), "Approve",
            "NOT APPROVED", "came into force: risk.max_drawdown", not_looser),
    Control("change a setting", "/api/v1/settings", "changes.Change", "system", rate_of_alerts,
            rate_form, "Write it into the file", "NOT CHANGED",
            "alerts.per_minute = 50 is in the file", rate_of_alerts),
)  # fmt: skip


async def send(page: Page, control: Control) -> None:
    """Presses the button that sends, where it is alive."""
    within = page.get_by_role("dialog") if control.form != "order.OrderByHand" else page.locator("#main")
    button = within.get_by_role("button", name=re.compile(f"^{re.escape(control.button)}")).last
    await expect(button).to_be_visible()
    await expect(button).to_be_enabled()
    await button.click()


def kind(control: Control) -> str:
    """What a control does, as far as the page or a fault of this module makes a difference of it."""
    if control.stops:
        return "stop" if control.route.endswith("commands") else "cancel"
    if control.entries == 0:
        return "refused"
    return {"order": "order", "portfolios": "portfolio", "lab": "research"}.get(control.form.partition(".")[0], "act")
