"""A hostile artifact of each kind is refused with the reason, and nothing in it is run."""

import importlib.util
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from quantd.models.artifacts import folder as folders
from quantd.models.artifacts.ensemble import combine
from quantd.models.artifacts.inspection import graph_fault
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import (
    MANIFEST,
    MOST_CARRY,
    AgentManifest,
    ArtifactError,
    EnsembleManifest,
    ScorerManifest,
    Seat,
)
from quantd.models.artifacts.weights import tensors_fault, tensors_of
from tests.support.artifacts import written
from tests.support.bomb import Bomb
from tests.support.checkout import ROOT, SHIPPED
from tests.support.examples import examples

SCORER = ROOT / "models" / "shipped" / "scorer"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    written(root / "learned")
    written(root / "other", "dqn")
    combine(root / "ensemble", [root / "learned", root / "other"], "mean", "a test")
    shutil.copytree(SCORER, root / "scorer")
    return root


@pytest.fixture
def place(artifacts: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(artifacts / kind, tmp_path / kind))


def manifest_in(folder: Path) -> Any:
    kind = {"learned": AgentManifest, "ensemble": EnsembleManifest}.get(folders.kind_of(folder), ScorerManifest)
    return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=kind)


def sealed(folder: Path, **changes: object) -> Path:
    """Other fields, and a digest that fits: what somebody means to be taken for whole."""
    manifest = msgspec.structs.replace(manifest_in(folder), **changes)
    (folder / MANIFEST).write_bytes(folders.render(folders.sealed(manifest)))
    return folder


def holding(folder: Path, **contents: bytes) -> Path:
    """Other files, and hashes that fit them. Names have _ for the dot."""
    manifest = manifest_in(folder)
    given = {name: (folder / name).read_bytes() for name in AgentManifest.FILES}
    folders.write(folder, manifest, given | {k.replace("_", "."): v for k, v in contents.items()})
    return folder


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match):
        load_artifact(folder, {})


INSIDE = {"learned": "learned", "scorer": "scorer", "ensemble": "ensemble/0-learned"}


@pytest.mark.requirement("R-101")
@pytest.mark.parametrize("kind", INSIDE)
@pytest.mark.parametrize("name", ["policy.onnx", "weights.safetensors"])
def test_a_pickle_is_not_read_as_weights(kind: str, name: str, place: Callable[[str], Path], tmp_path: Path) -> None:
    folder = place(kind)
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    (tmp_path / INSIDE[kind] / name).write_bytes(bomb)
    refused(folder, rf"{name}: ".replace(".", r"\."))
    if kind != "ensemble":  # with hashes that fit
        holding(folder, **{name.replace(".", "_"): bomb})
        refused(folder, rf"{name}: ".replace(".", r"\."))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", INSIDE)
def test_a_file_that_is_too_large_is_not_read(kind: str, place: Callable[[str], Path], tmp_path: Path) -> None:
    folder = place(kind)
    with (tmp_path / INSIDE[kind] / "policy.onnx").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: reading it would not end well
    refused(folder, r"policy\.onnx: 1099511627776 bytes are too many; at most \d+ are expected")
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(1 << 40)
    refused(folder, r"manifest\.json: 1099511627776 bytes are too many; at most 1048576 are expected")


@pytest.mark.parametrize("kind", INSIDE)
@pytest.mark.parametrize("name", ["policy.onnx", "golden.bin", "weights.safetensors", MANIFEST])
@pytest.mark.parametrize("harm", ["cut", "longer", "other", "missing", "link", "folder"])
def test_what_is_cut_short_longer_changed_missing_a_link_or_a_folder_is_refused(
    kind: str, name: str, harm: str, place: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = place(kind)
    path = tmp_path / INSIDE[kind] / name
    data = bytearray(path.read_bytes())
    match harm:
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "longer":
            path.write_bytes(data + b" ")
        case "other":
            data[len(data) // 2] ^= 4
            path.write_bytes(data)
        case _:
            path.unlink()
            if harm == "link":
                (tmp_path / "elsewhere").write_bytes(data)
                path.symlink_to(tmp_path / "elsewhere")
            elif harm == "folder":
                path.mkdir()
    refused(folder, name.replace(".", r"\."))


@pytest.mark.parametrize("kind", ["learned", "scorer", "ensemble"])
def test_an_edited_manifest_is_refused(kind: str, place: Callable[[str], Path]) -> None:
    folder = place(kind)
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"schema": 1', '"schema": 1 '))
    refused(folder, "it was changed after it was written")
    (folder / MANIFEST).write_text(text.replace(f'"name": "{manifest_in_name(text)}"', '"name": "another"'))
    refused(folder, "it was changed after it was written")


def manifest_in_name(text: str) -> str:
    return str(msgspec.json.decode(text)["name"])


@pytest.mark.parametrize("kind", ["learned", "scorer", "ensemble"])
def test_another_schema_or_an_unknown_field_is_refused(kind: str, place: Callable[[str], Path]) -> None:
    folder = place(kind)
    refused(sealed(folder, schema=2), "schema 2; this quantd reads 1")
    if kind != "scorer":  # whose first form allows them nowhere either, as it renders otherwise
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes())
        (folder / MANIFEST).write_bytes(msgspec.json.encode({**manifest, "schema": 1, "run": "rm"}))
        refused(folder, "unknown field `run`")


@pytest.mark.parametrize("kind", ["learned", "scorer", "ensemble"])
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "sub/x", ".."])
def test_a_manifest_names_no_file_outside(kind: str, name: str, place: Callable[[str], Path]) -> None:
    folder = place(kind)
    entries = dict(manifest_in(folder).files)
    entries[name] = entries.pop("card.md")
    refused(sealed(folder, files=entries), "are expected")


def test_numbers_that_are_none_are_refused_in_weights_and_in_the_graph(place: Callable[[str], Path]) -> None:
    folder = place("learned")
    tensors = {k: v.copy() for k, v in tensors_of((folder / "weights.safetensors").read_bytes()).items()}
    good = (folder / "weights.safetensors").read_bytes()
    tensors["policy.actor.bias"][1] = np.nan
    refused(
        holding(folder, weights_safetensors=save(tensors)), r"weights\.safetensors: policy\.actor\.bias has a number"
    )
    holding(folder, weights_safetensors=good)
    load_artifact(folder, {})
    for bad in (np.nan, np.inf):
        graph = changed(folder, lambda model, bad=bad: spoil(model, bad))
        refused(
            holding(folder, policy_onnx=graph),
            r"policy\.onnx: actor\.bias has a number that is not finite",
        )


def spoil(model: onnx.ModelProto, value: float) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "actor.bias":
            numbers = numpy_helper.to_array(tensor).copy()
            numbers[0] = value
            tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))


def changed(folder: Path, change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string((folder / "policy.onnx").read_bytes())
    change(model)
    return bytes(model.SerializeToString())


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_in_attribute(model: onnx.ModelProto) -> None:
    tensor = TensorProto(dims=[4], data_type=TensorProto.FLOAT, name="x", data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("PyOp", ["observation"], ["unused"], domain="ai.onnx.contrib"))


def unknown(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("RandomNormal", [], ["unused"], shape=[2]))


def branch(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Identity", ["observation"], ["unused"], then_branch=body))


def function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="")


@pytest.mark.requirement("R-101")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (external, "the graph keeps tensors in other files"),
        (external_in_attribute, "the graph keeps tensors in other files"),
        (foreign, r"the graph has the operator 'ai\.onnx\.contrib:PyOp'"),
        (unknown, "the graph has the operator 'RandomNormal'"),
        (branch, "the graph has a graph inside an operator"),
        (function, "the graph defines functions of its own"),
    ],
)
@pytest.mark.parametrize("kind", ["learned", "scorer"])
def test_a_graph_that_would_do_more_than_arithmetic_is_refused_before_it_is_loaded(
    kind: str, change: Callable[[onnx.ModelProto], None], reason: str, place: Callable[[str], Path]
) -> None:
    folder = place(kind)
    refused(holding(folder, policy_onnx=changed(folder, change)), rf"policy\.onnx: {reason}; it is not loaded")


@pytest.mark.requirement("R-104")
@pytest.mark.parametrize("raw", [True, False], ids=["bytes", "integers"])
@pytest.mark.parametrize(("level", "largest"), [(63, 0), (-63, 0), (64, 64), (-128, 128)])
def test_weights_in_eight_bits_have_at_most_63_levels_in_either_field_of_a_tensor(
    level: int, largest: int, raw: bool, place: Callable[[str], Path]
) -> None:
    weights = np.array([1, level], np.int8)
    tensor = helper.make_tensor("w", TensorProto.INT8, [2], weights.tobytes() if raw else weights, raw=raw)
    graph = changed(place("learned"), lambda model: model.graph.initializer.append(tensor))
    fault = graph_fault(graph)
    assert fault.startswith(f"w has weights up to {largest} in eight bits") if largest else not fault
    assert not graph_fault(graph, infinite=True), "a model of another maker may have any"


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0.0, 1.0), at=st.floats(0.0, 1.0, exclude_max=True), byte=st.integers(0, 255))
def test_reading_a_graph_or_tensors_that_are_none_always_ends_in_words(
    artifacts: Path, cut: float, at: float, byte: int
) -> None:
    for name, fault in (("policy.onnx", graph_fault), ("weights.safetensors", tensors_fault)):
        data = bytearray((artifacts / "learned" / name).read_bytes())
        data[int(at * len(data))] = byte
        assert isinstance(fault(bytes(data[: int(cut * len(data))])), str)
    assert graph_fault(b"") == "the file is not an ONNX graph"
    assert graph_fault((artifacts / "learned" / "policy.onnx").read_bytes()) == ""


@pytest.mark.parametrize("kind", ["learned", "scorer"])
def test_a_probe_that_is_answered_otherwise_is_refused(kind: str, place: Callable[[str], Path]) -> None:
    folder = place(kind)
    golden = np.frombuffer((folder / "golden.bin").read_bytes()).copy()
    golden[-1] += 1e-3
    loose = msgspec.structs.replace(manifest_in(folder).golden, tolerance=1.0)
    sealed(folder, golden=loose)  # a manifest may not allow itself more than the program does
    refused(holding(folder, golden_bin=golden.tobytes()), r"golden\.bin: the graph differs from the probe by 0\.001")
    golden[-1] = np.nan
    refused(holding(folder, golden_bin=golden.tobytes()), r"golden\.bin: ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"universe": ("AAA", "BBB")}, r"golden\.bin: \d+ bytes are not"),
        ({"universe": ("AAA", "BBB", "BBB")}, "symbols, each once"),
        ({"universe": ()}, "universe nothing"),
        ({"sight_hash": "00"}, "sight_hash does not match its sight"),
        ({"seats": (Seat("a", ("ZZZ",)),)}, "seat a holds ZZZ, which is not in the universe"),
        ({"seats": (Seat("a", share=0.5),)}, "shares of seats do not add up to 1"),
        ({"seats": (Seat("a"),)}, r"golden\.bin: \d+ bytes are not"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    changes: dict[str, object], reason: str, place: Callable[[str], Path]
) -> None:
    refused(sealed(place("learned"), **changes), reason)


def test_a_memory_that_does_not_fit_is_refused(place: Callable[[str], Path]) -> None:
    folder = place("learned")
    network = msgspec.structs.replace(manifest_in(folder).network, carry=MOST_CARRY + 1)
    refused(sealed(folder, network=network), "a carry of 8177 numbers; at most 8176 fit into a memory")


@pytest.mark.parametrize("name", ["..", "/etc", "../learned", "a/b", "", ".", "a\\b"])
def test_a_member_outside_its_ensemble_is_refused(name: str, place: Callable[[str], Path]) -> None:
    folder = place("ensemble")
    members = manifest_in(folder).members
    moved = (msgspec.structs.replace(members[0], folder=name), members[1])
    refused(sealed(folder, members=moved), "is no permitted name of a folder in the ensemble")


def test_a_member_that_is_a_link_or_another_artifact_or_an_ensemble_is_refused(
    place: Callable[[str], Path], tmp_path: Path, artifacts: Path
) -> None:
    folder = place("ensemble")
    shutil.move(folder / "0-learned", tmp_path / "away")
    (folder / "0-learned").symlink_to(tmp_path / "away")
    refused(folder, "0-learned: it is a link; copy the member's folder into the ensemble")
    (folder / "0-learned").unlink()
    shutil.copytree(artifacts / "other", folder / "0-learned")
    refused(folder, "0-learned: it is not the member of which the ensemble was made")
    shutil.rmtree(folder / "0-learned")
    shutil.copytree(artifacts / "ensemble", folder / "0-learned")
    refused(folder, "an artifact of kind 'ensemble' cannot be a member")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: {"members": m[:1]}, "1 members; 2 to 16"),
        (lambda m: {"members": (m[0], m[0])}, "a member is named twice"),
        (
            lambda m: {"members": (m[0], msgspec.structs.replace(m[1], share=0.7))},
            "shares 0.5, 0.7: each must be 0 to 1",
        ),
        (lambda m: {"members": (m[0], msgspec.structs.replace(m[1], share=-0.5))}, "each must be 0 to 1"),
    ],
)
def test_an_ensemble_that_contradicts_itself_is_refused(
    change: Callable[[Any], dict[str, object]], reason: str, place: Callable[[str], Path]
) -> None:
    folder = place("ensemble")
    refused(sealed(folder, **change(manifest_in(folder).members)), reason)


def parted(folder: Path) -> Path:
    shutil.copytree(SHIPPED / folder.name, folder)
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.without_doubles(folder / "weights.safetensors")
    assert not (folder / "weights.safetensors").exists()
    return folder / folders.PARTS


@pytest.mark.parametrize("name", ["full", "lite", "transformer"])
def test_a_wheel_has_the_weights_that_a_graph_repeats_once(tmp_path: Path, name: str) -> None:
    parts = parted(tmp_path / name)
    whole = (SHIPPED / name / "weights.safetensors").read_bytes()
    assert parts.stat().st_size < len(whole) / 7
    assert folders.read(parts.parent, AgentManifest)[1]["weights.safetensors"] == whole


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"[[0, 10]]", "its parts are not the 8456116 bytes"),
        (b"[[-2, 8456116]]", "its parts are not the 8456116 bytes"),
        (b"[[0, 8456116]]", "its content is not what the manifest says"),
        (b"[[-1, 8456116]]", r"\d+ bytes; the manifest says 8456116"),
        (b"{}", r"weights\.parts: "),
    ],
)
def test_parts_that_are_not_the_weights_are_refused(tmp_path: Path, line: bytes, match: str) -> None:
    parts = parted(tmp_path / "transformer")
    parts.write_bytes(line + b"\n" + parts.read_bytes().partition(b"\n")[2])
    refused(parts.parent, match)
