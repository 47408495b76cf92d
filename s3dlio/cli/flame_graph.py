"""Flame graphs: stacks and how long each was seen, drawn as one SVG file that needs nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from s3dlio.cli.sampling import WAITING, Stack

_WIDTH, _ROW, _TOP, _MARGIN = 1200, 17, 46, 10
_LETTER = 6.6  # pixels of a letter of the font, about
#: Boxes that are narrower are left out, and what is above them with them.
_NARROWEST = 0.3


@dataclass
class _Box:
    """A function within its callers: for how long, and what it called."""

    seconds: float = 0.0
    called: dict[str, _Box] = field(default_factory=dict)

    def depth(self) -> int:
        return 1 + max((box.depth() for box in self.called.values()), default=0)


def flame_graph(seconds: Mapping[Stack, float], title: str) -> str:
    """Draw stacks as boxes: callers below, what they call above them, as wide as the time in which it was seen.

    Args:
        seconds: by stack, whose first name is that of a thread.
        title: a line above.

    Returns:
        The text of an SVG file, without scripts and references.
    """
    root = _Box()
    for stack, length in seconds.items():
        box = root
        box.seconds += length
        for name in stack:
            box = box.called.setdefault(name, _Box())
            box.seconds += length
    height = _TOP + root.depth() * _ROW + _MARGIN
    scale = (_WIDTH - 2 * _MARGIN) / root.seconds if root.seconds else 0.0
    boxes = "\n".join(_boxes(root, "all threads", _MARGIN, height - _MARGIN - _ROW, scale, root.seconds))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
        ' font-family="monospace" font-size="11">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fdfdf8"/>\n'
        f'<text x="{_MARGIN}" y="18" font-size="13">{escape(title)}</text>\n'
        f'<text x="{_MARGIN}" y="34" fill="#555">width: time on the clock, by thread; grey: waiting; '
        f"point at a box to read all of it</text>\n{boxes}\n</svg>\n"
    )


def _boxes(box: _Box, name: str, x: float, y: int, scale: float, whole: float) -> Iterator[str]:
    width = box.seconds * scale
    if width < _NARROWEST:
        return
    share = f"{box.seconds:.3f} s, {box.seconds / whole:.1%}"
    letters = int((width - 4) / _LETTER)
    shown = name if len(name) <= letters else name.rpartition(".")[2][:letters]
    text = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(shown)}</text>' if letters > 2 else ""
    yield (
        f"<g><title>{escape(name)}: {share}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 1}" fill="{_colour(name)}"/>{text}</g>'
    )
    for called, above in sorted(box.called.items()):
        yield from _boxes(above, called, x, y - _ROW, scale, whole)
        x += above.seconds * scale


def _colour(name: str) -> str:
    """Grey where a thread waits; of this package one hue, of all else another; the same name always the same."""
    if name == WAITING:
        return "#c8c8c8"
    shade = zlib.crc32(name.encode())
    hue = 20 + shade % 25 if name.startswith("s3dlio.") else 190 + shade % 30
    return f"hsl({hue},{60 + shade // 64 % 25}%,{66 + shade // 4096 % 12}%)"
