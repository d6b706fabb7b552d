"""How the parts of a report look: one page of HTML that loads no other file, and Markdown.

Each cell of a figure has the path of the figure in the report's JSON (`data-figure`) and its value there
(`data-value`). A test compares both, so that a page shows what its JSON has. The charts of a page are drawn by the
library uPlot, which is in the page.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

import msgspec

from quantd.daemon.views.report.section_parts import (
    Cell,
    Chart,
    Grid,
    Heading,
    Note,
    Part,
    Plot,
    R,
    Row,
    Section,
    Svg,
    Table,
)

VENDOR: Final = Path(__file__).resolve().parent / "vendor"

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Content security policy of a page: only what is inside it."""

LIGHT: Final = "--ink:#1c2430;--dim:#667085;--line:#2f6fde;--fall:#c2483d;--paper:#fbfbfa;--rule:#e4e4e0"
DARK: Final = "--ink:#e6e8ec;--dim:#98a2b3;--line:#7aa7ff;--fall:#f08a7f;--paper:#14171c;\n--rule:#2a2f38"
"""The colours of the light and of the dark style, as CSS variables."""

SERIES: Final = (
    "--c0:#2f6fde;--c1:#b54708;--c2:#067647;--c3:#6938ef;--c4:#c11574;--c5:#0e7090;--c6:#875c00;--c7:#667085"
)
DARK_SERIES: Final = (
    "--c0:#7aa7ff;--c1:#f7a35c;--c2:#5bd6a0;--c3:#b39dff;--c4:#f58bc5;--c5:#67d3ee;--c6:#e0b64f;--c7:#98a2b3"
)
"""The colours of a chart's lines, as CSS variables, for the light and for the dark style."""

STYLE: Final = (
    f"""
:root{{color-scheme:light dark;{LIGHT};
{SERIES}}}
@media(prefers-color-scheme:dark){{:root{{{DARK};{DARK_SERIES}}}}}
:root.printing{{color-scheme:light;--ink:#000;--dim:#444;--line:#2f6fde;--fall:#c2483d;--paper:#fff;--rule:#ccc;
{SERIES}}}
"""
    """\
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:84rem;margin:1.5rem auto;
padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.4rem;font-weight:600;line-height:1.25}h2{font-size:1.1rem;font-weight:600;margin:2.2rem 0 .5rem}
h3{font-size:.95rem;font-weight:600;margin:1rem 0 .3rem}
nav{font-size:.9rem;margin:.5rem 0}nav a{margin-right:.9rem;color:var(--line);text-decoration:none;display:inline-block}
.wide{overflow-x:auto;max-width:100%}
table{border-collapse:separate;border-spacing:0;font-variant-numeric:tabular-nums;font-size:.9rem}
td,th{text-align:left;padding:.22rem 1.2rem .22rem 0;border-bottom:1px solid var(--rule);vertical-align:top;
overflow-wrap:normal}
thead th{vertical-align:bottom;color:var(--ink);max-width:9rem}
th{font-weight:400;color:var(--dim)}tbody th{position:sticky;left:0;background:var(--paper);min-width:8rem}
.n{text-align:right;white-space:nowrap}thead th.n{text-align:right;white-space:normal;overflow-wrap:break-word}
.own{font-weight:600}.no{color:var(--fall)}
.goal{border-left:2px solid var(--rule);padding-left:.8rem;color:var(--dim);font-style:italic}
p{color:var(--dim);max-width:60rem;margin:.4rem 0}.verdict{color:var(--ink);font-size:1.02rem}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:0 2rem;align-items:start}
.grid>*{min-width:0}
.heat td{text-align:center;padding:.25rem .3rem;min-width:3.6rem;white-space:nowrap;border:1px solid var(--paper)}
.heat th{padding-right:.6rem;min-width:0}.heat thead th{text-align:center}
.chart{width:100%;overflow:hidden}.hash{font-family:ui-monospace,monospace;font-size:.8rem;word-break:break-all}
.head .n{text-align:left;white-space:normal}.bar{min-width:9rem;print-color-adjust:exact}
.full{color:var(--fall);font-weight:600}.near{color:var(--fall)}svg.s{width:10rem;height:1.6rem;display:block}
.u-legend{font-size:.8rem;text-align:left!important}.u-legend th{color:var(--ink);position:static;min-width:0}
.u-legend td,.u-legend th{border:0;padding:.1rem .4rem .1rem 0}.u-legend.u-inline .u-series{margin-right:.6rem}
.u-select{background:rgba(128,128,128,.2)!important}
@media(max-width:600px){body{font-size:14px;margin:.8rem auto;padding:0 .7rem}td,th{padding-right:.8rem}
.heat td{min-width:3rem;font-size:.8rem}tbody th{min-width:6.5rem}}
@media print{html{font-size:11px}body{max-width:none;margin:0;font-size:10px}nav{display:none}
h2,h3{break-after:avoid;margin:.8rem 0 .3rem}table{font-size:8.5px}td,th{padding:.1rem .6rem .1rem 0}
.wide{overflow:visible}tr,.chart{break-inside:avoid}tbody th{position:static;min-width:0}
.heat td{min-width:0;padding:.15rem .2rem;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.grid{grid-template-columns:1fr 1fr}.grid.charts{display:block}thead{display:table-header-group}
.u-legend{font-size:9px}.u-legend .u-series:first-child{display:none}@page{margin:12mm}}
"""
)

SCRIPT: Final = """
(()=>{const charts=JSON.parse(document.getElementById("charts").textContent),root=document.documentElement;
const css=name=>getComputedStyle(root).getPropertyValue(name).trim();
const shown=(value,unit)=>value==null?"":unit==="percent"?(100*value).toFixed(2)+" %":value.toFixed(2);
const tick=(value,unit)=>unit==="percent"?+(100*value).toFixed(6)+" %":+value.toFixed(6)+"";
let plots=[];
function plot(box,chart,width){const rule=css("--rule"),dim=css("--dim");
const axis={stroke:dim,grid:{stroke:rule,width:1},ticks:{stroke:rule,width:1},font:"12px system-ui,sans-serif"};
return new uPlot({width,height:width<500?220:chart.high?320:230,tzDate:ts=>uPlot.tzDate(new Date(ts*1e3),"Etc/UTC"),
scales:{x:{time:true},y:chart.log?{distr:3}:{}},cursor:{drag:{x:true,y:false}},
axes:[{...axis,space:width<500?70:60},{...axis,size:58,values:(u,values)=>values.map(v=>v==null?"":tick(v,chart.unit))}],
series:[{label:"date",value:(u,v)=>v==null?"":new Date(v*1e3).toISOString().slice(0,10)},
...chart.series.map(each=>({label:each.name,
stroke:css(each.color),width:each.wide?2:1.2,dash:each.dash?[6,4]:undefined,points:{show:false},
value:(u,v)=>shown(v,chart.unit)}))]},[chart.x,...chart.series.map(each=>each.values)],box);}
function draw(width){plots.forEach(each=>each.destroy());plots=[];
document.querySelectorAll(".chart").forEach(box=>{const chart=charts[box.dataset.chart];
plots.push(plot(box,chart,width||box.clientWidth));});}
draw();let last=innerWidth;
addEventListener("resize",()=>{if(innerWidth!==last){last=innerWidth;draw();}});
matchMedia("(prefers-color-scheme:dark)").addEventListener("change",()=>draw());
addEventListener("beforeprint",()=>{root.classList.add("printing");draw(680);});
addEventListener("afterprint",()=>{root.classList.remove("printing");draw();});})();
"""

FORMS: Final[Mapping[str, str]] = {
    "fraction": "{:,.2%}", "ratio": "{:.2f}", "samples": "{:,.0f}", "money": "{:,.2f}", "count": "{:,.0f}",
    "bp": "{:.2f}", "p": "{:.3f}", "text": "{}", "signed": "{:+,.2%}", "whole": "{:.0%}", "fine": "{:.4f}",
}  # fmt: skip
"""Unit of a figure -> format string of its value."""

UNDEFINED: Final = "–"
"""Text of a figure without a value."""


def formatted(value: float | str | bool | None, unit: str) -> str:
    """Format a figure in its unit, a key of FORMS. A fraction below 0.1 % has three decimals, not two."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit == "fraction" and isinstance(value, float) and 0.0 < abs(value) < 0.001:
        return f"{value:.3%}"
    if unit == "p" and isinstance(value, float) and value < 0.001:
        return "<0.001"
    return FORMS[unit].format(value)


def html(parts: Iterable[Part]) -> str:
    """Parts as HTML. Texts are escaped; a chart is an empty box, which the script of the page fills."""
    return "".join(map(_html, parts))


def _html(part: Part) -> str:
    match part:
        case Table():
            return _table(part)
        case Note(text, kind):
            return f'<p class="{kind}">{escape(text)}</p>'
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Plot(name, _, title):
            return f'{_titled(title)}<div class="chart" data-chart="{escape(name)}"></div>'
        case Svg(markup):
            return markup
        case Grid(boxes, kind):
            inner = "".join(f"<div>{html(box)}</div>" for box in boxes if box)
            return f'<div class="grid {kind}">{inner}</div>'


def _titled(title: str) -> str:
    return f"<h3>{escape(title)}</h3>" if title else ""


def _table(table: Table) -> str:
    """A table in a box that scrolls sideways."""
    classes = ["", *["n" if table.numbers else ""] * (len(table.head) - 1)]
    names = zip(classes, table.head, strict=False)  # an empty head has no class either
    heads = "".join(f'<th class="{kind}">{escape(name)}</th>' for kind, name in names)
    head = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    body = "".join(map(_row, table.rows))
    box = f'<div class="wide"><table class="{table.kind}">{head}<tbody>{body}</tbody></table></div>'
    return _titled(table.title) + box


def _row(row: Row) -> str:
    tip = f' title="{escape(row.tip)}"' if row.tip else ""
    return f"<tr><th{tip}>{escape(row.name)}</th>{''.join(map(_cell, row.cells))}</tr>"


def _cell(cell: Cell | Svg | str) -> str:
    if isinstance(cell, Svg):
        return f"<td>{cell.markup}</td>"
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    data, style = escape(msgspec.json.encode(cell.value).decode()), f' style="{cell.style}"' if cell.style else ""
    where = f' data-figure="{escape(cell.path)}" data-value="{data}"' if cell.path else ""
    return f'<td class="{cell.kind}"{style}{where}>{escape(cell.shown or formatted(cell.value, cell.unit))}</td>'


def charts_of(parts: Iterable[Part]) -> Iterator[Plot]:
    """The charts among parts, those inside of grids too."""
    for part in parts:
        if isinstance(part, Plot):
            yield part
        elif isinstance(part, Grid):
            for box in part.boxes:
                yield from charts_of(box)


def page(title: str, top: Iterable[Part], sections: Sequence[Section[R]], report: R, *, linked: bool = False) -> str:
    """A report as one page: its title, the parts `top`, with `linked` a link to each section, then the sections."""
    head = f"<h1>{escape(title)}</h1>{html(top)}"
    if linked:
        links = (f'<a href="#{one.name}">{escape(one.link or one.heading(report))}</a>' for one in sections)
        head += f"<nav>{''.join(links)}</nav>"
    contents = [(section, section.content(report)) for section in sections]
    body = [
        f'<section id="{section.name}"><h2>{escape(section.heading(report))}</h2>{html(parts)}</section>'
        for section, parts in contents if parts
    ]  # fmt: skip
    plots = (plot for _, parts in contents for plot in charts_of(parts))
    return document(title, "\n".join((head, *body)), charts={plot.name: plot.chart for plot in plots})


def document(title: str, body: str, charts: Mapping[str, Chart] | None = None) -> str:
    """An HTML document. The title is escaped, `body` is HTML. With `charts` it has their data and uPlot too."""
    script, styles = "", STYLE
    if charts:
        # a name with </script> in the data would end the script element early
        data = msgspec.json.encode(charts).decode().replace("</", "<\\/")
        styles += _vendored_text("uPlot.min.css")
        script = (
            f'<script type="application/json" id="charts">{data}</script>'
            f"<script>/* uPlot, {_licence()} */\n{_library()}</script><script>{SCRIPT}</script>"
            "<noscript><p>The charts need JavaScript; the tables have the same figures.</p></noscript>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{styles}</style></head><body>{body}{script}</body></html>\n"
    )


@cache
def _vendored_text(name: str) -> str:
    return (VENDOR / name).read_text(encoding="utf-8")


def _library() -> str:
    """The script uPlot without its first line, a comment with a web address, which no page may contain."""
    return _vendored_text("uPlot.iife.min.js").partition("\n")[2]


def _licence() -> str:
    """The licence of uPlot, without the `*/` that would end the comment around it."""
    return _vendored_text("LICENSE-uPlot.txt").replace("*/", "")


def text(title: str, notes: Iterable[Note], sections: Sequence[Section[R]], report: R) -> str:
    """A report as Markdown: what is above its sections, then these."""
    lines = [f"# {title}", "", *markdown(notes)]
    for section in sections:
        if parts := markdown(section.content(report)):
            lines += [f"## {section.heading(report)}", "", *parts]
    return "\n".join(lines[:-1]) + "\n"


def markdown(parts: Iterable[Part]) -> list[str]:
    """Parts as lines of Markdown, without charts and drawings."""
    lines: list[str] = []
    for part in parts:
        match part:
            case Table(head, rows, title):
                lines += [f"### {title}", ""] if title else []
                texts = [(row.name, *map(_text, row.cells)) for row in rows]
                width = max([len(head), *map(len, texts)])
                lines += table_lines((*head, *[""] * (width - len(head))), texts) if texts else ["None."]
                lines.append("")
            case Note(text):
                lines += [text, ""]
            case Heading(text):
                lines += [f"### {text}", ""]
            case Grid(boxes):
                for box in boxes:
                    lines += markdown(box)
            case _:
                pass
    return lines


def _text(cell: Cell | Svg | str) -> str:
    if isinstance(cell, Svg):
        return ""
    return cell if isinstance(cell, str) else cell.shown or formatted(cell.value, cell.unit)


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, with `|` in its cells escaped."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), f"|{'---|' * len(head)}", *map(line, rows)]
