"""The Python client of a daemon: a method for each route, with the types that the daemon itself answers with."""

import ssl
import time
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from quantd.adapters.store.read_models import Group
from quantd.daemon.jobs.job_table import JobRunLine
from quantd.daemon.views.cut_trades import CutGroup
from quantd.daemon.views.explanation import Explanation
from quantd.daemon.views.headroom import RiskNow
from quantd.daemon.views.overview import Overview
from quantd.daemon.views.preview import PlanNow
from quantd.daemon.views.report.contents import Standing
from quantd.research.routes.performance_routes import Attribution, Performance, Rolling, VarRecord
from quantd.research.routes.research_routes import Beside, ComparedBacktests, Looks
from quantd.server.api import documents
from quantd.server.api.client_side.api_error import ApiError, away, decoded, refused
from quantd.server.api.client_side.transport import ANSWER_S, Address, Response, exchange, opened, usual_address
from quantd.server.api.idempotency import HEADER
from quantd.server.api.routes.act_routes import ActNow
from quantd.server.api.routes.alert_routes import ActiveIncident, ActiveIncidents, Seen
from quantd.server.api.routes.command_routes import Done, Flatten, HaltNow, Reduce, Resume
from quantd.server.api.routes.job_routes import JobsNow, RunSchedule
from quantd.server.api.routes.manual_routes import Approve, Loosened
from quantd.server.api.routes.market_routes import BarsNow
from quantd.server.api.routes.model_routes import Model, ModelDetails, Models
from quantd.server.api.routes.portfolio_routes import (
    ClosePortfolio,
    CreatePortfolio,
    PortfolioClosing,
    PortfolioList,
    Rebalance,
    Rebalanced,
)
from quantd.server.api.routes.prediction_routes import Allocate, Allocated, Predict, Prediction
from quantd.server.api.routes.proposal_routes import (
    Preview,
    ProposalAnswer,
    Proposals,
    Propose,
    Review,
    ReviewPreview,
    Reviews,
)
from quantd.server.api.routes.refusal_routes import Refusals
from quantd.server.api.routes.switch_routes import Switches
from quantd.server.api.routes.system_routes import Policies, ScheduleList, Settings, Stats, StoredRuns, Version
from quantd.server.requests.cancels import CancelOne, CancelPreview
from quantd.server.requests.manual import Cash, Halt, OrderByHand, Settle
from quantd.server.requests.manual_answers import (
    CancelledOrder,
    Compared,
    Ordered,
    Paid,
    Previewed,
    SettledOrder,
    Stopped,
)
from quantd.server.requests.model_loads import LoadModel, LoadShadow, Reasoned
from quantd.server.requests.order_outcomes import SettleOrder
from quantd.server.requests.portfolio_answers import PortfolioNow
from quantd.server.requests.proposal_answers import AgentStanding

ATTEMPTS: Final = 3
"""Attempts of a read; a request that changes the daemon is sent once."""

REST_S: Final = 0.2
"""Seconds before the second attempt; doubled for each further one."""

LONGEST_REST_S: Final = 5.0
AGAIN: Final = frozenset({429, 503})

T = TypeVar("T")


class Targets(TypedDict, total=False):
    """Target weights: one of `weights`, `policy` with `symbols`, and `agent`; `symbols` alone have equal weights."""

    weights: dict[str, float]
    symbols: tuple[str, ...]
    policy: str
    agent: str


class Wanted(TypedDict, total=False):
    """One of target `weights` and signed units as text, by symbol."""

    weights: dict[str, float]
    orders: dict[str, str]


class Input(TypedDict, total=False):
    """A learned policy, and the fields of its input that `Predict` describes."""

    agent: str
    artifact: str
    observation: list[float] | None
    features: dict[str, dict[str, float]] | None
    shared: dict[str, float]


class Method(TypedDict, total=False):
    """One of `method` and `agent`, with parameters of the method and the weights held."""

    method: str
    agent: str
    params: dict[str, Any]
    held: dict[str, float]


class Searched(TypedDict, total=False):
    """A page: most rows, the `next` of the page before, the first instant in ns, a symbol, and a text of its rows."""

    limit: int
    cursor: str
    since: int
    symbol: str | None
    search: str


class Client:
    """A daemon by its address; each call is a request of its own, so that threads may share a client.

        client = quantd.Client(token=Path("state/token").read_text().strip())
        print(client.status().equity)

    `certificate` is a file with the certificate of a daemon that made its own. Reads are sent up to three times. Each
    request that changes the daemon has an idempotency key, and is sent once: `key` repeats an earlier one. Raises
    ApiError, a `quantd.Error`.
    """

    def __init__(
        self,
        url: str = "",
        token: str = "",
        *,
        certificate: str | Path | None = None,
        timeout_s: float = ANSWER_S,
    ) -> None:
        try:
            url = url or usual_address()
        except ValueError as error:
            raise ApiError(0, "url", str(error)) from None
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or port == -1:
            raise ApiError(0, "url", f"url = {url!r} is no address of a daemon; write http://127.0.0.1:8000")
        context = None
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=None if certificate is None else str(certificate))
        self._address = Address(parts.hostname, port or (443 if context else 80), context)
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._timeout_s = timeout_s

    # the present

    def health(self) -> documents.Health:
        """Whether the daemon is live and ready; a daemon that is not ready is an answer, and no error."""
        response = self._ask("GET", "/health", None, {}, frozenset())
        return decoded(response, documents.Health, self._address, (200, 503))

    def about(self) -> documents.About:
        return self._get("/api/v1", documents.About)

    def status(self) -> Overview:
        return self._get("/api/v1/status", Overview)

    def positions(self, *, limit: int = 100, search: str = "") -> documents.Positions:
        """The largest positions; `count` of the answer is the number of all that the search finds."""
        return self._get("/api/v1/positions", documents.Positions, limit=limit, search=search)

    def risk(
        self, *, agent: str | None = None, symbol: str | None = None, limit: int = 20, search: str = ""
    ) -> RiskNow:
        """The limits of a book, and the headroom of the symbols of its largest positions."""
        return self._get("/api/v1/risk", RiskNow, agent=agent, symbol=symbol, limit=limit, search=search)

    def risk_metrics(self) -> documents.RiskMetrics:
        return self._get("/api/v1/risk/metrics", documents.RiskMetrics)

    def risk_correlations(self) -> documents.Correlations:
        return self._get("/api/v1/risk/correlations", documents.Correlations)

    def risk_var(self) -> VarRecord:
        """The VaR backtest of the house."""
        return self._get("/api/v1/risk/var", VarRecord)

    def standing(self) -> Standing:
        """The present part of `quantd report`."""
        return self._get("/api/v1/risk/standing", Standing)

    def plan(self) -> PlanNow:
        """The orders of a round now; nothing is sent."""
        return self._get("/api/v1/plan", PlanNow)

    def house(self, *, since: int = 0) -> documents.HouseNow:
        return self._get("/api/v1/house", documents.HouseNow, since=since)

    # the past: `next` of a page is the `cursor` of the page that follows

    def orders(self, *, group: Group = "all", totals: bool = False, **of: Unpack[Searched]) -> documents.Orders:
        """Orders of a group; with `totals`, the number of all that the search finds, by group."""
        return self._get("/api/v1/orders", documents.Orders, group=group, totals=_yes(totals), **of)

    def fills(
        self, *, limit: int = 100, cursor: str = "", since: int = 0, symbol: str | None = None
    ) -> documents.Fills:
        return self._get("/api/v1/fills", documents.Fills, limit=limit, cursor=cursor, since=since, symbol=symbol)

    def decisions(self, *, limit: int = 100, cursor: str = "", since: int = 0) -> documents.Decisions:
        return self._get("/api/v1/decisions", documents.Decisions, limit=limit, cursor=cursor, since=since)

    def alerts(
        self, *, limit: int = 100, cursor: str = "", since: int = 0, search: str = "", totals: bool = False
    ) -> documents.Alerts:
        """Alerts that contain a text; with `totals`, the number of all of them."""
        path, page = "/api/v1/alerts", {"limit": limit, "cursor": cursor, "since": since}
        return self._get(path, documents.Alerts, search=search, totals=_yes(totals), **page)

    def portfolio_history(self, *, limit: int = 100, cursor: str = "", since: int = 0) -> documents.PortfolioHistory:
        path, kind = "/api/v1/portfolio/history", documents.PortfolioHistory
        return self._get(path, kind, limit=limit, cursor=cursor, since=since)

    def risk_history(self, *, limit: int = 100, cursor: str = "", since: int = 0) -> documents.RiskHistory:
        return self._get("/api/v1/risk/history", documents.RiskHistory, limit=limit, cursor=cursor, since=since)

    def allocations(self, *, limit: int = 100, cursor: str = "", since: int = 0) -> documents.Allocations:
        return self._get("/api/v1/allocations", documents.Allocations, limit=limit, cursor=cursor, since=since)

    def bars(self, symbol: str = "", *, limit: int = 250) -> BarsNow:
        """The newest bars of a symbol."""
        return self._get("/api/v1/bars", BarsNow, symbol=symbol, limit=limit)

    def refusals(self, *, group: CutGroup = "all", totals: bool = False, **of: Unpack[Searched]) -> Refusals:
        """Trades that limits cut or refused; with `totals`, the number of all that the search finds, by group."""
        return self._get("/api/v1/refusals", Refusals, group=group, totals=_yes(totals), **of)

    def switches(self) -> Switches:
        """Each switch with the marks that a resume resets."""
        return self._get("/api/v1/switches", Switches)

    def act(self, key: str, *, age_s: float = 0.0, command: bool = False) -> ActNow:
        """What became of the request of this token with an idempotency key; ApiError 404 where it did nothing.

        With the seconds since it was sent, it is unknown where it is older than what the daemon remembers.
        """
        return self._get(f"/api/v1/acts/{quote(key, safe='')}", ActNow, age_s=age_s, command=_yes(command))

    def equity(self, *, points: int = 1_000, since: int = 0) -> documents.Equity:
        """Equity for a chart of at most so many points."""
        return self._get("/api/v1/equity", documents.Equity, points=points, since=since)

    def why(self, what: str, *, at: str | None = None, recorded: bool = False) -> Explanation:
        """Why an order, a decision's symbol, or the newest decision of a symbol is as it is."""
        path = f"/api/v1/why/{quote(what, safe='')}"
        return self._get(path, Explanation, at=at, recorded="1" if recorded else None)

    def performance(self, book: str = "", *, start: date | None = None, end: date | None = None) -> Performance:
        return self._get("/api/v1/performance", Performance, book=book, **{"from": start, "to": end})

    def attribution(self, *, start: date | None = None, end: date | None = None, book: str = "") -> Attribution:
        return self._get("/api/v1/performance/attribution", Attribution, book=book, **{"from": start, "to": end})

    def rolling(
        self, book: str = "", *, window: int = 63, points: int = 600, start: date | None = None, end: date | None = None
    ) -> Rolling:
        """The rolling Sharpe ratio of a book."""
        path, span = "/api/v1/performance/rolling", {"from": start, "to": end}
        return self._get(path, Rolling, book=book, window=window, points=points, **span)

    def looks(self, *, limit: int = 200, search: str = "", first: Literal["newest", "best"] = "newest") -> Looks:
        return self._get("/api/v1/research/looks", Looks, limit=limit, search=search, first=first)

    def beside(self, backtest: str = "", *, points: int = 600) -> Beside:
        """The run beside a stored backtest."""
        return self._get("/api/v1/research/beside", Beside, backtest=backtest, points=points)

    def compare_backtests(self, one: str, other: str) -> ComparedBacktests:
        """Two stored backtests side by side."""
        return self._get("/api/v1/research/compare", ComparedBacktests, one=one, other=other)

    # the daemon

    def runs(self) -> StoredRuns:
        return self._get("/api/v1/runs", StoredRuns)

    def schedules(self) -> ScheduleList:
        return self._get("/api/v1/schedules", ScheduleList)

    def jobs(self, *, job: str = "", limit: int = 100, search: str = "") -> JobsNow:
        return self._get("/api/v1/jobs", JobsNow, limit=limit, job=job, search=search)

    def job(self, id: str) -> JobRunLine:
        return self._get(f"/api/v1/jobs/{id}", JobRunLine)

    def run_schedule(self, name: str, reason: str, *, key: str = "") -> JobRunLine:
        """Run a schedule now; `job` polls the run."""
        return self._post(f"/api/v1/schedules/{quote(name, safe='')}/run", RunSchedule(reason), JobRunLine, key)

    def config(self) -> Settings:
        return self._get("/api/v1/config", Settings)

    def version(self) -> Version:
        return self._get("/api/v1/version", Version)

    def stats(self) -> Stats:
        return self._get("/api/v1/stats", Stats)

    def policies(self) -> Policies:
        return self._get("/api/v1/policies", Policies)

    def metrics(self) -> str:
        """The metrics in the text format of Prometheus."""
        return refused(self._ask("GET", "/metrics", None, {}, AGAIN), self._address).body.decode()

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return self._get("/openapi.json", dict[str, Any])

    def events(self) -> Iterator[documents.Live]:
        """The overview after each commit, at most four a second, until the daemon ends the stream."""
        headers = self._headers | {"Accept": "text/event-stream"}
        try:
            # the daemon sends a comment at least every 15 s
            with opened(self._address, "GET", "/api/v1/events", headers, None, self._timeout_s + ANSWER_S) as found:
                if found.status != 200:
                    refused(Response(found.status, found.reason, {}, found.read()), self._address)
                for line in found:
                    if line.startswith(b"data: "):
                        yield msgspec.json.decode(line[6:], type=documents.Live)
        except OSError as why:
            raise away(self._address, why) from None

    # what changes the daemon: the answer follows the commit to the journal

    def halt(self, reason: str = "", *, agent: str = "", key: str = "") -> Done:
        """Stop all trading of the house or of one agent."""
        return self._post("/api/v1/commands", HaltNow(reason, agent), Done, key)

    def reduce(self, reason: str = "", *, agent: str = "", key: str = "") -> Done:
        """Permit only orders that reduce positions."""
        return self._post("/api/v1/commands", Reduce(reason, agent), Done, key)

    def resume(self, reason: str, *, agent: str = "", key: str = "") -> Done:
        """Permit trading again."""
        return self._post("/api/v1/commands", Resume(reason, agent), Done, key)

    def flatten(self, reason: str = "", *, key: str = "") -> Done:
        """Close all positions of all agents."""
        return self._post("/api/v1/commands", Flatten(reason), Done, key)

    def order(
        self,
        side: Literal["buy", "sell"],
        qty: str,
        symbol: str,
        reason: str,
        *,
        agent: str = "",
        stop: str = "",
        target: str = "",
        key: str = "",
    ) -> Ordered:
        """Submit a manual order through the gate; quantities and prices are decimal text."""
        body = OrderByHand(side, qty, symbol, reason, agent, stop, target)
        return self._post("/api/v1/orders", body, Ordered, key)

    def preview_order(
        self, side: Literal["buy", "sell"], qty: str, symbol: str, reason: str, *, agent: str = ""
    ) -> Previewed:
        """What a manual order would become now; nothing is sent."""
        return self._post("/api/v1/orders/preview", OrderByHand(side, qty, symbol, reason, agent), Previewed, "")

    def cancel_order(self, order: str, reason: str, *, key: str = "") -> CancelledOrder:
        """Cancel what is left of one open order, by its id."""
        return self._post("/api/v1/orders/cancel", CancelOne(order, reason), CancelledOrder, key)

    def preview_cancel(self, order: str) -> CancelledOrder:
        """What a cancel would end; nothing is sent."""
        return self._post("/api/v1/orders/cancel/preview", CancelPreview(order), CancelledOrder, "")

    def settle_order(
        self, order: str, reason: str, *, filled: str = "", never_sent: bool = False, key: str = ""
    ) -> SettledOrder:
        """Settle an order that the venue does not confirm: `filled` as QUANTITY@PRICE, or `never_sent`."""
        body = SettleOrder(order, reason, filled, never_sent)
        return self._post("/api/v1/orders/settle", body, SettledOrder, key)

    def cash(
        self,
        do: Literal["add", "remove"],
        amount: str,
        reason: str,
        *,
        agent: str = "",
        beyond_limits: bool = False,
        key: str = "",
    ) -> Paid:
        """Book a deposit or a withdrawal. One that breaks a limit is refused unless it may go `beyond_limits`."""
        return self._post("/api/v1/cash", Cash(do, amount, reason, agent, beyond_limits), Paid, key)

    def halt_symbol(
        self, do: Literal["halt", "resume"], symbol: str, reason: str, *, jump: str = "", key: str = ""
    ) -> Stopped:
        """Halt or resume trading of one symbol. With `jump` ("real" or "2:1"), end its hold after a price jump."""
        return self._post("/api/v1/halts", Halt(do, symbol, reason, jump), Stopped, key)

    def reconcile(self, how: str = "", reason: str = "", *, key: str = "") -> Compared:
        """Compare the books with the venue's account; with `how`, also book the differences."""
        return self._post("/api/v1/reconcile", Settle(how, reason), Compared, key)

    # incidents, portfolios and limits

    def active_alerts(self, *, agent: str = "") -> ActiveIncidents:
        """The incidents that hold."""
        return self._get("/api/v1/alerts/active", ActiveIncidents, agent=agent)

    def acknowledge(self, incident: str, reason: str, *, key: str = "") -> ActiveIncident:
        path = f"/api/v1/alerts/{quote(incident, safe='')}/acknowledge"
        return self._post(path, Seen(reason), ActiveIncident, key)

    def portfolios(self) -> PortfolioList:
        return self._get("/api/v1/portfolios", PortfolioList)

    def portfolio(self, name: str) -> PortfolioNow:
        return self._get(f"/api/v1/portfolios/{quote(name, safe='')}", PortfolioNow)

    def open_portfolio(
        self, name: str, reason: str, *, capital: str = "1000000", key: str = "", **targets: Unpack[Targets]
    ) -> Rebalanced:
        """Open a portfolio with capital of the unallocated book."""
        body = CreatePortfolio(name=name, reason=reason, capital=capital, **targets)
        return self._post("/api/v1/portfolios", body, Rebalanced, key)

    def rebalance_portfolio(
        self,
        name: str,
        reason: str,
        *,
        dry_run: bool = False,
        as_planned: str = "",
        id: str = "",
        key: str = "",
        **targets: Unpack[Targets],
    ) -> Rebalanced:
        """Rebalance a portfolio, or show the orders of a rebalance: `as_planned=` its `plan` executes exactly those."""
        body = Rebalance(reason=reason, dry_run=dry_run, as_planned=as_planned, id=id, **targets)
        return self._post(f"/api/v1/portfolios/{quote(name, safe='')}/rebalance", body, Rebalanced, key)

    def close_portfolio(
        self, name: str, how: Literal["flatten", "hand_over"], reason: str, *, to: str = "", key: str = ""
    ) -> PortfolioClosing:
        """Sell a portfolio, or hand it over to the agent `to`."""
        body = ClosePortfolio(how=how, reason=reason, to=to)
        return self._post(f"/api/v1/portfolios/{quote(name, safe='')}/close", body, PortfolioClosing, key)

    # outside agents

    def agent_standing(self, name: str) -> AgentStanding:
        return self._get(f"/api/v1/agents/{quote(name, safe='')}/standing", AgentStanding)

    def agent_proposals(self, name: str, *, limit: int = 20) -> Proposals:
        return self._get(f"/api/v1/agents/{quote(name, safe='')}/proposals", Proposals, limit=limit)

    def preview(self, name: str, *, key: str = "", **wanted: Unpack[Wanted]) -> ProposalAnswer:
        """The verdict and costs of `weights` or `orders`, without an order."""
        return self._post(f"/api/v1/agents/{quote(name, safe='')}/preview", Preview(**wanted), ProposalAnswer, key)

    def propose(
        self,
        name: str,
        id: str,
        reason: str,
        *,
        expires: str = "",
        plan: str = "",
        key: str = "",
        **wanted: Unpack[Wanted],
    ) -> ProposalAnswer:
        """Trade `weights` or `orders`, through the gate."""
        body = Propose(id=id, reason=reason, expires=expires, plan=plan, **wanted)
        return self._post(f"/api/v1/agents/{quote(name, safe='')}/propose", body, ProposalAnswer, key)

    def reviews(self) -> Reviews:
        """The proposals that wait for a person."""
        return self._get("/api/v1/reviews", Reviews)

    def preview_review(self, name: str, id: str) -> ProposalAnswer:
        """The verdict and costs of a proposal that waits, if it were approved now."""
        path = f"/api/v1/agents/{quote(name, safe='')}/review/preview"
        return self._post(path, ReviewPreview(id), ProposalAnswer, "")

    def review(
        self, name: str, id: str, reason: str, *, approve: bool, plan: str = "", key: str = ""
    ) -> ProposalAnswer:
        """Approve or decline a proposal that waits; with `plan` of a preview, only while the orders are the same."""
        body = Review(id, approve, reason, plan)
        return self._post(f"/api/v1/agents/{quote(name, safe='')}/review", body, ProposalAnswer, key)

    def approve_limits(self, reason: str, *, key: str = "") -> Loosened:
        """Apply looser limits that wait."""
        return self._post("/api/v1/limits/approve", Approve(reason), Loosened, key)

    # models

    def models(self) -> Models:
        return self._get("/api/v1/models", Models)

    def model(self, agent: str) -> ModelDetails:
        """A model with manifest, record and card."""
        return self._get(f"/api/v1/models/{quote(agent, safe='')}", ModelDetails)

    def load_model(self, agent: str, reason: str, *, path: str = "", version: str = "", key: str = "") -> Model:
        """Let another artifact or version decide for an agent."""
        return self._post(f"/api/v1/models/{quote(agent, safe='')}/load", LoadModel(reason, path, version), Model, key)

    def shadow_model(
        self, agent: str, reason: str, *, path: str = "", version: str = "", shadow: str = "", key: str = ""
    ) -> Model:
        """Load an artifact into a shadow that challenges an agent."""
        asked = LoadShadow(reason, path, version, shadow)
        return self._post(f"/api/v1/models/{quote(agent, safe='')}/shadow", asked, Model, key)

    def change_model(
        self, agent: str, do: Literal["pause", "resume", "promote", "demote"], reason: str, *, key: str = ""
    ) -> Model:
        """Pause or resume an agent, or promote or demote a shadow without a test."""
        return self._post(f"/api/v1/models/{quote(agent, safe='')}/{do}", Reasoned(reason), Model, key)

    def predict(self, **input: Unpack[Input]) -> Prediction:
        """What the learned policy of an `agent` or `artifact` would hold; by default in the present state."""
        return self._question("/api/v1/predict", Predict(**input), Prediction)

    def allocate(self, prices: dict[str, list[float]], **by: Unpack[Method]) -> Allocated:
        """What a `method`, or that of an `agent`, would hold after closes by symbol, oldest first."""
        return self._question("/api/v1/allocate", Allocate(prices, **by), Allocated)

    def _question(self, path: str, body: Struct, kind: type[T]) -> T:
        """The answer to a POST that changes nothing."""
        headers = {"Content-Type": "application/json"}
        return decoded(self._ask("POST", path, msgspec.json.encode(body), headers, AGAIN), kind, self._address)

    def _get(self, path: str, kind: type[T], **query: object) -> T:
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        place = f"{path}?{urlencode(given)}" if given else path
        return decoded(self._ask("GET", place, None, {}, AGAIN), kind, self._address)

    def _post(self, path: str, body: Struct, kind: type[T], key: str) -> T:
        headers = {"Content-Type": "application/json", HEADER: key or uuid.uuid4().hex}
        return decoded(self._ask("POST", path, msgspec.json.encode(body), headers), kind, self._address)

    def _ask(
        self, method: str, path: str, body: bytes | None, more: dict[str, str], again: frozenset[int] | None = None
    ) -> Response:
        """The response; with `again`, statuses at which the request is repeated, also after a lost connection."""
        attempts = 1 if again is None else ATTEMPTS
        for attempt in range(1, attempts + 1):
            rest_s = REST_S * 2 ** (attempt - 1)
            try:
                found = exchange(self._address, method, path, self._headers | more, body, self._timeout_s)
            except OSError as why:
                if attempt == attempts:
                    raise away(self._address, why) from None
            else:
                if attempt == attempts or found.status not in (again or ()):
                    return found
                asked = found.headers.get("Retry-After", "")
                rest_s = max(rest_s, float(asked) if asked.isdigit() else 0.0)
            time.sleep(min(rest_s, LONGEST_REST_S))
        raise AssertionError("the last attempt returns or raises")


def _yes(asked: bool) -> str:
    return "yes" if asked else "no"
