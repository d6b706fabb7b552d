"""A world with an agent and a challenger, of which one is better."""

import numpy as np

from quantd.daemon.engine.state.promotion_rule import PromotionRules
from quantd.risk.limits.catalogue import Limits
from quantd.trading.events import Tick
from tests.support.engine import OPEN, World, block

RULES = PromotionRules(samples=60, looks=4, resamples=800, seed=3)


def worse(view):
    """All in the first symbol, which goes nowhere."""
    return np.array([0.9, 0.0])


def better(view):
    """All in the second, which rises."""
    return np.array([0.0, 0.9])


def world(acts, shadow, promotion=RULES, days=100, every=20, **more):
    rng = np.random.default_rng(8)
    common = rng.normal(0.0, 0.008, days)
    returns = np.stack([common + rng.normal(0.0, 0.003, days), common + rng.normal(0.004, 0.003, days)], axis=1)
    prices = np.round(100 * np.exp(returns.cumsum(axis=0)), 2)
    scenario = World(
        block(prices), acts, house=OPEN, agent=Limits(), shadows=(shadow,), challenges=(0,), promotion=promotion, **more
    )
    return scenario, ticked(scenario, every)


def ticked(scenario, every, what="promote"):
    count = 0
    for item in scenario.items():
        if isinstance(item, Tick) and item.sample:
            count += 1
            if count % every == 0:
                item = Tick(item.ts, True, item.key, item.final, item.due, (what,), item.warmup)
        yield item
