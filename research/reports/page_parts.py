"""Parts of a report's page: tables, cells with their path in the JSON, the style, and charts by the library uPlot."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.daemon.views.report.markup import DARK, LIGHT, document, figure_cell
from quantd.research.metrics.metric import Unit
from quantd.research.reports.report_contents import Row

VENDOR: Final = Path(__file__).resolve().parent / "vendor"

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
    "bp": "{:.2f}", "p": "{:.3f}", "text": "{}", "signed": "{:+,.2%}",
}  # fmt: skip
"""Unit of a figure -> format string of its value."""

UNDEFINED: Final = "–"
"""Text of a figure without a value."""


class Series(Struct, frozen=True):
    """One line of a chart. `values` has one value for each `x` of the chart. `color` is a CSS variable of the style.

    `wide` draws a thick line, `dash` a dashed one.
    """

    name: str
    values: Row
    color: str
    wide: bool = False
    dash: bool = False


class Chart(Struct, frozen=True):
    """A chart over time; `x` are the times of the values, in seconds since 1970.

    `unit` is "percent" or "ratio". `log` makes the vertical axis logarithmic, `high` the chart taller.
    """

    x: tuple[float, ...]
    series: tuple[Series, ...]
    unit: str
    log: bool = False
    high: bool = False


def formatted(value: float | str | bool | None, unit: Unit | str) -> str:
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


def figure(path: str, value: float | str | bool | None, unit: Unit | str, kind: str = "n") -> str:
    """A table cell of the CSS class `kind` with a figure, its `path` in the report's JSON, and its value there."""
    return figure_cell(path, value, formatted(value, unit), kind)


def table(head: Sequence[str], rows: Iterable[str], kind: str = "", numbers: bool = True) -> str:
    """A table of the CSS class `kind` in a box that scrolls.

    `rows` are finished HTML. An empty `head` adds no heading row. The first column contains names. With `numbers`, the
    headings of the other columns are aligned to the right, like their figures.
    """
    classes = ["", *["n" if numbers else ""] * (len(head) - 1)]
    # not strict: `classes` has one entry more than an empty head
    cells = "".join(f'<th class="{style}">{escape(name)}</th>' for style, name in zip(classes, head, strict=False))
    head_html = f"<thead><tr>{cells}</tr></thead>" if head else ""
    return f'<div class="wide"><table class="{kind}">{head_html}<tbody>{"".join(rows)}</tbody></table></div>'


def text_cell(text: str, kind: str = "") -> str:
    """Return a table cell of the CSS class `kind` with a text, which is escaped here."""
    return f'<td class="{kind}">{escape(text)}</td>'


def section(name: str, title: str, *content: str) -> str:
    """Return a section of the page with the anchor `name`. `title` is escaped here; `content` is finished HTML."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(content)}</section>'


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of the CSS class `kind` with a text, which is escaped here."""
    return f'<p class="{kind}">{escape(text)}</p>'


def placed(name: str) -> str:
    """Return the empty box into which the page's script draws the chart `name`."""
    return f'<div class="chart" data-chart="{escape(name)}"></div>'


def chart_document(title: str, body: str, charts: Mapping[str, Chart]) -> str:
    """Return the HTML document with its style and `body`. With charts it also has their data and the library uPlot."""
    script = ""
    style = STYLE
    if charts:
        # a name with </script> in the data would end the script element early
        data = msgspec.json.encode(charts).decode().replace("</", "<\\/")
        style += _vendored_text("uPlot.min.css")
        script = (
            f'<script type="application/json" id="charts">{data}</script>'
            f"<script>/* uPlot, {_licence()} */\n{_library()}</script><script>{SCRIPT}</script>"
            "<noscript><p>The charts need JavaScript; the tables have the same figures.</p></noscript>"
        )
    return document(title, body, style, script)


@cache
def _vendored_text(name: str) -> str:
    return (VENDOR / name).read_text(encoding="utf-8")


def _library() -> str:
    """The script uPlot without its first line, a comment with a web address, which no page may contain."""
    return _vendored_text("uPlot.iife.min.js").partition("\n")[2]


def _licence() -> str:
    """The licence of uPlot, without the `*/` that would end the comment around it."""
    return _vendored_text("LICENSE-uPlot.txt").replace("*/", "")
