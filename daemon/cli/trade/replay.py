"""Replay a run's journal from its first entry and compare every step with the record."""

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import msgspec
import typer

from quantd.adapters.store.journal.records import Records
from quantd.daemon.assembly.parts import Assembly, Parts, parts_of
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import Bar, print_json, progress, say
from quantd.daemon.cli.places import place, recorded
from quantd.daemon.cli.trade.policy_answers import TOLERANCE, AskingAgain, Heard
from quantd.daemon.policies.worker import Apart
from quantd.daemon.recovery.replay import NotKept, refold
from quantd.daemon.runtime.journal import Journal, ReplayDifference
from quantd.daemon.runtime.timeline import Item, time_of
from quantd.daemon.views.run_summary import summary
from quantd.trading.codec import decode
from quantd.trading.events import Started
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG

LISTED = 50


def replay(
    run: Annotated[str | None, typer.Argument(help="A run by its name; the newest without it.")] = None,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    policies: Annotated[
        bool, typer.Option("--policies", help="Also ask the policies again and list differences.")
    ] = False,
    as_json: Json = False,
) -> int:
    where = place(config, state, sets)
    records, record = recorded(where, run)
    name = record.run
    found = read(config, sets)
    parts = parts_of(found, time.time_ns(), cache=where.folder / "cache", apart=Apart(where.folder))
    same_market(parts, records, name)
    last = records.last_seq(name)
    heard = Heard()
    journal = Journal()

    def journal_of(entries: Iterable[bytes], seq: int, under: Parts) -> Journal:
        nonlocal journal
        journal = AskingAgain(entries, seq, parts, heard) if policies else Journal(entries, seq, parts.live)
        return journal

    differs = ""
    began = time.perf_counter()
    with progress(f"replay {name}", shown=not as_json) as bar:
        try:
            shell, journal = refold(
                parts,
                records,
                name,
                where.folder,
                journal_of=journal_of,
                watched=lambda market: watched(market, parts, bar),
            )
        except ReplayDifference as why:
            differs, shell = str(why), why.shell or parts.shell()
            journal.compared = why.seq - 1
        except NotKept as why:
            raise Failure(str(why), CONFIG) from None
    wall_s = time.perf_counter() - began
    # of a run that differs the account at the difference is shown: that is where to look
    body: dict[str, Any] = msgspec.to_builtins(summary(shell, name, record.mode, wall_s))
    body |= {"steps": last, "compared": journal.compared, "same": not differs, "difference": differs}
    changed = heard.different
    if policies:
        body |= {
            "asked": heard.asked,
            "policy_differences": len(changed),
            "policies": [
                {"ts": d.ts, "time": d.time, "agent": d.agent, "text": d.text, "most": d.most} for d in changed[:LISTED]
            ],
        }
    if as_json:
        print_json(body)
    else:
        _told(body, policies)
    return CHECK_FAILED if differs else 0


def watched(market: Iterator[list[Item]], parts: Parts, bar: Bar) -> Iterator[list[Item]]:
    """The market by instants, with a look at the progress now and then."""
    if not isinstance(parts, Assembly):
        yield from market
        return
    first, span = parts.feed.first_ts, max(1, parts.feed.last_ts - parts.feed.first_ts)
    for number, instant in enumerate(market):
        if number % 512 == 0:
            bar((time_of(instant[0]) - first) / span)
        yield instant


def same_market(parts: Parts, records: Records, run: str) -> None:
    """Raise Failure unless the configuration describes the market and the agents of the run."""
    first = next((decode(data).event for _, data in records.entries(run, 1)), None)
    if not isinstance(first, Started):
        raise Failure(f"run {run} has no journal that begins with a start; there is nothing to replay", CHECK_FAILED)
    agents = tuple(a.name for a in parts.rules.agents)
    record = records.run(run)
    then, now = "", ""
    if first.symbols != parts.universe.symbols:
        then, now = f"the symbols {', '.join(first.symbols)}", ", ".join(parts.universe.symbols)
    elif record.agents != agents:
        then, now = f"the agents {', '.join(record.agents)}", ", ".join(agents)
    elif first.feed != parts.market:
        then, now = "other bars (another file, start, end or warm-up)", "the ones configured now"
    if then:
        raise Failure(
            f"run {run} was made with {then}, not {now}: give its configuration with --config or --set", CONFIG
        )


def _told(body: dict[str, Any], policies: bool) -> None:
    say(f"run {body['run']}: {body['compared']:,} of {body['steps']:,} steps compared in {body['wall_s']:.2f} s")
    if body["same"]:
        say("  every effect is as recorded")
    else:
        say(f"  {body['difference']}")
    say(f"  equity {body['equity']}, {body['orders']:,} orders, {body['fills']:,} fills")
    say(f"  digest {body['digest']}")
    if policies:
        say(
            f"  policies asked again {body['asked']:,} times, {body['policy_differences']} answers differ by more "
            f"than {TOLERANCE:g}"
        )
        for row in body["policies"]:
            say(f"    {row['time']} {row['agent']}: {row['text']}")


COMMAND: Final = Command("Trade", 30, replay)
