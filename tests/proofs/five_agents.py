"""Five agents on twenty real stocks from 2005 to 2021 in the engine: at every bar the books add up to the house.

    python -m tests.proofs.five_agents [--from 2005-01-03] [--to 2021-12-30] [--set KEY=VALUE ...] [--moving]

With `--moving` twice: as it is, and with capital that moves by recent performance each month and a shadow that
challenges one of the five each quarter.

Checked after every slice and every tick, in whole numbers: lots, cash, fees, flows, income and the marked equity of the
books and the unallocated book are the house's, to the last unit. Realised profit: each book sells at its own average
cost, and a cross realises a profit in one book that it adds to the cost of another, so that the books' realised
profit less the house's is at every bar what their costs are above the house's; at the end everything is sold, and then
it is nothing.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.engine.state import State
from quantd.daemon.recovery.start import begin
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Unanswered
from quantd.daemon.views.agent_rows import diversity, shadow_equities
from quantd.trading.effects import Crossed, Effect, Filled, Promotion, Reallocated
from quantd.trading.events import Event, Operator
from quantd.trading.market import MarketSlice
from quantd.trading.orders import money_text
from tests.support.checkout import ROOT

CONFIG = ROOT / "examples" / "five-agents.toml"
MOVING = """
[capital]
method = "performance"
floor = 0.05
ceiling = 0.4
shrink = 0.25
tilt = 1.0

[promotion]
samples = 252
measure = "mean"
looks = 20

[[schedules]]
name = "capital"
do = "reallocate"
cron = "0 16 28 * *"
timezone = "America/New_York"

[[schedules]]
name = "promotion"
do = "promote"
cron = "0 16 28 3,6,9,12 *"
timezone = "America/New_York"

[[agents]]
name = "rival"
policy = "equal_weight"
capital = 0.15
profile = "aggressive"
shadow = true
challenges = "swing"
"""
SELLING = 10
"""Bars before the end at which everything is sold."""


@dataclass
class Found:
    """Figures of one run. `wrong` are breaches, the first few of them."""

    bars: int = 0
    checks: int = 0
    fills: int = 0
    shared: int = 0
    crosses: int = 0
    most_apart_micro: int = 0
    end_apart_micro: int = 0
    equity: dict[str, int] = field(default_factory=dict)
    realised: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    wall_s: float = 0.0
    moves: list[Reallocated] = field(default_factory=list)
    trials: list[Promotion] = field(default_factory=list)
    shadows: dict[str, int] = field(default_factory=dict)
    alike: float | None = None
    wrong: list[str] = field(default_factory=list)


class Watched(Unanswered):
    """A log that looks on: counts fills and crosses, and keeps the other effects."""

    def __init__(self) -> None:
        self.found = Found()
        self.effects: list[Effect] = []

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Filled):
                self.found.fills += len(effect.sym)
                self.found.shared += sum(len(parts) > 1 for parts in effect.shares)
            elif isinstance(effect, Crossed):
                self.found.crosses += 1
            else:
                self.effects.append(effect)


def breaches(state: State) -> list[str]:
    """What does not add up now; nothing, if quantd keeps its promise. Counted here anew, from the accounts alone."""
    house, books = state.ledger.house, state.ledger.books
    wrong = []
    for what in ("cash_micro", "fees_micro", "flows_micro", "income_micro"):
        if sum(getattr(book, what) for book in books) != getattr(house, what):
            wrong.append(what)
    if [sum(column) for column in zip(*(book.lots for book in books), strict=True)] != house.lots:
        wrong.append("lots")
    marks, sizes = state.marks_nano.tolist(), state.universe.lot_nano

    def atto(account: object) -> int:
        held = sum(n * size * mark for n, size, mark in zip(account.lots, sizes, marks, strict=True))
        return account.cash_micro * 10**12 + held  # type: ignore[attr-defined, no-any-return]

    if sum(map(atto, books)) != atto(house):
        wrong.append("marked equity")
    state.revalue()
    if sum(state.books_micro) != state.equity_micro:
        wrong.append("equity as told")
    if any(account.unexplained_micro() for account in (house, *books)):
        wrong.append("cash that nothing explains")
    if apart(state) != sum(sum(book.cost_micro) for book in books) - sum(house.cost_micro):
        wrong.append("realised profit")
    return wrong


def apart(state: State) -> int:
    """The books' realised profit less the house's."""
    return sum(book.realised_micro for book in state.ledger.books) - state.ledger.house.realised_micro


def prove(assembly: Assembly, *, sell: bool = True) -> tuple[Found, Shell, list[Effect]]:
    """One run, looked at after everything that happens."""
    log = Watched()
    figures = log.found
    shell = assembly.shell(log)
    begin(shell, assembly, assembly.config, "five0000", fresh=True)
    items = list(assembly.items())
    bars = [k for k, item in enumerate(items) if isinstance(item, MarketSlice)]
    end = bars[-SELLING] if sell else -1
    began = time.perf_counter()
    for k, item in enumerate(items):
        if k == end:
            shell.run(Operator(shell.state.now, "flatten", "the end of the proof", "five_agents"))
        shell.take(item)
        figures.checks += 1
        figures.bars += isinstance(item, MarketSlice)
        wrong = breaches(shell.state)
        if wrong and len(figures.wrong) < 10:
            figures.wrong.append(f"item {k}: {', '.join(wrong)}")
        figures.most_apart_micro = max(figures.most_apart_micro, abs(apart(shell.state)))
    figures.wall_s = time.perf_counter() - began
    state = shell.state
    figures.end_apart_micro = apart(state)
    if sell and (any(state.ledger.house.lots) or figures.end_apart_micro):
        figures.wrong.append("at the end something is held, or realised profit is not the same")
    names = state.ledger.names
    figures.equity = {"house": state.equity_micro, **dict(zip(names, state.books_micro, strict=True))}
    figures.realised = {
        "house": state.ledger.house.realised_micro,
        **{name: book.realised_micro for name, book in zip(names, state.ledger.books, strict=True)},
    }
    figures.digest = shell.digest.hexdigest()
    figures.moves = [e for e in log.effects if isinstance(e, Reallocated)]
    figures.trials = [e for e in log.effects if isinstance(e, Promotion)]
    figures.shadows = shadow_equities(state)
    figures.alike = diversity(state)
    return figures, shell, log.effects


def told(figures: Found) -> str:
    """The figures of a run in lines."""
    rows = [
        f"  {name:12}{money_text(value):>18}{money_text(figures.realised[name]):>18}"
        for name, value in figures.equity.items()
    ]
    return "\n".join(
        [
            f"{figures.bars} bars, {figures.checks} instants checked, {figures.fills} fills ({figures.shared} shared "
            f"by several agents), "
            f"{figures.crosses} crosses; {figures.wall_s:.1f} s",
            f"books' realised profit and the house's were apart by {money_text(figures.most_apart_micro)} at most, "
            f"{money_text(figures.end_apart_micro)} at the end",
            f"  {'':12}{'equity':>18}{'realised':>18}",
            *rows,
            *(f"  {name:12}{money_text(value):>18}   (shadow)" for name, value in figures.shadows.items()),
            *([_moved(figures)] if figures.moves or figures.trials else []),
            ""
            if figures.alike is None
            else f"mean absolute correlation of the agents' last 252 returns {figures.alike:.2f}",
            f"digest {figures.digest[:16]}; {len(figures.wrong)} breaches {figures.wrong}",
        ]
    )


def _moved(figures: Found) -> str:
    new = [move for move in figures.moves if move.target]
    sums = sum(sum(part for part in move.moved if part > 0) for move in figures.moves)
    last = ", ".join(f"{share:.1%}" for share in new[-1].target) if new else "none"
    looks = [trial for trial in figures.trials if trial.look]
    best = min((look.p for look in looks), default=1.0)
    promoted = [look for look in looks if look.promoted]
    return (
        f"capital moved {len(figures.moves)} times, {money_text(sums)} in "
        f"all, new shares {len(new)} times, the last {last}; "
        f"{len(looks)} looks at the challenger, {len(promoted)} promotions, least p {best:.4f}"
    )


def moving(folder: Path) -> Path:
    """The configuration with capital on the move, a shadow and its challenge, in a folder of its own."""
    file = folder / "moving.toml"
    file.write_text(CONFIG.read_text() + MOVING)
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="first", default="2005-01-03")
    parser.add_argument("--to", dest="last", default="2021-12-30")
    parser.add_argument("--set", dest="sets", action="append", default=[])
    parser.add_argument("--moving", action="store_true")
    given = parser.parse_args(arguments)
    sets = (f"feed.start={given.first}", f"feed.end={given.last}", *given.sets)
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        for config in [CONFIG, moving(Path(name))] if given.moving else [CONFIG]:
            figures, _, _ = prove(assemble(read(config, sets)))
            sys.stdout.write(told(figures) + "\n")
            wrong += bool(figures.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
