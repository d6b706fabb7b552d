"""Log lines that stay one line, and metrics that cannot grow."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from structlog.stdlib import get_logger

from quantd.daemon.monitoring.metrics import (
    KIND_LINES,
    KINDS,
    LABELS,
    VALUE_CHARS,
    Lines,
    LogFormat,
    Metrics,
    configure,
)
from tests.support.examples import examples

NASTY = st.text(st.characters(exclude_categories=()))


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(format: LogFormat, speak: "object", level: str = "INFO") -> list[str]:
    out = io.StringIO()
    configure(level, format, out)  # type: ignore[arg-type]
    speak()  # type: ignore[operator]
    return out.getvalue().splitlines()


@pytest.mark.requirement("R-007")
def test_json_lines_carry_event_level_component_and_values() -> None:
    (line,) = lines("json", lambda: get_logger("quantd.bus").info("connected", host="h", attempts=3))
    spoken = json.loads(line)
    assert spoken.pop("timestamp").endswith("Z")
    assert spoken == {"event": "connected", "level": "info", "logger": "quantd.bus", "host": "h", "attempts": 3}


@pytest.mark.requirement("R-007")
def test_json_lines_of_a_run_and_of_its_libraries_name_the_instance() -> None:
    out = io.StringIO()
    configure("INFO", "json", out, instance="second")
    get_logger("quantd.jobs").warning("retraining.ended", agent="trend", reason="the service stops")
    logging.getLogger("some.library").warning("disk full")
    configure("INFO", "json", io.StringIO())
    daemon_line, foreign = map(json.loads, out.getvalue().splitlines())
    assert (daemon_line["instance"], daemon_line["agent"], foreign["instance"]) == ("second", "trend", "second")


def test_the_level_holds_for_us_and_for_libraries() -> None:
    def speak() -> None:
        get_logger("quantd.x").info("no")
        logging.getLogger("y").info("no")
        get_logger("quantd.x").warning("yes")

    assert [json.loads(line)["event"] for line in lines("json", speak, "WARNING")] == ["yes"]


def test_noise_of_the_mqtt_libraries_is_down_and_ours_is_not() -> None:
    def speak() -> None:
        logging.getLogger("amqtt.broker").warning("packet")
        logging.getLogger("mqtt").error("socket")
        logging.getLogger("transitions.core").info("state")
        logging.getLogger("quantd.bus").warning("broker away")

    assert [json.loads(line)["event"] for line in lines("json", speak)] == ["broker away"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@example("a\nb", "\x1b[2J\x85\u2028\r\ud800")
@given(NASTY, NASTY)
def test_no_input_makes_a_second_line_or_stops_a_line(event: str, value: str) -> None:
    for format in ("json", "console"):
        output_lines = lines(format, lambda: get_logger("quantd.x").info(event, value=value))  # type: ignore[arg-type]
        assert len(output_lines) == 1
        assert "\x1b" not in output_lines[0]


def test_an_exception_of_somebody_elses_code_cannot_steer_the_terminal() -> None:
    def speak() -> None:
        try:
            raise ValueError("\x1b[2J gone")
        except ValueError:
            get_logger("quantd.x").exception("failed")

    text = "\n".join(lines("console", speak))
    assert "\\x1b[2J gone" in text
    assert "\x1b" not in text


def test_secrets_are_not_told_and_values_are_bounded() -> None:
    (line,) = lines(
        "json", lambda: get_logger("quantd.x").info("login", mqtt_password="hunter2", token="t", text="x" * 10_000)
    )
    spoken = json.loads(line)
    assert (spoken["mqtt_password"], spoken["token"]) == ("***", "***")
    assert len(spoken["text"]) == VALUE_CHARS + 1


@pytest.mark.long
def test_a_flood_of_one_event_is_counted_and_hides_no_other() -> None:
    now = [0.0]

    def flood() -> None:
        flooded = get_logger("quantd.api")
        for k in range(10_000):
            flooded.warning("api.refused", text="x" * 5_000, n=k)
            logging.getLogger("lib").error("failed with %s", k)
            if k % 1_000 == 0:
                flooded.critical("store.failing", n=k)
        flooded.warning("command.taken")
        now[0] = 61.0
        flooded.info("standing")

    out = io.StringIO()
    configure("INFO", "json", out)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, Lines)
    handler._clock, handler._began = lambda: now[0], 0.0
    flood()
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    events = [record["event"] for record in records]
    assert events.count("api.refused") == KIND_LINES
    assert sum(event.startswith("failed with") for event in events) == KIND_LINES
    assert events.count("store.failing") == 10
    assert "command.taken" in events
    left_out = {record["of"]: record["lines"] for record in records if record["event"] == "log.left_out"}
    assert left_out == {"api.refused": 10_000 - KIND_LINES, "failed with %s": 10_000 - KIND_LINES}
    assert events[-1] == "standing"
    assert len(out.getvalue()) < 2 * KIND_LINES * 3_000


def test_events_with_ever_new_names_are_bounded_too() -> None:
    def speak() -> None:
        for k in range(10_000):
            logging.getLogger("lib").warning(f"text {k}")

    assert len(lines("json", speak)) <= KINDS + KIND_LINES


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    text, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (s.name, *(v for k, v in sorted(s.labels.items()) if k != "name")): s.value
        for family in text_string_to_metric_families(text.decode())
        for s in family.samples
    }


def test_counters_of_the_bus_only_grow() -> None:
    metrics = Metrics("paper")
    for drops in (2, 5, 0, 3):  # a new bus starts at 0
        metrics.total("bus_drops", drops)
    assert samples(metrics)[("quantd_bus_drops_total",)] == 8


def test_labels_are_bounded_and_what_is_too_many_is_still_counted() -> None:
    metrics = Metrics("paper", ["learned"])
    for k in range(10 * LABELS):
        metrics.total("gate_verdicts", 1, f"reason {k}")
        metrics.observe("prediction_duration_seconds", 0.1, f"agent {k}", "decision")
    metrics.set("switch_state", 2, "learned")
    scrape = samples(metrics)
    reasons = {k: v for k, v in scrape.items() if k[0] == "quantd_gate_verdicts_total"}
    assert len(reasons) == LABELS + 1
    assert sum(reasons.values()) == 10 * LABELS
    assert scrape[("quantd_switch_state", "learned")] == 2
