"""What checks the buffers of an inner loop: it refuses each buffer that is one element too short before the loop, which
a build compiles without bounds checks, is called with it."""

import ast
import importlib
import inspect
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from quantd.engine_build import builder, finder
from quantd.engine_build.recipe import INNER_LOOPS, InnerLoop
from quantd.trading.number_types import FloatRows, Floats

SIZE = 4
SYMBOLS = 3
MODULE_OF = {each.checked_by: each.module for each in INNER_LOOPS}
ROW, RETURNS, MATRIX, SIDES = np.ones(SIZE), np.ones((SYMBOLS, SIZE)), np.ones((SIZE, SIZE)), "sides"

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
}
"""Checker -> arguments that fit. SIDES is a Sides with buffers of SIZE."""

NUMBER_OF_SYMBOLS = ("Loops.losses", "fall")
"""The buffer whose length says how many rows the loops read."""

FIELDS = ("shorts", "longs", "less", "more", "under", "over")


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

    def called(*given: Any) -> Any:
        values = signature.bind(*given).arguments
        size = values.get("size", values.get("n"))
        for key, parameter in signature.parameters.items():
            if parameter.annotation == Floats:
                assert len(values[key]) >= size, f"{name} is called with a short {key}"
            elif parameter.annotation == FloatRows:
                rows, columns = values[key].shape
                assert rows > values["k"], f"{name} is called with too few rows of {key}"
                assert columns >= size, f"{name} is called with short rows of {key}"
        return function(*given)

    return called


def requiring_loops(module: ModuleType, place: str) -> Any:
    """The loops of the source, each of which requires its buffers."""
    inner = {e.function.rpartition(".")[2]: requiring(e, module) for e in INNER_LOOPS if e.module == place}
    return type("Requiring", (module.Loops,), inner)()


def given(module: ModuleType, name: str, short: str = "", cut: Callable[[Any], Any] = np.asarray) -> list[Any]:
    """The arguments of a checker, of which one buffer may be cut; `out.more` is that of the sides `out`."""
    found: list[Any] = []
    for key, value in ARGUMENTS[name].items():
        if isinstance(value, str):
            sides = module.Sides(SIZE)
            for field in FIELDS:
                setattr(sides, field, (cut(ROW) if short == f"{key}.{field}" else ROW).copy().data)
            found.append(sides)
        elif isinstance(value, np.ndarray):
            found.append((cut(value) if key == short else value).copy().data)
        else:
            found.append(value)
    return found


def cases() -> list[Any]:
    """Each buffer of each checker, and each way to make it one element too short."""
    found: list[Any] = []
    for name, arguments in ARGUMENTS.items():
        for key, value in arguments.items():
            if isinstance(value, str):
                keys = [f"{key}.{field}" for field in FIELDS]
                found += [pytest.param(name, each, lambda row: row[:-1], id=f"{name} {each}") for each in keys]
            elif isinstance(value, np.ndarray) and (name, key) != NUMBER_OF_SYMBOLS:
                found.append(pytest.param(name, key, lambda rows: rows[..., :-1], id=f"{name} {key}"))
                if value.ndim == 2:
                    found.append(pytest.param(name, key, lambda rows: rows[:-1], id=f"{name} {key} rows"))
    return found


def test_the_table_has_the_checker_of_every_inner_loop_with_all_of_its_arguments() -> None:
    assert set(ARGUMENTS) == set(MODULE_OF)
    for name, arguments in ARGUMENTS.items():
        owner, _, function = name.partition(".")
        signature = inspect.signature(getattr(getattr(of_source(MODULE_OF[name]), owner), function))
        assert list(arguments) == list(signature.parameters)[1:]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_buffers_that_fit_are_taken(name: str) -> None:
    place, function = MODULE_OF[name], name.partition(".")[2]
    module, source = importlib.import_module(place), of_source(place)
    getattr(module.Loops(), function)(*given(module, name))
    getattr(requiring_loops(source, place), function)(*given(source, name))


@pytest.mark.parametrize(("name", "short", "cut"), cases())
def test_a_buffer_that_is_one_element_too_short_is_refused_before_a_loop_reads_it(
    name: str, short: str, cut: Callable[[Any], Any]
) -> None:
    place, function = MODULE_OF[name], name.partition(".")[2]
    source = of_source(place)
    with pytest.raises(IndexError):
        getattr(requiring_loops(source, place), function)(*given(source, name, short, cut))
    module = importlib.import_module(place)
    with pytest.raises(IndexError):
        getattr(module.Loops(), function)(*given(module, name, short, cut))


def test_only_functions_that_check_call_an_inner_loop() -> None:
    checkers = {(each.module, each.checked_by) for each in INNER_LOOPS}
    for place in sorted(set(MODULE_OF.values())):
        inner = {each.function.rpartition(".")[2] for each in INNER_LOOPS if each.module == place}
        tree = ast.parse(builder.read(place) or "")
        for owner in (each for each in tree.body if isinstance(each, ast.ClassDef)):
            for function in (each for each in owner.body if isinstance(each, ast.FunctionDef)):
                called = {each.attr for each in ast.walk(function) if isinstance(each, ast.Attribute)} & inner
                assert not called or (place, f"{owner.name}.{function.name}") in checkers, function.name
