"""One world: all inputs of one run, from a seed."""

import random
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from quantd.adapters.brokers.paper.broker import Paper
from quantd.trading.execution import Costs
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS

from .engine import Rules
from .market import MINUTE_NS, Market, calendars_of, fill_market, universe_of
from .policies import STYLES, policy
from .rules import Kind, costs_of, rules_of
from .timeline import items_of
from .venue import UnreliablePaper

TOUR_EVERY: Final = 25
"""Every so many worlds, one is a tour of all stories."""

ALONE: Final = {5: "max_herfindahl", 10: "max_gross_exposure", 15: "ramp"}
"""Seed of a world, modulo `TOUR_EVERY` -> the only limit of its house: beside others it seldom cuts an order."""


@dataclass
class World:
    """All inputs of one run."""

    seed: int
    rules: Rules
    costs: Costs
    items: list[Any]
    """Market items, other events, functions of the state to an event, and names of stories, in order of time."""
    policies: list[Policy]
    interval_ns: int
    auctions: bool
    faults: float
    """Probability that the venue loses or rejects a basket."""
    coin_fees: float
    """Rate of the venue's fees on purchases of coins, in the coin."""
    far: bool
    """Whether the venue is across a network: its reports come later."""
    power: float
    """Buying power that the venue reports after each item of the market, as a part of cash; 0 for no report."""
    together: bool
    """Whether the engine takes consecutive items of the market in one call."""
    hits: set[str] = field(default_factory=set)
    """Features that only a policy sees."""

    def venue(self, shadow: int = -1) -> Paper:
        """A new simulated venue of the house, or of a shadow."""
        sessions = [self.rules.sessions[k] for k in self.rules.calendar] if self.auctions else ()
        if shadow < 0 and (self.faults or self.coin_fees):
            return UnreliablePaper(self.rules.universe, self.costs, sessions, self.faults, self.seed, self.coin_fees)
        return Paper(self.rules.universe, self.costs, sessions)


def kind_of(seed: int, draw: random.Random) -> Kind:
    """What the world of a seed is for; `draw` is a new generator of that seed."""
    if is_tour(seed):
        return Kind(draw.randint(4, 6), calm=False, bare=False, tour=True, strict="")
    if alone := ALONE.get(seed % TOUR_EVERY):
        return Kind(draw.randint(1, 10), calm=False, bare=False, tour=False, strict="house", alone=alone)
    size = 40 if draw.random() < 0.02 else draw.randint(1, 10)
    folds = seed % 4 == 1  # most worlds whose log permits the fold, those of odd seeds, have bars that it takes
    calm = draw.random() < 0.25 or folds
    strict = "" if calm else draw.choice(("house", "house", "agents", "", ""))
    return Kind(size, calm, bare=calm and seed % 2 == 1, tour=False, strict=strict)


def is_tour(seed: int) -> bool:
    """Whether every story happens in a world."""
    return seed % TOUR_EVERY == 0


def is_bare(seed: int) -> bool:
    """Whether a world has few limits, and nothing happens in it but trading."""
    return kind_of(seed, random.Random(seed)).bare


def world_of(seed: int) -> World:
    """The world of a seed."""
    draw = random.Random(seed)
    rng = np.random.default_rng(seed)
    kind = kind_of(seed, draw)
    market = _market(draw, rng, kind)
    rules, costs = rules_of(draw, market, kind), costs_of(draw)
    rules = replace(rules, borrow_bp_annual=0.0 if kind.calm else costs.borrow_bp_annual)
    world = World(
        seed=seed,
        rules=rules,
        costs=replace(costs, slippage_noise=0.0, impact=0.0) if kind.bare else costs,
        items=[],
        policies=[],
        interval_ns=market.interval,
        auctions=draw.random() < 0.5 or rules.execution.style in ("open", "close"),
        faults=0.1 if kind.tour else 0.0 if kind.calm else draw.choice((0.0, 0.0, 0.05, 0.3)),
        coin_fees=0.0 if kind.calm else draw.choice((0.0, 0.0, 0.001, 0.02)),
        far=False,
        power=0.0,
        together=draw.random() < 0.9,
    )
    world.far = not kind.tour and draw.random() < 0.25
    apart = random.Random(f"{seed}|power")
    if world.far and not rules.shadows and apart.random() < 0.5:
        world.power = apart.choice((0.02, 0.3, 1.0, 4.0))
    world.policies = _policies(draw, world, kind)
    lookbacks = [policy.lookback for policy in world.policies]
    most = max([60 if rules.notices is None else 121, *lookbacks, *_lookbacks(rules)])
    bars = any(getattr(policy, "uses_bars", False) for policy in world.policies)
    shadows = tuple(replace(shadow, lookback=most, keep_bars=bars) for shadow in rules.shadows)
    world.rules = replace(rules, lookback=most, keep_bars=bars, shadows=shadows)
    world.items = items_of(draw, market, world.rules, kind)
    return world


def _market(draw: random.Random, rng: np.random.Generator, kind: Kind) -> Market:
    """The market of a world: mostly short, with some long ones."""
    intraday = not kind.tour and draw.random() < 0.4
    length = draw.randint(6, 18) if intraday else int(50 + 240 * draw.random() ** (2 if kind.calm else 6))
    length = 100 if kind.tour else length
    interval = draw.choice((30, 60, 60, 120)) * MINUTE_NS if intraday else DAY_NS
    calendars = calendars_of(draw, length, kind.calm, kind.tour)
    names = sorted(calendars)
    universe = universe_of(draw, calendars, kind.size, kind.calm)
    calendar = tuple(names.index(instrument.calendar) for instrument in universe.instruments)
    sessions = tuple(calendars[name] for name in names)
    market = Market(universe, sessions, calendar, names.index("X"), interval, length, kind.calm)
    fill_market(draw, rng, market, often=kind.tour)
    return market


def _policies(draw: random.Random, world: World, kind: Kind) -> list[Policy]:
    """A policy of each agent and shadow, in order."""
    styles = tuple(style for style in STYLES if style != "macro" or world.rules.macro)
    styles = tuple(style for style in styles if not (kind.calm and style == "bars"))
    count = len(world.rules.agents) + len(world.rules.shadows)
    return [policy(draw, world.seed * 10 + k, world.hits, styles) for k in range(count)]


def _lookbacks(rules: Rules) -> list[int]:
    lookbacks = []
    for book_rules in (rules, *rules.shadows):
        for limits in (book_rules.house, *(agent.limits for agent in book_rules.agents)):
            lookbacks += [spec.lookback for spec in (limits.var, limits.cvar, limits.correlation) if spec is not None]
            lookbacks.append(limits.volatility_lookback)
    return lookbacks
