"""A trained policy trades by name, proves itself at load and needs no torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.models.artifacts.folder import write
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, Network, ScorerManifest
from quantd.models.artifacts.scorer_policy import LearnedPolicy, load_policy
from quantd.models.observation.return_features import LOOKBACK
from tests.support.artifact_views import moves, view_of
from tests.support.checkout import ROOT
from tests.support.examples import examples

SHIPPED = ROOT / "models" / "shipped" / "scorer"


def named(folder: Path, **changes: object) -> Path:
    """The shipped artifact with another manifest that fits its files."""
    shutil.copytree(SHIPPED, folder)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ScorerManifest)
    contents = {name: (folder / name).read_bytes() for name in ScorerManifest.FILES}
    write(folder, msgspec.structs.replace(manifest, **changes), contents)
    return folder


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 30), data=st.data())
def test_permuting_the_columns_permutes_the_weights_in_any_universe(seed: int, size: int, data: st.DataObject) -> None:
    policy = load_policy(SHIPPED, {})
    order = data.draw(st.permutations(range(size)))
    returns = moves(seed, size)
    symbols = tuple(f"S{k}" for k in range(size))
    straight, _ = policy.act(view_of(returns, symbols), {})
    turned, _ = policy.act(view_of(returns[:, order], tuple(symbols[k] for k in order)), {})
    np.testing.assert_allclose(turned, straight[order], atol=1e-6)
    assert (straight >= 0.0).all()
    assert straight.sum() <= 1.0 + 1e-6


def test_an_asset_without_history_gets_exactly_nothing() -> None:
    policy = load_policy(SHIPPED, {})
    returns = moves(1, 4)
    returns[:30, 2] = np.nan
    weights = policy.weights(returns)
    assert weights[2] == 0.0
    assert weights[[0, 1, 3]].min() > 0.0
    np.testing.assert_allclose(weights[[0, 1, 3]], policy.weights(returns[:, [0, 1, 3]]), atol=1e-6)
    assert not policy.weights(np.full((LOOKBACK, 3), np.nan)).any()


def test_a_network_that_is_not_equivariant_finds_its_columns_by_name(tmp_path: Path) -> None:
    folder = named(tmp_path / "a", network=Network("scorer", 16, equivariant=False), universe=("X", "Y", "Z"))
    policy = load_policy(folder, {})
    returns = moves(3, 3)
    straight, _ = policy.act(view_of(returns, ("X", "Y", "Z")), {})
    turned, _ = policy.act(view_of(returns[:, [2, 0, 1]], ("Z", "X", "Y")), {})
    np.testing.assert_array_equal(turned, straight[[2, 0, 1]])
    with pytest.raises(ArtifactError, match="trained on X, Y, Z; the universe lacks Y and adds W"):
        policy.act(view_of(returns, ("X", "W", "Z")), {})


def test_it_says_until_when_it_was_trained() -> None:
    policy = load_policy(SHIPPED, {})
    assert isinstance(policy, LearnedPolicy)
    assert policy.trained_until_ns == policy.artifact.manifest.training.until_ns
    assert policy.digest == policy.artifact.manifest.digest != ""
    assert policy.lookback == LOOKBACK


@pytest.mark.long
@pytest.mark.parametrize("name", ["models/shipped/scorer", "models/shipped/ppo", "learned_allocation"])
def test_trading_with_it_imports_no_library_of_training(name: str) -> None:
    code = (
        "import sys; from pathlib import Path; from quantd.daemon.policies.loading import load;"
        f"load({name!r}, {{}}, Path('/'));"
        "libraries = 'torch', 'onnx', 'sklearn', 'polars', 'cryptography';"
        "sys.exit(','.join(m for m in libraries if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_the_runtime_of_trained_policies_writes_no_identifier_of_the_machine(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import quantd.models.artifacts.runtime"], capture_output=True, cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
