"""Structured log lines on standard error, and metrics for Prometheus."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from structlog.typing import EventDict, Processor

from quantd.trading.display_text import ESCAPES, LINES

LogFormat = Literal["console", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

VALUE_CHARS: Final = 2_000
"""Maximum length of one value in a log line; an exception of a user's policy may have any size."""

KIND_LINES: Final = 60
"""Maximum of log lines of one kind of event in a minute; later ones are only counted.

CRITICAL always passes. So does DEBUG, which is off by default.
"""

MINUTE_S: Final = 60.0

KINDS: Final = 256
"""Maximum of kinds of events with a count of their own; later ones share the count of their logger."""

LABELS: Final = 64
"""Maximum of values of one label; later values count as "other", so that no input can grow the metrics."""

SECRET_WORDS: Final = ("password", "passwd", "secret", "token", "api_key", "apikey", "authorization")

QUIET: Final = {
    "aiosqlite": logging.WARNING,
    "amqtt": logging.ERROR,
    "apscheduler": logging.WARNING,
    "asyncio": logging.WARNING,
    "mqtt": logging.CRITICAL,
    "sqlalchemy": logging.WARNING,
    "transitions": logging.WARNING,
    "urllib3": logging.WARNING,
    "websockets": logging.WARNING,
}
"""Libraries that log each packet or failed attempt; the daemon logs the relevant events itself."""


def _confine(_: object, __: str, event: EventDict) -> EventDict:
    """Bounds an event to one line, whatever a venue, a file or a policy put into it."""
    for key, value in event.items():
        if any(word in key.lower() for word in SECRET_WORDS):
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = _short(value).encode("utf-8", "replace").decode()
        elif not isinstance(value, int | float | None) and len(text := repr(value)) > VALUE_CHARS:
            event[key] = _short(text)
    return event


def _short(text: str) -> str:
    return text if len(text) <= VALUE_CHARS else text[:VALUE_CHARS] + "…"


def _one_line(_: object, __: str, event: EventDict) -> EventDict:
    """Escapes control characters for terminals. JSON escapes them itself."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = value.translate(ESCAPES if key != "exception" else LINES)
    return event


class Lines(logging.StreamHandler[TextIO]):
    """Passes at most KIND_LINES of one kind in a minute. The next line after that has the number of dropped lines."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(out)
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._began = clock()

    def emit(self, record: logging.LogRecord) -> None:
        if self._clock() - self._began >= MINUTE_S:
            self._begin()
        if record.levelno in (logging.DEBUG, logging.CRITICAL) or self._passes(record):
            super().emit(record)

    def close(self) -> None:
        self._begin()
        super().close()

    def _passes(self, record: logging.LogRecord) -> bool:
        # a daemon event is a dict with a constant name; a library's message is its format, without arguments
        event = record.msg.get("event") if isinstance(record.msg, dict) else record.msg
        kind = (record.name, str(event))
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = (record.name, "others")
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind] <= KIND_LINES

    def _begin(self) -> None:
        """Starts a new minute with a line about the lines dropped in the last one."""
        left_out = {kind: count - KIND_LINES for kind, count in self._counts.items() if count > KIND_LINES}
        self._counts.clear()
        self._began = self._clock()
        for (name, event), lines in left_out.items():
            said = {"msg": "log.left_out", "lines": lines, "of": event}
            super().emit(
                logging.makeLogRecord({"name": name, "levelno": logging.WARNING, "levelname": "WARNING", **said})
            )


def configure(level: LogLevel = "INFO", format: LogFormat = "console", stream: TextIO | None = None) -> None:
    """Configures logging of the daemon and its libraries, one event a line; a reload calls it again."""
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _confine,
    ]
    colors = format == "console" and out.isatty()
    last: list[Processor] = (
        [structlog.processors.JSONRenderer()]
        if format == "json"
        else [_one_line, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)]
    )
    handler = Lines(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, Lines):
            old.close()
    root.addHandler(handler)
    root.setLevel(level)
    for library, least in QUIET.items():
        logging.getLogger(library).setLevel(max(least, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers made at import time must follow the configuration
    )


class BoundedLabels:
    """The first LABELS values of a label; later ones become "other"."""

    __slots__ = ("_seen", "_unseen")

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._seen = set(known)
        self._unseen = LABELS - len(self._seen)

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        if self._unseen <= 0:
            return "other"
        self._unseen -= 1
        self._seen.add(value)
        return value


class Metrics:
    """The daemon's metrics in a registry of their own, each with the label `name` of the instance."""

    def __init__(self, name: str, agents: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self._name = name
        self._labels: MutableMapping[str, BoundedLabels] = {
            "agent": BoundedLabels(("house", *agents)),
            **{
                label: BoundedLabels()
                for label in ("reason", "state", "job", "level", "result", "measure", "limit", "model", "sink")
            },
        }
        self._totals: dict[str, float] = {}

        def counter(key: str, text: str, *labels: str) -> Counter:
            return Counter(f"quantd_{key}", text, ("name", *labels), registry=self.registry)

        def gauge(key: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"quantd_{key}", text, ("name", *labels), registry=self.registry)

        self._slices = counter("slices", "Market slices processed").labels(name)
        self._bar_lag = gauge("bar_lag_seconds", "Age of the newest bar when it was processed").labels(name)
        self._loop_lag = gauge("loop_lag_seconds", "Largest delay of the event loop since the last scrape").labels(name)
        decision = Histogram(
            "quantd_decision_seconds",
            "Time from the call of a policy to its answer",
            ("name", "agent"),
            registry=self.registry,
            buckets=(1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0),
        )
        job = Histogram(
            "quantd_job_seconds",
            "Duration of scheduled jobs",
            ("name", "job"),
            registry=self.registry,
            buckets=(1e-3, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0),
        )
        self._decision = decision
        self._job = job
        self._verdicts = counter("gate_verdicts", "Verdicts of the gate by symbol and by the limit that cut", "reason")
        self._orders = counter("orders", "Orders that reached a state", "state")
        self._open_orders = gauge("open_orders", "Orders that are open").labels(name)
        self._alerts = counter("alerts", "Alerts raised", "level")
        self._queue = gauge("bus_queue_depth", "Messages queued for the MQTT broker").labels(name)
        self._online = gauge("bus_online", "1 while the MQTT broker is connected").labels(name)
        self._drops = counter("bus_drops", "Messages lost: no broker accepted them, or the queue was full").labels(name)
        self._commands = counter("bus_commands", "Commands over MQTT, by result", "result")
        self._reconnects = counter("bus_reconnects", "Connections to the MQTT broker after the first").labels(name)
        self._sink_depth = gauge("sink_queue_depth", "Alerts queued for a sink", "sink")
        self._sink_totals = {
            "sent": counter("sink_deliveries", "Alerts that a sink took", "sink"),
            "failures": counter("sink_failures", "Failed attempts to deliver alerts to a sink", "sink"),
            "drops": counter("sink_drops", "Alerts lost because the queue of a sink was full", "sink"),
        }
        self._equity = gauge("equity", "Marked value of the account, in its currency").labels(name)
        self._drawdown = gauge("drawdown_ratio", "Loss from the high-water mark, a fraction").labels(name)
        self._gross = gauge("gross_exposure_ratio", "Sum of absolute exposures by equity").labels(name)
        self._risk = gauge("risk_ratio", "A risk measure of the house: a fraction or a ratio", "measure")
        self._use = gauge("limit_use_ratio", "Use of a house limit, as a fraction of its bound", "limit")
        self._switch = gauge("switch_state", "0 RUN, 1 REDUCE, 2 HALT", "agent")
        self._switch.labels(name, "house").set(0)
        self._agents = gauge(
            "agent_equity", "Marked value of an agent's book; a shadow's is not part of the account", "agent", "shadow"
        )
        self._shares = gauge("agent_capital_ratio", "An agent's share of the agents' capital", "agent")
        self._diversity = gauge("agents_correlation_ratio", "Mean absolute correlation of the agents' returns")
        model = ("agent", "model")
        self._model_figures = {
            "r2": gauge("model_r2", "Out-of-sample R2 of a helper model at training", *model, "estimate"),
            "mse": gauge(
                "model_mse", "Out-of-sample mean squared error of a helper model at training", *model, "estimate"
            ),
            "running_mse": gauge(
                "model_running_mse", "Mean squared error of a helper model's latest predictions", *model, "estimate"
            ),
        }
        self._model_on = gauge("model_on", "1 while a helper model is used, 0 while the plain estimate is used", *model)
        self._model_seconds = gauge("model_training_seconds", "Training time of a helper model", *model)

    def slices(self, total: int, bar_lag_s: float) -> None:
        """`total` slices so far."""
        self._advance(self._slices, "slices", total)
        self._bar_lag.set(bar_lag_s)

    def loop_lag(self, seconds: float) -> None:
        self._loop_lag.set(seconds)

    def decision(self, agent: str, seconds: float) -> None:
        self._decision.labels(self._name, self._labels["agent"](agent)).observe(seconds)

    def job(self, job: str, seconds: float) -> None:
        self._job.labels(self._name, self._labels["job"](job)).observe(seconds)

    def trail(self, verdicts: Mapping[str, int], orders: Mapping[str, int], alerts: Mapping[str, int]) -> None:
        """Totals so far: verdicts by the limit that cut ("" when all passed), orders by state, alerts by level."""
        for counter, label, totals in (
            (self._verdicts, "reason", verdicts),
            (self._orders, "state", orders),
            (self._alerts, "level", alerts),
        ):
            for key, total in totals.items():
                child = counter.labels(self._name, self._labels[label](key or "passed"))
                self._advance(child, f"{label} {key}", total)

    def open_orders(self, count: int) -> None:
        self._open_orders.set(count)

    def bus(self, *, online: bool, queue_depth: int, drops: int, reconnects: int) -> None:
        """The bus's present counters."""
        self._online.set(online)
        self._queue.set(queue_depth)
        self._advance(self._drops, "drops", drops)
        self._advance(self._reconnects, "reconnects", reconnects)

    def sink(self, kind: str, depth: int, *, sent: int, failures: int, drops: int) -> None:
        """The present counters of one sink."""
        label = self._labels["sink"](kind)
        self._sink_depth.labels(self._name, label).set(depth)
        for key, total in (("sent", sent), ("failures", failures), ("drops", drops)):
            self._advance(self._sink_totals[key].labels(self._name, label), f"sink {kind} {key}", total)

    def commands(self, counts: Mapping[str, int]) -> None:
        """Commands over MQTT: result -> total so far."""
        for result, total in counts.items():
            self._advance(self._commands.labels(self._name, self._labels["result"](result)), f"command {result}", total)

    def account(self, equity: float, drawdown: float, gross: float) -> None:
        self._equity.set(equity)
        self._drawdown.set(drawdown)
        self._gross.set(gross)

    def risk(self, measures: Mapping[str, float | None], use: Mapping[str, float | None]) -> None:
        """Measures by name and use of limits by key; unknown ones are not exported."""
        for found, label, gauge in ((measures, "measure", self._risk), (use, "limit", self._use)):
            gauge.clear()
            for key, value in found.items():
                if value is not None:
                    gauge.labels(self._name, self._labels[label](key)).set(value)

    def model(
        self,
        agent: str,
        model: str,
        *,
        on: bool,
        seconds: float | None,
        figures: Mapping[str, tuple[float | None, float | None]],
    ) -> None:
        """One helper model of an agent; `figures`: "r2", "mse", "running_mse" -> (model, plain estimate)."""
        labels = self._name, self._labels["agent"](agent), self._labels["model"](model)
        self._model_on.labels(*labels).set(on)
        if seconds is not None:
            self._model_seconds.labels(*labels).set(seconds)
        for key, values in figures.items():
            for estimate, value in zip(("model", "plain"), values, strict=True):
                if value is not None:
                    self._model_figures[key].labels(*labels, estimate).set(value)

    def switch(self, agent: str, state: int) -> None:
        """`agent` is a name or "house"; `state` 0 RUN, 1 REDUCE, 2 HALT."""
        self._switch.labels(self._name, self._labels["agent"](agent)).set(state)

    def agent(self, agent: str, equity: float, share: float | None, *, shadow: bool) -> None:
        """An agent's equity, and its capital share when capital is reallocated."""
        label = self._labels["agent"](agent)
        self._agents.labels(self._name, label, "1" if shadow else "0").set(equity)
        if share is not None:
            self._shares.labels(self._name, label).set(share)

    def diversity(self, value: float | None) -> None:
        """Mean absolute correlation of the agents' returns; not exported while unknown."""
        if value is not None:
            self._diversity.labels(self._name).set(value)

    def render(self) -> tuple[bytes, str]:
        """The exposition and its content type, which aiohttp takes in `headers` because it has a charset."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _advance(self, counter: Counter, key: str, total: float) -> None:
        step = total - self._totals.get(key, 0.0)
        if step > 0:
            counter.inc(step)
        self._totals[key] = total


def logger(component: str) -> Any:
    """A structlog logger with the name of a component."""
    return structlog.stdlib.get_logger(f"quantd.{component}")
