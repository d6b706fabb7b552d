"""`python -m scripts.site.power_table` writes the table and the picture of docs/learn/power.md from the findings.

The findings are benchmarks/power/findings.jsonl. Of the cells of one learner, plan, signal and cost the last one in the
file counts: an earlier plan of a learner has other digests. The page has the table between two comments, and the
picture is docs/learn/power.svg: each seed's share by the strength of the signal, and the median of each cell as a line.
Plants of benchmarks/power/unseen.toml, noise.toml and later.toml have rows of their own, as has the plan columns.toml;
they are not in the picture.
"""

import html
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from quantd.training.power.findings import SEEDS, Finding, read_findings, verdict
from scripts.site.pages import ROOT

FINDINGS: Final = ROOT / "benchmarks" / "power" / "findings.jsonl"
PLANTS: Final = ROOT / "benchmarks" / "power" / "unseen.toml"
NOISE: Final = ROOT / "benchmarks" / "power" / "noise.toml"
AGAIN: Final = ROOT / "benchmarks" / "power" / "later.toml"
PAGE: Final = ROOT / "docs" / "learn" / "power.md"
PICTURE: Final = ROOT / "docs" / "learn" / "power.svg"

BEGIN: Final = "<!-- table of findings: python -m scripts.site.power_table -->"
END: Final = "<!-- end of the table -->"

UNSEEN: Final = "unseen"
FRESH: Final = "fresh"
LATER: Final = "later"
COLUMNS: Final = "columns"

MARKETS: Final = {
    "": "five stocks, 2017-18",
    "us20": "20 stocks, 2012-21",
    COLUMNS: "five stocks, 2017-18, features of columns.toml",
    UNSEEN: "five stocks, 2017-18, plant of unseen.toml",
    FRESH: "five stocks, 2017-18, noise of noise.toml",
    LATER: "five stocks, 2017-18, plant of later.toml",
}
"""Market of a cell -> text of its row. A market is the end of a plan's name, a plan, or a file of plants."""

COLOURS: Final = ("#0b6e99", "#b3541e", "#3f7d20", "#7a3e9d", "#a61e4d", "#5c5c5c")

WIDTH, HEIGHT, EDGE = 640, 320, 48


class Cell(NamedTuple):
    """The findings of one learner, plan, signal and cost."""

    learner: str
    market: str
    seeds: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        """One of them: what they have in common."""
        return self.seeds[0]

    @property
    def shares(self) -> list[float]:
        """The shares of all seeds, where the reference is above equal weight."""
        return [seed.share for seed in self.seeds if seed.share is not None]


def cells(findings: Iterable[Finding]) -> list[Cell]:
    """Return the cells by market, learner, cost and strength; the newest of each."""
    by_digest: dict[str, list[Finding]] = {}
    for finding in findings:
        by_digest.setdefault(finding.cell, []).append(finding)
    newest: dict[tuple[str, str, str, float, float], Cell] = {}
    plants = {
        name: market
        for path, market in ((PLANTS, UNSEEN), (NOISE, FRESH), (AGAIN, LATER))
        for name in tomllib.loads(path.read_text(encoding="utf-8"))
    }
    for seeds in by_digest.values():
        one = seeds[0]
        market = COLUMNS if one.plan == COLUMNS else "us20" if one.plan.endswith("-us20") else plants.get(one.plant, "")
        newest[one.learner, market, one.shape, one.ic, one.cost_bp] = Cell(one.learner, market, tuple(seeds))
    keys = sorted(newest, key=lambda key: (list(MARKETS).index(key[1]), key[0], key[4], -key[3], key[2]))
    return [newest[key] for key in keys]


def rows(listed: Sequence[Cell]) -> str:
    """Return the table of the page."""
    lines = [
        "| learner | test part | signal | cost bp | equal weight | reference | seeds | verdict | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in listed:
        one = cell.first
        lines.append(
            f"| {cell.learner} | {MARKETS[cell.market]} | {one.shape} {one.ic:g} | {one.cost_bp:g} "
            f"| {one.equal_weight:+.3f} | {one.reference:+.3f} | {len(cell.seeds)} | {_verdict(cell)} "
            f"| {median(seed.cpu_s for seed in cell.seeds):.0f} |"
        )
    return "\n".join(lines)


def _verdict(cell: Cell) -> str:
    """Return the verdict of a cell; with fewer seeds than a verdict needs, the shares that there are."""
    text = verdict(cell.seeds)
    if len(cell.seeds) < SEEDS and cell.shares:
        text += f"; shares {', '.join(f'{share:.0%}' for share in sorted(cell.shares))}"
    return text


def picture(listed: Sequence[Cell]) -> str:
    """Return an SVG: share by strength, a colour for each learner, a dot for each seed."""
    with_share = [cell for cell in listed if cell.shares and cell.market not in (COLUMNS, UNSEEN, FRESH, LATER)]
    strengths = sorted({cell.first.ic for cell in with_share})
    series = list(dict.fromkeys((cell.learner, cell.market, cell.first.cost_bp) for cell in with_share))
    top = max(1.0, *(max(cell.shares) for cell in with_share))
    low = min(0.0, *(min(cell.shares) for cell in with_share))

    def across(ic: float) -> float:
        return EDGE + (strengths.index(ic) + 0.5) * (WIDTH - EDGE - 200) / len(strengths)

    def up(share: float) -> float:
        return EDGE / 2 + (top - share) / (top - low) * (HEIGHT - 1.5 * EDGE)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img" aria-labelledby="title"><title id="title">Share of what the reference rule earns '
        "above equal weight, by the strength of the signal</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        parts.append(
            f'<path d="M{EDGE} {up(share):.1f}H{WIDTH - 200}" stroke="#d0d0d0"/>'
            f'<text x="{EDGE - 6}" y="{up(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
    for ic in strengths:
        parts.append(f'<text x="{across(ic):.1f}" y="{HEIGHT - 12}" text-anchor="middle">IC {ic:g}</text>')
    for number, key in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        series_cells = sorted(
            (cell for cell in with_share if (cell.learner, cell.market, cell.first.cost_bp) == key),
            key=lambda cell: cell.first.ic,
        )
        shift = (number - (len(series) - 1) / 2) * 7.0
        points = [(across(cell.first.ic) + shift, up(median(cell.shares))) for cell in series_cells]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for cell, (x, _) in zip(series_cells, points, strict=True):
            parts += [f'<circle cx="{x:.1f}" cy="{up(share):.1f}" r="3" fill="{colour}"/>' for share in cell.shares]
        learner, market, cost = key
        label = html.escape(f"{learner}, {MARKETS[market].partition(',')[0]}, {cost:g} bp")
        height = EDGE / 2 + 18 * number
        parts.append(
            f'<rect x="{WIDTH - 190}" y="{height:.0f}" width="10" height="10" fill="{colour}"/>'
            f'<text x="{WIDTH - 174}" y="{height + 10:.0f}">{label}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def written(page: str, table: str, opening: str = BEGIN) -> str:
    """Return the page with the table between its two comments. Raises ValueError where it lacks them."""
    before, begin, remainder = page.partition(opening)
    _, end, after = remainder.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name}: write {opening} and {END} where the table belongs")
    return f"{before}{opening}\n\n{table}\n\n{END}{after}"


def main(findings: Path = FINDINGS) -> None:
    listed = cells(read_findings(findings))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), rows(listed)), encoding="utf-8")
    PICTURE.write_text(picture(listed), encoding="utf-8")
    print(f"{len(listed)} cells: {PAGE.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
