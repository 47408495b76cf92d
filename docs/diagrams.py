"""Pictures of the architecture, drawn from the code: what imports what, who calls whom in a get.

They are SVG in the colours of the page. Rooms and imports are those that ``tests/unit/test_house.py`` reads. The steps
of a get are those of a real one, from a small server in this process, as the interpreter's profiling hook sees them.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import itertools
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
GROUND = "ground"
Graph = dict[str, set[str]]
_ROW, _BOX, _LETTER = 74, 26, 6.6


@functools.cache
def house() -> Any:
    """The test of the house, for its graph and its rooms."""
    spec = importlib.util.spec_from_file_location("house", ROOT / "tests" / "unit" / "test_house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms() -> str:
    """The packages of s3dlio, and the modules beside them; those that import no package are the ground."""
    packages = {path.name for path in (ROOT / "s3dlio").iterdir() if path.is_dir()}
    graph = _folded(lambda name: name.partition(".")[0])
    graph.pop("__init__", None)
    graph.pop("_version", None)
    graph = {name: others - {"__init__", "_version"} for name, others in graph.items()}
    ground = {name for name in graph if name not in packages and not _below(graph, name) & packages}
    ground -= {"__main__"}
    folded: Graph = {}
    for name, others in graph.items():
        here = GROUND if name in ground else name
        folded.setdefault(here, set()).update((GROUND if other in ground else other) for other in others)
    folded[GROUND].discard(GROUND)
    label = {GROUND: " ".join(sorted(ground))}
    return _layers(folded, label, "Which room of the package imports from which: arrows point down")


def stores() -> str:
    """The parts of ``stores``, and what they stand on."""
    kept = {"net", "memory", "engine"}

    def fold(name: str) -> str:
        top, _, rest = name.partition(".")
        return f"stores.{rest.partition('.')[0] or 'registry'}" if top == "stores" else top if top in kept else ""

    graph = _folded(fold)
    shown = {name for name in graph if name.startswith("stores.")} | {"net", "memory"}
    graph = {name: others & shown for name, others in graph.items() if name in shown}
    return _layers(graph, {}, "The stores: which part imports from which")


def net() -> str:
    """The modules of the HTTP layer."""
    graph = _folded(lambda name: name.removeprefix("net.") if name.startswith("net.") else "")
    return _layers(graph, {}, "The HTTP layer: which module imports from which")


def _folded(room: Callable[[str], str]) -> Graph:
    graph: Graph = {}
    for name, others in house().GRAPH.items():
        if here := room(name):
            graph.setdefault(here, set()).update({there for other in others if (there := room(other))} - {here})
    return graph


def _below(graph: Mapping[str, set[str]], name: str) -> set[str]:
    found: set[str] = set()
    ahead = [name]
    while ahead:
        for other in graph.get(ahead.pop(), set()) - found:
            found.add(other)
            ahead.append(other)
    return found - {name}


def _layers(graph: Graph, labels: Mapping[str, str], title: str) -> str:
    """Boxes in rows, importers above what they import. An import that others imply has no arrow of its own."""
    below = {name: _below(graph, name) for name in graph}
    arrows = {
        name: {other for other in others if not any(other in below[between] for between in others - {other})}
        for name, others in graph.items()
    }
    depth: dict[str, int] = {}
    for name in sorted(graph, key=lambda one: len(below[one])):
        depth[name] = 1 + max((depth[other] for other in arrows[name]), default=-1)
    above: Graph = {name: {one for one in arrows if name in arrows[one]} for name in graph}
    for name in sorted(graph, key=lambda one: -depth[one]):  # who is imported by one row only stands right below it
        if above[name]:
            depth[name] = max(depth[name], min(depth[one] for one in above[name]) - 1)
    ways = _through_rows(arrows, depth)
    rows = _rows(depth, ways)
    centres, width = _places(rows, ways, labels)
    shapes = []
    for way in ways:
        points = [centres[one] for one in way]
        path = f"M{points[0][0]:.0f} {points[0][1] + _BOX / 2:.0f}"
        for (x, y), (to_x, to_y) in itertools.pairwise(points):
            to_y -= _BOX / 2 + 5 if (to_x, to_y) == points[-1] else 0
            middle = (y + to_y) / 2
            path += f"C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}"
        shapes.append(f'<path d="{path}" class="arrow" marker-end="url(#head)"/>')
    for name in graph:
        x, y = centres[name]
        text = labels.get(name, name)
        wide = _wide(text)
        imported = escape(", ".join(sorted(graph[name])) or "nothing of these")
        shapes.append(
            f"<g><title>{escape(name)} imports {imported}</title>"
            f'<rect x="{x - wide / 2:.0f}" y="{y - _BOX / 2:.0f}" width="{wide:.0f}" height="{_BOX}" rx="5"/>'
            f'<text x="{x:.0f}" y="{y + 4:.0f}">{escape(text)}</text></g>'
        )
    return _svg(width, len(rows) * _ROW, title, shapes)


def _through_rows(arrows: Graph, depth: Mapping[str, int]) -> list[list[str]]:
    """Each arrow with a place of its own in every row that it crosses, so that it goes around boxes."""
    return [
        [name, *(f"{name}>{other}@{row}" for row in range(depth[name] - 1, depth[other], -1)), other]
        for name, others in arrows.items()
        for other in sorted(others)
    ]


def _rows(depth: Mapping[str, int], ways: list[list[str]]) -> list[list[str]]:
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in sorted(depth):
        rows[depth[name]].append(name)
    for one in (one for way in ways for one in way[1:-1]):
        rows[int(one.rpartition("@")[2])].append(one)
    return rows[::-1]


def _wide(text: str) -> float:
    return 4 if "@" in text else len(text) * _LETTER + 16


def _places(
    rows: list[list[str]], ways: list[list[str]], labels: Mapping[str, str]
) -> tuple[dict[str, tuple[float, float]], float]:
    """Where each box is: a few rounds in which each row is sorted by the places of its neighbours."""
    above: Graph = {one: set() for row in rows for one in row}
    below: Graph = {one: set() for row in rows for one in row}
    for upper, lower in (pair for way in ways for pair in itertools.pairwise(way)):
        above[lower].add(upper)
        below[upper].add(lower)
    wide = {one: _wide(labels.get(one, one)) for row in rows for one in row}
    width = max(sum(wide[one] + 20 for one in row) for row in rows)
    place: dict[str, float] = {}

    def spread(row: list[str]) -> None:
        x = gap = (width - sum(wide[one] for one in row)) / (len(row) + 1)
        for one in row:
            place[one] = x + wide[one] / 2
            x += wide[one] + gap

    for row in rows:
        spread(row)
    for turn in range(12):
        near = (above, below)[turn % 2]
        for row in rows if turn % 2 == 0 else rows[::-1]:
            row.sort(key=lambda one: _mean([place[other] for other in near[one]], place[one]))
            spread(row)
    return {one: (place[one], _ROW * (row + 0.5)) for row, ones in enumerate(rows) for one in ones}, width


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _svg(width: float, height: float, title: str, shapes: list[str]) -> str:
    style = (
        ".picture rect{fill:var(--md-default-bg-color,white);stroke:currentColor;stroke-opacity:.7}"
        ".picture text{fill:currentColor;font:11px ui-monospace,monospace;text-anchor:middle}"
        ".picture .arrow{fill:none;stroke:currentColor;stroke-opacity:.45}"
        ".picture .line{stroke:currentColor;stroke-opacity:.3;stroke-dasharray:3 3}"
        ".picture .left{text-anchor:start}"
    )
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="currentColor" fill-opacity=".6"/></marker></defs>'
    )
    return (
        f'<svg class="picture" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width * 1.2:.0f}px">'
        f"<style>{style}</style>{head}{''.join(shapes)}</svg>"
    )


class _OneObject(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:
        self.send_response(200)
        for name, value in (("Content-Length", "5"), ("ETag", '"e"'), ("x-amz-request-id", "1")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


def steps_of_a_get() -> list[tuple[str, str, str]]:
    """(caller's room, called room, function) of one small get that finds its connection open."""
    import s3dlio

    steps: list[tuple[str, str, str]] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            here, caller = _room(frame), _room(frame.f_back)
            if here and caller and here != caller:
                steps.append((caller, here, frame.f_code.co_qualname.removesuffix(".__init__").rpartition(".")[2]))
        elif event == "c_call" and (here := _room(frame)) and "socket" in str(getattr(argument, "__self__", "")):
            steps.append((here, "kernel", argument.__name__))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _OneObject)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with s3dlio.Client(
            endpoint_url=f"http://127.0.0.1:{server.server_port}", access_key_id="k", secret_access_key="s", region="r"
        ) as client:
            client.get("s3://bucket/key")
            sys.setprofile(watch)
            try:
                client.get("s3://bucket/key")
            finally:
                sys.setprofile(None)
    finally:
        server.shutdown()
        server.server_close()
    return [step for step, _ in itertools.groupby(steps)]  # a receive is repeated while nothing is there


def _room(frame: FrameType | None) -> str:
    name = frame.f_globals.get("__name__", "") if frame is not None else ""
    return name.removeprefix("s3dlio.").partition(".")[0] if name.startswith("s3dlio.") else ""


def get() -> str:
    """Who calls whom in a get, from the top down."""
    steps = [("caller", "client", "get"), ("client", "verbs", "get"), *steps_of_a_get()]
    names = list(dict.fromkeys(name for step in steps for name in step[:2]))
    names = sorted(names, key=lambda one: _FLOORS.index(one) if one in _FLOORS else len(_FLOORS))
    width, height = 96 * len(names), 34 * len(steps) + 70
    x = {name: 96 * (place + 0.5) for place, name in enumerate(names)}
    shapes = []
    for name in names:
        wide = _wide(name)
        shapes.append(f'<path d="M{x[name]:.0f} 36V{height - 8}" class="line"/>')
        shapes.append(f'<rect x="{x[name] - wide / 2:.0f}" y="10" width="{wide:.0f}" height="{_BOX}" rx="5"/>')
        shapes.append(f'<text x="{x[name]:.0f}" y="27">{name}</text>')
    for number, (here, there, function) in enumerate(steps):
        y = 66 + 34 * number
        side = 1 if x[there] > x[here] else -1
        shapes.append(
            f'<path d="M{x[here]:.0f} {y}H{x[there] - 5 * side:.0f}" class="arrow" marker-end="url(#head)"/>'
            f'<text x="{(x[here] + x[there]) / 2:.0f}" y="{y - 5}">{escape(function)}</text>'
        )
    return _svg(width, height, "Who calls whom in a small get whose connection is open", shapes)


#: From the caller down, as a picture has them from left to right.
_FLOORS = [
    *("caller", "client", "verbs", "engine", "stores", "config"),
    *("net", "memory", "kernel", "types", "errors", "uri"),
]

PICTURES: dict[str, Callable[[], str]] = {"rooms": rooms, "stores": stores, "net": net, "get": get}
