"""The origin of a file of bars that `quantd data` wrote: vendor, interval and whether its prices are adjusted."""

from pathlib import Path

import msgspec
import polars as pl

from quantd.adapters.feeds.bars.stamps import Stamps


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The origin of a file of bars, in its parquet metadata under "quantd".

    `zone` is the clock by which the import read times without an offset; the times of the file itself are in UTC.
    """

    source: str
    interval: str
    stamps: Stamps
    adjusted: bool = False
    zone: str = ""


def origin_of(file: Path) -> Origin | None:
    """Return the origin of a file; None when `quantd data` did not write it."""
    if file.suffix != ".parquet" or not file.is_file():
        return None
    try:
        return msgspec.json.decode(pl.read_parquet_metadata(file).get("quantd", ""), type=Origin)
    except (msgspec.DecodeError, pl.exceptions.PolarsError, OSError):
        return None
