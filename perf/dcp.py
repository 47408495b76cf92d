"""Distributed checkpoints of torch, beside s3torchconnector's: ``python -m perf.dcp [ROW ...]``.

Each library's ranks run in processes and a virtual environment of their own, against one server in memory, and take
turns. Needs an environment with torch and s3torchconnector for the other library: ``--s3torch PYTHON``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from perf.contenders import ROOT
from tests.servers.memory_s3 import MemoryS3

Job = dict[str, Any]
#: 1 GiB.
SHAPE: Job = {"tensors": 64, "rows": 2048, "columns": 2048}


class Ranks:
    """The ranks of one library, waiting for jobs."""

    def __init__(self, python: str, library: str, world: int, server: MemoryS3, folder: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3DLIO_"))}
        environment |= server.env | {"PYTHONPATH": str(ROOT) if library == "s3dlio" else "", "GLOO_SOCKET_IFNAME": "lo"}
        environment |= {"AWS_EC2_METADATA_DISABLED": "true", "OMP_NUM_THREADS": "1"}
        meeting = tempfile.mktemp(dir=folder)
        self.library = library
        self._ranks = [
            subprocess.Popen(
                [python, str(ROOT / "perf/workers/dcp_rank.py"), library, str(rank), str(world), meeting],
                env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
            )
            for rank in range(world)
        ]  # fmt: skip
        for rank in self._ranks:
            self._answer(rank)

    def do(self, job: Job) -> list[Job]:
        """Have every rank do a job; what each found."""
        for rank in self._ranks:
            assert rank.stdin is not None
            rank.stdin.write(json.dumps(job) + "\n")
            rank.stdin.flush()
        return [json.loads(self._answer(rank)) for rank in self._ranks]

    def close(self) -> None:
        """End them."""
        for rank in self._ranks:
            rank.kill()
            rank.wait()

    def _answer(self, rank: subprocess.Popen[str]) -> str:
        assert rank.stdout is not None
        line = rank.stdout.readline()
        if not line:
            raise RuntimeError(f"a rank of {self.library} ended with {rank.wait()}")
        return line


class Bench:
    """What rows share: the server, and who takes part."""

    def __init__(self, server: MemoryS3, s3torch: str | None, rounds: int, folder: str) -> None:
        self.server = server
        self.rounds = rounds
        self._folder = folder
        self._pythons = {"s3dlio": sys.executable} | ({"s3torch": s3torch} if s3torch else {})

    @contextmanager
    def ranks(self, world: int, only: Sequence[str] = ("s3dlio", "s3torch")) -> Iterator[list[Ranks]]:
        """The ranks of all libraries."""
        made: list[Ranks] = []
        try:
            for library, python in self._pythons.items():
                if library in only:
                    made.append(Ranks(python, library, world, self.server, self._folder))
            yield made
        finally:
            for ranks in made:
                ranks.close()


def save_and_load(bench: Bench) -> None:
    """1 GiB, sharded over two ranks."""
    with bench.ranks(2) as all_ranks:
        times: dict[tuple[str, str], list[Job]] = {}
        for number in range(bench.rounds):
            for ranks in all_ranks:
                path = f"s3://bucket/{ranks.library}-{number}"
                for verb in ("save", "load"):
                    bench.server.counts()
                    found = ranks.do(SHAPE | {"do": verb, "path": path})
                    counts = bench.server.counts()
                    slowest = max(found, key=lambda each: each["seconds"])
                    slowest["cpu"] = sum(each["cpu"] for each in found)
                    times.setdefault((ranks.library, verb), []).append(slowest | {"counts": counts})
                bench.server.clear()
    for (library, verb), results in times.items():
        best = min(results, key=lambda each: each["seconds"])
        median = statistics.median(each["seconds"] for each in results)
        print(f"{library:8} {verb}: best {best['seconds']:.2f} s, median {median:.2f} s, CPU {best['cpu']:.2f} s, "
              f"added {best['added'] >> 20} MiB a rank; {best['counts']}")  # fmt: skip
    for verb in ("save", "load"):
        if ("s3torch", verb) in times:
            theirs, ours = (min(each["seconds"] for each in times[name, verb]) for name in ("s3torch", "s3dlio"))
            print(f"{verb}: {theirs / ours:.2f} times as fast as s3torchconnector")


def half(bench: Bench) -> None:
    """Half of a checkpoint of 1 GiB that two ranks have sharded along rows: the upper half, or the left one."""
    path = "s3://bucket/halves"
    with bench.ranks(2, ("s3dlio",)) as (two,):
        two.do(SHAPE | {"do": "save", "path": path})
    with bench.ranks(1) as all_ranks:
        for dim, name in enumerate(("leading", "inner")):
            for ranks in all_ranks:
                bench.server.counts()
                (found,) = ranks.do(SHAPE | {"do": "half", "half": dim, "path": path})
                counts = bench.server.counts()
                print(f"{ranks.library:8} half by the {name} dimension: {found['seconds']:.2f} s, "
                      f"{counts['GET']} GETs with .metadata, {counts['sent'] / found['needed']:.3f} times the bytes "
                      f"needed, {found['cpu']:.2f} s of CPU, added {found['added'] >> 20} MiB")  # fmt: skip
    bench.server.clear()


def resident(bench: Bench) -> None:
    """What saving 2 GiB adds to the memory of a rank."""
    with bench.ranks(1, ("s3dlio",)) as (ranks,):
        (found,) = ranks.do({"do": "save", "path": "s3://bucket/r", "tensors": 32, "rows": 4096, "columns": 4096})
    print(f"2 GiB saved by one rank: {found['seconds']:.2f} s, added {found['added'] >> 20} MiB of resident memory")
    bench.server.clear()


def staging(bench: Bench) -> None:
    """How long async_save blocks, and what a busy thread loses meanwhile. The server would be elsewhere: it leaves the
    CPUs to the trainer."""
    os.setpriority(os.PRIO_PROCESS, bench.server.proc.pid, 19)
    with bench.ranks(1, ("s3dlio",)) as (ranks,):
        (found,) = ranks.do(SHAPE | {"do": "staging", "path": "s3://bucket/s", "tensors": 32, "steps": 6})
    ratios = sorted(blocked / copy for copy, blocked in zip(found["copy"][1:], found["blocked"][1:], strict=True))
    print(f"512 MiB: a copy takes {min(found['copy']):.3f} s; async_save blocks {statistics.median(ratios):.2f} times "
          f"as long ({ratios[0]:.2f} to {ratios[-1]:.2f}), the first one {found['blocked'][0]:.3f} s; the last left "
          f"{found['resident'] >> 20} MiB")  # fmt: skip
    kept = sorted(beside[0] / alone[0] for alone, beside in zip(found["alone"], found["beside"], strict=True))
    print(f"a busy thread keeps {100 * statistics.median(kept):.0f} % ({100 * kept[0]:.0f} to {100 * kept[-1]:.0f}) of "
          f"its {found['alone'][0][0]:.0f} steps/s beside an upload (of {max(b[1] for b in found['beside']):.2f} s)")
    bench.server.clear()


ROWS: dict[str, Callable[[Bench], None]] = {row.__name__: row for row in (save_and_load, half, resident, staging)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="of save_and_load (default: %(default)s)")
    parser.add_argument("--s3torch", metavar="PYTHON", help="an interpreter that has s3torchconnector and torch")
    options = parser.parse_args(arguments)
    with MemoryS3() as server, tempfile.TemporaryDirectory() as folder:
        bench = Bench(server, options.s3torch, options.rounds, folder)
        for name in options.rows or ROWS:
            ROWS[name](bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
