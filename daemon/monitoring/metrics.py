"""Structured log lines on standard error, and metrics for Prometheus."""

import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from logging.handlers import RotatingFileHandler
from traceback import StackSummary, TracebackException
from typing import Final, Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from structlog.typing import EventDict, ExcInfo, Processor

from quantd.bundled import placed
from quantd.daemon.monitoring.log_ring import RING, line_text
from quantd.trading.display_text import ESCAPES, LINES

LogFormat = Literal["console", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

VALUE_CHARS: Final = 2_000
"""Maximum length of one value in a log line; an exception of a user's policy may have any size."""

KIND_LINES: Final = 60
"""Maximum number of log lines of one kind of event in a minute; further lines are only counted.

Lines of level CRITICAL always pass, and lines of level DEBUG, which are off by default.
"""

MINUTE_S: Final = 60.0

KINDS: Final = 256
"""Maximum number of kinds of events that are counted separately; further kinds share the count of their logger."""

FILE_BYTES: Final = 16 << 20
FILES: Final = 8
"""FILE_BYTES is the maximum size of a log file, FILES the number of older log files."""

LABELS: Final = 64
"""Maximum number of values of one Prometheus label; further values count as "other", so that input is bounded."""

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
"""Library -> its least level. These libraries log each packet or failed attempt, which the daemon logs itself."""


def _confine(_: object, __: str, event: EventDict) -> EventDict:
    """Hides the values of secrets in an event and shortens long values, whatever a venue, file or policy wrote."""
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
    """Escapes control characters in a log event for terminals. JSON escapes them itself."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = value.translate(ESCAPES if key != "exception" else LINES)
    return event


def _with_instance(instance: str, _: object, __: str, event: EventDict) -> EventDict:
    """Adds the name of the instance, so that the lines of several instances can be told apart in one log."""
    if instance:
        event["instance"] = instance
    return event


class LogFile(RotatingFileHandler):
    """The log file in LOGS_DIR. A line that cannot be written is lost, without a traceback for each.

    `fault` is the reason why the newest line was lost; empty while lines are written.
    """

    fault = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.fault = ""
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of logging
        error = sys.exception() if sys.version_info >= (3, 11) else None
        if isinstance(error, OSError):
            self.fault = str(error.strerror or type(error).__name__).lower()
        else:
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):  # the last lines cannot be written: a reload must not fail because of them
            super().close()


def log_file_fault() -> str:
    """The reason why the log file in LOGS_DIR lost its newest line; empty if it lost none, or there is no such file."""
    handlers = logging.getLogger().handlers
    return next((handler.fault for handler in handlers if isinstance(handler, LogFile) and handler.fault), "")


class Lines(logging.StreamHandler[TextIO]):
    """Writes at most KIND_LINES lines of one kind in a minute to `out`, and passes them to `ring`.

    After the minute a line names the number of dropped lines.
    """

    def __init__(
        self, out: TextIO, clock: Callable[[], float] = time.monotonic, ring: logging.Handler | None = None
    ) -> None:
        super().__init__(out)
        self._ring = ring
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._began = clock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless KIND_LINES of its kind were written in this minute.

        Lines of level DEBUG and CRITICAL are always written.
        """
        if self._clock() - self._began >= MINUTE_S:
            self._begin()
        if record.levelno in (logging.DEBUG, logging.CRITICAL) or self._passes(record):
            self._write(record)

    def close(self) -> None:
        """Write the counts of lines that the last minute dropped, then close the stream."""
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
        """Starts a new minute of the log with a line about the lines dropped in the last minute."""
        dropped = {kind: count - KIND_LINES for kind, count in self._counts.items() if count > KIND_LINES}
        self._counts.clear()
        self._began = self._clock()
        for (name, event), lines in dropped.items():
            fields = {"msg": "log.left_out", "lines": lines, "of": event}
            record = {"name": name, "levelno": logging.WARNING, "levelname": "WARNING", **fields}
            self._write(logging.makeLogRecord(record))

    def _write(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if self._ring is not None:
            self._ring.handle(record)


def _traceback_text(exc_info: ExcInfo) -> str:
    """The traceback with file, line and function of each call, without source lines: they would be read from files."""
    traceback = TracebackException(*exc_info, lookup_lines=False, compact=True)
    link: TracebackException | None = traceback
    while link is not None:
        link.stack = StackSummary.from_list([(call.filename, call.lineno or 0, call.name, "") for call in link.stack])
        link = link.__cause__ or link.__context__
    return "".join(traceback.format()).rstrip()


def configure(
    level: LogLevel = "INFO", format: LogFormat = "console", stream: TextIO | None = None, *, instance: str = ""
) -> None:
    """Configures logging of the daemon and its libraries, one line for each event; a reload calls it again.

    JSON lines contain the name `instance`. With the environment variable LOGS_DIR they are also written to the file
    INSTANCE.log in that folder. Raises OSError.
    """
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_traceback_text),
        _confine,
    ]
    colors = format == "console" and out.isatty()
    console: list[Processor] = [_one_line, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)]
    in_json: list[Processor] = [partial(_with_instance, instance), structlog.processors.JSONRenderer()]
    renderers = in_json if format == "json" else console
    formatter, handler = structlog.stdlib.ProcessorFormatter, Lines(out, ring=RING)
    handler.setFormatter(formatter(foreign_pre_chain=shared, processors=[formatter.remove_processors_meta, *renderers]))
    RING.setFormatter(
        formatter(foreign_pre_chain=shared, processors=[formatter.remove_processors_meta, _one_line, line_text])
    )
    root = logging.getLogger()
    # a reload replaces the handlers of this function, and closes their files
    for old_handler in list(root.handlers):
        root.removeHandler(old_handler)
        if isinstance(old_handler, Lines | RotatingFileHandler):
            old_handler.close()
    root.addHandler(handler)
    if instance and os.environ.get("LOGS_DIR"):
        file = placed("LOGS_DIR") / f"{instance}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        rotating = LogFile(file, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8")
        renderers = in_json  # whatever the format on standard error
        rotating.setFormatter(
            formatter(foreign_pre_chain=shared, processors=[formatter.remove_processors_meta, *renderers])
        )
        root.addHandler(rotating)
    root.setLevel(level)
    for library, least in QUIET.items():
        logging.getLogger(library).setLevel(max(least, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, formatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers made at import time must follow the configuration
    )


class BoundedLabels:
    """Maps a label's value to itself; once LABELS values were used, a new value is mapped to "other"."""

    __slots__ = ("_seen", "_unseen")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._seen = set(values)
        self._unseen = LABELS - len(self._seen)

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        if self._unseen <= 0:
            return "other"
        self._unseen -= 1
        self._seen.add(value)
        return value


_MODEL: Final = ("agent", "model")

COUNTERS: Final[dict[str, tuple[str, ...]]] = {
    "slices": ("Market slices processed",),
    "samples": ("Samples that the fold took whole, and those that Python went on with", "path"),
    "gate_verdicts": ("Verdicts of the gate by symbol and by the limit that cut", "reason"),
    "orders": ("Orders that reached a state", "state"),
    "alerts": ("Alerts raised", "level"),
    "predictions": ("Answers of policies, by who asked and by outcome", "agent", "source", "outcome"),
    "allocations": ("Predictions with weights, by agent and by the policy that gave them", "agent", "method"),
    "job_failures": ("Failed attempts of jobs", "task"),
    "bus_drops": ("Messages lost: no broker accepted them, or the queue was full",),
    "bus_commands": ("Commands over MQTT, by result", "result"),
    "prediction_cache": (
        "Questions to models and methods over HTTP, answered from the cache (hit) or not",
        "result",
    ),
    "sink_deliveries": ("Alerts that a sink took", "sink"),
    "sink_failures": ("Failed attempts to deliver alerts to a sink", "sink"),
    "sink_drops": ("Alerts lost because the queue of a sink was full", "sink"),
    "bus_reconnects": ("Connections to the MQTT broker after the first",),
}
"""Name -> (description, labels)."""

GAUGES: Final[dict[str, tuple[str, ...]]] = {
    "ready": ("1 while the daemon takes bars and commands",),
    "condition_down": ("1 while a condition of trading is down", "condition"),
    "bar_lag_seconds": ("Age of the newest bar when it was processed; 0 with recorded bars",),
    "last_bar_timestamp_seconds": ("Close of the newest bar, market time in seconds since 1970",),
    "loop_lag_seconds": ("Largest delay of the event loop since the last scrape",),
    "open_orders": ("Orders that are open",),
    "held_symbols": ("Symbols that are held after an unexplained jump of their price",),
    "unknown_orders": ("Orders whose state at the venue is not known",),
    "bus_queue_depth": ("Messages queued for the MQTT broker",),
    "sink_queue_depth": ("Alerts queued for a sink", "sink"),
    "sink_failing": ("1 while the last delivery to a sink failed", "sink"),
    "bus_online": ("1 while the MQTT broker is connected",),
    "equity": ("Marked value of the account, in its currency",),
    "assets": ("Instruments that the account holds",),
    "weight_ratio": ("Sum of the signed weights of the account: 1 without cash",),
    "unrealised_pnl": ("Value of the positions minus their cost, in the currency of the account",),
    "drawdown_ratio": ("Loss from the highest worth of the run, a fraction",),
    "limit_drawdown_ratio": ("Loss from the highest equity since the last resume, which the limit bounds, a fraction",),
    "gross_exposure_ratio": ("Sum of absolute exposures by equity",),
    "risk_ratio": ("A risk measure of the house: a fraction or a ratio", "measure"),
    "limit_use_ratio": ("Use of a house limit, as a fraction of its bound", "limit"),
    "switch_state": ("0 RUN, 1 REDUCE, 2 HALT", "agent"),
    "agent_suspended": ("1 while an agent is suspended after failures of its policy", "agent"),
    "prediction_deadline_seconds": ("Longest time that a policy in a process of its own may take",),
    "state_free_bytes": ("Free space of the disk that has the state folder",),
    "tls_certificate_expiry_timestamp_seconds": ("End of the API's certificate, in seconds since 1970",),
    "agent_equity": ("Marked value of an agent's book; a shadow's is not part of the account", "agent", "shadow"),
    "agent_capital_ratio": ("An agent's share of the agents' capital", "agent"),
    "agents_correlation_ratio": ("Mean absolute correlation of the agents' returns",),
    "model_r2": ("Out-of-sample R2 of a helper model at training", *_MODEL, "estimate"),
    "model_mse": ("Out-of-sample mean squared error of a helper model at training", *_MODEL, "estimate"),
    "model_running_mse": ("Mean squared error of a helper model's latest predictions", *_MODEL, "estimate"),
    "model_on": ("1 while a helper model is used, 0 while the plain estimate is used", *_MODEL),
    "model_training_seconds": ("Training time of a helper model", *_MODEL),
}

HISTOGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "prediction_duration_seconds": ("Time from the call of a policy to its answer", "agent", "source"),
    "allocation_confidence_ratio": (
        "Concentration of an allocation, 1 - normalised entropy of its weights and cash; no probability",
        *("agent", "method"),
    ),
    "decision_seconds": ("Time from a tick to the orders of its decision, all agents together",),
    "job_seconds": ("Duration of scheduled jobs", "task"),
}
BUCKETS: Final = {
    "prediction_duration_seconds": (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 2.5, 5.0, 10.0),
    "allocation_confidence_ratio": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "decision_seconds": (1e-4, 1e-3, 0.01, 0.1, 1.0, 2.5, 5.0, 10.0),
    "job_seconds": (1e-3, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0),
}

CONDITIONAL: Final = frozenset(
    {"agents_correlation_ratio", "last_bar_timestamp_seconds", "tls_certificate_expiry_timestamp_seconds"}
)
"""Gauges that are not exported before they have a value, because 0 would be wrong."""


class Metrics:
    """The daemon's metrics in a separate registry; each has the label `name`, the name of the instance.

    No label is called `job` or `instance`, because Prometheus sets these for a target. Methods take a metric's name and
    the values of its other labels. A value None is not exported.
    """

    def __init__(self, name: str, agents: Iterable[str] = ()) -> None:
        """`name` is the name of the instance. The whole account and each of `agents` have a label value in
        any case; further agents may become "other" (BoundedLabels)."""
        self.registry = CollectorRegistry()
        self._name = name
        self._labels = defaultdict(BoundedLabels, agent=BoundedLabels(("house", *agents)))
        self._totals: dict[tuple[str, ...], float] = {}

        def metric_arguments(
            table: dict[str, tuple[str, ...]],
        ) -> Iterator[tuple[str, tuple[str, str, tuple[str, ...]]]]:
            """Return (key, arguments for the class of prometheus_client) of each metric of a table."""
            return ((key, (f"quantd_{key}", text, ("name", *labels))) for key, (text, *labels) in table.items())

        registry = self.registry
        self._counters = {key: Counter(*arguments, registry=registry) for key, arguments in metric_arguments(COUNTERS)}
        self._gauges = {key: Gauge(*arguments, registry=registry) for key, arguments in metric_arguments(GAUGES)}
        self._histograms = {
            key: Histogram(*arguments, registry=registry, buckets=BUCKETS[key])
            for key, arguments in metric_arguments(HISTOGRAMS)
        }
        for key, text_and_labels in (COUNTERS | GAUGES).items():
            # exported as 0 from the start: a metric without labels, unless 0 would be a wrong value
            if len(text_and_labels) == 1 and key not in CONDITIONAL:
                (self._counters.get(key) or self._gauges[key]).labels(name)
        self.set("switch_state", 0, "house")

    def set(self, gauge: str, value: float | None, *labels: str) -> None:
        if value is not None:
            self._gauges[gauge].labels(self._name, *self._bounded(GAUGES[gauge], labels)).set(value)

    def replace(self, gauge: str, values: Mapping[str, float | None]) -> None:
        """Sets a gauge to `values` (value of its one label -> measured value), and removes all other label values."""
        self._gauges[gauge].clear()
        for label, value in values.items():
            self.set(gauge, value, label)

    def total(self, counter: str, total: float, *labels: str) -> None:
        """Advances a counter to `total`, its count so far; a lower total than before begins a new count."""
        key = (counter, *labels)
        child = self._counters[counter].labels(self._name, *self._bounded(COUNTERS[counter], labels))
        child.inc(max(0.0, total - self._totals.get(key, 0.0)))
        self._totals[key] = total

    def observe(self, histogram: str, value: float, *labels: str) -> None:
        self._histograms[histogram].labels(self._name, *self._bounded(HISTOGRAMS[histogram], labels)).observe(value)

    def render(self) -> tuple[bytes, str]:
        """(the metrics in Prometheus's text format, its content type).

        The content type has a charset, so that aiohttp accepts it in `headers` only.
        """
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _bounded(self, about: tuple[str, ...], values: tuple[str, ...]) -> list[str]:
        return [self._labels[label](value) for label, value in zip(about[1:], values, strict=True)]
