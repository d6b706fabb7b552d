"""The lines of config.toml that name a file of bars, imported or downloaded: printed, or written in place."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.regular_file import write_whole
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, USAGE
from quantd.trading.instruments import Universe, house_calendar, kind_of

OF_OTHER_BARS: Final = ("exceptions", "adjusted", "jumps", "spikes", "holes", "zone", "build_from")
"""Keys of [feed] that describe the bars; a person wrote them for the bars that are replaced."""


UNCAPPED: Final[Mapping[str, object]] = {"participation": 0}
"""Keys of [broker] that remove the cap on participation, so that orders fill on bars without a volume."""


Changes = Mapping[tuple[str | int, ...], object]

UNCHANGED: Final[Changes] = MappingProxyType({})
"""No further keys of a configuration."""


class Written(NamedTuple):
    """The change of a configuration: the file, whether it is new, and the names of the keys set and removed."""

    config: Path
    new: bool
    set: list[str]
    removed: list[str]

    def text(self) -> str:
        """Return the change in a sentence."""
        keys = ", ".join(self.set)
        change = (
            f"wrote {self.config}: what `quantd init` writes, with {keys}"
            if self.new
            else f"{self.config} has {keys} of these bars"
        )
        # of a new file nobody has written these
        removed = f"; removed: {', '.join(self.removed)}" if self.removed and not self.new else ""
        return f"{change}{removed}"


class BarLines(NamedTuple):
    """The keys of config.toml with which a run reads a file of bars.

    `universe` has the symbols that trade, and `benchmark` is a symbol that does not trade. `first` and `last` are the
    dates of the first and the last bar. With `silent` some symbol has no volume, so that its orders fill only without a
    cap on participation.
    """

    universe: Universe
    path: Path
    actions: Path | None
    stamps: str
    interval: str
    first: str
    last: str
    benchmark: str = ""
    adjusted: bool = False
    silent: bool = False
    lots: Mapping[str, str] = MappingProxyType({})
    """Symbol -> its lot, where it is not the usual one."""

    def text(self) -> str:
        """Return the lines of config.toml, with paths as they were typed."""
        from quantd.daemon.config.edits import assignment

        def lines(head: str, keys: Mapping[str, object]) -> list[str]:
            return [head, *(assignment(key, value) for key, value in keys.items() if value is not None)]

        if self.only_indices:
            return "\n".join(
                lines("[universe]", {"benchmark": self.universe.symbols[0], "benchmark_path": str(self.path)})
            )
        text = lines("[universe]", self._universe())
        for table in self._instruments():
            text += lines("[[universe.instruments]]", table)
        text += lines("[feed]", self._feed(str))
        # bars without volumes (`silent`) fill no order unless the cap on participation is off
        return "\n".join(text + (lines("[broker]", UNCAPPED) if self.silent else []))

    def into(self, config: Path, further: Changes = UNCHANGED, new: str = "") -> Written:
        """Write the keys into a configuration, or into a new one. On a fault it raises Failure and changes nothing.

        Keys about other bars are removed. A configuration of a live feed is refused. `further` has further keys by
        (table, key); the value None removes a key. `new` is the text of a new configuration; the bundled one if empty.
        """
        import tomllib

        from quantd.daemon.config.edits import EditError, edited

        if self.only_indices:
            text = f"{', '.join(self.universe.symbols)}: an index cannot trade, and {config} is unchanged"
            remedy = "import it together with the bars of symbols that trade, or put these lines beside such symbols"
            raise Failure(f"{text}; {remedy}:\n{self.text()}", USAGE)
        is_new = not config.exists()
        text = (new or bundled.CONFIG.read_text(encoding="utf-8")) if is_new else config.read_text(encoding="utf-8")
        try:
            document = tomllib.loads(text)
            changes = self._changes(document, config.parent)
            changes |= further
            index_of_symbol = {
                instrument.get("symbol"): k
                for k, instrument in enumerate(document.get("universe", {}).get("instruments", ()))
            }
            tables = self._instruments()
            for table in tables:
                if table["symbol"] in index_of_symbol:
                    changes["universe", "instruments", index_of_symbol[table["symbol"]], "calendar"] = table["calendar"]
            changed_text = edited(text, changes, [table for table in tables if table["symbol"] not in index_of_symbol])
        except EditError as error:
            remedy = f"its key {error} is written in a form that is not changed in place"
            raise Failure(f"{config} is unchanged: {remedy}; put these lines there:\n{self.text()}", CONFIG) from None
        except ValueError as error:
            raise Failure(f"{config} is unchanged: it is not TOML: {error}", CONFIG) from None
        require_valid(changed_text, config)
        write_whole(config, changed_text.encode(), keep_mode=True)
        set_keys = [f"{path[0]}.{path[-1]}" for path, value in changes.items() if value is not None]
        removed = [
            f"{path[0]}.{path[-1]}" for path, value in changes.items() if value is None and _has_key(document, path)
        ]
        return Written(config, is_new, list(dict.fromkeys(set_keys)), removed)

    def with_benchmark(self) -> "BarLines":
        """Return the keys by which no index trades and the first index is the benchmark; of indices only, themselves.

        The calendar of the universe becomes that of the symbols that trade.
        """
        traded = tuple(item for item in self.universe.instruments if kind_of(item.symbol) != "index")
        if not traded:
            return self
        indices = [symbol for symbol in self.universe.symbols if kind_of(symbol) == "index"]
        house = house_calendar([item.calendar for item in traded])
        universe = Universe(traded, currency=self.universe.currency, calendar=house)
        return self._replace(universe=universe, benchmark=next(iter(indices), ""))

    @property
    def only_indices(self) -> bool:
        """Whether no symbol can be traded."""
        return all(kind_of(symbol) == "index" for symbol in self.universe.symbols)

    def _universe(self) -> dict[str, object]:
        """Return the keys of [universe]; None for a key whose default fits."""
        return {
            "symbols": list(self.universe.symbols),
            "calendar": self.universe.calendar,
            "currency": self.universe.currency if self.universe.currency != "USD" else None,
            "benchmark": self.benchmark or None,
        }

    def _feed(self, path_text: Callable[[Path], str]) -> dict[str, object]:
        """Return the keys of [feed]; `path_text` is the text of a path in the configuration."""
        actions = None if self.actions is None else path_text(self.actions)
        adjusted = True if self.adjusted else None
        files = {"path": path_text(self.path), "actions": actions, "adjusted": adjusted}
        return {**files, "stamps": self.stamps, "interval": self.interval}

    def _instruments(self) -> list[dict[str, str]]:
        """Return a table for each symbol whose calendar or lot is not the usual one."""
        tables = []
        for item in self.universe.instruments:
            keys = {"calendar": item.calendar} if item.calendar != self.universe.calendar else {}
            keys |= {"lot": self.lots[item.symbol]} if item.symbol in self.lots else {}
            tables += [{"symbol": item.symbol, **keys}] if keys else []
        return tables

    def _changes(self, document: Mapping[str, Any], folder: Path) -> dict[tuple[str | int, ...], object]:
        """Return the new values for a configuration in `folder`, by path; None removes a key.

        Raises Failure for a configuration of a live feed.
        """
        feed, universe = document.get("feed", {}), document.get("universe", {})
        if (kind := feed.get("kind", "replay")) != "replay":
            text = f'it trades live bars ([feed] kind = "{kind}")'
            raise Failure(f"the configuration is unchanged: {text}; name another file with --into", USAGE)
        changes: dict[tuple[str | int, ...], object] = {
            ("universe", key): value for key, value in self._universe().items() if value is not None
        }
        # a benchmark that is no symbol of the new bars would be without prices
        if not self.benchmark and universe.get("benchmark", "") not in ("", *self.universe.symbols):
            changes["universe", "benchmark"] = None
        changes |= {("broker", key): value for key, value in UNCAPPED.items() if self.silent}
        feed_keys = self._feed(lambda file: below(file, folder))
        if feed_keys["path"] != feed.get("path"):
            changes |= {("feed", key): None for key in OF_OTHER_BARS}
        for key in ("start", "end"):
            # ISO dates compare as text
            if key in feed and not self.first <= str(feed[key]) <= self.last:
                changes["feed", key] = None
        feed_keys = {key: value for key, value in feed_keys.items() if key != "adjusted" or value}
        return changes | {("feed", key): value for key, value in feed_keys.items()}


def below(file: Path, folder: Path) -> str:
    """Return the path of a file for a configuration in `folder`: relative if the file is in or below `folder`, else
    absolute."""
    path = os.path.relpath(file.resolve(), folder.resolve())
    return str(file.resolve()) if path.startswith("..") else path


def require_valid(text: str, config: Path) -> None:
    """Raise Failure with the mistakes of a configuration's text that is about to be written."""
    from quantd.daemon.assembly.names import known_names
    from quantd.daemon.config import ConfigError, read

    try:
        read(text, known_names(), file=str(config), folder=config.parent, environ=os.environ)
    except ConfigError as error:
        raise Failure(
            f"{config} is unchanged: with these lines it would have mistakes\n{error}", CHECK_FAILED
        ) from None


def _has_key(document: Mapping[str, Any], path: tuple[str | int, ...]) -> bool:
    """Whether a parsed document has the key at this path."""
    table: Any = document
    for key in path:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True
