"""The HTML that every report page is made of: the document, its colours, a row, and the cell of a figure.

A page opens without a network and loads nothing: its content security policy forbids it.
"""

from html import escape
from typing import Final

import msgspec

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Content security policy of a page: only what is inside it."""

LIGHT: Final = "--ink:#1c2430;--dim:#667085;--line:#2f6fde;--fall:#c2483d;--paper:#fbfbfa;--rule:#e4e4e0"
DARK: Final = "--ink:#e6e8ec;--dim:#98a2b3;--line:#7aa7ff;--fall:#f08a7f;--paper:#14171c;\n--rule:#2a2f38"
"""The colours of the light and of the dark style, as CSS variables."""


def document(title: str, body: str, style: str, script: str = "") -> str:
    """An HTML document. The title is escaped; `body` and `script` are HTML, and `style` is CSS."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{style}</style></head><body>{body}{script}</body></html>\n"
    )


def row(name: str, *cells: str, title: str = "") -> str:
    """A row of a table: the heading `name`, the finished `cells`, and `title` as the tooltip of the heading.

    Heading and tooltip are escaped.
    """
    tip = f' title="{escape(title)}"' if title else ""
    return f"<tr><th{tip}>{escape(name)}</th>{''.join(cells)}</tr>"


def figure_cell(path: str, value: float | str | bool | None, text: str, kind: str = "n") -> str:
    """A table cell of the CSS class `kind`, which shows a figure as `text`.

    The cell also contains the figure's path and value in the JSON. A test compares both, so that a page shows what its
    JSON has.
    """
    data = escape(msgspec.json.encode(value).decode())
    return f'<td class="{kind}" data-figure="{escape(path)}" data-value="{data}">{escape(text)}</td>'
