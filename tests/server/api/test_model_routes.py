"""The models of a running service over HTTP: what decides, another artifact without a restart, pause, promotion."""

import asyncio
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from quantd.adapters.store.handle import Store
from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import load
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.policies.loading import load as load_policy
from quantd.daemon.policies.seats import artifacts_in
from quantd.daemon.recovery.start import begin
from quantd.daemon.recovery.stored_run import recover
from quantd.daemon.runtime.timeline import instants
from quantd.daemon.views.report.figures import report
from quantd.models.artifacts import runtime
from quantd.models.artifacts.folder import read_manifest, render, sealed
from quantd.models.artifacts.manifest import AgentManifest
from quantd.models.isolation.session import here
from quantd.trading.codec import decode
from quantd.trading.events import Decided, Operator
from quantd.trading.model_events import Exchanged, ModelLoaded
from tests.server.api.model_worlds import MODELS, SYMBOLS, TEXT, artifacts, halfway, world
from tests.support.api_world import RUN, get, standing_at_the_end
from tests.support.artifacts import TRAINING, written
from tests.support.command_line import CONFIG, answer, quantd

__all__ = ["artifacts", "world"]


@pytest.fixture(autouse=True)
def _graphs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs in this process: these tests feed the shell without a wait for answers of other processes."""
    monkeypatch.setattr(runtime, "opener", lambda: here)


def digest_in(folder: Path) -> str:
    return str(answer(quantd(folder.parent, "models", "list", folder.name, "--json"))["digest"])


def crashed(world: Any, folder: Path, text: str = TEXT) -> Any:
    """The run as a start finds it after the process was killed: (assembly, shell, journal, store)."""
    image = folder / "image"
    shutil.copytree(world.folder, image, ignore=shutil.ignore_patterns("*.sock"))
    config = load_text(folder, text)
    assembly = assemble(config, cache=image / "cache")
    store = Store.open(image)
    shell, journal = recover(assembly, store, RUN, image)
    return assembly, config, shell, journal, store


def load_text(folder: Path, text: str) -> Any:
    (folder / "config.toml").write_text(text)
    return load(folder / "config.toml", known_names())


@pytest.mark.requirement("R-191")
async def test_a_model_is_what_the_command_line_shows_of_its_artifact(world: Any, tmp_path: Path) -> None:
    status, listing = await get(world, MODELS)
    assert status == 200
    by_name = {model["agent"]: model for model in listing["models"]}
    assert list(by_name) == ["learned", "even", "rival"]
    assert by_name["even"]["artifacts"] == []
    assert by_name["rival"]["shadow"]
    assert by_name["rival"]["challenges"] == "learned"
    (artifact,) = by_name["learned"]["artifacts"]
    assert artifact["assets"] == list(SYMBOLS)
    assert artifact["folder"] == "models/first", "no folder of this machine"
    assert artifact["kind"] == "learned"
    assert artifact["trained_until"] == "2012-12-31"
    assert not artifact["transformer"]
    assert artifact["inputs"] == {
        "esg": False, "sentiment": False, "macro": [], "series": [], "bars": False, "own_book": True
    }  # fmt: skip
    _, details = await get(world, f"{MODELS}/learned")
    shown = answer(quantd(tmp_path, "models", "list", "models/first", "--json"))
    assert details["artifacts"][0]["manifest"] == shown
    assert details["artifacts"][0]["record"] == shown["results"]
    assert details["artifacts"][0]["card"] == "# a card\n"
    assert len(details["artifacts"][0]["entries"]) == 3 * 4 + 3 + 1
    status, problem = await get(world, f"{MODELS}/nobody")
    assert (status, problem["code"]) == (404, "agent")


@pytest.mark.long
@pytest.mark.requirement("R-190")
async def test_a_loaded_artifact_decides_from_the_next_sample_on_without_memory(world: Any, tmp_path: Path) -> None:
    digest = digest_in(tmp_path / "models" / "second")
    before = len(world.events(Decided))
    status, reply = await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "newer"})
    assert status == 200, reply
    assert reply["policy"] == "models/second"
    assert reply["configured"] == "models/first"
    assert reply["artifacts"][0]["digest"] == digest
    (event,) = world.events(ModelLoaded)
    assert (event.agent, event.path, event.digest, event.who) == ("learned", "models/second", digest, "api:owner")
    assert event.reason == "newer"
    state = world.service.shell.state
    assert dict(state.agents[0].memory) == {}
    assert [pairing.since for pairing in state.pairings] == [state.sample_no]
    await world.feed(15)
    decided = [decision for decision in world.events(Decided)[before:] if decision.agent == 0]
    # the recurrent policy remembers from its first decision on
    assert decided
    assert all("carry" in decision.memory for decision in decided)
    assert not any(decision.failed for decision in decided)
    assert (await get(world, "/api/v1/status"))[1]["agents"][0]["policy"] == "models/second"
    alerts = str((await get(world, "/api/v1/alerts"))[1])
    assert "loaded models/second" in alerts
    assert "training window" not in alerts
    status, reply = await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "again"})
    assert (status, reply["code"]) == (409, "conflict")


async def allocations(world: Any) -> dict[tuple[str, str], tuple[float, float]]:
    """(agent, method) -> (allocations counted, confidences observed) of a scrape."""
    async with world.session.get("/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    values = {
        (sample.name, sample.labels["agent"], sample.labels["method"]): sample.value
        for family in families
        for sample in family.samples
        if "method" in sample.labels and "le" not in sample.labels
    }
    return {
        key: (value, values["quantd_allocation_confidence_ratio_count", *key])
        for (name, *key_), value in values.items()
        if name == "quantd_allocations_total" and (key := tuple(key_))
    }


@pytest.mark.long
async def test_a_model_has_the_allocations_that_it_decided_and_an_earlier_one_keeps_its_own(
    world: Any, tmp_path: Path
) -> None:
    # as in the daemon: every decision passes the deadline, and no scrape comes before the load
    deadline = Deadline(
        world.assembly.policies, seated=world.service.shell.seats, method=world.service.shell.seats.method
    )
    world.service.shell.answer = world.service.shell.meanwhile = world.service.deadline = deadline
    world.service.measured.predictions = deadline.predictions
    await world.feed(10)
    await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "newer"})
    counts = await allocations(world)
    before = counts["learned", "models/first"]
    assert before[0] == before[1] > 0
    assert ("learned", "models/second") not in counts
    await world.feed(5)
    counts = await allocations(world)
    assert counts["learned", "models/first"] == before
    assert counts["learned", "models/second"][0] == counts["learned", "models/second"][1] > 0
    statement = report(Reader.open(world.folder), world.config, kind="hand", feed="x", standing=None)
    assert statement.header.agents["learned"].startswith("models/first, then models/second from 2019-")
    assert statement.header.agents["even"] == "equal_weight"
    # a start after a crash has no decision of its own, and names the loaded artifact
    assembly, config, shell, _, store = crashed(world, tmp_path)
    begin(shell, assembly, config, RUN, fresh=False)
    predictions = shell.answer.predictions
    assert not predictions.allocations
    for instant in islice(instants(assembly.items(), shell.ts), 6):
        for item in instant:
            shell.take(item)
    assert {method for (agent, method) in predictions.allocations if agent == 0} == {"models/second"}
    store.close()


@pytest.mark.long
@pytest.mark.parametrize("snapshot", [False, True])
async def test_a_killed_run_continues_with_the_loaded_artifact_and_ends_as_one_that_was_not_killed(
    world: Any, tmp_path: Path, snapshot: bool
) -> None:
    await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "newer"})
    world.service.shell.snapshot_wanted = snapshot
    await world.feed(5)
    assembly, config, shell, journal, store = crashed(world, tmp_path)
    assert (store.latest_snapshot(RUN) is not None) == snapshot
    began = shell.ts
    begin(shell, assembly, config, RUN, fresh=False)
    assert journal.steps[0][0].loaded == ("learned",)
    assert artifacts_in(shell.seats(0)) == digest_in(tmp_path / "models" / "second")
    await world.feed(12)
    for instant in instants(assembly.items(), began):
        if shell.ts >= world.service.shell.ts:
            break
        for item in instant:
            shell.take(item)
    assert shell.state.ledger.freeze() == world.service.shell.state.ledger.freeze()
    assert shell.digest.freeze() == world.service.shell.digest.freeze()
    store.close()


@pytest.mark.long
async def test_a_configuration_that_names_another_policy_replaces_what_was_loaded(world: Any, tmp_path: Path) -> None:
    await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "newer"})
    text = TEXT.replace('"models/first"', '"models/named"')
    assembly, config, shell, journal, store = crashed(world, tmp_path, text)
    begin(shell, assembly, config, RUN, fresh=False)
    assert journal.steps[0][0].loaded == ()
    assert shell.state.loaded == {}
    assert artifacts_in(shell.seats(0)) == digest_in(tmp_path / "models" / "named" / "2026-11")
    store.close()


@pytest.mark.long
async def test_a_start_refuses_a_loaded_artifact_that_changed_and_names_both_digests(
    world: Any, tmp_path: Path
) -> None:
    then = digest_in(tmp_path / "models" / "second")
    await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "newer"})
    shutil.rmtree(tmp_path / "models" / "second")
    shutil.copytree(tmp_path / "models" / "rival", tmp_path / "models" / "second")
    now = digest_in(tmp_path / "models" / "second")
    assembly, config, shell, _, store = crashed(world, tmp_path)
    with pytest.raises(PolicyError) as refused:
        begin(shell, assembly, config, RUN, fresh=False)
    assert then in str(refused.value)
    assert now in str(refused.value)
    store.close()


REFUSED = (
    ("nobody", {"path": "models/second"}, 404, "no agent 'nobody'"),
    ("learned", {"path": "models/absent"}, 404, "no manifest.json"),
    ("learned", {"path": "models/named", "version": "2026-12"}, 404, "no manifest.json"),
    ("learned", {"path": "../elsewhere/x"}, 422, "outside the folder"),
    ("learned", {"path": "/etc"}, 422, "outside the folder"),
    ("learned", {"path": "models/other"}, 422, "trained on AAA, BBB, CCC"),
    ("learned", {"path": "full"}, 422, "models/shipped/full: "),
    ("learned", {"path": "larger"}, 404, "or a shipped model: a2c,"),
    ("learned", {}, 422, "name an artifact"),
    ("learned", {"path": "models/broken"}, 422, "policy.onnx"),
    ("learned", {"path": "models/second", "reason": " "}, 422, "has no reason"),
    ("learned", {"path": "models/first"}, 409, "already"),
)


@pytest.mark.requirement("R-190")
async def test_what_cannot_be_loaded_is_refused_and_changes_nothing(world: Any, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "models" / "first", tmp_path / "models" / "broken")
    (tmp_path / "models" / "broken" / "policy.onnx").write_bytes(b"x" * 10)
    for agent, body, status, words in REFUSED:
        given, problem = await world.post(f"{MODELS}/{agent}/load", {"reason": "x", **body})
        assert given == status, (body, problem)
        assert words in problem["detail"]
    assert world.service.shell.state.loaded == {}
    assert world.events(ModelLoaded) == []


@pytest.mark.requirement("R-102")
async def test_a_version_of_a_name_is_loaded_and_the_versions_beside_it_are_shown(world: Any, tmp_path: Path) -> None:
    status, model = await world.post(f"{MODELS}/learned/load", {"path": "models/named", "reason": "the current one"})
    assert status == 200, model
    assert (model["policy"], model["loaded"]["version"]) == ("models/named/2026-11", "2026-11")
    status, model = await world.post(f"{MODELS}/learned/load", {"version": "2026-10", "reason": "back"})
    assert status == 200, model
    assert (model["policy"], model["artifacts"][0]["version"]) == ("models/named/2026-10", "2026-10")
    _, details = await get(world, f"{MODELS}/learned")
    assert details["artifacts"][0]["versions"] == ["2026-10", "2026-11"]
    assert details["artifacts"][0]["current"] == "2026-11"


@pytest.mark.long
async def test_a_paused_agent_holds_and_is_asked_no_more_until_it_is_resumed(world: Any) -> None:
    status, model = await world.post(f"{MODELS}/even/pause", {"reason": "a look"})
    assert status == 200, model
    assert (model["suspended"], model["switch"]) == (True, "REDUCE")
    lots = list(world.service.shell.state.ledger.books[1].lots)
    asked = len([decision for decision in world.events(Decided) if decision.agent == 1])
    await world.feed(12)
    assert len([decision for decision in world.events(Decided) if decision.agent == 1]) == asked
    assert list(world.service.shell.state.ledger.books[1].lots) == lots
    status, model = await world.post(f"{MODELS}/even/resume", {"reason": "looked"})
    assert (status, model["suspended"], model["switch"]) == (200, False, "RUN")
    await world.feed(8)
    assert len([decision for decision in world.events(Decided) if decision.agent == 1]) > asked
    assert [event.command for event in world.events(Operator)] == ["pause", "resume"]


@pytest.mark.long
async def test_a_dry_run_of_a_promotion_has_the_orders_of_its_policy_and_changes_nothing(world: Any) -> None:
    before, state = world.store.last_seq(RUN), freeze(world.service.shell.state)
    status, preview = await world.post(f"{MODELS}/rival/promote/preview", {"reason": "dry run"})
    assert status == 200, preview
    assert (preview["shadow"], preview["agent"]) == ("rival", "learned")
    assert [policy_answer["agent"] for policy_answer in preview["plan"]["answers"]] == ["learned"]
    assert {order["agents"][0] for order in preview["plan"]["orders"]} <= {"learned"}
    assert (world.store.last_seq(RUN), freeze(world.service.shell.state)) == (before, state)
    _, plain = await get(world, "/api/v1/plan")
    plain_answer = next(policy_answer for policy_answer in plain["answers"] if policy_answer["agent"] == "learned")
    assert preview["plan"]["answers"][0]["weights"] != plain_answer["weights"]
    status, _ = await world.post(f"{MODELS}/rival/promote", {"reason": "as shown"})
    assert status == 200
    _, after = await get(world, "/api/v1/plan")
    promoted = next(policy_answer for policy_answer in after["answers"] if policy_answer["agent"] == "learned")
    assert preview["plan"]["answers"][0] == promoted
    assert (await world.post(f"{MODELS}/rival/promote/preview", {"reason": "x"}))[0] == 409
    status, back = await world.post(f"{MODELS}/rival/demote/preview", {"reason": "x"})
    assert status == 200, back
    assert back["plan"]["answers"][0]["weights"] == plain_answer["weights"]
    assert (await world.post(f"{MODELS}/even/promote/preview", {"reason": "x"}))[0] == 409
    assert (await world.post(f"{MODELS}/rival/demote/preview", {"reason": " "}))[0] == 422


@pytest.mark.long
@pytest.mark.requirement("R-162")
async def test_a_shadow_is_promoted_and_demoted_by_hand_and_the_journal_says_so(world: Any) -> None:
    status, reply = await world.post(f"{MODELS}/rival/promote", {"reason": "seen enough"})
    assert status == 200, reply
    assert reply["decides_for"] == "learned"
    (event,) = world.events(Exchanged)
    assert (event.shadow, event.command, event.reason, event.who) == ("rival", "promote", "seen enough", "api:owner")
    assert "promoted by api:owner without a test" in str((await get(world, "/api/v1/alerts"))[1])
    status, reply = await world.post(f"{MODELS}/rival/promote", {"reason": "again"})
    assert (status, reply["code"]) == (409, "conflict")
    status, reply = await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "x"})
    assert status == 409
    assert "demote it first" in reply["detail"]
    status, reply = await world.post(f"{MODELS}/rival/demote", {"reason": "back"})
    assert (status, reply["decides_for"]) == (200, "rival")
    assert (await world.post(f"{MODELS}/even/promote", {"reason": "x"}))[0] == 409
    assert (await world.post(f"{MODELS}/rival/promote", {"reason": " "}))[0] == 422
    assert world.service.shell.state.seats == [0, 1]


@pytest.mark.long
async def test_an_artifact_is_loaded_into_the_challenger_and_their_comparison_begins_with_its_first_decision(
    world: Any, tmp_path: Path
) -> None:
    body = {"path": "models/second", "reason": "beside it"}
    status, reply = await world.post(f"{MODELS}/learned/shadow", body)
    assert status == 200, reply
    assert (reply["agent"], reply["shadow"], reply["policy"]) == ("rival", True, "models/second")
    (event,) = world.events(ModelLoaded)
    assert (event.agent, event.path, event.reason) == ("rival", "models/second", "beside it")
    state = world.service.shell.state
    (pairing,) = state.pairings
    assert (pairing.looks, pairing.waits) == (0, (False, True))
    before = state.sample_no
    await world.feed(10)
    assert pairing.waits == (False, False)
    assert pairing.since == before + 2
    for agent, more, words in (
        ("even", {}, 'name = "even-rival"\npolicy = "hold"'),
        ("rival", {}, "POST /api/v1/models/rival/load"),
        ("learned", {"shadow": "even"}, "its challengers are rival"),
        ("learned", {}, "already"),
    ):
        status, reply = await world.post(f"{MODELS}/{agent}/shadow", {**body, **more})
        assert (status, reply["code"]) == (409, "conflict")
        assert words in reply["detail"]
    assert (await world.post(f"{MODELS}/nobody/shadow", body))[0] == 404
    await world.post(f"{MODELS}/rival/pause", {"reason": "a look"})
    _, reply = await world.post(f"{MODELS}/learned/shadow", {"path": "models/rival", "reason": "x"})
    assert "POST /api/v1/models/rival/resume first" in reply["detail"]


@pytest.mark.long
async def test_the_idle_challenger_of_several_is_taken_and_an_outside_agent_takes_no_artifact(
    tmp_path: Path, artifacts: Path
) -> None:
    more = "".join(
        f'[[agents]]\nname = "{name}"\npolicy = "{policy}"\ncapital = 0.5\nshadow = true\nchallenges = "learned"\n'
        for name, policy in (("spare", "hold"), ("guest", "external"))
    )
    async with halfway(tmp_path, artifacts, text=TEXT.replace("[bus]", f"{more}[bus]")) as world:
        body = {"path": "models/second", "reason": "beside it"}
        status, reply = await world.post(f"{MODELS}/learned/shadow", body)
        assert (status, reply["agent"]) == (200, "spare"), reply
        await world.feed(3)
        assert world.service.shell.state.shadows[1].agents[0].failures == 0
        status, reply = await world.post(f"{MODELS}/learned/shadow", body)
        assert status == 409
        assert "name one as shadow: rival, spare, guest" in reply["detail"]
        _, reply = await world.post(f"{MODELS}/learned/shadow", {**body, "shadow": "guest"})
        assert "decides by proposals" in reply["detail"]


@pytest.mark.long
async def test_a_replay_and_an_explanation_use_the_loaded_artifact(world: Any, tmp_path: Path) -> None:
    await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "newer"})
    digest = digest_in(tmp_path / "models" / "second")
    await world.feed(20)
    shutil.copytree(world.folder, tmp_path / "image", ignore=shutil.ignore_patterns("*.sock"))
    there = ("--state", "image")
    replay = answer(quantd(tmp_path, "replay", "--policies", "--json", *there))
    assert replay["same"]
    assert replay["asked"] > 40
    assert replay["policy_differences"] == 0
    orders = answer(quantd(tmp_path, "orders", "--json", "--last", "40", *there))["orders"]
    digests = [
        part["learned"][0]["digest"]
        for order in (orders[0], orders[-1])
        for part in answer(quantd(tmp_path, "why", order["id"], "--json", *there))["agents"]
        if part["agent"] == "learned"
    ]
    assert {digest_in(tmp_path / "models" / "first"), digest} == set(digests)


@pytest.mark.long
async def test_a_load_waits_for_the_end_of_the_round_that_has_begun(world: Any, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef act(view):\n    time.sleep(0.7)\n    return 'hold'\n")
    shell, policies = world.service.shell, list(world.assembly.policies)
    policies[1] = load_policy("slow.py:act", {}, tmp_path, Apart())
    deadline = Deadline(policies, 20.0, seated=lambda number: policies[1] if number == 1 else shell.seats(number))
    shell.answer = shell.meanwhile = world.service.deadline = deadline
    feeding = asyncio.create_task(world.feed(2))
    while shell.waits is None:
        await world.service.changed(0.01)
    loading = asyncio.create_task(world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "x"}))
    while shell.waits is not None:
        assert shell.state.loaded == {}
        assert not loading.done()
        await world.service.changed(0.02)
    assert (await loading)[0] == 200
    await feeding
    await world.feed(2)
    events = [decode(blob).event for _, blob in world.store.entries(RUN, 1)]
    at = next(k for k, event in enumerate(events) if isinstance(event, ModelLoaded))
    rounds = [{e.round for e in part if isinstance(e, Decided)} for part in (events[:at], events[at:])]
    assert rounds[1]
    assert not rounds[0] & rounds[1]
    deadline.close()


async def test_a_process_of_a_replaced_policy_ends(tmp_path: Path, artifacts: Path) -> None:
    (tmp_path / "quick.py").write_text("def act(view):\n    return 'hold'\n")
    shutil.copytree(artifacts / "models", tmp_path / "models")
    worker = load_policy("quick.py:act", {}, tmp_path, Apart())
    now = [worker]
    deadline = Deadline([worker], 5.0, seated=lambda number: now[0])
    process = worker._child.process  # type: ignore[attr-defined]
    now[0] = load_policy("models/first", {}, tmp_path)
    assert deadline._workers_of(0) == []
    assert process.poll() is not None
    deadline.close()


@pytest.mark.long
async def test_a_model_that_was_trained_on_the_bars_of_the_run_raises_an_alert(world: Any, tmp_path: Path) -> None:
    training = msgspec.structs.replace(TRAINING, until_ns=2_000_000_000 * 10**9)
    manifest = read_manifest(tmp_path / "models" / "second" / "manifest.json", AgentManifest)
    later = sealed(msgspec.structs.replace(manifest, training=training))
    (tmp_path / "models" / "second" / "manifest.json").write_bytes(render(later))
    status, reply = await world.post(f"{MODELS}/learned/load", {"path": "models/second", "reason": "newer"})
    assert status == 200, reply
    alerts = str((await get(world, "/api/v1/alerts"))[1])
    assert "agent learned trades bars of its policy's training window, which ends 2033-05-18" in alerts


@pytest.mark.long
async def test_why_has_the_inputs_of_a_learned_policy_and_changes_nothing(tmp_path: Path) -> None:
    written(tmp_path / "learned", universe=("QQQ", "IWM", "SPY"))
    async with standing_at_the_end(tmp_path, CONFIG.replace('"equal_weight"', '"./learned"')) as world:
        _, listed = await get(world, "/api/v1/orders?limit=30")
        before, parts = freeze(world.service.shell.state), list[Any]()
        for order in listed["orders"][-10:]:
            _, explanation = await get(world, f"/api/v1/why/{order['id']}")
            parts += [part for part in explanation["agents"] if part["agent"] == "even"]
        for part in parts:
            (learned,) = part["learned"]
            assert learned["weight"] == pytest.approx(part["wanted"], abs=1e-9)
            assert any(row["change_pp"] for row in learned["features"])
        assert parts
        assert freeze(world.service.shell.state) == before
