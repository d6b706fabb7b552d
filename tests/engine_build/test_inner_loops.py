"""What checks the buffers of an inner loop: it refuses each buffer that is one element too short before the loop, which
a build compiles without bounds checks, is called with it."""

import ast
import importlib
import inspect
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from quantd.engine_build import builder, finder
from quantd.engine_build.recipe import INNER_LOOPS, InnerLoop
from quantd.risk.monitor.holdings import Holdings
from quantd.trading.number_types import FloatRows, Floats, Ints, ReadRows

SIZE = 4
SYMBOLS = 3
OWN_FIELDS = "Holdings.weigh"
"""The loop of this checker reads fields of its own object, and has a test below."""

MODULE_OF = {loop.checked_by: loop.module for loop in INNER_LOOPS if loop.checked_by != OWN_FIELDS}
ROW, RETURNS, MATRIX = np.ones(SIZE), np.ones((SYMBOLS, SIZE)), np.ones((SIZE, SIZE))


class Made(NamedTuple):
    """An argument that is an object of SIZE, and its buffers that are read."""

    kind: str
    fields: tuple[str, ...]


SIDES = Made("Sides", ("shorts", "longs", "less", "more", "under", "over"))

ARGUMENTS: dict[str, dict[str, Any]] = {
    "Loops.sum_above": {"row": ROW, "size": SIZE, "edge": 0.0},
    "Loops.count_above": {"row": ROW, "size": SIZE, "bound": 0.0},
    "Loops.nth": {"row": ROW, "spare": ROW, "size": SIZE, "rank": SIZE - 1},
    "Loops.sum_worst": {"values": ROW, "losses": ROW, "size": SIZE, "edge": 0.0, "m": 2},
    "Loops.losses": {"out": ROW, "size": SIZE, "returns": RETURNS, "fall": np.ones(SYMBOLS), "rise": np.ones(SYMBOLS)},
    "Loops.add_order": {"out": ROW, "size": SIZE, "returns": RETURNS, "k": SYMBOLS - 1, "value": 1.0, "buys": True},
    "Loops.copy": {"out": ROW, "row": ROW, "size": SIZE},
    "Loops.add_scaled": {"out": ROW, "base": ROW, "adding": ROW, "size": SIZE, "factor": 1.0},
    "Loops.factors": {"out": ROW, "base": ROW, "adding": ROW, "size": SIZE, "target": 1.0, "fall": 0.0},
    "Loops.corners": {"out": SIDES, "matrix": MATRIX, "of": SIDES, "n": SIZE, "sided": True},
    "Loops.product": {"out": ROW, "matrix": MATRIX, "values": ROW, "size": SIZE},
    "MarketLoops.moments": {"deviation": ROW, "size": ROW, "returns": RETURNS, "rows": SYMBOLS},
    "MarketLoops.transpose": {"out": RETURNS.T, "returns": RETURNS, "rows": SYMBOLS, "n": SIZE},
    "RowLoops.returns": {"out": RETURNS, "prices": RETURNS, "n": SIZE, "first": 1, "last": SYMBOLS},
    "RowLoops.count_rows": {
        "sums": Made("Sums", ("returns", "squares", "large", "number", "bits")),
        "rows": RETURNS, "first": 0, "last": SYMBOLS, "edge": 4.0, "comes": True,
    },
    "RowLoops.squares": {"out": ROW, "sums": Made("Sums", ("squares",)), "size": SYMBOLS},
    "RowLoops.variances": {"out": ROW, "sums": Made("Sums", ("returns", "squares")), "size": SYMBOLS},
    "RowLoops.least_variances": {"out": ROW, "sums": Made("Sums", ("returns", "squares")), "size": SYMBOLS},
    "RowLoops.means": {"out": ROW, "sums": Made("Sums", ("returns",)), "size": SYMBOLS},
    "RowLoops.norms": {"roots": ROW, "sums": Made("Sums", ("large",))},
    "RowLoops.spread": {"sums": Made("Sums", ("squares", "large")), "size": ROW, "rows": SYMBOLS},
    "RowLoops.dot": {"row": ROW, "values": ROW, "n": SIZE},
}  # fmt: skip
"""Checker -> arguments that fit."""

LENGTHS = (("Loops.losses", "fall"), ("MarketLoops.moments", "deviation"))
"""The buffers whose length says how much a loop reads."""


def of_source(name: str) -> ModuleType:
    """A listed module from its source, beside the one that this process has loaded."""
    spec = spec_from_file_location(f"source_of_{name.rpartition('.')[2]}", finder.source(name))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requiring(loop: InnerLoop, module: ModuleType) -> Callable[..., Any]:
    """An inner loop that fails where a buffer has less than it reads: in C it would read what lies behind."""
    owner, _, name = loop.function.partition(".")
    function = getattr(getattr(module, owner), name)
    signature = inspect.signature(function)

    def called(*arguments: Any) -> Any:
        values = signature.bind(*arguments).arguments
        sums = values.get("sums")
        size = sums.n if hasattr(sums, "n") else values.get("n", values.get("size"))
        for key, parameter in signature.parameters.items():
            if parameter.annotation in (Floats, Ints):
                least = len(values["fall"]) if key == "rise" else 0 if key == "fall" else size
                assert len(values[key]) >= least, f"{name} is called with a short {key}"
            elif parameter.annotation in (FloatRows, ReadRows):
                rows, columns = rows_of(values, size), size
                if (name, key) == ("_transpose", "out"):
                    rows, columns = columns, rows
                assert values[key].shape[0] >= rows, f"{name} is called with too few rows of {key}"
                assert values[key].shape[1] >= columns, f"{name} is called with short rows of {key}"
        if name == "_count":
            assert min(map(len, (sums.returns, sums.squares, sums.large))) >= size
            assert min(len(sums.number), len(sums.bits)) >= 1
        return function(*arguments)

    return called


def rows_of(values: dict[str, Any], size: int) -> int:
    """How many rows a loop with these arguments reads."""
    if "fall" in values:
        return len(values["fall"])
    last = values.get("row", values.get("k"))
    return int(values.get("rows", size)) if last is None or not isinstance(last, int) else last + 1


def requiring_loops(module: ModuleType, place: str, owner: str) -> Any:
    """The loops of the source, each of which requires its buffers."""
    inner = {e.function.rpartition(".")[2]: requiring(e, module) for e in INNER_LOOPS if e.module == place}
    return type("Requiring", (getattr(module, owner),), inner)()


def given(module: ModuleType, name: str, short: str = "", cut: Callable[[Any], Any] = np.asarray) -> list[Any]:
    """The arguments of a checker, of which one buffer may be cut; `out.more` is that of the sides `out`."""
    arguments: list[Any] = []
    for key, value in ARGUMENTS[name].items():
        if isinstance(value, Made):
            instance = getattr(module, value.kind)(SIZE)
            for field in value.fields:
                if short == f"{key}.{field}":
                    setattr(instance, field, np.ascontiguousarray(cut(np.asarray(getattr(instance, field)))).data)
            arguments.append(instance)
        elif isinstance(value, np.ndarray):
            arguments.append(np.array(cut(value) if key == short else value, order="C").data)
        else:
            arguments.append(value)
    return arguments


def cases() -> list[Any]:
    """Each buffer of each checker, and each way to make it one element too short."""
    parameters: list[Any] = []
    for name, arguments in ARGUMENTS.items():
        for key, value in arguments.items():
            if isinstance(value, Made):
                keys = [f"{key}.{field}" for field in value.fields]
                parameters += [pytest.param(name, field, lambda row: row[:-1], id=f"{name} {field}") for field in keys]
            elif isinstance(value, np.ndarray) and (name, key) not in LENGTHS:
                parameters.append(pytest.param(name, key, lambda rows: rows[..., :-1], id=f"{name} {key}"))
                if value.ndim == 2:
                    parameters.append(pytest.param(name, key, lambda rows: rows[:-1], id=f"{name} {key} rows"))
    return parameters


def test_the_table_has_the_checker_of_every_inner_loop_with_all_of_its_arguments() -> None:
    assert set(ARGUMENTS) == set(MODULE_OF)
    for name, arguments in ARGUMENTS.items():
        owner, _, function = name.partition(".")
        signature = inspect.signature(getattr(getattr(of_source(MODULE_OF[name]), owner), function))
        assert list(arguments) == list(signature.parameters)[1:]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_buffers_that_fit_are_taken(name: str) -> None:
    place, (owner, _, function) = MODULE_OF[name], name.partition(".")
    module, source = importlib.import_module(place), of_source(place)
    getattr(getattr(module, owner)(), function)(*given(module, name))
    getattr(requiring_loops(source, place, owner), function)(*given(source, name))


@pytest.mark.parametrize(("name", "short", "cut"), cases())
def test_a_buffer_that_is_one_element_too_short_is_refused_before_a_loop_reads_it(
    name: str, short: str, cut: Callable[[Any], Any]
) -> None:
    place, (owner, _, function) = MODULE_OF[name], name.partition(".")
    source = of_source(place)
    with pytest.raises(IndexError):
        getattr(requiring_loops(source, place, owner), function)(*given(source, name, short, cut))
    module = importlib.import_module(place)
    with pytest.raises(IndexError):
        getattr(getattr(module, owner)(), function)(*given(module, name, short, cut))


@pytest.mark.parametrize("field", ["_values", "_weights", "size"])
def test_a_book_with_a_buffer_that_is_too_short_is_not_weighed(field: str) -> None:
    for book in (Holdings(SIZE), of_source("quantd.risk.monitor.holdings").Holdings(SIZE)):
        setattr(book, field, np.zeros(SIZE - 1).data)
        with pytest.raises(ValueError, match="4 values must fit"):
            book.weigh(1.0)


def test_only_functions_that_check_call_an_inner_loop() -> None:
    checkers = {(loop.module, loop.checked_by) for loop in INNER_LOOPS}
    for place in sorted({loop.module for loop in INNER_LOOPS}):
        inner = {loop.function.rpartition(".")[2] for loop in INNER_LOOPS if loop.module == place}
        tree = ast.parse(builder.read(place) or "")
        for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for function in (node for node in owner.body if isinstance(node, ast.FunctionDef)):
                called = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)} & inner
                assert not called or (place, f"{owner.name}.{function.name}") in checkers, function.name
