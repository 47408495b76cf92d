"""What every page has: its frame, its style for light and dark, tables, legends. Nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from s3dlio._version import __version__

#: Colours of operations, in the order of their rows; the style gives each one for light and one for dark.
COLOURS = tuple(f"var(--s{number})" for number in range(8))
WARM = "var(--warn)"

_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def page(title: str, body: Iterable[str]) -> str:
    """A whole page."""
    style = resources.files("s3dlio.oplog.analysis").joinpath("page.css").read_text("utf-8")
    made = f"Made by s3-cli analyze, s3dlio {__version__}. The same figures as JSON: s3-cli analyze --json"
    content = "".join(body).replace(" %", "\u00a0%")  # a figure stays with its unit
    return f"{_HEAD}<title>{escape(title)}</title><style>{style}</style></head>" + (
        f"<body><main>{content}<footer>{made}</footer></main></body></html>\n"
    )


def figure(title: str, keys: Sequence[tuple[str, str, str]], picture: str) -> str:
    """A plot with its title and a legend: text, colour and the kind of line (empty: an area) of each entry."""
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
