"""Explain an order or a refusal: the agents' targets, the verdict and headroom of each limit, the fills."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.adapters.store.store_errors import StoreFailing
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Run, Sets, State
from quantd.daemon.cli.failures import Failure, note
from quantd.daemon.cli.output import answer, progress
from quantd.daemon.cli.places import place
from quantd.trading.exit_codes import CHECK_FAILED, USAGE

if TYPE_CHECKING:
    from quantd.daemon.config import Config

SLOW_S = 1.0
"""Seconds until a note explains a slow replay."""


def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ORDER|ADDRESS|SYMBOL[@SHADOW]",
            help="Id of an order (`quantd orders`), symbol of a decision (d4812:QQQ, `quantd decisions`), or a symbol; "
            "with @NAME, or a shadow's name alone: of that shadow.",
        ),
    ],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="With a symbol: its newest decision up to a day or instant, UTC."),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="With a symbol: its newest decision (the default).")] = False,
    run: Run = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Only recorded values: immediate, without headroom in the symbol.")
    ] = False,
    as_json: Json = False,
) -> None:
    if last and at is not None:
        raise typer.BadParameter("both --at and --last were used; write one of them")
    where = place(config, state, sets)
    reader = where.reader(run)
    # imported after the store is found, because the engine takes seconds to import
    from quantd.daemon.recovery.replay import recorded_parts
    from quantd.daemon.views.addresses import AddressWrong, find
    from quantd.daemon.views.explanation import explain
    from quantd.daemon.views.explanation_text import why_lines

    try:
        subject = find(reader, what, at)
    except StoreFailing as why_not:
        raise Failure(str(why_not), CHECK_FAILED) from None
    except AddressWrong as why_not:
        raise Failure(str(why_not), USAGE) from None
    records = where.records()
    parts = recorded_parts(records, reader.run.run, where.folder)
    judge = None  # computes the decision again, by a replay; without it only recorded values are shown
    with progress("replaying the journal up to that decision") as report_progress:
        if not recorded:
            from quantd.daemon.cli.stopped_run import tracked
            from quantd.daemon.recovery.state_at import Refolder

            began, hints = time.monotonic(), ["replaying the journal up to that decision; --recorded skips this"]

            def show(share: float) -> None:
                report_progress(share)
                if hints and time.monotonic() - began > SLOW_S and not sys.stderr.isatty():
                    note(hints.pop())

            judge = Refolder(
                records, reader.run.run, where.folder, lambda: _read_configuration(config, sets), parts=parts,
                watched=lambda market: tracked(market, show, subject.decision.plan.ts),
            )  # fmt: skip
        explanation = explain(subject, judge, parts.slices if parts is not None else None)
    answer(as_json, explanation, *why_lines(explanation))


def _read_configuration(config: Path, sets: Sets) -> "Config":
    from quantd.daemon.cli.configuration import read  # needed only where a run has no saved configuration

    return read(config, sets)


COMMAND: Final = Command("Look", 90, why)
