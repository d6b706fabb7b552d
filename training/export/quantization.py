"""Makes a smaller copy of an artifact: linear layers in eight bits, or weights in half precision. Needs onnx.

The quantization to eight bits is dynamic: inputs of a layer are rounded at run time, its weights once, with a scale per
output. Products are summed in integers (Jacob et al. 2018, section 2.1). Weights use seven of the eight bits, so that
the sums are the same on every processor. Half precision applies to storage; arithmetic is float32. A copy with too
large a difference is not written.

What can go wrong. Processors without VNNI add two products of bytes in 16 bits and cut the sum: a copy with weights of
127 levels decided otherwise on such a processor. So weights have seven bits, whose sums fit: 2 x 255 x 63 is 32,130.
Small differences would become large positions: so the layers whose rounding changes the answers most stay unrounded,
and a copy beyond its tolerance is refused. Errors would add up in a copy of a copy: so only a trained policy can be
copied.

What the order guarantees. The layers are chosen first and the extreme probes (test inputs) are searched after that,
because the extremes are those of the rounded layers. The written copy is loaded with all checks of trading.

Rejected: a field of the manifest for the number of levels, because the weights themselves show it.
"""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from quantd.models.artifacts import folder as folders
from quantd.models.artifacts.agent_policy import LearnedAgent, LearnedArtifact, load_agent
from quantd.models.artifacts.card import card_of_copy
from quantd.models.artifacts.inspection import MOST_LEVELS
from quantd.models.artifacts.manifest import TOLERANCES, AgentManifest, ArtifactError, Precision
from quantd.trading.exit_codes import ExplainedError
from quantd.training.export.agreement import PROBES, agreement, answers, probes_of
from quantd.training.export.extreme_probes import with_extremes

LEAST: Final = 256
"""Smallest number of entries of a matrix that is rounded."""

LEAST_SHARE: Final = 0.5
"""Minimum fraction of the entries of all those matrices that a copy has to round."""

LEVELS: Final = MOST_LEVELS
"""Largest absolute value of a rounded weight: seven bits, whose products are exact on every processor."""


MARGIN: Final = 1e-3
"""Allowance of a probe's tolerance for other processors, which may round an input to the neighbouring integer.

It is more than ten times the largest difference measured between ONNX Runtime and exact integers (7e-5, `full`).
"""


class TooDifferent(ExplainedError, ValueError):
    """A smaller copy that differs too much from its parent; the message has the difference."""


def quantize(folder: Path, out: Path, precision: Precision, command: str) -> AgentManifest:
    """Write a copy of the artifact in `folder`, rounded to `precision`, to `out`.

    Raises ArtifactError for an artifact that does not load or is a rounded copy already, TooDifferent for a copy that
    differs too much, and ValueError for the precision float32.
    """
    parent = load_agent(folder, {})  # {}: no parameters
    manifest, golden = parent.artifact.manifest, parent.artifact.golden
    if manifest.precision != "float32":
        raise ArtifactError(f"{folder}: it is {manifest.precision} already; name the artifact that it was made from")
    if precision == "float32":
        raise ValueError("the artifact has precision float32 already; choose int8 or float16")
    copy = msgspec.structs.replace(
        manifest,
        name=out.name,
        likeness=None,
        precision=precision,
        parent=manifest.digest,
        made=command,
        golden=msgspec.structs.replace(manifest.golden, tolerance=TOLERANCES[precision]),
    )
    observed = probes_of(manifest.sight, len(manifest.universe))
    expected = answers(parent, observed)

    def agent_of(graph: bytes) -> LearnedAgent:
        # b"": no weights; not proved, because this graph may differ too much, which is measured below
        return LearnedAgent(LearnedArtifact(out, copy, graph, b"", golden), prove=False)

    def difference_of(graph: bytes) -> float:
        agent = agent_of(graph)
        # A discrete policy answers the same allocation or another one, so that a tolerance has no meaning. Its golden
        # probes have a clear lead and must agree; of the other probes, `agreement` reports the share that agrees.
        observed_difference = (
            0.0 if copy.action.kind == "discrete" else float(np.abs(answers(agent, observed) - expected).max())
        )
        return max(agent.difference(), observed_difference)

    matrices = frozenset(matrices_of(parent.artifact.graph))
    graph, unrounded = _rounded_within_tolerance(parent.artifact.graph, matrices, precision, difference_of)
    comparison = agreement(parent, agent_of(graph), observed)
    copy = msgspec.structs.replace(copy, agreement=msgspec.structs.replace(comparison, left=unrounded))
    if precision == "int8":
        # only now: the extremes are those of the layers that were rounded in the end
        golden = with_extremes(golden, agent_of(graph).artifact)
        tolerance = min(agent_of(graph).difference() + MARGIN, TOLERANCES[precision])
        probes = msgspec.structs.replace(copy.golden, count=len(golden.cash), tolerance=tolerance)
        copy = msgspec.structs.replace(copy, golden=probes)
    tensors = onnx.load_from_string(graph).graph.initializer
    contents = {
        "card.md": card_of_copy(copy, (folder / "card.md").read_text()).encode(),
        "golden.bin": folders.numbers(*msgspec.structs.astuple(golden)),
        "policy.onnx": graph,
        "weights.safetensors": save({t.name: np.ascontiguousarray(numpy_helper.to_array(t)) for t in tensors}),
    }
    written = folders.write(out, copy, contents)
    load_agent(out, {})  # raises ArtifactError for a copy that fails a check of trading
    return written


def _rounded_within_tolerance(
    model: bytes, matrices: frozenset[str], precision: Precision, difference_of: Callable[[bytes], float]
) -> tuple[bytes, tuple[str, ...]]:
    """Return the rounded graph and the names of the matrices that stay unrounded, in alphabetical order.

    `difference_of` returns the largest difference of a graph's answers from those of the original. Matrices are
    excluded from rounding, starting with the matrix whose rounding does most harm, until this difference is within the
    tolerance. Raises TooDifferent where less than LEAST_SHARE of the entries would be rounded.
    """
    product_nodes = in_eight_bits if precision == "int8" else _in_half
    allowed = TOLERANCES[precision]
    graph = rewritten(model, matrices, product_nodes)
    full_difference = difference_of(graph)
    if full_difference <= allowed:
        return graph, ()
    sizes = matrices_of(model)
    by_harm = sorted(
        matrices, key=lambda name: (-difference_of(rewritten(model, frozenset({name}), product_nodes)), name)
    )
    for count in range(1, len(by_harm)):
        candidates = frozenset(by_harm[count:])
        if sum(sizes[name] for name in candidates) < LEAST_SHARE * sum(sizes.values()):
            break
        graph = rewritten(model, candidates, product_nodes)
        if difference_of(graph) <= allowed:
            return graph, tuple(sorted(by_harm[:count]))
    remedy = "; half precision (--fp16) keeps more" if precision == "int8" else ""
    raise TooDifferent(
        f"in {precision} a weight differs by {full_difference:.2g} from its parent's over {PROBES} probes; {allowed:g} "
        f"is allowed, and without "
        f"the most harmful layers less than {LEAST_SHARE:.0%} would be rounded: nothing was written{remedy}"
    )


Keep = Callable[[str, NDArray[Any]], str]
"""Stores a constant under a name, and returns the name."""


def in_eight_bits(node: Any, weight: NDArray[Any], keep: Keep) -> list[Any]:
    """Return the graph nodes of an integer product that replace `node`, a float32 product with the matrix `weight`.
    `keep` stores a constant under a name and returns the name."""
    # 1e-12: a column of zeros must not divide by zero
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / LEVELS
    rounded = np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8)
    source, name, out = node.input[0], node.input[1], node.output[0]
    matrix, scales = keep(f"{name}.rounded", rounded), keep(f"{name}.scale", scale[None].astype(np.float32))
    return [
        helper.make_node("DynamicQuantizeLinear", [source], [f"{out}.q", f"{out}.step", f"{out}.zero"]),
        helper.make_node("MatMulInteger", [f"{out}.q", matrix, f"{out}.zero"], [f"{out}.sum"]),
        helper.make_node("Cast", [f"{out}.sum"], [f"{out}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}.step", scales], [f"{out}.steps"]),
        helper.make_node("Mul", [f"{out}.float", f"{out}.steps"], [out]),
    ]


def _in_half(node: Any, weight: NDArray[Any], keep: Keep) -> list[Any]:
    """Return the graph nodes of a product with `weight` stored as float16.

    `keep` stores a constant under a name and returns the name. Raises ValueError when a number is above the maximum of
    float16.
    """
    half = weight.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(
            f"{node.input[1]} has a number above {np.finfo(np.float16).max:g}, the maximum of half precision; "
            "use eight bits (--int8)"
        )
    wide = f"{node.output[0]}.wide"
    return [
        helper.make_node("Cast", [keep(f"{node.input[1]}.half", half)], [wide], to=TensorProto.FLOAT),
        helper.make_node("MatMul", [node.input[0], wide], list(node.output)),
    ]


def rewritten(model: bytes, names: frozenset[str], product: Callable[..., list[Any]]) -> bytes:
    """Return the graph `model`, in which the products with the matrices `names` are replaced by the nodes that
    `product` returns."""
    changed = onnx.load_from_string(model)
    graph = changed.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    new_constants: dict[str, Any] = {}

    def keep(name: str, values: NDArray[Any]) -> str:
        new_constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in names:
            nodes += product(node, numpy_helper.to_array(constants[node.input[1]]), keep)
        else:
            nodes.append(node)
    names_read = {name for node in nodes for name in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in names_read] + list(new_constants.values())
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(initializers)
    onnx.checker.check_model(changed)
    return bytes(changed.SerializeToString(deterministic=True))


def matrices_of(model: bytes) -> dict[str, int]:
    """Return name -> number of entries of the constant float32 matrices that are factors of a product.

    Matrices with fewer than LEAST entries are left out.
    """
    graph = onnx.load_from_string(model).graph
    factors = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    sizes = {
        tensor.name: prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.name in factors and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    }
    return {name: size for name, size in sizes.items() if size >= LEAST}
