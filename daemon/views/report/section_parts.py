"""The parts of which every report is made, as data: figures, tables, curves and notes, in sections.

A section says what it shows. How a part looks as HTML or as Markdown is in `rendering`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from quantd.trading.display_text import instant_text

R = TypeVar("R")


class Cell(NamedTuple):
    """A figure in a table, with its `path` and `value` in the JSON of the report.

    The path is empty where the JSON leaves the figure out, such as a count of 0.

    `unit` is a key of `rendering.FORMS`, and `kind` a CSS class. `shown` is the text where the unit does not give it,
    and `style` is CSS.
    """

    path: str
    value: float | str | bool | None
    unit: str = "text"
    kind: str = "n"
    shown: str = ""
    style: str = ""


class Svg(NamedTuple):
    """A drawing as finished markup, which has no text of a user."""

    markup: str


class Row(NamedTuple):
    """A row of a table: its heading with a tooltip, and its cells; a text is no figure."""

    name: str
    cells: Sequence[Cell | Svg | str]
    tip: str = ""


class Table(NamedTuple):
    """A table. An empty `head` adds no heading row. With `numbers`, all headings but the first stand at the right."""

    head: Sequence[str]
    rows: Sequence[Row]
    title: str = ""
    kind: str = ""
    numbers: bool = True


class Note(NamedTuple):
    """A paragraph of the CSS class `kind`."""

    text: str
    kind: str = ""


class Heading(NamedTuple):
    """A heading inside a section."""

    text: str


class Series(Struct, frozen=True):
    """One line of a chart. `values` has one value for each `x` of the chart. `color` is a CSS variable of the style.

    `wide` draws a thick line, `dash` a dashed one.
    """

    name: str
    values: Sequence[float | None]
    color: str
    wide: bool = False
    dash: bool = False


class Chart(Struct, frozen=True):
    """A chart over time; `x` are the times of the values, in seconds since 1970.

    `unit` is "percent" or "ratio". `log` makes the vertical axis logarithmic, `high` the chart taller.
    """

    x: Sequence[float]
    series: tuple[Series, ...]
    unit: str
    log: bool = False
    high: bool = False


class Plot(NamedTuple):
    """A chart with its name, which is unique in the report."""

    name: str
    chart: Chart
    title: str = ""


class Grid(NamedTuple):
    """Boxes side by side where the page is wide enough. `kind` is a CSS class."""

    boxes: Sequence[Sequence["Part"]]
    kind: str = ""


Part = Table | Note | Heading | Plot | Svg | Grid


@dataclass(frozen=True, slots=True)
class Section(Generic[R]):
    """One section of a report. A module with a record `SECTION` in the folder of the report's sections adds it.

    `name` is the anchor on the page. Sections with a lower `place` come first. `title` is a text, or a function where
    it depends on the report; `link` is a shorter one. `parts` makes what the section shows; without a part it is left
    out. `needs` names the field of the report that the section shows; where this field is empty, it shows the text
    `missing`, or nothing. `about` describes the section in docs/research/reports.md.
    """

    name: str
    place: int
    title: str | Callable[[R], str]
    parts: Callable[[R], Iterable[Part]]
    link: str = ""
    needs: str = ""
    missing: str = ""
    about: str = ""

    def heading(self, report: R) -> str:
        """The title of the section in this report."""
        return self.title if isinstance(self.title, str) else self.title(report)

    def content(self, report: R) -> list[Part]:
        """The parts of the section in this report, its text `missing` where the report has nothing for it."""
        if self.needs and not getattr(report, self.needs):
            return [Note(self.missing)] if self.missing else []
        return list(self.parts(report))


def in_order(records: Iterable[Section[R]], report: type[Struct], title: str) -> tuple[Section[R], ...]:
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


def cells(at: str, one: Struct, /, **units: str) -> list[Cell]:
    """Figures of the fields of `one` in `units` (name of the field -> unit). `at` is the path of `one` in the JSON."""
    return [Cell(f"{at}.{name}" if at else name, getattr(one, name), unit) for name, unit in units.items()]


def curve(
    name: str, points: Sequence[tuple[int, float]], unit: str, color: str = "--line", scale: float = 1.0
) -> list[Part]:
    """A chart of (ns UTC, value), its values multiplied by `scale`; a sentence for fewer than two points."""
    if len(points) < 2:
        return [Note("too few samples to draw")]
    line = Series(name, [scale * value for _, value in points], color, wide=True)
    return [Plot(name, Chart([ts / 1e9 for ts, _ in points], (line,), unit))]


def bar(value: float, ends: Sequence[float], color: str = "var(--line)") -> str:
    """CSS of a bar from 0 to `value` behind the text of a cell; the axis has the values `ends` and 0."""
    low, high = min(0.0, *ends), max(0.0, *ends)
    first, last = (100.0 * (end - low) / ((high - low) or 1.0) for end in sorted((0.0, value)))
    tint = f"color-mix(in srgb,{color} 40%,transparent)"
    return f"background:linear-gradient(90deg,transparent {first:.1f}%,{tint} 0 {last:.1f}%,transparent 0)"


def day(ts: int) -> str:
    """The UTC date of an instant (ns), as text."""
    return instant_text(ts)[:10]
