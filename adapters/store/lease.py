"""One leader for each account, by a lease with a fencing token in the store itself.

Every transaction of the writer begins by renewing its lease under its token (M. Kleppmann, "How to do distributed
locking", 2016): a process that slept while another took the lease changes no row, and so commits nothing. What leaves
the process leaves after a commit, and asks `valid` right before.
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
from quantd.adapters.store.errors import Fenced, Held

LEASE_S: Final = 15.0
SURE: Final = 0.8
"""Share of a lease after which its holder no longer counts on it: clocks drift, and a request is on its way a while."""

_CLOCK: Final = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000)::bigint"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants to lead which account, from which seat (see `quantd.adapters.store.lock`)."""

    account: str
    holder: str
    seat: str
    lease_s: float = LEASE_S


def account_key(kind: str, account: str) -> str:
    """The key of a venue's account, or of a paper run by its name."""
    return f"{kind}:{account}"


def since_boot_s() -> float:
    """A clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The lease of one writer. `valid` and `fenced` may be asked from any thread; the rest is the writer's."""

    def __init__(self, claim: Claim, token: int, asked_s: float) -> None:
        self.account = claim.account
        self.token = token
        self.lease_s = claim.lease_s
        self.fenced = ""
        """Why nothing can be committed any more; empty while this process leads."""
        self._until_s = asked_s + claim.lease_s * SURE
        self.renewed_s = asked_s

    def valid(self) -> bool:
        """Whether this process surely still leads: no other can have taken the lease yet. Costs a look at a clock."""
        return not self.fenced and since_boot_s() < self._until_s

    def prepare(self, driver: Driver) -> None:
        """Let the server end a transaction that its process sleeps in: it would keep the lease from the next one."""
        if driver.dialect == "postgresql":
            driver.execute(f"SET idle_in_transaction_session_timeout = {int(self.lease_s * 1000)}")
            driver.commit()

    def renew(self, driver: Driver) -> float:
        """In an open transaction: renew, or raise Fenced. Gives what `renewed` takes once that is committed."""
        asked = since_boot_s()
        if not self.fenced:
            row = driver.execute(
                f"UPDATE lease SET expires_ns = {_now(driver)} + ? WHERE account = ? AND token = ? RETURNING token",
                (round(self.lease_s * 1e9), self.account, self.token),
            ).fetchone()
            if row is not None:
                return asked
            self.fenced = _successor(driver, self.account, self.token)
        raise Fenced(self.fenced)

    def renewed(self, asked_s: float) -> None:
        """What was renewed at `asked_s` is committed."""
        self.renewed_s = asked_s
        self._until_s = asked_s + self.lease_s * SURE

    def release(self, driver: Driver) -> None:
        """In an open transaction: let the next one have it at once."""
        driver.execute("UPDATE lease SET expires_ns = 0 WHERE account = ? AND token = ?", (self.account, self.token))


class Unleased:
    """A store opened without an account: by one process, for itself."""

    account = ""
    token = 0
    fenced = ""

    def valid(self) -> bool:
        return True


def take(driver: Driver, claim: Claim) -> Lease:
    """The lease. Raises Held while another has it.

    A store has one journal and one writer: another account's live lease on it refuses too, and one that has run out is
    taken with it. A lease of the same seat is taken at once: who holds the lock file knows that its writer has ended.
    """
    asked = since_boot_s()
    _begin(driver, claim.lease_s)
    try:
        refuse_held(driver, claim.seat)
        # others of this store that sleep must not wake as writers
        driver.execute("UPDATE lease SET token = token + 1, expires_ns = 0 WHERE account <> ?", (claim.account,))
        known = driver.execute("SELECT token, seat FROM lease WHERE account = ?", (claim.account,)).fetchone()
        token = 1 if known is None else int(known[0]) + 1
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
    return Lease(claim, token, asked)


def refuse_held(driver: Driver, seat: str) -> None:
    """Raise Held when a writer of another seat has a lease on this store."""
    rows = driver.execute(
        f"SELECT account, holder, host, pid, since_ns, expires_ns - {_now(driver)} FROM lease"
        f" WHERE expires_ns > {_now(driver)} AND seat <> ? ORDER BY account",
        (seat,),
    ).fetchall()
    if rows:
        account, holder, host, pid, since, left = rows[0]
        raise Held(
            f"account {account} is led by {holder or 'quantd'} on {host} (process {pid}) since {_time(since)}. Stop that one,"
            f" or wait: a lease that is not renewed runs out, this one in {left / 1e9:.0f} s at the earliest."
            " Another account needs a store of its own (docs/operate/store.md)"
        )


def led_elsewhere(driver: Driver, seat: str) -> bool:
    """Whether a writer of another seat has led an account in this store."""
    (count,) = driver.execute("SELECT COUNT(*) FROM lease WHERE seat <> ?", (seat,)).fetchone()
    return int(count) > 0


class Renewing(threading.Thread):
    """Renews a lease a third of its time after the last commit, by `submit`, which does it in the writer's thread."""

    def __init__(self, lease: Lease, submit: Callable[[], "Future[None]"]) -> None:
        super().__init__(name="lease", daemon=True)
        self._lease = lease
        self._submit = submit
        self._stop_asked = threading.Event()

    def run(self) -> None:
        third = self._lease.lease_s / 3
        pending: Future[None] | None = None
        while not self._stop_asked.wait(max(0.01, third - (since_boot_s() - self._lease.renewed_s))):
            if self._lease.fenced:
                return
            if since_boot_s() - self._lease.renewed_s < third:
                continue
            if pending is None or pending.done():
                pending = self._submit()
            self._stop_asked.wait(third / 4)  # a store that fails is asked again, and the commits say that it fails

    def end(self) -> None:
        self._stop_asked.set()
        self.join()


def _begin(driver: Driver, lease_s: float) -> None:
    driver.begin(durable=True)
    if driver.dialect == "postgresql":
        # a writer that sleeps in the midst of a commit is thrown out by the server after its lease
        driver.execute(f"SET LOCAL lock_timeout = {int(lease_s * 2000)}")
        driver.execute("LOCK TABLE lease IN EXCLUSIVE MODE")


def _now(driver: Driver) -> str:
    """The time in ns as SQL: the server's, so that machines need not agree; SQLite's is this machine's."""
    return _CLOCK if driver.dialect == "postgresql" else str(time.time_ns())


def _successor(driver: Driver, account: str, token: int) -> str:
    row = driver.execute(
        "SELECT token, holder, host, pid, since_ns FROM lease WHERE account = ? AND token > ?", (account, token)
    ).fetchone()
    if row is None or not row[1]:
        by = "another process took this store"
    else:
        by = f"{row[1]} on {row[2]} (process {row[3]}) took it at {_time(row[4])} with token {row[0]}"
    return (
        f"this process no longer leads account {account} (token {token}): {by}. Nothing more is committed or sent."
        " Stop this one; the account goes on there"
    )


def _time(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns / 1e9))
