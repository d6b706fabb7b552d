"""The job `data_refresh`: downloads the recorded bars again, up to today, into a new file beside the present one.

The present file is never changed, because a run over recorded bars is bound to the content of its file.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
from msgspec import Struct

from quantd.adapters.feeds.bars.rows import PRICES
from quantd.adapters.plugins import Option
from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.assembly.feeds import vendors
from quantd.daemon.config import Config
from quantd.daemon.jobs.runner import Permanent
from quantd.daemon.jobs.tasks.command_process import output_of
from quantd.daemon.runtime.service import Service
from quantd.regular_file import remove

KEPT: Final = 3
"""Number of downloaded files that are not deleted, the newest."""


class Origin(Struct, frozen=True):
    """The source, the interval and the adjustment of bars, from the metadata that `quantd data fetch` wrote."""

    source: str
    interval: str
    adjusted: bool = False


class NotRefreshed(Exception):
    """The bars were not downloaded; nothing was written."""


class NoSource(NotRefreshed, Permanent):
    """There is no file of bars to refresh, or the file has no known source of newer bars; another attempt would find
    the same."""


@dataclass(frozen=True, slots=True)
class DataRefresh:
    """Downloads newer bars for one service of the daemon."""

    service: Service

    async def work(self, run: JobRun) -> str:
        """Download the configured file of bars again, up to today, into a new file beside it. Return the new path.

        The configured file is `bars` of [retrain], or else `path` of a recorded [feed]. Its metadata and its bars name
        the source, the interval, the symbols and the first date. Raises NoSource where neither key is set or the file
        has no known source, and NotRefreshed where the download fails.
        """
        config = self.service.config
        configured_path = config.document.retrain.bars or (config.feed.path if config.feed.kind == "replay" else "")
        if not configured_path:
            raise NoSource("neither [retrain] bars nor a recorded [feed] path names a file of bars; set one of them")
        file = config.at(configured_path)
        origin, symbols, first = described(file)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = file.with_name(f"{file.stem}-{stamp}{file.suffix}")
        command = ["data", "fetch", *symbols, "--from", first, "--out", str(target), "--interval", origin.interval]
        command += ["--currency", config.universe.currency, "--json"] + (["--adjusted"] if origin.adjusted else [])
        command += [word for source in origin.source.split("+") for word in options_of(source, config)]
        if config.feed.url:
            command += ["--url", config.feed.url]
        code, _, error = await output_of(command)
        if code or not target.is_file():
            raise NotRefreshed(error)
        downloads = sorted(file.parent.glob(f"{file.stem}-????????T??????Z{file.suffix}"))
        for old_file in downloads[:-KEPT]:
            remove(old_file)
            remove(old_file.with_name(f"{old_file.stem}.actions.csv"), missing_ok=True)
        return str(Path(configured_path).with_name(target.name))


def options_of(source: str, config: Config) -> list[str]:
    """The options with which `quantd data fetch` downloads from `source`, a name in the metadata of a file."""
    if vendor := vendors().get(source):
        return ["--source", source, *(word for option in vendor.options for word in _option_words(option, config))]
    if config.feed.mapping:
        return ["--source", "http", "--mapping", str(config.at(config.feed.mapping))]
    return ["--source", "ccxt", "--exchange", source]


def _option_words(option: Option, config: Config) -> list[str]:
    """A vendor's option with its value in [feed], as words of a command line; empty if it has no flag or no value."""
    value = getattr(config.feed, option.key)
    if not option.flag or not value:
        return []
    return [option.flag.split()[0], str(config.at(value)) if option.key == "mapping" else value]


def described(file: Path) -> tuple[Origin, list[str], str]:
    """(origin, symbols, first date) of a file of bars. Raises NoSource for a file that was not downloaded."""
    try:
        origin = msgspec.json.decode(pl.read_parquet_metadata(file).get("quantd", ""), type=Origin)
        frame = pl.read_parquet(file, columns=["ts", "symbol", PRICES[0]])
    except (msgspec.DecodeError, pl.exceptions.PolarsError, OSError):
        raise NoSource(f"{file}: `quantd data fetch` did not write it, so its source is not known") from None
    if origin.source.startswith("synthetic") or not frame.height:
        raise NoSource(f"{file}: its source {origin.source!r} has no newer bars")
    first: datetime = frame["ts"].min()  # type: ignore[assignment]
    return origin, frame["symbol"].unique(maintain_order=True).to_list(), first.astimezone(UTC).date().isoformat()
