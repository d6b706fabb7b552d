"""Docstrings of the public API: the names of `quantd`, the ports, and the records that an extension writes.

Elsewhere a docstring is written where it says more than the name.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module

import quantd
from quantd.trading import ports

RECORDS = (
    "adapters.brokers.venue:Venue", "adapters.feeds.source:Source", "adapters.sinks.sink:Sink",
    "daemon.assembly.job_records:JobRecord", "daemon.cli.command:Command", "daemon.edges.edge_records:Edge",
    "daemon.runtime.step_folds:StepFold", "daemon.views.report.section_parts:Section",
    "research.doubts.doubt:Doubt", "research.metrics.metric:Metric", "risk.limits.record:Limit",
    "strategies.indicators.table:Indicator", "training.learners.record:Learner",
)  # fmt: skip


def documented() -> Iterator[tuple[str, object]]:
    """Each public class, function and method that needs a docstring, with its name."""
    objects = {name: getattr(quantd, name) for name in quantd.__all__}
    objects |= {name: port for name, port in vars(ports).items() if getattr(port, "__module__", "") == ports.__name__}
    objects |= {place: getattr(import_module(f"quantd.{place[: place.index(':')]}"), place.partition(":")[2])
                for place in RECORDS}  # fmt: skip
    for name, member in objects.items():
        yield name, member
        if inspect.isclass(member) and name != "Client":  # a method of the client has the text of its route
            for own, part in vars(member).items():
                function = part.fget if isinstance(part, property) else getattr(part, "__func__", part)
                if inspect.isfunction(function) and not own.startswith("_"):
                    yield f"{name}.{own}", function


def faults(name: str, member: object) -> Iterator[str]:
    """What the docstring of a public name lacks: itself, its errors, or the shape of an array."""
    text = inspect.getdoc(member) or ""
    if not text:
        yield f"{name} has no docstring"
    elif inspect.isfunction(member):
        raised = [node for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(member)))) if raises(node)]
        if raised and "Raises" not in text:
            yield f"{name} does not name the errors that it raises"
        if re.search("Floats|Ints|NDArray|Lots", str(inspect.signature(member))) and not re.search(r"\w\[.+?\]", text):
            yield f"{name} does not give the shape of its array"


def raises(node: ast.AST) -> bool:
    """Whether a statement makes and raises an error; one that raises a caught error again does not."""
    return isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)


def test_the_public_api_has_docstrings_with_errors_and_shapes() -> None:
    assert [fault for name, member in documented() for fault in faults(name, member)] == []


def test_a_docstring_without_its_errors_or_shapes_is_seen() -> None:
    def scaled(rows: "Floats") -> "Floats":  # type: ignore[name-defined]  # noqa: F821
        """Return the rows."""
        raise ValueError(rows)

    assert list(faults("scaled", scaled)) == [
        "scaled does not name the errors that it raises", "scaled does not give the shape of its array",
    ]  # fmt: skip
    assert list(faults("bare", lambda: None)) == ["bare has no docstring"]
