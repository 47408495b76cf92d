"""What every page has: its frame, its style for light and dark, tables, legends. Nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from s3dlio._version import __version__
from s3dlio.pages.svg import Plot

#: An entry of a legend: its text, colour and the kind of line (empty: an area).
Key = tuple[str, str, str]

#: Colours of operations, in the order of their rows; the style gives each one for light and one for dark.
COLOURS = tuple(f"var(--s{number})" for number in range(8))
WARM = "var(--warn)"

_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def page(title: str, made: str, body: Iterable[str]) -> str:
    """A whole page; ``made`` says by what."""
    content = "".join(body).replace(" %", "\u00a0%")  # a figure stays with its unit
    return f"{_HEAD}<title>{escape(title)}</title><style>{_style('plot')}{_style('page')}</style></head>" + (
        f"<body><main>{content}<footer>{escape(made)}. s3dlio {__version__}</footer></main></body></html>\n"
    )


def picture(plots: Sequence[tuple[str, Sequence[Key], Plot]]) -> str:
    """Plots below each other, with titles and legends, as one SVG that needs nothing else."""
    parts, below = [], 0
    for title, keys, plot in plots:
        parts.append(f'<text class="name" x="16" y="{below + 24}" font-weight="640">{escape(title)}</text>')
        left = 32 + 7.5 * len(title)
        for text, colour, _ in keys:
            parts.append(f'<rect x="{left:.1f}" y="{below + 14}" width="11" height="11" rx="3" fill="{colour}"/>'
                         f'<text class="tick" x="{left + 17:.1f}" y="{below + 24}">{escape(text)}</text>')  # fmt: skip
            left += 38 + 6.6 * len(text)
        parts.append(plot.render(f'x="16" y="{below + 36}" width="{plot.width}" height="{plot.height}"'))
        below += plot.height + 56
    width = 32 + max((plot.width for _, _, plot in plots), default=0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {below}" width="{width}" height="{below}" '
        f'font-family="system-ui,sans-serif" font-size="12"><style>{_style("plot")}</style>'
        f'<rect width="{width}" height="{below}" fill="var(--card)"/>{"".join(parts)}</svg>\n'
    )


def _style(name: str) -> str:
    return resources.files("s3dlio.pages").joinpath(f"{name}.css").read_text("utf-8")


def figure(title: str, keys: Sequence[Key], picture: str) -> str:
    """A plot with its title and a legend."""
    legend = "".join(
        f'<span class="key {kind}" style="--c:{colour}">{escape(text)}</span>' for text, colour, kind in keys
    )
    return f"<figure><figcaption><b>{escape(title)}</b>{legend}</figcaption>{picture}</figure>"


def tiles(entries: Iterable[tuple[str, str, bool]]) -> str:
    """Large figures: each with its words, and whether it is bad. The unit is what follows a space."""
    made = []
    for value, words, is_bad in entries:
        number, _, unit = value.partition(" ")
        small = f"<small>{escape(unit)}</small>" if unit else ""
        made.append(
            f"<div{' class=bad' if is_bad else ''}><b>{escape(number)}{small}</b><span>{escape(words)}</span></div>"
        )
    return f'<div class="tiles">{"".join(made)}</div>'


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], left: int = 1, wide: int = -1) -> str:
    """A table: the first ``left`` columns are texts, and column ``wide`` may take several lines.

    Args:
        head: names of columns.
        rows: each with its class.
        left, wide: as above.
    """

    def kind(place: int) -> str:
        found = (["text"] if place < left or place == wide else []) + (["wide"] if place == wide else [])
        return f' class="{" ".join(found)}"' if found else ""

    names = "".join(f"<th{kind(place)}>{escape(name)}</th>" for place, name in enumerate(head))
    lines = []
    for group, values in rows:
        cells = "".join(f"<td{kind(place)}>{_cell(value)}</td>" for place, value in enumerate(values))
        lines.append(f'<tr class="{group}">{cells}</tr>')
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cell(value: str) -> str:
    """A value; a verdict has a colour."""
    return f'<span class="{value}">{value}</span>' if value in ("slower", "faster", "same") else escape(value)
