"""Our command beside others: ``make perf-tools``, or ``python -m perf.compare_tools``.

Trees of files up and down with s3-cli, s5cmd, rclone and Amazon's command; a long listing and generated puts with both
packages of this name; a large delete, with what the server had to do meanwhile. Contenders take turns on the same
server. Prints the tables; a whole run also writes them into docs/performance/tools.md.
"""

from __future__ import annotations

import argparse
import datetime
import filecmp
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from perf import report
from perf.compare import DOCS
from perf.contenders import OURS, REFERENCE, ROOT, Contender, ContenderError, environment, python_with
from perf.far_bucket import FarBucket, in_flight
from perf.measure import say
from perf.tools import IN_FLIGHT, PLAIN, Command, Spent, Tool, ours, run, tools, warm_memory
from perf.workers.protocol import Target
from tests.servers.base import MEMORY
from tests.servers.nginx import NginxServer

KIB, MIB = 1 << 10, 1 << 20

#: Run in the interpreters of both packages: what both have is called alike.
_SCRIPT = """
import time, s3dlio
s3dlio.list('s3://warm/')  # whatever is loaded or connected at the first use
s3dlio.put('s3://put/', 1, 'warm-{{}}', size=1)
wall, cpu = time.perf_counter(), time.process_time()
{work}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
_LIST = "assert len(s3dlio.list('s3://listed/', recursive=True)) == {count}"
_PUT = "s3dlio.put('s3://put/', {count}, 'object-{{}}', max_in_flight=32, size={size})"


@dataclass(frozen=True)
class Amounts:
    """How much is done."""

    trees: tuple[tuple[int, int], ...] = (
        (5_000, 4 * KIB), (2_000, 64 * KIB), (400, MIB), (64, 16 * MIB), (8, 512 * MIB)
    )  # fmt: skip
    """How many files of how many bytes."""
    listed: int = 1_000_000
    puts: int = 2_000
    deleted: int = 100_000


QUICK = Amounts(((300, 4 * KIB), (20, MIB), (2, 32 * MIB)), listed=20_000, puts=100, deleted=10_000)


@dataclass(frozen=True)
class Outcome:
    """One row: by contender, what each round took."""

    name: str
    spent: dict[str, list[Spent]]

    def median(self, name: str) -> Spent:
        rounds = self.spent[name]
        return Spent(statistics.median(s.wall for s in rounds), statistics.median(s.cpu for s in rounds))

    def ratio(self, name: str, ours: str) -> float:
        """How many times as long *name* takes: the median over the rounds."""
        pairs = zip(self.spent[name], self.spent[ours], strict=True)
        return statistics.median(theirs.wall / mine.wall for theirs, mine in pairs)


def in_turns(name: str, rounds: int, jobs: Mapping[str, Callable[[], Spent]]) -> Outcome:
    """Do every contender's job in each round; another one begins each time."""
    spent: dict[str, list[Spent]] = {contender: [] for contender in jobs}
    contenders = list(jobs)
    for number in range(rounds):
        first = number % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            say(f"{name}: round {number + 1} of {rounds}, {contender}")
            spent[contender].append(jobs[contender]())
    outcome = Outcome(name, spent)
    say(f"{name}: " + ", ".join(f"{contender} {outcome.median(contender).wall:.2f} s" for contender in spent) + "\n")
    return outcome


class Trees:
    """Trees of files, up to the server and down from it. Everything is in memory, so that no disk is measured.

    Args:
        server: takes parts.
        folder: of our own, for files.
        contenders: who moves them.
        rounds: how often.
    """

    def __init__(self, server: NginxServer, folder: Path, contenders: Sequence[Tool], rounds: int) -> None:
        self._server, self._folder, self._contenders, self._rounds = server, folder, contenders, rounds

    def measure(self, count: int, size: int) -> list[Outcome]:
        """Upload and download *count* files of *size* bytes."""
        name = f"{count:,} files of {size // MIB} MiB" if size >= MIB else f"{count:,} files of {size // KIB} KiB"
        tree = self._folder / "tree"
        tree.mkdir()
        for number in range(count):
            with open(tree / f"{number:05}.bin", "wb") as file:
                for _ in range(max(1, size // MIB)):
                    file.write(os.urandom(min(size, MIB)))
        (self._server.root / "down").symlink_to(tree)
        self._server.list_bucket("down")
        try:
            up = {
                tool.name: partial(self._upload, tool, tool.upload, tree, count * size)
                for tool in self._contenders if tool.upload is not None
            }  # fmt: skip
            down = {tool.name: partial(self._download, tool, tree, count * size) for tool in self._contenders}
            return [
                in_turns(f"upload {name}", self._rounds, up),
                in_turns(f"download {name}", self._rounds, down),
            ]
        finally:
            (self._server.root / "down").unlink()
            shutil.rmtree(tree)

    def _upload(self, tool: Tool, command: Command, tree: Path, expected: int) -> Spent:
        self._server.add_listing("up", [])  # some look first what is there
        whole, parts = self._server.root / "up", self._server.root / ".parts"
        warm_memory(self._folder, expected)
        try:
            spent = run(command(str(tree), "up"), self._server.endpoint, tool.variables)
            files = (file for place in (whole, parts) for file in place.rglob("*") if file.is_file())
            arrived = sum(file.stat().st_size for file in files)
            _check(arrived == expected, f"{tool.name} sent {arrived} bytes instead of {expected}")
        finally:
            shutil.rmtree(whole, ignore_errors=True)
            shutil.rmtree(parts, ignore_errors=True)
        return spent

    def _download(self, tool: Tool, tree: Path, expected: int) -> Spent:
        target = self._folder / "target"
        target.mkdir()
        warm_memory(self._folder, expected)
        try:
            spent = run(tool.download("down", str(target)), self._server.endpoint, tool.variables)
            names = sorted(os.listdir(tree))
            _check(sorted(os.listdir(target)) == names, f"{tool.name} brought other files")
            for name in names[:: max(1, len(names) // 100)]:
                _check(filecmp.cmp(tree / name, target / name, shallow=False), f"{tool.name} brought other bytes")
        finally:
            shutil.rmtree(target)
        return spent


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ContenderError(otherwise)


def packages(server: NginxServer, rounds: int, amounts: Amounts) -> list[Outcome]:
    """The listing and the generated puts, by both packages of this name."""

    def job(contender: Contender, work: str) -> Callable[[], Spent]:
        def do() -> Spent:
            (server.root / "put").mkdir()
            warm_memory(server.root, amounts.puts * MIB)
            try:
                return _scripted(contender, work, server.endpoint)
            finally:
                shutil.rmtree(server.root / "put")

        return do

    server.add_listing("warm", [])
    server.add_listing("listed", [f"data/{number:08}.bin" for number in range(amounts.listed)])
    works = {
        f"list {amounts.listed:,} keys": _LIST.format(count=amounts.listed),
        f"put {amounts.puts:,} of 1 MiB": _PUT.format(count=amounts.puts, size=MIB),
        f"put {amounts.puts:,} of 4 KiB": _PUT.format(count=amounts.puts, size=4096),
    }
    return [
        in_turns(name, rounds, {contender.name: job(contender, work) for contender in (OURS, REFERENCE)})
        for name, work in works.items()
    ]


def _scripted(contender: Contender, work: str, endpoint: str) -> Spent:
    env = environment(Target("s3", endpoint, ""))
    if contender.package is None:
        env["PYTHONPATH"] = str(ROOT)
    command = [python_with(contender.package), "-c", _SCRIPT.format(work=work)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())
    if done.returncode:
        raise ContenderError(f"{contender.name} ended with {done.returncode}: {done.stderr[-500:]}")
    wall, cpu = done.stdout.split()[-2:]
    return Spent(float(wall), float(cpu))


def deleting(keys: int, rounds: int) -> report.Table:
    """``s3-cli rm -r``, as the server sees it."""
    table = [["round", "time", "pages", "batches", "a request in flight", "a delete in flight", "deletes in flight"]]
    with FarBucket(keys) as bucket:
        command = (sys.executable, "-m", "s3dlio", "rm", "-r", "--yes", "s3://far/")
        for number in range(rounds):
            say(f"delete {keys:,} keys: round {number + 1} of {rounds}")
            spent = run(command, bucket.endpoint, {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"})
            seen = bucket.seen()
            deletes = [request for request in seen if request.method == "POST"]
            _check(len(deletes) == -(-keys // 1000), f"{len(deletes)} batches came")
            spans = in_flight(deletes)
            average = sum(seconds * there for seconds, there in spans) / sum(seconds for seconds, _ in spans)
            table.append([
                str(number + 1), f"{spent.wall:.2f} s", str(len(seen) - len(deletes)), str(len(deletes)),
                f"{_busy(in_flight(seen)):.1%}", f"{_busy(spans):.1%}", f"{average:.1f}",
            ])  # fmt: skip
    return table


def _busy(spans: list[tuple[float, int]]) -> float:
    """The share of the time in which there was a request."""
    return sum(seconds for seconds, there in spans if there) / sum(seconds for seconds, _ in spans)


def table_of(outcomes: Sequence[Outcome], cell: Callable[[Outcome, str], str]) -> report.Table:
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.spent))
    rows = [[o.name, *(cell(o, name) if name in o.spent else "" for name in names)] for o in outcomes]
    return [["", *names], *rows]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every row (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of little: does everything run?")
    parser.add_argument("--before", type=Path, metavar="DIR", help="only trees of files, with an older checkout")
    options = parser.parse_args(arguments)
    rounds, amounts = (1, QUICK) if options.quick else (options.rounds, Amounts())
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name, _server() as server:
        folder = Path(name)
        older = [ours(options.before.resolve(), "before")] if options.before else None
        contenders = [ours(ROOT), *older] if older else tools(server.endpoint, folder)
        trees = Trees(server, folder, contenders, rounds)
        both = [] if older else packages(server, rounds, amounts)
        moved = [outcome for count, size in amounts.trees for outcome in trees.measure(count, size)]
    say("")
    if older:
        print(report.plain(_times(moved, contenders[0].name)))
        return 0
    emptied = deleting(amounts.deleted, rounds)
    tables = {
        "Trees of files": _times(moved, contenders[0].name),
        "Bulk verbs": _times(both, OURS.name),
        f"rm -r of {amounts.deleted:,} keys": emptied,
    }
    for title, table in tables.items():
        print(f"== {title}\n{report.plain(table)}\n")
    if not options.quick:
        (DOCS / "tools.md").write_text(_page(tables, moved, contenders, rounds), encoding="utf-8")
    return 0


def _server() -> NginxServer:
    return NginxServer(parts=True, cache=False, also=PLAIN if os.geteuid() == 0 else None)


def _times(outcomes: Sequence[Outcome], ours: str) -> report.Table:
    """Wall and CPU time, and how many times as long as ours it took."""

    def cell(outcome: Outcome, name: str) -> str:
        spent = outcome.median(name)
        against = "" if name == ours else f", {outcome.ratio(name, ours):.2f}x"
        return f"{spent.wall:.2f} s (CPU {spent.cpu:.2f}){against}"

    return table_of(outcomes, cell)


def _best(outcome: Outcome) -> float:
    """How many times as long the quicker of s5cmd and rclone takes."""
    ours, *_ = outcome.spent
    return min(outcome.ratio(name, ours) for name in ("s5cmd", "rclone"))


def _page(
    tables: Mapping[str, report.Table], moved: Sequence[Outcome], contenders: Sequence[Tool], rounds: int
) -> str:
    second = any(tool.name.endswith("CRT") for tool in contenders)
    crt = (
        "\n- `aws` is from PyPI, `aws, CRT` from Debian. CRT transfers take nginx's 201 for an upload for a failure, "
        "so they only download."
        if second
        else "\n- Amazon's CRT transfers are in the second version of its command only, which is not on PyPI and was "
        "not found here (or this was not root)."
    )
    versions = "; ".join(f"{tool.name}: {' '.join(tool.version.split()[:2])}" for tool in contenders[1:])
    best = "; ".join(f"{outcome.name} {_best(outcome):.2f}x" for outcome in moved)
    body = "\n".join(f"## {title}\n\n{report.markdown(table)}\n" for title, table in tables.items())
    return f"""\
# Commands and bulk verbs

Written by `make perf-tools` on {datetime.date.today().isoformat()}.

- Machine: {report.machine()}. Server and clients share it.
- Medians of {rounds} rounds, in which the contenders take turns, and another one begins each time; `2.00x` took twice
  as long as we did (the median of the rounds' ratios). Times of commands are those of the whole process.
- Against the quicker of s5cmd and rclone: {best}.
- {versions}.
- One nginx with files in memory; local files are in memory, too. Before each turn as much memory as it needs is used
  and freed, since a virtual machine fetches what lay free from its host, at up to 2 s/GB. The server checks no
  signatures, and keeps the parts of an upload as they came. All tools have {IN_FLIGHT} files or requests in flight, and
  their defaults otherwise.{crt}
- The bulk verbs, `list(uri, recursive=True)` and `put`, are timed within a process that has used them once before.
- `rm -r` meets a server on which a page of a listing takes 20 ms and a batch delete of 1,000 keys 100 ms; the shares
  are of the time from the first request (or delete) to the last, by the server's clock.

{body}"""


if __name__ == "__main__":
    sys.exit(main())
