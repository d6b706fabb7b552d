"""Functions and objects of the caller as policies."""

from functools import partial

import numpy as np
import pytest

import quantd
from quantd.research.python_api.functions import source_digest


@pytest.mark.long
def test_a_class_an_object_a_partial_and_a_lambda_are_policies(bars):
    class Half:
        lookback = 1

        def __init__(self, share=0.5):
            self.share = share

        def act(self, view, memory):
            count = memory.get("count", np.zeros(1)) + 1
            return [self.share, 0.0], {"count": count}

    def act(view, share=0.1):
        return [share, 0.0]

    backtests = [quantd.backtest(p, bars=bars, compare=False) for p in (Half, Half(0.5), lambda view: [0.5, 0.0])]
    assert len({backtest.digest for backtest in backtests}) == 1
    shares = [
        quantd.backtest(act, bars=bars, params={"share": 0.5}, compare=False),
        quantd.backtest(partial(act, share=0.5), bars=bars, compare=False),
    ]
    assert {backtest.digest for backtest in shares} == {backtests[0].digest}


def test_a_digest_follows_source_defaults_and_captured_values():
    def one(view, share=0.1):
        return [share]

    def two(view, share=0.2):
        return [share]

    policies = [(lambda view, s=s: [s]) for s in (1, 2)]
    assert source_digest(one) != source_digest(two)
    assert source_digest(policies[0]) != source_digest(policies[1])
    assert source_digest(one) == source_digest(one)
    code = compile("def f(view):\n    return [1]", "<cell>", "exec")
    spaces = [{}, {}]
    for space in spaces:
        exec(code, space)
    assert source_digest(spaces[0]["f"]) == source_digest(spaces[1]["f"])
