"""Puts the sections of a report in their order."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from msgspec import Struct


class OrderedSection(Protocol):
    """A section: its name, its place in the order, and the part of the report that it needs."""

    @property
    def name(self) -> str:
        """The section's name, unique in the report."""
        ...

    @property
    def place(self) -> int:
        """The section's position in the order, unique in the report; the lowest comes first."""
        ...

    @property
    def needs(self) -> str:
        """The part of the report that this section shows, "" for none; without the part the section is left out."""
        ...


S = TypeVar("S", bound=OrderedSection)


def in_order(records: Iterable[S], report: type[Struct], title: str) -> tuple[S, ...]:
    """Sections sorted by `place`, their position in the report.

    Raises ValueError for two sections with the same name or place, and for one that needs a field that is missing
    in `report`. `title` names the report in the message.
    """
    ordered = sorted(records, key=lambda record: (record.place, record.name))
    names, places = [record.name for record in ordered], [str(record.place) for record in ordered]
    for quality, values in (("name", names), ("place", places)):
        if duplicates := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"two sections of {title} have the {quality} {', '.join(duplicates)}: change one")
    for record in ordered:
        if record.needs and record.needs not in report.__struct_fields__:
            raise ValueError(f"the section {record.name} needs {record.needs}, which is no part of {report.__name__}")
    return tuple(ordered)
