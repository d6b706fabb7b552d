"""A scrape of a real service: predictions, allocations, portfolio, process, bus and certificate, as parsed."""

import asyncio
import signal
import time
from typing import get_args

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from quantd.adapters.bus.publisher import MqttBus
from quantd.adapters.bus.settings import MqttSettings
from quantd.adapters.certificates import end_s
from quantd.daemon.engine.operator_events import on_condition
from quantd.daemon.monitoring.metrics import CONDITIONAL, COUNTERS, GAUGES, HISTOGRAMS
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.views.overview import positions
from quantd.server.api.routes.metrics_route import CONDITIONS
from quantd.trading.effects import Ask
from quantd.trading.events import Condition, Decided
from quantd.trading.orders import OrderState
from tests.support.api_world import World, standing_at_the_end
from tests.support.command_line import CONFIG
from tests.support.mqtt import MemoryOutbox, Mosquitto, certificate, until


class Daemon(World):
    """A world whose policies are called as in the daemon."""

    def __init__(self, folder, text):
        super().__init__(folder, text)
        service = self.service
        deadline = Deadline(self.assembly.policies, method=service.shell.seats.method)
        service.deadline = service.shell.answer = service.shell.meanwhile = deadline
        service.measured.predictions = service.deadline.predictions


@pytest.fixture
async def world(tmp_path):
    async with standing_at_the_end(tmp_path, kind=Daemon) as world:
        yield world


async def scrape(world):
    """(name, labels beside `name`) -> value."""
    async with world.session.get("/metrics") as response:
        text = await response.text()
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "name")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.requirement("R-211")
async def test_each_answer_of_a_policy_is_a_prediction_with_its_duration(world):
    metrics = await scrape(world)
    for agent in ("even", "trend"):
        outcomes = {kind: metrics["quantd_predictions_total", agent, kind, "decision"] for kind in ("weights", "hold")}
        assert metrics["quantd_prediction_duration_seconds_count", agent, "decision"] == sum(outcomes.values()) > 0
        assert 0 < metrics["quantd_prediction_duration_seconds_sum", agent, "decision"] < 60
        assert metrics["quantd_predictions_total", agent, "failed", "decision"] == 0
    assert metrics["quantd_prediction_deadline_seconds",] == world.service.deadline.limit_s
    again = await scrape(world)
    assert (
        again["quantd_prediction_duration_seconds_count", "even", "decision"]
        == (metrics["quantd_prediction_duration_seconds_count", "even", "decision"])
    )


async def test_an_answer_to_a_request_is_a_prediction_of_its_own_source(world):
    weights = np.array([0.2, 0.2, 0.2], dtype="<f8").tobytes()
    world.service.measured.predictions.add(Ask(0, 1, None, {}), Decided(0, 1, weights=weights), 0.05, "request", "x")
    metrics = await scrape(world)
    assert metrics["quantd_predictions_total", "trend", "weights", "request"] == 1
    assert metrics["quantd_prediction_duration_seconds_sum", "trend", "request"] == 0.05
    assert metrics["quantd_prediction_duration_seconds_bucket", "trend", "0.1", "request"] == 1
    assert metrics["quantd_prediction_duration_seconds_bucket", "trend", "0.01", "request"] == 0


@pytest.mark.requirement("R-213")
async def test_allocations_are_counted_by_agent_and_method_with_their_confidence(world):
    metrics = await scrape(world)
    for agent, method in (("even", "equal_weight"), ("trend", "momentum")):
        count = metrics["quantd_allocations_total", agent, method]
        assert count == metrics["quantd_predictions_total", agent, "weights", "decision"] > 0
        assert metrics["quantd_allocation_confidence_ratio_count", agent, method] == count
        assert 0 <= metrics["quantd_allocation_confidence_ratio_sum", agent, method] <= count


async def test_a_decision_is_timed_once_however_many_agents_it_asks(world):
    metrics = await scrape(world)
    assert metrics["quantd_decision_seconds_count",] == world.service.shell.state.round_no
    asked = sum(metrics["quantd_prediction_duration_seconds_sum", agent, "decision"] for agent in ("even", "trend"))
    assert metrics["quantd_decision_seconds_sum",] > asked


@pytest.mark.requirement("R-212")
async def test_the_portfolio_is_that_of_the_account(world):
    metrics, state = await scrape(world), world.service.shell.state
    held = [position for position in positions(state)[0] if position.qty != "0"]
    assert metrics["quantd_assets",] == len(held) > 0
    assert metrics["quantd_weight_ratio",] == pytest.approx(1 - state.ledger.house.cash_micro / state.equity_micro)
    profit = state.equity_micro - state.ledger.house.cash_micro - sum(state.ledger.house.cost_micro)
    assert metrics["quantd_unrealised_pnl",] == pytest.approx(profit / 1e6, abs=0.01)
    for measure in ("volatility", "var", "sharpe", "diversification"):
        assert ("quantd_risk_ratio", measure) in metrics


async def test_a_condition_that_is_down_and_an_unknown_order_are_visible(world):
    metrics, state = await scrape(world), world.service.shell.state
    assert {key[1] for key in metrics if key[0] == "quantd_condition_down"} == set(CONDITIONS)
    assert not any(value for key, value in metrics.items() if key[0] == "quantd_condition_down")
    assert (metrics["quantd_ready",], metrics["quantd_unknown_orders",]) == (1, 0)
    assert metrics["quantd_last_bar_timestamp_seconds",] == pytest.approx(world.assembly.feed.last_ts / 1e9)
    work = next(iter(state.at_venue().values()), None)
    state.down.add("feed")
    world.service.status = "store failing"
    metrics = await scrape(world)
    assert metrics["quantd_condition_down", "feed"] == 1
    assert metrics["quantd_ready",] == 0
    if work is not None:
        work.state[0] = OrderState.UNKNOWN
        assert (await scrape(world))["quantd_unknown_orders",] == 1
    state.down.clear()


@pytest.mark.long
async def test_the_conditions_of_a_scrape_are_those_that_go_down(world):
    state = world.service.shell.state
    for what in get_args(Condition.__annotations__["what"]):
        on_condition(state, Condition(state.now, what, False, "gone"))
    assert sorted(state.down) == CONDITIONS
    state.down.clear()


async def test_a_task_and_its_failures_are_counted(world):
    world.service.measured.tasks.extend([("backup", 2.0), ("backup", 4.0)])
    world.service.measured.task_failures["backup"] += 1
    metrics = await scrape(world)
    assert metrics["quantd_job_seconds_count", "backup"] == 2
    assert metrics["quantd_job_seconds_sum", "backup"] == 6
    assert metrics["quantd_job_failures_total", "backup"] == 1


@pytest.mark.requirement("R-203", "R-214")
async def test_every_metric_of_the_tables_is_in_a_scrape(world):
    async with world.session.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        families = {family.name for family in text_string_to_metric_families(await response.text())}
    assert {f"quantd_{name}" for name in COUNTERS | GAUGES | HISTOGRAMS} <= families
    metrics = await scrape(world)
    assert metrics["quantd_slices_total",] == world.service.shell.tally.slices > 0
    for name, (_, *labels) in (COUNTERS | GAUGES).items():
        suffix = "_total" if name in COUNTERS else ""
        assert labels or name in CONDITIONAL or (f"quantd_{name}{suffix}",) in metrics, name


@pytest.mark.long
@pytest.mark.requirement("R-214")
async def test_a_killed_broker_is_offline_its_messages_wait_and_heartbeats_are_no_loss(world, tmp_path):
    broker, outbox = Mosquitto(tmp_path).start(), MemoryOutbox()
    settings = MqttSettings("127.0.0.1", broker.port, retry_first_s=0.05, retry_most_s=0.2, connect_s=1.0)
    bus = world.api.groups["metrics"]._bus = MqttBus(settings, outbox, "quantd/paper/status", b"offline")
    running = asyncio.create_task(bus.run())
    await until(lambda: bus.online, "connection")
    assert (await scrape(world))["quantd_bus_online",] == 1
    await asyncio.to_thread(broker.stop, signal.SIGKILL)
    await until(lambda: not bus.online, "loss of the connection")
    for k in range(7):
        outbox.put(f"m{k}", "quantd/paper/alerts/WARNING/test", b"x")
        bus.heartbeat("quantd/paper/heartbeat", b"beat")
        bus.wake()
    await until(lambda: bus.queue_depth == 7, "the count")
    metrics = await scrape(world)
    assert [metrics[f"quantd_bus_{name}",] for name in ("online", "queue_depth", "drops_total")] == [0, 7, 0]
    await asyncio.to_thread(broker.start)
    await until(lambda: outbox.depth() == 0 and not bus.queue_depth, "delivery")
    metrics = await scrape(world)
    assert (metrics["quantd_bus_queue_depth",], metrics["quantd_bus_reconnects_total",]) == (0, 1)
    bus.stop(b"stopped")
    await running
    broker.stop()


async def test_the_end_of_the_certificate_and_the_free_disk_are_exported(tmp_path):
    pem, key = certificate(tmp_path)
    tls = f'tls = {{ certificate = "{pem}", key = "{key}" }}\n'
    world = Daemon(tmp_path, CONFIG + tls)
    metrics = world.api.groups["metrics"]
    free, expiry = metrics._files()
    assert free > 0
    assert expiry == end_s(pem) > time.time()
    pem.write_text("no certificate")
    assert metrics._files() == (pytest.approx(free, rel=0.1), None)
    world.store.close()
