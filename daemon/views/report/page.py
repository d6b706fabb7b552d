"""A report as one page, which opens without a network and shows the figures of the JSON beside it."""

from collections.abc import Iterable, Iterator
from html import escape
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from quantd.daemon.views.report import sections as package
from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.drawing import STYLE
from quantd.daemon.views.report.sections.section import Section

TITLES: Final = {"daily_report": "Daily risk report", "risk_report": "Weekly risk report", "hand": "Risk report"}
MORE: Final = (
    ".n{text-align:right}.full{color:var(--fall);font-weight:600}.near{color:var(--fall)}.wide{overflow-x:auto}"
    ".head .n{text-align:left}svg.s{width:10rem;height:1.6rem;display:block}section{margin:0 0 1rem}"
    "td,th{vertical-align:top}"
)


def _found() -> Iterator[Section]:
    for module in iter_modules(package.__path__):
        record = getattr(import_module(f"{package.__name__}.{module.name}"), "SECTION", None)
        if isinstance(record, Section):
            yield record


def in_order(records: Iterable[Section]) -> tuple[Section, ...]:
    """Sections by their place. Raises ValueError for two with one name or place, and for a need that no report has."""
    ordered = sorted(records, key=lambda record: (record.place, record.name))
    names, places = [record.name for record in ordered], [str(record.place) for record in ordered]
    for quality, values in (("name", names), ("place", places)):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"two sections of a risk report have the {quality} {', '.join(twice)}: change one")
    for record in ordered:
        if record.needs and record.needs not in Report.__struct_fields__:
            raise ValueError(f"the section {record.name} needs {record.needs}, which is no part of Report")
    return tuple(ordered)


SECTIONS: Final = in_order(_found())
"""The sections of every page, in their order."""


def page(report: Report) -> str:
    """The HTML document."""
    h = report.header
    title = f"{TITLES.get(h.kind, TITLES['hand'])} of {h.name}, {h.first[:10]} to {h.last[:10]}"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{MORE}</style></head><body>',
        f"<h1>{escape(title)}</h1>",
        *(section.html(report) for section in SECTIONS),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)
