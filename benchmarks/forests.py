"""Time of the forests: one prediction of each, a whole decision, and ONNX Runtime compared with scikit-learn.

    python -m benchmarks.forests

It runs the shipped forests on synthetic returns, with one thread and a printed seed. A helper model may take 10 ms.
"""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from quantd.daemon.policies.loading import load
from quantd.models.artifacts.manifest import FOREST_KINDS
from quantd.models.artifacts.runtime import open_session
from quantd.models.forests.forest_features import LOOKBACK, look
from quantd.models.forests.prediction import INPUT, OUTPUT, load_forest
from quantd.models.isolation.session import here
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Floats
from quantd.trading.view import EMPTY_MEMORY, View
from tests.support.checkout import SHIPPED

SEED = 7


def times_ms(act: Callable[[], object], count: int) -> tuple[float, float]:
    """Return (p50, p99) in milliseconds."""
    act()
    taken = []
    for _ in range(count):
        began = perf_counter_ns()
        act()
        taken.append(perf_counter_ns() - began)
    p50, p99 = np.percentile(taken, (50, 99)) / 1e6
    return float(p50), float(p99)


def view_of(returns: Floats) -> View:
    size = returns.shape[1]
    ring = Ring(size, LOOKBACK)
    prices = 100.0 * np.vstack([np.ones(size), np.cumprod(1.0 + returns, axis=0)])
    for row in prices:
        ring.append(row)
    universe = Universe(tuple(Instrument(f"S{k}") for k in range(size)))
    return View(
        universe=universe,
        ring=ring,
        prices=prices[-1],
        weights=np.zeros(size),
        cash=1.0,
        equity=1e5,
        time=0,
        sample_time=0,
    )


def main() -> None:
    draw = np.random.default_rng(SEED)
    print(f"seed {SEED}, milliseconds, median and 99th percentile")
    print(f"{'assets':>6}  {'part':<30}{'p50':>9}{'p99':>9}")
    for size, count in ((5, 300), (20, 300), (100, 60)):
        returns = draw.standard_t(4, (LOOKBACK, size)) * 0.01
        parts: dict[str, Callable[[], object]] = {"measuring the past": lambda r=returns: look(r)}
        past = look(returns)
        for kind in FOREST_KINDS:
            forest = load_forest(SHIPPED / f"forest_{kind}")
            parts[f"forest_{kind}, one answer"] = lambda f=forest, p=past: f.predict(p)
        policy, view = load("learned_allocation", {}, Path("/")), view_of(returns)
        parts["learned_allocation, a decision"] = lambda p=policy, v=view: p.act(v, EMPTY_MEMORY)
        for name, act in parts.items():
            p50, p99 = times_ms(act, count)
            print(f"{size:>6}  {name:<30}{p50:>9.3f}{p99:>9.3f}")
    beside_sklearn(draw)


def beside_sklearn(draw: np.random.Generator) -> None:
    """Time the same trees in both, where the extra `train` is installed."""
    try:
        from sklearn.ensemble import RandomForestRegressor

        from quantd.training.forests.conversion import to_onnx, trees_of
    except ImportError:
        print("scikit-learn or onnx is not installed: nothing to compare with")
        return
    features = draw.normal(size=(4_000, 14)).astype(np.float32)
    target = features[:, 0] + np.sin(features[:, 1]) + draw.normal(size=len(features))
    fitted = RandomForestRegressor(100, max_depth=10, max_leaf_nodes=64, random_state=0).fit(features, target)
    session = open_session(to_onnx(trees_of(fitted), 14), Path("bench"), [INPUT], [OUTPUT], opened=here)
    print(f"\n{'rows':>6}  {'ONNX Runtime':>13}{'scikit-learn':>14}{'ratio':>8}{'largest difference':>20}")
    for rows in (5, 20, 190):
        given = features[:rows]
        ours, _ = times_ms(lambda g=given: session.run(None, {INPUT: g}), 100)
        theirs, _ = times_ms(lambda g=given: fitted.predict(g), 30)
        difference = np.abs(session.run(None, {INPUT: given})[0][:, 0] - fitted.predict(given)).max()
        print(f"{rows:>6}  {ours:>13.3f}{theirs:>14.3f}{theirs / ours:>8.0f}{difference:>20.1e}")


if __name__ == "__main__":
    main()
