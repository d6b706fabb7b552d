"""Vendors of bars by kind, for a run and for `quantd data` alike. A vendor's library is imported when it is opened."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from quantd.adapters.feeds.source import Source, SourceError, Stream
from quantd.adapters.feeds.vendor import Request, Vendor
from quantd.adapters.plugins import function, records
from quantd.daemon.config import secret


def vendors() -> Mapping[str, Vendor]:
    """Every vendor by its kind."""
    return records("quantd.adapters.feeds.sources", Vendor, "quantd.feeds")


def source_of(kind: str, request: Request) -> Source:
    """The vendor before its first request. Raises SourceError, and FileWrong for a file that cannot be read."""
    vendor = vendors().get(kind)
    if vendor is None:
        raise SourceError("[feed] kind", f'"{kind}" is no vendor', f"There are {', '.join(vendors())}", again=False)
    return cast(Source, function(vendor.source)(_with_secrets(vendor, request)))


def stream_of(kind: str, request: Request) -> Stream | None:
    """The bars of the same vendor as they are made; None where it sends none of this interval.

    An exchange of ccxt that sends none reports that when its stream is read.
    """
    vendor = vendors()[kind]
    if not vendor.stream:
        return None
    return cast(Stream | None, function(vendor.stream)(_with_secrets(vendor, request)))


def _with_secrets(vendor: Vendor, request: Request) -> Request:
    return replace(request, secrets={name: secret(name) or "" for name in vendor.secrets})
