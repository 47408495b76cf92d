"""Rates over the CPUs of the client, and what more CPUs would give: ``make perf-scale``, or ``python -m perf.scale``.

Client and server have CPUs of their own: the server the last half of those that there are, the client 1, 2, 4, 8 and 16
of the others, as far as they go. Where there is one for each, as with two CPUs, nothing is shown of what several would
give, and a model predicts it from what one gave (:mod:`perf.scale_model`); a server that is held back to a rate for
each connection shows the shape. ``--pack DIR`` writes all that a machine without a network needs; there, ``DIR/run``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from perf import report, scale_model
from perf.compare import DOCS
from perf.contenders import CONTENDERS, PACKED, ContenderError, Worker
from perf.measure import say
from perf.workers.protocol import Cost, Job, Target
from tests.servers.certs import make_authority
from tests.servers.nginx import NginxServer

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
WIDTHS = (1, 2, 4, 8, 16)
#: How many objects there are of each size; the one of 1 GiB is a file of its own.
OBJECTS = {64 * MIB: 16, 16 * MIB: 32, 128 * KIB: 2_000, 4 * KIB: 4_000, GIB: 1}
#: Bytes a second that a connection of the server is held back to.
HELD = 24 * MIB


@dataclass(frozen=True)
class Row:
    """One job, over the client's CPUs."""

    name: str
    job: Job
    contenders: tuple[str, ...]
    tls: bool = False

    @property
    def by_bytes(self) -> bool:
        return self.job.size >= 128 * KIB


def _get(size: int, in_flight: int, by: str = "") -> Job:
    return Job("get", f"{size}/", OBJECTS[size], size, in_flight, by)


_ALL = ("s3dlio", "reference", "obstore", "s3torch", "threads")
_PUT = ("s3dlio", "reference", "obstore", "threads")
ROWS = [
    Row("GET 64 MiB, 16 in flight", _get(64 * MIB, 16), _ALL),
    Row("GET one object of 1 GiB", _get(GIB, 1), _ALL),
    Row("PUT 8 MiB, 32 in flight", Job("put", "put/", 64, 8 * MIB, 32), _PUT),
    Row("download 16 of 64 MiB", Job("download", "tree", 16, 64 * MIB, 16), ("s3dlio", "reference")),
    Row("GET 128 KiB, 32 in flight", _get(128 * KIB, 32), _ALL),
    Row("GET 4 KiB, 64 in flight", _get(4 * KIB, 64), _ALL),
    Row("PUT 4 KiB, 32 in flight", Job("put", "put/", 2_000, 4 * KIB, 32), _PUT),
    Row("TLS: GET 64 MiB, 16 in flight", _get(64 * MIB, 16), _ALL[:3], tls=True),
    Row("TLS: PUT 8 MiB, 32 in flight", Job("put", "put/", 64, 8 * MIB, 32), _ALL[:3], tls=True),
    Row("a process each: GET 64 MiB", _get(64 * MIB, 16, "procs"), ("s3dlio",)),
    Row("a process each: GET 128 KiB", _get(128 * KIB, 32, "procs"), ("s3dlio",)),
    Row("a process each: GET 4 KiB", _get(4 * KIB, 64, "procs"), ("s3dlio",)),
]  # fmt: skip

#: By row, contender and CPUs of the client: what each round took.
Found = dict[str, dict[str, dict[int, list[Cost]]]]


def split(cpus: Sequence[int]) -> tuple[list[int], list[int]]:
    """The client's CPUs and the server's; of one CPU both have it."""
    half = len(cpus) - len(cpus) // 2
    return list(cpus[:half]), list(cpus[half:]) or list(cpus)


@contextlib.contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Processes that are started in the block run on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Scale:
    """Runs the rows.

    Args:
        cpus: those that there are.
        rounds: of each job, after one that warms up.
    """

    def __init__(self, cpus: Sequence[int], rounds: int) -> None:
        self.client, self.server = split(cpus)
        self.widths = [width for width in WIDTHS if width <= len(self.client)]
        self._rounds = rounds

    @contextlib.contextmanager
    def serving(self, *, tls: bool = False, rate: int = 0) -> Iterator[Target]:
        with tempfile.TemporaryDirectory() as folder, pinned(self.server):
            authority = make_authority(Path(folder)) if tls else None
            workers = max(1, len(self.server))
            with NginxServer(workers=workers, tls=authority, rate=rate) as server:
                for size, count in OBJECTS.items():
                    _fill(server, size, count if not rate or size == 16 * MIB else 1)
                (server.root / "tree").symlink_to(server.root / "bucket" / str(64 * MIB))
                server.list_bucket("tree")
                yield Target("s3", server.endpoint, "bucket", str(authority.bundle) if authority else None)

    def over_cpus(self, rows: Sequence[Row]) -> Found:
        """Every row for every number of CPUs; a contender that fails is left out of its row, and said."""
        found: Found = {row.name: {} for row in rows}
        for tls in (False, True):
            chosen = [row for row in rows if row.tls is tls]
            if not chosen:
                continue
            with self.serving(tls=tls) as target:
                for row in chosen:
                    for width in self.widths:
                        self._row(row, target, width, found[row.name])
        return found

    def _row(self, row: Row, target: Target, width: int, found: dict[str, dict[int, list[Cost]]]) -> None:
        for name in row.contenders:
            say(f"{row.name}: {width} CPUs, {name}")
            try:
                costs = self._costs(name, target, row.job, self.client[:width])
            except ContenderError as error:
                print(f"{row.name}: {error}", file=sys.stderr)
                continue
            found.setdefault(name, {})[width] = costs

    def _costs(self, name: str, target: Target, job: Job, cpus: Sequence[int]) -> list[Cost]:
        with pinned(cpus), Worker(CONTENDERS[name], target) as worker:
            worker.do(job)
            return [worker.do(job) for _ in range(self._rounds)]

    def held_back(self, names: Sequence[str]) -> dict[int, dict[str, Cost]]:
        """By connections in flight: what 16 MiB objects cost, of a server that sends HELD bytes a second on each."""
        found: dict[int, dict[str, Cost]] = {}
        with self.serving(rate=HELD) as target:
            for in_flight in (1, 2, 4, 8, 16, 32):
                say(f"held back: {in_flight} in flight")
                job = Job("get", f"{16 * MIB}/", in_flight, 16 * MIB, in_flight)
                costs = {name: self._costs(name, target, job, self.client) for name in names}
                found[in_flight] = {name: min(each, key=lambda cost: cost.wall) for name, each in costs.items()}
        return found


def _fill(server: NginxServer, size: int, count: int) -> None:
    piece = os.urandom(min(size, MIB))
    for number in range(count):
        path = server.root / "bucket" / str(size) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            for _ in range(max(1, size // MIB)):
                file.write(piece)


# -- tables


def rates(rows: Sequence[Row], found: Found, widths: Sequence[int]) -> report.Table:
    """A line for each row and contender, a column for each number of CPUs: rate, and CPU time for a GB or object."""
    table = [["", "", *(f"{width} CPU{'s' if width > 1 else ''}" for width in widths)]]
    for row in rows:
        for name, by_width in found[row.name].items():
            cells = [_cell(row, by_width[width]) if width in by_width else "" for width in widths]
            table.append([row.name, name, *cells])
    return table


def rate(row: Row, costs: Sequence[Cost]) -> float:
    """Bytes, or operations, a second: the median of the rounds."""
    return statistics.median((cost.bytes if row.by_bytes else cost.operations) / cost.wall for cost in costs)


def _cell(row: Row, costs: Sequence[Cost]) -> str:
    shown = _shown(row, rate(row, costs))
    if row.job.by == "procs":
        return shown  # their CPU time is that of other processes
    amount = sum(cost.bytes / 1e9 if row.by_bytes else cost.operations * 1e-6 for cost in costs)
    return f"{shown} ({sum(cost.cpu for cost in costs) / amount:.2f} {'s/GB' if row.by_bytes else 'us'})"


def _shown(row: Row, value: float) -> str:
    return f"{value / 1e9:.2f} GB/s" if row.by_bytes else f"{value / 1e3:,.1f} k/s"


def predictions(rows: Sequence[Row], found: Found, widths: Sequence[int]) -> report.Table:
    """What the model says of our own library for more CPUs than were there."""
    plain = {row.job: found[row.name].get("s3dlio", {}).get(1) for row in rows if not row.tls}
    table = [["", "CPU", "of it with the interpreter's lock", *(f"{width} CPUs" for width in widths)]]
    for row in rows:
        costs = found[row.name].get("s3dlio", {}).get(1)
        if not costs or row.job.by == "procs":
            continue
        work = scale_model.Work.of(costs, by_bytes=row.by_bytes, plain=plain.get(row.job) if row.tls else None)
        unit, scale = ("s/GB", 1e9) if row.by_bytes else ("us", 1e6)
        cells = [_shown(row, work.rate(width)) for width in widths]
        table.append([row.name, f"{work.cpu * scale:.2f} {unit}", f"{work.locked * scale:.2f} {unit}", *cells])
        if row.job.verb == "get" and not row.tls and row.job.count > 1:
            cells = [_shown(row, work.rate(width, processes=True)) for width in widths]
            table.append([f"{row.name}, a process each", "", "", *cells])
    return table


def shape(found: dict[int, dict[str, Cost]]) -> report.Table:
    names = list(next(iter(found.values())))
    table = [["connections", "the server's limit", *names]]
    for in_flight, costs in found.items():
        cells = [f"{c.bytes / c.wall / 1e9:.2f} GB/s ({c.cpu / c.bytes * 1e9:.2f} s/GB)" for c in costs.values()]
        table.append([str(in_flight), f"{in_flight * HELD / 1e9:.2f} GB/s", *cells])
    return table


def _page(tables: dict[str, report.Table], scale: Scale, rounds: int) -> str:
    body = "\n".join(f"## {title}\n\n{report.markdown(table)}\n" for title, table in tables.items())
    return f"""\
# Rates over CPUs

Written by `make perf-scale` on {datetime.date.today().isoformat()}.

- Machine: {report.machine()}. The client has CPUs {_list(scale.client)}, the server (nginx, from memory, over loopback)
  {_list(scale.server)}. Medians of {rounds} rounds after one that warms up.
- `threads` is the floor: as many Python threads as CPUs, each receiving into one buffer, unsigned and hardly read.
- In brackets: CPU time of the client's process for a GB, or for an object.
- The prediction takes what one CPU needed, and how much of that was spent outside of the kernel, where a thread holds
  the interpreter's lock (with TLS also the cipher is outside of it, so that part is taken from the row without TLS):
  only one thread at a time has the lock, the rest spreads over the CPUs. It knows of no server, network or memory that
  ends before.
- A server that is held back to {HELD // MIB} MiB/s for each connection shows how the client follows it with more of
  them, on any number of CPUs.
- `python -m perf.scale --pack DIR` writes nginx with its libraries, the packages of all contenders and this project
  into a folder; on a machine without a network and with the same version of Python, `DIR/run` measures there.

{body}"""


def _list(cpus: Sequence[int]) -> str:
    return ", ".join(map(str, cpus))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or pack; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every job (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows whose name has this text")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="write what another machine needs, and end")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the page goes (default: docs/performance)")
    options = parser.parse_args(arguments)
    if options.pack:
        from perf.scale_pack import pack

        pack(options.pack)
        return 0
    rows = [row for row in ROWS if not options.only or any(text in row.name for text in options.only)]
    scale = Scale(sorted(os.sched_getaffinity(0)), options.rounds)
    found = scale.over_cpus(rows)
    more = [width for width in WIDTHS if width not in scale.widths]
    tables = {"Measured": rates(rows, found, scale.widths)}
    if more:
        tables["Predicted for s3dlio"] = predictions(rows, found, more)
    if not options.only:
        tables["A server that is held back"] = shape(scale.held_back(("s3dlio", "reference", "obstore")))
    say("")
    for title, table in tables.items():
        print(f"== {title}\n{report.plain(table)}\n")
    output = options.output or (None if options.only or PACKED else DOCS / "scale.md")
    if output is not None:
        output.write_text(_page(tables, scale, options.rounds), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
