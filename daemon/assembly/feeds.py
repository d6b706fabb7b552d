"""Vendors of bars by kind. The library of a vendor is imported when the vendor is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.source import Source, SourceError, Stream
from quantd.adapters.feeds.sources import GROUP
from quantd.adapters.feeds.vendor import Request, Vendor
from quantd.adapters.plugins import function
from quantd.daemon.config import secret
from quantd.records import records
from quantd.trading.exit_codes import PackageMissing


def vendors() -> Mapping[str, Vendor]:
    """Return every vendor of bars, by its kind in config.toml."""
    return records("quantd.adapters.feeds.sources", Vendor, GROUP)


def source_of(kind: str, request: Request) -> Source:
    """Return the source of bars of a vendor, before its first request.

    Raises SourceError, FileWrong for an unreadable file, and PackageMissing without the extra of the vendor.
    """
    vendor = vendors().get(kind)
    if vendor is None:
        raise SourceError("[feed] kind", f'"{kind}" is no vendor', f"There are {', '.join(vendors())}", again=False)
    if text := vendor.lack():
        raise PackageMissing(text)
    return cast(Source, function(vendor.source)(_completed(vendor, request)))


def stream_of(kind: str, request: Request) -> Stream | None:
    """Return the vendor's stream of live bars; None where it has no stream of this interval.

    Whether an exchange of ccxt has a stream is known only when the stream is read.
    """
    vendor = vendors()[kind]
    if not vendor.stream:
        return None
    return cast(Stream | None, function(vendor.stream)(_completed(vendor, request)))


def _completed(vendor: Vendor, request: Request) -> Request:
    """Return the request with the secrets of its vendor, and the function that reads its file of actions."""

    def listed() -> Sequence[ActionRow]:
        from quantd.adapters.feeds.recorded.bar_files import read_actions  # with polars: only for such a vendor

        return read_actions(request.actions, request.universe) if request.actions is not None else ()

    return replace(request, secrets={name: secret(name) or "" for name in vendor.secrets}, listed=listed)
