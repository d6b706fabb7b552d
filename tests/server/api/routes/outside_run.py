"""A run with an agent that decides outside, and the proposals that it has journalled."""

from typing import Any

from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.trading.codec import decode
from quantd.trading.events import Proposed
from tests.support.api_world import RUN
from tests.support.command_line import CONFIG

OUTSIDE = (
    CONFIG.replace("capital = 0.4", "capital = 0.3").replace(
        "[[schedules]]",
        """[[agents]]
name = "guest"
policy = "external"
capital = 0.3
shadow = true
challenges = "trend"
limits = { max_position_weight = 0.5 }
[promotion]
samples = 40
[[schedules]]
name = "compare"
do = "promote"
cron = "0 16 * * fri"
[[schedules]]""",
        1,
    )
    + "rate = { proposals = 90 }\n"
)


def journalled(world: Any) -> list[Any]:
    return [event for _, data in world.store.entries(RUN, 1) if isinstance(event := decode(data).event, Proposed)]


def promote(world: Any) -> None:
    """Exchange the policies of the guest and its champion, as the promotion test does."""
    exchange_policies(world.service.shell.state, 0, 1)


REVIEWED = OUTSIDE.replace('policy = "external"', 'policy = "external"\napproval = "person"', 1)
