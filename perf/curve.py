"""CPU time of one object over its size, 1 KiB to 64 MiB: ``make perf-curve``, or ``python -m perf.curve``.

An object costs the same work whatever its size, and each byte costs a copy: the curve is a line, or it has a hump where
two ways of receiving meet. ``before`` (an older checkout) and other libraries take part on request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perf import report
from perf.compare import DOCS, PLOTTER
from perf.contenders import CONTENDERS, OURS, ROOT, Contender, Worker, python_with
from perf.measure import clouds_too, say
from perf.workers.protocol import Cost, Job, Target
from tests.servers.nginx import NginxServer

KIB, MIB = 1 << 10, 1 << 20
SIZES = [1 << power for power in range(10, 27)]
#: What is done: a verb, how many are in flight, and how it is called in the tables.
WAYS = {"get": "get_many", "read": "get_many_stats", "put": "put_many", "stat": "stat, one by one"}
#: A job has so many bytes in memory at a time, at most; the pool of the library keeps twice as much.
_IN_MEMORY = 256 * MIB
_MOST = 2000


@dataclass(frozen=True)
class Point:
    """One size: for each contender the costs, round by round."""

    verb: str
    scheme: str
    size: int
    costs: dict[str, list[Cost]]

    @property
    def name(self) -> str:
        return f"{self.scheme} {WAYS[self.verb]} {shown(self.size)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the curve; returns the exit code."""
    options = _parser().parse_args(arguments)
    contenders = [CONTENDERS[name] for name in options.contenders]
    if options.before:
        contenders.append(replace(OURS, name="before", checkout=str(options.before.resolve())))
    points = []
    with NginxServer() as server:
        _fill(server, options.sizes)
        for scheme in options.clouds:
            for verb in options.verbs:
                points += _curve(server, scheme, verb, options, contenders)
    say("")
    print(report.machine())
    print(report.plain(table(points)))
    if options.output:
        _write(options.output, points, options.rounds)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in CONTENDERS if CONTENDERS[name].scheme is None]
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every size (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=32, metavar="N", help="at a time (default: %(default)s)")
    parser.add_argument("--sizes", type=lambda text: [_size(part) for part in text.split(",")], default=SIZES,
                        metavar="4K,...", help="default: every power of two from 1K to 64M")  # fmt: skip
    parser.add_argument("--verbs", type=lambda text: text.split(","), default=["get", "read"],
                        metavar="VERB,...", help=f"of {', '.join(WAYS)} (default: get,read)")  # fmt: skip
    parser.add_argument("--clouds", type=lambda text: text.split(","), default=["s3"], metavar="SCHEME,...",
                        help="of s3, az, gs (default: s3)")  # fmt: skip
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=[OURS.name], metavar="NAME,...",
                        help=f"of {'; '.join(names)} (default: ours)")  # fmt: skip
    parser.add_argument("--before", type=Path, metavar="DIR", help="an older checkout takes part, as 'before'")
    parser.add_argument("--output", type=Path, metavar="DIR", nargs="?", const=DOCS,
                        help="write curve.md, curve.json and the plot here (default: docs/performance)")  # fmt: skip
    return parser


def _size(text: str) -> int:
    return int(text.rstrip("KM")) * {"K": KIB, "M": MIB}.get(text[-1], 1)


def shown(size: int) -> str:
    """A size as people write it."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB" if size >= KIB else f"{size} B"


def _count(size: int, in_flight: int) -> int:
    """How many objects of a size there are, and a job reads."""
    return max(min(_MOST, _IN_MEMORY // size), min(in_flight, 4))


def _fill(server: NginxServer, sizes: Sequence[int]) -> None:
    """For each size many names of one file: the server's memory holds it once."""
    for size in sizes:
        server.add_object(f"bucket/{size}/0", os.urandom(min(size, MIB)) * max(1, size // MIB))
        first = server.root / f"bucket/{size}/0"
        for number in range(1, _count(size, 4)):
            (first.parent / str(number)).hardlink_to(first)
    clouds_too(server)


def _curve(
    server: NginxServer, scheme: str, verb: str, options: argparse.Namespace, contenders: Sequence[Contender]
) -> list[Point]:
    points = []
    with ExitStack() as stack:
        target = Target(scheme, server.endpoint, "bucket")
        workers = {each.name: stack.enter_context(Worker(each, target)) for each in contenders}
        for size in options.sizes:
            prefix = "put/" if verb == "put" else f"{size}/"
            count = _count(size, options.in_flight)
            job = Job(verb, prefix, count, size, 1 if verb == "stat" else options.in_flight)
            for worker in workers.values():
                for _ in range(2):  # connections, and memory that is touched for the first time
                    worker.do(job)
            point = Point(verb, scheme, size, {name: [] for name in workers})
            for number in range(options.rounds):
                say(f"{point.name}: round {number + 1} of {options.rounds}")
                for name, worker in workers.items() if number % 2 else reversed(workers.items()):
                    point.costs[name].append(worker.do(job))
            points.append(point)
    return points


def _each(costs: Sequence[Cost], what: str) -> float:
    """The median of a cost, for one object."""
    return statistics.median(getattr(cost, what) / cost.operations for cost in costs)


def table(points: Sequence[Point]) -> report.Table:
    """Microseconds of CPU time (user + system) of one object, and objects a second; with two contenders the ratios of
    the rounds."""
    names = list(points[0].costs)
    head = [""]
    for name in names:
        head += [f"{name}: CPU us", "user", "system", "k/s"]
    head += [f"CPU {names[0]}/{other}" for other in names[1:]] + [f"user {names[0]}/{other}" for other in names[1:]]
    rows = [head]
    for point in points:
        row = [point.name]
        for name in names:
            costs = point.costs[name]
            row += [f"{_each(costs, what) * 1e6:.1f}" for what in ("cpu", "user", "system")]
            row.append(f"{1 / _each(costs, 'wall') / 1e3:.2f}")
        for what in ("cpu", "user"):
            row += [f"{_ratio(point, names[0], other, what):.2f}" for other in names[1:]]
        rows.append(row)
    return rows


def _ratio(point: Point, name: str, other: str, what: str) -> float:
    pairs = zip(point.costs[name], point.costs[other], strict=True)
    return statistics.median(getattr(one, what) / max(getattr(two, what), 1e-9) for one, two in pairs)


def _write(folder: Path, points: Sequence[Point], rounds: int) -> None:
    """The page, what the plot is made from, and the plot where matplotlib can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    page = (
        "# CPU time over the size of an object\n\n"
        "Written by `make perf-curve`; [method.md](method.md) says how it measures.\n\n"
        f"- Machine: {report.machine()}. Servers and clients share it.\n"
        f"- Medians of {rounds} rounds, user and system time of the client's process.\n\n"
        f"![CPU time over size](curve.png)\n\n{report.markdown(table(points))}\n"
    )
    (folder / "curve.md").write_text(page, encoding="utf-8")
    lines: dict[str, Any] = {}
    for point in points:
        for name, costs in point.costs.items():
            line = lines.setdefault(f"{point.scheme} {WAYS[point.verb]}, {name}", [])
            line.append([point.size, _each(costs, "cpu") * 1e6])
    data = folder / "curve.json"
    data.write_text(json.dumps({"machine": report.machine(), "lines": lines}, indent=1) + "\n", encoding="utf-8")
    with contextlib.suppress(subprocess.CalledProcessError):  # no network: the page has the figures
        command = [python_with(PLOTTER), str(ROOT / "perf/plot_curve.py"), str(data), str(folder / "curve.png")]
        subprocess.run(command, check=True)
    print(f"\nwritten to {folder}")


if __name__ == "__main__":
    sys.exit(main())
