"""What each agent decided last, in a few words: 16:00 sold 31 QQQ."""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from quantd.adapters.store.journal.records import Records
from quantd.daemon.assembly import Parts
from quantd.daemon.listing import decision_line
from quantd.trading.effects import Planned

NEWEST: Final = 16
"""Plans looked at: more than there are agents in any sane house, and their follow-ups."""

_plan: Final = msgspec.msgpack.Decoder(Planned)


def newest_plans(records: Records, run: str) -> list[Planned]:
    """The newest plans of a run, oldest first."""
    sql = "SELECT plan FROM decisions WHERE run = ? ORDER BY seq DESC, k DESC LIMIT ?"
    with records.connection() as driver:
        rows = driver.execute(sql, (run, NEWEST)).fetchall()
    return [_plan.decode(row[0]) for row in reversed(rows)]


def decided(plans: list[Planned], parts: Parts) -> dict[str, str]:
    """Agent -> its newest decision among `plans`."""
    universe = parts.universe
    names = [a.name for a in parts.rules.agents]
    zone = ZoneInfo(parts.sessions[universe.calendar].zone)
    found: dict[str, str] = {}
    for plan in plans:
        clock = datetime.fromtimestamp(plan.ts // 10**9, UTC).astimezone(zone).strftime("%m-%d %H:%M")
        for wish in decision_line(plan, universe, names).agents:
            said = [
                f"{'sell' if qty.startswith('-') else 'buy'} {qty.lstrip('-')} {symbol}"
                for symbol, qty in wish.allowed.items()
            ]
            more = f" and {len(said) - 2} more" if len(said) > 2 else ""
            cut = f"; {len(wish.reasons)} cut" if wish.reasons else ""
            whose = f" (policy of {wish.policy})" if wish.policy else ""
            found[wish.agent] = f"{clock} {', '.join(said[:2]) or 'nothing'}{more}{cut}{whose}"
    return found
