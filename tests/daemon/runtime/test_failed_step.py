"""An exception in the middle of a step ends the daemon. Nothing of that step is committed, and the next start replays
what was and takes the step again."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.adapters.store.handle import read_only
from quantd.adapters.store.upkeep.verify import verify
from quantd.daemon.engine.state.capital_shares import CapitalRules
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.runtime import service
from quantd.daemon.runtime.timeline import Item
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.settings import Protective, Tail
from quantd.trading.events import Action, Tick
from quantd.trading.market import Floats
from quantd.trading.view import View
from tests.support.command_line import answer, environment, quantd, write
from tests.support.engine import World, block, walk
from tests.support.fold import by_handlers
from tests.support.service_kit import Kit

DAYS = 24
SPLIT, DIVIDEND = 8, 11
RUN = "run00001"

JOBS = {7: ("snapshot",), 14: ("reallocate",), 16: ("snapshot",)}
"""By sample: jobs of its tick."""

BY_HANDLERS = {
    # place -> the number of the call that fails
    "quantd.trading.ledger.book:Book.trade": 9,
    "quantd.trading.ledger.books:Ledger.dividend": 1,
    "quantd.trading.ledger.books:Ledger.cross": 1,
    "quantd.daemon.engine.market:scale_mark": 1,
    "quantd.daemon.engine.samples:reallocate": 1,
    "quantd.daemon.engine.safety.monitor:observe": 9,
    "quantd.daemon.engine.planning.plan:gate": 11,
    "quantd.daemon.runtime.loop:freeze": 1,
    "quantd.daemon.runtime.journal:encode": 60,
}
"""Where handlers do all that follows the closes of a bar."""

BY_FOLD = {
    "quantd.trading.ledger.book:Book.trade": 9,
    "quantd.daemon.engine.core.fold:Core._take_bar": 9,
    "quantd.daemon.engine.core.fold:Core._take_tick": 13,
    "quantd.daemon.engine.core.fold:Core._send": 12,
    "quantd.daemon.engine.core.fold:Core._record_plan": 10,
    "quantd.daemon.engine.core.venue_orders:VenueOrders.post": 9,
    "quantd.daemon.engine.core.order_columns:Crosses.book": 6,
    "quantd.daemon.engine.core.step_records:StepRecords.record": 31,
    "quantd.daemon.runtime.host.fold_host:FoldHost.sync": 10,
    "quantd.daemon.runtime.journal:encode": 60,
}
"""Where the items are folded."""

PLACES = [("handlers", *call) for call in BY_HANDLERS.items()] + [("fold", *call) for call in BY_FOLD.items()]


def first(view: View) -> Floats:
    """Sells what the other agent buys, each day anew."""
    return np.array([0.6, 0.1]) if view.sample % 2 else np.array([0.1, 0.4])


def second(view: View) -> Floats:
    return np.array([0.1, 0.4]) if view.sample % 2 else np.array([0.6, 0.1])


class Rich(World):
    """Two agents that cross, with stops, a split, a dividend, shares of capital that move, and two snapshots."""

    def __init__(self) -> None:
        bars = block(walk(DAYS, 2, 11))
        opens, keys = bars.ts_open, bars.key
        super().__init__(
            bars, [first, second], lookback=5,
            house=Limits(max_drawdown=0.9, min_history=4, var=Tail(0.2, lookback=5)),
            agent=Limits(protective=Protective(stop_loss=0.01, cooldown=1)),
            actions=[
                Action(opens[SPLIT], keys[SPLIT], 0, "split", numerator=3, denominator=2),
                Action(opens[DIVIDEND], keys[DIVIDEND], 1, "dividend", cash_nano=1_500_000_001),
            ],
            capital=CapitalRules("equal_risk", (0, 1), (0.5, 0.5), lookback=5),
        )  # fmt: skip

    def items(self) -> Iterator[Item]:
        samples = 0
        for item in super().items():
            if isinstance(item, Tick) and item.sample:
                samples += 1
                yield replace(item, jobs=JOBS.get(samples, ()))
            else:
                yield item


def notes_of(error: BaseException) -> list[str]:
    """The notes of an exception, and of those in its group."""
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [*getattr(error, "__notes__", ()), *(note for part in inner for note in notes_of(part))]


def entries_of(folder: Path, run: str = RUN) -> list[bytes]:
    return [data for _, data in read_only(folder, folder).entries(run)]


def snapped(kit: Kit) -> dict[str, object]:
    """Everything that a run leaves: its entries, state, ledger, digest and broker."""
    entries = [data for _, data in kit.store.entries(RUN)]
    shell = kit.shell
    shell.snapshot_wanted = False
    return {
        "journal": entries, "state": freeze(shell.state), "ledger": shell.state.ledger.cells().tobytes(),
        "venue": shell.broker.freeze(), "digest": shell.digest.hexdigest(),
    }  # fmt: skip


async def finished(folder: Path, of: World) -> dict[str, object]:
    """Take the rest of a run; returns what it leaves."""
    kit = Kit(folder, of)
    kit.shell.guarded = True
    try:
        await kit.run()
        return snapped(kit)
    finally:
        kit.store.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("whole")
    return asyncio.run(finished(folder, Rich()))


def failing(monkeypatch: pytest.MonkeyPatch, place: str, number: int) -> list[int]:
    """Make one call of a function fail behind its work; returns a list with the calls so far."""
    module, _, path = place.partition(":")
    owner: Any = import_module(module)
    *names, last = path.split(".")
    for name in names:
        owner = getattr(owner, name)
    original, calls = getattr(owner, last), [0]

    def fails(*given: Any, **named: Any) -> Any:
        outcome = original(*given, **named)
        calls[0] += 1
        if calls[0] == number:
            raise RuntimeError("a defect was planted")
        return outcome

    monkeypatch.setattr(owner, last, fails)
    return calls


@pytest.mark.uncompiled
@pytest.mark.parametrize(("way", "place", "number"), PLACES)
async def test_a_step_that_fails_is_not_committed_and_the_next_start_takes_it_again(
    way: str, place: str, number: int, uninterrupted: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # commits after every few steps, as in a market in real time
    monkeypatch.setattr(service, "COMMIT_STEPS", 4)
    monkeypatch.setattr(service, "YIELD_S", 0.0)
    of = Rich()
    kit = Kit(tmp_path, of)
    kit.shell.guarded = True
    if way == "handlers":
        by_handlers(kit.shell)
    with monkeypatch.context() as patched:
        calls = failing(patched, place, number)
        with pytest.raises(BaseExceptionGroup) as raised:
            await kit.run()
        assert calls[0] == number
    assert "a defect was planted" in repr(raised.value)
    if ".engine." in place or ".host." in place:  # the others are called by a commit too, which is of no event
        assert "It happened in the event" in "".join(notes_of(raised.value))
    kit.store.close()
    committed = entries_of(tmp_path)
    full_journal = uninterrupted["journal"]
    assert committed == full_journal[: len(committed)]  # type: ignore[index]
    assert len(committed) <= kit.journal.seq < len(full_journal)  # type: ignore[arg-type]
    assert await finished(tmp_path, Rich()) == uninterrupted
    assert verify(tmp_path) == []


PROGRAM = """
from quantd.daemon.cli import main
from quantd.trading.ledger.books import Ledger

dividend = Ledger.dividend

def fails(ledger, symbol, cash_nano):
    posted = dividend(ledger, symbol, cash_nano)
    if posted[0]:
        raise RuntimeError("a defect was planted")
    return posted

Ledger.dividend = fails
main(["run", "--quiet", "--json", "--set", "feed.pace=1000/s"])
"""


@pytest.mark.long
@pytest.mark.uncompiled
def test_a_daemon_whose_step_fails_names_the_event_and_the_remedy_and_the_next_start_goes_on(tmp_path: Path) -> None:
    for name in ("broken", "whole"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    folder = tmp_path / "broken"
    environ = environment() | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    message = re.search(
        r"^quantd: this is a fault of quantd itself \(RuntimeError: a defect was planted\)\. "
        r"It happened in the event Action of 2019-03-15T13:30:00Z\. Steps that are not in the journal of run (\w+) had "
        r"no effect: `quantd run` takes them again\. If that fails too, report it with the details\. Orders at a venue "
        r"stay open\. Details are in (\S+)$",
        done.stderr,
        re.MULTILINE,
    )
    assert message, done.stderr
    # the action goes by the fold, or by a step where a commit came before it
    assert re.search(r"in (dividend|on_action)\b", Path(message[2]).read_text())
    assert "Traceback" not in done.stderr
    committed = entries_of(folder / "state", message[1])
    assert len(committed) > 50
    whole_run = answer(quantd(tmp_path / "whole", "run", "--json", "--quiet"))
    again = answer(quantd(folder, "run", "--json", "--quiet"))
    assert (again["digest"], again["equity"]) == (whole_run["digest"], whole_run["equity"])
    assert entries_of(folder / "state", message[1])[: len(committed)] == committed
