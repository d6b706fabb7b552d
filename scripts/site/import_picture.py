"""`python -m scripts.site.import_picture` draws the imports of docs/develop/architecture.md from the source.

docs/develop/packages.svg has the packages, docs/develop/engine.svg the rooms of the engine. An arrow leads from the
importer to the imported. An arrow that follows from others is left out: a importing b and c is drawn as a, b, c where b
imports c. The floors are those of `scripts/import_plan.py`. The middles of the boxes are chosen so that no arrow
crosses another box. The small modules of `src/quantd` below `trading` are left out.
"""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from scripts.import_plan import LEVELS, Plan, Source, floors_of, plan_of, source_of
from scripts.words import ROOT

FOLDER: Final = ROOT / "docs" / "develop"

WIDTH: Final = 760
BOX_WIDTH: Final = 172
BOX_HEIGHT: Final = 44
FLOOR: Final = 78
"""From one floor to the next, in pixels."""
EDGE: Final = 12


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture of one level: its file, its title, and each group that it shows with its words and its place."""

    level: str
    file: str
    title: str
    groups: Mapping[str, tuple[str, float]]
    """Group -> (what it is, the middle of its box as a share of the width)."""


DRAWINGS: Final = (
    Drawing(
        "packages",
        "packages.svg",
        "The packages of quantd, each above those that it imports",
        {
            "quantd": ("names for notebooks", 0.5),
            "research": ("what a run is worth", 0.5),
            "server": ("who operates a run", 0.25),
            "training": ("who trains policies", 0.75),
            "daemon": ("the run", 0.5),
            "models": ("inference of policies", 0.15),
            "strategies": ("what to hold", 0.15),
            "risk": ("what is allowed", 0.5),
            "adapters": ("the outside", 0.85),
            "trading": ("the vocabulary", 0.5),
        },
    ),
    Drawing(
        "engine",
        "engine.svg",
        "The rooms of daemon/engine, each above those that it imports",
        {
            "samples": ("an instant of decisions", 0.75),
            "market": ("bars and actions", 0.12),
            "operator_events": ("commands of people", 0.37),
            "agents": ("capital, proposals", 0.62),
            "rounds": ("one decision", 0.88),
            "venue": ("orders and reports", 0.37),
            "stops": ("stops at the venue", 0.37),
            "safety": ("switch, monitor, alerts", 0.5),
            "planning": ("targets, the gate, orders", 0.5),
            "state": ("what an event changes", 0.5),
            "core": ("the compiled fold", 0.5),
        },
    ),
)


class Point(NamedTuple):
    """A place of a picture in pixels, from its top left corner."""

    x: float
    y: float


class Line(NamedTuple):
    """An arrow from the lower edge of a box to the upper edge of another."""

    importer: str
    imported: str
    start: Point
    end: Point


def plan(drawing: Drawing, source: Source) -> Plan:
    """Return the import plan of the level of a drawing."""
    return plan_of(source, next(level for level in LEVELS if level.name == drawing.level))


def reduced(arrows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the arrows without those that follow from others, sorted. Raises ValueError for arrows in a circle."""
    direct: dict[str, set[str]] = {}
    for importer, imported in arrows:
        direct.setdefault(importer, set()).add(imported)
    below: dict[str, set[str]] = {}

    def reach(name: str, above: tuple[str, ...] = ()) -> set[str]:
        if name in above:
            raise ValueError(f"{name} imports itself by way of {', '.join(above[above.index(name) + 1 :])}")
        if name not in below:
            lower = direct.get(name, set())
            below[name] = lower.union(*(reach(other, (*above, name)) for other in lower))
        return below[name]

    return [
        (importer, imported)
        for importer in sorted(direct)
        for imported in sorted(direct[importer] - set().union(*(reach(other) for other in direct[importer])))
    ]


def boxes(drawing: Drawing, drawn: Plan) -> dict[str, Point]:
    """Return the middle of the upper edge of each box. The highest floor is at the top."""
    floors = floors_of(drawn.level.order)
    used = sorted({floors[name] for name in drawing.groups}, reverse=True)
    return {
        name: Point(round(EDGE + share * (WIDTH - 2 * EDGE)), EDGE + FLOOR * used.index(floors[name]))
        for name, (_, share) in drawing.groups.items()
    }


def lines(drawing: Drawing, drawn: Plan) -> list[Line]:
    """Return the arrows of a picture, between the groups that it shows."""
    places = boxes(drawing, drawn)
    shown = [(importer, imported) for importer, imported in drawn.arrows if {importer, imported} <= places.keys()]
    return [
        Line(importer, imported, Point(places[importer].x, places[importer].y + BOX_HEIGHT), places[imported])
        for importer, imported in reduced(shown)
    ]


def picture(drawing: Drawing, source: Source) -> str:
    """Return the picture as SVG."""
    drawn = plan(drawing, source)
    places = boxes(drawing, drawn)
    height = max(place.y for place in places.values()) + BOX_HEIGHT + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-labelledby="title"><title id="title">{html.escape(drawing.title)}</title>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#5c5c5c"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>',
    ]
    for line in lines(drawing, drawn):
        parts.append(
            f'<path d="M{line.start.x:g} {line.start.y:g}L{line.end.x:g} {line.end.y:g}" stroke="#5c5c5c" '
            'marker-end="url(#tip)"/>'
        )
    for name, place in places.items():
        file = drawn.modules[name][0].path.endswith(f"/{name}.py")
        label = "import quantd" if name == "quantd" else f"{name}.py" if file else f"{name}/"
        parts.append(
            f'<rect x="{place.x - BOX_WIDTH / 2:g}" y="{place.y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" '
            'fill="#eef4f8" stroke="#0b6e99"/>'
            f'<text x="{place.x:g}" y="{place.y + 18:g}" text-anchor="middle" font-weight="bold">{label}</text>'
            f'<text x="{place.x:g}" y="{place.y + 35:g}" text-anchor="middle">'
            f"{html.escape(drawing.groups[name][0])}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    source = source_of(ROOT)
    for drawing in DRAWINGS:
        path = FOLDER / drawing.file
        path.write_text(picture(drawing, source), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(lines(drawing, plan(drawing, source)))} arrows")


if __name__ == "__main__":
    main()
