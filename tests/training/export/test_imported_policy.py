"""Policies of Stable-Baselines3 and scikit-learn as artifacts: they answer as before, and hostile ones are refused."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import onnx
import pytest
import torch
from gymnasium import spaces
from onnx import TensorProto, helper, numpy_helper
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from quantd.models.artifacts.agent_policy import LearnedAgent, load_agent
from quantd.models.artifacts.inspection import graph_fault
from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.observation.sight import SightSpec
from quantd.training.export.imported_policy import import_policy
from quantd.training.market.tensors import grid
from tests.support.bomb import Bomb
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, Done, answer, quantd, write

SYMBOLS = ("SPY", "QQQ", "IWM")
ENTRIES = SightSpec().size(len(SYMBOLS))
GRAPHS = Path(__file__).parent / "graphs"
"""Made by examples/models/train_sklearn.py, with skl2onnx 1.20 and scikit-learn 1.9."""
TOML = f"symbols = {list(SYMBOLS)}\ntrained_until = 2016-12-30\n"
TRADES = CONFIG.replace('policy = "momentum"', 'policy = "./mine"').replace("params = { lookback = 60 }\n", "")


class World(gymnasium.Env[Any, Any]):
    """An environment that has the spaces of quantd/Portfolio-v0 and does nothing."""

    def __init__(self, action: str, entries: int = ENTRIES) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (entries,), np.float32)
        size = len(SYMBOLS)
        self.action_space = {
            "continuous": spaces.Box(0.0, 1.0, (size + 1,), np.float32),
            "short": spaces.Box(-1.0, 1.0, (size,), np.float32),
            "discrete": spaces.Discrete(len(grid(SYMBOLS, 2).names)),
        }[action]


MODELS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "ppo": (PPO, "continuous", {}),
    "ppo short": (PPO, "short", {"policy_kwargs": {"activation_fn": torch.nn.ReLU, "net_arch": [8]}}),
    "ppo without layers": (PPO, "continuous", {"policy_kwargs": {"net_arch": []}}),
    "a2c discrete": (A2C, "discrete", {}),
    "dqn": (DQN, "discrete", {"buffer_size": 10}),
    "sac": (SAC, "continuous", {"buffer_size": 10}),
    "sac short": (SAC, "short", {"buffer_size": 10}),
    "td3": (TD3, "continuous", {"buffer_size": 10}),
}


def saved(folder: Path, name: str = "ppo", **options: Any) -> tuple[Any, Path, Path]:
    kind, action, settings = MODELS[name]
    model = kind(
        "MlpPolicy", World(action, options.pop("entries", ENTRIES)), seed=1, device="cpu", **settings | options
    )
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.3)
    model.save(folder / "model.zip")
    declared = folder / "model.toml"
    declared.write_text(f'{TOML}action = "{action}"\n')
    return model, folder / "model.zip", declared


def weights_of(action: Any, kind: str) -> Any:
    if kind == "discrete":
        return grid(SYMBOLS, 2).weights[int(action), :3]
    if kind == "short":
        return action / max(abs(action).sum(), 1.0)
    return action[:3] / max(action.sum(), 1e-30)


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_a_policy_of_stable_baselines_answers_as_before(name: str, tmp_path: Path) -> None:
    model, path, declared = saved(tmp_path, name)
    manifest = import_policy(path, declared, tmp_path / "out", "a test")
    agent = load_agent(tmp_path / "out", {})
    assert manifest.algorithm == name.split()[0]
    for observed in np.random.default_rng(3).normal(size=(20, ENTRIES)).astype(np.float32):
        expected = weights_of(model.predict(observed, deterministic=True)[0].astype(float), MODELS[name][1])
        np.testing.assert_allclose(agent.decide(observed[None]).weights, expected, atol=1e-5)


@pytest.mark.long
def test_the_normalisation_of_its_training_is_written_down(tmp_path: Path) -> None:
    model, path, declared = saved(tmp_path)
    mean, deviation = np.linspace(-1, 1, ENTRIES), np.linspace(0.5, 2, ENTRIES)
    declared.write_text(f"{TOML}mean = {mean.tolist()}\ndeviation = {deviation.tolist()}\nclip = 1.5\n")
    import_policy(path, declared, tmp_path / "out", "a test")
    observed = np.random.default_rng(3).normal(size=ENTRIES).astype(np.float32)
    seen = np.clip((observed - mean) / deviation, -1.5, 1.5).astype(np.float32)
    expected = weights_of(model.predict(seen, deterministic=True)[0].astype(float), "continuous")
    np.testing.assert_allclose(load_agent(tmp_path / "out", {}).decide(observed[None]).weights, expected, atol=1e-5)


def changed(path: Path, **members: bytes) -> Path:
    """The archive with other files in place of those named, with _ for the dot."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files |= {name.replace("policy_pth", "policy.pth"): data for name, data in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def altered(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads(zipfile.ZipFile(path).read("data"))
    change(data)
    return changed(path, data=json.dumps(data).encode())


def reweighted(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    tensors = dict(torch.load(io.BytesIO(zipfile.ZipFile(path).read("policy.pth")), weights_only=True))
    change(tensors)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return changed(path, policy_pth=buffer.getvalue())


def compressed(data: bytes) -> bytes:
    """A file of torch.save, its parts compressed, and one that unpacks to 64 MiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
        archive.writestr("archive/data/99", bytes(1 << 26))
    return buffer.getvalue()


def bombed(folder: Path, path: Path) -> Path:
    """The archive with pickles that run code in each place of one."""
    bomb, buffer = pickle.dumps(Bomb(folder / "exploded")), io.BytesIO()
    torch.save({"action_net.weight": Bomb(folder / "exploded")}, buffer)
    import base64

    altered(path, lambda data: data["policy_class"].update({":serialized:": base64.b64encode(bomb).decode()}))
    altered(path, lambda data: data["lr_schedule"].update({":serialized:": base64.b64encode(bomb).decode()}))
    return changed(path, policy_pth=buffer.getvalue(), pytorch_variables_pth=bomb)


def outside(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    return path


def inflated(path: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("policy.pth")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(1 << 25))
        archive.writestr("policy.pth", weights)
    return path


HEAD = "action_net.weight"
ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "code in a pickle": (lambda p: bombed(p.parent, p), r"policy\.pth: it has more than weights in it"),
    "a bare pickle": (
        lambda p: changed(p, policy_pth=pickle.dumps(Bomb(p.parent / "exploded"))),
        "not of the form that torch.save writes",
    ),
    "a record that unpacks to more": (inflated, "data unpacks to more than 16777216 bytes"),
    "weights that unpack to more": (
        lambda p: changed(p, policy_pth=compressed(zipfile.ZipFile(p).read("policy.pth"))),
        "it is compressed, which torch.save never does",
    ),
    "a path outside": (lambda p: outside(p, "../../evil.py"), r"a file '\.\./\.\./evil\.py' outside its folder"),
    "a path from the root": (lambda p: outside(p, "/etc/evil"), "a file '/etc/evil' outside its folder"),
    "no zip": (lambda p: p.write_bytes(b"PK nothing"), "no zip file"),
    "no weights": (lambda p: zipfile.ZipFile(p, "w").writestr("data", b"{}"), r"no policy\.pth in it"),
    "no record": (lambda p: changed(p, data=b"[1]"), "no record of a Stable-Baselines3 model"),
    "a record that nests": (lambda p: changed(p, data=b"[" * 200_000), "no record of a Stable-Baselines3 model"),
    "a huge shape": (
        lambda p: reweighted(p, lambda t: t.update({HEAD: torch.zeros(1).expand(1 << 40, 64)})),
        r"action_net\.weight has the shape \(1099511627776, 64\), more than the file holds",
    ),
    "other numbers": (
        lambda p: reweighted(p, lambda t: t.update({HEAD: t[HEAD].double()})),
        r"action_net\.weight is torch\.float64; float32 is expected",
    ),
    "a text as weights": (lambda p: reweighted(p, lambda t: t.update({HEAD: "w"})), r"is <class 'str'>; float32"),
    "sparse weights": (lambda p: reweighted(p, lambda t: t.update({HEAD: t[HEAD].to_sparse()})), "weights|float32"),
    "a NaN": (lambda p: reweighted(p, lambda t: t[HEAD].fill_(float("nan"))), "a number that is not finite"),
    "an infinite bias": (
        lambda p: reweighted(p, lambda t: t["action_net.bias"].fill_(float("inf"))),
        "a number that is not finite",
    ),
    "a layer of another width": (
        lambda p: reweighted(p, lambda t: t.update({HEAD: torch.zeros(4, 9)})),
        "a layer of 64 outputs before one of 9 inputs",
    ),
    "a missing bias": (lambda p: reweighted(p, lambda t: t.pop("action_net.bias")), r"\[\(4, 64\), None\]"),
    "a missing layer": (
        lambda p: reweighted(p, lambda t: [t.pop(f"mlp_extractor.policy_net.0.{n}") for n in ("weight", "bias")]),
        r"layers \[2\] of mlp_extractor\.policy_net; 0, 2, 4",
    ),
    "a network of its own": (
        lambda p: reweighted(p, lambda t: t.update({"features_extractor.cnn.0.weight": torch.zeros(1)})),
        r"features_extractor\.cnn\.0\.weight is in no MlpPolicy of PPO",
    ),
    "another library": (
        lambda p: altered(p, lambda d: d["policy_class"].update(__module__="sb3_contrib.tqc.policies")),
        r"a policy of sb3_contrib\.tqc\.policies; MlpPolicy of PPO, A2C, DQN, SAC and TD3",
    ),
    "gSDE": (lambda p: altered(p, lambda d: d.update(use_sde=True)), r"use_sde \(gSDE\) changes the network"),
    "an unknown setting": (
        lambda p: altered(p, lambda d: d["policy_kwargs"].update(squash_output=True)),
        "policy_kwargs 'squash_output' changes the network",
    ),
    "an activation": (
        lambda p: altered(p, lambda d: d["policy_kwargs"].update(activation_fn="<class 'x.Mine'>")),
        "the activation <class 'x.Mine'>; Tanh and ReLU are imported",
    ),
    "pixels": (
        lambda p: altered(p, lambda d: d["observation_space"].update(dtype="uint8")),
        "an observation of uint8; float32 is expected",
    ),
    "other actions": (
        lambda p: altered(p, lambda d: d["action_space"].update(low="[-1. -1. -1. -1.]")),
        r"its action space has low \[-1\. -1\. -1\. -1\.\], high \[1\. 1\. 1\. 1\.\]; the action continuous of",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return saved(tmp_path_factory.mktemp("saved"))[1].read_bytes()


@pytest.mark.long
@pytest.mark.requirement("R-101")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_zip_file_is_refused_and_nothing_in_it_runs(attack: str, whole: bytes, tmp_path: Path) -> None:
    path, declared = tmp_path / "model.zip", tmp_path / "model.toml"
    path.write_bytes(whole)
    declared.write_text(TOML)
    change, reason = ATTACKS[attack]
    change(path)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ArtifactError, match=reason):
        import_policy(path, declared, tmp_path / "out", "a test")
    assert set(tmp_path.rglob("*")) == before, "nothing was written or run"


@pytest.mark.long
def test_an_observation_of_another_size_is_refused_with_both(tmp_path: Path) -> None:
    _, path, declared = saved(tmp_path, entries=44)
    with pytest.raises(
        ArtifactError, match=r"the policy takes 44 numbers; the observation of .*model\.toml has 34: 10"
    ):
        import_policy(path, declared, tmp_path / "out", "a test")


DECLARED = {
    'features = ["momentun_5"]': "features momentun_5; this quantd computes",
    "symbols = []": "symbols: one or more, each once",
    'symbols = ["SPY", "SPY", "IWM"]': "symbols: one or more, each once",
    "colums = []": "unknown field `colums`",
    'action = "all in"': r"Invalid enum value 'all in' - at `\$\.action`",
    "mean = [1.0]": "mean and deviation have 1 and 0 numbers; 34 each are expected",
    f"mean = {[0.0] * 34}\ndeviation = {[0.0] * 34}": "deviation and clip: numbers above 0",
    f"mean = {['nan'] * 34}\ndeviation = {[1.0] * 34}".replace("'", ""): "finite numbers are expected",
    'columns = ["vix"]': "columns: vix is of a file",
    "each = true": "each, output and threshold are of ONNX graphs",
    "trained_until = 2016": r"- at `\$\.trained_until`",
    "= 3": "Invalid statement",
}


@pytest.mark.long
@pytest.mark.parametrize("line", DECLARED)
def test_a_mistake_of_the_declaration_is_named(line: str, whole: bytes, tmp_path: Path) -> None:
    path, declared = tmp_path / "model.zip", tmp_path / "model.toml"
    path.write_bytes(whole)
    key = line.split(" =")[0]
    declared.write_text("".join(row for row in TOML.splitlines(True) if not row.startswith(f"{key} =")) + line + "\n")
    with pytest.raises(ArtifactError, match=rf"model\.toml: .*{DECLARED[line]}"):
        import_policy(path, declared, tmp_path / "out", "a test")


# What the graph of a model answers, in numpy, from the attributes of its operators.
def scores(model: onnx.ModelProto, rows: Any) -> Any:
    for node in model.graph.node:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        match node.op_type:
            case "Scaler":
                rows = (rows - np.array(given["offset"])) * np.array(given["scale"])
            case "LinearRegressor":
                return rows @ np.array(given["coefficients"]) + given["intercepts"][0]
            case "LinearClassifier":
                return 1 / (
                    1 + np.exp(-(rows @ np.array(given["coefficients"][-rows.shape[1] :]) + given["intercepts"][-1]))
                )
            case "TreeEnsembleClassifier":
                return np.array([_votes(given, row) for row in rows])
    raise AssertionError(model.graph.node)


def _votes(given: dict[str, Any], row: Any) -> float:
    """The sum of the weights of the leaves that a row reaches, for the class 1."""
    places = {place: k for k, place in enumerate(zip(given["nodes_treeids"], given["nodes_nodeids"], strict=True))}
    total = 0.0
    for tree in sorted(set(given["nodes_treeids"])):
        at = places[tree, 0]
        while given["nodes_modes"][at] != b"LEAF":
            goes = row[given["nodes_featureids"][at]] <= np.float32(given["nodes_values"][at])
            at = places[tree, given["nodes_truenodeids" if goes else "nodes_falsenodeids"][at]]
        votes = zip(*(given[f"class_{name}"] for name in ("treeids", "nodeids", "ids", "weights")), strict=True)
        total += sum(w for t, n, c, w in votes if (t, n) == (tree, given["nodes_nodeids"][at]) and c in (1, 0)
                     and (c == 1 or len(set(given["class_ids"])) == 1))  # fmt: skip
    return total


def asked(agent: LearnedAgent, count: int = 20) -> list[tuple[Any, Any]]:
    width = agent.artifact.manifest.sight.width
    observed = np.random.default_rng(5).normal(size=(count, 3 * width)).astype(np.float32)
    return [(row.reshape(3, width), agent.decide(row[None]).weights) for row in observed]


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("name", ["ridge", "logistic", "forest"])
def test_a_model_of_scikit_learn_scores_each_symbol(name: str, tmp_path: Path) -> None:
    import_policy(GRAPHS / f"{name}.onnx", GRAPHS / f"{name}.toml", tmp_path / "out", "a test")
    model = onnx.load(GRAPHS / f"{name}.onnx")
    invested = 0
    for rows, weights in asked(load_agent(tmp_path / "out", {})):
        positive = np.maximum(scores(model, rows) - (0.0 if name == "ridge" else 0.5), 0.0)
        np.testing.assert_allclose(weights, positive / max(positive.sum(), 1e-30), atol=1e-3)
        invested += positive.any()
    assert invested > 3


def linear(entries: int, answers: int, **changes: Any) -> onnx.ModelProto:
    """A graph of one product, [rows, entries] to [rows, answers]."""
    value = helper.make_tensor_value_info
    weights = changes.get("weights", np.random.default_rng(1).normal(size=(entries, answers)).astype(np.float32))
    graph = helper.make_graph(
        changes.get("nodes", [helper.make_node("MatMul", ["x", "w"], ["y"])]), "linear",
        [value("x", changes.get("type", TensorProto.FLOAT), ["rows", entries])],
        [value("y", changes.get("type", TensorProto.FLOAT), ["rows", answers])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", changes.get("opset", 17))], ir_version=8)


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize(("action", "answers"), [("continuous", 4), ("short", 3), ("discrete", 6)])
def test_a_graph_of_the_whole_observation_is_one_policy(action: str, answers: int, tmp_path: Path) -> None:
    model, declared = linear(ENTRIES, answers), tmp_path / "m.toml"
    onnx.save(model, tmp_path / "m.onnx")
    declared.write_text(f'{TOML}action = "{action}"\n')
    import_policy(tmp_path / "m.onnx", declared, tmp_path / "out", "a test")
    matrix = numpy_helper.to_array(model.graph.initializer[0])
    for observed in np.random.default_rng(3).normal(size=(10, ENTRIES)).astype(np.float32):
        raw = observed @ matrix
        action_taken = {"continuous": np.maximum(raw, 0), "short": np.clip(raw, -1, 1), "discrete": raw.argmax()}[
            action
        ]
        weights = load_agent(tmp_path / "out", {}).decide(observed[None]).weights
        np.testing.assert_allclose(weights, weights_of(action_taken, action), atol=1e-5)


def refused(tmp_path: Path, model: onnx.ModelProto | bytes, reason: str, toml: str = TOML) -> None:
    path, declared = tmp_path / "m.onnx", tmp_path / "m.toml"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    declared.write_text(toml)
    with pytest.raises(ArtifactError, match=reason):
        import_policy(path, declared, tmp_path / "out", "a test")
    assert not (tmp_path / "out").exists()


def test_a_graph_that_does_not_fit_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    refused(tmp_path, linear(12, 4), r"takes 12 numbers; the observation of .*m\.toml has 34: 10 for each of 3 symbols")
    refused(
        tmp_path, linear(12, 1), r"takes 12 numbers; the observation of .* has 10: 10 for each", TOML + "each = true"
    )
    refused(tmp_path, linear(ENTRIES, 5), "it answers 5 numbers; 4 are expected for the action continuous")
    refused(tmp_path, linear(ENTRIES, 4, opset=9), "opset 9; export it with opset 13 to 22")
    refused(tmp_path, linear(ENTRIES, 4), "output 'z'; the graph has y", TOML + 'output = "z"\n')
    wrong = linear(ENTRIES, 4, type=TensorProto.DOUBLE, weights=np.zeros((ENTRIES, 4)))
    refused(tmp_path, wrong, "it takes x; one float32 input is expected")


@pytest.mark.requirement("R-101")
def test_a_hostile_graph_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    refused(tmp_path, pickle.dumps(Bomb(tmp_path / "exploded")), "cut short|not an ONNX graph")
    refused(
        tmp_path, linear(ENTRIES, 4, weights=np.full((ENTRIES, 4), np.nan, np.float32)), "w has a number that is not"
    )
    loop = helper.make_node("Loop", ["x", "w"], ["y"], body=linear(1, 1).graph)
    refused(tmp_path, linear(ENTRIES, 4, nodes=[loop]), "a graph inside an operator|the operator 'Loop'")
    own = linear(ENTRIES, 4)
    own.functions.add(name="mine", domain="x")
    refused(tmp_path, own, "functions of its own")
    far = linear(ENTRIES, 4)
    far.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    refused(tmp_path, far, "tensors in other files")
    assert not (tmp_path / "exploded").exists()


def forest(**lists: list[Any]) -> bytes:
    """The forest of the examples with other lists of numbers in its trees."""
    model = onnx.load(GRAPHS / "forest.onnx")
    for attribute in model.graph.node[0].attribute:
        if attribute.name in lists:
            changed_list = lists[attribute.name]
            attribute.ints[: len(changed_list)] = changed_list
    return model.SerializeToString()


def test_trees_that_a_walk_would_leave_or_never_leave_are_refused(tmp_path: Path) -> None:
    assert graph_fault(forest()) == ""
    assert "a branch to no later node" in graph_fault(forest(nodes_truenodeids=[0]))
    assert "a branch to no later node" in graph_fault(forest(nodes_falsenodeids=[100_000]))
    assert "a node twice" in graph_fault(forest(nodes_nodeids=[1]))
    assert "a vote of a leaf that is not there" in graph_fault(forest(class_nodeids=[0]))
    assert "a number below 0" in graph_fault(forest(nodes_featureids=[-1]))
    model = onnx.load(GRAPHS / "forest.onnx")
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "nodes_treeids":
            del attribute.ints[-1]
    assert "lists differ in length" in graph_fault(model.SerializeToString())
    toml = (GRAPHS / "forest.toml").read_text()
    refused(tmp_path, forest(nodes_featureids=[10]), "a tree reads entry 10 of 10", toml)


def models(folder: Path, *arguments: str) -> Done:
    return quantd(folder, "models", *arguments)


@pytest.mark.long
def test_from_the_training_of_the_example_to_paper(tmp_path: Path) -> None:
    script = str(ROOT / "examples" / "models" / "train_sb3.py")
    subprocess.run([sys.executable, script, "256"], cwd=tmp_path, check=True, timeout=180)
    done = models(tmp_path, "import", "sb3.zip", "--observation", "sb3.toml", "--out", "mine", "--json")
    assert answer(done)["algorithm"] == "ppo"
    assert (
        "- Trained until 2016-12-31 00:00 UTC, as the one who imported it declared"
        in (tmp_path / "mine" / "card.md").read_text()
    )
    assert "a learned policy, whole" in models(tmp_path, "verify", "mine").stdout
    assert "there is something already" in models(
        tmp_path, "import", "sb3.zip", "--observation", "sb3.toml", "--out", "mine"
    ).stderr  # fmt: skip
    assert models(tmp_path, "import", "sb3.toml", "--observation", "sb3.toml", "--out", "x").returncode == 2
    config = TRADES.replace('"IWM"]', '"IWM", "AAPL", "BAC"]')
    write(tmp_path, config)
    assert quantd(tmp_path, "run").returncode == 0
    decisions = answer(quantd(tmp_path, "why", "--json"))
    traded = [
        row for decision in decisions["decisions"] for row in decision.get("agents", []) if row["agent"] == "trend"
    ]
    assert max(sum(row["weights"].values()) for row in traded) > 0.1
