"""The jobs that the engine carries out in its own loop: at their instant, as part of a step."""

from typing import Final

from quantd.daemon.assembly.job_records import JobRecord

REBALANCE: Final = JobRecord("rebalance", 10, "the agents of the schedule decide and send orders")
REALLOCATE: Final = JobRecord("reallocate", 20, "capital moves between the agents")
PROMOTE: Final = JobRecord("promote", 30, "challengers that are better than their champions are promoted")
FLATTEN: Final = JobRecord("flatten", 40, "trading is halted, and every position is closed")
DEPOSIT: Final = JobRecord(
    "deposit", 45, "money is paid into a simulated account, or expected at a real venue", by_hand=False
)
SNAPSHOT: Final = JobRecord("snapshot", 50, "the state is saved, so that the next start replays less")
RECONCILE: Final = JobRecord("reconcile", 60, "the venue's account is compared with quantd's books")
BEFORE_OPEN: Final = JobRecord("before_open", 70, "an alert with what is wrong before the session", by_hand=False)
AFTER_CLOSE: Final = JobRecord("after_close", 80, "an alert with the day's result", by_hand=False)
