"""The HTML that every report page is made of: text is escaped, a figure has its value, and a page loads nothing."""

import re
from html import unescape

import msgspec
import pytest

from quantd.daemon.views.report.markup import POLICY, document, figure_cell, row


def test_a_page_forbids_itself_to_load_anything_and_shows_its_title_as_text() -> None:
    page = document("<i>5 & 6", "<p>body</p>", "p{color:red}", "<script>1</script>")
    assert POLICY.startswith("default-src 'none';")
    assert f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' in page
    assert "<title>&lt;i&gt;5 &amp; 6</title>" in page
    assert "<style>p{color:red}</style></head><body><p>body</p><script>1</script></body></html>\n" in page


def test_a_heading_and_its_tip_are_text_and_cells_are_markup() -> None:
    assert row("a<b", "<td>1</td>") == "<tr><th>a&lt;b</th><td>1</td></tr>"
    assert row("a", title='"x"') == '<tr><th title="&quot;x&quot;">a</th></tr>'


@pytest.mark.parametrize("value", [None, True, 0.25, 'a "quoted" <name>', "é"])
def test_a_cell_has_its_path_and_the_exact_value_of_the_json(value: float | str | bool | None) -> None:
    cell = figure_cell("house.<x>", value, "<shown>", "no")
    parts = re.fullmatch(r'<td class="no" data-figure="([^"]*)" data-value="([^"]*)">([^<]*)</td>', cell)
    assert parts is not None
    assert [unescape(parts[1]), msgspec.json.decode(unescape(parts[2])), unescape(parts[3])] == [
        "house.<x>", value, "<shown>",
    ]  # fmt: skip
