"""The pictures of docs/develop/architecture.md are those of the imports, and can be read."""

import re
from functools import cache
from pathlib import Path

import pytest

from scripts.import_plan import Source, source_of
from scripts.site.import_picture import (
    BOX_HEIGHT,
    BOX_WIDTH,
    DRAWINGS,
    FOLDER,
    WIDTH,
    Drawing,
    boxes,
    lines,
    picture,
    plan,
    reduced,
)
from scripts.words import ROOT

PAGE = FOLDER / "architecture.md"
TOP = {path.name for path in ROOT.iterdir() if path.is_dir()}


@cache
def source() -> Source:
    return source_of(ROOT)


@pytest.mark.long
@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.level)
def test_a_picture_is_that_of_the_imports(drawing: Drawing) -> None:
    text = (FOLDER / drawing.file).read_text(encoding="utf-8")
    assert text == picture(drawing, source()), "run `python -m scripts.site.import_picture`"


@pytest.mark.long
@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.level)
def test_every_arrow_leads_down_and_crosses_no_other_box(drawing: Drawing) -> None:
    places = boxes(drawing, plan(drawing, source()))
    assert all(BOX_WIDTH / 2 <= place.x <= WIDTH - BOX_WIDTH / 2 for place in places.values())
    for line in lines(drawing, plan(drawing, source())):
        assert line.end.y > line.start.y, line
        for name, place in places.items():
            for y in (place.y, place.y + BOX_HEIGHT):
                if name not in line[:2] and line.start.y < y < line.end.y:
                    x = line.start.x + (line.end.x - line.start.x) * (y - line.start.y) / (line.end.y - line.start.y)
                    assert abs(x - place.x) > BOX_WIDTH / 2, (line, name)


@pytest.mark.long
def test_every_room_of_the_engine_and_every_folder_of_a_package_is_shown() -> None:
    packages, engine = DRAWINGS
    rooms = set(engine.groups) | {"engine"}  # the package itself, whose imports are those of all rooms
    assert set(plan(engine, source()).modules) == rooms
    groups = {name for name in plan(packages, source()).modules if (ROOT / name).is_dir()}
    assert groups | {"quantd"} == set(packages.groups)


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    assert reduced([("a", "c"), ("a", "b"), ("b", "c"), ("d", "c")]) == [("a", "b"), ("b", "c"), ("d", "c")]


def test_imports_in_a_circle_have_no_picture() -> None:
    with pytest.raises(ValueError, match="imports itself by way of"):
        reduced([("a", "b"), ("b", "a")])


def test_each_path_that_the_page_names_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    paths = {path for path in re.findall(r"`([a-z_]+/[a-z_/]+(?:\.py)?)`", text) if path.split("/")[0] in TOP}
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not Path(ROOT / path).exists()] == []
