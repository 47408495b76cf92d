"""The command line of ``s3-cli bench``."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser, Commands
from s3dlio.cli.parser_options import create_bucket

_DETAILS = (
    "The objects are in a new directory below URI, which is deleted in the end; nothing else is touched. "
    "docs/benchmarking.md tells what is measured, and what --json prints"
)
#: Each benchmark: what it does, the size of its objects, and how many there are.
_BENCHMARKS = {
    "get": ("Measure how fast objects are read", "1MiB", 256),
    "put": ("Measure how fast objects are written", "1MiB", 0),
    "stat": ("Measure how fast metadata of objects are told", "1KiB", 1000),
    "list": ("Measure how fast objects are listed, page by page", "1KiB", 10_000),
    "delete": ("Measure how fast objects are deleted", "1KiB", 10_000),
    "mixed": ("Measure a mixture of reads, metadata, writes and deletes", "1MiB", 1000),
}
_SHARES = (("get", 45, "reads"), ("stat", 30, "metadata"), ("put", 15, "writes"), ("delete", 10, "deletes"))


def benchmarks(commands: Commands, *, whole: bool) -> None:
    """Add the group ``bench``; where it is to be ``whole``, its commands, which take a fifth of the parser's time."""
    group = commands.add("bench", "", "Measure a store: rates, latency percentiles, throughput over time",
                         details=_DETAILS)  # fmt: skip
    if not whole:
        return
    inner = Commands(group, "commands of bench")
    for name, (summary, size, objects) in _BENCHMARKS.items():
        command = inner.add(name, "bench:run", summary, details=_DETAILS)
        command.add_argument("uri", metavar="URI", help="scheme://bucket, or scheme://bucket/directory/")
        _objects(command, name, size, objects)
        _of_operation(command, name)
        _run(command)
        _output(command)


def _objects(command: CommandParser, name: str, size: str, objects: int) -> None:
    if name == "put":
        command.set_defaults(objects=1, prepare=True)
    else:
        command.add_argument("-n", "--objects", type=argument_types.positive_count, default=objects, metavar="N",
                             help=f"how many objects are prepared (default: {objects})")  # fmt: skip
    command.add_argument("-s", "--size", default=size, metavar="SIZES",
                         help="size of the objects: 1MiB, a range 4KiB-1MiB, or several with their weights "
                         f"4KiB:70,1MiB:30 (default: {size})")  # fmt: skip
    command.add_argument("--log-uniform", action="store_true",
                         help="in a range of sizes: as many objects from 4 to 8 KiB as from 8 to 16 KiB")  # fmt: skip
    command.add_argument("--dedup", type=argument_types.factor, default=1, metavar="N",
                         help="of N blocks of 1 MiB only one is different (default: 1)")  # fmt: skip
    command.add_argument("--compress", type=argument_types.factor, default=1, metavar="N",
                         help="zstd can shrink the data N times (default: 1)")  # fmt: skip
    command.add_argument("--fresh-data", action="store_true",
                         help="generate all bytes of every object while it is written; otherwise objects are stretches "
                         "of one buffer that was generated before")  # fmt: skip
    command.add_argument("--prefix", metavar="NAME",
                         help="the name of the directory, an empty one (default: one drawn by chance)")  # fmt: skip
    if name not in ("put", "delete"):
        command.add_argument("--no-prepare", dest="prepare", action="store_false",
                             help="use the objects that are below --prefix, and never delete them")  # fmt: skip
    elif name == "delete":
        command.set_defaults(prepare=True)
    command.add_argument("--no-clean", dest="clean", action="store_false", help="leave what was written")
    create_bucket(command)


def _of_operation(command: CommandParser, name: str) -> None:
    command.set_defaults(range_size=None, discard=False, batch=1, mix=None)
    if name in ("get", "mixed"):
        command.add_argument("--range-size", type=argument_types.positive_size, metavar="BYTES",
                             help="read ranges of so many bytes, at places drawn by chance")  # fmt: skip
        command.add_argument("--discard", action="store_true",
                             help="drop bytes as they arrive, instead of reading objects into memory")  # fmt: skip
    if name == "delete":
        command.add_argument("--batch", type=argument_types.positive_count, default=1, metavar="N",
                             help="objects of one request (default: 1)")  # fmt: skip
    if name == "mixed":
        command.set_defaults(mix=[share for share, _, _ in _SHARES])
        for share, weight, what in _SHARES:
            command.add_argument(f"--{share}-distrib", type=argument_types.count, default=weight, metavar="N",
                                 help=f"the weight of {what} (default: {weight})")  # fmt: skip


def _run(command: CommandParser) -> None:
    command.add_argument("-j", "--concurrent", type=_concurrent, default=(32,), metavar="N,...",
                         help="operations in flight; several numbers are measured one after the other "
                         "(default: 32)")  # fmt: skip
    command.add_argument("--procs", type=argument_types.procs, default=1, metavar="N",
                         help="use so many processes, among which --concurrent is divided (default: 1)")  # fmt: skip
    command.add_argument("-d", "--duration", type=argument_types.duration, metavar="TIME",
                         help="how long each run is measured: 10s, 5m (default: 10s)")  # fmt: skip
    command.add_argument("--count", type=argument_types.positive_count, metavar="N",
                         help="measure so many operations, instead of a time")  # fmt: skip
    command.add_argument("--warm-up", type=argument_types.duration, default=1.0, metavar="TIME",
                         help="how long each run goes on before it is measured (default: 1s)")  # fmt: skip
    command.add_argument("--seed", type=argument_types.seed, metavar="N",
                         help="the same N draws the same sizes, order and data again")  # fmt: skip


def _output(command: CommandParser) -> None:
    command.add_argument("--plot", metavar="FILE",
                         help="draw throughput over time, and latency by operations in flight, into this file: .svg or "
                         ".html")  # fmt: skip


def _concurrent(text: str) -> tuple[int, ...]:
    """One number of operations in flight, or several with commas."""
    return tuple(argument_types.jobs(part.strip()) for part in text.split(","))
