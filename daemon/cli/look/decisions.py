"""Show the newest decisions: target weights of the agents, limits, resulting orders."""

from typing import Final

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Last, OfShadow, Run, State
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import place
from quantd.trading.display_text import local


def decisions(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    last: Last = 5,
    run: Run = None,
    shadow: OfShadow = "",
    as_json: Json = False,
) -> None:
    from quantd.daemon.views.rows import decision_line

    reader = place(config, state).reader(run, shadow)
    universe = reader.run.universe
    latest_decisions = reader.decisions(last=last)
    rows = [decision_line(d.plan, universe, d.agents, d.address) for d in latest_decisions]
    if as_json:
        print_json({"run": reader.run.run, "decisions": rows})
        return
    for decision, row in zip(latest_decisions, rows, strict=True):
        note = f"  follow-up {row.follow_up}" if row.follow_up else ""
        say(f"{local(row.ts)} New York  {row.address}{note}")
        for agent_row in row.agents:
            weights = ", ".join(f"{name} {weight:.1%}" for name, weight in agent_row.weights.items()) or "cash"
            scaled = f"  (scaled to {agent_row.scale:.3f} for cash at worst prices)" if agent_row.scale < 1 else ""
            whose = f" (policy of {agent_row.policy})" if agent_row.policy else ""
            say(f"  {agent_row.agent:12} targets {weights}{scaled}{whose}")
            for symbol, reason in agent_row.reasons.items():
                passed = f"{agent_row.allowed.get(symbol, '0')} of {agent_row.asked.get(symbol, '0')} {symbol}"
                say(f"  {'':12} its limits pass {passed} ({reason}): quantd why {decision.of(symbol)}")
        for symbol, qty in row.net.items():
            allowed = row.allowed.get(symbol, "0")
            cut_text = ""
            if allowed != qty:
                cut_text = f" of {qty}, cut by {row.reasons.get(symbol, '')}: quantd why {decision.of(symbol)}"
            say(f"  {'buy' if not qty.startswith('-') else 'sell':4} {allowed.lstrip('-')} {symbol}{cut_text}")
        if row.crossed:
            say("  crossed between agents: " + ", ".join(f"{qty} {symbol}" for symbol, qty in row.crossed.items()))


COMMAND: Final = Command("Look", 40, decisions)
