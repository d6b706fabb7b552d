"""The program of the process of trained graphs: it opens them in ONNX Runtime and runs them until its input ends.

The program imports the runtime and receives the bytes of the first graph, then limits its memory, and only then reads
the graph. So the limit applies to the graphs alone, however much memory the runtime uses.
"""

import os
from contextlib import suppress
from typing import Any, Final

from quantd.models.isolation import confinement
from quantd.models.isolation.graph_messages import (
    ENCODER,
    REQUESTS,
    Failed,
    Open,
    Opened,
    Port,
    Ran,
    Run,
    array_of,
    numbers_of,
)
from quantd.models.isolation.session import runtime_session

COPIES: Final = 4
"""Copies of a graph's bytes that may be in memory while it is opened: the request, and those of the runtime."""


def main(missing: list[str]) -> None:
    """Answer requests until the input ends. `missing` are the rights that this process could not give up.

    The answer to each opened graph lists them.
    """
    # what a library prints on the standard streams must not count as an answer
    source, target, null = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    import onnxruntime  # type: ignore[import-untyped]  # noqa: F401 - before the limit of memory

    graphs: dict[int, Any] = {}
    with suppress(EOFError, BrokenPipeError):
        message = confinement.frame(source)
        confinement.limit(COPIES * len(message))
        while True:
            confinement.send(target, ENCODER.encode(_answer(graphs, message, missing)))
            message = confinement.frame(source)


def _answer(graphs: dict[int, Any], message: bytes, missing: list[str]) -> Opened | Ran | Failed:
    """Open the graph of a request, or run one. An exception becomes a Failed with the first line of its text."""
    try:
        request: Open | Run = REQUESTS.decode(message)
        if isinstance(request, Open):
            graphs[request.graph] = session = runtime_session(request.model, request.threads)
            return Opened(_ports(session.get_inputs()), _ports(session.get_outputs()), missing)
        feeds = {name: array_of(value) for name, value in request.inputs.items()}
        return Ran([numbers_of(value) for value in graphs[request.graph].run(request.outputs, feeds)])
    except Exception as error:  # the runtime has many kinds, none of them public
        return Failed((str(error).splitlines() or [type(error).__name__])[0][:500])


def _ports(ports: Any) -> list[Port]:
    return [Port(port.name, list(port.shape)) for port in ports]
