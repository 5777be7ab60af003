# SPDX-License-Identifier: GPL-2.0
"""Bars with their spread, as an SVG file of its own."""

from html import escape
from statistics import median

WIDTH, LEFT, RIGHT = 760, 250, 110
BAR, GAP, TITLE = 18, 6, 34


def plot(path, charts):
    """Writes `charts`: (title, [(name, samples in seconds, how it is to be said)]) one under the other."""
    parts, top = [], 10
    for title, bars in charts:
        parts.append(f'<text x="10" y="{top + 18}" font-weight="bold">{escape(title)}</text>')
        top += TITLE
        scale = (WIDTH - LEFT - RIGHT) / max(max(samples) for _, samples, _ in bars)
        for name, samples, said in bars:
            middle = top + BAR / 2
            low, high = (LEFT + scale * end for end in (min(samples), max(samples)))
            parts.append(
                f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{LEFT}" y="{top}" width="{scale * median(samples):.1f}" height="{BAR}" fill="#5b8db8"/>'
                f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"'
                ' stroke="#222" fill="none"/>'
                f'<text x="{high + 8:.1f}" y="{middle + 4}">{escape(said)}</text>')
            top += BAR + GAP
        top += 14
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" font-family="sans-serif"'
        f' font-size="12"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')
