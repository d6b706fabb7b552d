"""Kernels: the same bits interpreted and compiled, by vector functions, in a process of their own."""

import numpy as np
import pytest

from quantd.trading import jit

ROWS = [np.random.default_rng(seed).normal(size=97) for seed in range(3)]


@pytest.mark.parametrize("function", [f for f in jit.LOOPS if f.__module__ == jit.__name__], ids=lambda f: f.__name__)
def test_a_vector_function_and_its_loop_give_the_same_bits(function):
    loop = jit.LOOPS[function]
    for row in (*ROWS, np.array([np.nan, -np.inf, np.inf, -0.0, 0.0])):
        kinds = list(loop.__annotations__.values())[:-1]
        args = [(row[::-1].copy() if k else row.copy()) if kind is jit.Floats else 0.3 for k, kind in enumerate(kinds)]
        own, other = [[a.copy() if isinstance(a, np.ndarray) else a for a in args] for _ in range(2)]
        with np.errstate(invalid="ignore"):
            assert function(*own) == loop(*other)
        assert [np.array(a).tobytes() for a in own] == [np.array(a).tobytes() for a in other]


def test_an_entry_is_interpreted_with_memoryviews():
    seen = []
    entry = jit.Entry(lambda *args: seen.extend(args))
    jit.ENTRIES.remove(entry)
    entry.run(ROWS[0], np.zeros((2, 2)), 3)
    assert [type(each) for each in seen] == [memoryview, np.ndarray, int]
