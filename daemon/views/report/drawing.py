"""A line chart as inline SVG, for notebooks and studies: it needs no script."""

from collections.abc import Sequence
from typing import Final

import numpy as np

POINTS: Final = 1_200
"""About the maximum number of points of a line; more are thinned evenly."""

WIDTH: Final = 960
HEIGHT: Final = 240
"""Size of a chart in units of its SVG."""


def chart(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], labels: Sequence[str], color: str) -> str:
    """A line chart of `values` as inline SVG, with minimum, maximum, and the first and last of `labels`."""
    step = max(1, len(values) // POINTS)
    drawn = np.append(values[:-1:step], values[-1])
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0  # of a constant curve
    x = np.linspace(0.0, WIDTH, len(drawn))
    # 10 above the line and 30 below it are for the texts
    y = 10.0 + (HEIGHT - 40.0) * (1.0 - (drawn - low) / span)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    font = 'font-size="13" fill="var(--dim)"'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><polyline points="{points}" fill="none" stroke="{color}" '
        f'stroke-width="1.6" vector-effect="non-scaling-stroke"/><text x="2" y="20" {font}>{high:,.2f}</text>'
        f'<text x="2" y="{HEIGHT - 30}" {font}>{low:,.2f}</text><text x="2" y="{HEIGHT - 4}" {font}>{labels[0]}</text>'
        f'<text x="{WIDTH - 2}" y="{HEIGHT - 4}" text-anchor="end" {font}>{labels[-1]}</text></svg>'
    )
