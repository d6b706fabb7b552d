"""One leading process per account, by a lease with a fencing token (a number that grows with each holder) in the store
itself.

What can go wrong. A process is suspended, by a sleeping machine or a stopped container, while another takes the
account. The suspended process wakes in the middle of a step and would commit and send orders beside its successor. A
lease by time alone does not stop it, because it checked the lease before it was suspended.

Every transaction of the writer therefore begins with a renewal of the lease under its token (M. Kleppmann, "How to do
distributed locking", 2016). A process that was suspended while another took the lease changes no row, and so commits
nothing. Effects leave the process after a commit, and `valid` is checked immediately before.

What the order of the steps guarantees. The holder counts its lease from before the request, and relies only on the
fraction SURE of its duration, so that its own end precedes the store's. The holder records a renewal only after the
commit. In PostgreSQL the server's clock counts, so that the machines need no common clock. A successor increases the
token before its first commit.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from quantd.adapters.store.driver import Driver
from quantd.adapters.store.store_errors import Fenced, Held

LEASE_S: Final = 15.0
SURE: Final = 0.8
"""Fraction of a lease after which its holder no longer relies on it: clocks drift, and requests take time."""

# the time of PostgreSQL's server in ns
_CLOCK: Final = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000)::bigint"


@dataclass(frozen=True, slots=True)
class Claim:
    """A request to lead an account. `seat` identifies the lock file of the state folder, and so the machine and
    folder (`quantd.adapters.store.lock`)."""

    account: str
    holder: str
    seat: str
    lease_s: float = LEASE_S


def account_key(kind: str, account: str) -> str:
    """Return the key of a venue's account, or of a paper run by its name."""
    return f"{kind}:{account}"


def since_boot_s() -> float:
    """Return seconds since boot, by a clock that cannot be set and that continues during system sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The lease of one writer. `valid` and `fenced` may be read from any thread; only the writer uses the other
    members."""

    def __init__(self, claim: Claim, token: int, asked_s: float) -> None:
        self.account = claim.account
        self.token = token
        self.lease_s = claim.lease_s
        self.fenced = ""
        """The reason why nothing can be committed any more; empty while this process leads."""
        self.renewed(asked_s)

    def valid(self) -> bool:
        """Whether this process certainly still holds the lease: no other can have taken it yet. Costs one clock
        read."""
        return not self.fenced and since_boot_s() < self._until_s

    def prepare(self, driver: Driver) -> None:
        """Set a server timeout for idle transactions: a suspended process must not block the next lease holder."""
        if driver.dialect == "postgresql":
            driver.execute(f"SET idle_in_transaction_session_timeout = {int(self.lease_s * 1000)}")
            driver.commit()

    def renew(self, driver: Driver) -> float:
        """Renew the lease within an open transaction. Returns the time (seconds since boot) to pass to `renewed` after
        the commit. Raises Fenced.

        The lease ends `lease_s` seconds after its renewal, by the clock of the database. A token that is not the
        account's newest finds no row: another process has the lease.
        """
        # before the request: counted from the answer, the holder would rely on the lease after its end in the store
        asked_s = since_boot_s()
        if not self.fenced:
            row = driver.execute(
                f"UPDATE lease SET expires_ns = {_now(driver)} + ? WHERE account = ? AND token = ? RETURNING token",
                (round(self.lease_s * 1e9), self.account, self.token),
            ).fetchone()
            if row is not None:
                return asked_s
            self.fenced = _successor(driver, self.account, self.token)
        raise Fenced(self.fenced)

    def renewed(self, asked_s: float) -> None:
        """Record that the renewal requested at `asked_s` (seconds since boot) is committed."""
        self.renewed_s = asked_s
        self._until_s = asked_s + self.lease_s * SURE

    def release(self, driver: Driver) -> None:
        """Release the lease within an open transaction, so that another process can take it at once."""
        driver.execute("UPDATE lease SET expires_ns = 0 WHERE account = ? AND token = ?", (self.account, self.token))


class Unleased:
    """The replacement of a lease for a store without an account, which one process uses."""

    account = ""
    token = 0
    fenced = ""

    def valid(self) -> bool:
        """Return True: without an account, no other process can take over the store."""
        return True


def take(driver: Driver, claim: Claim) -> Lease:
    """Take the lease of an account. Raises Held while another process has it.

    A store has one journal and one writer. If another account has a live lease on the store, Held is raised too; an
    expired one is ended. A lease of the same `seat` (lock file) is taken over at once: the holder of the lock file
    knows that the earlier writer has ended.

    The token, a number in the table of leases, grows by 1 with each holder. Times in the table are in ns.
    """
    requested_s = since_boot_s()
    driver.begin(durable=True)
    if driver.dialect == "postgresql":
        # the server ends the session of a writer suspended during a commit, after its lease
        driver.execute(f"SET LOCAL lock_timeout = {int(claim.lease_s * 2000)}")
        driver.execute("LOCK TABLE lease IN EXCLUSIVE MODE")
    try:
        refuse_held(driver, claim.seat)
        # suspended writers of this store must not resume as writers
        driver.execute("UPDATE lease SET token = token + 1, expires_ns = 0 WHERE account <> ?", (claim.account,))
        previous = driver.execute("SELECT token, seat FROM lease WHERE account = ?", (claim.account,)).fetchone()
        token = 1 if previous is None else int(previous[0]) + 1
        driver.execute("DELETE FROM lease WHERE account = ?", (claim.account,))
        driver.execute(
            "INSERT INTO lease (account, token, holder, host, pid, seat, since_ns, expires_ns)"
            f" VALUES (?, ?, ?, ?, ?, ?, {_now(driver)}, {_now(driver)} + ?)",
            (
                claim.account, token, claim.holder, socket.gethostname(), os.getpid(), claim.seat,
                round(claim.lease_s * 1e9),
            ),
        )  # fmt: skip
    except BaseException:
        driver.rollback()
        raise
    driver.commit()
    return Lease(claim, token, requested_s)


def refuse_held(driver: Driver, lock_id: str) -> None:
    """Raise Held when a writer with another lock file has a lease on this store."""
    rows = driver.execute(
        f"SELECT account, holder, host, pid, since_ns, expires_ns - {_now(driver)} FROM lease"
        f" WHERE expires_ns > {_now(driver)} AND seat <> ? ORDER BY account",
        (lock_id,),
    ).fetchall()
    if rows:
        account, holder, host, pid, since, remaining_ns = rows[0]
        raise Held(
            f"account {account} is led by {holder or 'quantd'} on {host} (process {pid}) since {_time_text(since)}. "
            f"Stop that one, or wait: its lease ends in {remaining_ns / 1e9:.0f} s at the earliest, unless it is "
            "renewed. Another account needs a store of its own (docs/operate/store.md)"
        )


def led_elsewhere(driver: Driver, lock_id: str) -> bool:
    """Whether a writer with another lock file has held a lease in this store."""
    (count,) = driver.execute("SELECT COUNT(*) FROM lease WHERE seat <> ?", (lock_id,)).fetchone()
    return int(count) > 0


class Renewing(threading.Thread):
    """A thread that renews a lease one third of the lease's duration after the last commit, by calling `submit`.

    The renewal itself runs in the writer's thread.
    """

    def __init__(self, lease: Lease, submit: Callable[[], "Future[None]"]) -> None:
        super().__init__(name="lease", daemon=True)
        self._lease = lease
        self._submit = submit
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Renew until `end`, or until another process has the lease.

        A lease is renewed after a third of its length.
        """
        third = self._lease.lease_s / 3
        pending: Future[None] | None = None
        # an overdue renewal waits 10 ms at least, so that a store that does not answer is not asked without a pause
        while not self._stop_asked.wait(max(0.01, third - (since_boot_s() - self._lease.renewed_s))):
            if self._lease.fenced:
                return
            if since_boot_s() - self._lease.renewed_s < third:
                continue  # a commit has renewed the lease meanwhile
            if pending is None or pending.done():
                pending = self._submit()
            self._stop_asked.wait(third / 4)  # a failing store is retried, and its commits report the failure

    def end(self) -> None:
        """Stop, and wait for the end of the thread."""
        self._stop_asked.set()
        self.join()


def _now(driver: Driver) -> str:
    """Return the SQL for the time in ns: the server's time, so that machines need no common clock, or local time for
    SQLite."""
    return _CLOCK if driver.dialect == "postgresql" else str(time.time_ns())


def _successor(driver: Driver, account: str, token: int) -> str:
    """Return the message to a writer that lost its lease, with the process that has it now.

    A token grows with each holder of the lease.
    """
    row = driver.execute(
        "SELECT token, holder, host, pid, since_ns FROM lease WHERE account = ? AND token > ?", (account, token)
    ).fetchone()
    if row is None or not row[1]:
        successor = "another process took this store"
    else:
        successor = f"{row[1]} on {row[2]} (process {row[3]}) took it at {_time_text(row[4])} with token {row[0]}"
    return (
        f"this process no longer leads account {account} (token {token}): {successor}. Nothing more is committed or "
        "sent. Stop this process; the other one continues with the account"
    )


def _time_text(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns / 1e9))
