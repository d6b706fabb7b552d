"""Trees by scipy and by skfolio."""

import numpy as np
import pytest
import scipy.cluster.hierarchy as sch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import squareform
from skfolio.cluster import HierarchicalClustering, LinkageMethod
from skfolio.distance import PearsonDistance
from skfolio.moments import EmpiricalCovariance
from skfolio.optimization import HierarchicalRiskParity
from skfolio.prior import EmpiricalPrior
from skfolio.seriation import HierarchicalSeriation

from quantd.strategies.allocators.hierarchy import (
    clusters,
    distances,
    hierarchical_risk_parity,
    leaves,
    single_linkage,
)
from quantd.strategies.allocators.mean_variance import Box
from quantd.trading.covariance import covariance
from tests.support.examples import examples
from tests.support.returns import Floats, market


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(2, 60))
def test_the_tree_and_its_leaves_are_those_of_scipy(seed: int, size: int) -> None:
    correlation = np.corrcoef(market(seed, size).T)
    distance = distances(correlation)
    np.fill_diagonal(distance, 0.0)
    oracle = sch.linkage(squareform(distance, checks=False), method="single")
    merges = single_linkage(distance)
    assert [(a, b) for a, b, _ in merges] == [(int(row[0]), int(row[1])) for row in oracle]
    np.testing.assert_allclose([d for _, _, d in merges], oracle[:, 2], rtol=1e-12)
    assert leaves(merges) == sch.leaves_list(oracle).tolist()


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(2, 40), height=st.floats(0.1, 0.8))
def test_the_clusters_below_a_height_are_those_of_scipy(seed: int, size: int, height: float) -> None:
    distance = distances(np.corrcoef(market(seed, size).T))
    np.fill_diagonal(distance, 0.0)
    oracle = sch.fcluster(sch.linkage(squareform(distance, checks=False), method="single"), height, "distance")
    members = clusters(single_linkage(distance), height)
    assert members == sorted(np.flatnonzero(oracle == label).tolist() for label in set(oracle.tolist()))


def skfolio_weights(returns: Floats) -> Floats:
    oracle = HierarchicalRiskParity(
        prior_estimator=EmpiricalPrior(covariance_estimator=EmpiricalCovariance()),
        distance_estimator=PearsonDistance(),
        seriation_estimator=HierarchicalSeriation(
            optimal_ordering=False,
            hierarchical_clustering_estimator=HierarchicalClustering(linkage_method=LinkageMethod.SINGLE),
        ),
    )
    return oracle.fit(returns).weights_


@pytest.mark.quick_cases(1)
@pytest.mark.requirement("R-078")
@pytest.mark.parametrize("size", [2, 3, 20, 100])
def test_the_weights_are_those_of_skfolio(size: int) -> None:
    for seed in range(20 if size < 100 else 5):
        returns = market(seed, size)
        # left and right are numbers of columns there: give it the columns as ours numbers them
        order = np.argsort(returns.var(axis=0))
        theirs = np.empty(size)
        theirs[order] = skfolio_weights(returns[:, order])
        np.testing.assert_allclose(hierarchical_risk_parity(covariance(returns)), theirs, rtol=1e-7)


def test_bounds_are_met() -> None:
    w = hierarchical_risk_parity(covariance(market(5, 10)), Box(0.05, 0.12))
    assert w.min() >= 0.05 - 1e-12
    assert w.max() <= 0.12 + 1e-12
    assert w.sum() == pytest.approx(1.0)
