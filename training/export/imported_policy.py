"""Makes an artifact of a policy that was trained elsewhere: a zip file of Stable-Baselines3, or an ONNX graph.

The observation and the action of the policy are written down in a TOML file (`Declaration`). The network becomes the
inner part of the artifact's own graph: normalisation before it, conversion to weights after it. Needs torch and onnx.

What can go wrong. The policy would be asked with other inputs than in its training: the size of its input must be the
size that quantd's observation has. A foreign graph could do anything: it has the operators of artifacts alone, and
runs in a process without rights, here and in trading.
"""

import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import onnx
import torch
from msgspec import Struct
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from quantd.models.artifacts.card import card_of_import
from quantd.models.artifacts.folder import FILE_BYTES, MANIFEST_BYTES, digest_of, first_line, read_bytes
from quantd.models.artifacts.manifest import ActionSpec, AgentManifest, ArtifactError, Probes, Shape, Training
from quantd.models.artifacts.runtime import new_session
from quantd.models.isolation.session import Session
from quantd.models.observation import sight as sights
from quantd.models.observation.return_features import FEATURES
from quantd.models.observation.sight import Held, SightSpec, entry_names
from quantd.training.export import writer
from quantd.training.export.saved_zip import Saved, saved_policy
from quantd.training.learners.record import Actor
from quantd.training.market.normalisation import Scale
from quantd.training.market.tensors import Allocations, grid
from quantd.training.networks.onnx_nodes import Graph, Readout

OPSETS: Final = range(13, 23)
"""Versions of ONNX's operators that an imported graph may use."""


class Declaration(Struct, frozen=True, forbid_unknown_fields=True):
    """The file of --observation: what the policy was shown in its training, and what its outputs are."""

    symbols: tuple[str, ...]
    """In the order of the training."""
    trained_until: date
    """The last day of data that influenced the policy."""
    features: tuple[str, ...] = FEATURES
    columns: str | tuple[str, ...] = ()
    window: int = 0
    book: tuple[Held, ...] = ("weights", "cash")
    benchmark: str = ""
    action: Literal["continuous", "discrete", "short"] = "continuous"
    """As in quantd/Portfolio-v0."""
    parts: int = 2
    cash: bool = False
    mean: tuple[float, ...] = ()
    """The mean of each entry, as of VecNormalize; empty: nothing is normalised."""
    deviation: tuple[float, ...] = ()
    clip: float = 10.0
    each: bool = False
    """An ONNX graph is asked with a row for each symbol, the entries of that symbol, and answers one number a row."""
    output: str = ""
    """The output of an ONNX graph; its last by default."""
    threshold: float = 0.0
    """Subtracted from each answer, such as 0.5 from a probability."""


def read_declaration(path: Path) -> tuple[Declaration, SightSpec]:
    """Return the declaration in a TOML file, and its observation. Raises ArtifactError for a mistake in it."""
    try:
        table = tomllib.loads(read_bytes(path, MANIFEST_BYTES).decode())
        declared = msgspec.convert(table, Declaration)
        columns = sights.names_in(declared.columns)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path}: {error}") from None
    spec = SightSpec(
        features=declared.features, window=declared.window, book=declared.book, benchmark=declared.benchmark,
        columns=msgspec.convert(columns, tuple[str, ...]),
    )  # fmt: skip
    symbols, size = declared.symbols, len(declared.mean)
    fault = "" if symbols and len(set(symbols)) == len(symbols) else "symbols: one or more, each once, are expected"
    fault = fault or sights.fault(spec, symbols)
    if not fault and (spec.macro or spec.series):
        fault = f"columns: {', '.join((*spec.macro, *spec.series))} is of a file; such columns are not imported"
    expected = 0 if fault else spec.size(len(symbols))
    if not fault and (size not in (0, expected) or len(declared.deviation) != size):
        fault = f"mean and deviation have {size} and {len(declared.deviation)} numbers; {expected} each are expected"
    if not fault and not (all(value > 0.0 for value in declared.deviation) and declared.clip > 0.0):
        fault = "deviation and clip: numbers above 0 are expected"
    if not fault and not np.isfinite([*declared.mean, *declared.deviation, declared.threshold]).all():
        fault = "mean, deviation and threshold: finite numbers are expected"
    if not fault and declared.action == "discrete" and (declared.each or declared.parts < 1):
        fault = "action: discrete goes with parts of 1 or more, and without each"
    if fault:
        raise ArtifactError(f"{path}: {fault}")
    return declared, spec


@dataclass
class Network:
    """A network that is imported, as the writer of artifacts takes a learner."""

    path: Path
    readout: "Readout | Literal['values']"
    tensors: nn.Module

    def q_values(self, observed: Tensor) -> Tensor:
        """Return the outputs float[B, K] for observations float[B, D]. Axes: B rows, D entries, K outputs."""
        raise NotImplementedError

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the network to `graph`, and return the name of its output."""
        raise NotImplementedError

    def act(self, observed: Tensor) -> Tensor:
        """Return the greedy action, the index of an allocation where the actions are discrete."""
        outputs = self.q_values(observed.float())
        if self.readout == "bounded":
            return outputs.clip(-1.0, 1.0)
        return outputs.argmax(dim=-1) if self.readout in ("softmax", "values") else outputs

    def probabilities(self, observed: Tensor) -> Tensor:
        """Return the outputs as probabilities float[B, K]."""
        return self.q_values(observed.float()).softmax(dim=-1)

    def policy_networks(self) -> Actor:
        """Return the network that acts, this one."""
        return Actor((self,), self.readout, 0, self.tensors)


@dataclass
class Layers(Network):
    """The layers of a Stable-Baselines3 policy; a squashed one has the range of its actions."""

    saved: Saved

    def q_values(self, observed: Tensor) -> Tensor:
        outputs: Tensor = self.saved.layers(observed.float())
        if self.saved.squashed:
            outputs = outputs.tanh()
        if self.readout == "shares":
            outputs = outputs * 0.5 + 0.5 if self.saved.squashed else outputs.clip(0.0, 1.0)
        return outputs

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        x = given
        for depth, layer in enumerate(self.saved.layers):
            if isinstance(layer, nn.Linear):
                x = graph.linear(f"{prefix}layer{depth}", layer, x)
            else:
                x = graph.node("Tanh" if isinstance(layer, nn.Tanh) else "Relu", [x])
        if self.saved.squashed:
            x = graph.node("Tanh", [x])
        if self.readout == "shares" and self.saved.squashed:
            half = graph.scalar("half", 0.5)
            x = graph.node("Add", [graph.node("Mul", [x, half]), half])
        elif self.readout == "shares":
            x = graph.node("Clip", [x, graph.scalar("low", 0.0), graph.scalar("high", 1.0)])
        return x


@dataclass
class Foreign(Network):
    """A graph of another program. `session` runs it in a process without rights."""

    model: onnx.ModelProto
    session: Session
    given: str
    output: str
    rows: tuple[int, int] | None
    """With a row for each symbol: the number of symbols, and of entries of each."""
    threshold: float

    def q_values(self, observed: Tensor) -> Tensor:
        rows: NDArray[np.float32] = observed.float().numpy()
        if self.rows is not None:
            rows = rows[:, : self.rows[0] * self.rows[1]].reshape(-1, self.rows[1])
        try:
            answers = np.asarray(self.session.run([self.output], {self.given: rows})[0], dtype=np.float32)
        except Exception as error:  # the runtime raises several classes, none of them public
            raise ArtifactError(f"{self.path}: it does not take rows {rows.shape}: {first_line(error)}") from None
        if answers.ndim != 2 or len(answers) != len(rows) or not np.isfinite(answers).all():
            raise ArtifactError(f"{self.path}: {self.output} is {answers.shape} for rows {rows.shape}, or not finite")
        if self.rows is not None:
            answers = answers[:, -1].reshape(len(observed), -1)
        return torch.from_numpy(answers - np.float32(self.threshold))

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        if self.rows is not None:
            cells = graph.columns(given, 0, self.rows[0] * self.rows[1])
            given = graph.node("Reshape", [cells, graph.integers("each", -1, self.rows[1])])
        names = {self.given: given, "": ""}

        def renamed(name: str) -> str:
            return names.setdefault(name, f"model.{name}")

        for tensor in self.model.graph.initializer:
            graph.constant(renamed(tensor.name), numpy_helper.to_array(tensor))
        for node in self.model.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:], copy.output[:] = map(renamed, node.input), map(renamed, node.output)
            graph.nodes.append(copy)
        graph.opsets |= {opset.domain: opset.version for opset in self.model.opset_import}
        graph.foreign = True
        answer = renamed(self.output)
        if self.rows is not None:
            answer = graph.columns(answer, -1, 1 << 30)
            answer = graph.node("Reshape", [answer, graph.integers("symbols", -1, self.rows[0])])
        return graph.node("Sub", [answer, graph.scalar("threshold", self.threshold)]) if self.threshold else answer


def import_policy(path: Path, declaration: Path, out: Path, command: str) -> AgentManifest:
    """Write the artifact of the policy in `path` to the new folder `out`, and load it with all checks of trading.

    Raises ArtifactError for a policy that is refused, with the reason.
    """
    declared, spec = read_declaration(declaration)
    symbols = declared.symbols
    allocations = grid(symbols, declared.parts, declared.cash) if declared.action == "discrete" else None
    if path.suffix == ".zip":
        network, algorithm, widths = _archived(path, declaration, declared, spec, allocations)
    else:
        network, algorithm, widths = _foreign(path, declaration, declared, spec), "onnx", ()
    answers = network.q_values(torch.zeros(1, spec.size(len(symbols)))).shape[1]
    if answers != (expected := _answers(declared, allocations)):
        raise ArtifactError(
            f"{path}: it answers {answers} numbers; {expected} are expected for the action {declared.action} of "
            f"{declaration}"
        )
    mean, deviation = (torch.tensor(values, dtype=torch.float64) for values in (declared.mean, declared.deviation))
    until = datetime.combine(declared.trained_until + timedelta(days=1), time(), UTC)
    manifest = AgentManifest(
        name=out.name, algorithm=algorithm, profile="",
        network=Shape("mlp" if widths else "onnx", widths, writer.parameters_of(network)),
        sight=spec, sight_hash="", action=_action(declared, allocations), universe=symbols,
        training=Training(
            command, {file.name: digest_of(read_bytes(file, FILE_BYTES)) for file in (path, declaration)}, {},
            int(until.timestamp()) * 10**9, (0,), 0, 0,
        ),
        plan={}, results={}, golden=Probes(0, 0, 0, 0.0),
    )  # fmt: skip
    card = card_of_import(manifest).encode()
    scale = Scale(mean, deviation, declared.clip) if declared.mean else None
    weights = None if allocations is None else allocations.weights
    try:
        return writer.write(out, manifest, network, scale, card, weights)
    except onnx.checker.ValidationError as error:
        raise ArtifactError(f"{path}: not a valid graph: {first_line(error)}") from None


def _answers(declared: Declaration, allocations: Allocations | None) -> int:
    """Return how many numbers the policy answers."""
    if allocations is not None:
        return len(allocations.names)
    return len(declared.symbols) + (declared.action == "continuous" and not declared.each)


def _action(declared: Declaration, allocations: Allocations | None) -> ActionSpec:
    """Return the action of the artifact."""
    if allocations is not None:
        return ActionSpec("discrete", allocations.names, declared.parts, declared.cash)
    return ActionSpec("simplex" if declared.action == "continuous" else "box")


def _require_size(path: Path, size: object, declaration: Path, spec: SightSpec, declared: Declaration) -> None:
    """Raise ArtifactError unless the policy takes as many numbers as the observation has."""
    assets = len(declared.symbols)
    expected = spec.width if declared.each else spec.size(assets)
    if size != expected:
        names = entry_names(spec, declared.symbols)
        parts = f"{spec.width} for each of {assets} symbols ({', '.join(n.split()[0] for n in names[: spec.width])})"
        if not declared.each:
            parts += "".join(f", {name}" for name in names[spec.width * assets :])
        raise ArtifactError(
            f"{path}: the policy takes {size} numbers; the observation of {declaration} has {expected}: {parts}"
        )


def _archived(
    path: Path, declaration: Path, declared: Declaration, spec: SightSpec, allocations: Allocations | None
) -> tuple[Network, str, tuple[int, ...]]:
    """Return the policy in a zip file, its algorithm, and the widths of its layers."""
    if declared.each or declared.output or declared.threshold:
        raise ArtifactError(f"{declaration}: each, output and threshold are of ONNX graphs; remove them")
    saved = saved_policy(path)
    linear = [layer for layer in saved.layers if isinstance(layer, nn.Linear)]
    _require_size(path, linear[0].in_features, declaration, spec, declared)
    if allocations is not None:
        wanted, given = {"n": str(len(allocations.names)), "start": "0"}, saved.space
        readout: Any = "values" if saved.algorithm == "dqn" else "softmax"
    else:
        low = 0.0 if declared.action == "continuous" else -1.0
        wanted = {"low": str({low}), "high": str({1.0})}
        given = {name: str(_numbers(str(saved.space.get(name)))) for name in wanted}
        readout = "shares" if declared.action == "continuous" else "bounded"
    if any(given.get(name) != value for name, value in wanted.items()):
        has, needed = (
            ", ".join(f"{name} {str(table.get(name))[:40]}" for name in wanted) for table in (saved.space, wanted)
        )
        raise ArtifactError(
            f"{path}: its action space has {has}; the action {declared.action} of {declaration} has {needed}"
        )
    widths = tuple(layer.out_features for layer in linear[:-1])
    return Layers(path, readout, saved.layers, saved), saved.algorithm, widths


def _numbers(text: str) -> set[float]:
    """Return the different numbers of an array that numpy printed; an empty set for another text."""
    try:
        return {float(word) for word in text.strip("[]").split() if word != "..."}
    except ValueError:
        return set()


def _foreign(path: Path, declaration: Path, declared: Declaration, spec: SightSpec) -> Foreign:
    """Return the policy in an ONNX graph."""
    data = read_bytes(path, FILE_BYTES)
    session = new_session(data, path, 1)
    model = onnx.load_from_string(data)  # parsed after the checks of `new_session`
    versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    if any(version not in OPSETS for version in versions):
        raise ArtifactError(f"{path}: opset {versions[0]}; export it with opset {OPSETS[0]} to {OPSETS[-1]}")
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in constants]
    outputs = [port.name for port in model.graph.output]
    output = declared.output or outputs[-1]
    if output not in outputs:
        raise ArtifactError(f"{declaration}: output {output!r}; the graph has {', '.join(outputs)}")
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ArtifactError(
            f"{path}: it takes {', '.join(port.name for port in inputs)}; one float32 input is expected"
        )
    shape = [axis.dim_value or axis.dim_param or "any" for axis in inputs[0].type.tensor_type.shape.dim]
    _require_size(path, shape[1] if len(shape) == 2 else shape, declaration, spec, declared)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "nodes_featureids" and max(attribute.ints, default=0) >= int(shape[1]):
                raise ArtifactError(f"{path}: a tree reads entry {max(attribute.ints)} of {shape[1]}")
    arrays = {t.name.replace(".", "_"): torch.from_numpy(np.array(numpy_helper.to_array(t), np.float32))
              for t in model.graph.initializer if t.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE)}  # fmt: skip
    tensors = nn.ParameterDict({name: nn.Parameter(array, requires_grad=False) for name, array in arrays.items()})
    readout: Any = {"continuous": "shares", "short": "bounded", "discrete": "values"}[declared.action]
    rows = (len(declared.symbols), spec.width) if declared.each else None
    return Foreign(path, readout, tensors, model, session, inputs[0].name, output, rows, declared.threshold)
