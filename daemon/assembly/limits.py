"""The limits of the whole account and of each agent, from the configuration."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, Final, get_args, get_type_hints

from msgspec import Struct

from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config import Agent, Config, Mistake
from quantd.daemon.config import Limits as LimitKeys
from quantd.daemon.config.values import Section
from quantd.risk.limits.catalogue import PROFILES, Limits, Stress, override
from quantd.risk.measures.stress import SHIPPED, Shock
from quantd.trading.instruments import Universe

VENUE: Final = (
    "collar", "reduce_collar", "flatten_collar", "max_price_age_ns", "fee_bp", "min_history", "duplicate_window_ns",
)  # fmt: skip
"""Limits that describe the venue: an agent has the house's value unless its keys set another."""

Target = tuple[tuple[str, ...], str, float, Callable[[Limits], float | None]]
"""(Key of `params`, name of a limit, what is asked, its bound in a set of limits)."""

TOLERANCE: Final = ("in_flight", "max_cash_debit")
"""Limits of which an agent has the house's value unless its profile or keys set another."""


def shocks_of(config: Config) -> dict[str, Shock]:
    """Return the stress scenarios by name: those that come with quantd, and those of [[risk.shocks]].

    The checks of the configuration refuse a scenario of [[risk.shocks]] with the name of one that comes with quantd.
    """
    symbols = config.universe.symbols
    configured_shocks = {
        table.name: Shock(
            name=table.name,
            moves={move.of: move.by for move in table.moves if move.of not in symbols},
            symbols={move.of: move.by for move in table.moves if move.of in symbols},
        )
        for table in config.risk.shocks
    }
    return SHIPPED | configured_shocks


@cache
def table_of(name: str) -> Callable[..., Any]:
    """Return the struct of the limit `name`, which is a table in config.toml."""
    return next(kind for kind in get_args(get_type_hints(Limits)[name]) if issubclass(kind, Struct))


def limits_of(
    keys: LimitKeys, profile: str | None, universe: Universe, shocks: Mapping[str, Shock], **defaults: object
) -> Limits:
    """Return the limits of one section of config.toml: its keys, then its profile, or `defaults` if it has none.

    Without a key or a profile that allows short positions there are none, unless `defaults` say so.
    """
    names = (key.attribute for key in limit_keys())
    configured = {name: value for name in names if (value := getattr(keys, name, None)) is not None}
    if "max_order_notional_micro" in configured:
        configured["max_order_notional"] = configured.pop("max_order_notional_micro") / 1e6
    if "stress" in configured:
        configured["stress"] = Stress(
            configured["stress"].limit, tuple(shocks[name] for name in configured["stress"].scenarios)
        )
    for name, value in configured.items():
        if isinstance(value, Section):
            configured[name] = table_of(name)(**value.model_dump())
    if "group_caps" in configured:
        configured["group_caps"] = tuple((group.group, group.cap) for group in configured["group_caps"])
    base = PROFILES[profile] if profile else override(Limits(), **({"allow_short": False} | defaults))
    if not any(universe.sectors):
        # without sectors the cap of a profile would refuse every order; an explicit key stays in force
        base = override(base, max_sector_weight=None)
    return override(base, **configured)


def max_price_age_ns(interval_ns: int) -> int:
    """Return the default of `max_price_age` in ns for bars of `interval_ns`: no order uses an older price."""
    return int(1.25 * interval_ns)


def house_limits(config: Config, universe: Universe, interval_ns: int) -> Limits:
    """Return the limits of the whole account."""
    risk, age = config.risk, {"max_price_age_ns": max_price_age_ns(interval_ns)}
    # each book forbids short positions by itself: the account does so only by its key or profile
    house = limits_of(risk, risk.profile, universe, shocks_of(config), **age, allow_short=True)
    house = override(house, fee_bp=config.broker.commission_bp)
    return override(house, **age) if getattr(risk, "max_price_age_ns", None) is None else house


def agent_limits(
    config: Config, agent: Agent, house: Limits, universe: Universe, shocks: Mapping[str, Shock]
) -> Limits:
    """Return the limits of an agent; those that describe the venue have the values of the whole account.

    Without a profile it may go short where [risk] says so.
    """
    venue = {name: getattr(house, name) for name in VENUE}
    tolerance = {name: getattr(house, name) for name in TOLERANCE}
    short = limits_of(config.risk, config.risk.profile, universe, shocks).allow_short
    limits = limits_of(agent.limits, agent.profile, universe, shocks, **venue, **tolerance, allow_short=short)
    return override(limits, **{k: v for k, v in venue.items() if k not in agent.limits.model_fields_set})


def target_mistakes(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes of targets that the limits never allow: of a fixed mix, and of an allocator's bounds.

    A limit on sectors without any sector is one too, because it refuses each order.
    """
    universe, mistake = config.instruments(), config.source.mistake
    sections = [
        ("risk", config.risk),
        *((("agents", k, "limits"), a.limits) for k, a in enumerate(config.document.agents)),
    ]
    for section, keys in sections:
        largest = getattr(keys, "max_sector_weight", None)
        if largest is not None and not any(universe.sectors):
            path = (section, "max_sector_weight") if isinstance(section, str) else (*section, "max_sector_weight")
            text = f"= {largest:g}, but no instrument has a sector, so that each order would be refused"
            yield mistake(path, text, "write [[universe.instruments]] with symbol and sector for each, or remove it")
    house, shocks = house_limits(config, universe, config.feed.interval_ns), shocks_of(config)
    for k, agent in enumerate(config.document.agents):
        sized = agent.sizing != type(agent.sizing)()  # it changes what the policy asks for, and no sign
        own, path = agent_limits(config, agent, house, universe, shocks), ("agents", k, "params")
        account = [] if agent.shadow else [("of the account ", house, agent.capital)]
        for key, name, asked, bound_of in _targets(agent, universe):
            if sized and name not in (RESTRICTED, SHORT):
                continue
            for whose, limits, share in (("", own, 1.0), *account):
                bound = bound_of(limits)
                if bound is not None and asked * share > bound + 1e-9:
                    part = "" if share == 1 or not bound else f", with {share:g} of the capital {asked * share:g},"
                    text = f"asks for {asked:g}{part} but {name} {whose}is {bound:g}"
                    remedy = f"write at most {bound / share:g}, or change the limit"
                    yield mistake((*path, *key), text, remedy)
                    break


def _restricted(symbol: str, limits: Limits) -> float | None:
    return 0.0 if symbol in limits.restricted else None


RESTRICTED: Final = "the most of a symbol in `restricted`"
SHORT: Final = "the largest short position, by allow_short,"


def _targets(agent: Agent, universe: Universe) -> Iterator[Target]:
    """Yield the constant targets of an agent: those of a fixed mix, and the bounds that an allocator is given."""
    for key in ("min_weight", "max_weight"):
        if isinstance(value := agent.params.get(key), (int, float)):
            yield (key,), "max_position_weight", value, lambda limits: limits.max_position_weight
    weights = agent.params.get("weights") if agent.policy == "fixed_mix" else None
    if not isinstance(weights, Mapping) or not all(isinstance(value, (int, float)) for value in weights.values()):
        return
    for symbol, weight in weights.items():
        at = ("weights", symbol)
        yield at, "max_position_weight", abs(weight), lambda limits: limits.max_position_weight
        yield at, RESTRICTED, abs(weight), partial(_restricted, symbol)
        yield at, SHORT, max(-weight, 0.0), lambda limits: None if limits.allow_short else 0.0
    gross, longs = sum(map(abs, weights.values())), sum(max(value, 0.0) for value in weights.values())
    yield ("weights",), "max_gross_exposure", gross, lambda limits: limits.max_gross_exposure
    yield ("weights",), "max_leverage", longs, lambda limits: limits.max_leverage
    yield ("weights",), "max_net_exposure", abs(2 * longs - gross), lambda limits: limits.max_net_exposure
    yield ("weights",), "1 - cash_reserve", longs, lambda limits: 1.0 - limits.cash_reserve + limits.max_cash_debit
    for sector in sorted(set(universe.sectors) - {""}):
        members = {name for name, other in zip(universe.symbols, universe.sectors, strict=True) if other == sector}
        total = sum(abs(value) for symbol, value in weights.items() if symbol in members)
        yield ("weights",), f"max_sector_weight, of {sector},", total, lambda limits: limits.max_sector_weight
