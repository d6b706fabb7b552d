"""Types of `quantd.Client` and its methods: `python scripts/client_stub.py` writes this file."""
# ruff: noqa

from datetime import date
from quantd.daemon.jobs.job_table import JobRunLine
from quantd.daemon.views.explanation import Explanation
from quantd.daemon.views.headroom import RiskNow
from quantd.daemon.views.other_limits import OtherCourse
from quantd.daemon.views.overview import Overview
from quantd.daemon.views.preview import PlanNow, WhatIf
from quantd.daemon.views.report.contents import Standing
from quantd.research.routes.performance_routes import Attribution, Performance, Rolling, VarRecord
from quantd.research.routes.research_job_routes import ResearchJobLine, ResearchJobsNow
from quantd.research.routes.research_routes import Beside, ComparedBacktests, Looks
from quantd.server.api.client_side.python_client import Client as PlainClient
from quantd.server.api.documents import About, Alerts, Allocations, Correlations, Decisions, Equity, Fills, HouseNow, Orders, PortfolioHistory, Positions, RiskHistory, RiskMetrics
from quantd.server.api.idempotency import ActNow
from quantd.server.api.paging import Searched
from quantd.server.api.routes.agent_routes import BookEvents, ProposalEnd
from quantd.server.api.routes.alert_routes import ActiveIncident, ActiveIncidents
from quantd.server.api.routes.command_routes import Done
from quantd.server.api.routes.job_routes import JobsNow
from quantd.server.api.routes.log_routes import Log
from quantd.server.api.routes.manual_routes import Loosened
from quantd.server.api.routes.market_routes import BarsNow, CalendarNow
from quantd.server.api.routes.model_routes import ExchangePlan, Model, ModelDetails, Models
from quantd.server.api.routes.portfolio_routes import PortfolioClosing, PortfolioList
from quantd.server.api.routes.prediction_routes import Allocated, Input, Method, Prediction
from quantd.server.api.routes.profit_routes import CurveNow, Days, PeriodNow, Profit
from quantd.server.api.routes.proposal_routes import Proposals, Reviews, Wanted
from quantd.server.api.routes.refusal_routes import Refusals
from quantd.server.api.routes.setting_routes import SettingList
from quantd.server.api.routes.switch_routes import Switches
from quantd.server.api.routes.system_routes import Policies, ScheduleList, Settings, Stats, StoredRuns, Version
from quantd.server.api.setting_changes import Change
from quantd.server.requests.manual_answers import CancelledOrder, Compared, Ordered, Paid, Previewed, SettledOrder, Stopped
from quantd.server.requests.proposal_answers import AgentStanding, ProposalAnswer
from quantd.trading.events import DeviceSignature
from typing import Literal, Unpack

class Client(PlainClient):
    def about(self) -> About:
        """The daemon and its run."""

    def acknowledge(self, incident: str, reason: str, *, key: str = "") -> ActiveIncident:
        """Acknowledge an incident."""

    def act(self, key: str) -> ActNow:
        """What became of a request of this token, by its idempotency key; 404 where the journal has no such key."""

    def active_alerts(self, *, agent: str = "") -> ActiveIncidents:
        """Incidents that hold."""

    def agent_events(self, name: str, *, since: int = 0, limit: int = 50) -> BookEvents:
        """Fills, ends and alerts of a book."""

    def agent_proposals(self, name: str, *, limit: int = 20) -> Proposals:
        """Its newest proposals with verdicts."""

    def agent_standing(self, name: str, *, symbols: str = "") -> AgentStanding:
        """Book, limits and headroom of a portfolio or an outside agent."""

    def alerts(self, *, limit: int = 100, cursor: str = "", since: int = 0, until: int = 9223372036854775807, search: str = "", totals: bool = False) -> Alerts:
        """Alerts that contain a text; with `totals`, the number of all of them."""

    def allocate(self, prices: dict[str, list[float]], **by: Unpack[Method]) -> Allocated:
        """What a `method`, or that of an `agent`, would hold after closes by symbol, oldest first."""

    def allocations(self, *, limit: int = 100, cursor: str = "", since: int = 0) -> Allocations:
        """Target weights of the agents."""

    def approve_limits(self, reason: str, *, signed: DeviceSignature | None = None, key: str = "") -> Loosened:
        """Apply looser limits that wait."""

    def attribution(self, *, start: date | None = None, end: date | None = None, book: str = "") -> Attribution:
        """The return by symbol."""

    def backtest_weights(self, name: str, weights: dict[str, float], *, start: date | None = None, end: date | None = None, key: str = "") -> ResearchJobLine:
        """Start a backtest of weights up to the present market time; `job` has its result."""

    def bars(self, symbol: str = "", *, limit: int = 250, since: int = 0, until: int = 9223372036854775807, per: Literal["bar", "day", "week", "month"] = "bar") -> BarsNow:
        """The bars of a symbol."""

    def beside(self, backtest: str = "", *, points: int = 600) -> Beside:
        """The run beside a stored backtest."""

    def calendar(self, *, limit: int = 5) -> CalendarNow:
        """The coming sessions."""

    def cancel_order(self, order: str, reason: str, *, key: str = "") -> CancelledOrder:
        """Cancel what is left of one open order, by its id."""

    def cancel_research(self, id: str, reason: str, *, key: str = "") -> ResearchJobLine: ...

    def cash(self, do: Literal["add", "remove"], amount: str, reason: str, *, agent: str = "", beyond_limits: bool = False, key: str = "") -> Paid:
        """Book a deposit or a withdrawal. One that breaks a limit is refused unless it may go `beyond_limits`."""

    def change_model(self, agent: str, do: Literal["pause", "resume", "promote", "demote"], reason: str, *, key: str = "") -> Model:
        """Pause or resume an agent, or promote or demote a shadow without a test."""

    def change_setting(self, setting: str, value: str, reason: str, *, plan: str = "", signed: DeviceSignature | None = None, key: str = "") -> Change:
        """Change a limit, a share, a schedule or what receivers get, in the file and in the run."""

    def close_portfolio(self, name: str, how: Literal["flatten", "hand_over"], reason: str, *, to: str = "", as_planned: str = "", key: str = "") -> PortfolioClosing:
        """Sell a portfolio, or hand it over to an agent."""

    def compare_backtests(self, one: str, other: str) -> ComparedBacktests:
        """Two stored backtests side by side."""

    def config(self) -> Settings:
        """The configuration in force, without secrets."""

    def decisions(self, *, limit: int = 100, cursor: str = "", since: int = 0, agent: str = "") -> Decisions:
        """Rounds and their orders."""

    def equity(self, *, points: int = 1000, since: int = 0) -> Equity:
        """Equity for a chart."""

    def fills(self, *, limit: int = 100, cursor: str = "", since: int = 0, symbol: str | None = None, until: int = 9223372036854775807) -> Fills:
        """Fills."""

    def flatten(self, reason: str = "", *, key: str = "") -> Done:
        """Close all positions of all agents."""

    def halt(self, reason: str = "", *, agent: str = "", key: str = "") -> Done:
        """Stop all trading of the house or of one agent."""

    def halt_symbol(self, do: Literal["halt", "resume"], symbol: str, reason: str, *, jump: str = "", key: str = "") -> Stopped:
        """Halt or resume trading of one symbol. With `jump` ("real" or "2:1"), end its hold after a price jump."""

    def house(self, *, since: int = 0) -> HouseNow:
        """Capital of the agents, and tests of challengers."""

    def job(self, id: str) -> JobRunLine:
        """One run of a job."""

    def jobs(self, *, limit: int = 100, job: str = "", search: str = "") -> JobsNow:
        """Jobs of schedules and their runs."""

    def load_model(self, agent: str, reason: str, *, path: str = "", version: str = "", key: str = "") -> Model:
        """Load another artifact or version."""

    def log(self, *, limit: int = 100, cursor: str = "", since: int = 0, search: str = "", level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "DEBUG") -> Log:
        """The newest lines of the daemon's log."""

    def looks(self, *, limit: int = 200, search: str = "", first: Literal["newest", "best"] = "newest") -> Looks:
        """The ledger of looks: backtests, sweeps, studies."""

    def model(self, agent: str) -> ModelDetails:
        """One model, with manifest, record and card."""

    def models(self) -> Models:
        """The models of the agents and shadows."""

    def open_portfolio(self, name: str, reason: str, *, whole: bool = False, capital: str = "1000000", as_planned: str = "", key: str = "", **wanted: Unpack[Wanted]) -> ProposalAnswer:
        """Open a portfolio and buy its first weights."""

    def order(self, side: Literal["buy", "sell"], qty: str, symbol: str, reason: str, *, agent: str = "", stop: str = "", target: str = "", limit: str = "", until: str = "", trigger: str = "", key: str = "") -> Ordered:
        """Submit a manual order through the gate; quantities and prices are decimal text."""

    def orders(self, *, group: Literal["all", "open", "cut", "filled", "cancelled", "rejected", "expired"] = "all", totals: bool = False, **of: Unpack[Searched]) -> Orders:
        """Orders of a group; with `totals`, the number of all that the search finds, by group."""

    def past_with_limit(self, limit: str) -> OtherCourse:
        """The run's past under another limit."""

    def performance(self, book: str = "", *, start: date | None = None, end: date | None = None) -> Performance:
        """Return, risk and ratios of a book."""

    def period(self, period: Literal["1D", "1W", "1M", "3M", "YTD", "1Y", "all"] = "all", *, start: date | None = None, end: date | None = None) -> PeriodNow:
        """A period by its name, in instants."""

    def pin_backtest(self, reason: str, *, backtest: str = "", key: str = "") -> ResearchJobsNow:
        """Pin a backtest as the run's reference."""

    def plan(self) -> PlanNow:
        """The orders of a round now; nothing is sent."""

    def policies(self) -> Policies:
        """Evaluation records of the agents' artifacts."""

    def portfolio_history(self, *, limit: int = 100, cursor: str = "", since: int = 0) -> PortfolioHistory:
        """Equity at samples."""

    def portfolios(self) -> PortfolioList:
        """The open portfolios."""

    def positions(self, *, limit: int = 100, search: str = "") -> Positions:
        """Positions of the house and of each agent."""

    def predict(self, **input: Unpack[Input]) -> Prediction:
        """What the policy of an `agent` or `artifact` would hold; by default in the present state."""

    def preview(self, name: str, *, whole: bool = False, key: str = "", **wanted: Unpack[Wanted]) -> ProposalAnswer:
        """The verdict and costs of targets, without an order."""

    def preview_cancel(self, order: str) -> CancelledOrder:
        """What a cancel would end; nothing is sent."""

    def preview_closing(self, name: str, how: Literal["flatten", "hand_over"], reason: str, *, to: str = "", as_planned: str = "") -> PortfolioClosing:
        """The sales of a closing; nothing is sold."""

    def preview_exchange(self, agent: str, do: Literal["promote", "demote"], reason: str) -> ExchangePlan:
        """The orders that a promotion or demotion would bring; nothing is exchanged."""

    def preview_order(self, side: Literal["buy", "sell"], qty: str, symbol: str, reason: str, *, agent: str = "", limit: str = "", until: str = "", trigger: str = "") -> Previewed:
        """What a manual order would become; nothing is sent."""

    def preview_portfolio(self, name: str, reason: str, *, whole: bool = False, capital: str = "1000000", as_planned: str = "", **wanted: Unpack[Wanted]) -> ProposalAnswer:
        """The first orders of a portfolio; nothing is opened."""

    def preview_review(self, name: str, id: str) -> ProposalAnswer:
        """The verdict and costs of a proposal that waits, if it were approved now."""

    def preview_setting(self, setting: str, value: str) -> Change:
        """What a change of a setting would become; nothing is written."""

    def profit(self, *, since: int = 0, until: int = 9223372036854775807, limit: int = 100, search: str = "") -> Profit:
        """Profit in money of the account, its books and positions."""

    def profit_curve(self, *, since: int = 0, until: int = 9223372036854775807, points: int = 600) -> CurveNow:
        """The account beside its benchmark, and what happened."""

    def profit_days(self, *, since: int = 0, until: int = 9223372036854775807, by: Literal["day", "week", "month"] = "day", limit: int = 400) -> Days:
        """Profit by day, week or month."""

    def propose(self, name: str, id: str, reason: str, *, whole: bool = False, expires: str = "", plan: str = "", key: str = "", **wanted: Unpack[Wanted]) -> ProposalAnswer:
        """Trade targets, through the gate."""

    def reconcile(self, how: str = "", reason: str = "", *, key: str = "") -> Compared:
        """Compare the books with the venue's account; with `how`, also book the differences."""

    def reduce(self, reason: str = "", *, agent: str = "", key: str = "") -> Done:
        """Permit only orders that reduce positions."""

    def refusals(self, *, group: Literal["all", "cut", "refused"] = "all", totals: bool = False, **of: Unpack[Searched]) -> Refusals:
        """Trades that limits cut or refused; with `totals`, their number by group."""

    def research_jobs(self) -> ResearchJobsNow:
        """Backtests and sweeps that were started beside the run."""

    def resume(self, reason: str, *, agent: str = "", key: str = "") -> Done:
        """Permit trading again."""

    def review(self, name: str, id: str, reason: str, *, approve: bool, plan: str = "", signed: DeviceSignature | None = None, key: str = "") -> ProposalAnswer:
        """Approve, with the `plan` of a preview, or decline a proposal that waits."""

    def reviews(self) -> Reviews:
        """The proposals that wait for a person."""

    def risk(self, *, agent: str | None = None, symbol: str | None = None, limit: int = 20, search: str = "") -> RiskNow:
        """Limits of a book, their headroom, largest orders."""

    def risk_correlations(self) -> Correlations:
        """Correlations of the largest positions."""

    def risk_history(self, *, limit: int = 100, cursor: str = "", since: int = 0) -> RiskHistory:
        """Limits over time."""

    def risk_metrics(self) -> RiskMetrics:
        """Risk measures of each book."""

    def risk_var(self) -> VarRecord:
        """The VaR backtest of the house."""

    def rolling(self, book: str = "", *, start: date | None = None, end: date | None = None, window: int = 63, points: int = 600) -> Rolling:
        """The rolling Sharpe ratio of a book."""

    def run_schedule(self, name: str, reason: str, *, key: str = "") -> JobRunLine:
        """Run a schedule now; `job` polls the run."""

    def runs(self) -> StoredRuns:
        """The runs of the store."""

    def schedules(self) -> ScheduleList:
        """Schedules with their last and next runs."""

    def settings(self) -> SettingList:
        """The settings that a request may change."""

    def settle_order(self, order: str, reason: str, *, filled: str = "", never_sent: bool = False, key: str = "") -> SettledOrder:
        """Settle an order that the venue does not confirm: `filled` as QUANTITY@PRICE, or `never_sent`."""

    def shadow_model(self, agent: str, reason: str, *, path: str = "", version: str = "", shadow: str = "", key: str = "") -> Model:
        """Load an artifact into a shadow that challenges this agent; the comparison begins anew."""

    def standing(self) -> Standing:
        """The present part of the risk report."""

    def start_backtest(self, reason: str, *, sets: list[str] = [], start: date | None = None, end: date | None = None, key: str = "") -> ResearchJobLine:
        """Start a backtest beside the run; `research_jobs` has its progress and result."""

    def start_sweep(self, reason: str, over: list[str], *, sets: list[str] = [], start: date | None = None, end: date | None = None, key: str = "") -> ResearchJobLine:
        """Start a sweep beside the run."""

    def stats(self) -> Stats:
        """Uptime, responses, memory, size of the store."""

    def status(self) -> Overview:
        """The run at a glance."""

    def switches(self) -> Switches:
        """The marks that a resume resets, and what moved each switch."""

    def version(self) -> Version:
        """Versions of the daemon and its libraries."""

    def wait(self, name: str, id: str, *, within: float = 50.0) -> ProposalEnd:
        """What became of a proposal, once it has ended."""

    def what_if(self, *, limits: list[str] = [], agent: str = "", weights: dict[str, float] = {}, shares: dict[str, float] = {}) -> WhatIf:
        """The orders of a round now, and with other limits, weights or shares; nothing is sent."""

    def why(self, what: str, *, at: str | None = None, recorded: bool = False) -> Explanation:
        """Why an order, a decision's symbol, or the newest decision of a symbol is as it is."""
