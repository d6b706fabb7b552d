"""One leader for each account: the second is refused, a sleeper is fenced, and a lease nobody renews runs out."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from quantd.adapters.store.lease import SURE, account_key, since_boot_s
from quantd.adapters.store.store_errors import Fenced, Held, StoreDamaged, StoreError, StoreLocked
from quantd.adapters.store.upkeep.verify import verify
from tests.support.store import AGENTS, UNIVERSE, Desk, batch, entries

RUN = "7f3k2m1a"
ACCOUNT = account_key("alpaca", "PA123")
DAY = entries(200, 9)

LEADER = """
import sys, time
from pathlib import Path
from quantd.adapters.store.store_errors import StoreError
from quantd.adapters.store.handle import Store
from tests.support.store import AGENTS, UNIVERSE, batch, entries
where, state, lease_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
day = entries(200, 9)
try:
    with Store.open(where, state=state, account="alpaca:PA123", holder="first", lease_s=lease_s) as store:
        fold = store.begin("7f3k2m1a", UNIVERSE, agents=AGENTS)
        first = store.last_seq("7f3k2m1a") + 1
        while True:
            store.commit(batch(fold, first, day[first - 1 : first], durable=True))
            print("sent" if store.lease.valid() else "not sent", first, flush=True)
            first += 1
            time.sleep(0.02)
except StoreError as why:
    print(type(why).__name__, why, flush=True)
    sys.exit(75)
"""


def elsewhere(desk: Desk, tmp_path) -> Desk:
    """The same database, from the state folder of another machine."""
    return Desk(desk.where, tmp_path / "other")


def leader(desk: Desk, lease_s: float) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", LEADER, str(desk.where), str(desk.state), str(lease_s)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.requirement("R-225")
def test_a_second_daemon_on_the_account_is_refused_by_name_host_process_time_and_remedy(postgres, tmp_path):
    with postgres.open(account=ACCOUNT, holder="paper one") as store:
        assert store.lease.valid()
        assert store.lease.token == 1
        with pytest.raises(Held) as refused:
            elsewhere(postgres, tmp_path).open(account=ACCOUNT)
        for word in (ACCOUNT, "paper one", socket.gethostname(), f"process {os.getpid()}", "since 20", "Stop that one"):
            assert word in str(refused.value)
        with pytest.raises(Held, match="needs a store of its own"):  # one store has one journal
            elsewhere(postgres, tmp_path).open(account="alpaca:OTHER")
        with pytest.raises(Held):  # nor may a tool write beside a leader
            elsewhere(postgres, tmp_path).open()
        with pytest.raises(StoreLocked):  # the same state folder says so at once
            postgres.open(account=ACCOUNT)
    assert not store.lease.valid()
    with elsewhere(postgres, tmp_path).open(account=ACCOUNT) as store:  # given back in order: taken at once
        assert store.lease.token == 2


@pytest.mark.long
def test_a_lease_is_renewed_while_nothing_is_committed(desk):
    with desk.open(account=ACCOUNT, lease_s=1.5) as store:
        time.sleep(2.5)
        assert store.lease.valid()
        ((expires,),) = desk.sql("SELECT expires_ns FROM lease")
        assert expires > time.time_ns()


@pytest.mark.long
def test_what_is_not_renewed_is_not_counted_on_before_it_runs_out(desk):
    with desk.open(account=ACCOUNT, lease_s=0.5) as store:
        lease = store.lease
        store._renewing.end()  # the timer stops, as when the process does
        deadline = time.monotonic() + 60
        while lease.valid():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert since_boot_s() >= lease.renewed_s + 0.5 * SURE  # and not a moment longer, as `valid` looks at the clock
        ((expires,),) = desk.sql("SELECT expires_ns FROM lease")
        # `renewed_s` is read before the statement that reads the wall clock: a busy machine may pause between the two
        pause_ns = 50_000_000
        assert expires - round(0.5 * (1 - SURE) * 1e9) <= time.time_ns() + pause_ns
        # nobody else has taken it: a commit renews it, and it is this one's again
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, DAY[:5], durable=True))
        assert lease.valid()
        assert lease.token == 1


@pytest.mark.long
def test_a_crashed_leader_is_followed_at_once_in_its_own_folder_and_after_the_lease_elsewhere(postgres, tmp_path):
    child = leader(postgres, 6.0)
    assert child.stdout is not None
    assert child.stdout.readline().startswith("sent")
    child.kill()
    child.wait()
    child.stdout.close()
    with pytest.raises(Held):
        elsewhere(postgres, tmp_path).open(account=ACCOUNT)
    with postgres.open(account=ACCOUNT) as store:  # who holds the lock file knows that the first has ended
        assert store.lease.token == 2
        store.lease.fenced = "killed here too"  # leave without giving it back
    postgres.sql("UPDATE lease SET expires_ns = 0")
    with elsewhere(postgres, tmp_path).open(account=ACCOUNT) as store:
        assert store.lease.token == 3
        assert store.last_seq(RUN) >= 1  # and the journal goes on from its head
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        first = store.last_seq(RUN) + 1
        store.commit(batch(fold, first, DAY[first - 1 : first + 4], durable=True))
        assert verify(store.where, store.folder) == []


@pytest.mark.long
def test_the_first_is_stopped_the_second_takes_the_lease_and_the_first_wakes_and_can_neither_commit_nor_send(
    postgres, tmp_path
):
    """Real processes: SIGSTOP, a takeover from another state folder, SIGCONT."""
    child = leader(postgres, 3.0)
    assert child.stdout is not None
    try:
        for _ in range(3):
            assert child.stdout.readline().split()[-1].isdigit()
        second = elsewhere(postgres, tmp_path)
        with pytest.raises(Held, match="first on"):
            second.open(account=ACCOUNT, lease_s=3.0)
        os.kill(child.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 20
        store = None
        while store is None and time.monotonic() < deadline:
            with contextlib.suppress(Held):
                store = second.open(account=ACCOUNT, holder="second", lease_s=30.0)
            time.sleep(0.05)
        assert store is not None, "the lease of a stopped process never ran out"
        with store:
            assert store.lease.token == 2
            fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
            first = store.last_seq(RUN) + 1
            store.commit(batch(fold, first, DAY[first - 1 : first + 1], durable=True))
            os.kill(child.pid, signal.SIGCONT)
            output_lines = child.communicate(timeout=20)[0].splitlines()
            assert child.returncode == 75
            # stopped within a transaction, which the server ended; its words may be lost with the connection
            if "idle-in-transaction" not in output_lines[-1] and "server closed the connection" not in output_lines[-1]:
                assert output_lines[-1].startswith("Fenced")
                assert "second on" in output_lines[-1]
                assert "token 2" in output_lines[-1]
            # what it said between was committed before it was stopped
            sent = [int(line.split()[1]) for line in output_lines[:-1] if line.startswith("sent")]
            assert all(number < first for number in sent)
            store.commit(batch(fold, first + 2, DAY[first + 1 : first + 3], durable=True))
            assert store.last_seq(RUN) == first + 3
            assert verify(store.where, store.folder) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
            child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.long
def test_a_leader_that_sleeps_within_a_commit_is_thrown_out_by_the_server(postgres, tmp_path):
    with postgres.open(account=ACCOUNT, holder="sleeper", lease_s=1.0) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, DAY[:2], durable=True))
        store._renewing.end()
        store._thread.submit(lambda: store._writer._driver.begin(durable=True)).result()
        store._thread.submit(lambda: store.lease.renew(store._writer._driver)).result()  # and here it sleeps
        second = elsewhere(postgres, tmp_path)
        deadline = time.monotonic() + 20
        taken = None
        while taken is None and time.monotonic() < deadline:
            with contextlib.suppress(Held, StoreError):
                taken = second.open(account=ACCOUNT, holder="second", lease_s=30.0)
        assert taken is not None
        with taken:
            with pytest.raises(Fenced, match="no longer leads account alpaca:PA123"):
                store.commit(batch(fold, 3, DAY[2:4], durable=True))
            assert not store.lease.valid()
            with pytest.raises(Fenced):
                store.commit(batch(fold, 3, DAY[2:4], durable=True))
            assert taken.last_seq(RUN) == 2


def test_a_writer_that_lost_its_lease_is_fenced_in_sqlite_too(tmp_path):
    """Two state folders on one file: the file lock does not meet, the lease does."""
    one, two = (Desk(tmp_path / "quantd.db", tmp_path / name) for name in ("one", "two"))
    first = one.open(account=ACCOUNT, holder="one")
    fold = first.begin(RUN, UNIVERSE, agents=AGENTS)
    first.commit(batch(fold, 1, DAY[:2], durable=True))
    with pytest.raises(Held):
        two.open(account=ACCOUNT)
    Desk(tmp_path, tmp_path).sql("UPDATE lease SET expires_ns = 0")
    (two.state / "journal.head").write_bytes((one.state / "journal.head").read_bytes())
    with two.open(account=ACCOUNT, holder="two") as second:
        assert second.lease.token == 2
        with pytest.raises(Fenced, match=r"two on .* with token 2"):
            first.commit(batch(fold, 3, DAY[2:4], durable=True))
        assert not first.lease.valid()
        assert second.last_seq(RUN) == 2
    first.close()


def test_an_account_given_back_and_another_one_taken_fences_whoever_still_sleeps(postgres, tmp_path):
    store = postgres.open(account=ACCOUNT, lease_s=30.0)
    postgres.sql("UPDATE lease SET expires_ns = 0")
    with elsewhere(postgres, tmp_path).open(account="ccxt:other") as other:
        assert other.lease.token == 1
        with pytest.raises(Fenced, match="another process took this store"):
            store.begin(RUN, UNIVERSE, agents=AGENTS)
    store.close()


def test_a_lost_head_is_begun_anew_only_where_the_account_was_led_from_elsewhere(postgres, tmp_path):
    with postgres.open(account=ACCOUNT) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, DAY[:2], durable=True))
    (postgres.state / "journal.head").rename(tmp_path / "kept")
    with pytest.raises(StoreDamaged, match="is missing, but the journal has 1 rows"):
        postgres.open(account=ACCOUNT)
    (tmp_path / "kept").rename(postgres.state / "journal.head")
    other = elsewhere(postgres, tmp_path)
    with other.open(account=ACCOUNT):
        assert (other.state / "journal.head").exists()
    assert other.verify() == []
