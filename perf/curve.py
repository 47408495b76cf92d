"""CPU time of one object over its size, 1 KiB to 64 MiB: ``make perf-curve``, or ``python -m perf.curve``.

An object costs the same work whatever its size, and each byte costs a copy: the curve is a line, or it has a hump where
two ways of receiving meet. ``before`` (an older checkout) and other libraries take part on request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
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
#: What is done, and how it is called in the tables.
WAYS = {
    "get": "get_many", "read": "get_many_stats", "put": "put_many",
    "one": "get, one by one", "stat": "stat, one by one",
}  # fmt: skip
#: What is done one after the other, and by which verb of a worker.
SINGLE = {"one": "get", "stat": "stat"}
#: A job reads so many bytes, in at least 4 and at most 2,000 objects: more than the caches of most CPUs, and less than
#: the library's pool keeps.
_BYTES = 128 * MIB
_LEAST, _MOST = 4, 2000


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
        clouds_too(server)
        for size in options.sizes:
            _fill(server, size)
            for scheme in options.clouds:
                for verb in options.verbs:
                    points.append(_measure(server, scheme, verb, size, options, contenders))
            shutil.rmtree(server.root / "bucket")
    points.sort(key=lambda point: (options.clouds.index(point.scheme), options.verbs.index(point.verb)))
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


def _count(size: int) -> int:
    """How many objects of a size there are, and a job reads."""
    return max(min(_MOST, _BYTES // size), _LEAST)


def _fill(server: NginxServer, size: int) -> None:
    """The objects of one size. Each is a file of its own: what one of a few files holds stays in the CPU's cache, and
    copying it would cost less than elsewhere."""
    data = os.urandom(size)
    for number in range(_count(size)):
        server.add_object(f"bucket/{size}/{number}", data)


def _measure(
    server: NginxServer, scheme: str, verb: str, size: int, options: argparse.Namespace,
    contenders: Sequence[Contender],
) -> Point:  # fmt: skip
    with ExitStack() as stack:
        target = Target(scheme, server.endpoint, "bucket")
        workers = {each.name: stack.enter_context(Worker(each, target)) for each in contenders}
        prefix = f"put-{size}/" if verb == "put" else f"{size}/"
        job = Job(verb, prefix, _count(size), size, 1 if verb in SINGLE else options.in_flight)
        if verb in SINGLE:
            job = replace(job, verb=SINGLE[verb])
        for worker in workers.values():
            for _ in range(2):  # connections, and memory that is touched for the first time
                worker.do(job)
        point = Point(verb, scheme, size, {name: [] for name in workers})
        for number in range(options.rounds):
            say(f"{point.name}: round {number + 1} of {options.rounds}")
            for name, worker in workers.items() if number % 2 else reversed(workers.items()):
                point.costs[name].append(worker.do(job))
    return point


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
