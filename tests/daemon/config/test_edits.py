"""quantd.daemon.config.edits: keys of a configuration change in place, and everything else of the text stays."""

import tomllib
from datetime import date
from typing import Any

import pytest

from quantd.daemon.config.edits import EditError, edited
from tests.support.checkout import ROOT

TEXT = """\
# of a house
[universe]   # symbols
symbols = [
    "SPY",   # the market
    "QQQ",
]            # two
calendar = "XNYS"   # a "#" is no comment here

[feed]
path = "a#b.parquet"      # the bars
start = 2019-01-02
[[agents]]
name = "one"
policy = "hold"
[[agents]]
name = "two"
policy = "hold"   # as yet
"""


def test_a_value_changes_and_its_comment_stays_in_its_column() -> None:
    text = edited(TEXT, {("feed", "path"): "c.parquet", ("universe", "calendar"): "24/7"})
    assert 'path = "c.parquet"        # the bars' in text
    assert 'calendar = "24/7"   # a "#" is no comment here' in text
    assert [line for line in text.splitlines() if line not in TEXT.splitlines()] == [
        'calendar = "24/7"   # a "#" is no comment here',
        'path = "c.parquet"        # the bars',
    ]


def test_a_value_over_several_lines_is_replaced_as_a_whole() -> None:
    text = edited(TEXT, {("universe", "symbols"): ["A", "B"]})
    assert 'symbols = ["A", "B"]   # two' in text
    assert "SPY" not in text
    many = edited(TEXT, {("universe", "symbols"): [f"SYMBOL{k}" for k in range(40)]})
    assert max(map(len, many.splitlines())) <= 110
    assert tomllib.loads(many)["universe"]["symbols"][-1] == "SYMBOL39"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("feed", "start"), None, {}),
        (("feed", "gone"), None, {}),
        (("none", "at", "all"), None, {}),
        (("feed", "stamps"), "session", {"stamps": "session"}),
        (("broker", "cash"), "1000", {"cash": "1000"}),
        (("agents", 1, "policy"), "models/mine", {"policy": "models/mine"}),
        (("feed", "start"), date(2020, 1, 2), {"start": date(2020, 1, 2)}),
    ],
)
def test_a_key_is_removed_added_or_set_in_any_table(path: tuple[Any, ...], value: object, expected: Any) -> None:
    document = tomllib.loads(edited(TEXT, {path: value}))
    at: Any = document
    for part in path[:-1]:
        at = at.get(part, {}) if isinstance(at, dict) else at[part]
    assert at.get(path[-1]) == expected.get(path[-1])
    assert document["agents"][0] == {"name": "one", "policy": "hold"}


def test_tables_of_instruments_are_appended() -> None:
    text = edited(TEXT, {}, [{"symbol": "BTC-USD", "calendar": "24/7"}, {"symbol": "VOD.L", "calendar": "XLON"}])
    assert text.startswith(TEXT)
    assert [table["symbol"] for table in tomllib.loads(text)["universe"]["instruments"]] == ["BTC-USD", "VOD.L"]


@pytest.mark.parametrize(
    "text", ['feed = { path = "a", start = 2019-01-02 }\n', '[feed.macro]\npath = "b"\n', "feed.macro = 1\n[x]\n"]
)
def test_a_form_that_cannot_be_changed_in_place_is_refused(text: str) -> None:
    with pytest.raises(EditError, match=r"feed\.path"):
        edited(text, {("feed", "path"): "c"})


def test_a_dotted_key_is_changed_where_it_stands() -> None:
    assert edited('feed.path = "a"   # bars\n', {("feed", "path"): "c"}) == 'feed.path = "c"   # bars\n'


@pytest.mark.long
def test_every_key_of_the_bundled_configuration_can_be_set_and_removed() -> None:
    text = (ROOT / "config.toml").read_text()
    for section, table in tomllib.loads(text).items():
        keys = table if isinstance(table, dict) else table[0]
        for key, value in keys.items():
            path: tuple[Any, ...] = (section, key) if isinstance(table, dict) else (section, 0, key)
            again = edited(text, {path: value})
            assert tomllib.loads(again) == tomllib.loads(text), path
            assert again.count("#") == text.count("#"), path
            edited(text, {path: None})
