"""Notes about what the agents can hold: their shares of the capital, their limits, `min_trade` and lots."""

from typing import Final

import numpy as np

from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.config import Config
from quantd.daemon.engine.state.settings import AgentRules, room_of
from quantd.risk.limits.catalogue import Limits
from quantd.strategies.policies import PASSIVE
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import quantity_text


def small_shares(config: Config) -> list[str]:
    """Return a line for each agent whose equal share is below `min_trade`, with a key and value that permit a trade."""
    size = len(config.universe.symbols)
    # half of the equal share, rounded to one digit
    remedy_value = f"{float(f'{0.5 / size:.1g}'):g}"
    return [
        f"{agent.name}: changes below min_trade = {agent.min_trade:.2%} of its equity are traded only if they are "
        f"worth it together, and an equal share of {size:,} symbols is {1 / size:.3%}; where it holds many of them, "
        f"write min_trade = {remedy_value}"
        for agent in config.document.agents
        if agent.policy not in PASSIVE and agent.min_trade * size > 1
    ]


def overridden_shares(config: Config) -> list[str]:
    """Return a line for each agent that an override changes: its share of the capital, and who has the rest."""
    agents = [agent for agent in config.document.agents if not agent.shadow]
    changed = {path[1] for path in config.source.overrides if path[0] == "agents" and len(path) > 1}
    if ("agents",) in config.source.overrides:
        agent = agents[0]
        share = "all" if agent.capital == 1 else f"{agent.capital:.4g} of"
        replaced = f"without the agents of {config.source.file} and their schedules"
        return [f"{agent.policy} alone has {share} the capital, {replaced}"]
    lines = []
    for k, agent in enumerate(config.document.agents):
        others = ", ".join(f"{other.name} {other.capital:.4g}" for other in agents if other is not agent)
        if k not in changed or not others:
            continue
        share = "is a shadow, without capital" if agent.shadow else f"has {agent.capital:.4g} of the capital"
        command = f"`quantd backtest {agent.policy}`"
        lines.append(f"agent {agent.name} ({agent.policy}) {share}; the others have {others}: {command} tests it alone")
    return lines


def most_held(parts: Parts) -> list[str]:
    """Return a line for each agent: the largest part of its capital that targets may hold, and the limit that binds."""
    lines = []
    for agent in parts.rules.agents:
        if not agent.place:
            most, why = most_of(parts, agent)
            lines.append(f"{agent.name}: its targets may hold {most:.1%} of its capital, by {why}")
    return lines


def most_of(parts: Parts, agent: AgentRules) -> tuple[float, str]:
    """Return the largest part of its capital that an agent's targets may hold, and the limit that binds."""
    house, universe = parts.rules.house, parts.universe
    sectors = len({sector for sector in universe.sectors if sector})
    gross, longest = room_of(agent.limits, house)
    least = min((agent.limits, house), key=lambda limits: room_of(limits, limits)[0]).max_gross_exposure or 0
    cost = "less what an execution may cost"
    bounds = [
        (gross, f"max_gross_exposure = {least:g}, {cost}"),
        (longest, f"cash_reserve and max_cash_debit, {cost}"),
    ]
    for limits, share in ((agent.limits, 1.0), (house, agent.capital_micro / max(parts.rules.cash_micro, 1))):
        many = (universe.size, "max_position_weight"), (sectors, "max_sector_weight")
        for count, name in (*many, (1, "max_leverage"), (1, "max_net_exposure")):
            if (bound := getattr(limits, name)) is not None and share:
                whose = "" if limits is agent.limits else " of the account"
                times = f", times {count}" if count > 1 else ""
                bounds.append((bound * count / share, f"{name} = {bound:g}{whose}{times}"))
    return min(bounds)


def at_worst(parts: Parts) -> list[str]:
    """Return a paragraph for each outside agent that trades: the largest order that adds, and the largest loss before a
    switch stops what adds, by the limits in force at the capital of the start. In mode live with the caps of [live].
    """
    rules = parts.rules
    # the caps after the ramp, which are the largest
    house = rules.house if rules.live is None else rules.live.limits(rules.house, rules.cash_micro, 10**6)
    outside = {rules.seats[number] for number in rules.outside}
    lines = []
    for agent in (agent for agent in rules.agents if agent.name in outside):
        book = agent.limits, agent.capital_micro / MICRO, ""
        account = house, rules.cash_micro / MICRO, " of the account"
        orders = [(min(room_of(agent.limits, house)) * book[1], "its capital")]
        for limits, equity, whose in (book, account):
            if limits.max_position_weight is not None:
                orders.append((limits.max_position_weight * equity, f"max_position_weight{whose}"))
            if limits.max_order_notional is not None:
                orders.append((limits.max_order_notional, f"max_order_notional{whose}"))
        order, cause = min(orders)
        short = "may sell short" if agent.limits.allow_short and house.allow_short else "may not sell short"
        lines.append(
            f"{agent.name} may at worst add {order:,.2f} {rules.universe.currency} by an order ({cause}), and {short}. "
            f"Before a switch stops what adds, it loses {_losses(*book[:2])}, and the account {_losses(*account[:2])}; "
            f"a jump between two samples costs more. {_APPROVAL[rules.approval_of(rules.seats.index(agent.name))]}"
        )
    return lines


_APPROVAL: Final = {
    "": "Nobody approves its orders.",
    "person": "A person with a token approves its orders.",
    "device": "A device approves its orders.",
}


def _losses(limits: Limits, equity: float) -> str:
    """The losses at which a switch stops what adds risk, in money: the whole one, and that of a day and a week."""
    named = (("max_drawdown", ""), ("max_daily_loss", " in a day"), ("max_weekly_loss", " in a week"))
    bounds = [(getattr(limits, name), name, over) for name, over in named]
    texts = [f"{bound * equity:,.2f}{over} by {name}" for bound, name, over in bounds if bound is not None]
    unbounded = [] if limits.max_drawdown is not None else ["without a bound (no max_drawdown is set)"]
    return ", ".join([*unbounded, *texts])


def small_lots(parts: Parts) -> list[str]:
    """Return a line for each agent whose weights, or equal parts without a fixed mix, do not buy a lot of a symbol.

    Prices are the last closes of recorded bars; a live feed has none before it begins.
    """
    if not isinstance(parts, Assembly):
        return []
    asking = {agent.name: agent for agent in parts.config.document.agents if agent.policy not in PASSIVE}
    universe, closes = parts.universe, parts.feed.columns.close
    rows = np.where(np.isfinite(closes), np.arange(len(closes))[:, None], 0).max(axis=0)
    lot_price = closes[rows, np.arange(universe.size)] * universe.lot_size
    lines = []
    for agent in (agent for agent in parts.rules.agents if agent.name in asking):
        is_mix = asking[agent.name].policy == "fixed_mix"
        equal = dict.fromkeys(universe.symbols, 1 / universe.size)
        mix = asking[agent.name].params["weights"] if is_mix else equal
        worth = np.array([mix.get(symbol, 0.0) for symbol in universe.symbols]) * agent.capital_micro / MICRO
        short = np.flatnonzero((worth > 0) & (worth < lot_price))
        if not len(short):
            continue
        first = short[np.argmax((lot_price / np.maximum(worth, 1e-9))[short])]
        share = worth[first] / lot_price[first] / 20  # so that 20 lots are bought
        lot = quantity_text(1, max(1, int(10.0 ** np.floor(np.log10(universe.lot_size[first] * NANO * share)))))
        needed = parts.rules.cash_micro / MICRO * lot_price[first] / worth[first]
        costs = (
            f"{worth[first]:,.2f} {universe.currency} buy no lot of {universe.symbols[first]} ({lot_price[first]:,.2f})"
        )
        count = f", and of {len(short) - 1} more of {universe.size} symbols" if len(short) > 1 else ""
        remedy = f'lot = "{lot}" in [[universe.instruments]], or [broker] cash = "{np.ceil(needed):.0f}" or more'
        lines.append(f"{agent.name}: {costs}{count}; write {remedy}")
    return lines
