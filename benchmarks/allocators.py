"""Allocators compared with PyPortfolioOpt and skfolio on the same returns, in one run.

It prints milliseconds for 20 and 100 instruments from 504 daily returns, covariance estimate included, and the
difference between the optima.

    OMP_NUM_THREADS=1 python -m benchmarks.allocators [repetitions]

A missing peer (`make test` installs both) is omitted and reported. PyPortfolioOpt has no risk parity; its HRP and
skfolio's receive the columns in order of variance, as numbered here.
"""

import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter_ns

import numpy as np

from quantd.strategies.allocators.black_litterman import doubt_of, posterior
from quantd.strategies.allocators.cvar import minimum_cvar
from quantd.strategies.allocators.hierarchy import hierarchical_risk_parity
from quantd.strategies.allocators.mean_variance import (
    maximum_diversification,
    maximum_sharpe,
    mean_variance,
    minimum_variance,
)
from quantd.strategies.allocators.risk_parity import risk_parity
from quantd.trading.covariance import covariance
from quantd.trading.market import Floats

ROWS = 504
YEAR = 252.0
FREE_ANNUAL = 0.02
VIEWS = np.array([0.10, 0.03])
"""The first returns 10 % a year; the second 3 % more than the third. Both have confidence one half."""

Allocate = Callable[[], Floats]


def market(size: int, seed: int = 7) -> Floats:
    """Return daily returns of one common factor and individual noise with fat tails; columns in order of variance."""
    rng = np.random.default_rng(seed)
    common = rng.standard_t(5, size=(ROWS, 1)) * 0.006
    idiosyncratic = rng.standard_t(5, size=(ROWS, size)) * rng.uniform(0.004, 0.018, size)
    returns = common * rng.uniform(0.2, 1.5, size) + idiosyncratic + rng.normal(0.0005, 0.0004, size)
    return np.ascontiguousarray(returns[:, np.argsort(returns.var(axis=0))])


def picks(size: int) -> Floats:
    rows = np.zeros((2, size))
    rows[0, 0] = rows[1, 1] = 1.0
    rows[1, 2] = -1.0
    return rows


def ours(returns: Floats) -> dict[str, Allocate]:
    size = returns.shape[1]
    rows = picks(size)

    def sharpe() -> Floats:
        return maximum_sharpe(covariance(returns), returns.mean(axis=0) - FREE_ANNUAL / YEAR)

    def black_litterman() -> Floats:
        cov = covariance(returns)
        doubt = doubt_of(cov, rows, np.full(2, 0.5))
        mean, blended = posterior(cov, np.full(size, 1.0 / size), rows, VIEWS / YEAR, doubt)
        return maximum_sharpe(blended, mean)

    def costs() -> Floats:
        previous = np.full(size, 1.0 / size)
        return mean_variance(covariance(returns), returns.mean(axis=0), 5.0, previous, 0.0005 / 21)

    return {
        "minimum variance": lambda: minimum_variance(covariance(returns)),
        "maximum Sharpe": sharpe,
        "risk parity": lambda: risk_parity(covariance(returns)),
        "Black-Litterman": black_litterman,
        "HRP": lambda: hierarchical_risk_parity(covariance(returns)),
        "max diversification": lambda: maximum_diversification(covariance(returns)),
        "minimum CVaR": lambda: minimum_cvar(returns),
        "mean-variance, costs": costs,
    }


def skfolio(returns: Floats) -> dict[str, Allocate]:
    from skfolio import RiskMeasure
    from skfolio.cluster import HierarchicalClustering, LinkageMethod
    from skfolio.moments import EmpiricalCovariance, EquilibriumMu
    from skfolio.optimization import (
        HierarchicalRiskParity,
        MaximumDiversification,
        MeanRisk,
        ObjectiveFunction,
        RiskBudgeting,
    )
    from skfolio.prior import BlackLitterman, EmpiricalPrior
    from skfolio.seriation import HierarchicalSeriation

    daily = FREE_ANNUAL / YEAR
    deviation, ratio = RiskMeasure.STANDARD_DEVIATION, ObjectiveFunction.MAXIMIZE_RATIO
    single = HierarchicalSeriation(
        optimal_ordering=False,
        hierarchical_clustering_estimator=HierarchicalClustering(linkage_method=LinkageMethod.SINGLE),
    )

    def prior() -> EmpiricalPrior:
        return EmpiricalPrior(covariance_estimator=EmpiricalCovariance())

    def views() -> BlackLitterman:
        equations = [f"x0 == {VIEWS[0] / YEAR}", f"x1 - x2 == {VIEWS[1] / YEAR}"]
        market = EmpiricalPrior(
            mu_estimator=EquilibriumMu(risk_aversion=2.5, covariance_estimator=EmpiricalCovariance()),
            covariance_estimator=EmpiricalCovariance(),
        )
        return BlackLitterman(views=equations, tau=0.05, prior_estimator=market, view_confidences=[0.5, 0.5])

    estimators: dict[str, Callable[[], object]] = {
        "minimum variance": lambda: MeanRisk(risk_measure=RiskMeasure.VARIANCE, prior_estimator=prior()),
        "maximum Sharpe": lambda: MeanRisk(
            objective_function=ratio, risk_measure=deviation, risk_free_rate=daily, prior_estimator=prior()
        ),
        "risk parity": lambda: RiskBudgeting(risk_measure=RiskMeasure.VARIANCE, prior_estimator=prior()),
        "Black-Litterman": lambda: MeanRisk(objective_function=ratio, risk_measure=deviation, prior_estimator=views()),
        "HRP": lambda: HierarchicalRiskParity(prior_estimator=prior(), seriation_estimator=single),
        "max diversification": lambda: MaximumDiversification(prior_estimator=prior()),
        "minimum CVaR": lambda: MeanRisk(risk_measure=RiskMeasure.CVAR),
        "mean-variance, costs": lambda: MeanRisk(
            objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
            risk_measure=RiskMeasure.VARIANCE,
            risk_aversion=2.5,
            transaction_costs=0.0005 / 21,
            previous_weights=np.full(returns.shape[1], 1.0 / returns.shape[1]),
            prior_estimator=prior(),
        ),
    }
    import pandas as pd

    frame = pd.DataFrame(returns, columns=[f"x{k}" for k in range(returns.shape[1])])
    return {name: (lambda make=make: make().fit(frame).weights_) for name, make in estimators.items()}  # type: ignore[misc]


def pypfopt(returns: Floats) -> dict[str, Allocate]:
    import pandas as pd
    from pypfopt import BlackLittermanModel, EfficientFrontier, HRPOpt

    frame = pd.DataFrame(returns)
    size = returns.shape[1]
    rows = picks(size)

    def array(weights: dict[int, float]) -> Floats:
        return np.array([weights[k] for k in range(size)])

    def frontier() -> EfficientFrontier:
        return EfficientFrontier(frame.mean() * YEAR, frame.cov() * YEAR, weight_bounds=(0, 1))

    def black_litterman() -> Floats:
        cov = frame.cov() * YEAR
        # its cap-weighted prior adds the risk-free rate: this is the equilibrium in excess of it, as here
        prior = 2.5 * cov @ np.full(size, 1.0 / size)
        model = BlackLittermanModel(
            cov, pi=prior, Q=VIEWS, P=rows, omega="idzorek", view_confidences=[0.5, 0.5], tau=0.05
        )
        optimum = EfficientFrontier(model.bl_returns(), model.bl_cov(), weight_bounds=(0, 1))
        return array(optimum.max_sharpe(risk_free_rate=0.0))

    return {
        "minimum variance": lambda: array(frontier().min_volatility()),
        "maximum Sharpe": lambda: array(frontier().max_sharpe(risk_free_rate=FREE_ANNUAL)),
        "Black-Litterman": black_litterman,
        "HRP": lambda: array(HRPOpt(frame).optimize(linkage_method="single")),
    }


def objective(name: str, returns: Floats, weights: Floats) -> float:
    """Return the objective's value: smaller is better, and agreement is measured on it."""
    cov = covariance(returns)
    volatility = float(np.sqrt(weights @ cov @ weights))
    match name:
        case "maximum Sharpe":
            return -float(weights @ returns.mean(axis=0) - FREE_ANNUAL / YEAR) / volatility
        case "Black-Litterman":
            rows = picks(len(weights))
            doubt = doubt_of(cov, rows, np.full(2, 0.5))
            mean, blended = posterior(cov, np.full(len(weights), 1.0 / len(weights)), rows, VIEWS / YEAR, doubt)
            return -float(weights @ mean) / float(np.sqrt(weights @ blended @ weights))
        case "risk parity":
            return volatility / float(np.exp(np.log(weights).mean()))
        case "max diversification":
            return -float(weights @ np.sqrt(np.diag(cov))) / volatility
        case "minimum CVaR":
            losses = np.sort(-returns @ weights)
            over = np.array([np.maximum(losses - a, 0.0).sum() for a in losses[-60:]])
            return float((losses[-60:] + over / (0.05 * ROWS)).min())
        case "mean-variance, costs":
            cost = 0.0005 / 21 * float(np.abs(weights - 1.0 / len(weights)).sum())
            return -float(weights @ returns.mean(axis=0) - 2.5 * volatility**2 - cost)
    return volatility


def milliseconds(run: Allocate, repetitions: int) -> float:
    """Return the minimum of the times, which excludes other work on the machine."""
    run()
    times = []
    for _ in range(repetitions):
        began = perf_counter_ns()
        run()
        times.append(perf_counter_ns() - began)
    return min(times) / 1e6


def main(arguments: list[str]) -> None:
    repetitions = int(arguments[0]) if arguments else 5
    warnings.simplefilter("ignore")
    peers = {"PyPortfolioOpt": ("pypfopt", pypfopt), "skfolio": ("skfolio", skfolio)}
    there = {name: make for name, (module, make) in peers.items() if find_spec(module)}
    for name in peers:
        if name not in there:
            print(f"{name} is not installed here; `make test` installs it")
    print(f"{ROWS} returns, least of {repetitions} runs (ours: {50 * repetitions}), one thread")
    print(
        "ratio: the fastest peer's time over ours; gap: how much better "
        "our objective is (negative: worse), as a fraction"
    )
    head = f"{'form':<22}{'n':>4}{'ours ms':>10}" + "".join(f"{name + ' ms':>18}" for name in there)
    print(head + f"{'ratio':>9}" + "".join(f"{'gap ' + name:>20}" for name in there))
    for size in (20, 100):
        returns = market(size)
        mine = ours(returns)
        theirs = {name: make(returns) for name, make in there.items()}
        for form, run in mine.items():
            ours_ms = milliseconds(run, 50 * repetitions)
            best = objective(form, returns, run())
            line, gaps, times = f"{form:<22}{size:>4}{ours_ms:>10.3f}", "", []
            for name in there:
                if form not in theirs[name]:
                    line, gaps = line + f"{'-':>18}", gaps + f"{'-':>20}"
                    continue
                took = milliseconds(theirs[name][form], repetitions)
                times.append(took)
                gap = (objective(form, returns, theirs[name][form]()) - best) / abs(best)
                line, gaps = line + f"{took:>18.2f}", gaps + f"{gap:>20.1e}"
            print(line + (f"{min(times) / ours_ms:>9.0f}" if times else f"{'-':>9}") + gaps)


if __name__ == "__main__":
    main(sys.argv[1:])
