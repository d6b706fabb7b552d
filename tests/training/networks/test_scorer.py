"""The scorer: untrained it is equal weight, permuted it permutes, and its ONNX graph is the same function."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.training.networks.scorer import Scorer, to_onnx
from tests.support.examples import examples

WIDTH = 9


def random_scorer(seed: int) -> Scorer:
    torch.manual_seed(seed)
    scorer = Scorer(WIDTH, 16)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.normal_(0.0, 0.5)
    return scorer


def inputs(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(1, size, WIDTH)).astype(np.float32)
    mask = (draw.random((1, size)) < 0.8).astype(np.float32)
    return features * mask[..., None], mask


SCORER = random_scorer(1)
SESSION = onnxruntime.InferenceSession(to_onnx(SCORER), providers=["CPUExecutionProvider"])


def asked(features: np.ndarray, mask: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return SCORER(torch.from_numpy(features), torch.from_numpy(mask)).numpy()


@pytest.mark.long
@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 60))
def test_torch_and_onnx_runtime_agree_for_any_number_of_assets(seed: int, size: int) -> None:
    features, mask = inputs(seed, size)
    (given_by_graph,) = SESSION.run(None, {"features": features, "mask": mask})
    np.testing.assert_allclose(given_by_graph, asked(features, mask), atol=1e-5)


def test_an_untrained_scorer_is_equal_weight_beside_a_little_cash() -> None:
    features, _ = inputs(3, 5)
    weights = Scorer(WIDTH, 16)(torch.from_numpy(features), torch.ones(1, 5)).detach().numpy()[0]
    np.testing.assert_allclose(weights, weights[0])
    assert 0.97 < weights.sum() < 1.0


def test_the_share_of_cash_does_not_depend_on_the_number_of_assets() -> None:
    row = inputs(4, 1)[0]
    sums = [asked(np.repeat(row, n, axis=1), np.ones((1, n), np.float32)).sum() for n in (1, 5, 50)]
    np.testing.assert_allclose(sums, sums[0], atol=1e-5)
