"""The session of ONNX Runtime that computes a graph, reduced to what a policy uses."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from quantd.trading.exit_codes import ExplainedError


class Port(Protocol):
    """An input or output of a graph; a variable size has a name in `shape`."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Sequence[int | str | None]:
        """The extent of each axis; a name or None for a variable extent."""
        ...


class Session(Protocol):
    """A loaded ONNX graph that can be run, in this process or in another one."""

    def get_inputs(self) -> Sequence[Port]:
        """The inputs, in the order of the graph."""
        ...

    def get_outputs(self) -> Sequence[Port]:
        """The outputs, in the order of the graph."""
        ...

    def run(self, outputs: list[str] | None, inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run the graph on `inputs` and return the named `outputs`; None returns all of them."""


OpenGraph = Callable[[bytes, Path, int], Session]
"""Opens a checked graph (bytes, its file, threads). Raises an exception whose text has the reason."""


class PolicyFailed(ExplainedError):
    """A policy or a graph in another process failed. The text names its file, where it has one, and the cause."""


def runtime_session(graph: bytes, threads: int) -> Session:
    """Load an ONNX graph in this process. Raises the exceptions of ONNX Runtime, whose classes are not public."""
    # the import writes an identifier of the machine into the user's cache folder, for telemetry
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # fatal errors only: any other is raised
    session: Session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session


def here(graph: bytes, where: Path, threads: int) -> Session:
    """Load in this process an ONNX graph that it has made itself; implements OpenGraph. `where` is not used."""
    return runtime_session(graph, threads)
