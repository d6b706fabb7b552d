"""Smaller copies, pupils, ensembles, signatures and versions: measured, checked, and refused when they do not agree."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from quantd.daemon.policies.composed import distrusted
from quantd.daemon.policies.loading import PolicyError, load
from quantd.models.artifacts import folder as folders
from quantd.models.artifacts import signature, versions
from quantd.models.artifacts.agent_policy import load_agent
from quantd.models.artifacts.ensemble import LearnedEnsemble, combine, load_ensemble
from quantd.models.artifacts.manifest import TOLERANCES, ArtifactError, Result
from quantd.models.artifacts.signature import KeyFault, generate, sign, signature_fault
from quantd.models.artifacts.weights import tensors_of
from quantd.models.observation.sight import SightSpec
from quantd.trading.statistics import performance
from quantd.training.export import quantization
from quantd.training.export.distillation import DistilPlan, distil
from quantd.training.export.quantization import TooDifferent, in_eight_bits, matrices_of, quantize, rewritten
from tests.support.artifact_views import HELD, moves, view_of
from tests.support.artifacts import UNIVERSE, learner_of, manifest_of, scaling_of, written
from tests.support.bundled_account import ACTIONS, BARS
from tests.support.checkout import ROOT

# ---- quantizing


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("name", ["ppo simplex", "sac box", "ppo lstm", "dqn dueling noisy"])
def test_half_precision_is_smaller_and_agrees(name: str, tmp_path: Path) -> None:
    parent = written(tmp_path / "a", name)
    copy = quantize(tmp_path / "a", tmp_path / "b", "float16", "quantd models compress")
    agreement = copy.agreement
    assert agreement is not None
    assert (copy.parent, copy.precision, copy.name) == (parent.digest, "float16", "b")
    sizes = [(tmp_path / folder / "policy.onnx").stat().st_size for folder in "ab"]
    assert agreement.size_ratio == pytest.approx(sizes[1] / sizes[0], abs=1e-3)
    assert agreement.size_ratio < 0.95
    assert 0.0 < agreement.p50_us <= agreement.p99_us
    assert 0.0 < agreement.parent_p50_us <= agreement.parent_p99_us
    assert agreement.equal_actions > 0.99
    child, original = load_agent(tmp_path / "b", {}), load_agent(tmp_path / "a", {})
    if name != "dqn dueling noisy":
        assert 0.0 < child.difference() <= TOLERANCES["float16"]
        assert child.answer(moves(1, 3), HELD, 0.4).weights != pytest.approx(
            original.answer(moves(1, 3), HELD, 0.4).weights, abs=0
        )
    assert {str(v.dtype) for v in tensors_of(child.artifact.weights).values()} >= {"float16", "float32"}


@pytest.mark.long
@pytest.mark.requirement("R-104")
def test_eight_bits_agree_and_are_refused_with_the_figure_where_they_do_not(tmp_path: Path) -> None:
    written(tmp_path / "a", "ppo lstm")
    copy = quantize(tmp_path / "a", tmp_path / "b", "int8", "quantd models compress")
    assert copy.agreement is not None
    assert 0.0 < copy.agreement.largest_difference <= 5e-3
    assert b"MatMulInteger" in (tmp_path / "b" / "policy.onnx").read_bytes()
    assert "int8" in (tmp_path / "b" / "card.md").read_text()
    written(tmp_path / "c", "ppo box")
    with pytest.raises(
        TooDifferent, match=r"in int8 a weight differs by 0\.\d+ .* 0\.005 is allowed, .* nothing was written"
    ):
        quantize(tmp_path / "c", tmp_path / "d", "int8", "quantd models compress")
    assert not (tmp_path / "d").exists()


@pytest.mark.long
@pytest.mark.requirement("R-104")
def test_a_copy_with_127_levels_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a", "ppo lstm")
    copy = quantize(tmp_path / "a", tmp_path / "b", "int8", "x")
    with monkeypatch.context() as earlier:
        earlier.setattr(quantization, "LEVELS", 127)
        graph = load_agent(tmp_path / "a", {}).artifact.graph
        old = rewritten(graph, frozenset(matrices_of(graph)), in_eight_bits)
    folders.write(
        tmp_path / "b",
        copy,
        {name: (tmp_path / "b" / name).read_bytes() for name in copy.FILES} | {"policy.onnx": old},
    )
    refused = (
        r"b/policy\.onnx: .*\.rounded has weights up to 127 in eight bits, .* cut on processors without VNNI .* "
        r"quantd models compress PARENT --int8 --out FOLDER; it is not loaded"
    )
    with pytest.raises(ArtifactError, match=refused):
        load_agent(tmp_path / "b", {})
    with pytest.raises(ValueError, match=refused):
        load(str(tmp_path / "b"), {}, Path("/"))


def test_a_copy_is_made_from_what_was_trained(tmp_path: Path) -> None:
    written(tmp_path / "a", "ppo lstm")
    quantize(tmp_path / "a", tmp_path / "b", "float16", "x")
    with pytest.raises(ArtifactError, match="it is float16 already"):
        quantize(tmp_path / "b", tmp_path / "c", "int8", "x")


# ---- distilling


@pytest.mark.one_of(3)
@pytest.mark.requirement("R-105")
@pytest.mark.long
@pytest.mark.parametrize("name", ["ppo simplex", "ppo discrete", "ppo box"])
def test_a_pupil_answers_much_as_its_teacher_on_sessions_it_was_not_taught(name: str, tmp_path: Path) -> None:
    universe, spec = ("SPY", "AAPL", "BAC"), SightSpec(features=("momentum_21", "volatility"))
    teacher = written(tmp_path / "a", name, universe=universe, spec=spec)
    messages: list[str] = []
    plan = DistilPlan(hidden=(12,), batch=8, steps=60, epochs=150)
    pupil = distil(tmp_path / "a", tmp_path / "b", BARS, ACTIONS, plan, "a test", messages.append)
    agreement = pupil.agreement
    assert agreement is not None
    assert (pupil.parent, pupil.algorithm, pupil.network.hidden) == (teacher.digest, "cloning", (12,))
    assert pupil.network.parameters < teacher.network.parameters
    assert pupil.training.until_ns == teacher.training.until_ns
    assert pupil.results == {}
    assert agreement.probes == 96
    short_agreement = distil(
        tmp_path / "a", tmp_path / "h", BARS, ACTIONS, msgspec.structs.replace(plan, epochs=1), "x", messages.append
    ).agreement
    assert short_agreement is not None
    assert agreement.mean_difference < 0.6 * short_agreement.mean_difference
    again = distil(tmp_path / "a", tmp_path / "c", BARS, ACTIONS, plan, "a test", messages.append)
    assert again.files["policy.onnx"] == pupil.files["policy.onnx"], "the same seed teaches the same"
    assert load_agent(tmp_path / "b", {}).digest == pupil.digest


def test_a_pupil_is_taught_on_the_teachers_own_data_or_not_at_all(tmp_path: Path) -> None:
    learner = learner_of("ppo simplex", universe=("SPY", "AAPL", "BAC"))
    manifest = manifest_of(learner, universe=("SPY", "AAPL", "BAC"))
    data = msgspec.structs.replace(manifest.training, data={BARS.name: "00"})
    from quantd.training.export.writer import write

    write(tmp_path / "a", msgspec.structs.replace(manifest, training=data), learner, scaling_of(), b"")
    with pytest.raises(ValueError, match=r"us_daily\.parquet is not the file that .* was trained on"):
        distil(tmp_path / "a", tmp_path / "b", BARS, ACTIONS, DistilPlan(), "x", print)
    written(tmp_path / "c", "ppo lstm")
    with pytest.raises(ArtifactError, match="the policy has a memory"):
        distil(tmp_path / "c", tmp_path / "d", BARS, ACTIONS, DistilPlan(), "x", print)


# ---- ensembles


def test_an_ensemble_answers_the_mean_the_median_or_by_shares_and_each_member_remembers(tmp_path: Path) -> None:
    names = ("ppo simplex", "dqn", "ppo lstm")
    for name in names:
        written(tmp_path / name.replace(" ", "_"), name)
    folders = [tmp_path / name.replace(" ", "_") for name in names]
    agents = [load_agent(folder, {}) for folder in folders]
    view = view_of(moves(3, 3), UNIVERSE, HELD)
    kept: list[dict[str, np.ndarray]] = [{}, {}, {}]
    votes = np.zeros((2, 3, 3))
    for turn in range(2):
        for k, agent in enumerate(agents):
            votes[turn, k], kept[k] = agent.act(view, kept[k])
    expected = {"mean": votes.mean(1), "performance": np.einsum("m,tmn->tn", np.array([0.5, 0.3, 0.2]), votes)}
    for by in ("mean", "performance", "vote"):
        manifest = combine(tmp_path / by, folders, by, "a test", [5, 3, 2] if by == "performance" else None)
        ensemble = load(str(tmp_path / by), {}, Path("/"))
        assert isinstance(ensemble, LearnedEnsemble)
        first, memory = ensemble.act(view, {})
        second, _ = ensemble.act(view, memory)
        if by == "vote":
            assert first == pytest.approx(np.median(votes[0], axis=0) * 1.0, abs=0.2)
            assert (first >= votes[0].min(0) - 1e-9).all()
        else:
            assert np.stack([first, second]) == pytest.approx(expected[by], abs=1e-6)
        assert np.abs(first - second).max() > 1e-5, "the one that remembers answers otherwise"
        assert list(memory) == ["2.carry"]
        assert ensemble.digest == manifest.digest
        assert ensemble.trained_until_ns == agents[0].trained_until_ns


def test_shares_by_performance_come_from_validation_and_from_nothing_else(tmp_path: Path) -> None:
    def judged(folder: Path, sharpe: float) -> Path:
        from quantd.training.export.writer import write

        figures = [msgspec.structs.replace(PERFORMANCE, sharpe=s) for s in (sharpe, -sharpe)]
        learner = learner_of("ppo simplex")
        results = {
            "validation": Result(figures[0], PERFORMANCE, 1.0, (sharpe,)),
            "test": Result(figures[1], PERFORMANCE, 1.0, (0.0,)),
        }
        write(folder, msgspec.structs.replace(manifest_of(learner), results=results), learner, None, b"")
        return folder

    folders = [judged(tmp_path / "a", 1.5), judged(tmp_path / "b", 0.5), judged(tmp_path / "c", -1.0)]
    ensemble = combine(tmp_path / "e", folders, "performance", "a test")
    assert [m.share for m in ensemble.members] == pytest.approx([0.75, 0.25, 0.0])
    assert "validation" in ensemble.measured
    written(tmp_path / "unjudged")
    with pytest.raises(ArtifactError, match="it was not judged on a validation window"):
        combine(tmp_path / "f", [*folders, tmp_path / "unjudged"], "performance", "a test")
    assert not (tmp_path / "f").exists()


PERFORMANCE = performance(np.array([100.0, 101.0, 100.5, 102.0]))


def test_members_trade_the_same_symbols(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "b", universe=("AAA", "BBB", "XXX"))
    with pytest.raises(ArtifactError, match="its members trade different symbols: AAA, BBB, CCC; AAA, BBB, XXX"):
        combine(tmp_path / "e", [tmp_path / "a", tmp_path / "b"], "mean", "a test")


# ---- signing


def test_a_signature_is_of_one_key_over_one_artifact(tmp_path: Path) -> None:
    digest = written(tmp_path / "a").digest
    for name in ("mine", "other"):
        generate(tmp_path / name, tmp_path / f"{name}.pem")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600
    own_key, other_key = tmp_path / "mine.pem", tmp_path / "other.pem"
    assert "it is not signed" in signature_fault(tmp_path / "a", digest, [own_key])
    sign(tmp_path / "a", digest, tmp_path / "mine")
    assert signature_fault(tmp_path / "a", digest, [other_key, own_key]) == ""
    assert "no trusted key made this signature" in signature_fault(tmp_path / "a", digest, [other_key])
    assert "no trusted key made this signature" in signature_fault(tmp_path / "a", "0" * 64, [own_key])
    load_agent(tmp_path / "a", {})
    (tmp_path / "a" / signature.SIGNATURE).write_text("not hex")
    assert "it has no signature in it" in signature_fault(tmp_path / "a", digest, [own_key])
    with pytest.raises(KeyFault, match="no public key in PEM"):
        signature_fault(tmp_path / "a", digest, [tmp_path / "mine"])
    own_key.chmod(0o600)
    with pytest.raises(KeyFault, match="no private key in PEM"):
        sign(tmp_path / "a", digest, own_key)
    with pytest.raises(KeyFault, match="never overwritten"):
        generate(tmp_path / "mine", tmp_path / "new.pem")
    (tmp_path / "mine").chmod(0o644)
    with pytest.raises(KeyFault, match="others may read this private key; chmod 600"):
        sign(tmp_path / "a", digest, tmp_path / "mine")


def test_where_keys_are_named_nothing_unsigned_is_traded(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "b", "dqn")
    combine(tmp_path / "e", [tmp_path / "a", tmp_path / "b"], "mean", "a test")
    generate(tmp_path / "key", tmp_path / "key.pem")
    trusted = [tmp_path / "key.pem"]
    for name in ("a", "e"):
        policy = load(str(tmp_path / name), {}, tmp_path)
        assert distrusted(policy, []) == ""
        assert "it is not signed" in distrusted(policy, trusted)
        sign(tmp_path / name, policy.digest, tmp_path / "key")  # type: ignore[attr-defined]
        assert distrusted(policy, trusted) == ""
    assert distrusted(load("equal_weight", {}, ROOT), trusted) == "", "no artifact, nothing to sign"
    assert "it is not signed" in distrusted(load("models/shipped/scorer", {}, ROOT), trusted)
    inside = load("ensemble", {"members": [{"policy": "equal_weight"}, {"policy": str(tmp_path / "b")}]}, tmp_path)
    assert "b: it is not signed" in distrusted(inside, trusted)
    assert "trusted_keys" in distrusted(policy, [tmp_path / "none.pem"])


# ---- versions


@pytest.mark.parametrize("to", ["../other", "/etc", "..", "none", "", "link", "x" * 90])
def test_a_pointer_leads_to_a_version_inside_or_nowhere(to: str, tmp_path: Path) -> None:
    written(tmp_path / "mine" / "one")
    written(tmp_path / "other")
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "mine" / "current").write_text(to)
    with pytest.raises(PolicyError, match=r"there is no version|80 are expected"):
        load("mine", {}, tmp_path)
    with pytest.raises(ArtifactError, match="there are: one"):
        versions.point(tmp_path / "mine", to, "0", "now")


def test_an_ensemble_has_nothing_to_set(tmp_path: Path) -> None:
    written(tmp_path / "a")
    combine(tmp_path / "e", [tmp_path / "a", tmp_path / "a"], "mean", "a test")
    with pytest.raises(ValueError, match="has no parameter 'seat'"):
        load_ensemble(tmp_path / "e", {"seat": "bold"})
