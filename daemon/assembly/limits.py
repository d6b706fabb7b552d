"""The limits of the house and of each agent, made from the configuration."""

from collections.abc import Mapping
from typing import Final

from quantd.daemon.config import Agent, Config
from quantd.daemon.config import Limits as LimitKeys
from quantd.daemon.engine.planning.live_caps import Allowance
from quantd.risk.limits.catalogue import Correlation, Limits, Liquidity, Protective, Rate, Stress, Tail, override
from quantd.risk.limits.profiles import PROFILES
from quantd.risk.measures.stress import SHIPPED, Shock
from quantd.trading.instruments import Universe

TABLES: Final[dict[str, type[Tail | Correlation | Rate | Liquidity | Protective]]] = {
    "var": Tail,
    "cvar": Tail,
    "correlation": Correlation,
    "order_rate": Rate,
    "liquidity": Liquidity,
    "protective": Protective,
}
"""Limits that are tables in the file."""


def shocks_of(config: Config) -> dict[str, Shock]:
    """Stress scenarios by name: the shipped ones and those of [[risk.shocks]], whose moves are of symbols or sectors."""
    symbols = config.universe.symbols
    own = {
        table.name: Shock(
            name=table.name,
            moves={move.of: move.by for move in table.moves if move.of not in symbols},
            symbols={move.of: move.by for move in table.moves if move.of in symbols},
        )
        for table in config.risk.shocks
    }
    return SHIPPED | own


def limits_of(
    keys: LimitKeys, profile: str | None, universe: Universe, shocks: Mapping[str, Shock], **defaults: object
) -> Limits:
    """Effective limits of one section: `defaults`, then the profile's, then its explicit keys."""
    given = {name: getattr(keys, name) for name in LimitKeys.model_fields if getattr(keys, name) is not None}
    if "max_order_notional_micro" in given:
        given["max_order_notional"] = given.pop("max_order_notional_micro") / 1e6
    for name, table in TABLES.items():
        if name in given:
            given[name] = table(**given[name].model_dump())
    if "stress" in given:
        given["stress"] = Stress(given["stress"].limit, tuple(shocks[name] for name in given["stress"].scenarios))
    if "group_caps" in given:
        given["group_caps"] = tuple((each.group, each.cap) for each in given["group_caps"])
    base = PROFILES[profile] if profile else override(Limits(), **defaults)
    if not any(universe.sectors):
        # a profile caps sectors where they are known; an explicit key refuses what names none
        base = override(base, max_sector_weight=None)
    return override(base, **given)


def house_limits(config: Config, universe: Universe, interval_ns: int) -> Limits:
    """The limits of [risk], effective."""
    risk, age = config.risk, {"max_price_age_ns": int(1.25 * interval_ns)}
    house = limits_of(risk, risk.profile, universe, shocks_of(config), **age)
    house = override(house, fee_bp=config.broker.commission_bp)
    return override(house, **age) if risk.max_price_age_ns is None else house


def allowance_of(config: Config) -> Allowance:
    """The table [live] as the engine reads it."""
    live = config.live
    return Allowance(
        account_micro=live.max_account_notional_micro,
        order_micro=live.max_order_notional_micro,
        orders_per_day=live.max_orders_per_day,
        ramp_days=live.ramp.days,
        ramp_from=live.ramp.from_share,
    )


def agent_limits(agent: Agent, house: Limits, universe: Universe, shocks: Mapping[str, Shock]) -> Limits:
    """The limits of an agent, effective: what describes the venue is the house's unless the agent says otherwise."""
    venue = {
        "collar": house.collar,
        "reduce_collar": house.reduce_collar,
        "flatten_collar": house.flatten_collar,
        "max_price_age_ns": house.max_price_age_ns,
        "fee_bp": house.fee_bp,
        "min_history": house.min_history,
        "duplicate_window_ns": house.duplicate_window_ns,
    }
    tolerance = {"in_flight": house.in_flight, "max_cash_debit": house.max_cash_debit}
    limits = limits_of(agent.limits, agent.profile, universe, shocks, **venue, **tolerance, allow_short=True)
    given = agent.limits.model_fields_set
    return override(limits, **{k: v for k, v in venue.items() if k not in given})
