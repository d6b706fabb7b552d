"""GET /metrics: the state of the service as Prometheus metrics."""

import asyncio
import shutil
from typing import TYPE_CHECKING, Final, get_args

import structlog
from aiohttp import web

from quantd.adapters.certificates import end_s
from quantd.daemon.engine.operator_events import NOTED
from quantd.daemon.monitoring.metrics import Metrics
from quantd.daemon.policies.predictions import Outcome
from quantd.daemon.views.agent_rows import helper_models
from quantd.daemon.views.overview import READY, SWITCH, Overview, positions
from quantd.daemon.views.risk_measures import METRICS, metrics_of
from quantd.risk.assessment import Assessment
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Page
from quantd.server.api.run_reader import RunReader
from quantd.trading.effects import Level
from quantd.trading.events import Condition
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import OrderState

if TYPE_CHECKING:
    from quantd.adapters.bus.publisher import MqttBus

CONDITIONS: Final = sorted({*get_args(Condition.__annotations__["what"])} - {*NOTED, "job", "statement"})
"""Names of the conditions that are up or down, without events that are only noted."""

log = structlog.get_logger("quantd.api")


class Scrape:
    """The Prometheus metrics of one service; `bus` is its publisher of the message bus, or None without a bus."""

    def __init__(self, run: RunReader, bus: "MqttBus | None") -> None:
        """Register the metrics of a run; `bus` is the publisher of the message bus, or None."""
        self._run = run
        self._bus = bus
        names = [agent.name for agent in run.config.seats]
        self._metrics = Metrics(run.config.quantd.name, names)
        # every counter begins at 0: Prometheus' `increase` would miss the first event of a counter that appears at 1
        for level in get_args(Level):
            self._metrics.total("alerts", 0, level)
        for name in names:
            # a place for a portfolio is an agent without capital; it is shown once a portfolio is open
            if name in run.config.places:
                continue
            for outcome in get_args(Outcome):
                self._metrics.total("predictions", 0, name, "decision", outcome)

    async def metrics(self, request: web.Request) -> web.Response:
        """Updates and renders all metrics for a scrape by Prometheus."""
        free_bytes, expiry_s = await asyncio.to_thread(self._files)
        self._metrics.set("state_free_bytes", free_bytes)
        self._metrics.set("tls_certificate_expiry_timestamp_seconds", expiry_s)
        now = self._run.now()
        self._steps(now)
        self._predictions()
        self._process()
        self._account(now, (await self._run.house_assessed()).house)
        self._agents(now)
        self._deliveries()
        body, kind = self._metrics.render()
        return web.Response(body=body, headers={"Content-Type": kind})

    def _files(self) -> tuple[int | None, float | None]:
        """Return (free bytes on the disk of the state folder, end of the TLS certificate in s UTC).

        Each is None if it cannot be read.
        """
        free_bytes: int | None = None
        expiry_s: float | None = None
        config = self._run.config
        try:
            free_bytes = shutil.disk_usage(self._run.folder).free
            expiry_s = end_s(config.at(config.api.tls.certificate)) if config.api.tls is not None else None
        except (OSError, ValueError) as why:
            log.warning("metrics.unread", why=str(why))
        return free_bytes, expiry_s

    def _steps(self, now: Overview) -> None:
        """Set the Prometheus metrics of bars, verdicts of the limits, orders and alerts."""
        metrics, service = self._metrics, self._run.service
        trace = service.trace
        metrics.total("slices", now.slices)
        for path, samples in zip(("fold", "step"), self._run.service.shell.samples, strict=True):
            metrics.total("samples", samples, path)
        for counter, totals in (
            ("gate_verdicts", trace.verdicts),
            ("orders", trace.orders),
            ("alerts", trace.alerts),
            ("bus_commands", service.bus_commands),
            ("job_failures", service.measured.task_failures),
            ("prediction_cache", self._run.predictions),
        ):
            for key, total in totals.items():
                metrics.total(counter, total, key or "passed")  # the verdict without a limit has no key
        while service.measured.tasks:
            job, seconds = service.measured.tasks.popleft()
            metrics.observe("job_seconds", seconds, job)
        works = service.shell.state.at_venue().values()
        metrics.set("open_orders", now.open_orders)
        metrics.set("held_symbols", len(now.jumped))  # trading in these is held after a jump of their price
        metrics.set("unknown_orders", sum(list(work.state).count(OrderState.UNKNOWN) for work in works))

    def _predictions(self) -> None:
        """Set the Prometheus metrics of the policies' answers, and of the decisions that follow from these answers."""
        metrics, service = self._metrics, self._run.service
        predictions, names = service.measured.predictions, service.shell.state.rules.names()
        for (agent, source, outcome), total in list(predictions.counts.items()):
            metrics.total("predictions", total, names[agent], source, outcome)
        for (agent, method), total in list(predictions.allocations.items()):
            metrics.total("allocations", total, names[agent], method)
        while predictions.durations:
            agent, source, seconds = predictions.durations.popleft()
            metrics.observe("prediction_duration_seconds", seconds, names[agent], source)
        while predictions.confidences:
            agent, method, value = predictions.confidences.popleft()
            metrics.observe("allocation_confidence_ratio", value, names[agent], method)
        while service.measured.decisions:
            metrics.observe("decision_seconds", service.measured.decisions.popleft())
        if service.deadline is not None:
            metrics.set("prediction_deadline_seconds", service.deadline.limit_s)

    def _process(self) -> None:
        """Set the Prometheus metrics of the daemon: feed, event loop and alert conditions."""
        metrics, service = self._metrics, self._run.service
        last_ns = int(service.shell.state.mark_ts.max())
        metrics.set("ready", service.status in READY)
        metrics.replace(
            "condition_down", {condition: condition in service.shell.state.down for condition in CONDITIONS}
        )
        metrics.set("bar_lag_seconds", service.measured.bar_lag_s)
        metrics.set("last_bar_timestamp_seconds", last_ns / NANO if last_ns else None)
        metrics.set("loop_lag_seconds", service.measured.loop_lag_s)
        service.measured.loop_lag_s = 0.0  # it is the largest lag since the last scrape

    def _account(self, now: Overview, house: Assessment) -> None:
        """Set the metrics of the portfolio, its risk and its limits."""
        metrics, state = self._metrics, self._run.service.shell.state
        held_positions = [position for position in positions(state)[0] if float(position.qty)]
        risk_figures = metrics_of(house)
        metrics.set("equity", state.equity_micro / MICRO)
        metrics.set("assets", len(held_positions))
        metrics.set("weight_ratio", sum(position.weight for position in held_positions))
        metrics.set("unrealised_pnl", sum(float(position.value) - float(position.cost) for position in held_positions))
        metrics.set("drawdown_ratio", now.drawdown)
        metrics.set("limit_drawdown_ratio", now.limit_drawdown)
        metrics.set("gross_exposure_ratio", now.gross or 0.0)
        metrics.replace("risk_ratio", {name: getattr(risk_figures, name) for name in METRICS})
        metrics.replace("limit_use_ratio", {limit.limit: limit.use for limit in now.limits})
        metrics.set("switch_state", state.switch.state, "house")

    def _agents(self, now: Overview) -> None:
        """Set the metrics of agents, shadows (agents that are simulated beside the account) and their helper models.

        Figures are labelled by source: "model" for the model, and "plain" for the forecast without it.
        """
        metrics, shell = self._metrics, self._run.service.shell
        state = shell.state
        for agent in now.agents:
            metrics.set("switch_state", SWITCH.index(agent.switch), agent.name)
            metrics.set("agent_suspended", agent.suspended, agent.name)
            metrics.set("agent_equity", float(agent.equity), agent.name, "1" if agent.shadow else "0")
            metrics.set("agent_capital_ratio", agent.share, agent.name)
        metrics.set("agents_correlation_ratio", now.diversity)
        for name, model, accuracy in helper_models(shell.seats.all(), state):
            metrics.set("model_on", accuracy.on, name, model)
            metrics.set("model_training_seconds", accuracy.seconds, name, model)
            for figure, learned, plain in (
                ("model_r2", accuracy.r2, accuracy.plain_r2),
                ("model_mse", accuracy.mse, accuracy.plain_mse),
                ("model_running_mse", accuracy.running_mse, accuracy.running_plain_mse),
            ):
                metrics.set(figure, learned, name, model, "model")
                metrics.set(figure, plain, name, model, "plain")

    def _deliveries(self) -> None:
        """Set the metrics of the bus and the sinks of alerts."""
        metrics, service, bus = self._metrics, self._run.service, self._bus
        if bus is not None:
            metrics.set("bus_online", bus.online)
            metrics.set("bus_queue_depth", bus.queue_depth)
            metrics.total("bus_drops", bus.drops)
            metrics.total("bus_reconnects", bus.reconnects)
        for sink, counts in service.sinks.items():
            metrics.set("sink_queue_depth", counts.depth, sink)
            metrics.set("sink_failing", bool(counts.error), sink)
            metrics.total("sink_deliveries", counts.sent, sink)
            metrics.total("sink_failures", counts.failures, sink)
            metrics.total("sink_drops", service.store.dropped(sink), sink)


ROUTES: Final = RouteGroup(
    "metrics",
    100,
    lambda context: Scrape(context.run, context.bus),
    (Page("/metrics", Scrape.metrics, "Metrics for Prometheus.", "text/plain", scope="metrics"),),
)
