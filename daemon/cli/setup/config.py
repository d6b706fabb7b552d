"""Check the configuration, or show its settings."""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, print_json, records
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE, ExplainedError
from quantd.trading.sessions import DAY_NS

if TYPE_CHECKING:
    from quantd.daemon.config import Config, Mistake

GOALS: Final = "quantd.research.reports.report_goals:check_goals"
"""The function that checks `[study] goals`, by its name: this package may not import research, a higher layer."""

QUOTES: Final = "[gateway] the bars are daily: bid, ask and last price of a program are the close of the newest day"

NO_KEY: Final = (
    '[gateway] data = "pass", without a key of Alpaca: programs get the bars of the run. Set QUANTD_ALPACA_KEY and '
    "QUANTD_ALPACA_SECRET"
)

Reload = Annotated[
    bool, typer.Option("--reload", help="Have the daemon read the file; exit code 1 with each key not in force.")
]


def check(
    chosen: RunOptions = DEFAULTS,
    show: Annotated[
        bool, typer.Option("--show", help="List every setting with its value and source; read no bars and policies.")
    ] = False,
    reload: Reload = False,
    as_json: Json = False,
) -> int:
    """List every mistake for which `quantd run` would refuse the configuration; exit code 78 when there is one.

    It reads the bars, loads the policies and looks for the secrets, and starts nothing.
    """
    if reload:
        unused("--reload", {"--show": show})
        return _reload(chosen.place().unchanged().folder, as_json)
    from quantd.daemon.config import ConfigError, Mistake, digest

    config = chosen.config
    try:
        settings = chosen.read().in_state(chosen.state, os.environ)
        if show:
            _print_settings(config, settings, as_json)
            return DONE
        # imported only after the file was parsed: a faulty file is refused within a second
        from quantd.adapters.plugins import function
        from quantd.daemon.access.protection import secrets_mistakes
        from quantd.daemon.assembly.parts import parts_of
        from quantd.daemon.assembly.small_shares import at_worst, most_held, small_lots, small_shares
        from quantd.daemon.policies.composed import left_out
        from quantd.daemon.policies.isolation.worker import Apart, unreadable

        if mistakes := secrets_mistakes(settings):
            raise ConfigError(mistakes)
        if settings.study.goals:
            function(GOALS)(settings)  # raises for a wrong goal of a report; takes a second to import
        folder = chosen.place().folder
        parts = parts_of(settings, time.time_ns(), cache=folder / "cache", isolation=Apart(folder))
        policies = parts.policies
    except ExplainedError as why:
        if not as_json:
            raise
        _print_mistakes(why.mistakes if isinstance(why, ConfigError) else [Mistake(str(config), 0, "", str(why), "")])
        return CONFIG
    counts = ", ".join(counts_of(settings))
    trading = f"  digest of the keys that affect trading: {digest(settings)}"
    unread = [f"{agent}: trades without {', '.join(names)}; [feed] series has use = false"
           for agent, names in left_out(settings.seats, policies)]  # fmt: skip
    unreadable_folders = [f"{policy}: {text}" for policy, text in unreadable(policies)]
    small = [*small_shares(settings), *small_lots(parts)]
    notes = _notes(settings, parts.interval_ns)
    held, worst = most_held(parts), at_worst(parts)
    document = {
        "ok": True, "mistakes": [], "digest": digest(settings), "left_out": unread, "unreadable": unreadable_folders,
        "small_shares": small, "most_held": held, "at_worst": worst, "notes": notes,
    }  # fmt: skip
    answer(
        as_json, document, f"{config}: {counts}", trading, *held, *worst, *unread, *unreadable_folders, *small, *notes
    )
    return DONE


def _notes(settings: "Config", interval_ns: int) -> list[str]:
    """What may not be expected: a benchmark that is traded too, and the prices of a program behind the gateway."""
    from quantd.daemon.config import secret

    table, benchmark = settings.gateway, settings.universe.benchmark
    traded = [f"{benchmark} is the benchmark and is traded too, as one of [universe] symbols"]
    notes = traded * (benchmark in settings.universe.symbols)
    if table is None:
        return notes
    lacks_key = table.data == "pass" and not (secret("alpaca_key") and secret("alpaca_secret"))
    of_run = lacks_key or table.data == "feed"
    return notes + [NO_KEY] * lacks_key + [QUOTES] * (of_run and interval_ns >= DAY_NS)


def _print_mistakes(mistakes: Iterable["Mistake"]) -> None:
    """Print the mistakes of a configuration as JSON."""
    keys = ("file", "line", "path", "text", "remedy")
    print_json({"ok": False, "mistakes": [{key: getattr(mistake, key) for key in keys} for mistake in mistakes]})


def _reload(folder: Path, as_json: bool) -> int:
    """Have the daemon of a state folder read its configuration, and print each key that is not in force."""
    from quantd.daemon.monitoring.signals import reload_now

    differs = reload_now(folder)
    if as_json or not differs:
        answer(as_json, {"ok": not differs, "differs": differs}, "the daemon has read the file: all of it is in force")
        return CHECK_FAILED if differs else DONE
    raise Failure("\n".join(["the file differs from the run:", *differs]), CHECK_FAILED)


def counts_of(config: "Config") -> Iterator[str]:
    """Yield "2 agents", "5 symbols" and so on: how much a configuration has of each."""
    places = len(config.places)
    counts = (
        (len(config.document.agents), "agent"),
        (places, "place for a portfolio", "places for portfolios"),
        (len(config.universe.symbols), "symbol"),
        (len(config.schedules), "schedule"),
    )
    for count, singular, *plural in counts:
        # most configurations have no portfolios: 0 places are not listed
        if count or singular != "place for a portfolio":
            yield f"{count} {singular if count == 1 else plural[0] if plural else f'{singular}s'}"


def _print_settings(config: Path, settings: "Config", as_json: bool) -> None:
    """Print every setting with its value and its source."""
    from quantd.daemon.assembly.config_rows import settings_of
    from quantd.daemon.config import digest
    from quantd.daemon.config.mistakes import shown

    rows = settings_of(settings)
    value = lambda row: "none" if row.value is None else shown(row.value)  # noqa: E731
    document = {"config": str(config), "digest": digest(settings), "settings": rows}
    answer(as_json, document, lambda: records(rows, {"key": "key", "value": value, "source": "source"}))


COMMAND: Final = Command("Set up", 90, {"check": check})
